"""The rotated files of a log file, PATH.1, PATH.2 and so on: renaming and compression. A part of the log writer.

Rotation renames each file to the next number, the oldest first, up to the first number that is free. A rename is
atomic, so if the writer ends in between, nothing is lost but the oldest file that was to be removed, and the next
rotation fills the number that is free then.

A child compresses one file at a time (tasks/compress.py). It gets descriptors, not names, since names change while it
works. When it succeeds and the original is still there unchanged, the compressed file takes the original's name with
.gz; otherwise the original stays.

All names are relative to an open directory and no link is followed, since a service may be able to change the
directory. A file is compressed only if it could be written there too (paths.py), since a copy of it is made.
"""

from __future__ import annotations

import errno
import os
import time

from cohabit import paths
from cohabit.units import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from cohabit.paths import Place

    Ended: TypeAlias = Callable[[int], None]
    Compress: TypeAlias = Callable[[str, int, int, Ended], None]
    Fingerprint: TypeAlias = tuple[int, int, int, int]

_UNFINISHED = ".compressing"
_GZIP = ".gz"
_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_PERMISSIONS = 0o777  # without setuid, setgid and sticky bits
_NAMES_MAX = 10_000  # names of a directory that are searched for unfinished files of an earlier run
_ERRNO_MAX = 125  # exit codes from 126 on do not mean an errno


class RotatedFiles:
    """The rotated files: PATH.1 to PATH.(files_max - 1), the oldest with the largest number, some with .gz.

    Other names are never touched, neither larger numbers nor dates. path: the file's path, resolved.
    compress(name, source, target, ended): starts the compressor (compress.py) with two descriptors, and calls
    ended(exit code) once. Raises OSError. report(problem, text): reports a problem once; text "": the problem is over.
    """

    def __init__(self, path: str, compress: Compress, report: Callable[[str, str], None]) -> None:
        self._path = path
        self._name = path
        self._start_compressor = compress
        self._report = report
        self._last = 0
        self._compress = False
        self._opened = False
        self._stopped = False
        self._unfinished = ""  # the file that the child writes
        self._source: Fingerprint = (0, 0, 0, 0)

    def set(self, files_max: int, *, compress: bool) -> None:
        """files_max: how many files to keep, with the current one."""
        self._last = files_max - 1
        self._compress = compress

    def begin(self, path: str) -> None:
        """The file of this path was opened. At the first call, cleans up what an earlier run left."""
        self._path = path
        if self._opened:
            return
        self._opened = True
        try:
            with self._open_directory() as place:
                self._remove_unfinished(place)
                for number in range(1, self._last + 1):
                    self._remove_duplicate(place, number)
        except OSError as error:
            self._report_failure(str(error.strerror))
        self.compress_next()

    def stop(self) -> None:
        """Compress nothing more. The result of a running compression is not reported."""
        self._stopped = True

    # --- numbers -------------------------------------------------------------------------------------

    def rotate(self, file: int) -> None:
        """Free the path, or truncate the file if it is the only one. Raises OSError; nothing is lost then."""
        if self._last < 1:
            os.ftruncate(file, 0)
            return
        with self._open_directory() as place:
            free = next((number for number in range(1, self._last + 1) if not self._variants(place, number)), 0)
            if not free:
                free = self._last
                for name in self._variants(place, free):
                    place.unlink(name)
            for number in range(free - 1, 0, -1):
                for name in self._variants(place, number):
                    place.rename(name, self._numbered(number + 1, _GZIP if name.endswith(_GZIP) else ""))
            place.rename(place.name, self._numbered(1))

    def _open_directory(self) -> Place:
        """Raises OSError."""
        return paths.locate(self._path, follow=False)

    def _numbered(self, number: int, suffix: str = "") -> str:
        return f"{_base_name(self._path)}.{number}{suffix}"

    def _variants(self, place: Place, number: int) -> list[str]:
        """The existing names of this number: plain, compressed or both."""
        names = (self._numbered(number), self._numbered(number, _GZIP))
        return [name for name in names if place.look(name) is not None]

    def _remove_duplicate(self, place: Place, number: int) -> None:
        """Remove the original if its compressed copy exists too: _finish() was interrupted. Equal mtimes show it."""
        plain, packed = place.look(self._numbered(number)), place.look(self._numbered(number, _GZIP))
        if plain is not None and packed is not None and plain.st_mtime_ns == packed.st_mtime_ns:
            place.unlink(self._numbered(number))

    # --- compression ---------------------------------------------------------------------------------

    def compress_next(self) -> None:
        """Compress the oldest uncompressed file, unless a compression is running."""
        if not self._compress or self._stopped or self._unfinished:
            return
        try:
            with self._open_directory() as place:
                for number in range(self._last, 0, -1):
                    name = self._numbered(number)
                    self._remove_duplicate(place, number)
                    if self._variants(place, number) == [name]:
                        self._start(place, name)
                        return
        except OSError as error:  # stat(2) may fail on a network file system
            self._discard_unfinished()
            self._report_failure(str(error.strerror))

    def _start(self, place: Place, name: str) -> None:
        """Raises OSError."""
        opened = [place.open(os.O_RDONLY, name=name)]
        try:
            status = os.fstat(opened[0])
            why = place.why_not_written(status)
            if why:
                raise OSError(errno.EPERM, f"{name}: {why}")
            self._source = _fingerprint(status)
            unfinished = f"{self._path}.{time.time_ns()}{_UNFINISHED}"
            opened.append(place.open(_OPEN_NEW, 0o600, _base_name(unfinished)))
            self._unfinished = unfinished
            _copy_owner_and_mode(opened[1], status)
            self._start_compressor(f"{_directory_name(self._path)}/{name}", opened[0], opened[1], self._ended)
        finally:
            for fd in opened:
                os.close(fd)

    def _ended(self, code: int) -> None:
        """The child was reaped. After success, start the next compression."""
        finished, why = False, ""
        if code:
            why = os.strerror(code) if code <= _ERRNO_MAX else describe_exit(code)
        else:
            try:
                finished = self._finish()
            except OSError as error:
                why = str(error.strerror)
        self._discard_unfinished()
        if why:
            self._report_failure(why)
        elif finished:
            self._report("compress", "")
            self.compress_next()

    def _finish(self) -> bool:
        """Replace the original by its compressed copy. Returns False if the original is gone or was changed."""
        try:
            place = self._open_directory()
        except FileNotFoundError:
            return False  # the directory is gone
        with place:
            for number in range(1, self._last + 1):
                name = self._numbered(number)
                status = place.look(name)
                if status is not None and _fingerprint(status) == self._source:
                    unfinished, times = _base_name(self._unfinished), (status.st_atime_ns, status.st_mtime_ns)
                    made = place.look(unfinished)
                    why = place.why_not_written(made) if made is not None else "the compressed file is gone"
                    if why:
                        raise OSError(errno.EPERM, why)
                    os.utime(unfinished, ns=times, dir_fd=place.fd, follow_symlinks=False)
                    place.rename(unfinished, name + _GZIP)
                    try:
                        place.unlink(name)
                    except OSError:  # the content must not exist twice: undo
                        place.rename(name + _GZIP, unfinished)
                        raise
                    self._unfinished = ""
                    return True
        return False

    def _discard_unfinished(self) -> None:
        try:
            if self._unfinished:
                with self._open_directory() as place:
                    place.unlink(_base_name(self._unfinished))
        except OSError:
            pass  # begin() removes it at the next start
        self._unfinished = ""

    def _remove_unfinished(self, place: Place) -> None:
        for name in place.listing(_NAMES_MAX):
            middle = name.removeprefix(place.name + ".").removesuffix(_UNFINISHED)
            if name == f"{place.name}.{middle}{_UNFINISHED}" and middle.isdecimal():
                place.unlink(name)

    def _report_failure(self, why: str) -> None:
        """Not after stop(), and not when compression was disabled."""
        if self._compress and not self._stopped:
            action = "the file stays uncompressed; trying again after the next rotation"
            self._report("compress", f"cannot compress {self._name}.N: {why} ({action})")


def _base_name(path: str) -> str:
    return path.rpartition("/")[2]


def _directory_name(path: str) -> str:
    return path.rpartition("/")[0]


def _copy_owner_and_mode(fd: int, status: os.stat_result) -> None:
    """Give a new file the owner and the mode of the file that it replaces."""
    try:
        os.fchown(fd, status.st_uid, status.st_gid)
    except PermissionError:
        pass  # it keeps the user of process 1
    os.fchmod(fd, status.st_mode & _PERMISSIONS)


def _fingerprint(status: os.stat_result) -> Fingerprint:
    """Values that do not change when a file is renamed."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
