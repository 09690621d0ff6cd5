"""Readiness by a descriptor, as in s6 (notification-fd): the service writes a line and closes the descriptor.

Each start has its own pipe. The first newline means that the service is ready. As in s6, the text before it is ignored
and nothing after it is read. End of file without a newline does not count.
"""

from __future__ import annotations

import select

from cohabit.engine import events
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Service
    from cohabit.reactor.context import Context

_READ_SIZE = 4096


class NotificationFds:
    """The pipes of all services that are not ready yet. Each answer is the event Probed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._fds: dict[str, int] = {}

    def open(self, service: Service) -> tuple[int, int]:
        """Create the pipe of one start. Returns (write end, its number in the child). Raises OSError.

        The caller closes the write end after the start.
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
        """Close the pipe of the current start."""
        fd = self._fds.pop(service, -1)
        if fd >= 0:
            self._context.poller.remove(fd)
            os.close(fd)

    def _read(self, name: str, fd: int) -> None:
        """Read once what the service has written."""
        try:
            data = os.read(fd, _READ_SIZE)
        except BlockingIOError:
            return
        if b"\n" in data:
            self.close(name)
            self._context.emit(events.Probed(name, passed=True))
        elif not data:
            self.close(name)

    def _add(self, service: str, fd: int) -> None:
        self._context.poller.add(fd, select.EPOLLIN, lambda fd: self._read(service, fd))
        self._fds[service] = fd

    # --- re-execution state --------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        return list(self._fds.values())

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for restore. Unread data stays in the pipes."""
        return {"fds": self._fds}

    def restore(self, plain: dict[str, Any]) -> None:
        """Continue with the values of to_plain. The descriptors are still open under their numbers."""
        for name, fd in plain["fds"].items():
            os.set_inheritable(fd, False)
            self._add(name, fd)
