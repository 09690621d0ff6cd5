"""The listening end of the control socket: creates it, accepts clients and removes it.

What prevents its creation at the start (no free descriptor, a directory mounted later) may be temporary, so cohabit
retries with growing pauses. One message says that the socket is missing, and one that it is open.

Every user can connect, because only a connection has an identity (SO_PEERCRED). accepting.py decides who may send
requests.
"""

from __future__ import annotations

import errno
import time

from cohabit.reactor.linux import os
from cohabit.reactor.rundir import bind_for_all, is_dead

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Protocol

    from cohabit.reactor.context import Context

    class Openable(Protocol):
        """The part of accepting.Accepting that is used here."""

        @property
        def is_open(self) -> bool:
            """Whether the socket is open."""

        def open(self) -> None:
            """Bind the socket. Raises OSError."""

else:
    import _socket as socket

_RETRY = ("control", "open")  # key of the timer of the next attempt
_RETRYING = "retrying; until then `cohabit ps` and other client commands do not work"
_PAUSE_SECONDS, _PAUSE_SECONDS_MAX = 1.0, 60.0  # before the first retry; doubled for each further one


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


class Opening:
    """Opens the control socket."""

    def __init__(self, context: Context, accepting: Openable) -> None:
        self._context = context
        self._accepting = accepting
        self._pause_seconds = _PAUSE_SECONDS
        self._warned = False

    def begin(self) -> None:
        """Open the socket, or schedule a retry."""
        try:
            self._accepting.open()
        except OSError as error:
            self._retry_later()
            self._pause_seconds = min(2 * self._pause_seconds, _PAUSE_SECONDS_MAX)
            if not self._warned:
                why = error.strerror or str(error)
                self._context.log("warning", "", f"cannot open the control socket: {why} ({_RETRYING})")
            self._warned = True
            return
        if self._warned:
            self._context.log("info", "", "the control socket is open now")

    def resume(self) -> None:
        """After a re-execution: retry if the socket is still missing, without a second warning."""
        self._warned = not self._accepting.is_open
        if self._warned:
            self._retry_later()

    def _retry_later(self) -> None:
        self._context.poller.call_at(_RETRY, time.monotonic() + self._pause_seconds, self.begin)
