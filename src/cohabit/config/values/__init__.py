"""Parsers of single values: commands, variables, addresses, users, names of the kernel."""
