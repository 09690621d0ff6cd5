"""Readiness and health: active probes, and messages from the services themselves."""
