"""How frames travel to a syslog server: over TCP, UDP or a unix socket.

TCP sends frames as they are (octet counting, RFC 6587 3.4.1). A datagram carries one message. On a unix stream each
message ends with a newline, which rsyslog's imptcp, syslog-ng and Docker's syslog driver understand (of these only
imptcp supports octet counting), so a newline or NUL inside a message becomes #012 or #000, as rsyslog writes them.

syslog has no acknowledgement. What the server's kernel had accepted and its program had not read when it ended is
lost. What TCP had not delivered when the connection broke is known (SIOCOUTQ, tcp(7)) and sent again on the next
connection; a frame is sent twice if only its acknowledgement was lost. ICMP reports a refused UDP datagram, but only
the last one can be sent again, so one datagram is sent alone after each connect, as a probe.
"""

from __future__ import annotations

import errno
import fcntl
import sys

from cohabit.reactor.connector import DATAGRAM, STREAM, TCP, UDP
from cohabit.reactor.linux import os
from cohabit.reactor.logs.syslog_format import BYTES_MAX, frame, frame_end, halves

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, TypeAlias

    Transport: TypeAlias = "Datagrams | Tcp"
else:
    import _socket as socket

_PROOF_SECONDS = 0.1  # how long an ICMP message about a closed port may take
_KEEPALIVE_SECONDS = 60  # so that a firewall in between does not drop an idle connection
_UNACKNOWLEDGED_MAX = 262_144  # beyond this, ask the kernel what was delivered
_READ_SIZE = 65_536
_SIOCOUTQ = 0x5411


class Frames:
    """Frames to send, in pieces. Those before `offset` in the first piece are sent."""

    __slots__ = ("offset", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.offset = 0

    @property
    def pending_bytes(self) -> int:
        """How many bytes are not sent yet."""
        return sum(map(len, self.pieces)) - self.offset

    def first(self) -> tuple[bytes, int]:
        """The message in the first frame that is not sent, and the end of the frame, for advance()."""
        piece = self.pieces[0]
        start, end = frame_end(piece, self.offset)
        return piece[start:end], end

    def advance(self, end: int) -> None:
        """Mark what ends there in the first piece as sent."""
        self.offset = end
        if end == len(self.pieces[0]):
            del self.pieces[0]
            self.offset = 0

    def split(self) -> None:
        """Split the first frame, too long for this transport, in two. One that cannot be split is dropped."""
        message, end = self.first()
        rest = b"".join(map(frame, halves(message))) + self.pieces[0][end:]
        self.pieces[:1] = [rest] if rest else []
        self.offset = 0

    def put_back(self, data: bytes) -> None:
        """Send this frame again, before the others."""
        self.pieces[:1] = [data, *(piece[self.offset :] for piece in self.pieces[:1])]
        self.offset = 0

    def restart(self, sent: list[bytes], delivered: int) -> None:
        """Send again what was sent in these pieces and in the first one, except what is delivered as whole frames."""
        self.pieces[:0] = sent
        while self.pieces and delivered >= len(self.pieces[0]):
            delivered -= len(self.pieces.pop(0))
        self.offset = 0
        while delivered and (end := frame_end(self.pieces[0], self.offset)[1]) <= delivered:
            self.offset = end


class Datagrams:
    """A connected unix socket for datagrams, which the kernel delivers or refuses at once."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def send(self, frames: Frames) -> float:
        """Send all frames. Returns how many seconds to wait before the next call. Raises OSError."""
        while frames.pieces:
            message, end = frames.first()
            self.socket.send(message, socket.MSG_NOSIGNAL)
            frames.advance(end)
        return 0.0

    def is_delivered(self) -> bool:
        """Whether everything that was sent is delivered, as far as can be known. Raises OSError."""
        return True

    def recover(self, frames: Frames, *, refused: bool) -> None:
        """Before the connection is closed: make pending again what was sent and, as far as is known, not delivered.

        refused: the error may be about the last frame.
        """

    def to_plain(self) -> Any:
        """Plain values for restore()."""

    def restore(self, plain: Any) -> None:
        """Continue with the values of to_plain()."""


class Udp(Datagrams):
    """UDP: the first datagram is sent alone, and kept until it was not refused for 100 ms."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._probe_sent = self._probe_accepted = False
        self._last = b""  # the last message sent; it may be refused

    def send(self, frames: Frames) -> float:
        """Send the first message, and all others in the next call. Raises OSError."""
        if not self._probe_sent:
            self.socket.send(frames.first()[0], socket.MSG_NOSIGNAL)
            self._probe_sent = True
            self.is_delivered()
            return _PROOF_SECONDS
        if not self._probe_accepted:
            self.is_delivered()
            self._probe_accepted = True
            self._last, end = frames.first()
            frames.advance(end)
        while frames.pieces:
            message, end = frames.first()
            self.socket.send(message, socket.MSG_NOSIGNAL)
            self._last = message
            frames.advance(end)
        return 0.0 if self.is_delivered() else _PROOF_SECONDS

    def is_delivered(self) -> bool:
        """Raises the socket's pending error, ICMP's answer to a datagram, as OSError."""
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        return True

    def recover(self, frames: Frames, *, refused: bool) -> None:
        """The last message is pending again if it may have been refused."""
        if self._last and refused:
            frames.put_back(frame(self._last))

    def to_plain(self) -> Any:
        """Plain values for restore()."""
        return self._probe_sent, self._probe_accepted, self._last

    def restore(self, plain: Any) -> None:
        """Continue with the values of to_plain()."""
        self._probe_sent, self._probe_accepted, self._last = plain


class UnixStream(Datagrams):
    """A unix stream: one line for each message."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._of_line = 0  # bytes sent of the first line

    def send(self, frames: Frames) -> float:
        """Send all frames. Raises OSError."""
        while frames.pieces:
            message, end = frames.first()
            self._send_line(message)
            frames.advance(end)
        return 0.0

    def _send_line(self, message: bytes) -> None:
        line = message.replace(b"\n", b"#012").replace(b"\0", b"#000") + b"\n"
        if len(line) > BYTES_MAX + 1:  # escaping made it longer
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        while self._of_line < len(line):
            self._of_line += self.socket.send(line[self._of_line :], socket.MSG_NOSIGNAL)
        self._of_line = 0

    def to_plain(self) -> Any:
        """Plain values for restore()."""
        return self._of_line

    def restore(self, plain: Any) -> None:
        """Continue with the values of to_plain()."""
        self._of_line = plain


class Tcp:
    """TCP. What is sent is kept until the kernel reports that it is delivered."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
        self._sent: list[bytes] = []  # pieces that are sent, but may not be delivered
        self._sent_bytes = 0

    def send(self, frames: Frames) -> float:
        """Send all frames. Returns how many seconds to wait before the next call. Raises OSError."""
        _check_open(self.socket)
        while frames.pieces:
            piece = frames.pieces[0]
            end = frames.offset + self.socket.send(memoryview(piece)[frames.offset :], socket.MSG_NOSIGNAL)
            frames.advance(end)
            if end == len(piece):
                self._sent.append(piece)
                self._sent_bytes += end
                if self._sent_bytes > _UNACKNOWLEDGED_MAX:
                    self._forget_delivered()
        return 0.0

    def _forget_delivered(self) -> None:
        delivered = self._sent_bytes - _undelivered_bytes(self.socket)
        count = 0
        while count < len(self._sent) and delivered >= len(self._sent[count]):
            delivered -= len(self._sent[count])
            self._sent_bytes -= len(self._sent[count])
            count += 1
        del self._sent[:count]

    def is_delivered(self) -> bool:
        """Whether everything that was sent is delivered. Raises OSError."""
        if _undelivered_bytes(self.socket):
            _check_open(self.socket)
            return False
        return True

    def recover(self, frames: Frames, *, refused: bool) -> None:  # noqa: ARG002 - TCP knows what was delivered
        """Before the connection is closed: make pending again what was sent and is not delivered."""
        delivered = max(0, self._sent_bytes + frames.offset - _undelivered_bytes(self.socket))
        frames.restart(self._sent, delivered)

    def to_plain(self) -> Any:
        """Plain values for restore()."""
        return self._sent

    def restore(self, plain: Any) -> None:
        """Continue with the values of to_plain()."""
        self._sent = plain
        self._sent_bytes = sum(map(len, plain))


TRANSPORTS: dict[str, type[Datagrams | Tcp]] = {
    TCP: Tcp, UDP: Udp, STREAM: UnixStream, DATAGRAM: Datagrams,
}  # fmt: skip


def _check_open(sock: socket.socket) -> None:
    """Raise OSError if the server has closed the connection. What it sends is discarded: its end comes after that."""
    try:
        while sock.recv(_READ_SIZE):
            pass
    except BlockingIOError:
        return
    raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")


def _undelivered_bytes(sock: socket.socket) -> int:
    """Bytes that TCP has not sent, or that are not acknowledged; valid after a reset too (tcp(7))."""
    count = bytearray(4)
    fcntl.ioctl(sock.fileno(), _SIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)
