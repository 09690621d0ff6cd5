"""The listening end of the control socket: it is made, clients are accepted from it, and it is taken away.

Every user may connect: only a connection has an identity (SO_PEERCRED), and who may ask is server.py's.
"""

from __future__ import annotations

from cohabit.reactor.linux import os
from cohabit.reactor.rundir import bind_for_all, is_dead

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
else:
    import _socket as socket

_EADDRINUSE = 98


def listen(path: str, backlog: int) -> int:
    """A descriptor that listens at this path, also where a process that was killed left a socket. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        try:
            bind_for_all(listener, path)
        except OSError as error:
            if error.errno != _EADDRINUSE or not is_dead(path):
                raise
            os.unlink(path)
            bind_for_all(listener, path)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener.detach()


def accept(fd: int) -> int:
    """The descriptor of one client, not inherited by children. Raises BlockingIOError when there is none, and OSError.

    The kind of socket is given: else Python would ask for it with three more system calls, which may fail.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    try:
        return int(listener._accept()[0])  # type: ignore[attr-defined]  # what socket.socket.accept wraps
    finally:
        listener.detach()


def remove(path: str) -> None:
    """Take its file away, if nobody else has."""
    try:
        os.unlink(path)
    except OSError:
        return
