"""A copy of a service's output for its log matcher: complete, in order, and never blocking.

Output feeds it with frames (described in tasks/match.py). What the pipe does not accept is pending. While too much is
pending, the tap is `full` and Output pauses the service's streams (output.py).
"""

from __future__ import annotations

import select

from cohabit.reactor.linux import os
from cohabit.reactor.shortage import is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.reactor.poller import Poller

_PENDING_MAX = 1_048_576
_WRITE_SIZE = 65_536


class Tap:
    """The pipe to one matcher. fd: its write end, -1 when it is closed; pending: bytes that are not written yet.

    writable(fd) is called when more of what is pending can be written, with flush().
    """

    __slots__ = ("_poller", "_watched", "_writable", "fd", "pending")

    def __init__(self, poller: Poller, fd: int, writable: Callable[[int], None]) -> None:
        self._poller = poller
        self._writable = writable
        self._watched = False
        self.fd = fd
        self.pending = bytearray()

    @property
    def full(self) -> bool:
        """Whether nothing more should be fed until Output.resume() is called."""
        return len(self.pending) >= _PENDING_MAX

    def feed(self, source: int, data: bytes) -> None:
        """Add what a source wrote; b"" for its end."""
        if self.fd >= 0:
            self.pending += b"%d %d\n" % (source, len(data)) + data
            if not self._watched:
                self.flush()

    def flush(self) -> None:
        """Write as much as possible without waiting."""
        try:
            while self.pending:
                del self.pending[: os.write(self.fd, self.pending[:_WRITE_SIZE])]
        except OSError as error:
            if not is_shortage(error):  # the matcher has ended, which its exit code reports
                self.pending.clear()
        self._watch(bool(self.pending))

    def close(self) -> None:
        """Close the pipe and drop what is pending."""
        if self.fd >= 0:
            self._watch(False)
            os.close(self.fd)
            self.fd = -1
            self.pending.clear()

    def _watch(self, watched: bool) -> None:
        if watched != self._watched:
            self._watched = watched
            if watched:
                self._poller.add(self.fd, select.EPOLLOUT, self._writable)
            else:
                self._poller.remove(self.fd)
