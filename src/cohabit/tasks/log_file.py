"""A log file: written in order, rotated when it is large. A part of the log writer (log_writer.py).

Before each write, the path is compared with the open file. If it leads to another file, or to none, because logrotate
or a user moved, copied or removed it, the next line goes to where the path leads. Before the file would exceed its
size limit, it becomes the newest rotated file (rotated_files.py). A line is in one file only: an interrupted line is
continued in the file with its beginning, or written again as a whole when that file is gone.

What cannot be written (full disk, missing directory) stays pending and is tried again each second.

`position` says how far the stream is written. If the writer dies, the next one gets the last position that process 1
knows, and everything that follows it in the stream. What lies in the file beyond that position was written without
being confirmed: as far as it equals the stream, it is not written again. A position is always confirmed before and
after a change of files, so that no file but the current one has to be examined. (Lines are written twice if the writer
dies within the second after another program has renamed the file, and before it has written to the next one. If the
disk was full inside a line then, the renamed file keeps the beginning of that line.)
"""

from __future__ import annotations

import os
import select
import time

from cohabit import paths
from cohabit.tasks.rotated_files import RotatedFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from cohabit.paths import Place
    from cohabit.tasks.rotated_files import Compress

    Position: TypeAlias = tuple[int, int, int, int]

_RETRY_SECONDS = 1.0
_DRAIN_RETRY_SECONDS, _DRAIN_RETRIES_MAX = 0.1, 10  # in drain(): a full disk is given up after 1 s
_MODE, _DIRECTORY_MODE = 0o644, 0o755  # before the umask
_NEWLINE = 10
_NO_FILE = (0, 0, 0)
_UNCONFIRMED_MAX = 4_194_304  # bytes after the confirmed position that are examined: more are never unconfirmed


class LogFile:
    """One log file and its rotated files.

    on_trouble(text): reports a problem, or its end. compress: as for RotatedFiles. confirm(): passes the position on,
    because the files are about to change. resume: the confirmed position of a writer that died, None for the first one.
    There is no rotation until set_rotation() is called.

    position: (bytes of the stream that are written, device, inode and end of the file that they are in). The last three
    are 0 between two files. None before the first open.
    """

    def __init__(
        self,
        path: str,
        *,
        compress: Compress,
        on_trouble: Callable[[str], None] = lambda _: None,
        confirm: Callable[[], None] = lambda: None,
        resume: Position | None = None,
    ) -> None:
        self.path = path
        self.retry_at: float | None = None
        self.position = resume
        self._confirm = confirm
        self._resume = resume
        self._unconfirmed = b""  # what the file has beyond the confirmed position
        self._pending: list[memoryview] = []
        self._offset = 0  # bytes of the first piece that are written
        self._written = resume[0] if resume else 0  # bytes of the stream before the first piece
        self._file = -1
        self._identity = (0, 0)  # device and inode of the file that is open
        self._bytes_max = 0
        self._rotate_at = 0.0  # after a failure: the time of the next attempt
        self._problems = _Problems(on_trouble)
        self._old = RotatedFiles(path, compress, self._problems.report)

    def set_rotation(self, bytes_max: int, files_max: int, *, compress: bool) -> None:
        """Rotate from now on. bytes_max: the size limit, 0 for none; files_max: with the current file."""
        self._bytes_max = bytes_max
        self._old.set(files_max, compress=compress)

    @property
    def blocked(self) -> bool:
        """Whether it holds pending output: call flush() at `retry_at`."""
        return bool(self._pending)

    @property
    def problem(self) -> str:
        """Why the last write failed, as the kernel says it."""
        return self._problems.not_written

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
            self._problems.not_written = error.strerror or str(error)
            action = "trying again every second; blocking services wait"
            self._problems.report("write", f"cannot write {self.path}: {self.problem} ({action})")
            return
        self.retry_at = None
        self._problems.over("write", f"can write {self.path} again")

    def drain(self) -> None:
        """Write what is pending. For the end of the container: gives up after 1 s."""
        for _ in range(_DRAIN_RETRIES_MAX):
            self.flush()
            if not self._pending:
                return
            select.poll().poll(_DRAIN_RETRY_SECONDS * 1000)

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
            self._problems.warn(f"cannot close {self.path}: {error.strerror} (the last lines may be lost)")

    def _close(self) -> None:
        """Raises OSError: a network file system may report a failed write at close(2)."""
        if self._file >= 0:
            fd, self._file = self._file, -1
            os.close(fd)

    def _leave(self) -> None:
        """Close the file for another one. Raises OSError."""
        if self.position is not None and self.position[1:] != _NO_FILE:
            self._confirm()
            self.position = (self.position[0], *_NO_FILE)
            self._confirm()
        self._close()

    # --- writing -------------------------------------------------------------------------------------

    def _write_once(self) -> None:
        """Write once, or rotate if that must come first. Raises OSError."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            status = None
        if self._file >= 0 and status is not None and (status.st_dev, status.st_ino) == self._identity:
            if self.position is not None and status.st_size < self.position[3]:  # truncated by another program
                self.position = (self.position[0], *self._identity, status.st_size)
                self._confirm()
            end = self._write_end(status.st_size)
        elif self._file >= 0 and self._inside_line() and _has_name(self._file):
            # The path has another file now; the rest of a line goes to the file that has its beginning.
            end = _line_end(self._pending[0], self._offset)
        else:
            end = self._write_end(self._open())
        if self._unconfirmed and self._skip_unconfirmed():
            return
        piece = self._pending[0]
        if end == self._offset:
            if self._rotate():
                return
            end = len(piece)
        self._offset += os.write(self._file, piece[self._offset : end])
        self._advance(os.lseek(self._file, 0, os.SEEK_CUR))

    def _advance(self, end: int) -> None:
        """Set the position after a write; end: where it ended in the file. A position is at the end of a line."""
        piece = self._pending[0]
        confirmed = self._offset
        if self._offset == len(piece):
            del self._pending[0]
            self._written += len(piece)
            confirmed = self._offset = 0
        elif piece[self._offset - 1] != _NEWLINE:
            confirmed = bytes(piece[: self._offset]).rfind(b"\n") + 1
            end -= self._offset - confirmed
        if self.position is None or self._written + confirmed > self.position[0]:
            self.position = (self._written + confirmed, *self._identity, end)

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
        if self._file >= 0:
            self._leave()
        place, self._file = paths.open_to_append(self.path, mode=_MODE, directory_mode=_DIRECTORY_MODE)
        with place:
            status = os.fstat(self._file)
            self._identity = (status.st_dev, status.st_ino)
            if self._offset:  # the line's beginning is gone with its file: write the whole line
                self._offset = bytes(self._pending[0][: self._offset]).rfind(b"\n") + 1
            size = status.st_size
            if self.position is None and _ends_inside_line(place, self._identity, size):
                size += self._write_newline()
            if self._resume is not None:
                self._unconfirmed = _written_after(place, self._identity, self._resume)
                self._resume = None
        self.position = (self.position[0] if self.position else 0, *self._identity, size - len(self._unconfirmed))
        self._confirm()
        self._old.begin(place.path)
        return size

    def _skip_unconfirmed(self) -> bool:
        """Skip what a writer that died has written. Returns False if the file has something else there."""
        piece = self._pending[0]
        length = min(len(self._unconfirmed), len(piece))
        if piece[:length] == self._unconfirmed[:length]:
            self._unconfirmed = self._unconfirmed[length:]
        else:  # another program has appended to the file: only the lines before that are ours
            same = next(at for at in range(length) if piece[at] != self._unconfirmed[at])
            length = bytes(piece[:same]).rfind(b"\n") + 1
            self._unconfirmed = b""
            if not length:
                return False
        self._offset = length
        self._advance(os.lseek(self._file, 0, os.SEEK_END) - len(self._unconfirmed))
        return True

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
        self._confirm()
        try:
            self._old.rotate(self._file)
        except FileNotFoundError:  # already moved, by logrotate for example: the next write opens a new file
            return False
        except OSError as error:
            self._rotate_at = now + _RETRY_SECONDS
            action = "the file grows; trying again every second"
            self._problems.report("rotate", f"cannot rotate {self.path}: {error.strerror} ({action})")
            return False
        self._leave()
        self._problems.over("rotate", f"can rotate {self.path} again")
        self._old.compress_next()
        return True


class _Problems:
    """What persists and was reported. warn(text): reports a problem, or its end. not_written: why a write failed."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.warn = warn
        self.not_written = ""
        self._reported: set[str] = set()

    def report(self, problem: str, text: str) -> None:
        """Report a problem unless it is reported already; text "": the problem is over, without a message."""
        if not text:
            self._reported.discard(problem)
        elif problem not in self._reported:
            self._reported.add(problem)
            self.warn(text)

    def over(self, problem: str, text: str) -> None:
        """Report the end of a problem that was reported."""
        if problem in self._reported:
            self._reported.remove(problem)
            self.warn(text)


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


def _written_after(place: Place, identity: tuple[int, int], position: Position) -> bytes:
    """What the file has beyond a position; all of it if the position is not in this file. b"" if it cannot be read."""
    try:
        fd = place.open(os.O_RDONLY)
    except OSError:
        return b""
    try:
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != identity:
            return b""
        start = position[3] if position[1:3] == identity and position[3] <= status.st_size else 0
        return os.pread(fd, _UNCONFIRMED_MAX, start)
    except OSError:
        return b""
    finally:
        os.close(fd)
