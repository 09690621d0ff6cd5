"""Readiness by a descriptor, as s6 has it (notification-fd): the service writes a line and closes it.

One pipe per start. The first newline says that the service is ready; what comes before it means nothing, and as in
s6 nothing that comes after it is read. An end without a newline (the service closed it, or is gone) is no answer.
"""

from __future__ import annotations

import select

from cohabit.engine import events
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.plan.model import Service
    from cohabit.reactor.poller import Registry

_READ_SIZE = 4096


class NotificationFds:
    """All pipes that a line is waited for on. tell(fact) gets each answer."""

    def __init__(self, epoll: Registry, tell: Callable[[events.Probed], None]) -> None:
        self._epoll = epoll
        self._tell = tell
        self._names: dict[int, str] = {}
        self._fds: dict[str, int] = {}

    def open(self, service: Service) -> tuple[int, int]:
        """A fresh pipe for one start: (write end, its number in the child). Raises OSError.

        Whoever starts the service closes the write end afterwards.
        """
        self.close(service.name)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(reader, False)
            self._add(service.name, reader)
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        return writer, service.probe.fd if service.probe else 0

    def close(self, service: str) -> None:
        """Wait no more for this start of the service."""
        fd = self._fds.pop(service, -1)
        if fd >= 0:
            del self._names[fd]
            self._epoll.unregister(fd)
            os.close(fd)

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd in self._names

    def handle(self, fd: int) -> None:
        """One turn: whatever the service has written."""
        name = self._names[fd]
        try:
            data = os.read(fd, _READ_SIZE)
        except BlockingIOError:
            return
        if b"\n" in data:
            self.close(name)
            self._tell(events.Probed(name, passed=True))
        elif not data:
            self.close(name)

    def _add(self, service: str, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN)
        self._names[fd] = service
        self._fds[service] = fd

    # --- crossing a re-execution ---------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What must stay open across the exec."""
        return list(self._names)

    def to_plain(self) -> dict[str, Any]:
        """Plain values for restore; a line that waits in a pipe stays there."""
        return {"fds": self._fds}

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called; the descriptors are still open under their numbers."""
        for name, fd in plain["fds"].items():
            os.set_inheritable(fd, False)
            self._add(name, fd)
