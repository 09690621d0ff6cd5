"""Processes: starting and reaping them, attributing them to services, and ending process trees."""
