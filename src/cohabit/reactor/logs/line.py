"""Write one line for people, for `cohabit init`, which must never block on the reader of its output."""

from __future__ import annotations

import select

from cohabit.reactor.linux import os

_PIPE_BUF = 4096


def write_line(fd: int, text: str) -> None:
    """Write a line, unless that would block or the reader is gone.

    A pipe that polls writable accepts PIPE_BUF bytes at once (pipe(7)).
    """
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    try:
        if poll.poll(0):
            os.write(fd, f"{text}\n".encode("utf-8", "surrogateescape")[:_PIPE_BUF])
    except OSError:
        return  # the reader is gone
