"""Files and directories reached without following what an unprivileged user can change.

cohabit often runs as root beside services that do not. A service that owns a directory can replace each name in it at
any moment, by a link to a file of root as well, so no path through such a directory may be used twice, or followed.
Here a path is resolved one component at a time, each directory opened relative to the one above (openat(2), O_PATH,
O_NOFOLLOW), and each is judged by its owner and mode:

    private    Only root or we ourselves can change what is in it, and its path leads there always. Links are followed.
    fixed      Its path leads there always, but others can change what is in it: no link in it is followed.
    neither    Others can also make its path lead elsewhere: it is used through its descriptor only.

A directory that everybody may write and that is sticky, as /tmp is, is not private, but directories of root or of ours
in it are: nobody else can move them (a file could be a hard link, a directory cannot). One on a read-only file system
is private if its owner is trusted, whatever its mode: a secret volume of Kubernetes has links, and mode 1777.

An error is an OSError whose strerror says why, as the others do. Nothing is remembered. A file is always opened so that
nothing waits: neither a FIFO without a writer, nor a lease (fcntl(2), F_SETLEASE) that its owner holds.
Process 1 and the loader use this module, so it imports what both can afford.
"""

from __future__ import annotations

import _stat as stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from _socket import socket
    from typing import Self
else:
    import posix as os

_OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_ALWAYS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OTHERS_WRITE, _OTHERS_READ, _STICKY = 0o022, 0o004, 0o1000
_LINKS_MAX = 40  # as the kernel (path_resolution(7))
_READ_ONLY = 1  # ST_RDONLY of statvfs(3)
_EPERM, _EISDIR, _EINVAL, _ELOOP = 1, 21, 22, 40
NOT_REGULAR = "it is not a regular file"


class _Directory:
    """One on the way, open. weak: who can change what is in it, "" for nobody."""

    __slots__ = ("device", "fd", "fixed", "owner", "path", "private", "sticky", "weak")

    def __init__(self, fd: int, path: str, above: _Directory | None) -> None:
        """above: the one that it was opened in. Raises OSError, and the descriptor stays open then."""
        status = os.fstat(fd)
        self.fd = fd
        self.path = path
        self.device = status.st_dev
        self.owner = status.st_uid
        self.fixed: bool = above is None or above.private or (above.sticky and is_trusted(self.owner))
        open_to_others = bool(status.st_mode & _OTHERS_WRITE) and not os.fstatvfs(fd).f_flag & _READ_ONLY
        own = self.fixed and is_trusted(self.owner)
        self.private: bool = own and not open_to_others
        self.sticky: bool = own and open_to_others and bool(status.st_mode & _STICKY)
        self.weak = ""
        if above is not None and not self.fixed and not above.sticky:
            self.weak = above.weak
        elif not self.private:
            self.weak = f"{_who(status)} can change {path}"


class Place:
    """A name in an open directory. Close it, or use it as a context.

    fd: the directory. path: without links on the way to it. owner: the directory's. weak: who can change what is in it,
    as in "user 33 can change /var/log/nginx"; "" where it is private. jump: the name is one of /proc's links to what is
    open already (/proc/self/fd/1), which only the kernel can follow.
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
        """Let go of the directory."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    @property
    def keeps(self) -> bool:
        """Whether what we make here stays ours. Who is not root has nothing that others could gain by it."""
        return self.private or self.sticky or os.geteuid() != 0

    def look(self, name: str = "") -> os.stat_result | None:
        """What is there under the name, or another name in the directory; None for nothing. A link is a link."""
        try:
            return os.stat(name or self.name, dir_fd=self.fd, follow_symlinks=self.jump and not name)
        except FileNotFoundError:
            return None

    def open(self, flags: int, mode: int = 0o600, name: str = "") -> int:
        """Open it, without waiting and never through a link. Raises OSError."""
        follow = 0 if self.jump and not name else os.O_NOFOLLOW
        return os.open(name or self.name, flags | follow | _OPEN_ALWAYS, mode, dir_fd=self.fd)

    def unlink(self, name: str = "") -> None:
        """Remove a name from the directory. Raises OSError."""
        os.unlink(name or self.name, dir_fd=self.fd)

    def rename(self, name: str, new: str) -> None:
        """Change a name in the directory, in place of whatever has the new one. Raises OSError."""
        os.rename(name, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def listing(self, names_max: int) -> list[str]:
        """Names in the directory, so many at the most: others may have made millions. Raises OSError."""
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            with os.scandir(fd) as entries:
                return [entry.name for entry, _ in zip(entries, range(names_max), strict=False)]
        finally:
            os.close(fd)

    def kernel_path(self) -> str:
        """The path for calls that take no directory (bind(2)): through the descriptor where it could lead elsewhere."""
        return self.path if self.fixed else f"/proc/self/fd/{self.fd}/{self.name}"

    def why_not_written(self, status: os.stat_result) -> str:
        """Why root must not write to a file that is there, "" if it may. status: of the file, or of a link."""
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
        """Why its text must not be passed on, "" if it may: whoever chose the file has to be able to read it anyway."""
        if not stat.S_ISREG(status.st_mode):
            return NOT_REGULAR
        if self.private or status.st_mode & _OTHERS_READ:
            return ""
        if status.st_uid == self.owner and not is_trusted(self.owner):
            return ""
        return f"not everybody can read it, and {self.weak}: it may have been moved there"


def is_trusted(uid: int) -> bool:
    """Whether a user has our rights anyway: root, or the one that we are."""
    return uid in (0, os.geteuid())


def locate(path: str, *, directory_mode: int | None = None, follow: bool = True) -> Place:
    """The open directory and the name that a path leads to. Raises OSError.

    The file need not be there; with directory_mode, directories that are not there are made. A link in a directory that
    others can change is not followed on the way, and stays what is found if it is the last component; so does every
    link there without `follow`.
    """
    return _Walk(directory_mode, follow=follow).to(path)


def open_to_append(path: str, *, mode: int, directory_mode: int) -> tuple[Place, int]:
    """The place and a descriptor of the regular file, made with that mode less our umask. Raises OSError.

    In a directory that others can change it has to be a file of root, of us or of the directory's owner, with no other
    name (a hard link), and not a link.
    """
    place = locate(path, directory_mode=directory_mode)
    try:
        found = place.look()
        if found is not None:
            _refuse(path, place.why_not_written(found))  # a device may do something by being opened
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
    """A descriptor of a regular file, and whether only root or we can change it, or put another in its place.

    Raises OSError, also when the file is one that whoever can change the path might not read himself. A link in a
    directory that others can change is followed only if the link and the file belong to that directory's owner.
    """
    walk = _Walk(None, borrow=True)
    with walk.to(path) as place:
        found = place.look()
        if found is not None and stat.S_ISLNK(found.st_mode):
            _refuse(path, place.why_not_written(found))
        if found is not None and not stat.S_ISREG(found.st_mode):
            _refuse(path, NOT_REGULAR)
        fd = place.open(os.O_RDONLY)
        try:
            status = os.fstat(fd)
            if walk.lender is not None and status.st_uid != walk.lender:
                _refuse(path, f"user {walk.lender} made a link to it, and it belongs to user {status.st_uid}")
            if walk.lender is None:
                _refuse(path, place.why_not_read(status))
            elif not stat.S_ISREG(status.st_mode):
                _refuse(path, NOT_REGULAR)
        except OSError:
            os.close(fd)
            raise
        trusted = place.private and is_trusted(status.st_uid) and not status.st_mode & _OTHERS_WRITE
        return fd, trusted


def connect(client: socket, path: str) -> int:
    """connect_ex to the file of a unix socket, with our credentials: not through a link that others can change.

    Returns an errno, 0 when it is done. Raises OSError with the reason why it was not tried.
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
    """Whether only root or we can change where a path leads to. Raises OSError when a directory of it is not there."""
    with locate(path) as place:
        return place.private


def who_can_change(directory: str) -> str:
    """Who else can change what is in a directory, as in "user 33 can change /var/log/nginx"; "" for nobody.

    One that is not there is like the nearest above it. "" also where that cannot be found out.
    """
    while True:
        try:
            with locate(f"{directory}/x") as place:
                return place.weak or (f"others can change {directory}" if not place.private else "")
        except FileNotFoundError:
            directory = directory.rstrip("/").rpartition("/")[0]
            if not directory:
                return ""
        except OSError as error:
            return f"{error.filename or directory}: {error.strerror}" if error.errno == _ELOOP else ""


class _Walk:
    """The way to one place. lender: the one user whose links in directories of its own were followed, if any."""

    def __init__(self, directory_mode: int | None, *, follow: bool = True, borrow: bool = False) -> None:
        self._directory_mode = directory_mode
        self._follow_last = follow
        self._borrow = borrow
        self._directories: list[_Directory] = []
        self._links = 0
        self.lender: int | None = None

    def to(self, path: str) -> Place:
        """Go there. Raises OSError."""
        if "\0" in path:
            raise OSError(_EINVAL, "no file can have this name", path)
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
        """names: what is left of the way, the next one last."""
        while names:
            name = names.pop()
            here = self._directories[-1]
            if name == "..":
                if len(self._directories) > 1:
                    os.close(self._directories.pop().fd)
                continue
            status = self._look(here, name, last=not names)
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
                raise OSError(_ELOOP, f"{name} in it is a link, and {here.weak}: no link is followed there", path)
            elif self._is_jump(here):
                if not names:
                    return self._place(here, name, jump=True)
                self._enter(name, here, follow=True)
            else:
                names += self._link(here, name, path)
        raise OSError(_EISDIR, os.strerror(_EISDIR), path)

    def _place(self, here: _Directory, name: str, *, jump: bool = False) -> Place:
        return Place(here, name, fixed=self.lender is None, jump=jump)

    def _look(self, here: _Directory, name: str, *, last: bool) -> os.stat_result | None:
        """What is there; None if the last component is not. Raises FileNotFoundError for another."""
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
            pass  # made by another at the same moment
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{here.path.rstrip('/')}/{name}") from None
        return os.stat(name, dir_fd=here.fd, follow_symlinks=False)

    def _may_follow(self, here: _Directory, link: os.stat_result) -> bool:
        """Whether a link may be followed; that of an unprivileged user only to what is that user's own."""
        if here.private and self.lender is None:
            return True
        own = link.st_uid == here.owner and not is_trusted(link.st_uid) and self.lender in (None, link.st_uid)
        if not self._borrow or not (own or here.private):
            return False
        if own:
            self.lender = link.st_uid
        return True

    def _link(self, here: _Directory, name: str, path: str) -> list[str]:
        """The components of a link; of an absolute one from / on."""
        self._links += 1
        if self._links > _LINKS_MAX:
            raise OSError(_ELOOP, os.strerror(_ELOOP), path)
        target = os.readlink(name, dir_fd=here.fd)
        if target.startswith("/"):
            while len(self._directories) > 1:
                os.close(self._directories.pop().fd)
        return _components(target)

    @staticmethod
    def _is_jump(here: _Directory) -> bool:
        """Whether the links of a directory are /proc's, whose text is not the way to what they lead to."""
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
            self._directories.append(_Directory(fd, path, above))
        except OSError:
            os.close(fd)
            raise

    def _close(self, kept: int) -> None:
        """Close all but the last `kept`."""
        for directory in self._directories[: len(self._directories) - kept]:
            os.close(directory.fd)


def _components(path: str) -> list[str]:
    """In the order in which they are taken from the end of the list."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _who(status: os.stat_result) -> str:
    """Who can change a directory of that owner and mode, beside us."""
    if not is_trusted(status.st_uid):
        return f"user {status.st_uid}"
    return "everybody" if status.st_mode & 0o002 else f"group {status.st_gid}"


def _refuse(path: str, why: str) -> None:
    """Raises OSError if there is a reason."""
    if why:
        raise OSError(_EPERM, why, path)
