"""The compressor: standard input to standard output as gzip; a child of process 1, which has no time for it.

`python -I -S PATH/compress.py NAME < SOURCE > TARGET`. Process 1 opens both, since log files change their names while
this one works, and gives TARGET its name when it has ended well; NAME is for whoever reads `ps`. The exit code is 0
when TARGET is whole and on the disk, else the number of the error that came in between (errno(3)).

Nobody waits for it, so it takes what others leave: SCHED_IDLE, by which the kernel's idle class of I/O comes as well
(ioprio_set(2): who has no class of his own has that of his scheduling), and nice for the case that this is denied.
"""

from __future__ import annotations

import os
import zlib
from typing import Final

_READ: Final = 1_048_576
_GZIP: Final = 31  # of zlib's wbits: the largest window, with the header and the checksum of gzip
_ENOMEM: Final = 12


def compress(source: int, target: int) -> None:
    """Write all of it. Raises OSError, MemoryError."""
    gzip = zlib.compressobj(wbits=_GZIP)
    while data := os.read(source, _READ):
        _write(target, gzip.compress(data))
    _write(target, gzip.flush())
    os.fsync(target)


def _write(target: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(target, left) :]


def _step_back() -> None:
    """Run only while nobody else wants to; where one of both is denied, the other has to do."""
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
    _step_back()
    try:
        compress(0, 1)
    except OSError as error:
        return error.errno or 1
    except MemoryError:
        return _ENOMEM
    return 0


if __name__ == "__main__":
    os._exit(main())
