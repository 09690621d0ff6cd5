"""Supervision: events and `now` come in, effects go out. No os, no clock, no randomness, no I/O."""
