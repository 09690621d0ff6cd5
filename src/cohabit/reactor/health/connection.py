"""One question over a socket: does somebody answer on this port, path or URL? Never waits, never parses much.

TCP and unix sockets pass when the connection is made. HTTP is one GET in HTTP/1.1 (some proxies refuse 1.0) with
`Connection: close`, and its status decides; the rest of the answer is taken and thrown away, since a server
whose answer nobody takes writes an error into its log. Hosts are IP addresses: the loader turned `localhost`
into one, because process 1 cannot wait for a name server. `_socket` is the C module behind `socket`, which
costs 6 ms of imports (enum, selectors).
"""

from __future__ import annotations

import select

from cohabit import paths
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from cohabit.plan.model import Probe

    Answer = tuple[bool, str]  # (passed, words)
else:
    import _socket as socket

_EAGAIN, _EALREADY, _ECONNREFUSED, _EINPROGRESS = 11, 114, 111, 115
_NO_ROOM = (12, 105)  # ENOMEM, ENOBUFS
_READ_SIZE = 65_536
_STATUS_LINE_MAX = 4096
_SHOWN_MAX = 80  # characters of what was no HTTP
_BODY_MAX = 1_048_576  # who sends more is not waited for
_SWITCHING = 101


class Connection:
    """A connection under way. fd: its descriptor; events: what to wait for on it. Raises OSError when there is no room.

    `advance` until it answers; if a server has `replied`, `drain` until that is over; in the end `close`.
    """

    __slots__ = (
        "_address", "_connected", "_drained", "_probe", "_received", "_socket", "_unsent", "events", "fd", "replied",
    )  # fmt: skip

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._address: tuple[str, int] | str = probe.socket or (probe.host, probe.port)
        family = socket.AF_UNIX if probe.socket else socket.AF_INET6 if ":" in probe.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._connected = False
        self._unsent = _request(probe) if probe.kind == "http" else b""
        self._received = b""
        self._drained = 0
        self.fd = self._socket.fileno()
        self.events = select.EPOLLOUT
        self.replied = False

    def advance(self) -> Answer | None:
        """Get as far as goes without waiting: the answer, or None while there is more to come.

        Raises OSError when it is the machine that has no room: that says nothing of the service.
        """
        try:
            if not self._connected and not self._connect():
                return None
            if self._probe.kind != "http":
                return True, ""
            return self._exchange()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            return False, self._words(error)

    def drain(self) -> bool:
        """Take what comes after the answer; True when that is over."""
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._drained += len(data)
        return not data or self._drained > _BODY_MAX

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def _connect(self) -> bool:
        if self._probe.socket:
            error = paths.connect(self._socket, self._probe.socket)
        else:
            error = self._socket.connect_ex(self._address)
        if error == _EINPROGRESS:
            error = self._socket.connect_ex(self._address)  # within one machine the handshake is over by now
        if error in (_EINPROGRESS, _EALREADY):
            return False
        if error == 0 and not self._probe.socket and self._socket.getsockname() == self._socket.getpeername():
            # Nobody listens, and the port that the kernel chose for us was just this one: TCP connects to itself.
            error = _ECONNREFUSED
        if error == _EAGAIN:  # of a unix socket; unlike TCP it cannot be waited for
            raise ConnectionRefusedError(error, "its queue of connections is full")
        if error:
            raise OSError(error, os.strerror(error))
        self._connected = True
        return True

    def _exchange(self) -> Answer | None:
        while self._unsent:
            self._unsent = self._unsent[self._socket.send(self._unsent, socket.MSG_NOSIGNAL) :]
        self.events = select.EPOLLIN
        data = self._socket.recv(_READ_SIZE)
        self._received += data
        return self._judge(ended=not data)

    def _judge(self, *, ended: bool) -> Answer | None:
        """The status line's verdict. Interim answers (100 to 199) may come before it and end at an empty line."""
        while True:
            line, newline, _ = self._received.partition(b"\n")
            code = _status(line) if newline or ended or len(line) > _STATUS_LINE_MAX else 0
            if code < 0:
                if not self._received:
                    return False, f"it closed the connection without an answer ({self._where()})"
                shown = line[:_SHOWN_MAX].decode("utf-8", "replace").strip()
                return False, f"no HTTP, but {shown!r} ({self._where()})"
            if code and (code == _SWITCHING or not 100 <= code <= 199):  # noqa: PLR2004 - HTTP's own numbers
                self.replied = True
                passed = any(first <= code <= last for first, last in self._probe.statuses)
                return passed, line.strip()[:_STATUS_LINE_MAX].decode("utf-8", "replace")
            _, end, rest = self._received.partition(b"\r\n\r\n")
            if code and end:
                self._received = rest
                continue
            if ended or len(self._received) > _READ_SIZE:
                return False, f"an interim answer that is never followed by the real one ({self._where()})"
            return None

    def _where(self) -> str:
        host = f"[{self._probe.host}]" if ":" in self._probe.host else self._probe.host
        return self._probe.socket or f"{host}:{self._probe.port}"

    def _words(self, error: OSError) -> str:
        why = error.strerror or str(error)
        return f"{why[:1].lower()}{why[1:]} ({self._where()})"


def _status(line: bytes) -> int:
    """The code of a status line such as b"HTTP/1.1 200 OK", -1 if it is none."""
    protocol, _, rest = line.partition(b" ")
    code = rest.strip().partition(b" ")[0]
    return int(code) if protocol.startswith(b"HTTP/") and len(code) == 3 and code.isdigit() else -1  # noqa: PLR2004


def _request(probe: Probe) -> bytes:
    host = f"[{probe.host}]" if ":" in probe.host else probe.host
    headers = [("Host", "localhost" if probe.socket else f"{host}:{probe.port}")]
    headers += [("User-Agent", "cohabit"), ("Accept", "*/*"), ("Connection", "close")]
    written = {name.lower() for name, _ in probe.headers}
    headers = [header for header in headers if header[0].lower() not in written] + [*probe.headers]
    lines = [f"GET {probe.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
