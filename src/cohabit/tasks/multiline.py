"""The joiner: says which lines of a service's output begin a record; a child of process 1.

`python -I -S PATH/multiline.py SECONDS PATTERN`. A program of its own because a regular expression of a user's can take
for ever (catastrophic backtracking), and process 1 has no time; it imports nothing of this house.

Standard input is whole lines; standard output is one character for each, in their order: 1 where the pattern is found
in it, so that it begins a record, 0 where it goes on with one. Each line is searched by itself, without its newline (or
CRLF). It keeps nothing but a line that has not ended yet: whoever asks still has them all, and loses none if this
program dies. Lines that take more than SECONDS of CPU time, one or as many as come in one read, end it by SIGVTALRM;
the end of the input ends it with 0.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_READ_SIZE: Final = 65_536
_BEGINS, _GOES_ON = b"10"


def judge(lines: bytes, search: Callable[[str], object]) -> bytes:
    """One character for each line; each ends with its newline. Decoded at once: no bytes swallow a newline."""
    texts = lines[:-1].decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\r").split("\n")
    return bytes([_BEGINS if search(text) else _GOES_ON for text in texts])


def answer(read: Callable[[], bytes], write: Callable[[bytes], None], search: Callable[[str], object]) -> None:
    """Judge what comes in any pieces, until the input ends."""
    rest = bytearray()
    while data := read():
        end = data.rfind(b"\n") + 1
        if end:
            write(judge(bytes(rest) + data[:end], search))
            rest.clear()
        rest += data[end:]


def main(argv: list[str]) -> int:
    """Judge until the end. Returns the exit code."""
    seconds = float(argv[1])
    search = re.compile(argv[2]).search
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGVTALRM})
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody waits for answers any more: no words about that

    def read() -> bytes:
        data = os.read(0, _READ_SIZE)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)  # from here to the next read; it counts no waiting
        return data

    def write(answers: bytes) -> None:
        view = memoryview(answers)
        while view:
            view = view[os.write(1, view) :]

    answer(read, write, search)
    return 0


if __name__ == "__main__":
    os._exit(main(sys.argv))
