"""A syslog server as a destination, over a unix socket, UDP or TCP, without ever blocking.

Input is frames of syslog_format.py. While the server is unreachable, they stay pending. How they are sent, and what is
known of their delivery, depends on the transport (syslog_transport.py).

A side program looks up the host name at each connect (tasks/resolve.py). While the container ends no program can be
started, and the addresses that were found last are used.
"""

from __future__ import annotations

import errno
import select
import time

from cohabit.reactor.connector import Connector, type_of
from cohabit.reactor.linux import os
from cohabit.reactor.logs.syslog_server import Server
from cohabit.reactor.logs.syslog_transport import TRANSPORTS, Frames
from cohabit.reactor.poller import is_ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from cohabit.reactor.connector import Place
    from cohabit.reactor.context import Context, Ended
    from cohabit.reactor.logs.syslog_transport import Transport
else:
    import _socket as socket

_RETRY_SECONDS, _RETRY_SECONDS_MAX = 0.1, 10.0
_CONNECT_SECONDS = 5.0
_LOOKUP_SECONDS = 5.0  # then a warning is logged; the resolver continues
_STABLE_SECONDS = 1.0  # a connection that lasted this long is renewed without delay
_NO_BUFFER_SECONDS = 0.02
_STALL_SECONDS = 1.0  # in drain(): a server that accepts nothing for this long is given up
_DELIVERY_POLL_SECONDS = 0.005  # in drain(); there is no event for delivery


class SyslogSink:
    """One server; a sink (destination.py).

    fd, retry_at: when to call flush(). Read them while `blocked`, after each call, and when on_retry() is called: a
    resolver has ended. fd is -1 when only retry_at counts, even if the socket is open or connected. While blocked, fd
    never changes from one descriptor to another without being -1 in between. One warning is logged when
    the server cannot be reached, and one when it can again.
    """

    byte_stream = False

    def __init__(
        self,
        address: str,
        context: Context,
        on_retry: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self._log = context.log
        self.lost = ""  # a server is never given up
        self.fd = -1
        self.retry_at: float | None = None

        def lookup_ended() -> None:
            self.retry_at = 0.0
            if self.blocked and on_retry is not None:
                on_retry()

        self._server = Server(address, context, lookup_ended)
        self._connector: Connector | None = None  # while it connects
        self._transport: Transport | None = None  # while it is connected
        self._place: Place = ("", 0, None)  # of the transport
        self._connected_at = 0.0  # monotonic seconds
        self._delay_seconds = 0.0
        self.problem = ""  # why the server cannot be reached
        self._draining = self._stalled = False
        self._frames = Frames()

    # --- sink interface ------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """Whether it holds frames that are not sent."""
        return bool(self._frames.pieces)

    @property
    def pending_bytes(self) -> int:
        """How many bytes are not sent yet."""
        return self._frames.pending_bytes

    def write(self, frames: bytes | memoryview) -> None:
        """Send whole frames, or keep what cannot be sent at once."""
        if not frames:
            return
        self._frames.pieces.append(bytes(frames))
        if len(self._frames.pieces) == 1:
            self.flush()

    def flush(self) -> None:
        """Connect and send as far as possible without waiting. May be called at any time."""
        if not self.blocked:
            return
        now = time.monotonic()
        due = self.retry_at is None or now >= self.retry_at
        if self._transport is None and (due or self.fd >= 0):
            self._connect(now)
            due = True
        if self._transport is not None and due:
            self._send(self._transport, now)

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """Send what is pending and let TCP deliver it, while there is time. For the end of the container."""
        if not self._draining and self._transport is None and self.fd < 0 and not self._server.looking_up:
            self.retry_at, self._delay_seconds = None, 0.0  # one more attempt, at once
        self._draining = True
        pending, until = self.pending_bytes, time.monotonic() + _STALL_SECONDS
        while not self._stalled:
            self.flush()
            now, left = time.monotonic(), seconds_left()
            if self._is_delivered(now) or left <= 0:
                return
            if self.pending_bytes < pending:
                pending, until = self.pending_bytes, now + _STALL_SECONDS
            self._stalled = now >= until
            self._wait(max(0.0, min(left, until - now)), now)

    def _is_delivered(self, now: float) -> bool:
        """In drain(): whether everything is sent and, as far as can be known, delivered."""
        if not self.blocked and self._transport is not None:
            try:
                return self._transport.is_delivered()
            except OSError as error:
                self._connection_lost(error, now, refused=True)
        return not self.blocked

    def _wait(self, seconds: float, now: float) -> None:
        """In drain(): wait until the next attempt may succeed."""
        if self._server.looking_up:
            self._server.wait(seconds)
            self.retry_at = None
            return
        poll = select.poll()
        if self.fd >= 0:
            poll.register(self.fd, select.POLLOUT)
        if not self.blocked:
            seconds = min(seconds, _DELIVERY_POLL_SECONDS)
        elif self.retry_at is not None:
            seconds = max(0.0, min(seconds, self.retry_at - now))
        is_ready(poll, seconds + 0.001 * (seconds > 0))

    def close(self) -> None:
        """Shut the connection down."""
        if self._transport is not None:
            try:
                self._transport.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self._disconnect()
        self._frames = Frames()

    # --- connecting ----------------------------------------------------------------------------------

    def _connect(self, now: float) -> None:
        """Try the addresses in turn, until one accepts the connection or is in progress."""
        self.fd, self.retry_at = -1, None
        if self._connector is None:
            self._find_places(now)
        connector = self._connector
        if connector is None:
            return
        try:
            sock = connector.advance(now)
            if sock is None:
                self.fd = connector.socket.fileno() if connector.socket is not None else -1
                self.retry_at = connector.retry_at
                return
            self._transport = TRANSPORTS[connector.place[0]](sock)
        except OSError as error:
            self._disconnect()
            self._retry_later(error.strerror or str(error), now)
            return
        self._place, self._connected_at, self._connector = connector.place, now, None

    def _find_places(self, now: float) -> None:
        """Begin to connect, or start the resolver: _connect() continues when it ends, or after 5 seconds."""
        server = self._server
        if server.is_name and not server.is_new and not self._draining:
            if server.looking_up:
                self._report("no answer from the name servers yet")
            try:
                server.look_up()
                self.retry_at = now + _LOOKUP_SECONDS
            except OSError as error:
                self._retry_later(f"cannot look up the host name: {error.strerror}", now)
            return
        server.is_new = False
        if server.places and (self._draining or not server.error):
            self._connector = Connector(server.places, _CONNECT_SECONDS)
        else:
            self._retry_later(server.error or "no address is known", now)

    def _retry_later(self, why: str, now: float) -> None:
        """Report that the server cannot be reached, and try again with a doubled delay."""
        self._delay_seconds = min(max(2 * self._delay_seconds, _RETRY_SECONDS), _RETRY_SECONDS_MAX)
        self.retry_at = now + self._delay_seconds
        self._report(why)

    def _connection_lost(self, error: OSError, now: float, *, refused: bool) -> None:
        """Reconnect, at once if the connection lasted at least a second. refused: see Datagrams.recover."""
        if self._transport is not None:
            self._transport.recover(self._frames, refused=refused)
        self._disconnect()
        if now - self._connected_at >= _STABLE_SECONDS:
            self._delay_seconds, self.retry_at = 0.0, now
        else:
            self._retry_later(error.strerror or str(error), now)

    def _disconnect(self) -> None:
        if self._transport is not None:
            self._transport.socket.close()
        if self._connector is not None:
            self._connector.close()
        self._transport, self._connector, self.fd = None, None, -1

    def _report(self, why: str) -> None:
        """Log once why the server cannot be reached, and once that it can again (why: "")."""
        reported, self.problem = self.problem, why
        if bool(reported) != bool(why):
            trouble = f"cannot reach syslog {self.address}: {why} (trying again; blocking services wait)"
            self._log("warning", "", trouble if why else f"can reach syslog {self.address} again")

    # --- sending -------------------------------------------------------------------------------------

    def _send(self, transport: Transport, now: float) -> None:
        self.fd, self.retry_at = -1, None
        try:
            seconds = transport.send(self._frames)
            if seconds:
                self.retry_at = now + seconds
        except BlockingIOError:
            self.fd = transport.socket.fileno()
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._frames.split()
                self.retry_at = now
            elif error.errno == errno.ENOBUFS:  # no event shows that buffers are free again
                self.retry_at = now + _NO_BUFFER_SECONDS
            else:
                self._connection_lost(error, now, refused=error.errno == errno.ECONNREFUSED)
                return
        if self.retry_at is None and (not self.blocked or now - self._connected_at >= _STABLE_SECONDS):
            self._report("")

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Descriptors that must stay open across the exec."""
        return [self._transport.socket.fileno()] if self._transport is not None else []

    def tasks(self) -> list[tuple[str, Ended]]:
        """No side program: a running resolver is abandoned, and the new program starts another."""
        return []

    def to_plain(self) -> dict[str, Any]:
        """Plain values for restore(). An established connection is kept; one in progress is abandoned."""
        transport = self._transport
        return {
            "fd": transport.socket.fileno() if transport is not None else -1,
            "place": self._place,
            "transport": transport.to_plain() if transport is not None else None,
            "age": time.monotonic() - self._connected_at,
            "places": self._server.places,
            "count": self._server.count,
            "problem": self.problem,
            "frames": (self._frames.pieces.copy(), self._frames.offset),
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(). What is pending is sent by the next flush()."""
        self._server.places = plain["places"]
        self._server.count = plain["count"]
        self.problem = plain["problem"]
        self._frames.pieces, self._frames.offset = plain["frames"]
        if plain["fd"] >= 0:
            os.set_inheritable(plain["fd"], False)
            transport, family, _ = self._place = plain["place"]
            self._transport = TRANSPORTS[transport](socket.socket(family, type_of(transport), 0, plain["fd"]))
            self._transport.restore(plain["transport"])
            self._connected_at = time.monotonic() - plain["age"]
        if self.blocked:
            self.retry_at = 0.0
