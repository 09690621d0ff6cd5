"""numbered.py NAME BYTES_MAX OPTION...: write numbered lines on demand, and note how much was written.

Each byte in the named pipe NAME.go requests a round of lines on stdout; TERM ends the program. The options: err (also a
round on stderr), bursts (pieces of arbitrary length; without it one write per line), tail (the last line has no
newline), leaves (a child stays behind and begins to write when its parent is dead). The file NAME.RUN.note holds, for
stdout and stderr, how many bytes were written and, if there was a tail, after which line. The output depends on the
arguments alone, so a test knows every byte: see numbered().
"""

import os
import select
import signal
import struct
import sys
from collections.abc import Iterator

ROUND = 50  # lines per round
LEFT_BEHIND = 200  # lines of the child that stays behind
PIECE_MAX = 65_521
NOTE = struct.Struct("<QQQQ")  # bytes written to stdout, lines before its tail + 1 (0: none); the same for stderr
_ODD = (
    'plain ä\t\0\r€ \x1b[31mred\x1b[0m "quoted" back\\slash {not: json} <3> level=error '.encode()
    + b"\xff\xc3\xe2\x82|"
)


def numbered(tag: bytes, bytes_max: int) -> Iterator[bytes]:
    """The lines of one stream of one run, without end. Each is numbered; most have 20 to 200 bytes."""
    number = 0
    filling = _ODD * (bytes_max // len(_ODD) + 2)
    while True:
        size = bytes_max * (number // 200 % 3 + 1) // 3 if number % 200 == 7 else min(bytes_max, 20 + number * 37 % 180)
        start = number % len(_ODD)
        head = b"%b %d " % (tag, number)
        yield head + filling[start : start + max(0, size - len(head) - 2)] + b".\n"
        number += 1


def tail(tag: bytes) -> bytes:
    """The last line, which is unfinished."""
    return b"%b has no end" % tag


def tag_of(name: str, run: str, stream: int) -> bytes:
    """The beginning of each line of a stream. It is different for each run, from the first byte on."""
    return f"{run}:{name}:{'-oe'[stream]}".encode()


class Writer:
    """One process that writes. run: its number."""

    def __init__(self, name: str, run: str, bytes_max: int, options: set[str]) -> None:
        self.options = options
        self.streams = (1, 2) if "err" in options else (1,)
        self.tags = {stream: tag_of(name, run, stream) for stream in self.streams}
        self.lines = {stream: numbered(self.tags[stream], bytes_max) for stream in self.streams}
        self.counts = [0, 0, 0, 0]
        self.line_counts = dict.fromkeys(self.streams, 0)
        self.note = os.open(f"{name}.{run}.note", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self.size = 1
        self.write_note()

    def write_note(self) -> None:
        """Write the note."""
        os.pwrite(self.note, NOTE.pack(*self.counts), 0)

    def write(self, stream: int, data: bytes) -> None:
        """Write all of the data."""
        while data:
            written = os.write(stream, data[:PIECE_MAX])
            self.counts[2 * stream - 2] += written
            self.write_note()
            data = data[written:]

    def round(self, lines: int = ROUND) -> None:
        """Write this many lines to each stream."""
        for stream in self.streams:
            self.line_counts[stream] += lines
        texts = {stream: [next(self.lines[stream]) for _ in range(lines)] for stream in self.streams}
        if "bursts" not in self.options:
            for number in range(lines):
                for stream in self.streams:
                    self.write(stream, texts[stream][number])
            return
        data = {stream: b"".join(texts[stream]) for stream in self.streams}
        while any(data.values()):
            for stream in self.streams:
                piece, data[stream] = data[stream][: self.size], data[stream][self.size :]
                self.write(stream, piece)
            self.size = self.size * 3 % PIECE_MAX

    def end(self) -> None:
        """Write the tails."""
        for stream in self.streams:
            if "tail" in self.options:
                self.counts[2 * stream - 1] = self.line_counts[stream] + 1
                self.write_note()
                self.write(stream, tail(self.tags[stream]))


def main(name: str, bytes_max: int, options: set[str]) -> None:
    """Run until TERM."""
    woken, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGTERM, lambda *_: None)
    go = os.open(f"{name}.go", os.O_RDWR | os.O_NONBLOCK)
    number = 0
    while os.path.exists(f"{name}.{number}.note"):
        number += 1
    writer = Writer(name, str(number), bytes_max, options)
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    poll.register(go, select.POLLIN)
    while woken not in dict(poll.poll()):
        try:
            os.read(go, 1)
        except BlockingIOError:
            continue
        writer.round()
    lifeline, held = os.pipe()
    if "leaves" in options and os.fork() == 0:
        os.setsid()
        os.close(held)
        os.read(lifeline, 1)  # until its parent is dead
        Writer(name, f"left{number}", bytes_max, options).round(LEFT_BEHIND)
        os._exit(0)
    writer.end()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), set(sys.argv[3:]))
