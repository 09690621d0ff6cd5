"""Variables whose values are the texts of files: read in the child that becomes the service, and nowhere else.

As root where only root can change what a path leads to, so that a service gets Docker's secrets whoever it runs as;
other files as the service's user, who might have put a link to a file of root there (docs/adr/0011).
"""

from __future__ import annotations

import sys

from cohabit import paths
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Credentials

_EACCES, _EFBIG, _EILSEQ, _EINVAL = 13, 27, 84, 22
_KIND, _REGULAR = 0o170000, 0o100000  # inode(7)
_LONGEST_VALUE = 131_072  # MAX_ARG_STRLEN: the kernel takes no longer variable, its name included (execve(2))


class SecretFiles:
    """Which variable gets which file's text. files: variable -> path."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files
        self._as_user: dict[str, str] = {}

    def read(self, environment: dict[str, str], identity: Credentials | None) -> None:
        """Give each variable its file's text without the newlines at its end, as $(cat FILE) in a shell does.

        Those that have to be read as this user are left to read_as_user. Raises OSError.
        """
        self._as_user = {}
        for name, path in self.files.items():
            if identity is not None and identity.uid != os.geteuid() and not _is_private(path):
                self._as_user[name] = path
            else:
                environment[name] = _read(path)

    def read_as_user(self, environment: dict[str, str]) -> None:
        """The others, once we are that user. Raises OSError."""
        for name, path in self._as_user.items():
            try:
                environment[name] = _read(path)
            except PermissionError:
                why = f"user {os.geteuid()} may not read it, and others than root can change where it is"
                raise OSError(_EACCES, why, path) from None


def _is_private(path: str) -> bool:
    try:
        return paths.is_private(path)
    except OSError:
        return False  # reading it as the user says why


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    text = b""
    if os.fstat(fd).st_mode & _KIND != _REGULAR:
        raise OSError(_EINVAL, "it is no regular file", path)
    try:
        while len(text) < _LONGEST_VALUE and (piece := os.read(fd, _LONGEST_VALUE)):
            text += piece
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    os.close(fd)
    text = text.rstrip(b"\n")
    if len(text) >= _LONGEST_VALUE:
        raise OSError(_EFBIG, "it is longer than a variable can be, 128 KiB", path)
    if b"\0" in text:
        raise OSError(_EILSEQ, "it holds a zero byte, which no variable can", path)
    return text.decode(sys.getfilesystemencoding(), "surrogateescape")
