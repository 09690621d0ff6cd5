"""A file of somebody's choice as a destination: written in order, renamed when it is large, never in the way.

Each write looks first whether the path still leads to the file that is open, so whatever an outside logrotate does
(rename and create, copytruncate) or somebody's rm, the next line goes where the path leads then. Before the file would
grow beyond its limit it becomes the first of the old ones, which are rotated.py's. A line is in one file, and there
once: where writing stopped in the middle of one it goes on there, unless that file is gone with its beginning.

What cannot be written (a full disk, a directory that is gone) stays pending and is tried again each second: it knows
nothing of services, but who blocks on it waits so long.
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

_AGAIN_SECONDS = 1.0
_DRAIN_AGAIN_SECONDS, _DRAINS = 0.1, 10  # at the very end: a disk that stays full has nothing to wait for
_AT_ONCE = 0.0  # monotonic seconds that are always over
_MODE, _DIRECTORY_MODE = 0o644, 0o755  # less our umask
_NEWLINE = 10


class FileSink:
    """One file, with those that it was before. The face is Sink's; on_trouble(text): words for people.

    launch: Children's, for a child under a key. A sink writes without rotation until set_rotation is called.
    """

    fd = -1  # a file is always writable for epoll: `retry_at` is what tells when to flush
    lost = ""  # nothing is: it may be written to later

    def __init__(self, path: str, *, launch: Launch, on_trouble: Callable[[str], None] | None = None) -> None:
        self.path = path
        self.on_trouble = on_trouble
        self.retry_at: float | None = None
        self._pending: list[memoryview] = []
        self._at = 0  # how much of the first piece is written
        self._file = -1
        self._identity = (0, 0)  # device and inode of the file that is open
        self._bytes_max = 0
        self._begun = False  # an earlier life may have ended in the middle of a line: ours is not glued to it
        self._rotate_at = 0.0  # not before, since it failed
        self._drains_left = _DRAINS
        self._troubles: set[str] = set()  # what was told, and is not over
        self._old = OldFiles(path, launch, self._say)

    def set_rotation(self, bytes_max: int, files_max: int, *, compress: bool) -> None:
        """From now on; bytes_max 0: never."""
        self._bytes_max = bytes_max
        self._old.set(files_max, compress=compress)

    @property
    def blocked(self) -> bool:
        """It has not taken all that it was given: flush() at `retry_at`."""
        return bool(self._pending)

    @property
    def pending_bytes(self) -> int:
        """How much it did not take yet."""
        return sum(map(len, self._pending)) - self._at

    def write(self, data: bytes | memoryview) -> None:
        """Write whole lines, or keep what cannot be written now. Callers stop while `blocked`."""
        if not data:
            return
        self._pending.append(memoryview(data))
        if self.retry_at is None and len(self._pending) == 1:
            self.flush()

    def flush(self) -> None:
        """Write what is pending, as much as goes."""
        try:
            while self._pending:
                self._step()
        except OSError as error:
            self.retry_at = time.monotonic() + _AGAIN_SECONDS
            why = error.strerror or str(error)
            self._say("write", f"cannot write {self.path}: {why} (trying again every second; blocking services wait)")
            return
        self.retry_at = None
        if self._troubles:
            self._over("write", f"writes {self.path} again")

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """Write what is pending, as long as there is time and hope. For the very end."""
        while self._pending and self._drains_left and (left := seconds_left()) > 0:
            self.flush()
            if self._pending:
                self._drains_left -= 1
                select.poll().poll(min(left, _DRAIN_AGAIN_SECONDS) * 1000)

    def stop_compressing(self) -> None:
        """Everybody has to go: no child is begun any more, and what becomes of the one that runs is not told.

        If that was killed, the file it had stays as it is, and is compressed in the next life.
        """
        self._old.stop()

    def close(self) -> None:
        """Let go of the file. What compresses an old one ends by itself, and is the last to do so."""
        self.stop_compressing()
        try:
            self._close()
        except OSError as error:
            self._tell(f"cannot close {self.path}: {error.strerror} (what was written last may be missing)")

    def _close(self) -> None:
        """Raises OSError: only now a network's file tells what became of what was written."""
        if self._file >= 0:
            fd, self._file = self._file, -1
            os.close(fd)

    # --- writing -------------------------------------------------------------------------------------

    def _step(self) -> None:
        """One write, or a rotation that has to come before it. Raises OSError."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            status = None
        if self._file >= 0 and status is not None and (status.st_dev, status.st_ino) == self._identity:
            end = self._end(status.st_size)
        elif self._file >= 0 and self._inside_line() and _has_name(self._file):
            end = _line_end(
                self._pending[0], self._at
            )  # the rest belongs to the line's beginning, wherever that is now
        else:
            end = self._end(self._open())
        piece = self._pending[0]
        if end == self._at:
            if self._rotated():
                return
            end = len(piece)
        self._at += os.write(self._file, piece[self._at : end])
        if self._at == len(piece):
            del self._pending[0]
            self._at = 0

    def _end(self, size: int) -> int:
        """Up to where the first piece goes into a file of that size; where it stands now if the next has to begin."""
        piece, start = self._pending[0], self._at
        room = self._bytes_max - size
        if self._bytes_max <= 0 or len(piece) - start <= room:
            return len(piece)
        fits = bytes(piece[start : start + room]).rfind(b"\n") + 1 if room > 0 else 0
        if fits:
            return start + fits
        if size == 0 or self._inside_line():
            return _line_end(piece, start)
        return start

    def _inside_line(self) -> bool:
        return self._at > 0 and self._pending[0][self._at - 1] != _NEWLINE

    def _open(self) -> int:
        """Open what the path leads to, in place of what is gone; returns its size. Raises OSError.

        In a directory that others can change, no link is followed, and only certain files are written (paths.py).
        """
        self._close()
        place, self._file = paths.open_to_append(self.path, mode=_MODE, directory_mode=_DIRECTORY_MODE)
        with place:
            status = os.fstat(self._file)
            self._identity = (status.st_dev, status.st_ino)
            if self._at:  # the beginning of this line is gone: it is written as a whole
                self._at = bytes(self._pending[0][: self._at]).rfind(b"\n") + 1
            size = status.st_size
            if not self._begun and _ends_inside_line(place, self._identity, size):
                size += self._end_line()
        self._begun = True
        self._old.begin(place.path)
        return size

    def _end_line(self) -> int:
        """End the line that an earlier life began, in its file even if that is full. Raises OSError: not open, then."""
        try:
            return os.write(self._file, b"\n")
        except OSError:
            self._close()
            raise

    def _rotated(self) -> bool:
        """Make room for a new file; False if that cannot be, and then the old one grows: better than to wait."""
        now = time.monotonic()
        if now < self._rotate_at:
            return False
        try:
            self._old.rotate(self._file)
        except FileNotFoundError:  # an outside logrotate was quicker: the next look at the path will tell
            return False
        except OSError as error:
            self._rotate_at = now + _AGAIN_SECONDS
            self._say("rotate", f"cannot rotate {self.path}: {error.strerror} (it grows; trying again every second)")
            return False
        self._close()
        self._over("rotate", f"rotates {self.path} again")
        self._old.compress_next()
        return True

    # --- words ---------------------------------------------------------------------------------------

    def _say(self, trouble: str, text: str) -> None:
        """Say it unless it is known; no text: it is over, and nobody needs to hear of it."""
        if not text:
            self._troubles.discard(trouble)
        elif trouble not in self._troubles:
            self._troubles.add(trouble)
            self._tell(text)

    def _over(self, trouble: str, text: str) -> None:
        if trouble in self._troubles:
            self._troubles.remove(trouble)
            self._tell(text)

    def _tell(self, text: str) -> None:
        if self.on_trouble is not None:
            self.on_trouble(text)

    # --- crossing a re-execution ---------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """The file: by its path it may not be found again, and a line may have been begun."""
        return [self._file] if self._file >= 0 else []

    def to_plain(self) -> dict[str, Any]:
        """What is not written, and where that was going."""
        return {
            "pending": [bytes(piece) for piece in self._pending],
            "at": self._at,
            "file": self._file,
            "identity": self._identity,
            "begun": self._begun,
            "troubles": sorted(self._troubles),
            "old": self._old.to_plain(),
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called: the descriptors are still open. Children must tell the ends of `tasks`.

        Nothing is written before the next flush(), which is due at once: that may start a child, which nobody can now.
        """
        self._pending = [memoryview(piece) for piece in plain["pending"]]
        self._at, self._file, self._identity = plain["at"], plain["file"], plain["identity"]
        if self._file >= 0:
            os.set_inheritable(self._file, False)
        self._troubles = set(plain["troubles"])
        self._begun = plain["begun"]
        self._old.restore(plain["old"])
        self.retry_at = _AT_ONCE

    def tasks(self) -> list[tuple[str, Ended]]:
        """The child that is ours, if there is one, and whom its end is told."""
        return self._old.tasks()


def _has_name(fd: int) -> bool:
    """Whether an open file is still in some directory."""
    try:
        return os.fstat(fd).st_nlink > 0
    except OSError:  # a network's file that is gone
        return False


def _ends_inside_line(place: Place, identity: tuple[int, int], size: int) -> bool:
    """Whether the last byte of that file is no newline; False where that cannot be read."""
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
