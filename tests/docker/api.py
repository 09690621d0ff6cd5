"""The Docker Engine API on the engine's unix socket (https://docs.docker.com/reference/api/engine/).

A request costs the engine's work only; each start of the `docker` client costs 30 ms of processor time more.
"""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

_STREAMS: Final = {1: "stdout", 2: "stderr"}
_HEAD: Final = 8


class RefusedError(AssertionError):
    """The engine answered a request with an error; the message is the engine's."""


class _Connection(http.client.HTTPConnection):
    """HTTP on a unix socket. Version 1.0 has no chunks: what the engine has sent can be read at once."""

    _http_vsn, _http_vsn_str = 10, "HTTP/1.0"

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("docker", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Response:
    """The answer to a request, which is read while it arrives."""

    def __init__(self, stream: socket.socket, answer: http.client.HTTPResponse) -> None:
        self._stream = stream
        self._answer = answer

    def read(self) -> bytes:
        """Return the rest of the answer."""
        return self._answer.read()

    def piece(self, at_most_seconds: float) -> bytes:
        """Return what arrives next; empty at the end. Raises TimeoutError if nothing arrives."""
        self._stream.settimeout(at_most_seconds)
        return self._answer.read1(1 << 16)


@contextmanager
def asked(path: str, method: str, what: str, body: Any = None, *, at_most_seconds: float) -> Iterator[Response]:
    """Send a request to the engine whose socket is `path`; raise RefusedError if the engine answers with an error.

    body: sent as JSON. at_most_seconds: between two parts of the answer.
    """
    with closing(_Connection(path, at_most_seconds)) as connection:
        text = None if body is None else json.dumps(body)
        connection.request(method, f"/{what}", text, {"Content-Type": "application/json"})
        stream: socket.socket = connection.sock  # the connection forgets it if only the answer needs it
        answer = connection.getresponse()
        if answer.status >= http.client.BAD_REQUEST:
            raise RefusedError(f"{method} {what}: {answer.status}: {answer.read().decode('utf-8', 'replace').strip()}")
        yield Response(stream, answer)


class Frames:
    """The two output streams of a process, which the engine sends as frames. A terminal's output is not in frames."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        self.streams = {"stdout": bytearray(), "stderr": bytearray()}
        self._is_terminal = is_terminal
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """Add the next part of the answer. The head of a frame: its stream, three zeros, its length in four bytes."""
        if self._is_terminal:
            self.streams["stdout"] += data
            return
        self._rest += data
        while len(self._rest) >= _HEAD and len(self._rest) >= (end := _HEAD + int.from_bytes(self._rest[4:_HEAD])):
            self.streams[_STREAMS[self._rest[0]]] += self._rest[_HEAD:end]
            del self._rest[:end]
