"""One log file that is followed, through rotation, truncation and deletion. A part of the follower (follow.py).

Its bytes are written to a pipe as they come. The pipe is not blocking: while it is full, nothing more is read, so the
memory is bounded, and what is not written yet is still in the file.

The path may lead to another file at any time (a rotation). Programs go on writing to the former one until they open the
new one, so both are followed: of the former one, whole lines are written, between lines of the new one. It is closed
when it has been removed, or when a third one appears.

No file is opened that the user who can change its directory could not read (paths.open_to_read): the content of a file
of root that was linked or moved there is never shown.
"""

from __future__ import annotations

import errno
import os
import sys

# Isolated Python does not find our package by itself.
sys.path.append(__file__.rpartition("/cohabit/")[0])

from cohabit import paths
from cohabit.tasks import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from cohabit.tasks.inotify import Inotify

    Key: TypeAlias = tuple[int, int]  # device and inode
    Position: TypeAlias = tuple[int, int, int]  # device, inode, offset

READ_SIZE = 65_536
_CHUNKS_MAX = 16  # in one call of pump(), so that a fast writer does not delay the other files
_SOURCES_MAX = 2  # the present file and the former one
_NAMES_MAX = 10_000  # in a directory that is searched for a renamed file
_PASSES_MAX = 10
_IN_DIRECTORY = (
    inotify.CREATE
    | inotify.MOVED_FROM
    | inotify.MOVED_TO
    | inotify.DELETE
    | inotify.ATTRIB
    | inotify.DELETE_SELF
    | inotify.MOVE_SELF
    | inotify.ONLY_DIRECTORY
)
_OF_FILE = inotify.MODIFY | inotify.ATTRIB | inotify.MOVE_SELF
_MISSING = (FileNotFoundError, NotADirectoryError)
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.ESTALE)
_FOLLOW, _WATCH = "follow", "watch"


class Source:
    """An open file. offset: of the next byte for the pipe. moved: the offset has changed otherwise than by writing.

    last: nothing follows after its end, so it is closed there. whole: its unfinished line is written, too. goal: as in
    FollowedFile.aim(). holes: it was truncated, and may begin with a hole.
    """

    __slots__ = ("fd", "goal", "holes", "key", "last", "moved", "offset", "watch", "whole")

    def __init__(self, fd: int, key: Key, offset: int) -> None:
        self.fd = fd
        self.key = key
        self.offset = offset
        self.watch = -1
        self.goal = 0
        self.moved = self.last = self.whole = self.holes = False

    def read(self) -> bytes:
        """The next bytes, b"" at the end of the file. A truncated file is read from its beginning. Raises OSError."""
        data = os.pread(self.fd, READ_SIZE, self.offset)
        if not data and os.fstat(self.fd).st_size < self.offset:
            self.offset = self.goal = 0
            self.moved = self.holes = True
            data = os.pread(self.fd, READ_SIZE, 0)
        return self._skip_hole(data) if self.holes and data else data

    def _skip_hole(self, data: bytes) -> bytes:
        """After a truncation: a program that does not append goes on at its old offset, which leaves a hole before it.

        Returns what follows the hole, b"" if that is not here yet.
        """
        if not data.startswith(b"\0"):
            self.holes = False
            return data
        try:
            self.offset = os.lseek(self.fd, self.offset, os.SEEK_DATA)
        except OSError:  # only a hole, or not supported there
            self.offset += len(data)
        self.moved = True
        data = os.pread(self.fd, READ_SIZE, self.offset)
        rest = data.lstrip(b"\0")
        self.offset += len(data) - len(rest)
        self.holes = not rest
        return rest


class FollowedFile:
    """One path. pipe: the descriptor for its lines; number: of this file in messages. send(message): to process 1.

    known: the positions up to which its files were written to the pipe before, oldest first; None at the first start,
    when what is in the file already is skipped. degraded: not all changes are reported to us, so that it must be looked
    at from time to time. closed: the pipe has no reader any more.
    """

    def __init__(
        self, path: str, pipe: int, number: int, known: list[Position] | None, send: Callable[[bytes], None]
    ) -> None:
        self.path = path
        self.pipe = pipe
        self.blocked = self.closed = self.degraded = False
        self.watch = -1  # of the directory
        self.sources: list[Source] = []
        self._number = number
        self._known = known
        self._send = send
        self._refused: Position | None = None  # what was at the path at the first start, and could not be opened
        self._reported: dict[tuple[str, str], str] = {}  # what cannot be done, path -> the last warning about it
        self._written = 0
        self._writing: Source | None = None  # whose bytes the pipe got last
        self._line_open = False  # the pipe got a line without its end

    # --- what the path leads to ----------------------------------------------------------------------

    def look(self, watcher: Inotify | None) -> None:
        """Find out what the path leads to now, and watch it. To be called at first, and when a directory has changed.

        The directory is watched before the file is opened: a file that appears in between is noticed.
        """
        self.degraded = watcher is None
        if watcher is not None:
            self._watch_directory(watcher)
        try:
            fd = paths.open_to_read(self.path)[0]
        except _MISSING:
            self._reported.pop((_FOLLOW, self.path), None)
            self._resume(None)
        except OSError as error:
            self._cannot(_FOLLOW, self.path, error)
            if self._known is None:
                self._known, self._refused = [], self._position_of_refused()
        else:
            self._reported.pop((_FOLLOW, self.path), None)
            self._found(fd)
        for source in self.sources[:-1]:
            source.last = source.last or os.fstat(source.fd).st_nlink == 0
        for source in self.sources[:-_SOURCES_MAX]:
            source.last = True
        if watcher is not None:
            for source in self.sources:
                self._watch_file(watcher, source)

    def _cannot(self, what: str, path: str, error: OSError) -> None:
        """Warn once of what cannot be done. It is tried again from time to time if no event may report that it can."""
        self.degraded = self.degraded or what == _WATCH or error.errno in _PASSING
        hint = f" (looking at {self.path} every second)" if what == _WATCH else ""
        text = f"cannot {what} {path}: {error.strerror}{hint}"
        if text != self._reported.get((what, path)):
            self._reported[what, path] = text
            self._warn(text)

    def _warn(self, text: str) -> None:
        self._send(b"warning " + text.encode("utf-8", "surrogateescape").replace(b"\n", b" "))

    def _found(self, fd: int) -> None:
        """The path leads to this file."""
        key = _key(fd)
        former = next((source for source in self.sources if source.key == key), None)
        if former is not None:
            os.close(fd)
            self.sources.remove(former)
            self.sources.append(former)  # another one may have been moved away again
            former.last = False
        else:
            if self._known is None:
                offset = os.fstat(fd).st_size
            else:
                known = [*self._known, *([self._refused] if self._refused is not None else [])]
                offset = next((at for device, inode, at in known if (device, inode) == key), 0)
            self._resume(key)
            self._add(Source(fd, key, offset))

    def _resume(self, key: Key | None) -> None:
        """Open the files that were followed before, except this one, under their new names."""
        for device, inode, offset in self._known or ():
            if (device, inode) != key:
                fd = self._search((device, inode))
                if fd >= 0:
                    self._add(Source(fd, (device, inode), offset))
                else:
                    self._warn(f"{self.path} was removed while nothing followed it: its last lines may be missing here")
        self._known = []

    def _position_of_refused(self) -> Position | None:
        """The end of what is at the path, so that this is not shown if the file can be opened later."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size

    def _search(self, key: Key) -> int:
        """Open a file of the same directory with another name; -1 if there is none."""
        directory = self.path.rpartition("/")[0]
        try:
            with paths.locate(self.path) as place:
                for name in place.listing(_NAMES_MAX):
                    status = place.look(name)
                    if status is not None and (status.st_dev, status.st_ino) == key:
                        fd = paths.open_to_read(f"{directory}/{name}")[0]
                        if _key(fd) == key:
                            return fd
                        os.close(fd)
        except OSError:
            pass
        return -1

    def _add(self, source: Source) -> None:
        self.sources.append(source)
        if self._writing is None:
            self._begin(source)

    def _begin(self, source: Source) -> None:
        """The bytes that follow are those of this file."""
        source.moved = False
        self._writing = source
        self._send(b"at %d %d %d %d %d" % (self._number, self._written, *source.key, source.offset))

    # --- watching ------------------------------------------------------------------------------------

    def _watch_directory(self, watcher: Inotify) -> None:
        """Watch the directory, or its nearest parent that exists, until the path has not changed meanwhile."""
        before = ""
        for _ in range(_PASSES_MAX):
            directory = self.path.rpartition("/")[0]
            while True:
                try:
                    with paths.locate(f"{directory}/x") as place:
                        self.watch = watcher.add(f"/proc/self/fd/{place.fd}", _IN_DIRECTORY)
                    break
                except _MISSING:
                    if not directory:
                        self.degraded = True
                        return
                    directory = directory.rpartition("/")[0]
                except OSError as error:
                    self._cannot(_WATCH, directory or "/", error)
                    return
            if directory == before or directory == self.path.rpartition("/")[0]:
                return
            before = directory

    def _watch_file(self, watcher: Inotify, source: Source) -> None:
        if source.watch < 0:
            try:
                source.watch = watcher.add(f"/proc/self/fd/{source.fd}", _OF_FILE)
            except OSError as error:
                self._cannot(_WATCH, self.path, error)

    # --- writing -------------------------------------------------------------------------------------

    def pump(self) -> bool:
        """Write what the files have to the pipe. Returns whether more can be written at once."""
        self.blocked = False
        for _ in range(_CHUNKS_MAX):
            written = [self._write_next(source) for source in self.sources[:]]
            if not any(written):
                return False
            if self.blocked or self.closed:
                return False
        return True

    def _write_next(self, source: Source) -> bool:
        """Write the next bytes of a file. Returns whether there may be more, of this one or of another."""
        if self.blocked or self.closed:
            return False
        is_newest = source is self.sources[-1]
        try:
            data = source.read()
        except OSError as error:
            self._cannot("read", self.path, error)
            source.last = source.last or not is_newest
            data = b""
        if source.moved and source is self._writing and not self._take_turn(source):
            return False  # known at once, so that the next follower does not go on at the old offset
        if not data:
            return source.last and self._close(source)
        if not (is_newest or source.last or source.whole):
            data = data[: data.rfind(b"\n") + 1] or (data if len(data) == READ_SIZE else b"")
        if not data or not self._take_turn(source):
            return False
        count = self._write(data)
        source.offset += count
        return count > 0

    def _take_turn(self, source: Source) -> bool:
        """Have the bytes of this file follow those of another one, or of another place in it. False: not now."""
        if source is self._writing and not source.moved:
            return True
        if self._line_open:
            is_newest = source is self.sources[-1]
            if source is not self._writing and not is_newest and len(self.sources) <= _SOURCES_MAX:
                return False  # its turn comes when the newer file has ended its line
            self._begin(Source(-1, (0, 0), 0))
            if not self._write(b"\n"):
                return False
        self._begin(source)
        return True

    def _write(self, data: bytes) -> int:
        try:
            count = os.write(self.pipe, data)
        except BlockingIOError:
            self.blocked = True
            return 0
        except BrokenPipeError:  # it has no reader any more
            self.closed = True
            return 0
        self._written += count
        self.blocked = self.blocked or count < len(data)  # no other file has its turn inside this line
        self._line_open = data[count - 1 : count] != b"\n"
        return count

    def _close(self, source: Source) -> bool:
        """Returns True: another file may have its turn now."""
        os.close(source.fd)
        self.sources.remove(source)
        self._send(b"closed %d %d %d" % (self._number, *source.key))
        return True

    # --- reading up to the end -----------------------------------------------------------------------

    def aim(self, *, finally_: bool = False) -> None:
        """Set the goal: what the files have now. finally_: nothing follows, so unfinished lines count, too.

        The service has ended. A file that has no name any more gets no more lines, and is closed at its end.
        """
        for source in self.sources:
            status = os.fstat(source.fd)
            source.goal = status.st_size
            source.last = source.last or status.st_nlink == 0
            source.whole = finally_

    def has_reached_goal(self) -> bool:
        """Whether everything up to the goal is in the pipe. An unfinished line of a former file is not waited for."""
        more = self.pump() or self.blocked
        return self.closed or not more or all(source.offset >= source.goal for source in self.sources)


def _key(fd: int) -> Key:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
