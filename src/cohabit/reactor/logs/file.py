"""A log file as a destination: written in order, rotated when it is large.

Before each write, the path is compared with the open file. If it leads to another file, or to none, because logrotate
or a user moved, copied or removed it, the next line goes to where the path leads. Before the file would exceed its
size limit, it becomes the newest rotated file (rotated.py). A line is in one file only: an interrupted line is
continued in the file with its beginning, or written again as a whole when that file is gone.

What cannot be written (full disk, missing directory) stays pending and is tried again each second.
"""

from __future__ import annotations

import select
import time

from cohabit import paths
from cohabit.reactor.linux import os
from cohabit.reactor.logs.rotated import OldFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.paths import Place
    from cohabit.reactor.logs.rotated import Ended, Launch

_RETRY_SECONDS = 1.0
_DRAIN_RETRY_SECONDS, _DRAIN_RETRIES_MAX = 0.1, 10  # in drain(): a full disk is given up after 1 s
_AT_ONCE = 0.0  # monotonic seconds, always in the past
_MODE, _DIRECTORY_MODE = 0o644, 0o755  # before the umask
_NEWLINE = 10


class FileSink:
    """One log file and its rotated files; a sink (target.py).

    on_trouble(text): logs a warning. launch: Children's, which starts a side program under a key. There is no rotation
    until set_rotation() is called.
    """

    fd = -1  # epoll cannot watch a regular file: only `retry_at` says when to flush
    lost = ""  # a file is never given up

    def __init__(self, path: str, *, launch: Launch, on_trouble: Callable[[str], None] | None = None) -> None:
        self.path = path
        self.on_trouble = on_trouble
        self.retry_at: float | None = None
        self._pending: list[memoryview] = []
        self._offset = 0  # bytes of the first piece that are written
        self._file = -1
        self._identity = (0, 0)  # device and inode of the file that is open
        self._bytes_max = 0
        self._opened = False  # at the first open, an unfinished line of an earlier run gets its newline
        self._rotate_at = 0.0  # after a failure: the time of the next attempt
        self._drain_retries_left = _DRAIN_RETRIES_MAX
        self._reported: set[str] = set()  # problems that were reported and persist
        self._old = OldFiles(path, launch, self._report)

    def set_rotation(self, bytes_max: int, files_max: int, *, compress: bool) -> None:
        """Rotate from now on. bytes_max: the size limit, 0 for none; files_max: with the current file."""
        self._bytes_max = bytes_max
        self._old.set(files_max, compress=compress)

    @property
    def blocked(self) -> bool:
        """Whether it holds pending output: call flush() at `retry_at`."""
        return bool(self._pending)

    @property
    def pending_bytes(self) -> int:
        """How many bytes were not written yet."""
        return sum(map(len, self._pending)) - self._offset

    def write(self, data: bytes | memoryview) -> None:
        """Write whole lines, or keep what cannot be written now. Callers stop while `blocked`."""
        if not data:
            return
        self._pending.append(memoryview(data))
        if self.retry_at is None and len(self._pending) == 1:
            self.flush()

    def flush(self) -> None:
        """Write as much of what is pending as possible."""
        try:
            while self._pending:
                self._write_once()
        except OSError as error:
            self.retry_at = time.monotonic() + _RETRY_SECONDS
            action = "trying again every second; blocking services wait"
            self._report("write", f"cannot write {self.path}: {error.strerror or error} ({action})")
            return
        self.retry_at = None
        if self._reported:
            self._report_recovery("write", f"can write {self.path} again")

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """Write what is pending, while there is time. For the end of the container: gives up after 1 s."""
        while self._pending and self._drain_retries_left and (left := seconds_left()) > 0:
            self.flush()
            if self._pending:
                self._drain_retries_left -= 1
                select.poll().poll(min(left, _DRAIN_RETRY_SECONDS) * 1000)

    def stop_compressing(self) -> None:
        """Start no more compressions, and ignore the result of the running one: the container is stopping.

        If its process is killed, the file stays uncompressed, and the next start of the container compresses it.
        """
        self._old.stop()

    def close(self) -> None:
        """Close the file. A running compression finishes by itself and is the last one."""
        self.stop_compressing()
        try:
            self._close()
        except OSError as error:
            self._warn(f"cannot close {self.path}: {error.strerror} (the last lines may be lost)")

    def _close(self) -> None:
        """Raises OSError: a network file system may report a failed write at close(2)."""
        if self._file >= 0:
            fd, self._file = self._file, -1
            os.close(fd)

    # --- writing -------------------------------------------------------------------------------------

    def _write_once(self) -> None:
        """Write once, or rotate if that must come first. Raises OSError."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            status = None
        if self._file >= 0 and status is not None and (status.st_dev, status.st_ino) == self._identity:
            end = self._write_end(status.st_size)
        elif self._file >= 0 and self._inside_line() and _has_name(self._file):
            # The path has another file now; the rest of a line goes to the file that has its beginning.
            end = _line_end(self._pending[0], self._offset)
        else:
            end = self._write_end(self._open())
        piece = self._pending[0]
        if end == self._offset:
            if self._rotate():
                return
            end = len(piece)
        self._offset += os.write(self._file, piece[self._offset : end])
        if self._offset == len(piece):
            del self._pending[0]
            self._offset = 0

    def _write_end(self, size: int) -> int:
        """Up to where the first piece may go into a file of this size; `_offset` if it must be rotated first."""
        piece, start = self._pending[0], self._offset
        room = self._bytes_max - size
        if self._bytes_max <= 0 or len(piece) - start <= room:
            return len(piece)
        whole_lines = bytes(piece[start : start + room]).rfind(b"\n") + 1 if room > 0 else 0
        if whole_lines:
            return start + whole_lines
        if size == 0 or self._inside_line():
            return _line_end(piece, start)
        return start

    def _inside_line(self) -> bool:
        return self._offset > 0 and self._pending[0][self._offset - 1] != _NEWLINE

    def _open(self) -> int:
        """Open the file that the path leads to, or create it. Returns its size. Raises OSError.

        In a directory that others can change, no link is followed and only certain files are written (paths.py).
        """
        self._close()
        place, self._file = paths.open_to_append(self.path, mode=_MODE, directory_mode=_DIRECTORY_MODE)
        with place:
            status = os.fstat(self._file)
            self._identity = (status.st_dev, status.st_ino)
            if self._offset:  # the line's beginning is gone with its file: write the whole line
                self._offset = bytes(self._pending[0][: self._offset]).rfind(b"\n") + 1
            size = status.st_size
            if not self._opened and _ends_inside_line(place, self._identity, size):
                size += self._write_newline()
        self._opened = True
        self._old.begin(place.path)
        return size

    def _write_newline(self) -> int:
        """End the unfinished line of an earlier run, beyond any size limit. Raises OSError; the file is closed then."""
        try:
            return os.write(self._file, b"\n")
        except OSError:
            self._close()
            raise

    def _rotate(self) -> bool:
        """Free the path for a new file. Returns False if it cannot: then the file grows beyond its limit."""
        now = time.monotonic()
        if now < self._rotate_at:
            return False
        try:
            self._old.rotate(self._file)
        except FileNotFoundError:  # already moved, by logrotate for example: the next write opens a new file
            return False
        except OSError as error:
            self._rotate_at = now + _RETRY_SECONDS
            action = "the file grows; trying again every second"
            self._report("rotate", f"cannot rotate {self.path}: {error.strerror} ({action})")
            return False
        self._close()
        self._report_recovery("rotate", f"can rotate {self.path} again")
        self._old.compress_next()
        return True

    # --- messages ------------------------------------------------------------------------------------

    def _report(self, problem: str, text: str) -> None:
        """Report a problem unless it is reported already; text "": the problem is over, without a message."""
        if not text:
            self._reported.discard(problem)
        elif problem not in self._reported:
            self._reported.add(problem)
            self._warn(text)

    def _report_recovery(self, problem: str, text: str) -> None:
        if problem in self._reported:
            self._reported.remove(problem)
            self._warn(text)

    def _warn(self, text: str) -> None:
        if self.on_trouble is not None:
            self.on_trouble(text)

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """The open file: its path may lead to another file later, and a line may be unfinished."""
        return [self._file] if self._file >= 0 else []

    def to_plain(self) -> dict[str, Any]:
        """What is not written, and the open file."""
        return {
            "pending": [bytes(piece) for piece in self._pending],
            "at": self._offset,
            "file": self._file,
            "identity": self._identity,
            "begun": self._opened,
            "troubles": sorted(self._reported),
            "old": self._old.to_plain(),
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(). Children must call what tasks() gives when a child ends.

        Nothing is written before the next flush(), which is due at once: a write may start a child, which is not
        possible yet.
        """
        self._pending = [memoryview(piece) for piece in plain["pending"]]
        self._offset, self._file, self._identity = plain["at"], plain["file"], plain["identity"]
        if self._file >= 0:
            os.set_inheritable(self._file, False)
        self._reported = set(plain["troubles"])
        self._opened = plain["begun"]
        self._old.restore(plain["old"])
        self.retry_at = _AT_ONCE

    def tasks(self) -> list[tuple[str, Ended]]:
        """The running compression, if any: (key, what must be called when it ends)."""
        return self._old.tasks()


def _has_name(fd: int) -> bool:
    """Whether an open file is still in some directory."""
    try:
        return os.fstat(fd).st_nlink > 0
    except OSError:  # the file is gone from a network file system
        return False


def _ends_inside_line(place: Place, identity: tuple[int, int], size: int) -> bool:
    """Whether the file is not empty and its last byte is not a newline; False if it cannot be read."""
    try:
        fd = place.open(os.O_RDONLY)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        return (status.st_dev, status.st_ino) == identity and size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    except OSError:
        return False
    finally:
        os.close(fd)


def _line_end(piece: memoryview, start: int) -> int:
    return bytes(piece[start:]).find(b"\n") + 1 + start or len(piece)
