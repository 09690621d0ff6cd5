"""A copy of a service's output on its way to the matcher: everything, in order, and never waiting.

Output feeds it, in frames (tasks/match.py says which); what the pipe does not take at once is kept. While too much
is, it is `full`, and Output reads no more of that service.
"""

from __future__ import annotations

import select

from cohabit.reactor.linux import os
from cohabit.reactor.shortage import is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.poller import Registry

_PENDING_MAX = 1_048_576
_WRITE_SIZE = 65_536


class Tap:
    """One pipe to one matcher. fd: its end, -1 when it is closed; pending: what it did not take yet."""

    __slots__ = ("_epoll", "_watched", "fd", "pending")

    def __init__(self, epoll: Registry, fd: int) -> None:
        self._epoll = epoll
        self._watched = False
        self.fd = fd
        self.pending = bytearray()

    @property
    def full(self) -> bool:
        """Whoever feeds it should wait for Output.resume."""
        return len(self.pending) >= _PENDING_MAX

    def feed(self, source: int, data: bytes) -> None:
        """A piece of what a source wrote, b"" for its end."""
        if self.fd >= 0:
            self.pending += b"%d %d\n" % (source, len(data)) + data
            if not self._watched:
                self.flush()

    def flush(self) -> None:
        """Write as much as goes without waiting."""
        try:
            while self.pending:
                del self.pending[: os.write(self.fd, self.pending[:_WRITE_SIZE])]
        except OSError as error:
            if not is_shortage(error):  # the matcher has ended: its exit code will tell
                self.pending.clear()
        self._watch(bool(self.pending))

    def close(self) -> None:
        """No more of it; what is pending goes."""
        if self.fd >= 0:
            self._watch(False)
            os.close(self.fd)
            self.fd = -1
            self.pending.clear()

    def _watch(self, wanted: bool) -> None:
        if wanted != self._watched:
            self._watched = wanted
            if wanted:
                self._epoll.register(self.fd, select.EPOLLOUT)
            else:
                self._epoll.unregister(self.fd)
