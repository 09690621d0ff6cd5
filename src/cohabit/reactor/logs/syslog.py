"""A syslog server as a place for output: over a unix socket, UDP or TCP, from process 1, without ever waiting.

What comes in are frames of syslog_format.py. TCP gets them as they are (octet counting, RFC 6587 3.4.1); datagrams
are one message each; a unix stream gets each message with a newline after it, which rsyslog's imptcp, syslog-ng
and Docker's own driver understand (of them only imptcp knows octet counting), so a newline or NUL within one becomes
#012 or #000, as rsyslog writes them. A server that is not there is no loss: frames wait, and so do services.

What can still be lost, since syslog has no acknowledgement: what the server's kernel had taken and its program not yet
read when it ended. What TCP had not delivered when a connection broke is known (SIOCOUTQ, tcp(7)), and sent again on
the next; so a frame may come twice, when only its acknowledgement was lost. A refused UDP datagram is known from ICMP,
and only the last one is sent again; that is why after each connect one goes ahead alone.

The name of a host is looked up by a side program (tasks/resolve.py) at each connect, never here. At the very end
nobody can be started any more: then the addresses that were found last have to do.
"""

from __future__ import annotations

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

    from cohabit.reactor.logs.syslog_server import Ended, Launch, Place
else:
    import _socket as socket

_RETRY_SECONDS, _RETRY_SECONDS_MAX = 0.1, 10.0
_CONNECT_SECONDS = 5.0
_LOOKUP_SECONDS = 5.0  # then people are told; the resolver goes on
_PROOF_SECONDS = 0.1  # for the ICMP message that says that nobody listens
_STABLE_SECONDS = 1.0  # a connection that lived so long was a good one
_NO_BUFFER_SECONDS = 0.02
_STALL_SECONDS = 1.0  # at the very end: who takes nothing for so long takes no more
_DELIVERY_POLL_SECONDS = 0.005  # at the very end; epoll has no event for it
_UNACKNOWLEDGED_MAX = 262_144  # more than that sent: ask what was delivered
_READ_SIZE = 65_536
_EAGAIN, _EMSGSIZE, _ENOBUFS, _ECONNREFUSED, _EALREADY, _EINPROGRESS = 11, 90, 105, 111, 114, 115
_ECONNRESET = 104
_SIOCOUTQ = 0x5411


class SyslogSink:
    """One server. Frames go in; what it does not take yet is kept, and while there is any, callers should stop.

    fd, retry_at: when to flush, worth a look while `blocked`, after each call and (for the end of a resolver comes from
    Children) before each wait. fd: flush when that is writable; -1: nothing to wait for but retry_at, though the socket
    may be open all the same, and even be connected. While blocked, fd never becomes another number but by way of -1.
    on_trouble: gets words for people, once when the server cannot be reached and once when it can again.
    """

    def __init__(self, address: str, *, launch: Launch, on_trouble: Callable[[str], None] | None = None) -> None:
        self.address = address
        self.on_trouble = on_trouble
        self.lost = ""  # never: a server may come back
        self.fd = -1
        self.retry_at: float | None = None
        self._server = Server(address, launch, self._found)
        self._to_try: list[Place] = []
        self._place: Place = ("", 0, None)
        self._socket: socket.socket | None = None
        self._connected = False
        self._since = 0.0  # it is connected
        self._delay_seconds = 0.0
        self._in_trouble = False
        self._ending = self._stalled = False
        self._pieces: list[bytes] = []  # frames; what is before _at in the first one was sent
        self._at = 0
        self._of_line = 0  # unix stream: so much of the frame at _at was sent
        self._sent: list[bytes] = []  # TCP: sent whole, perhaps not delivered
        self._sent_bytes = 0
        self._last = b""  # UDP: the frame that was sent last, perhaps refused
        self._ahead = self._proven = False  # UDP: one went ahead, and nobody objected

    # --- what callers see ----------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """It has not taken all it was given."""
        return bool(self._pieces)

    @property
    def pending_bytes(self) -> int:
        """How much it did not take yet."""
        return sum(map(len, self._pieces)) - self._at

    def write(self, frames: bytes | memoryview) -> None:
        """Send whole frames, or keep what does not go at once."""
        if not frames:
            return
        self._pieces.append(bytes(frames))
        if len(self._pieces) == 1:
            self.flush()

    def flush(self) -> None:
        """Get on with it as far as goes without waiting. Harmless at any time."""
        if not self._pieces:
            return
        now = time.monotonic()
        due = self.retry_at is not None and now >= self.retry_at
        if self._socket is None and (due or self.retry_at is None):
            self._connect(now)
        elif self._socket is not None and not self._connected:
            self._go_on_connecting(now, due=due)
        if self._connected:
            self._send(now, due=due)

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """The very end: send what is kept while there is time and it is taken, and have TCP deliver it."""
        if not self._ending and self._socket is None and not self._server.asking:
            self.retry_at, self._delay_seconds = None, 0.0  # once more, now
        self._ending = True
        kept, until = self.pending_bytes, time.monotonic() + _STALL_SECONDS
        while not self._stalled:
            self.flush()
            now, left = time.monotonic(), seconds_left()
            if self._delivered() or left <= 0:
                return
            if self.pending_bytes < kept:
                kept, until = self.pending_bytes, now + _STALL_SECONDS
            self._stalled = now >= until
            self._wait(max(0.0, min(left, until - now)), now)

    def close(self) -> None:
        """Let go of the server, in order."""
        if self._socket is not None and self._connected:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self._hang_up()
        self._pieces.clear()
        self._at = 0

    # --- connecting ----------------------------------------------------------------------------------

    def _connect(self, now: float) -> None:
        """Try what there is to try, in turn, until one takes us or has to be waited for."""
        self.retry_at = None
        server = self._server
        if not self._to_try:
            if server.is_name and not server.fresh and not self._ending:
                self._ask(now)
                return
            server.fresh = False
            self._to_try = [] if server.why and not self._ending else server.places.copy()
        why = server.why or "its address is not known"
        while self._to_try:
            self._place = self._to_try.pop(0)
            try:
                self._socket = open_socket(self._place)
                self._try(now)
            except OSError as error:
                why = error.strerror or str(error)
                self._hang_up()
            else:
                return
        self._fail(why, now)

    def _ask(self, now: float) -> None:
        """Start the resolver; with its end, or when it takes long, it is our turn again."""
        if self._server.asking:
            self._tell_trouble("no answer from its name servers yet")
        try:
            self._server.ask()
            self.retry_at = now + _LOOKUP_SECONDS
        except OSError as error:
            self._fail(f"cannot look up its name: {error.strerror}", now)

    def _found(self) -> None:
        self.retry_at = 0.0

    def _try(self, now: float) -> None:
        """One step of connect(2); _connected if that was the last. Raises OSError."""
        sock, (way, _, where) = self._socket, self._place
        if sock is None:
            return
        error = paths.connect(sock, where) if way in {STREAM, DATAGRAM} else sock.connect_ex(where)
        if error == _EINPROGRESS:
            error = sock.connect_ex(where)  # within one machine the handshake is over by now
        if error in (_EINPROGRESS, _EALREADY):
            if self.fd < 0:
                self.fd, self.retry_at = sock.fileno(), now + _CONNECT_SECONDS
            return
        if error == 0 and way == TCP and sock.getsockname() == sock.getpeername():
            # Nobody listens, and the port that the kernel chose for us was just this one: TCP connects to itself.
            error = _ECONNREFUSED
        if error == _EAGAIN:  # of a unix socket; unlike TCP it cannot be waited for
            raise ConnectionRefusedError(error, "its queue of connections is full")
        if error:
            raise OSError(error, os.strerror(error))
        self._connected, self._since = True, now
        self.fd, self.retry_at = -1, None

    def _go_on_connecting(self, now: float, *, due: bool) -> None:
        try:
            self._try(now)
            if self._connected or not due:
                return
            why = "no answer"
        except OSError as error:
            why = error.strerror or str(error)
        self._hang_up()
        if self._to_try:
            self.retry_at = now  # the others; not at once, since fd has to be -1 in between
        else:
            self._fail(why, now)

    def _fail(self, why: str, now: float) -> None:
        """It cannot be reached: tell, and try again later and later."""
        self._to_try.clear()
        self._delay_seconds = min(max(2 * self._delay_seconds, _RETRY_SECONDS), _RETRY_SECONDS_MAX)
        self.retry_at = now + self._delay_seconds
        self._tell_trouble(why)

    def _break(self, why: str, now: float) -> None:
        """A connection is no more. A good one is made again at once."""
        self._recover()
        self._hang_up()
        self._to_try.clear()
        if now - self._since >= _STABLE_SECONDS:
            self._delay_seconds, self.retry_at = 0.0, now
        else:
            self._fail(why, now)

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._connected, self.fd = None, False, -1
        self._of_line, self._proven, self._ahead, self._last = 0, False, False, b""

    def _tell_trouble(self, why: str) -> None:
        if not self._in_trouble and self.on_trouble is not None:
            self.on_trouble(f"cannot reach syslog {self.address}: {why} (trying again; blocking services wait)")
        self._in_trouble = True

    def _tell_again(self) -> None:
        if self._in_trouble and self.on_trouble is not None:
            self.on_trouble(f"reaches syslog {self.address} again")
        self._in_trouble = False

    # --- sending -------------------------------------------------------------------------------------

    def _send(self, now: float, *, due: bool) -> None:
        sock, way = self._socket, self._place[0]
        if sock is None or (self.retry_at is not None and not due):
            return
        self.fd, self.retry_at = -1, None
        try:
            if way == TCP:
                self._send_stream(sock)
            elif way == UDP and not self._proven:
                self._prove(sock, now)
            else:
                self._send_messages(sock)
            if way == UDP:
                _raise_error(sock)
        except BlockingIOError:
            self.fd = sock.fileno()
        except OSError as error:
            self._not_sent(error, now)
        if self._connected and self.retry_at is None and (not self._pieces or now - self._since >= _STABLE_SECONDS):
            self._tell_again()

    def _not_sent(self, error: OSError, now: float) -> None:
        if error.errno == _EMSGSIZE:
            self._cut()
            self.retry_at = now
        elif error.errno == _ENOBUFS:  # no event tells when there are some again
            self.retry_at = now + _NO_BUFFER_SECONDS
        else:
            if error.errno != _ECONNREFUSED:
                self._last = b""  # it was not that one that ICMP spoke of
            self._break(error.strerror or str(error), now)

    def _send_stream(self, sock: socket.socket) -> None:
        """Frames as they are. Raises OSError."""
        _check_open(sock)
        pieces = self._pieces
        while pieces:
            piece = pieces[0]
            self._at += sock.send(memoryview(piece)[self._at :], socket.MSG_NOSIGNAL)
            if self._at == len(piece):
                self._sent.append(pieces.pop(0))
                self._sent_bytes += self._at
                self._at = 0
                if self._sent_bytes > _UNACKNOWLEDGED_MAX:
                    self._forget_delivered(sock)

    def _send_messages(self, sock: socket.socket) -> None:
        """One by one, as datagrams or as lines. Raises OSError."""
        while self._pieces:
            piece = self._pieces[0]
            start, end = frame_end(piece, self._at)
            if self._place[0] == STREAM:
                self._send_line(sock, piece[start:end])
            else:
                sock.send(piece[start:end], socket.MSG_NOSIGNAL)
            self._advance(end)

    def _send_line(self, sock: socket.socket, message: bytes) -> None:
        line = message.replace(b"\n", b"#012").replace(b"\0", b"#000") + b"\n"
        if len(line) > BYTES_MAX + 1:  # it is longer now than it was
            raise OSError(_EMSGSIZE, os.strerror(_EMSGSIZE))
        while self._of_line < len(line):
            self._of_line += sock.send(line[self._of_line :], socket.MSG_NOSIGNAL)
        self._of_line = 0

    def _prove(self, sock: socket.socket, now: float) -> None:
        """UDP after a connect: one datagram, which stays ours until it is not refused for a while. Raises OSError."""
        start, end = frame_end(self._pieces[0], self._at)
        if not self._ahead:
            sock.send(self._pieces[0][start:end], socket.MSG_NOSIGNAL)
            self._ahead, self.retry_at = True, now + _PROOF_SECONDS
            return
        _raise_error(sock)
        self._proven = True
        self._advance(end)
        self._send_messages(sock)

    def _advance(self, end: int) -> None:
        """The frame up to there is sent."""
        piece = self._pieces[0]
        if self._place[0] == UDP:
            self._last = piece[self._at : end]
        self._at = end
        if end == len(piece):
            del self._pieces[0]
            self._at = 0

    def _cut(self) -> None:
        """The frame at _at is too long for this transport: make two of it. One that cannot be cut is given up."""
        piece = self._pieces[0]
        start, end = frame_end(piece, self._at)
        rest = b"".join(map(frame, halves(piece[start:end]))) + piece[end:]
        self._pieces[:1] = [rest] if rest else []
        self._at = 0

    # --- what may not have arrived -------------------------------------------------------------------

    def _recover(self) -> None:
        """Before hanging up: whatever was sent and not delivered, as far as can be known, is to be sent again."""
        way = self._place[0]
        if way == UDP and self._last:
            self._pieces[:1] = [self._last, *(piece[self._at :] for piece in self._pieces[:1])]
            self._at = 0
        elif way == TCP and self._socket is not None:
            delivered = max(0, self._sent_bytes + self._at - _undelivered_bytes(self._socket))
            self._pieces[:0] = self._sent
            self._sent, self._sent_bytes = [], 0
            while self._pieces and delivered >= len(self._pieces[0]):
                delivered -= len(self._pieces.pop(0))
            self._at = 0
            while delivered and (end := frame_end(self._pieces[0], self._at)[1]) <= delivered:
                self._at = end

    def _forget_delivered(self, sock: socket.socket) -> None:
        delivered = self._sent_bytes + self._at - _undelivered_bytes(sock)
        count = 0
        while count < len(self._sent) and delivered >= len(self._sent[count]):
            delivered -= len(self._sent[count])
            self._sent_bytes -= len(self._sent[count])
            count += 1
        del self._sent[:count]

    def _delivered(self) -> bool:
        """At the very end: all is sent, and as far as can be known it has arrived."""
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
            self._break(error.strerror or str(error), time.monotonic())
        return not self._pieces

    def _wait(self, seconds: float, now: float) -> None:
        """At the very end: until it is worth another try."""
        if self._server.asking:
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

    # --- crossing a re-execution ---------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What must stay open across the exec."""
        return [self._socket.fileno()] if self._socket is not None and self._connected else []

    def tasks(self) -> list[tuple[str, Ended]]:
        """A resolver does not go on: the next life asks another one."""
        return []

    def to_plain(self) -> dict[str, Any]:
        """Plain values for restore. A connection goes on; one that is only being made is given up."""
        return {
            "fd": self._socket.fileno() if self._socket is not None and self._connected else -1,
            "place": self._place,
            "places": self._server.places,
            "count": self._server.count,
            "age": time.monotonic() - self._since,
            "trouble": self._in_trouble,
            "pieces": list(self._pieces),
            "at": self._at,
            "of_line": self._of_line,
            "sent": list(self._sent),
            "last": self._last,
            "proof": (self._ahead, self._proven),
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called; what is kept goes with the next flush."""
        self._server.places = plain["places"]
        self._server.count = plain["count"]
        self._in_trouble = plain["trouble"]
        self._pieces, self._at = plain["pieces"], plain["at"]
        if plain["fd"] >= 0:
            os.set_inheritable(plain["fd"], False)
            way, family, _ = self._place = plain["place"]
            self._socket = socket.socket(family, type_of(way), 0, plain["fd"])
            self._connected, self._since = True, time.monotonic() - plain["age"]
            self._of_line, self._sent = plain["of_line"], plain["sent"]
            self._sent_bytes = sum(map(len, self._sent))
            self._last, (self._ahead, self._proven) = plain["last"], plain["proof"]
        if self._pieces:
            self.retry_at = 0.0


def _check_open(sock: socket.socket) -> None:
    """Raise OSError if the other side has closed. What it says is thrown away, or its end would stand behind it."""
    try:
        while sock.recv(_READ_SIZE):
            pass
    except BlockingIOError:
        return
    raise ConnectionResetError(_ECONNRESET, "it closed the connection")


def _raise_error(sock: socket.socket) -> None:
    """The socket's pending error: what ICMP said of a datagram. Raises OSError."""
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _undelivered_bytes(sock: socket.socket) -> int:
    """What TCP has sent, or will send, and nobody has acknowledged; also of a connection that was reset (tcp(7))."""
    count = bytearray(4)
    fcntl.ioctl(sock.fileno(), _SIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)
