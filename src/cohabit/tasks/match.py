"""The matcher: waits for the line of a service's output that shows that it is ready; a child of process 1.

`python -I -S PATH/match.py SECONDS PATTERN`. It is a separate program because a user's regular expression can run
forever (catastrophic backtracking).

Standard input is frames: a line `SOURCE LENGTH`, then LENGTH bytes that this source (stdout, stderr) wrote, in pieces
of any size; length 0 is the end of the source, and length -1 means that it has been silent: its unfinished line is
matched as it is, and again when it is longer. Lines of different sources are assembled separately and matched without
their newline (LF or CR LF). The first line that matches is written to standard output, at most 4096 bytes of it, and
the exit code is 0; the exit code is 1 if the input ends first. A line that takes more than SECONDS of CPU time ends
the program by SIGVTALRM.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

MATCHED, NO_MATCH = 0, 1
_LINE_MAX: Final = 1_048_576  # longer ones are searched in pieces
_OUTPUT_MAX: Final = 4096


class Lines:
    """The lines of one source. Whole lines are passed to `match`; the rest waits for its end."""

    def __init__(self, match: Callable[[bytes], bool]) -> None:
        self._match = match
        self._partial = bytearray()

    def silent(self) -> bytes | None:
        """Match the unfinished line. Returns it if it matches."""
        line = bytes(self._partial)
        return line if line and self._match(line) else None

    def feed(self, data: bytes) -> bytes | None:
        """Add what the source wrote, b"" for its end. Returns the first line that matches."""
        whole, newline, rest = data.rpartition(b"\n")
        self._partial += whole if newline else rest
        if not newline and data and len(self._partial) < _LINE_MAX:
            return None
        lines = bytes(self._partial).split(b"\n")
        self._partial = bytearray(rest if newline else b"")
        for line in lines:
            text = line.removesuffix(b"\r")
            if self._match(text):
                return text
        return None


def search(frames: BinaryIO, match: Callable[[bytes], bool]) -> bytes | None:
    """The first line of any source that matches, None if the input ended without one."""
    sources: dict[bytes, Lines] = {}
    while header := frames.readline():
        source, _, length = header.partition(b" ")
        lines, size = sources.setdefault(source, Lines(match)), int(length)
        found = lines.silent() if size < 0 else lines.feed(frames.read(size))
        if found is not None:
            return found
    return None


def main(argv: list[str]) -> int:
    """Match until a line does. Returns the exit code."""
    seconds = float(argv[1])
    pattern = re.compile(argv[2])

    def match(line: bytes) -> bool:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        found = pattern.search(line.decode("utf-8", "replace"))
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return found is not None

    found = search(sys.stdin.buffer, match)
    if found is None:
        return NO_MATCH
    os.write(1, found[:_OUTPUT_MAX])
    return MATCHED


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stdout.flush()
    os._exit(code)
