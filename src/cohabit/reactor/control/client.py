"""A client of the control socket: its user, its open requests, and the output that it has not read yet.

Only one request is read at a time, up to its newline. What follows stays in the kernel, whose buffer is bounded, until
process 1 has time for it.
"""

from __future__ import annotations

import sys
import time

from cohabit.api import protocol
from cohabit.api.protocol import RequestError
from cohabit.control import REQUEST_BYTES_MAX
from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from cohabit.api.commands import Outcome
    from cohabit.engine.events import Event
else:
    import _socket as socket

OPEN_REQUESTS_MAX = 16  # of one connection
_PEEK_BYTES = 4096
_PIECES_AT_ONCE = 64  # IOV_MAX is 1024
_SO_PEERGROUPS = 59
_GROUPS_SIZE = 4 * 256
_CREDENTIALS_SIZE = 12  # of struct ucred: pid, uid, gid


class Exchange:
    """A request whose answer is not complete. line: the request; id: None if it is the last one of its connection.

    outcome: what is awaited or followed. dropped: bytes of a stream that were left out for this client.
    """

    __slots__ = ("dropped", "id", "line", "outcome")

    def __init__(self, line: bytes, number: int | None = None) -> None:
        self.line = line
        self.id = number
        self.outcome: Outcome | None = None
        self.dropped = 0


class Client:
    """One connection. line: the received part of an incomplete request; exchanges: those that stay open, by age.

    trusted: the client is root or the user of process 1. pending: output that is not written yet, size: its bytes.
    last: no request is read any more, and nothing follows what is pending. half_closed: the client sends nothing more.
    served: it has sent a request. mask: the registered events, None if the connection is not registered. after_close:
    events for the engine once the client has closed the connection.
    """

    __slots__ = (
        "after_close", "exchanges", "fd", "half_closed", "last", "line", "mask", "pending", "served", "size", "trusted",
        "unread",
    )  # fmt: skip

    def __init__(self, fd: int, *, trusted: bool) -> None:
        self.fd = fd
        self.trusted = trusted
        self.line = b""
        self.exchanges: list[Exchange] = []
        self.pending: list[bytes] = []
        self.size = 0
        self.last = False
        self.half_closed = False
        self.served = False
        self.unread = False
        self.mask: int | None = None
        self.after_close: tuple[Event, ...] = ()

    @property
    def timer(self) -> tuple[str, str]:
        """The key of the timer that closes the connection."""
        return "client", str(self.fd)

    @property
    def reads(self) -> bool:
        """Whether a request may be read: its output has been read, and it has few open requests, all with ids."""
        if self.last or self.half_closed or self.pending or len(self.exchanges) >= OPEN_REQUESTS_MAX:
            return False
        return not self.exchanges or self.exchanges[0].id is not None

    def receive(self) -> bytes:
        """Read to the end of one request at most; b"" at the end. Raises BlockingIOError and other OSErrors."""
        peer = _as_socket(self.fd)
        try:
            data = peer.recv(_PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        finally:
            peer.detach()
        size = data.find(b"\n") + 1 or len(data)
        self.unread = size < len(data)
        return os.read(self.fd, size) if size else b""

    def discard(self) -> None:
        """Read what the client has sent in excess, so that the close does not reset the connection."""
        if self.unread:
            try:
                os.read(self.fd, REQUEST_BYTES_MAX)
            except OSError:
                return

    def open(self, line: bytes) -> Exchange:
        """Return the exchange for a request. Raises RequestError if its id is in use."""
        number = protocol.request_id(line)
        if number is not None and any(exchange.id == number for exchange in self.exchanges):
            raise RequestError(f"cannot read the request: the id {number} belongs to a request without an answer yet")
        return Exchange(line, number)

    def put(self, exchange: Exchange, data: bytes) -> None:
        """Append a part of the answer to a request."""
        framed = data if exchange.id is None else protocol.chunk(exchange.id, data)
        self.pending.append(framed)
        self.size += len(framed)

    def finish(self, exchange: Exchange) -> None:
        """End the answer to a request; without an id, the connection ends with it."""
        if exchange in self.exchanges:
            self.exchanges.remove(exchange)
        if exchange.id is None:
            self.last = True
        else:
            self.put(exchange, b"")

    def write(self) -> None:
        """Write as much pending output as the socket accepts. Raises OSError when the client has gone."""
        try:
            while self.pending:
                self._remove_written(os.writev(self.fd, self.pending[:_PIECES_AT_ONCE]))
        except BlockingIOError:
            return

    def report_dropped(self, exchange: Exchange, kind: str) -> None:
        """Append a record with the number of dropped bytes, if any. kind: of the stream, "logs" or "events"."""
        if exchange.dropped:
            count, exchange.dropped = exchange.dropped, 0
            if kind == "logs":
                self.put(exchange, protocol.record("cohabit", "dropped", time.time(), b"%d" % count))
            else:
                self.put(exchange, protocol.line({"dropped": count}))

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

    def to_plain(self) -> dict[str, Any]:
        """Return the client as plain values, for a re-execution. A clock's times are not among them."""
        return {
            "fd": self.fd,
            "trusted": self.trusted,
            "line": self.line,
            "exchanges": [(each.line, each.id, each.dropped) for each in self.exchanges],
            "last": self.last,
            "half_closed": self.half_closed,
            "served": self.served,
            "pending": b"".join(self.pending),
            "after_close": to_plain(self.after_close),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Client:
        """Return the client of to_plain, without its exchanges: their requests are run again."""
        client = cls(plain["fd"], trusted=plain["trusted"])
        os.set_inheritable(client.fd, False)
        client.line, client.last, client.half_closed = plain["line"], plain["last"], plain["half_closed"]
        client.served, client.after_close = plain["served"], from_plain(plain["after_close"])
        if plain["pending"]:
            client.pending, client.size = [plain["pending"]], len(plain["pending"])
        return client

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
