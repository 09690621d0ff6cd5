"""Where output goes: the container's stdout or stderr, written without ever blocking.

O_NONBLOCK belongs to the open file description, which we share with whoever gave us the descriptor (a
shell's terminal, another container's pipe), so it is never set on fd 1 or 2. Opening /proc/self/fd/N anew
makes a description of our own (proc(5)); that works for pipes, terminals and devices. Where it does not (a
socket, a pipe of another user's), poll(2) is asked first and at most PIPE_BUF bytes are written: a pipe that
polls writable has room for that many (pipe(7)). A regular file never blocks and is written as it is; when its disk is
full it is tried again each second.
"""

from __future__ import annotations

import fcntl
import select
import stat
import sys
import time

from cohabit.reactor.linux import os
from cohabit.reactor.shortage import EIO, is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PIPE_BUF = 4096
_PIPE_SIZE = 262_144  # four times the default; more is hardly quicker
_F_SETPIPE_SZ, _FIONREAD = 1031, 0x541B
_STALL_SECONDS = 1.0  # at the very end: who takes nothing for so long reads no more
_EDQUOT = 122
_AGAIN_SECONDS = 1.0
_DRAIN_AGAIN_SECONDS, _DRAINS = 0.1, 10  # at the very end: a disk that stays full has nothing to wait for


class Sink:
    """One destination. `pending` is what it did not take yet; while there is any, nobody should write more.

    on_lost is called once, with the reason, when the destination is gone for good; on_full when the disk behind it
    becomes full, and with "" when it takes again: nothing is lost to that, `retry_at` says when to try.
    """

    def __init__(self, fd: int, identity: tuple[int, int] | None = None) -> None:
        """identity: given where nobody compares it, so that a fstat(2) that fails does no harm. Raises OSError."""
        self.identity = identity or _identity(fd)
        self.lost = ""
        self.is_terminal = os.isatty(fd)
        self.on_lost: Callable[[str], None] | None = None
        self.on_full: Callable[[str], None] | None = None
        self.pending: list[memoryview] = []
        self.retry_at: float | None = None
        self._full = False
        self._stalled = False
        self._drains_left = _DRAINS
        self._fd, self._at_most = _open_own(fd)
        enlarge_pipe(self._fd)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)

    @property
    def fd(self) -> int:
        """Where to look for room; -1 while it is a matter of time."""
        return self._fd if self.retry_at is None else -1

    @property
    def takes_splices(self) -> bool:
        """Whether splice(2) into it never waits: O_NONBLOCK is ours to set only on a description of our own."""
        return not self._at_most

    @property
    def blocked(self) -> bool:
        """It has not taken all it was given: ask again when `fd` is writable, or at `retry_at`."""
        return bool(self.pending)

    def write(self, data: bytes | memoryview) -> None:
        """Write, or keep what does not fit. Callers with an unbounded source stop while `blocked`."""
        if self.lost:
            return
        self.pending.append(memoryview(data))
        if len(self.pending) == 1:
            self.flush()

    def flush(self) -> None:
        """Write as much of `pending` as goes without waiting."""
        pending = self.pending
        self.retry_at = None
        try:
            while pending:
                piece = pending[0]
                if self._at_most:
                    if not self.has_room():
                        return
                    piece = piece[: self._at_most]
                written = os.write(self._fd, piece)
                if written < len(pending[0]):
                    pending[0] = pending[0][written:]
                else:
                    del pending[0]
        except BlockingIOError:
            return
        except OSError as error:
            # A disk that is full, or no memory for a pipe's pages. EIO is a terminal that nobody holds any more.
            if (is_shortage(error) and error.errno != EIO) or error.errno == _EDQUOT:
                self.retry_at = time.monotonic() + _AGAIN_SECONDS
                self._tell_full(error.strerror or str(error))
            else:
                self._lose(error.strerror or str(error))
            return
        if self._full:
            self._tell_full("")

    def _tell_full(self, why: str) -> None:
        if self._full != bool(why):
            self._full = bool(why)
            if self.on_full is not None:
                self.on_full(why)

    @property
    def pending_bytes(self) -> int:
        """How much it did not take yet."""
        return sum(map(len, self.pending))

    def has_room(self) -> bool:
        """Whether a write of PIPE_BUF bytes would go through now."""
        return bool(self._poll.poll(0))

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """Write what is pending, as long as there is time and somebody takes it. For the very end."""
        while self.pending and not self._stalled and (left := seconds_left()) > 0:
            if self.retry_at is None:
                self._stalled = not self._poll.poll(min(left, _STALL_SECONDS) * 1000)
            else:
                select.poll().poll(min(left, _DRAIN_AGAIN_SECONDS) * 1000)
                self._drains_left -= 1
                self._stalled = not self._drains_left
            self.flush()

    def to_plain(self) -> bytes:
        """What was not taken yet. The descriptor is the container's own and stays."""
        return b"".join(self.pending)

    def restore(self, plain: bytes) -> None:
        """Take over where to_plain was called."""
        if plain:
            self.write(plain)

    def _lose(self, why: str) -> None:
        self.lost, self.retry_at = why, None
        self.pending.clear()
        if self.on_lost is not None:
            self.on_lost(why)


def enlarge_pipe(fd: int) -> None:
    """Ask for a bigger pipe: it means fewer turns between writer, us and reader.

    What is no pipe stays as it is, and so does a pipe whose user has his share (pipe(7), pipe-user-pages-soft).
    """
    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_SIZE)
    except OSError:
        return


def pipe_bytes(fd: int) -> int:
    """How much is in a pipe that nobody has read yet."""
    return int.from_bytes(fcntl.ioctl(fd, _FIONREAD, bytes(4)), sys.byteorder)


def _identity(fd: int) -> tuple[int, int]:
    """Same file, same sink: then a line on stderr cannot land inside a line on stdout."""
    status = os.fstat(fd)
    return (status.st_dev, status.st_ino)


def _open_own(fd: int) -> tuple[int, int]:
    """(descriptor to write to, most bytes at once or 0 for no limit)."""
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd, 0
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{fd}", flags), 0
    except OSError:
        return fd, _PIPE_BUF
