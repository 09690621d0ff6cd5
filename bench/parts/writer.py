"""A service that writes much: started by the tools, never imported.

    writer.py GATE KIND COUNT [NAME]

Waits until somebody opens the FIFO `GATE` for writing, writes COUNT pieces to stdout and then sleeps until it
is ended (a service that ends would be restarted). KIND says what a piece is: `blocks`: 64 KiB, one newline at
the end. `lines`: 100 bytes, written 655 at a time. `numbered`: 100 bytes with NAME and a running number, for
those who count what got lost. `flood`: `lines` without end. `paced`: `numbered`, a hundred at a time
with 10 ms of sleep in between, so that whatever holds a write up shows as fewer lines in a second.
"""

import os
import signal
import sys
import time

BLOCK = b"x" * 65535 + b"\n"
LINE = b"x" * 99 + b"\n"
LINES_PER_WRITE = 655
LINES_PER_PACE = 100
PACE_SECONDS = 0.01


def write(data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def write_numbered(name: bytes, count: int, lines_at_once: int, pause_seconds: float) -> None:
    """Write lines with a running number, some at once, and sleep between them if so told."""
    for first in range(0, count, lines_at_once):
        numbers = range(first, min(first + lines_at_once, count))
        write(b"".join((b"%s %010d " % (name, number)).ljust(99, b"x") + b"\n" for number in numbers))
        if pause_seconds:
            time.sleep(pause_seconds)


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
        write_numbered(sys.argv[4].encode(), count, LINES_PER_WRITE, 0.0)
    elif kind == "paced":
        write_numbered(sys.argv[4].encode(), count, LINES_PER_PACE, PACE_SECONDS)
    elif kind == "flood":
        lines = LINE * LINES_PER_WRITE
        while True:
            write(lines)
    while True:
        signal.pause()


main()
