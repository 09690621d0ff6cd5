"""One line for people, from `init`, which has no pump: it must never wait for whoever reads it."""

from __future__ import annotations

import select

from cohabit.reactor.linux import os

_PIPE_BUF = 4096


def write_line(fd: int, text: str) -> None:
    """A line, unless it would have to wait for its reader or nobody is there.

    A pipe that polls writable takes PIPE_BUF bytes at once (pipe(7)).
    """
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    try:
        if poll.poll(0):
            os.write(fd, f"{text}\n".encode("utf-8", "surrogateescape")[:_PIPE_BUF])
    except OSError:
        return  # closed
