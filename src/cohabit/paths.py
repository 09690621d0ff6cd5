"""Opening files and directories without following anything that an unprivileged user can change.

cohabit often runs as root, and its services as other users. A service that owns a directory can replace any name in it
at any time, also by a link to a file of root. So a path through such a directory must not be resolved twice, and links
in it must not be followed. Here a path is resolved one component at a time. Each directory is opened relative to its
parent (openat(2), O_PATH, O_NOFOLLOW) and classified by its owner and mode:

    private    Only root or our user can change its contents, and its path is stable. Links in it are followed.
    fixed      Its path is stable, but other users can change its contents. Links in it are not followed.
    neither    Other users can also redirect its path. It is used through its descriptor only.

A world-writable directory with the sticky bit, such as /tmp, is not private. A directory of root or of our user in it
is private, because other users cannot move it (a file could be a hard link; a directory cannot). A directory on a
read-only file system is private if its owner is trusted, whatever its mode: secret volumes of Kubernetes have links and
mode 1777.

Errors are OSErrors whose strerror gives the reason. There is no state. Opening never blocks: neither on a FIFO without
a writer, nor on a lease (fcntl(2), F_SETLEASE) that the owner of the file holds. Process 1 and the loader use this
module, so it imports only what is cheap in both.
"""

from __future__ import annotations

import _stat as stat
import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from _socket import socket
    from collections.abc import Collection
    from typing import Self
else:
    import posix as os

_OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_ALWAYS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OTHERS_WRITE, _OTHERS_READ, _STICKY = 0o022, 0o004, 0o1000
_LINKS_MAX = 40  # as in the kernel (path_resolution(7))
_READ_ONLY = 1  # ST_RDONLY of statvfs(3)
NOT_REGULAR = "it is not a regular file"


class _Directory:
    """An open directory on the path. weak: which other users can change its contents, "" for none."""

    __slots__ = ("device", "fd", "fixed", "owner", "path", "private", "sticky", "weak")

    def __init__(self, fd: int, path: str, above: _Directory | None, trusted: Collection[int]) -> None:
        """above: its parent. trusted: users. Raises OSError; the descriptor stays open then."""
        status = os.fstat(fd)
        self.fd = fd
        self.path = path
        self.device = status.st_dev
        self.owner = status.st_uid
        self.fixed: bool = above is None or above.private or (above.sticky and self.owner in trusted)
        open_to_others = bool(status.st_mode & _OTHERS_WRITE) and not os.fstatvfs(fd).f_flag & _READ_ONLY
        own = self.fixed and self.owner in trusted
        self.private: bool = own and not open_to_others
        self.sticky: bool = own and open_to_others and bool(status.st_mode & _STICKY)
        self.weak = ""
        if above is not None and not self.fixed and not above.sticky:
            self.weak = above.weak
        elif not self.private:
            self.weak = f"{_who(status, trusted)} can change {path}"


class Place:
    """A name in an open directory. Close it, or use it as a context manager.

    fd: of the directory. path: the resolved path, without links on the way. owner: of the directory.
    weak: which other users can change the directory, as in "user 33 can change /var/log/nginx"; "" if it is private.
    jump: the name is a magic link of /proc (symlink(7)), such as /proc/self/fd/1, which only the kernel can follow.
    """

    __slots__ = ("fd", "fixed", "jump", "name", "owner", "path", "private", "sticky", "weak")

    def __init__(self, directory: _Directory, name: str, *, fixed: bool, jump: bool) -> None:
        self.fd = directory.fd
        self.name = name
        self.path = f"{directory.path.rstrip('/')}/{name}"
        self.owner = directory.owner
        self.weak = directory.weak
        self.fixed = directory.fixed and fixed
        self.private = directory.private and fixed
        self.sticky = directory.sticky and fixed
        self.jump = jump

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the directory."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    @property
    def keeps(self) -> bool:
        """Whether other users cannot replace a file that we create here. True if we are not root: they gain nothing."""
        return self.private or self.sticky or os.geteuid() != 0

    def look(self, name: str = "") -> os.stat_result | None:
        """The status of the name, or of another name in the directory; None if it does not exist. Follows no link."""
        try:
            return os.stat(name or self.name, dir_fd=self.fd, follow_symlinks=self.jump and not name)
        except FileNotFoundError:
            return None

    def open(self, flags: int, mode: int = 0o600, name: str = "") -> int:
        """Open it, without blocking and without following a link. Raises OSError."""
        follow = 0 if self.jump and not name else os.O_NOFOLLOW
        return os.open(name or self.name, flags | follow | _OPEN_ALWAYS, mode, dir_fd=self.fd)

    def unlink(self, name: str = "") -> None:
        """Remove a name from the directory. Raises OSError."""
        os.unlink(name or self.name, dir_fd=self.fd)

    def rename(self, name: str, new: str) -> None:
        """Rename a file in the directory, and replace an existing one. Raises OSError."""
        os.rename(name, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def listing(self, names_max: int) -> list[str]:
        """Names in the directory, at most names_max: other users may have created millions. Raises OSError."""
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            with os.scandir(fd) as entries:
                return [entry.name for entry, _ in zip(entries, range(names_max), strict=False)]
        finally:
            os.close(fd)

    def kernel_path(self) -> str:
        """The path for calls without a directory argument (bind(2)): through the descriptor unless it is fixed."""
        return self.path if self.fixed else f"/proc/self/fd/{self.fd}/{self.name}"

    def why_not_written(self, status: os.stat_result) -> str:
        """Why root must not write to an existing file, "" if it may. status: of the file, or of a link."""
        if stat.S_ISLNK(status.st_mode):
            return f"it is a link, and {self.weak}: no link is followed there"
        if not stat.S_ISREG(status.st_mode):
            return NOT_REGULAR
        if self.private:
            return ""
        if status.st_nlink > 1:
            return f"it has {status.st_nlink} names (hard links), and {self.weak}"
        if not is_trusted(status.st_uid) and status.st_uid != self.owner:
            return f"it belongs to user {status.st_uid}, and {self.weak}"
        return ""

    def why_not_read(self, status: os.stat_result) -> str:
        """Why a file must not be read, "" if it may: a user who can choose the file must be able to read it."""
        if not stat.S_ISREG(status.st_mode):
            return NOT_REGULAR
        if self.private or status.st_mode & _OTHERS_READ:
            return ""
        if status.st_uid == self.owner and not is_trusted(self.owner):
            return ""
        return f"it is not readable by all users, and {self.weak}: it may have been moved there"


def is_trusted(uid: int) -> bool:
    """Whether a user has our rights anyway: root, or our own user."""
    return uid in _ours()


def _ours() -> tuple[int, int]:
    return 0, os.geteuid()


def locate(path: str, *, directory_mode: int | None = None, follow: bool = True) -> Place:
    """Resolve a path to an open directory and a name. Raises OSError.

    The file need not exist. With directory_mode, missing directories are created. In a directory that other users can
    change, a link on the way is an error, and a link as the last component is returned itself. With follow=False, the
    last component is never followed.
    """
    return _Walk(directory_mode, follow=follow).to(path)


def open_to_append(path: str, *, mode: int, directory_mode: int) -> tuple[Place, int]:
    """Open or create a regular file, with that mode less our umask; its place and descriptor. Raises OSError.

    In a directory that other users can change, it must be a file of root, of our user or of the directory's owner,
    without a second name (hard link), and not a symbolic link.
    """
    place = locate(path, directory_mode=directory_mode)
    try:
        found = place.look()
        if found is not None:
            _refuse(path, place.why_not_written(found))  # opening a device can have effects
        fd = place.open(os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode)
        try:
            _refuse(path, place.why_not_written(os.fstat(fd)))
        except OSError:
            os.close(fd)
            raise
    except OSError:
        place.close()
        raise
    return place, fd


def open_to_read(path: str) -> tuple[int, bool]:
    """Open a regular file; its descriptor, and whether only root or our user can change or replace it.

    Raises OSError, also if a user who can change the path might not be able to read the file. A link in a directory
    that other users can change is followed only if the link and the file belong to the owner of that directory.
    """
    walk = _Walk(None, follow_own=True)
    with walk.to(path) as place:
        found = place.look()
        if found is not None and stat.S_ISLNK(found.st_mode):
            _refuse(path, place.why_not_written(found))
        if found is not None and not stat.S_ISREG(found.st_mode):
            _refuse(path, NOT_REGULAR)
        fd = place.open(os.O_RDONLY)
        try:
            status = os.fstat(fd)
            if walk.link_owner is not None and status.st_uid != walk.link_owner:
                _refuse(path, f"user {walk.link_owner} made a link to it, and it belongs to user {status.st_uid}")
            if walk.link_owner is None:
                _refuse(path, place.why_not_read(status))
            elif not stat.S_ISREG(status.st_mode):
                _refuse(path, NOT_REGULAR)
        except OSError:
            os.close(fd)
            raise
        trusted = place.private and is_trusted(status.st_uid) and not status.st_mode & _OTHERS_WRITE
        return fd, trusted


def connect(client: socket, path: str) -> int:
    """connect_ex to a unix socket with our credentials, never through a link that other users can change.

    Returns an errno, 0 for success. Raises OSError with the reason if no connection was attempted.
    """
    with locate(path) as place:
        if place.private:
            return client.connect_ex(path)
        entry = place.open(os.O_PATH)
        try:
            status = os.fstat(entry)
            if stat.S_ISLNK(status.st_mode):
                _refuse(path, place.why_not_written(status))
            if status.st_nlink > 1:
                _refuse(path, f"it has {status.st_nlink} names (hard links), and {place.weak}")
            return client.connect_ex(f"/proc/self/fd/{entry}")
        finally:
            os.close(entry)


def is_private(path: str) -> bool:
    """Whether only root or our user can redirect a path. Raises OSError if one of its directories does not exist."""
    with locate(path) as place:
        return place.private


def who_else_can_change(path: str, users: Collection[int]) -> str:
    """Which users but these can replace a file, as in "user 33 can change /data"; "" for none. Raises OSError."""
    with _Walk(None, trusted=users).to(path) as place:
        return place.weak or ("" if place.private else "other users can change its path")


def who_can_change(directory: str) -> str:
    """Which other users can change a directory, as in "user 33 can change /var/log/nginx"; "" for none.

    For a directory that does not exist, its nearest existing parent counts. "" also if that cannot be determined.
    """
    while True:
        try:
            with locate(f"{directory}/x") as place:
                return place.weak or (f"other users can change {directory}" if not place.private else "")
        except FileNotFoundError:
            directory = directory.rstrip("/").rpartition("/")[0]
            if not directory:
                return ""
        except OSError as error:
            return f"{error.filename or directory}: {error.strerror}" if error.errno == errno.ELOOP else ""


class _Walk:
    """The resolution of one path. link_owner: the user whose links in its own directories were followed, or None.

    trusted: the users whose directories are private; without it root and our user.
    """

    def __init__(
        self,
        directory_mode: int | None,
        *,
        follow: bool = True,
        follow_own: bool = False,
        trusted: Collection[int] | None = None,
    ) -> None:
        self._directory_mode = directory_mode
        self._trusted = _ours() if trusted is None else trusted
        self._follow_last = follow
        self._follow_own = follow_own
        self._directories: list[_Directory] = []
        self._links = 0
        self.link_owner: int | None = None

    def to(self, path: str) -> Place:
        """Resolve the path. Raises OSError."""
        if "\0" in path:
            raise OSError(errno.EINVAL, "the path contains a NUL character", path)
        names = _components(path if path.startswith("/") else f"{os.getcwd()}/{path}")
        try:
            self._enter("/", None)
            place = self._follow(names, path)
        except OSError:
            self._close(0)
            raise
        self._close(1)
        return place

    def _follow(self, names: list[str], path: str) -> Place:
        """names: the remaining components, the next one last."""
        while names:
            name = names.pop()
            here = self._directories[-1]
            if name == "..":
                if len(self._directories) > 1:
                    os.close(self._directories.pop().fd)
                continue
            status = self._status(here, name, last=not names)
            if status is None:
                return self._place(here, name)
            if not names and not self._follow_last:
                return self._place(here, name)
            if not stat.S_ISLNK(status.st_mode):
                if not names:
                    return self._place(here, name)
                self._enter(name, here)
            elif not self._may_follow(here, status):
                if not names:
                    return self._place(here, name)
                raise OSError(errno.ELOOP, f"{name} in it is a link, and {here.weak}: no link is followed there", path)
            elif self._is_jump(here):
                if not names:
                    return self._place(here, name, jump=True)
                self._enter(name, here, follow=True)
            else:
                names += self._link(here, name, path)
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)

    def _place(self, here: _Directory, name: str, *, jump: bool = False) -> Place:
        return Place(here, name, fixed=self.link_owner is None, jump=jump)

    def _status(self, here: _Directory, name: str, *, last: bool) -> os.stat_result | None:
        """The status of a component. None if the last one does not exist; FileNotFoundError for others."""
        try:
            return os.stat(name, dir_fd=here.fd, follow_symlinks=False)
        except FileNotFoundError:
            if last:
                return None
            if self._directory_mode is None:
                raise
        try:
            os.mkdir(name, self._directory_mode, dir_fd=here.fd)
        except FileExistsError:
            pass  # created by another process at the same time
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{here.path.rstrip('/')}/{name}") from None
        return os.stat(name, dir_fd=here.fd, follow_symlinks=False)

    def _may_follow(self, here: _Directory, link: os.stat_result) -> bool:
        """Whether a link may be followed; one of an unprivileged user only to files of that user."""
        if here.private and self.link_owner is None:
            return True
        own = link.st_uid == here.owner and not is_trusted(link.st_uid) and self.link_owner in (None, link.st_uid)
        if not self._follow_own or not (own or here.private):
            return False
        if own:
            self.link_owner = link.st_uid
        return True

    def _link(self, here: _Directory, name: str, path: str) -> list[str]:
        """The components of the link's target; for an absolute one the resolution restarts at /."""
        self._links += 1
        if self._links > _LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(name, dir_fd=here.fd)
        if target.startswith("/"):
            while len(self._directories) > 1:
                os.close(self._directories.pop().fd)
        return _components(target)

    @staticmethod
    def _is_jump(here: _Directory) -> bool:
        """Whether the links of a directory are magic links of /proc, whose target is not a path."""
        try:
            return here.device == os.stat("/proc/self/fd").st_dev
        except OSError:
            return False

    def _enter(self, name: str, above: _Directory | None, *, follow: bool = False) -> None:
        flags = _OPEN_DIRECTORY if follow else _OPEN_DIRECTORY | os.O_NOFOLLOW
        if above is None:
            fd, path = os.open(name, flags), "/"
        else:
            fd, path = os.open(name, flags, dir_fd=above.fd), f"{above.path.rstrip('/')}/{name}"
        try:
            self._directories.append(_Directory(fd, path, above, self._trusted))
        except OSError:
            os.close(fd)
            raise

    def _close(self, kept: int) -> None:
        for directory in self._directories[: len(self._directories) - kept]:
            os.close(directory.fd)


def _components(path: str) -> list[str]:
    """The components of a path in reverse order, to be popped from the end."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _who(status: os.stat_result, trusted: Collection[int]) -> str:
    """Which other users can change a directory with that owner and mode."""
    if status.st_uid not in trusted:
        return f"user {status.st_uid}"
    return "any user" if status.st_mode & 0o002 else f"group {status.st_gid}"


def _refuse(path: str, why: str) -> None:
    """Raise OSError if there is a reason."""
    if why:
        raise OSError(errno.EPERM, why, path)


def holds(kind: str, path: str) -> bool:
    """Whether a condition about a path holds (plan/conditions.py). It may wait for a file system.

    Links are followed, as by test(1). Raises OSError if that is not known, for example without permission.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    if kind == "path_exists":
        return True
    if kind == "directory_not_empty":
        return stat.S_ISDIR(status.st_mode) and any(os.scandir(path))
    if not stat.S_ISREG(status.st_mode):
        return False
    return status.st_size > 0 if kind == "file_not_empty" else bool(status.st_mode & 0o111)
