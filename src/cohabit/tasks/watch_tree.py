"""The directories that are watched, and the changes in them. A part of the watcher (watcher.py).

inotify(7) watches single directories. So each directory below the path of a rule has a watch, a new one gets its watch
when it appears, and what is in it by then counts as changed. The directories above a path are watched for names only:
with them, the path itself appears, disappears, or is replaced, as editors do.

Links below the path of a rule are not followed. Directories are opened relative to their parents, and the path of a
rule as paths.py opens it: a user who can write to a watched directory cannot make the watcher look elsewhere.
"""

from __future__ import annotations

import errno
import os

from cohabit import paths
from cohabit.tasks import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cohabit.tasks.inotify import Event, Inotify
    from cohabit.tasks.watch_rules import Rule

_NAMES = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO | inotify.ONLY_DIRECTORY
_CONTENTS = _NAMES | inotify.MODIFY | inotify.CLOSE_WRITE
_APPEARS = inotify.CREATE | inotify.MOVED_TO
_DISAPPEARS = inotify.DELETE | inotify.MOVED_FROM
_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORIES_MAX = 100_000  # each one costs the kernel 1 KiB, and a user can create any number
_DEPTH_MAX = 100  # directories; each level has one open descriptor
_PATH_MAX = 200  # characters
_WARNINGS_MAX = 20  # a user can make any number of directories that cannot be watched
_ALL, _NONE = float("-inf"), float("inf")


class Tree:
    """The watches of all rules.

    on_change(rule, path): a file that the rule is about has changed. warn(text): for people, once for each text, and at
    most twenty times.
    directories_max: how many are watched at most.
    """

    def __init__(
        self,
        watches: Inotify,
        rules: Sequence[Rule],
        on_change: Callable[[Rule, str], None],
        warn: Callable[[str], None],
        directories_max: int = _DIRECTORIES_MAX,
    ) -> None:
        self._inotify = watches
        self._rules = rules
        self._on_change = on_change
        self._warn = warn
        self._warned: set[str] = set()
        self._directories_max = directories_max
        self._paths: dict[int, str] = {}  # by the number of the watch
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def begin(self, since: float) -> None:
        """Watch everything. since: what was modified after this time (Unix seconds) has changed."""
        for rule in self._rules:
            self._begin(rule, since)

    def handle(self, event: Event) -> None:
        """One event of inotify."""
        if event.mask & inotify.OVERFLOW:
            self._overflow()
            return
        directory = self._paths.get(event.watch)
        if directory is None:
            return
        if event.mask & inotify.IGNORED:
            self._forget(event.watch)
        if not event.name:
            return
        path = f"{directory.rstrip('/')}/{os.fsdecode(event.name)}"
        is_directory = bool(event.mask & inotify.IS_DIRECTORY)
        self._changed(path, is_directory=is_directory)
        if is_directory and event.mask & inotify.MOVED_FROM:  # the watches of one that is removed end by themselves
            self._forget_below(path)
        elif is_directory and event.mask & _APPEARS and self._enters(path):
            self._enter_path(path)
        for rule in self._rules:
            if event.mask & (_APPEARS | _DISAPPEARS) and rule.leads(path):
                self._begin(rule, _ALL)

    # --- watching ------------------------------------------------------------------------------------

    def _begin(self, rule: Rule, since: float) -> None:
        """Watch the directories above the path of a rule, as far as they exist, and those below it."""
        above = rule.root
        ancestors = []
        while above != "/":
            above = above.rpartition("/")[0] or "/"
            ancestors.append(above)
        for directory in (*reversed(ancestors), rule.root):
            try:
                with paths.locate(f"{directory.rstrip('/')}/.x", follow=False) as place:
                    if directory == rule.root:
                        self._enter(directory, place.fd, since, 0)
                    else:
                        self._add(directory, place.fd)
            except OSError as error:
                if error.errno == errno.ENOTDIR and directory == rule.root:  # a file: the directory above it is watched
                    self._look_at_file(rule, since)
                elif error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    self._say(f"cannot watch {shown(directory)}: {error.strerror}")
                elif since != _ALL:
                    self._say(f"{shown(rule.root)} does not exist (it is watched as soon as it does)")
                return

    def _look_at_file(self, rule: Rule, since: float) -> None:
        try:
            modified = os.stat(rule.root).st_mtime
        except OSError:
            return
        if modified > since:
            self._on_change(rule, rule.root)

    def _enter_path(self, path: str) -> None:
        """Watch a directory that has appeared, and those below it. Everything in it has changed."""
        try:
            with paths.locate(f"{path}/.x", follow=False) as place:
                self._enter(path, place.fd, _ALL, 0)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):  # it has disappeared again
                self._say(f"cannot watch {shown(path)}: {error.strerror}")

    def _enter(self, path: str, fd: int, since: float, depth: int) -> None:
        """Watch a directory, and then those below it. fd: it."""
        if depth > _DEPTH_MAX:
            self._say(f"{shown(path)} is not watched: it is more than {_DEPTH_MAX} directories deep")
            return
        if not self._add(path, fd):
            return
        try:
            below = [*self._look_into(path, fd, since)]
        except OSError as error:
            self._say(f"cannot read {shown(path)}: {error.strerror}")
            return
        for name in below:
            try:
                inner = os.open(name, _OPEN, dir_fd=fd)
            except OSError:
                continue  # it has disappeared, or been replaced; both have an event
            try:
                self._enter(f"{path.rstrip('/')}/{name}", inner, since, depth + 1)
            finally:
                os.close(inner)

    def _look_into(self, path: str, fd: int, since: float) -> Iterator[str]:
        """Report what was modified after a time in a directory. Gives the directories in it that are to be watched."""
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            with os.scandir(readable) as entries:
                for entry in entries:
                    found = f"{path.rstrip('/')}/{entry.name}"
                    is_directory = entry.is_dir(follow_symlinks=False)
                    if since == _ALL or (since != _NONE and _modified(entry) > since):
                        self._changed(found, is_directory=is_directory)
                    if is_directory and self._enters(found):
                        yield entry.name
        finally:
            os.close(readable)

    def _add(self, path: str, fd: int) -> bool:
        """Add the watch of a directory."""
        if len(self._numbers) >= self._directories_max and path not in self._numbers:
            text = f"more than {self._directories_max} directories: the others are not watched (name some in `ignore`)"
            self._say(text)
            return False
        try:
            number = self._inotify.add(f"/proc/self/fd/{fd}", _CONTENTS if self._has_contents(path) else _NAMES)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                text = f"cannot watch more than {len(self)} directories: {error.strerror}, or name some in `ignore`"
                self._say(text)
            elif error.errno == errno.ENOENT:  # the directory itself is open
                self._say("cannot watch files: there is no /proc (mount it)")
            else:
                self._say(f"cannot watch {shown(path)}: {error.strerror}")
            return False
        former = self._numbers.get(path)
        if former not in (None, number):  # another directory is at this path now
            self._drop(former)
        self._paths[number], self._numbers[path] = path, number
        return True

    def _has_contents(self, path: str) -> bool:
        """Whether a change of the contents of a file in this directory may count."""
        return any(rule.enters(path) or (rule.root.rpartition("/")[0] or "/") == path for rule in self._rules)

    def _enters(self, path: str) -> bool:
        return any(rule.enters(path) for rule in self._rules)

    # --- changes -------------------------------------------------------------------------------------

    def _changed(self, path: str, *, is_directory: bool) -> None:
        for rule in self._rules:
            if rule.concerns(path, is_directory=is_directory):
                self._on_change(rule, path)

    def _forget(self, number: int) -> None:
        path = self._paths.pop(number, "")
        if self._numbers.get(path) == number:
            del self._numbers[path]

    def _forget_below(self, path: str) -> None:
        """A directory is at another place now, or outside."""
        for other in [one for one in self._numbers if one == path or one.startswith(f"{path}/")]:
            self._drop(self._numbers[other])

    def _drop(self, number: int) -> None:
        self._forget(number)
        try:
            self._inotify.remove(number)
        except OSError:
            return  # it went with its directory

    def _overflow(self) -> None:
        """The kernel's queue was full, so events are lost: watch everything anew, and everything may have changed."""
        for number in [*self._paths]:
            self._drop(number)
        for rule in self._rules:
            self._begin(rule, _NONE)
            self._on_change(rule, rule.root)

    def _say(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < _WARNINGS_MAX:
            self._warned.add(text)
            self._warn(text)
            if len(self._warned) == _WARNINGS_MAX:
                self._warn("further warnings are left out")


def _modified(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return _ALL  # it has disappeared


def shown(path: str) -> str:
    """A path for people: without control characters, and its end if it is long."""
    text = printable(path)
    return text if len(text) <= _PATH_MAX else f"…{text[1 - _PATH_MAX :]}"


def printable(text: str) -> str:
    """The text in one line, with escapes if it has control characters or bytes that are not UTF-8."""
    if text.isprintable():
        return text
    return text.encode("unicode_escape", "surrogateescape").decode("ascii", "replace")
