"""Reads text files that users wrote, of any format.

The path may name a pipe, a device or a directory, which must not block the loader. The file may be huge, binary, in
another encoding, or a link that a service has created (paths.py). Every error is "cannot read FILE: why (what to do)".
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from cohabit import paths

if TYPE_CHECKING:
    from collections.abc import Collection

LIMIT_BYTES = 1 << 20
STDIN = "-"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class UnreadableError(Exception):
    """A file cannot be read as text. The message is complete."""

    def __init__(self, path: str, why: str, advice: str) -> None:
        super().__init__(f"cannot read {path}: {why} ({advice})")


def read_text(path: str, owners: Collection[int] | None = None) -> str:
    """Text of a regular UTF-8 file of at most 1 MiB; "-" is standard input, and /dev/null is an empty file.

    owners: the only users that may be able to change or replace it, also by a link; None for any.
    Raises UnreadableError, and FileNotFoundError for a missing file.
    """
    if path == STDIN:
        return _decode("standard input", _read_all(0, "standard input"))
    if path == os.devnull:
        return ""
    try:
        fd, _ = paths.open_to_read(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        if owners is not None:
            _check_owner(fd, path, owners)
        return _decode(path, _read_all(fd, path))
    finally:
        os.close(fd)


def _check_owner(fd: int, path: str, owners: Collection[int]) -> None:
    found = os.fstat(fd)
    if os.path.islink(path):
        raise UnreadableError(path, "it is a link", "name the file itself")
    if found.st_uid not in owners:
        text = f"it belongs to user {found.st_uid}, who could decide what runs"
        wanted = " or ".join(f"user {uid}" if uid else "root" for uid in sorted(owners))
        raise UnreadableError(path, text, f"it must belong to {wanted}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):  # with an access control list, the group's bits are its mask
        raise UnreadableError(
            path, "other users can write to it", "chmod go-w the file, or umask 022 before it is written"
        )
    if os.geteuid() == 0 and (weak := _weakness(path, owners)):
        advice = "write it to a directory that no other user can change"
        raise UnreadableError(path, f"{weak}, and so replace it", advice)


def _weakness(path: str, owners: Collection[int]) -> str:
    """Who else can replace a file, also by another file of the same owner, such as a log with their lines."""
    try:
        return paths.who_else_can_change(path, owners)
    except OSError as error:
        return f"its directory is not known ({error.strerror})"


def _unreadable(path: str, error: OSError) -> UnreadableError:
    if os.path.isdir(path):
        return UnreadableError(path, "it is a directory", "name a file in it")
    if error.strerror == paths.NOT_REGULAR:
        return UnreadableError(path, "it is not a regular file", "use - to read from standard input")
    if error.errno == errno.EACCES:
        return UnreadableError(path, "permission denied", f"make it readable by uid {os.getuid()}")
    if error.errno == errno.EPERM:
        return UnreadableError(path, str(error.strerror), "move it to a directory that only root can change")
    return UnreadableError(path, str(error.strerror), "name another file")


def _read_all(fd: int, path: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := os.read(fd, LIMIT_BYTES + 1 - size):
            chunks.append(chunk)
            size += len(chunk)
            if size > LIMIT_BYTES:
                raise UnreadableError(path, "it is larger than 1 MiB", "is it the right file?")
    except OSError as error:
        raise UnreadableError(path, str(error.strerror), "name another file") from error
    return b"".join(chunks)


def _decode(path: str, data: bytes) -> str:
    if data.startswith(_UTF16_MARKS):
        raise UnreadableError(path, "it is UTF-16", "save it as UTF-8")
    zero = data.find(b"\0")
    if zero >= 0:
        line = data.count(b"\n", 0, zero) + 1
        raise UnreadableError(path, f"it is binary, with a NUL byte in line {line}", "is it the right file?")
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        why = f"byte 0x{data[error.start]:02x} in line {line} is not UTF-8"
        raise UnreadableError(path, why, "save it as UTF-8") from error
