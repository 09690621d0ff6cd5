"""Output: what services write, from their pipes to its destinations."""
