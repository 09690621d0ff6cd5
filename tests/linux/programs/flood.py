"""flood.py NAME LINES [err]: write numbered lines in pieces of arbitrary length.

With err, every second line goes to stderr.
"""

import os
import sys

name, count, both = sys.argv[1], int(sys.argv[2]), len(sys.argv) > 3
numbers = range(count)
streams = ((1, numbers[::2]), (2, numbers[1::2])) if both else ((1, numbers),)
data = {fd: b"".join(f"{name} {n:07} {'x' * (n % 90)}\n".encode() for n in mine) for fd, mine in streams}
size = 1
while any(data.values()):
    for fd in data:
        piece, data[fd] = data[fd][:size], data[fd][size:]
        while piece:
            piece = piece[os.write(fd, piece) :]
    size = size * 3 % 65_521
