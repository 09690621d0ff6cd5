"""The listening end of the control socket: creates it, accepts clients and removes it.

Every user can connect, because only a connection has an identity (SO_PEERCRED). server.py decides who may send
requests.
"""

from __future__ import annotations

import errno

from cohabit.reactor.linux import os
from cohabit.reactor.rundir import bind_for_all, is_dead

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
else:
    import _socket as socket


def listen(path: str, backlog: int) -> int:
    """Return a descriptor that listens at this path. A socket left by a dead process is replaced. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        try:
            bind_for_all(listener, path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not is_dead(path):
                raise
            os.unlink(path)
            bind_for_all(listener, path)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener.detach()


def accept(fd: int) -> int:
    """Return the descriptor of one client, close-on-exec. Raises BlockingIOError if none waits, and OSError.

    Family and type are given, because Python would otherwise read them with three more system calls, which may fail.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
    try:
        return int(listener._accept()[0])  # type: ignore[attr-defined]  # socket.socket.accept wraps this
    finally:
        listener.detach()


def remove(path: str) -> None:
    """Remove the socket's file, if it still exists."""
    try:
        os.unlink(path)
    except OSError:
        return
