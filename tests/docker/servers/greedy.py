"""Allocate memory until the process is killed."""

taken = []
while True:
    taken.append(b"x" * 1_000_000)
