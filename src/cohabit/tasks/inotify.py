"""inotify(7): reports changes of files and directories. A part of the side programs that wait for such changes.

The standard library has no inotify, so its three functions of the C library are called through ctypes.
"""

from __future__ import annotations

import errno
import os
import struct

try:
    import ctypes
except ImportError:  # a Python without ctypes
    ctypes = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Events, as in inotify.h.
MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
OVERFLOW = 0x4000  # events were lost; its watch is -1
IGNORED = 0x8000  # the watch is gone: it was removed, or its file or file system is gone
IS_DIRECTORY = 0x4000_0000
# What add() accepts besides.
ONLY_DIRECTORY = 0x0100_0000
NO_FOLLOW = 0x0200_0000

_HEADER = struct.Struct("@iIII")  # struct inotify_event
_READ_SIZE = 65_536  # more than one event with the longest name needs


class Event:
    """One event. watch: the number that add() has returned; name: in the watched directory, b"" for itself.

    cookie: the same number in both events of a renaming.
    """

    __slots__ = ("cookie", "mask", "name", "watch")

    def __init__(self, watch: int, mask: int, cookie: int, name: bytes) -> None:
        self.watch = watch
        self.mask = mask
        self.cookie = cookie
        self.name = name


class Inotify:
    """One inotify instance. fd: readable when there are events. Every method raises OSError, with the reason."""

    def __init__(self) -> None:
        if ctypes is None:
            raise OSError(errno.ENOSYS, "this Python has no ctypes (install a Python with ctypes)")
        self._library: Any = ctypes.CDLL(None, use_errno=True)
        self.fd = self._call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)

    def add(self, path: str | bytes, mask: int) -> int:
        """Watch a path. Returns the number of the watch: that of the former one if the same file is watched already."""
        return self._call("inotify_add_watch", self.fd, os.fsencode(path), ctypes.c_uint32(mask))

    def remove(self, watch: int) -> None:
        """End a watch. Its last event, with IGNORED, follows."""
        self._call("inotify_rm_watch", self.fd, watch)

    def read(self) -> Iterator[Event]:
        """Read the events that are there now, without waiting: at most 64 KiB of them."""
        try:
            data = os.read(self.fd, _READ_SIZE)
        except BlockingIOError:
            return
        yield from decode(data)

    def close(self) -> None:
        """End all watches."""
        os.close(self.fd)

    def _call(self, function: str, *arguments: Any) -> int:
        result = int(getattr(self._library, function)(*arguments))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, _REASONS.get((function, number)) or os.strerror(number))
        return result


# What the kernel means by numbers that say something else elsewhere (inotify_add_watch(2), inotify_init(2)).
_REASONS = {
    ("inotify_add_watch", errno.ENOSPC): "too many watches (raise the sysctl fs.inotify.max_user_watches)",
    ("inotify_init1", errno.EMFILE): "too many inotify instances (raise the sysctl fs.inotify.max_user_instances)",
}


def decode(data: bytes) -> Iterator[Event]:
    """The events of what was read from the descriptor: whole ones, as the kernel returns them."""
    at = 0
    while at < len(data):
        watch, mask, cookie, size = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        yield Event(watch, mask, cookie, data[at : at + size].rstrip(b"\0"))
        at += size
