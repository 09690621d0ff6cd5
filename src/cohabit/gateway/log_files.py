"""Parts of log files, with supervisord's rules for offsets and lengths."""

from __future__ import annotations

import os

from cohabit import paths
from cohabit.gateway.faults import BAD_ARGUMENTS, FAILED, NO_FILE, Fault

_BYTES_MAX = 16 * 1_048_576  # of one answer
_OFFSET_MAX = 2**31 - 1  # XML-RPC's largest integer


def read(path: str, offset: int, length: int) -> bytes:
    """Bytes from an offset; length 0: up to the end. A negative offset: so many bytes of the end. Raises Fault."""
    if (offset < 0 and length) or length < 0:
        raise Fault(BAD_ARGUMENTS)
    file = _open(path)
    try:
        size = os.fstat(file).st_size
        if offset < 0:
            offset, length = max(0, size + offset), -offset
        return _bytes(file, offset, length or size)
    except OSError as error:
        raise Fault(FAILED, error.strerror or "") from error
    finally:
        os.close(file)


def part(data: bytes, offset: int, length: int) -> bytes:
    """The same of data in memory. Raises Fault."""
    if (offset < 0 and length) or length < 0:
        raise Fault(BAD_ARGUMENTS)
    if offset < 0:
        return data[offset:]
    return data[offset : offset + length] if length else data[offset:]


def tail(path: str, offset: int, length: int) -> tuple[bytes, int, bool]:
    """At most `length` bytes from an offset, the end of the file, and whether some of them were skipped.

    If the file has grown by more, the last bytes are returned. Never raises Fault: a file that cannot be read is empty.
    """
    try:
        file = _open(path)
    except Fault:
        return b"", 0 if not path else offset, False
    try:
        size = os.fstat(file).st_size
        overflow = size > offset + length
        length = max(0, min(length, size if overflow else size - offset))
        return _bytes(file, max(0, size - length), length), min(size, _OFFSET_MAX), overflow
    except OSError:
        return b"", offset, False
    finally:
        os.close(file)


def clear(path: str) -> None:
    """Empty a log file if it exists; its writer goes on at the beginning. Raises Fault."""
    try:
        if not os.path.exists(path):
            return
        place, file = paths.open_to_append(path, mode=0o644, directory_mode=0o755)
        try:
            os.ftruncate(file, 0)
        finally:
            os.close(file)
            place.close()
    except OSError as error:
        raise Fault(FAILED, path) from error


def _open(path: str) -> int:
    """The descriptor of a log file. Raises Fault."""
    if not path:
        raise Fault(NO_FILE)
    try:
        return paths.open_to_read(path)[0]
    except FileNotFoundError:
        raise Fault(NO_FILE, path) from None
    except OSError as error:
        raise Fault(FAILED, error.strerror or "") from error


def _bytes(file: int, offset: int, length: int) -> bytes:
    """What there is of `length` bytes, up to a limit."""
    found = bytearray()
    length = min(length, _BYTES_MAX)
    while length > len(found):
        data = os.pread(file, length - len(found), offset + len(found))
        if not data:
            break
        found += data
    return bytes(found)
