"""A pid file: the pid in it, and the users who can have written it.

A pid file is a claim. Its value depends on who could write it: the owner of the file, and the owner of each directory
and link on the path, because each of them can put another file there. Reading never blocks (on a pipe or a device),
reads at most a page, and never prints the contents.
"""

from __future__ import annotations

import _stat as stat
import errno

from cohabit.reactor.linux import os

_SIZE_MAX = 4096  # bytes; PostgreSQL's file has eight lines, the first of which is the pid
_DIGITS_MAX = 10
_STEPS_MAX = 100  # names and links on a path; the kernel follows 40 links
_WRITABLE_BY_GROUP, _WRITABLE_BY_OTHERS = 0o020, 0o002


class PidFile:
    """The pid in a file, and who can have written it: users and members of groups, or every user (`any_user`)."""

    __slots__ = ("any_user", "groups", "pid", "users")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.users: set[int] = set()
        self.groups: set[int] = set()
        self.any_user = False

    def by(self, users: set[int], groups: tuple[int, ...] = ()) -> bool:
        """Whether only root, these users and the members of these groups can have written the file."""
        return not self.any_user and self.users <= {0, *users} and self.groups.issubset(groups)


def read(path: str) -> PidFile:
    """Read a pid file. Raises OSError, and ValueError if it is not a valid pid file."""
    entry = os.open(path, os.O_PATH | os.O_CLOEXEC)  # opening a device itself may already have an effect
    try:
        status = os.fstat(entry)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a file")
        if status.st_size == 0:  # also the size of the kernel's own files, which are never read
            raise ValueError("it is empty")
        if status.st_size > _SIZE_MAX:
            raise ValueError(f"it is too large for a pid file: {status.st_size} bytes")
        found = PidFile(0)
        _find_authors(found, path, status)
        fd = os.open(f"/proc/self/fd/{entry}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(entry)
    try:
        text = os.read(fd, _SIZE_MAX).partition(b"\n")[0].strip()
    finally:
        os.close(fd)
    if not text.isdigit() or len(text) > _DIGITS_MAX:
        raise ValueError("its first line is not a number")
    found.pid = int(text)
    return found


def _find_authors(found: PidFile, path: str, opened: os.stat_result) -> None:
    """Add every user who can decide what is at this path. opened: the status of the open file. Raises OSError."""
    start = path if path.startswith("/") else f"{os.getcwd()}/{path}"
    names, here = _names(start), ""
    for _ in range(_STEPS_MAX):
        status = os.lstat(here or "/")
        kind = status.st_mode
        found.users.add(status.st_uid)
        if stat.S_ISLNK(kind):
            target = os.readlink(here)
            names += _names(target)
            here = "" if target.startswith("/") else here.rpartition("/")[0]
            continue
        if not (stat.S_ISDIR(kind) and kind & stat.S_ISVTX):  # in a sticky directory only its owner replaces a file
            found.any_user |= bool(kind & _WRITABLE_BY_OTHERS)
            if kind & _WRITABLE_BY_GROUP:
                found.groups.add(status.st_gid)
        if not (stat.S_ISDIR(kind) and names):
            same = (status.st_dev, status.st_ino) == (opened.st_dev, opened.st_ino)
            found.any_user |= not same or status.st_nlink != 1  # replaced, or a hard link to another's file
            return
        name = names.pop()
        here = here.rpartition("/")[0] if name == ".." else f"{here}/{name}"
    raise OSError(errno.ELOOP, "Too many levels of symbolic links")


def _names(path: str) -> list[str]:
    """Split a path into its names, the last one first."""
    return [name for name in path.split("/") if name not in ("", ".")][::-1]
