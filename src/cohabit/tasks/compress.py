"""The compressor: compresses standard input to standard output with gzip; a child of process 1.

`python -I -S PATH/compress.py NAME < SOURCE > TARGET`. Process 1 opens both files, since log files are renamed while
this program works, and renames TARGET after success; NAME only shows in `ps`. The exit code is 0 when TARGET is
complete and on the disk, otherwise the number of the error (errno(3)).

Compression is never urgent, so the program uses idle resources only: SCHED_IDLE, which implies the idle class of I/O
(ioprio_set(2)), and nice 19 in case SCHED_IDLE is denied.
"""

from __future__ import annotations

import os
import zlib
from typing import Final

_READ_SIZE: Final = 1_048_576
_GZIP_WBITS: Final = 31  # zlib: the largest window, with gzip's header and checksum
_ENOMEM: Final = 12


def compress(source: int, target: int) -> None:
    """Compress everything. Raises OSError, MemoryError."""
    gzip = zlib.compressobj(wbits=_GZIP_WBITS)
    while data := os.read(source, _READ_SIZE):
        _write(target, gzip.compress(data))
    _write(target, gzip.flush())
    os.fsync(target)


def _write(target: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(target, rest) :]


def _lower_priority() -> None:
    """Lower the priority of CPU and I/O. Errors are ignored."""
    try:
        os.nice(19)
    except OSError:
        pass
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        pass


def main() -> int:
    """Compress. Returns the exit code."""
    _lower_priority()
    try:
        compress(0, 1)
    except OSError as error:
        return error.errno or 1
    except MemoryError:
        return _ENOMEM
    return 0


if __name__ == "__main__":
    os._exit(main())
