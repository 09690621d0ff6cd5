"""A service that writes much: started by the tools, never imported.

    writer.py GATE KIND COUNT [NAME]

Waits until somebody opens the FIFO `GATE` for writing, writes COUNT pieces to stdout and then sleeps until it
is ended (a service that ends would be restarted). KIND says what a piece is: `blocks`: 64 KiB, one newline at
the end. `lines`: 100 bytes, written 655 at a time. `numbered`: 100 bytes with NAME and a running number, for
those who count what got lost. `flood`: `lines` without end.
"""

import os
import signal
import sys

BLOCK = b"x" * 65535 + b"\n"
LINE = b"x" * 99 + b"\n"
LINES_PER_WRITE = 655


def write(data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def main() -> None:
    """Wait at the gate, write, sleep."""
    gate, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    os.close(os.open(gate, os.O_RDONLY))
    if kind == "blocks":
        for _ in range(count):
            write(BLOCK)
    elif kind == "lines":
        lines = LINE * LINES_PER_WRITE
        for _ in range(count // LINES_PER_WRITE):
            write(lines)
        write(LINE * (count % LINES_PER_WRITE))
    elif kind == "numbered":
        name = sys.argv[4].encode()
        for first in range(0, count, LINES_PER_WRITE):
            numbers = range(first, min(first + LINES_PER_WRITE, count))
            write(b"".join((b"%s %010d " % (name, number)).ljust(99, b"x") + b"\n" for number in numbers))
    elif kind == "flood":
        lines = LINE * LINES_PER_WRITE
        while True:
            write(lines)
    while True:
        signal.pause()


main()
