"""A syslog server as a destination, over a unix socket, UDP or TCP, without ever blocking.

Input is frames of syslog_format.py. TCP sends them as they are (octet counting, RFC 6587 3.4.1). A datagram carries
one message. On a unix stream each message ends with a newline, which rsyslog's imptcp, syslog-ng and Docker's syslog
driver understand (of these only imptcp supports octet counting), so a newline or NUL inside a message becomes #012 or
#000, as rsyslog writes them. While the server is unreachable, frames stay pending.

syslog has no acknowledgement. What the server's kernel had accepted and its program had not read when it ended is
lost. What TCP had not delivered when the connection broke is known (SIOCOUTQ, tcp(7)) and sent again on the next
connection; a frame is sent twice if only its acknowledgement was lost. ICMP reports a refused UDP datagram, but only
the last one can be sent again, so one datagram is sent alone after each connect, as a probe.

A side program looks up the host name at each connect (tasks/resolve.py). While the container ends no program can be
started, and the addresses that were found last are used.
"""

from __future__ import annotations

import errno
import fcntl
import select
import sys
import time

from cohabit import paths
from cohabit.reactor.linux import os
from cohabit.reactor.logs.syslog_format import BYTES_MAX, frame, frame_end, halves
from cohabit.reactor.logs.syslog_server import DATAGRAM, STREAM, TCP, UDP, Server, open_socket, type_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from cohabit.reactor.context import Context, Ended
    from cohabit.reactor.logs.syslog_server import Place
else:
    import _socket as socket

_RETRY_SECONDS, _RETRY_SECONDS_MAX = 0.1, 10.0
_CONNECT_SECONDS = 5.0
_LOOKUP_SECONDS = 5.0  # then a warning is logged; the resolver continues
_PROOF_SECONDS = 0.1  # how long an ICMP message about a closed port may take
_STABLE_SECONDS = 1.0  # a connection that lasted this long is renewed without delay
_NO_BUFFER_SECONDS = 0.02
_STALL_SECONDS = 1.0  # in drain(): a server that accepts nothing for this long is given up
_DELIVERY_POLL_SECONDS = 0.005  # in drain(); there is no event for delivery
_UNACKNOWLEDGED_MAX = 262_144  # beyond this, ask the kernel what was delivered
_READ_SIZE = 65_536
_SIOCOUTQ = 0x5411


class SyslogSink:
    """One server; a sink (target.py).

    fd, retry_at: when to call flush(). Read them while `blocked`, after each call, and when on_retry() is called: a
    resolver has ended. fd is -1 when only retry_at counts, even if the socket is open or connected. While blocked, fd
    never changes from one descriptor to another without being -1 in between. One warning is logged when
    the server cannot be reached, and one when it can again.
    """

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
        self._addresses: list[Place] = []
        self._place: Place = ("", 0, None)
        self._socket: socket.socket | None = None
        self._connected = False
        self._connected_at = 0.0  # monotonic seconds
        self._delay_seconds = 0.0
        self._failure_reported = False
        self._draining = self._stalled = False
        self._pieces: list[bytes] = []  # frames; those before _offset in the first piece are sent
        self._offset = 0
        self._of_line = 0  # unix stream: bytes sent of the line at _offset
        self._sent: list[bytes] = []  # TCP: pieces that are sent, but may not be delivered
        self._sent_bytes = 0
        self._last_datagram = b""  # UDP: the last frame sent; it may be refused
        self._probe_sent = self._probe_accepted = False  # UDP: see _send_probe()

    # --- sink interface ------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """Whether it holds frames that are not sent."""
        return bool(self._pieces)

    @property
    def pending_bytes(self) -> int:
        """How many bytes are not sent yet."""
        return sum(map(len, self._pieces)) - self._offset

    def write(self, frames: bytes | memoryview) -> None:
        """Send whole frames, or keep what cannot be sent at once."""
        if not frames:
            return
        self._pieces.append(bytes(frames))
        if len(self._pieces) == 1:
            self.flush()

    def flush(self) -> None:
        """Connect and send as far as possible without waiting. May be called at any time."""
        if not self._pieces:
            return
        now = time.monotonic()
        due = self.retry_at is not None and now >= self.retry_at
        if self._socket is None and (due or self.retry_at is None):
            self._connect(now)
        elif self._socket is not None and not self._connected:
            self._continue_connecting(now, due=due)
        if self._connected:
            self._send(now, due=due)

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """Send what is pending and let TCP deliver it, while there is time. For the end of the container."""
        if not self._draining and self._socket is None and not self._server.looking_up:
            self.retry_at, self._delay_seconds = None, 0.0  # one more attempt, at once
        self._draining = True
        pending, until = self.pending_bytes, time.monotonic() + _STALL_SECONDS
        while not self._stalled:
            self.flush()
            now, left = time.monotonic(), seconds_left()
            if self._is_delivered() or left <= 0:
                return
            if self.pending_bytes < pending:
                pending, until = self.pending_bytes, now + _STALL_SECONDS
            self._stalled = now >= until
            self._wait(max(0.0, min(left, until - now)), now)

    def close(self) -> None:
        """Shut the connection down."""
        if self._socket is not None and self._connected:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self._disconnect()
        self._pieces.clear()
        self._offset = 0

    # --- connecting ----------------------------------------------------------------------------------

    def _connect(self, now: float) -> None:
        """Try the addresses in turn, until one accepts the connection or is in progress."""
        self.retry_at = None
        server = self._server
        if not self._addresses:
            if server.is_name and not server.is_new and not self._draining:
                self._look_up(now)
                return
            server.is_new = False
            self._addresses = [] if server.error and not self._draining else server.places.copy()
        why = server.error or "no address is known"
        while self._addresses:
            self._place = self._addresses.pop(0)
            try:
                self._socket = open_socket(self._place)
                self._try(now)
            except OSError as error:
                why = error.strerror or str(error)
                self._disconnect()
            else:
                return
        self._retry_later(why, now)

    def _look_up(self, now: float) -> None:
        """Start the resolver. _connect() continues when it ends, or after 5 seconds."""
        if self._server.looking_up:
            self._report_failure("no answer from the name servers yet")
        try:
            self._server.look_up()
            self.retry_at = now + _LOOKUP_SECONDS
        except OSError as error:
            self._retry_later(f"cannot look up the host name: {error.strerror}", now)

    def _try(self, now: float) -> None:
        """Call connect(2) once more; sets _connected when it is complete. Raises OSError."""
        sock, (way, _, where) = self._socket, self._place
        if sock is None:
            return
        error = paths.connect(sock, where) if way in {STREAM, DATAGRAM} else sock.connect_ex(where)
        if error == errno.EINPROGRESS:
            error = sock.connect_ex(where)  # on the same machine the handshake is complete by now
        if error in (errno.EINPROGRESS, errno.EALREADY):
            if self.fd < 0:
                self.fd, self.retry_at = sock.fileno(), now + _CONNECT_SECONDS
            return
        if error == 0 and way == TCP and sock.getsockname() == sock.getpeername():
            # Nothing listens, and the kernel chose this very port for this end: TCP has connected to itself.
            error = errno.ECONNREFUSED
        if error == errno.EAGAIN:  # from a unix socket, which has no event for it
            raise ConnectionRefusedError(error, "its connection queue is full")
        if error:
            raise OSError(error, os.strerror(error))
        self._connected, self._connected_at = True, now
        self.fd, self.retry_at = -1, None

    def _continue_connecting(self, now: float, *, due: bool) -> None:
        try:
            self._try(now)
            if self._connected or not due:
                return
            why = "no answer"
        except OSError as error:
            why = error.strerror or str(error)
        self._disconnect()
        if self._addresses:
            self.retry_at = now  # the next address; not at once, since fd must be -1 in between
        else:
            self._retry_later(why, now)

    def _retry_later(self, why: str, now: float) -> None:
        """Report that the server cannot be reached, and try again with a doubled delay."""
        self._addresses.clear()
        self._delay_seconds = min(max(2 * self._delay_seconds, _RETRY_SECONDS), _RETRY_SECONDS_MAX)
        self.retry_at = now + self._delay_seconds
        self._report_failure(why)

    def _connection_lost(self, why: str, now: float) -> None:
        """Reconnect, at once if the connection lasted at least a second."""
        self._recover()
        self._disconnect()
        self._addresses.clear()
        if now - self._connected_at >= _STABLE_SECONDS:
            self._delay_seconds, self.retry_at = 0.0, now
        else:
            self._retry_later(why, now)

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._connected, self.fd = None, False, -1
        self._of_line, self._probe_accepted, self._probe_sent, self._last_datagram = 0, False, False, b""

    def _report_failure(self, why: str) -> None:
        if not self._failure_reported:
            action = "trying again; blocking services wait"
            self._log("warning", "", f"cannot reach syslog {self.address}: {why} ({action})")
        self._failure_reported = True

    def _report_recovery(self) -> None:
        if self._failure_reported:
            self._log("warning", "", f"can reach syslog {self.address} again")
        self._failure_reported = False

    # --- sending -------------------------------------------------------------------------------------

    def _send(self, now: float, *, due: bool) -> None:
        sock, way = self._socket, self._place[0]
        if sock is None or (self.retry_at is not None and not due):
            return
        self.fd, self.retry_at = -1, None
        try:
            if way == TCP:
                self._send_stream(sock)
            elif way == UDP and not self._probe_accepted:
                self._send_probe(sock, now)
            else:
                self._send_messages(sock)
            if way == UDP:
                _raise_error(sock)
        except BlockingIOError:
            self.fd = sock.fileno()
        except OSError as error:
            self._send_failed(error, now)
        if (
            self._connected
            and self.retry_at is None
            and (not self._pieces or now - self._connected_at >= _STABLE_SECONDS)
        ):
            self._report_recovery()

    def _send_failed(self, error: OSError, now: float) -> None:
        if error.errno == errno.EMSGSIZE:
            self._split()
            self.retry_at = now
        elif error.errno == errno.ENOBUFS:  # no event shows that buffers are free again
            self.retry_at = now + _NO_BUFFER_SECONDS
        else:
            if error.errno != errno.ECONNREFUSED:
                self._last_datagram = b""  # the error is not about the last datagram
            self._connection_lost(error.strerror or str(error), now)

    def _send_stream(self, sock: socket.socket) -> None:
        """TCP. Raises OSError."""
        _check_open(sock)
        pieces = self._pieces
        while pieces:
            piece = pieces[0]
            self._offset += sock.send(memoryview(piece)[self._offset :], socket.MSG_NOSIGNAL)
            if self._offset == len(piece):
                self._sent.append(pieces.pop(0))
                self._sent_bytes += self._offset
                self._offset = 0
                if self._sent_bytes > _UNACKNOWLEDGED_MAX:
                    self._forget_delivered(sock)

    def _send_messages(self, sock: socket.socket) -> None:
        """Datagrams or lines. Raises OSError."""
        while self._pieces:
            piece = self._pieces[0]
            start, end = frame_end(piece, self._offset)
            if self._place[0] == STREAM:
                self._send_line(sock, piece[start:end])
            else:
                sock.send(piece[start:end], socket.MSG_NOSIGNAL)
            self._advance(end)

    def _send_line(self, sock: socket.socket, message: bytes) -> None:
        line = message.replace(b"\n", b"#012").replace(b"\0", b"#000") + b"\n"
        if len(line) > BYTES_MAX + 1:  # escaping made it longer
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        while self._of_line < len(line):
            self._of_line += sock.send(line[self._of_line :], socket.MSG_NOSIGNAL)
        self._of_line = 0

    def _send_probe(self, sock: socket.socket, now: float) -> None:
        """After a UDP connect: send one datagram and keep it until it was not refused for 100 ms. Raises OSError."""
        start, end = frame_end(self._pieces[0], self._offset)
        if not self._probe_sent:
            sock.send(self._pieces[0][start:end], socket.MSG_NOSIGNAL)
            self._probe_sent, self.retry_at = True, now + _PROOF_SECONDS
            return
        _raise_error(sock)
        self._probe_accepted = True
        self._advance(end)
        self._send_messages(sock)

    def _advance(self, end: int) -> None:
        """Mark the frame that ends there as sent."""
        piece = self._pieces[0]
        if self._place[0] == UDP:
            self._last_datagram = piece[self._offset : end]
        self._offset = end
        if end == len(piece):
            del self._pieces[0]
            self._offset = 0

    def _split(self) -> None:
        """Split the frame at _offset, too long for this transport, in two. One that cannot be split is dropped."""
        piece = self._pieces[0]
        start, end = frame_end(piece, self._offset)
        rest = b"".join(map(frame, halves(piece[start:end]))) + piece[end:]
        self._pieces[:1] = [rest] if rest else []
        self._offset = 0

    # --- what may not have arrived -------------------------------------------------------------------

    def _recover(self) -> None:
        """Before disconnecting: make pending again what was sent and, as far as is known, not delivered."""
        way = self._place[0]
        if way == UDP and self._last_datagram:
            self._pieces[:1] = [self._last_datagram, *(piece[self._offset :] for piece in self._pieces[:1])]
            self._offset = 0
        elif way == TCP and self._socket is not None:
            delivered = max(0, self._sent_bytes + self._offset - _undelivered_bytes(self._socket))
            self._pieces[:0] = self._sent
            self._sent, self._sent_bytes = [], 0
            while self._pieces and delivered >= len(self._pieces[0]):
                delivered -= len(self._pieces.pop(0))
            self._offset = 0
            while delivered and (end := frame_end(self._pieces[0], self._offset)[1]) <= delivered:
                self._offset = end

    def _forget_delivered(self, sock: socket.socket) -> None:
        delivered = self._sent_bytes + self._offset - _undelivered_bytes(sock)
        count = 0
        while count < len(self._sent) and delivered >= len(self._sent[count]):
            delivered -= len(self._sent[count])
            self._sent_bytes -= len(self._sent[count])
            count += 1
        del self._sent[:count]

    def _is_delivered(self) -> bool:
        """In drain(): whether everything is sent and, as far as can be known, delivered."""
        sock = self._socket
        if self._pieces or sock is None or not self._connected:
            return not self._pieces
        try:
            if self._place[0] == UDP:
                _raise_error(sock)
            elif self._place[0] == TCP and _undelivered_bytes(sock):
                _check_open(sock)
                return False
        except OSError as error:
            self._connection_lost(error.strerror or str(error), time.monotonic())
        return not self._pieces

    def _wait(self, seconds: float, now: float) -> None:
        """In drain(): wait until the next attempt may succeed."""
        if self._server.looking_up:
            self._server.wait(seconds)
            self.retry_at = None
            return
        poll = select.poll()
        if self.fd >= 0:
            poll.register(self.fd, select.POLLOUT)
        if not self._pieces:
            seconds = min(seconds, _DELIVERY_POLL_SECONDS)
        elif self.retry_at is not None:
            seconds = max(0.0, min(seconds, self.retry_at - now))
        poll.poll(seconds * 1000 + (seconds > 0))

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Descriptors that must stay open across the exec."""
        return [self._socket.fileno()] if self._socket is not None and self._connected else []

    def tasks(self) -> list[tuple[str, Ended]]:
        """No side program: a running resolver is abandoned, and the new program starts another."""
        return []

    def to_plain(self) -> dict[str, Any]:
        """Plain values for restore(). An established connection is kept; one in progress is abandoned."""
        return {
            "fd": self._socket.fileno() if self._socket is not None and self._connected else -1,
            "place": self._place,
            "places": self._server.places,
            "count": self._server.count,
            "age": time.monotonic() - self._connected_at,
            "trouble": self._failure_reported,
            "pieces": list(self._pieces),
            "at": self._offset,
            "of_line": self._of_line,
            "sent": list(self._sent),
            "last": self._last_datagram,
            "proof": (self._probe_sent, self._probe_accepted),
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(). What is pending is sent by the next flush()."""
        self._server.places = plain["places"]
        self._server.count = plain["count"]
        self._failure_reported = plain["trouble"]
        self._pieces, self._offset = plain["pieces"], plain["at"]
        if plain["fd"] >= 0:
            os.set_inheritable(plain["fd"], False)
            way, family, _ = self._place = plain["place"]
            self._socket = socket.socket(family, type_of(way), 0, plain["fd"])
            self._connected, self._connected_at = True, time.monotonic() - plain["age"]
            self._of_line, self._sent = plain["of_line"], plain["sent"]
            self._sent_bytes = sum(map(len, self._sent))
            self._last_datagram, (self._probe_sent, self._probe_accepted) = plain["last"], plain["proof"]
        if self._pieces:
            self.retry_at = 0.0


def _check_open(sock: socket.socket) -> None:
    """Raise OSError if the server has closed the connection. What it sends is discarded: its end comes after that."""
    try:
        while sock.recv(_READ_SIZE):
            pass
    except BlockingIOError:
        return
    raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")


def _raise_error(sock: socket.socket) -> None:
    """Raise the socket's pending error as OSError: ICMP's answer to a datagram."""
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _undelivered_bytes(sock: socket.socket) -> int:
    """Bytes that TCP has not sent, or that are not acknowledged; valid after a reset too (tcp(7))."""
    count = bytearray(4)
    fcntl.ioctl(sock.fileno(), _SIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)
