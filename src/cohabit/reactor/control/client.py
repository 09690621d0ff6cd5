"""Somebody who is connected to the control socket: who it is, and what it has still to read."""

from __future__ import annotations

import sys
import time

from cohabit.api import protocol
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from cohabit.api.commands import Outcome
    from cohabit.engine.events import Event
else:
    import _socket as socket

_PIECES_AT_ONCE = 64  # IOV_MAX is 1024
_SO_PEERGROUPS = 59
_GROUPS_SIZE = 4 * 256
_CREDENTIALS_SIZE = 12  # of struct ucred: pid, uid, gid


class Client:
    """Somebody who is connected. line: what was read of the request; outcome: what is to come of it, once it is known.

    trusted: root or our own user. pending: what it did not take yet; dropped: how many bytes of a stream it missed.
    until: monotonic seconds at which our patience ends, None for never. held: nobody listens to it for a while.
    then: facts for the engine when it has gone.
    """

    __slots__ = ("dropped", "fd", "held", "last", "line", "outcome", "pending", "size", "then", "trusted", "until")

    def __init__(self, fd: int, *, trusted: bool, until: float | None) -> None:
        self.fd = fd
        self.trusted = trusted
        self.line = b""
        self.outcome: Outcome | None = None
        self.pending: list[bytes] = []
        self.size = 0
        self.dropped = 0
        self.last = False  # what is pending is the last of it
        self.held = False
        self.then: tuple[Event, ...] = ()
        self.until = until

    @property
    def lasting(self) -> bool:
        """It waits, or listens to a stream."""
        return self.outcome is not None and not self.last

    def put(self, data: bytes) -> None:
        """Something for it to read."""
        self.pending.append(data)
        self.size += len(data)

    def write(self) -> None:
        """Write as much of what is pending as goes without waiting. Raises OSError when nobody is there any more."""
        try:
            while self.pending:
                self._written(os.writev(self.fd, self.pending[:_PIECES_AT_ONCE]))
        except BlockingIOError:
            return

    def report_dropped(self, kind: str) -> None:
        """Tell it how many bytes of a stream of "logs" or "events" it missed."""
        if self.dropped:
            count, self.dropped = self.dropped, 0
            if kind == "logs":
                self.put(protocol.record("cohabit", "dropped", time.time(), b"%d" % count))
            else:
                self.put(protocol.line({"dropped": count}))

    def end(self) -> None:
        """Tell it that nothing more comes, and stay to see it go."""
        try:
            peer = _as_socket(self.fd)
        except OSError:
            return  # no room to tell it: it is hung up on soon
        try:
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has gone already
        finally:
            peer.detach()

    def _written(self, count: int) -> None:
        self.size -= count
        while count and count >= len(self.pending[0]):
            count -= len(self.pending.pop(0))
        if count:
            self.pending[0] = self.pending[0][count:]


def _as_socket(fd: int) -> socket.socket:
    """The descriptor as a socket object, to be detached again. Raises OSError.

    Its kind is given: else three system calls more would ask for that, which may fail.
    """
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)


def peer_uid(fd: int) -> int:
    """The user of whoever connected, as the kernel saw it then."""
    return int.from_bytes(_option(fd, socket.SO_PEERCRED, _CREDENTIALS_SIZE)[4:8], sys.byteorder)


def peer_groups(fd: int) -> set[int]:
    """All groups of whoever connected, as the kernel saw them then."""
    main = _option(fd, socket.SO_PEERCRED, _CREDENTIALS_SIZE)[8:12]
    try:
        more = _option(fd, _SO_PEERGROUPS, _GROUPS_SIZE)
    except OSError:  # an old kernel, or a great many groups
        more = b""
    data = main + more
    return {int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data), 4)}


def hang_up(fd: int, last: bytes) -> bool:
    """Close a connection that was just accepted; what it gets before has room in its empty buffer. Always False."""
    try:
        peer = _as_socket(fd)
        try:
            peer.send(last, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        finally:
            peer.detach()
    except OSError:
        pass  # it has gone already
    os.close(fd)
    return False


def _option(fd: int, option: int, size: int) -> bytes:
    """A socket option. Raises OSError."""
    peer = _as_socket(fd)
    try:
        return peer.getsockopt(socket.SOL_SOCKET, option, size)
    finally:
        peer.detach()
