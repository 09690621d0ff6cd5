"""Processes: fork, exec, wait, whose process is whose, and how a tree of them ends."""
