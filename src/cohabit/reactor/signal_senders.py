"""Who sent a signal: signalfd(2) for the stop requests, which stay blocked, so that the kernel keeps their siginfo.

A handler of Python does not get the siginfo. Python has no signalfd; `_ctypes` makes this one call, as in pid1.py.
Without it (or with a kernel that refuses), stop requests arrive through the pipe as the others do, without a sender.

The kernel reports the pid of a sender in our PID namespace or below, and 0 for others (`docker stop`).
"""

from __future__ import annotations

import sys

from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc

try:
    import _ctypes
except ImportError:  # a Python without ctypes
    _ctypes = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_INFO_SIZE = 128  # struct signalfd_siginfo: ssi_signo at 0, ssi_pid at 12, ssi_uid at 16, 32 bits each
_MASK_SIZE = 128  # sigset_t of glibc and musl
_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK  # SFD_CLOEXEC and SFD_NONBLOCK


def open_signalfd(numbers: Iterable[int]) -> int:
    """Return a descriptor from which these signals are read while they are blocked; -1 if there is none."""
    if _ctypes is None:
        return -1
    bits = sum(1 << (number - 1) for number in numbers)
    mask = bits.to_bytes(_MASK_SIZE, sys.byteorder)
    try:
        address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "signalfd")  # type: ignore[arg-type]  # None: what is loaded
    except OSError:
        return -1
    return int(_ctypes.call_function(address, (-1, mask, _FLAGS)))


def read_senders(fd: int) -> dict[int, tuple[int, int]]:
    """Return the signals that have arrived, each with a sender: pid (0: outside our namespace) and uid."""
    found: dict[int, tuple[int, int]] = {}
    try:
        while info := os.read(fd, _INFO_SIZE):
            number, pid, uid = (int.from_bytes(info[at : at + 4], sys.byteorder) for at in (0, 12, 16))
            found[number] = pid, uid
    except OSError:  # no more of them
        pass
    return found


def describe(pid: int, uid: int, service: str) -> str:
    """Describe a sender, to follow "SIGTERM from "; "" if it is not known. service: that it belongs to, or ""."""
    if pid <= 0:
        return ""
    name = proc.name(pid)
    details = [name or "which has ended", f"service {service}" if service else "", f"user {uid}" if uid else ""]
    return f"process {pid} ({', '.join(filter(None, details))})"
