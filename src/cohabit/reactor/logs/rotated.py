"""What a log file was before: PATH.1, PATH.2 and so on, how they move up, and how they are compressed.

Each goes up by a rename, the oldest first and only as far as to the first number that is free. A rename has been or has
not, so at whatever moment we end, nothing is lost but the oldest that was to go, and a number that is free then is
filled by the next rotation.

Compressing is done by a child (tasks/compress.py), one file at a time: it gets descriptors, no names, since those
change while it works. What it has made gets its name here, if what it was made of is still there as it was; else, or
when the child was killed, that stays as it is. It knows nothing of what is being written.

Every name is one in an open directory, and no link is followed: a service may be able to change that directory. What is
compressed there has to be a file that could be written there (paths.py), since a copy of it is made.
"""

from __future__ import annotations

import sys
import time

from cohabit import paths
from cohabit.reactor.linux import PACKAGE, os, python_environment
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals
from cohabit.units import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from cohabit.paths import Place

    Ended: TypeAlias = Callable[[int, str], None]
    Launch: TypeAlias = Callable[[str, SpawnSpec, Ended], None]
    Fingerprint: TypeAlias = tuple[int, int, int, int]

KEY = "\0compress:"  # before the temporary name: among the children, where no service can have it
_UNFINISHED = ".compressing"
_GZIP = ".gz"
_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_PERMISSIONS = 0o777  # of a mode: a copy is not setuid
_NAMES_MAX = 10_000  # of a directory, that are looked at for what an earlier life left
_EPERM = 1
_ERRNO_MAX = 125  # exit codes from 126 on are no errno


class OldFiles:
    """What the file was before: PATH.1 to PATH.(files_max - 1), the oldest with the largest number, some with .gz.

    Nobody else's names are touched, neither larger numbers nor dates. path: the file's own, no link to it. launch:
    Children's, for a child under a key; what it is given as the third is called once with the exit code, and with words
    if the exec failed. say(trouble, text): once for each trouble, no text when it is over.
    """

    def __init__(self, path: str, launch: Launch, say: Callable[[str, str], None]) -> None:
        self._path = path
        self._name = path
        self._launch = launch
        self._say = say
        self._last = 0
        self._compress = False
        self._begun = False
        self._stopped = False
        self._unfinished = ""  # what the child writes
        self._source: Fingerprint = (0, 0, 0, 0)

    def set(self, files_max: int, *, compress: bool) -> None:
        """files_max: with the one that is written."""
        self._last = files_max - 1
        self._compress = compress

    def begin(self, path: str) -> None:
        """The file of this path was opened. The first time, what an earlier life left is put in order."""
        self._path = path
        if self._begun:
            return
        self._begun = True
        try:
            with self._here() as place:
                self._remove_unfinished(place)
                for number in range(1, self._last + 1):
                    self._keep_one(place, number)
        except OSError as error:
            self._fail(str(error.strerror))
        self.compress_next()

    def stop(self) -> None:
        """Nothing is compressed any more, for good; of the child that is at it, nobody hears."""
        self._stopped = True

    # --- numbers -------------------------------------------------------------------------------------

    def rotate(self, file: int) -> None:
        """Free the path; of one file only, empty it. Raises OSError, and then nothing is lost."""
        if self._last < 1:
            os.ftruncate(file, 0)
            return
        with self._here() as place:
            free = next((number for number in range(1, self._last + 1) if not self._forms(place, number)), 0)
            if not free:
                free = self._last
                for name in self._forms(place, free):
                    place.unlink(name)
            for number in range(free - 1, 0, -1):
                for name in self._forms(place, number):
                    place.rename(name, self._numbered(number + 1, _GZIP if name.endswith(_GZIP) else ""))
            place.rename(place.name, self._numbered(1))

    def _here(self) -> Place:
        """The directory, open. Raises OSError."""
        return paths.locate(self._path, follow=False)

    def _numbered(self, number: int, suffix: str = "") -> str:
        return f"{_name_of(self._path)}.{number}{suffix}"

    def _forms(self, place: Place, number: int) -> list[str]:
        """Which files of that number there are."""
        both = (self._numbered(number), self._numbered(number, _GZIP))
        return [name for name in both if place.look(name) is not None]

    def _keep_one(self, place: Place, number: int) -> None:
        """Between the two steps of _finish we ended, or both failed: the file is there twice. Times tell that."""
        plain, packed = place.look(self._numbered(number)), place.look(self._numbered(number, _GZIP))
        if plain is not None and packed is not None and plain.st_mtime_ns == packed.st_mtime_ns:
            place.unlink(self._numbered(number))

    # --- compression ---------------------------------------------------------------------------------

    def compress_next(self) -> None:
        """Have the oldest file compressed that is not, if none is at it."""
        if not self._compress or self._stopped or self._unfinished:
            return
        try:
            with self._here() as place:
                for number in range(self._last, 0, -1):
                    name = self._numbered(number)
                    self._keep_one(place, number)
                    if self._forms(place, number) == [name]:
                        self._start(place, name)
                        return
        except OSError as error:  # a network's file cannot even be looked at
            self._give_up()
            self._fail(str(error.strerror))

    def _start(self, place: Place, name: str) -> None:
        """Raises OSError."""
        opened = [place.open(os.O_RDONLY, name=name)]
        try:
            status = os.fstat(opened[0])
            why = place.why_not_written(status)
            if why:
                raise OSError(_EPERM, f"{name}: {why}")
            self._source = _fingerprint(status)
            unfinished = f"{self._path}.{time.time_ns()}{_UNFINISHED}"
            opened.append(place.open(_OPEN_NEW, 0o600, _name_of(unfinished)))
            self._unfinished = unfinished
            _take_after(opened[1], status)
            argv = (sys.executable, "-I", "-S", f"{PACKAGE}/tasks/compress.py", f"{_directory_of(self._path)}/{name}")
            start = SpawnSpec(argv, python_environment(), InheritedSignals((), ()), stdio=(opened[0], opened[1], 2))
            self._launch(KEY + unfinished, start, self._ended)
        finally:
            for fd in opened:
                os.close(fd)

    def _ended(self, code: int, why: str) -> None:
        """The child was reaped. If it went well, the next one's turn has come."""
        finished = False
        if code:
            why = why or (os.strerror(code) if code <= _ERRNO_MAX else describe_exit(code))
        else:
            try:
                finished = self._finish()
            except OSError as error:
                why = str(error.strerror)
        self._give_up()
        if why:
            self._fail(why)
        elif finished:
            self._say("compress", "")
            self.compress_next()

    def _finish(self) -> bool:
        """Put what was made in the place of what it was made of, if that is still there as it was."""
        try:
            place = self._here()
        except FileNotFoundError:
            return False  # with its directory
        with place:
            for number in range(1, self._last + 1):
                name = self._numbered(number)
                status = place.look(name)
                if status is not None and _fingerprint(status) == self._source:
                    unfinished, times = _name_of(self._unfinished), (status.st_atime_ns, status.st_mtime_ns)
                    made = place.look(unfinished)
                    why = place.why_not_written(made) if made is not None else "what the child wrote is gone"
                    if why:
                        raise OSError(_EPERM, why)
                    os.utime(unfinished, ns=times, dir_fd=place.fd, follow_symlinks=False)
                    place.rename(unfinished, name + _GZIP)
                    try:
                        place.unlink(name)
                    except OSError:  # the file must not be there twice: the copy goes
                        place.rename(name + _GZIP, unfinished)
                        raise
                    self._unfinished = ""
                    return True
        return False

    def _give_up(self) -> None:
        try:
            if self._unfinished:
                with self._here() as place:
                    place.unlink(_name_of(self._unfinished))
        except OSError:
            pass  # the next life tries again
        self._unfinished = ""

    def _remove_unfinished(self, place: Place) -> None:
        for name in place.listing(_NAMES_MAX):
            middle = name.removeprefix(place.name + ".").removesuffix(_UNFINISHED)
            if name == f"{place.name}.{middle}{_UNFINISHED}" and middle.isdecimal():
                place.unlink(name)

    def _fail(self, why: str) -> None:
        """After stop() and where nothing is to be compressed any more, nobody needs to know."""
        if self._compress and not self._stopped:
            what = "it stays as it is; trying again after the next rotation"
            self._say("compress", f"cannot compress {self._name}.N: {why} ({what})")

    # --- crossing a re-execution ---------------------------------------------------------------------

    def to_plain(self) -> tuple[str, bool, bool, str, Fingerprint]:
        """What is at work."""
        return self._path, self._begun, self._stopped, self._unfinished, self._source

    def restore(self, plain: tuple[str, bool, bool, str, Fingerprint]) -> None:
        """Take over where to_plain was called."""
        self._path, self._begun, self._stopped, self._unfinished, self._source = plain

    def tasks(self) -> list[tuple[str, Ended]]:
        """The child, if there is one, and whom its end is told."""
        return [(KEY + self._unfinished, self._ended)] if self._unfinished else []


def _name_of(path: str) -> str:
    return path.rpartition("/")[2]


def _directory_of(path: str) -> str:
    return path.rpartition("/")[0]


def _take_after(fd: int, status: os.stat_result) -> None:
    """Give a new file the owner and the mode of the one that it shall replace."""
    try:
        os.fchown(fd, status.st_uid, status.st_gid)
    except PermissionError:
        pass  # it is ours then
    os.fchmod(fd, status.st_mode & _PERMISSIONS)


def _fingerprint(status: os.stat_result) -> Fingerprint:
    """What stays while a file is only renamed."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
