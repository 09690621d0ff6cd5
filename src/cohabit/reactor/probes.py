"""Asking services whether they are ready: TCP and HTTP, without ever blocking the loop.

A probe is one non-blocking connection at a time, tried again every `start_interval_seconds` until the first
success; then it is forgotten. HTTP is one GET in HTTP/1.0 whose status line must say 2xx or 3xx. Hosts are
IP addresses (the loader turned `localhost` into one): process 1 never waits for a name server. `_socket` is
the C module behind `socket`, which costs 6 ms of imports (enum, selectors).
"""

from __future__ import annotations

import select

from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cohabit.plan.model import Probe, Service
else:
    import _socket as socket

_EINPROGRESS = 115
_STATUS_LINE_MAX = 512


class _Asked:
    """One service that is being asked. fd: the connection's descriptor, -1 between two tries."""

    __slots__ = ("connection", "deadline", "probe", "received", "sent", "started_at")

    def __init__(self, probe: Probe, now: float) -> None:
        self.probe = probe
        self.connection: socket.socket | None = None
        self.deadline = now  # of the next try, or of this one
        self.started_at = now
        self.sent = False
        self.received = b""


class Probes:
    """All services that are being asked. passed(service) is called once for each that answers."""

    def __init__(self, epoll: select.epoll, passed: Callable[[str], None]) -> None:
        self._epoll = epoll
        self._passed = passed
        self._asked: dict[str, _Asked] = {}
        self._names: dict[int, str] = {}  # descriptor -> service

    def start(self, service: Service, now: float) -> None:
        """Ask from now on, the first time at once."""
        if service.probe is not None:
            self.stop(service.name)
            self._asked[service.name] = _Asked(service.probe, now)

    def stop(self, service: str) -> None:
        """Ask no more."""
        asked = self._asked.pop(service, None)
        if asked is not None:
            self._hang_up(asked)

    def deadline(self) -> float | None:
        """Monotonic seconds of the next try or the end of a try's patience."""
        return min((asked.deadline for asked in self._asked.values()), default=None)

    def due(self, now: float) -> None:
        """Begin the tries whose time has come, give up those that took too long."""
        for name, asked in list(self._asked.items()):
            if asked.deadline > now:
                continue
            if asked.connection is not None:
                self._failed(asked, now)
            else:
                self._try(name, asked, now)

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd in self._names

    def handle(self, fd: int, now: float) -> None:
        """A connection got somewhere."""
        name = self._names[fd]
        asked = self._asked[name]
        try:
            done = asked.connection is not None and self._advance(asked, asked.connection)
        except OSError:
            self._failed(asked, now)
            return
        if done is None:
            return
        if done:
            self.stop(name)
            self._passed(name)
        else:
            self._failed(asked, now)

    def _try(self, name: str, asked: _Asked, now: float) -> None:
        probe = asked.probe
        family = socket.AF_INET6 if ":" in probe.host else socket.AF_INET
        asked.started_at, asked.deadline = now, now + probe.timeout_seconds
        asked.sent, asked.received = False, b""
        try:
            connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:
            self._failed(asked, now)
            return
        asked.connection = connection
        self._names[connection.fileno()] = name
        self._epoll.register(connection.fileno(), select.EPOLLOUT)
        if connection.connect_ex((probe.host, probe.port)) not in (0, _EINPROGRESS):
            self._failed(asked, now)

    def _advance(self, asked: _Asked, connection: socket.socket) -> bool | None:
        """True: it is ready. False: it is not. None: more to come."""
        if not asked.sent:
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            if asked.probe.kind == "tcp":
                return True
            connection.send(_request(asked.probe))
            asked.sent = True
            self._epoll.modify(connection.fileno(), select.EPOLLIN)
            return None
        data = connection.recv(_STATUS_LINE_MAX)
        asked.received += data
        line, newline, _ = asked.received.partition(b"\n")
        if not newline and data and len(asked.received) < _STATUS_LINE_MAX:
            return None
        words = line.split()
        return len(words) > 1 and words[0].startswith(b"HTTP/") and words[1][:1] in (b"2", b"3")

    def _failed(self, asked: _Asked, now: float) -> None:
        self._hang_up(asked)
        asked.deadline = max(now, asked.started_at + asked.probe.start_interval_seconds)

    def _hang_up(self, asked: _Asked) -> None:
        if asked.connection is not None:
            fd = asked.connection.fileno()
            del self._names[fd]
            # Explicitly: while a child is between fork and exec it shares the connection, and a closed
            # descriptor whose description lives on would stay in the epoll set for ever (epoll(7), Q6).
            self._epoll.unregister(fd)
            asked.connection.close()
            asked.connection = None


def _request(probe: Probe) -> bytes:
    host = f"[{probe.host}]" if ":" in probe.host else probe.host
    return (
        f"GET {probe.path} HTTP/1.0\r\nHost: {host}:{probe.port}\r\nUser-Agent: cohabit\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode()
