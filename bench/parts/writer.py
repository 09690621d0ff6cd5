"""A service that writes much: started by the tools, never imported.

    writer.py GATE KIND COUNT [NAME]

Waits until somebody opens the FIFO `GATE` for writing, writes COUNT pieces to stdout and then sleeps until it
is ended (a service that ends would be restarted). KIND says what a piece is: `blocks`: 64 KiB, one newline at
the end. `lines`: 100 bytes, written 655 at a time, the very last ends in `end`. `access`, `levels`, `objects`: the
same, as a web server, a Java program and a program that logs JSON write them. `numbered`: 100 bytes with NAME and a
running number, for those who count what got lost; `numbered-objects`: each in a JSON object. `flood`: `lines` without
end. `paced`: `numbered`, a hundred at a time with 10 ms of sleep in between, so that whatever holds a write up shows
as fewer lines in a second.
"""

import os
import signal
import sys
import time

BLOCK = b"x" * 65535 + b"\n"
LINE = b"x" * 99 + b"\n"
LAST_LINE = b"x" * 96 + b"end\n"
LEVELS = (b"INFO ", b"DEBUG", b"INFO ", b"WARN ", b"INFO ", b"ERROR", b"INFO ")
LINES_PER_WRITE = 655
LINES_PER_PACE = 100
PACE_SECONDS = 0.01


def write(data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def line(kind: str, number: int) -> bytes:
    """Return one line of a kind, 100 bytes."""
    if kind == "access":
        start = b'10.0.%d.%d - - [24/Nov/2026:10:00:00 +0000] "GET /' % (number % 7, number % 250)
        return start.ljust(81, b"x") + b' HTTP/1.1" 200 512\n'
    if kind == "levels":
        level = LEVELS[number % len(LEVELS)]
        start = b"2026-11-24 10:00:00,%03d %s [worker-%d] com.example.Orders - " % (number, level, number % 8)
        return start.ljust(99, b"x") + b"\n"
    if kind == "objects":
        level = LEVELS[number % len(LEVELS)].strip().lower()
        start = b'{"level":"%s","port":%d,"ok":true,"msg":"' % (level, number)
        return start.ljust(97, b"x") + b'"}\n'
    return LINE


def write_lines(kind: str, count: int) -> None:
    """Write lines of a kind, the last of which says that it is."""
    lines = [line(kind, number) for number in range(LINES_PER_WRITE)]
    together = b"".join(lines)
    whole, rest = divmod(count - 1, LINES_PER_WRITE)
    for _ in range(whole):
        write(together)
    write(b"".join(lines[:rest]) + LAST_LINE)


def write_numbered(name: bytes, count: int, lines_at_once: int, pause_seconds: float, pattern: bytes) -> None:
    """Write lines with a running number, some at once, and sleep between them if so told."""
    for first in range(0, count, lines_at_once):
        numbers = range(first, min(first + lines_at_once, count))
        write(b"".join(pattern % (b"%s %010d " % (name, number)).ljust(99, b"x") for number in numbers))
        if pause_seconds:
            time.sleep(pause_seconds)


def main() -> None:
    """Wait at the gate, write, sleep."""
    gate, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    os.close(os.open(gate, os.O_RDONLY))
    if kind == "blocks":
        for _ in range(count):
            write(BLOCK)
    elif kind in ("lines", "access", "levels", "objects"):
        write_lines(kind, count)
    elif kind == "numbered":
        write_numbered(sys.argv[4].encode(), count, LINES_PER_WRITE, 0.0, b"%s\n")
    elif kind == "numbered-objects":
        write_numbered(sys.argv[4].encode(), count, LINES_PER_WRITE, 0.0, b'{"level":"info","msg":"%s"}\n')
    elif kind == "paced":
        write_numbered(sys.argv[4].encode(), count, LINES_PER_PACE, PACE_SECONDS, b"%s\n")
    elif kind == "flood":
        lines = LINE * LINES_PER_WRITE
        while True:
            write(lines)
    while True:
        signal.pause()


main()
