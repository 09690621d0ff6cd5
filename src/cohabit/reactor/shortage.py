"""Shortage: the kernel refuses memory, descriptors, processes or epoll watches. It means "later", never "a bug".

The list contains what system calls of process 1 return when a limit or the machine is exhausted: ENOMEM, EMFILE
(RLIMIT_NOFILE), ENFILE (fs.file-max), ENOSPC (fs.epoll.max_user_watches, or a full disk), EAGAIN (fork: RLIMIT_NPROC,
pids.max), ENOBUFS; and EIO, from a disk or a file of /proc that cannot be read now. A MemoryError is the interpreter's
own ENOMEM. The rule is in docs/adr/0013.
"""

from __future__ import annotations

import errno

EIO = errno.EIO
ERRNOS = frozenset({EIO, errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.ENOSPC, errno.ENOBUFS})
RETRY_SECONDS = 1.0  # between two attempts, if no event reports that there is room again
WHAT_TO_DO = "check the machine's memory, and the limits nofile, nproc, pids and fs.file-max"


def is_shortage(error: BaseException) -> bool:
    """Whether the same call may succeed later without any change on our side."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in ERRNOS)


def words(error: BaseException) -> str:
    """Return the error as the end of a sentence."""
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or "out of memory"
