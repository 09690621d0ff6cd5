"""What a log file was before: PATH.1, PATH.2 and so on, how they move up, and how they are compressed.

Each goes up by a rename, the oldest first and only as far as to the first number that is free. A rename has been or has
not, so at whatever moment we end, nothing is lost but the oldest that was to go, and a number that is free then is
filled by the next rotation.

Compressing is done by a child (tasks/compress.py), one file at a time: it gets descriptors, no names, since those
change while it works. What it has made gets its name here, if what it was made of is still there as it was; else, or
when the child was killed, that stays as it is. It knows nothing of what is being written.
"""

from __future__ import annotations

import stat
import sys
import time

from cohabit.reactor.linux import PACKAGE, environment, os
from cohabit.reactor.processes.child import Start
from cohabit.reactor.signals import Given
from cohabit.units import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Ended: TypeAlias = Callable[[int, str], None]
    Launch: TypeAlias = Callable[[str, Start, Ended], None]
    Fingerprint: TypeAlias = tuple[int, int, int, int]

KEY = "\0compress:"  # before the temporary name: among the children, where no service can have it
_UNFINISHED = ".compressing"
_GZIP = ".gz"
_OPEN_SOURCE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_EINVAL = 22
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
            self._remove_unfinished()
            for number in range(1, self._last + 1):
                self._keep_one(number)
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
        free = next((number for number in range(1, self._last + 1) if not self._forms(number)), 0)
        if not free:
            free = self._last
            for name in self._forms(free):
                os.unlink(name)
        for number in range(free - 1, 0, -1):
            for name in self._forms(number):
                os.rename(name, self._numbered(number + 1, _GZIP if name.endswith(_GZIP) else ""))
        os.rename(self._path, self._numbered(1))

    def _numbered(self, number: int, suffix: str = "") -> str:
        return f"{self._path}.{number}{suffix}"

    def _forms(self, number: int) -> list[str]:
        """Which files of that number there are."""
        both = (self._numbered(number), self._numbered(number, _GZIP))
        return [name for name in both if _look(name) is not None]

    def _keep_one(self, number: int) -> None:
        """We ended between the two steps of _finish: what was compressed is there twice. Times tell that it is ours."""
        plain, packed = _look(self._numbered(number)), _look(self._numbered(number, _GZIP))
        if plain is not None and packed is not None and plain.st_mtime_ns == packed.st_mtime_ns:
            os.unlink(self._numbered(number))

    # --- compression ---------------------------------------------------------------------------------

    def compress_next(self) -> None:
        """Have the oldest file compressed that is not, if none is at it."""
        if not self._compress or self._stopped or self._unfinished:
            return
        try:
            for number in range(self._last, 0, -1):
                name = self._numbered(number)
                if self._forms(number) == [name]:
                    self._start(name)
                    return
        except OSError as error:  # a network's file cannot even be looked at
            self._give_up()
            self._fail(str(error.strerror))

    def _start(self, name: str) -> None:
        """Raises OSError."""
        opened = [os.open(name, _OPEN_SOURCE)]
        try:
            status = os.fstat(opened[0])
            if not stat.S_ISREG(status.st_mode):
                raise OSError(_EINVAL, f"{name} is no regular file")
            self._source = _fingerprint(status)
            unfinished = f"{self._path}.{time.time_ns()}{_UNFINISHED}"
            opened.append(os.open(unfinished, _OPEN_NEW, 0o600))
            self._unfinished = unfinished
            _take_after(opened[1], status)
            argv = (sys.executable, "-I", "-S", f"{PACKAGE}/tasks/compress.py", name)
            start = Start(argv, environment(), Given((), ()), stdio=(opened[0], opened[1], 2))
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
        for number in range(1, self._last + 1):
            name = self._numbered(number)
            status = _look(name)
            if status is not None and _fingerprint(status) == self._source:
                os.utime(self._unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.rename(self._unfinished, name + _GZIP)
                self._unfinished = ""
                os.unlink(name)
                return True
        return False

    def _give_up(self) -> None:
        try:
            if self._unfinished:
                os.unlink(self._unfinished)
        except OSError:
            pass  # the next life tries again
        self._unfinished = ""

    def _remove_unfinished(self) -> None:
        directory, _, own = self._path.rpartition("/")
        for name in os.listdir(f"{directory}/"):
            middle = name.removeprefix(own + ".").removesuffix(_UNFINISHED)
            if name == f"{own}.{middle}{_UNFINISHED}" and middle.isdecimal():
                os.unlink(f"{directory}/{name}")

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


def _look(path: str) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _take_after(fd: int, status: os.stat_result) -> None:
    """Give a new file the owner and the mode of the one that it shall replace."""
    try:
        os.fchown(fd, status.st_uid, status.st_gid)
    except PermissionError:
        pass  # it is ours then
    os.fchmod(fd, stat.S_IMODE(status.st_mode))


def _fingerprint(status: os.stat_result) -> Fingerprint:
    """What stays while a file is only renamed."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
