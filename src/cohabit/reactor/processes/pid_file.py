"""A pid file: the number in it, and who can have written it.

A pid file is a claim. What it is worth depends on who could make it: the owner of the file, and whoever owns a
directory or a link on the way to it, since each of them can put another file in its place. Nothing is ever waited for
here (a pipe, a device), no more than a page is read, and what is read is never shown.
"""

from __future__ import annotations

import _stat as stat

from cohabit.reactor.linux import os

_LARGEST = 4096  # bytes; PostgreSQL's has eight lines, of which the first is the pid
_LONGEST_PID = 10  # digits
_LONGEST_WAY = 100  # names and links on the way to a file; the kernel follows 40 links
_WRITABLE_BY_GROUP, _WRITABLE_BY_OTHERS = 0o020, 0o002
_ELOOP = 40


class PidFile:
    """What is in a pid file, and who can have put it there: users, and members of groups. anybody: everybody could."""

    __slots__ = ("anybody", "groups", "pid", "users")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.users: set[int] = set()
        self.groups: set[int] = set()
        self.anybody = False

    def by(self, users: set[int], groups: tuple[int, ...] = ()) -> bool:
        """Whether none but root, these users and the members of these groups can have written it."""
        return not self.anybody and self.users <= {0, *users} and self.groups.issubset(groups)


def read(path: str) -> PidFile:
    """Read one. Raises OSError, and ValueError for whatever it is instead of a pid file."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)  # not the thing itself: to open a device may already do something
    try:
        status = os.fstat(place)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a file")
        if status.st_size == 0:  # the kernel's own files are empty too, so they are never read
            raise ValueError("it is empty")
        if status.st_size > _LARGEST:
            raise ValueError(f"it has {status.st_size} bytes, which no pid has")
        found = PidFile(0)
        _find_authors(found, path, status)
        fd = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)
    try:
        word = os.read(fd, _LARGEST).partition(b"\n")[0].strip()
    finally:
        os.close(fd)
    if not word.isdigit() or len(word) > _LONGEST_PID:
        raise ValueError("its first line is not a number")
    found.pid = int(word)
    return found


def _find_authors(found: PidFile, path: str, opened: os.stat_result) -> None:
    """Note everybody who can decide what is at this path. opened: what was there. Raises OSError."""
    start = path if path.startswith("/") else f"{os.getcwd()}/{path}"
    names, here = _names(start), ""
    for _ in range(_LONGEST_WAY):
        status = os.lstat(here or "/")
        kind = status.st_mode
        found.users.add(status.st_uid)
        if stat.S_ISLNK(kind):
            target = os.readlink(here)
            names += _names(target)
            here = "" if target.startswith("/") else here.rpartition("/")[0]
            continue
        if not (stat.S_ISDIR(kind) and kind & stat.S_ISVTX):  # in a sticky directory only its owner replaces a file
            found.anybody |= bool(kind & _WRITABLE_BY_OTHERS)
            if kind & _WRITABLE_BY_GROUP:
                found.groups.add(status.st_gid)
        if not (stat.S_ISDIR(kind) and names):
            same = (status.st_dev, status.st_ino) == (opened.st_dev, opened.st_ino)
            found.anybody |= not same or status.st_nlink != 1  # changed meanwhile, or somebody's link to another's file
            return
        name = names.pop()
        here = here.rpartition("/")[0] if name == ".." else f"{here}/{name}"
    raise OSError(_ELOOP, "Too many levels of symbolic links")


def _names(path: str) -> list[str]:
    """The names in a path, the last one first."""
    return [name for name in path.split("/") if name not in ("", ".")][::-1]
