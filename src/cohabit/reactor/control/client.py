"""A client of the control socket: its user, its request, and the output that it has not read yet."""

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
    """One connection. line: what was read of the request; outcome: the outcome of the request, None before it is run.

    trusted: the client is root or the user of process 1. pending: output that is not written yet, size: its bytes.
    dropped: bytes of a stream that were left out for this client. last: nothing follows what is pending.
    until: monotonic seconds at which the connection is closed, None for never. throttled: it is not in the epoll set
    for a while. after_close: events for the engine once the client has closed the connection.
    """

    __slots__ = (
        "after_close", "dropped", "fd", "last", "line", "outcome", "pending", "size", "throttled", "trusted", "until",
    )  # fmt: skip

    def __init__(self, fd: int, *, trusted: bool, until: float | None) -> None:
        self.fd = fd
        self.trusted = trusted
        self.line = b""
        self.outcome: Outcome | None = None
        self.pending: list[bytes] = []
        self.size = 0
        self.dropped = 0
        self.last = False
        self.throttled = False
        self.after_close: tuple[Event, ...] = ()
        self.until = until

    @property
    def streaming(self) -> bool:
        """Whether the connection stays open: the client waits for a reply, or follows a stream."""
        return self.outcome is not None and not self.last

    def put(self, data: bytes) -> None:
        """Append output."""
        self.pending.append(data)
        self.size += len(data)

    def write(self) -> None:
        """Write as much pending output as the socket accepts. Raises OSError when the client has gone."""
        try:
            while self.pending:
                self._remove_written(os.writev(self.fd, self.pending[:_PIECES_AT_ONCE]))
        except BlockingIOError:
            return

    def report_dropped(self, kind: str) -> None:
        """Append a record with the number of dropped bytes, if any. kind: of the stream, "logs" or "events"."""
        if self.dropped:
            count, self.dropped = self.dropped, 0
            if kind == "logs":
                self.put(protocol.record("cohabit", "dropped", time.time(), b"%d" % count))
            else:
                self.put(protocol.line({"dropped": count}))

    def end(self) -> None:
        """Shut down the writing side. The connection stays open, so that the client's close can be seen."""
        try:
            peer = _as_socket(self.fd)
        except OSError:
            return  # a shortage: its deadline closes the connection
        try:
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the client has gone already
        finally:
            peer.detach()

    def _remove_written(self, count: int) -> None:
        self.size -= count
        while count and count >= len(self.pending[0]):
            count -= len(self.pending.pop(0))
        if count:
            self.pending[0] = self.pending[0][count:]


def _as_socket(fd: int) -> socket.socket:
    """Return the descriptor as a socket object, which the caller must detach. Raises OSError.

    Family and type are given, because Python would otherwise read them with three more system calls, which may fail.
    """
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)


def peer_uid(fd: int) -> int:
    """Return the uid of the client when it connected (SO_PEERCRED, unix(7))."""
    return int.from_bytes(_option(fd, socket.SO_PEERCRED, _CREDENTIALS_SIZE)[4:8], sys.byteorder)


def peer_groups(fd: int) -> set[int]:
    """Return all gids of the client when it connected (SO_PEERCRED, SO_PEERGROUPS)."""
    main = _option(fd, socket.SO_PEERCRED, _CREDENTIALS_SIZE)[8:12]
    try:
        more = _option(fd, _SO_PEERGROUPS, _GROUPS_SIZE)
    except OSError:  # a kernel before 4.13, or more than 256 groups
        more = b""
    data = main + more
    return {int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data), 4)}


def hang_up(fd: int, data: bytes) -> bool:
    """Write data to a connection that was just accepted, whose buffer is empty, and close it. Always returns False."""
    try:
        peer = _as_socket(fd)
        try:
            peer.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        finally:
            peer.detach()
    except OSError:
        pass  # the client has gone already
    os.close(fd)
    return False


def _option(fd: int, option: int, size: int) -> bytes:
    peer = _as_socket(fd)
    try:
        return peer.getsockopt(socket.SOL_SOCKET, option, size)
    finally:
        peer.detach()
