"""A service that writes a lot. The tools start it; it is not imported.

    writer.py GATE KIND COUNT [NAME]

Waits until the FIFO `GATE` is opened for writing, writes COUNT pieces to stdout and then sleeps until it is killed,
because a service that ends would be restarted. KIND is the kind of piece: `blocks`: 64 KiB with a newline at the end.
`lines`: 100 bytes, 655 per write; the last one ends in `end`. `access`, `levels`, `objects`: the same, with lines of a
web server, of a Java program, and JSON objects. `numbered`: 100 bytes with NAME and a number; `numbered-objects`: the
same in a JSON object. `flood`: `lines` without end. `paced`: `numbered`, a hundred at a time with pauses of 10 ms, so
that a blocked write shows as fewer lines per second.
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
    """Write all bytes."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def line(kind: str, number: int) -> bytes:
    """Return one line of this kind, 100 bytes long."""
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
    """Write lines of this kind; the last one ends in `end`."""
    lines = [line(kind, number) for number in range(LINES_PER_WRITE)]
    together = b"".join(lines)
    whole, rest = divmod(count - 1, LINES_PER_WRITE)
    for _ in range(whole):
        write(together)
    write(b"".join(lines[:rest]) + LAST_LINE)


def write_numbered(name: bytes, count: int, lines_at_once: int, pause_seconds: float, pattern: bytes) -> None:
    """Write numbered lines, `lines_at_once` per write, with a pause between writes."""
    for first in range(0, count, lines_at_once):
        numbers = range(first, min(first + lines_at_once, count))
        write(b"".join(pattern % (b"%s %010d " % (name, number)).ljust(99, b"x") for number in numbers))
        if pause_seconds:
            time.sleep(pause_seconds)


def main() -> None:
    """Wait for the FIFO, write, sleep."""
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
