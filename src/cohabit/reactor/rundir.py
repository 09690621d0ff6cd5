"""The runtime directory for our sockets, in the first suitable place of this container.

Many containers are read-only or run as an unprivileged user: then only /tmp is writable, or only /dev/shm (in an empty
`--read-only --user 12345` container). TMPDIR is not used: it is meant for the services. Every user may enter the
directory, but not list or write it. Its name is random, so that no other user can create it first. It is created when
it is first needed.

As root, we use no place that an unprivileged user can change (paths.py): our directory in a /tmp without the sticky
bit could be moved away and replaced by another with a socket that seems to be ours.
"""

from __future__ import annotations

import _stat as stat
import errno

from cohabit import paths
from cohabit.control import RUNTIME_BASES, RUNTIME_DIR, SHARED_BASES
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
else:
    import _socket as socket

_MODE = 0o711
_BASE_MODE = 0o755  # clients of other users must find the directory inside
_ENTER, _WRITE = 0o111, 0o022  # enter: every user; write: other users
_TRIED = ", ".join(("/run", "/var/run", *SHARED_BASES))


class RuntimeDirectory:
    """path: where it is, "" until it is needed. given: the place that COHABIT_RUNTIME_DIR sets, or ""."""

    def __init__(self, path: str = "", *, given: str = "") -> None:
        self.path = path
        self._given = given

    def make(self) -> str:
        """Return its path; create it if it does not exist. Raises OSError if no place is suitable."""
        if self.path and _is_there(self.path, given=bool(self._given)):
            return self.path
        name = os.urandom(8).hex()
        if self._given:
            self.path = self._given
            if not _make_given(self.path):
                self.path = f"{self._given}/cohabit-{name}"
                with paths.locate(self.path, follow=False) as place:
                    _make_directory(place, _MODE)
            return self.path
        for base in RUNTIME_BASES:
            if _open_base(base) and _make(f"{base}/{name}"):
                _remove_dead(base)
                self.path = f"{base}/{name}"
                return self.path
        for base in SHARED_BASES:
            if _make(f"{base}/cohabit-{name}"):
                self.path = f"{base}/cohabit-{name}"
                return self.path
        unsafe = "; ".join(filter(None, map(_why_not_kept, SHARED_BASES)))
        advice = f"{unsafe}: chmod +t, or " if unsafe else ""
        why = f"no directory for a socket can be written (tried {_TRIED}; {advice}mount a tmpfs at one of them)"
        raise OSError(errno.EROFS, why)

    def remove(self) -> None:
        """Remove it with its contents; of a given directory, remove only our sockets."""
        if self.path:
            if not _is_there(self.path, given=bool(self._given)):
                pass  # another directory is there now
            elif self.path == self._given:
                _clear(self.path)
            else:
                _remove(self.path)
            self.path = ""


def _open_base(base: str) -> bool:
    """Whether it exists, or can be created, so that only we may write it and every user may enter it."""
    try:
        with paths.locate(base, follow=False) as place:
            if not place.keeps:
                return False
            if place.look() is None:
                _make_directory(place, _BASE_MODE)
            status = place.look()
    except OSError:
        return False
    if status is None:
        return False
    mode = status.st_mode
    return stat.S_ISDIR(mode) and status.st_uid == os.geteuid() and mode & (_ENTER | _WRITE) == _ENTER


def _make_directory(place: paths.Place, mode: int) -> None:
    """Create it with that mode, independent of the umask. Raises OSError."""
    before = os.umask(0)
    try:
        os.mkdir(place.name, mode, dir_fd=place.fd)
    finally:
        os.umask(before)


def _why_not_kept(base: str) -> str:
    """Return why another user could replace a directory of ours there; "" if none can."""
    try:
        with paths.locate(f"{base}/x", follow=False) as place:
            return "" if place.keeps else place.weak
    except OSError:
        return ""


def _make(path: str) -> bool:
    """Create a directory and check that sockets work in it: some file systems do not support them."""
    try:
        with paths.locate(path, follow=False) as place:
            if not place.keeps:
                return False
            _make_directory(place, _MODE)
    except OSError:
        return False
    try:
        trial = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            trial.bind(f"{path}/trial")
        finally:
            trial.close()
        os.unlink(f"{path}/trial")
    except OSError:
        _remove(path)
        return False
    return True


def _remove_dead(base: str) -> None:
    """Remove directories that killed cohabits have left: those that contain only sockets that no process listens on.

    An empty directory may belong to a cohabit that is just starting.
    """
    try:
        names = os.listdir(base)
    except OSError:
        return  # cannot be read now: the next start cleans up
    for name in names:
        if _is_there(f"{base}/{name}", given=False) and _is_left(f"{base}/{name}"):
            _remove(f"{base}/{name}")


def _is_left(path: str) -> bool:
    """Whether a directory of ours contains at least one socket, and only dead ones."""
    try:
        found = [f"{path}/{name}" for name in os.listdir(path)]
        return bool(found) and all(stat.S_ISSOCK(os.lstat(each).st_mode) and is_dead(each) for each in found)
    except OSError:
        return False


def _make_given(path: str) -> bool:
    """Whether our sockets can be in this directory itself: only root and we can change its contents.

    Raises OSError if it does not exist and cannot be created.
    """
    try:
        with paths.locate(path) as place:
            if place.look() is None:
                _make_directory(place, _MODE)
        with paths.locate(f"{path}/x") as place:
            unsafe = "" if place.keeps else place.weak
    except OSError as error:
        raise OSError(
            error.errno, f"{path} cannot be created: {error.strerror} ({RUNTIME_DIR} sets this path)"
        ) from error
    if unsafe:
        why = f"{path} cannot be used: {unsafe} ({RUNTIME_DIR} sets this path: let only root write it, or chmod +t)"
        raise OSError(errno.EPERM, why)
    status = os.lstat(path)
    trusted = stat.S_ISDIR(status.st_mode) and status.st_uid in (0, os.geteuid())
    return trusted and not status.st_mode & _WRITE


def _clear(path: str) -> None:
    """Remove our sockets from a directory that others may use, too."""
    try:
        for name in os.listdir(path):
            if name.startswith(f"notify-{os.getpid()}-"):
                os.unlink(f"{path}/{name}")
    except OSError:
        return


def _remove(path: str) -> None:
    try:
        for name in os.listdir(path):
            os.unlink(f"{path}/{name}")
        os.rmdir(path)
    except OSError:
        return  # a leftover directory does no harm


def bind_for_all(opened: socket.socket, path: str) -> None:
    """Bind to a file that every user may connect to, from its creation on. Raises OSError."""
    before = os.umask(0o111)
    try:
        opened.bind(path)
    finally:
        os.umask(before)


def is_dead(path: str) -> bool:
    """Whether no process listens on this socket any more, of either kind."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        return probe.connect_ex(path) == errno.ECONNREFUSED
    finally:
        probe.close()


def _is_there(path: str, *, given: bool) -> bool:
    """Whether the directory that we created, or were given, is still there and has not been replaced."""
    try:
        with paths.locate(f"{path}/x") as place:
            ours = given or os.fstat(place.fd).st_uid == os.geteuid()
            return ours and (place.keeps if given or os.geteuid() != 0 else place.private)
    except OSError:
        return False
