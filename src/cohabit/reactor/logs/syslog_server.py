"""Where a syslog server is: a unix socket, an address, or a name that a side program has to look up first.

Process 1 cannot wait for name servers, so tasks/resolve.py does, once for each connect; its answer comes on a pipe and
counts when Children tell of its end. It knows sockets as far as to open one, and nothing of what is sent through them.
"""

from __future__ import annotations

import select
import sys

from cohabit.reactor.linux import PACKAGE, os, python_environment
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    Ended = Callable[[int, str], None]
    Launch = Callable[[str, SpawnSpec, Ended], None]
    Place = tuple[str, int, Any]  # way (below), family of socket(2), address of connect(2)
else:
    import _socket as socket

KEY = "\0resolve"  # before the address and a number: a killed one may not be reaped when the next begins
TCP, UDP, STREAM, DATAGRAM = "tcp", "udp", "unix", "unixgram"  # ways
PORT = 514
_ANSWER_SIZE = 4096
_KEEPALIVE_SECONDS = 60  # so that a firewall on the way does not forget an idle connection


class Server:
    """Where a syslog server is. Raises ValueError: that is no address.

    places: what to try, in this order. is_name: a resolver has to find them: ask, and when it has ended (wake is
    called) they are `fresh`, or the old ones and `why` it found none.
    """

    def __init__(self, address: str, launch: Launch, wake: Callable[[], None]) -> None:
        self.places: list[Place] = []
        self.asking = self.fresh = False
        self.why = ""
        self.count = 0
        self._address = address
        self._launch = launch
        self._wake = wake
        self._answer = -1
        self._way, _, rest = address.partition("://")
        self._host, self._port = "", PORT
        if self._way == STREAM:
            self.places = [(DATAGRAM, socket.AF_UNIX, rest), (STREAM, socket.AF_UNIX, rest)]
        elif self._way == DATAGRAM:
            self.places = [(DATAGRAM, socket.AF_UNIX, rest)]
        elif self._way in {UDP, TCP}:
            self._host, self._port = _host_and_port(rest)
            self.places = self._numeric(self._host, self._port, 0)
        else:
            raise ValueError(f"no address of a syslog server: {address}")
        self.is_name = not self.places

    def ask(self) -> None:
        """Have the name looked up, unless somebody does already. Raises OSError: no room."""
        if self.asking:
            return
        self._answer, writer = os.pipe2(os.O_CLOEXEC)
        self.asking = True
        self.count += 1
        argv = (sys.executable, "-I", "-S", f"{PACKAGE}/tasks/resolve.py", self._host, str(self._port), self._way)
        try:
            os.set_blocking(self._answer, False)
            start = SpawnSpec(argv, python_environment(), InheritedSignals((), ()), stdio=(0, writer, 2))
            self._launch(f"{KEY} {self._address} {self.count}", start, self._ended)
        except OSError:
            self._let_go()
            raise
        finally:
            os.close(writer)

    def wait(self, seconds: float) -> None:
        """At the very end, when nobody tells us of ends any more: wait so long for the answer."""
        poll = select.poll()
        poll.register(self._answer, select.POLLIN)
        if poll.poll(seconds * 1000):
            self._take("")

    def _ended(self, _code: int, why: str) -> None:
        if self.asking:
            self._take(f"cannot look up its name: {why}" if why else "")
            self._wake()

    def _take(self, why: str) -> None:
        """Read the answer. It was written at once, so whoever reads a part of it has the whole."""
        try:
            text = os.read(self._answer, _ANSWER_SIZE).decode("utf-8", "replace")
        except BlockingIOError:
            text = ""
        self._let_go()
        self.fresh = True
        if not text or text.startswith("!"):
            self.why = why or text[1:].strip() or "no answer from its name servers"
            return
        self.why, self.places = "", []
        for host, port, scope in (line.split(" ") for line in text.splitlines()):
            self.places += self._numeric(host, int(port), int(scope))

    def _let_go(self) -> None:
        os.close(self._answer)
        self._answer = -1
        self.asking = False

    def _numeric(self, host: str, port: int, scope: int) -> list[Place]:
        """The place if that is an address, for which nobody needs a name server; else none."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            socket.inet_pton(family, host)
        except OSError:
            return []
        return [(self._way, family, (host, port, 0, scope) if ":" in host else (host, port))]


def _host_and_port(text: str) -> tuple[str, int]:
    """Of "host", "host:514", "[::1]" or "[::1]:514"."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
    else:
        host, _, port = text.partition(":")
    port = port.removeprefix(":")
    return host, int(port) if port else PORT


def type_of(way: str) -> int:
    """Of socket(2)."""
    return socket.SOCK_STREAM if way in {TCP, STREAM} else socket.SOCK_DGRAM


def open_socket(place: Place) -> socket.socket:
    """A socket to connect there. Raises OSError."""
    way, family, _ = place
    sock = socket.socket(family, type_of(way) | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if way == TCP:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
    return sock
