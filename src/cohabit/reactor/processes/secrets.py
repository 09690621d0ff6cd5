"""Variables whose values are the contents of files. Only the child that becomes the service reads the files.

A file is read as root if only root can change what its path leads to: so a service gets Docker's secrets whatever its
user is. Any other file is read as the service's user, who could have put a link to a file of root there
(docs/adr/0011).
"""

from __future__ import annotations

import errno
import sys

from cohabit import paths
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Credentials

_KIND, _REGULAR = 0o170000, 0o100000  # inode(7)
_VALUE_MAX = 131_072  # MAX_ARG_STRLEN: the kernel's limit for name and value (execve(2))


class SecretFiles:
    """The variables of one service that get the contents of files. files: variable -> path."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files
        self._as_user: dict[str, str] = {}

    def read(self, environment: dict[str, str], identity: Credentials | None) -> None:
        """Set each variable to the text of its file without trailing newlines, as $(cat FILE) in a shell does.

        Files that must be read as this user are left to read_as_user. Raises OSError.
        """
        self._as_user = {}
        for name, path in self.files.items():
            if identity is not None and identity.uid != os.geteuid() and not _is_private(path):
                self._as_user[name] = path
            else:
                environment[name] = _read(path)

    def read_as_user(self, environment: dict[str, str]) -> None:
        """Set the other variables, after switching to the user. Raises OSError."""
        for name, path in self._as_user.items():
            try:
                environment[name] = _read(path)
            except PermissionError:
                why = f"user {os.geteuid()} may not read it, and users other than root can change its path"
                raise OSError(errno.EACCES, why, path) from None


def _is_private(path: str) -> bool:
    try:
        return paths.is_private(path)
    except OSError:
        return False  # the user's own attempt to read it reports why


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    text = b""
    if os.fstat(fd).st_mode & _KIND != _REGULAR:
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    try:
        while len(text) < _VALUE_MAX and (piece := os.read(fd, _VALUE_MAX)):
            text += piece
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    os.close(fd)
    text = text.rstrip(b"\n")
    if len(text) >= _VALUE_MAX:
        raise OSError(errno.EFBIG, "it is too long for a variable (at most 128 KiB)", path)
    if b"\0" in text:
        raise OSError(errno.EILSEQ, "it contains a zero byte, which a variable cannot", path)
    return text.decode(sys.getfilesystemencoding(), "surrogateescape")
