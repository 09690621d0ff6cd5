"""The matcher: waits for the line of a service's output that says it is ready; a child of process 1.

`python -I -S PATH/match.py SECONDS PATTERN`. A program of its own because a regular expression of a user's can take
for ever (catastrophic backtracking), and process 1 has no time; it imports nothing of this house.

Standard input is frames: a line `SOURCE LENGTH`, then so many bytes as that source (stdout, stderr) wrote them, in any
pieces; length 0 is its end. Lines are put together here, so that two sources cannot tear each other's, and matched
without their newline (or CRLF). The first line that matches goes to standard output, cut, and the exit code is 0; 1 if
the input ended before. A line that takes more than SECONDS of CPU time ends this program by SIGVTALRM.
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
_SHOWN_MAX: Final = 4096


class Lines:
    """What one source has written: whole lines go to `match`, the rest waits for its end."""

    def __init__(self, match: Callable[[bytes], bool]) -> None:
        self._match = match
        self._rest = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """More of it, b"" for its end; returns the first line that matches."""
        whole, newline, rest = data.rpartition(b"\n")
        self._rest += whole if newline else rest
        if not newline and data and len(self._rest) < _LINE_MAX:
            return None
        lines = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest if newline else b"")
        for line in lines:
            text = line.removesuffix(b"\r")
            if self._match(text):
                return text
        return None


def search(frames: BinaryIO, match: Callable[[bytes], bool]) -> bytes | None:
    """The first line of any source that matches, None when the input has ended without one."""
    sources: dict[bytes, Lines] = {}
    while header := frames.readline():
        source, _, length = header.partition(b" ")
        found = sources.setdefault(source, Lines(match)).feed(frames.read(int(length)))
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
    os.write(1, found[:_SHOWN_MAX])
    return MATCHED


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stdout.flush()
    os._exit(code)
