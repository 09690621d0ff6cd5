"""One probe over a socket: TCP, unix or HTTP. It never blocks.

TCP and unix probes pass when the connection is established. HTTP sends one GET in HTTP/1.1 (some proxies refuse 1.0)
with `Connection: close`, and the status decides. The rest of the answer is read and discarded, because a server that
cannot send its answer logs an error. Hosts are IP addresses: the loader resolves `localhost`, because process 1 cannot
wait for a name server.
"""

from __future__ import annotations

import errno
import select

from cohabit.plan import reason as reasons
from cohabit.plan.reason import Reason
from cohabit.reactor.connector import STREAM, TCP, Connector

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from cohabit.plan.model import Probe

    Answer = tuple[bool, str | Reason]  # (passed, output or the reason of the failure)
else:
    import _socket as socket

_ERRORS = {
    errno.ECONNREFUSED: reasons.CONNECTION_REFUSED,
    errno.ENOENT: reasons.NO_SOCKET,
    errno.EACCES: reasons.CONNECTION_FORBIDDEN,
    errno.EPERM: reasons.CONNECTION_FORBIDDEN,
}
_SHORTAGES = (errno.ENOMEM, errno.ENOBUFS)
_READ_SIZE = 65_536
_STATUS_LINE_MAX = 4096
_SHOWN_MAX = 80  # characters of a line that is not HTTP
_BODY_MAX = 1_048_576  # the connection is closed after that many bytes
_SWITCHING_PROTOCOLS = 101


class Connection:
    """A connection in progress. fd: its descriptor; events: the epoll events to wait for. Raises OSError on a shortage.

    Call `advance` until it returns an answer. If `replied` is set then, call `drain` until it returns True. Call
    `close` at the end.
    """

    __slots__ = (
        "_connected", "_connector", "_drained", "_probe", "_received", "_socket", "_unsent", "events", "fd", "replied",
    )  # fmt: skip

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        family = socket.AF_UNIX if probe.socket else socket.AF_INET6 if ":" in probe.host else socket.AF_INET
        address = probe.socket or (probe.host, probe.port)
        self._connector = Connector([(STREAM if probe.socket else TCP, family, address)])
        self._socket = self._connector.open()
        self._connected = False
        self._unsent = _request(probe) if probe.kind == "http" else b""
        self._received = b""
        self._drained = 0
        self.fd = self._socket.fileno()
        self.events = select.EPOLLOUT
        self.replied = False

    def advance(self) -> Answer | None:
        """Proceed as far as possible without blocking. Returns the answer, or None if there is none yet.

        Raises OSError on a shortage of memory, which says nothing about the service.
        """
        try:
            if not self._connected:
                self._connected = self._connector.advance() is not None
            if not self._connected:
                return None
            if self._probe.kind != "http":
                return True, ""
            return self._exchange()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _SHORTAGES:
                raise
            return False, self._describe(error)

    def drain(self) -> bool:
        """Discard what follows the status line. Returns True at its end, or after _BODY_MAX bytes."""
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._drained += len(data)
        return not data or self._drained > _BODY_MAX

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _exchange(self) -> Answer | None:
        while self._unsent:
            self._unsent = self._unsent[self._socket.send(self._unsent, socket.MSG_NOSIGNAL) :]
        self.events = select.EPOLLIN
        data = self._socket.recv(_READ_SIZE)
        self._received += data
        return self._check_status(ended=not data)

    def _check_status(self, *, ended: bool) -> Answer | None:
        """Evaluate the status line. Interim answers (100 to 199), each ending with an empty line, may precede it."""
        while True:
            line, newline, _ = self._received.partition(b"\n")
            code = _status(line) if newline or ended or len(line) > _STATUS_LINE_MAX else 0
            if code < 0:
                if not self._received:
                    return False, f"the server closed the connection without an answer ({self._where()})"
                shown = line[:_SHOWN_MAX].decode("utf-8", "replace").strip()
                return False, Reason(reasons.NOT_HTTP, path=self._where(), detail=shown)
            if code and (code == _SWITCHING_PROTOCOLS or not 100 <= code <= 199):  # noqa: PLR2004 - 1xx
                self.replied = True
                passed = any(first <= code <= last for first, last in self._probe.statuses)
                shown = line.strip()[:_STATUS_LINE_MAX].decode("utf-8", "replace")
                return passed, shown if passed else Reason(reasons.HTTP_STATUS, code, detail=shown)
            _, end, rest = self._received.partition(b"\r\n\r\n")
            if code and end:
                self._received = rest
                continue
            if ended or len(self._received) > _READ_SIZE:
                return False, f"an interim answer (1xx) without a final one ({self._where()})"
            return None

    def _where(self) -> str:
        host = f"[{self._probe.host}]" if ":" in self._probe.host else self._probe.host
        return self._probe.socket or f"{host}:{self._probe.port}"

    def _describe(self, error: OSError) -> Reason:
        why = error.strerror or str(error)
        kind = _ERRORS.get(error.errno or 0, reasons.CONNECTION_FAILED)
        return Reason(kind, path=self._where(), detail=f"{why[:1].lower()}{why[1:]}")


def _status(line: bytes) -> int:
    """Return the code of a status line such as b"HTTP/1.1 200 OK", or -1 for another line."""
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
