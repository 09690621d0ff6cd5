"""The container's stdout or stderr as a destination, written without ever blocking.

O_NONBLOCK belongs to the open file description, which is shared with other processes (a shell's terminal, another
container's pipe), so it is never set on descriptors 1 and 2. Opening /proc/self/fd/N makes a separate description
(proc(5)); this works for pipes, terminals and devices. Where it does not work (a socket, another user's pipe), poll(2)
is called first and at most PIPE_BUF bytes are written: a pipe that polls writable has room for that many (pipe(7)). A
regular file is written as it is: a write blocks only while its file system hangs (docs/adr/0014). When its disk is
full, the write is tried again each second.
"""

from __future__ import annotations

import errno
import fcntl
import select
import stat
import sys
import termios
import time

from cohabit.reactor.linux import os
from cohabit.reactor.poller import is_ready
from cohabit.reactor.shortage import EIO, is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PIPE_BUF = 4096
_PIPE_SIZE = 262_144  # four times the default; more is hardly faster
_STALL_SECONDS = 1.0  # in drain(): a reader that reads nothing for this long is given up
_RETRY_SECONDS = 1.0
_DRAIN_RETRY_SECONDS, _DRAIN_RETRIES_MAX = 0.1, 10  # in drain(): a full disk is given up after 1 s


class Sink:
    """One destination. `pending` holds what was not accepted; while there is any, callers should not write more.

    on_lost(why) is called once, when the destination is closed for good. on_full(why) is called when the disk behind
    it becomes full, and with "" when it accepts output again; nothing is lost, and `retry_at` is the time of the next
    attempt. problem: that `why` meanwhile.
    """

    byte_stream = True

    def __init__(
        self,
        fd: int,
        identity: tuple[int, int] | None = None,
        *,
        on_lost: Callable[[str], None] | None = None,
        on_full: Callable[[str], None] | None = None,
    ) -> None:
        """Raises OSError. identity: skips fstat(2), for callers that do not compare identities."""
        self.identity = identity or _identity(fd)
        self.lost = self.problem = ""
        self.is_terminal = os.isatty(fd)
        self.on_lost = on_lost
        self.on_full = on_full
        self.pending: list[memoryview] = []
        self.retry_at: float | None = None
        self._stalled = False
        self._drain_retries_left = _DRAIN_RETRIES_MAX
        self._fd, self._write_size_max = _open_own(fd)
        enlarge_pipe(self._fd)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)

    @property
    def fd(self) -> int:
        """The descriptor to wait for; -1 while only `retry_at` counts."""
        return self._fd if self.retry_at is None else -1

    @property
    def can_splice(self) -> bool:
        """Whether splice(2) into it never waits: only with an own description, which has O_NONBLOCK."""
        return not self._write_size_max

    @property
    def blocked(self) -> bool:
        """Whether it holds pending output: call flush() when `fd` is writable, or at `retry_at`."""
        return bool(self.pending)

    def write(self, data: bytes | memoryview) -> None:
        """Write, or keep what is not accepted. Callers with an unbounded source stop while `blocked`."""
        if self.lost:
            return
        self.pending.append(memoryview(data))
        if len(self.pending) == 1:
            self.flush()

    def flush(self) -> None:
        """Write as much of `pending` as possible without waiting."""
        pending = self.pending
        self.retry_at = None
        try:
            while pending:
                piece = pending[0]
                if self._write_size_max:
                    if not self.has_room():
                        return
                    piece = piece[: self._write_size_max]
                written = os.write(self._fd, piece)
                if written < len(pending[0]):
                    pending[0] = pending[0][written:]
                else:
                    del pending[0]
        except BlockingIOError:
            return
        except OSError as error:
            # A full disk, or no memory for a pipe's pages. EIO means that the terminal is closed.
            if (is_shortage(error) and error.errno != EIO) or error.errno == errno.EDQUOT:
                self.retry_at = time.monotonic() + _RETRY_SECONDS
                self._report_full(error.strerror or str(error))
            else:
                self._lose(error.strerror or str(error))
            return
        if self.problem:
            self._report_full("")

    def _report_full(self, why: str) -> None:
        reported, self.problem = self.problem, why
        if bool(reported) != bool(why) and self.on_full is not None:
            self.on_full(why)

    @property
    def pending_bytes(self) -> int:
        """How many bytes were not accepted yet."""
        return sum(map(len, self.pending))

    def has_room(self) -> bool:
        """Whether a write of PIPE_BUF bytes would succeed now."""
        return bool(self._poll.poll(0))

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """Write what is pending, while there is time and it is accepted. At the end of the container."""
        while self.pending and not self._stalled and (left := seconds_left()) > 0:
            ready = is_ready(self._poll, min(left, _STALL_SECONDS)) if self.retry_at is None else None
            if ready is not None:
                self._stalled = not ready
            else:
                if self.retry_at is not None:
                    is_ready(select.poll(), min(left, _DRAIN_RETRY_SECONDS))
                self._drain_retries_left -= 1
                self._stalled = not self._drain_retries_left
            self.flush()

    def to_plain(self) -> bytes:
        """What is pending. The descriptor is the container's own and stays open."""
        return b"".join(self.pending)

    def restore(self, plain: bytes) -> None:
        """Take over the state from to_plain()."""
        if plain:
            self.write(plain)

    def _lose(self, why: str) -> None:
        self.lost, self.retry_at = why, None
        self.pending.clear()
        if self.on_lost is not None:
            self.on_lost(why)


def enlarge_pipe(fd: int, size: int = _PIPE_SIZE) -> None:
    """Enlarge a pipe, which means fewer wake-ups of the writer, cohabit and the reader.

    Other descriptors stay as they are, and so does a pipe of a user at its limit (pipe(7), pipe-user-pages-soft).
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError:
        return


def pipe_bytes(fd: int) -> int:
    """How many unread bytes are in a pipe."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def _identity(fd: int) -> tuple[int, int]:
    """Device and inode. stdout and stderr with the same identity share one sink, so their lines do not interleave."""
    status = os.fstat(fd)
    return (status.st_dev, status.st_ino)


def _open_own(fd: int) -> tuple[int, int]:
    """(descriptor to write to, largest write or 0 for no limit)."""
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd, 0
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{fd}", flags), 0
    except OSError:
        return fd, _PIPE_BUF
