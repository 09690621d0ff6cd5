"""What a service has as standard input, output and terminal: owners, modes and settings.

A standard input that stays open (Compose's `stdin_open`) is a pipe that the service has open for reading and writing.
So it never ends, and process 1 has to hold nothing.

The pipes of a service belong to its user. Others may open them for writing. A program that becomes another user by
itself needs that when it opens /dev/stdout (squid, `su -c`). No process gains by it: a pipe has no name but
/proc/PID/fd/N. A process may open its own, where it has the descriptor for writing anyway, and those of another process
only if it could trace it (proc(5), ptrace(2)). Only the owner may open a pipe for reading. A terminal has a name that
all processes can open, so only its owner may write there.
"""

from __future__ import annotations

import fcntl
import sys
import termios

from cohabit.reactor.linux import os

_PIPE_MODE, _TERMINAL_MODE = 0o622, 0o600
_ROWS, _COLUMNS = 24, 80
_OUTPUT_FLAGS = 1  # index in the list of tcgetattr(3)
STEP_TERMINAL = "take its terminal"


def open_input(uid: int | None) -> int:
    """Return a standard input that never ends. Raises OSError: out of resources, or no /proc."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        if uid is not None:
            change_owner(writer, uid)
        return os.open(f"/proc/self/fd/{reader}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(reader)
        os.close(writer)


def share_pipe(fd: int, uid: int | None) -> None:
    """Let others open a pipe for writing, and the user own it; None leaves the owner."""
    os.fchmod(fd, _PIPE_MODE)
    if uid is not None:
        change_owner(fd, uid)


def set_up_terminal(fd: int) -> None:
    """Set a size, and let lines end with LF only, as in all other output. fd: the service's side, before its start."""
    attributes = termios.tcgetattr(fd)
    attributes[_OUTPUT_FLAGS] &= ~termios.ONLCR
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    size = b"".join(number.to_bytes(2, sys.byteorder) for number in (_ROWS, _COLUMNS, 0, 0))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, size)
    os.fchmod(fd, _TERMINAL_MODE)


def take_terminal() -> None:
    """In the child, which leads a session: make its standard input the controlling terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def change_owner(fd: int, uid: int) -> None:
    """Make a user the owner of a pipe or terminal, if permitted (CAP_CHOWN). Without it, only opening it anew fails."""
    try:
        os.fchown(fd, uid, -1)
    except PermissionError:
        return
