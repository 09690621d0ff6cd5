"""The multiline child: finds the lines of a service's output that begin a record; a child of process 1.

`python -I -S PATH/multiline.py SECONDS PATTERN`. It is a separate program because a user's regular expression can run
forever (catastrophic backtracking).

Standard input is whole lines. Standard output is one character for each line, in order: 1 if the pattern is found in
it, so that it begins a record, otherwise 0. Each line is searched without its newline (LF or CR LF). The program holds
only an unfinished line, so nothing is lost if it dies. If the lines of one read take more than SECONDS of CPU time,
SIGVTALRM ends the program. At the end of the input it exits with 0.
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


def classify(lines: bytes, search: Callable[[str], object]) -> bytes:
    """One character for each line; each ends with a newline. Decodes all at once: no invalid byte hides a newline."""
    texts = lines[:-1].decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\r").split("\n")
    return bytes([_BEGINS if search(text) else _GOES_ON for text in texts])


def run(read: Callable[[], bytes], write: Callable[[bytes], None], search: Callable[[str], object]) -> None:
    """Classify lines that are read in pieces of any size, until the input ends."""
    partial = bytearray()
    while data := read():
        end = data.rfind(b"\n") + 1
        if end:
            write(classify(bytes(partial) + data[:end], search))
            partial.clear()
        partial += data[end:]


def main(argv: list[str]) -> int:
    """Classify until the input ends. Returns the exit code."""
    seconds = float(argv[1])
    search = re.compile(argv[2]).search
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end without a traceback if the answers are not read
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGVTALRM, signal.SIGPIPE})

    def read() -> bytes:
        data = os.read(0, _READ_SIZE)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)  # until the next read; waiting does not count
        return data

    def write(answers: bytes) -> None:
        rest = memoryview(answers)
        while rest:
            rest = rest[os.write(1, rest) :]

    run(read, write, search)
    return 0


if __name__ == "__main__":
    os._exit(main(sys.argv))
