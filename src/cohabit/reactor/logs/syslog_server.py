"""The addresses of a syslog server: a unix socket, an IP address, or a host name that must be looked up.

Process 1 must not wait for name servers, so a side program looks the name up before each connect (tasks/resolve.py).
It writes its answer to a pipe, which is read when it has ended.
"""

from __future__ import annotations

import select

from cohabit.program import program
from cohabit.reactor.connector import DATAGRAM, STREAM, TCP, UDP
from cohabit.reactor.poller import is_ready
from cohabit.reactor.side_process import SideProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cohabit.reactor.connector import Place
    from cohabit.reactor.context import Context
else:
    import _socket as socket

KEY = "\0resolve"  # a child's key: this, the address and a number, since a killed child may not be reaped yet
PORT = 514
_ANSWER_MAX = 4096  # bytes


class Server:
    """The addresses of one syslog server. Raises ValueError: not a valid address.

    places: addresses to try, in this order. is_name: places come from look_up(). When a lookup has ended, on_answer()
    is called; then is_new is set, and either places are new, or they are the old ones and error says why.
    """

    def __init__(self, address: str, context: Context, on_answer: Callable[[], None]) -> None:
        self.places: list[Place] = []
        self.looking_up = self.is_new = False
        self.error = ""
        self.count = 0
        self._address = address
        self._context = context
        self._on_answer = on_answer
        self._resolver: SideProcess | None = None
        self._answer = b""
        self._transport, _, location = address.partition("://")
        self._host, self._port = "", PORT
        if self._transport == STREAM:
            self.places = [(DATAGRAM, socket.AF_UNIX, location), (STREAM, socket.AF_UNIX, location)]
        elif self._transport == DATAGRAM:
            self.places = [(DATAGRAM, socket.AF_UNIX, location)]
        elif self._transport in {UDP, TCP}:
            self._host, self._port = _host_and_port(location)
            self.places = self._numeric(self._host, self._port, 0)
        else:
            raise ValueError(f"not a syslog server address: {address}")
        self.is_name = not self.places

    def look_up(self) -> None:
        """Start a lookup of the host name, unless one is running. Raises OSError: out of resources."""
        if self.looking_up:
            return
        self.count += 1
        self._answer = b""
        self._resolver = SideProcess(
            self._context, "resolve", f"{KEY} {self._address} {self.count}", self._read, self._ended
        )
        self._resolver.start(program("resolve", self._host, str(self._port), self._transport), stdin=0)
        self.looking_up = True

    def wait(self, seconds: float) -> None:
        """Wait for the answer, at most so long. At the end of the container, when ends of children are not reported."""
        poll = select.poll()
        resolver = self._resolver
        if resolver is not None and resolver.output >= 0:
            poll.register(resolver.output, select.POLLIN)
            if is_ready(poll, seconds):
                resolver.read()  # it was written in one write(2), so it is there as a whole or not at all
                resolver.close_output()
                self._take_answer("")

    def _read(self, data: bytes) -> None:
        self._answer = (self._answer + data)[:_ANSWER_MAX]

    def _ended(self, _code: int, error: str) -> None:
        if self.looking_up:
            self._take_answer(f"cannot look up the host name: {error}" if error else "")
            self._on_answer()

    def _take_answer(self, error: str) -> None:
        self.looking_up = False
        text = self._answer.decode("utf-8", "replace")
        self.is_new = True
        if not text or text.startswith("!"):
            self.error = error or text[1:].strip() or "no answer from the name servers"
            return
        self.error, self.places = "", []
        for host, port, scope in (line.split(" ") for line in text.splitlines()):
            self.places += self._numeric(host, int(port), int(scope))

    def _numeric(self, host: str, port: int, scope: int) -> list[Place]:
        """The address in a list if `host` is an IP address, otherwise an empty list."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            socket.inet_pton(family, host)
        except OSError:
            return []
        return [(self._transport, family, (host, port, 0, scope) if ":" in host else (host, port))]


def _host_and_port(text: str) -> tuple[str, int]:
    """Accepts "host", "host:514", "[::1]" and "[::1]:514"."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
    else:
        host, _, port = text.partition(":")
    port = port.removeprefix(":")
    return host, int(port) if port else PORT
