"""Write to the standard input of a process: `write_input.py PID` writes its own. The exit code is an errno, or 0.

The pipe is opened through /proc/PID/fd/0, where the process may have put anything it can read. So only a pipe without a
name is written to: the one that it got from cohabit, or one that another process gave it.
"""

from __future__ import annotations

import errno
import os
import sys


def write_input(pid: int, data: bytes) -> None:
    """Write all of the data. Raises OSError; BlockingIOError if the pipe has no room for it, which may be in part."""
    link = os.open(f"/proc/{pid}/fd/0", os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.readlink(f"/proc/self/fd/{link}").startswith("pipe:["):
            raise OSError(errno.EPIPE, "its standard input is not a pipe")
        pipe = os.open(f"/proc/self/fd/{link}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(link)
    try:
        while data:
            data = data[os.write(pipe, data) :]
    finally:
        os.close(pipe)


def main() -> int:
    """Write our standard input to that of a process."""
    try:
        write_input(int(sys.argv[1]), sys.stdin.buffer.read())
    except OSError as error:
        return error.errno or errno.EIO
    return 0


if __name__ == "__main__":
    sys.exit(main())
