"""A syslog server for tests, read by a thread: over a unix socket, UDP or TCP."""

import contextlib
import os
import socket
import threading
from typing import Any, Self

from linux.run import AT_MOST_SECONDS

_SO_RCVBUFFORCE = 33  # socket(7)
_RCVBUF = 64 << 20  # a slow reader of UDP loses datagrams
_END = b"the test is over"


class Syslogd:
    """One server; a context. kind: "unix" (a stream), "unixgram", "udp" or "tcp". messages: each without its frame."""

    def __init__(self, kind: str, path: str = "") -> None:
        self.kind = kind
        self.messages: list[bytes] = []
        self._is_stream = kind in ("unix", "tcp")
        self._path = path if "unix" in kind else ""
        family = socket.AF_UNIX if self._path else socket.AF_INET
        self._kind = (family, socket.SOCK_STREAM if self._is_stream else socket.SOCK_DGRAM)
        self._where: Any = path if self._path else ("127.0.0.1", 0)
        self._connection: socket.socket | None = None
        self.start()
        self.address = f"{kind}://{path if self._path else ':'.join(map(str, self._where))}"

    def start(self) -> None:
        """Start the server, at the same address as before."""
        self._socket = socket.socket(*self._kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not self._is_stream:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RCVBUF)
        self._socket.bind(self._where)
        self._where = self._socket.getsockname()
        if self._is_stream:
            self._socket.listen()
        self._thread = threading.Thread(target=self._accept if self._is_stream else self._receive, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Read everything that has arrived, then stop. For a stream: once the other side has closed."""
        with socket.socket(*self._kind) as last:
            last.connect(self._where)
            last.send(_END)
        self._thread.join(AT_MOST_SECONDS)
        assert not self._thread.is_alive(), f"{self.kind}: a client did not close its connection"
        self._socket.close()
        if self._path:
            os.unlink(self._path)

    def abort(self) -> None:
        """Stop, even with open connections."""
        for each in (self._connection, self._socket):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self._thread.join(AT_MOST_SECONDS)
        assert not self._thread.is_alive()
        self._socket.close()
        if self._path:
            os.unlink(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):  # after our own shutdown
            while (message := self._socket.recv(1 << 20)) not in (_END, b""):
                self.messages.append(message)

    def _accept(self) -> None:
        last = False
        while not last:
            try:
                self._connection = self._socket.accept()[0]
            except OSError:  # after our own shutdown
                return
            with self._connection as connection:
                last = self._read(connection)

    def _read(self, connection: socket.socket) -> bool:
        rest = b""
        with contextlib.suppress(OSError):  # after our own shutdown
            while data := connection.recv(1 << 20):
                if data == _END:
                    return True
                rest = self._take(rest + data)
        return False

    def _take(self, data: bytes) -> bytes:
        """Store the whole messages; returns the rest."""
        if self.kind == "unix":
            *messages, data = data.split(b"\n")
            self.messages += messages
            return data
        at = 0
        while (blank := data.find(b" ", at, at + 8)) >= 0:
            end = blank + 1 + int(data[at:blank])
            if end > len(data):
                break
            self.messages.append(data[blank + 1 : end])
            at = end
        return data[at:]
