"""Takes memory until somebody ends it."""

taken = []
while True:
    taken.append(b"x" * 1_000_000)
