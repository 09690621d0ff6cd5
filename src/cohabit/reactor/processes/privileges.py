"""Capabilities and no_new_privs of a process: what a service loses for good, and what it keeps as another user.

Sources: capabilities(7), prctl(2), capset(2).

Python has neither prctl nor capset; `_ctypes`, the C half of ctypes, calls them, as in pid1.py. If a Python lacks it,
the loader reports that before anything starts (config/permission_checks.py); a start fails, too.
"""

from __future__ import annotations

import errno
import sys

from cohabit.reactor.processes import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

try:
    import _ctypes
except ImportError:  # a Python without ctypes
    _ctypes = None  # type: ignore[assignment]

_CAP_KILL = 5
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 23, 24, 38
_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _IS_SET, _RAISE = 8, 47, 1, 2
_VERSION_3 = 0x20080522  # of struct __user_cap_header_struct (capget(2))
_WORDS = 6  # two of each set (effective, permitted, inheritable), 32 capabilities per word


def may_signal_other_users() -> bool:
    """Whether we have CAP_KILL. True if that is not known (no /proc)."""
    effective = proc.read("/proc/self/status").partition(b"\nCapEff:")[2].partition(b"\n")[0].strip()
    return not effective or bool(int(effective, 16) >> _CAP_KILL & 1)


def drop_from_bounding_set(capabilities: Sequence[int]) -> None:
    """No process from here on, set-user-ID programs included, can get these. Needs CAP_SETPCAP. Raises OSError."""
    for number in capabilities:
        there = _call("prctl", _PR_CAPBSET_READ, number, 0, 0, 0) == 1
        if there and _call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            raise PermissionError(errno.EPERM, "this needs root (CAP_SETPCAP)")


def drop(capabilities: Sequence[int]) -> None:
    """Remove them from the effective, permitted and inheritable sets; the kernel then removes the ambient ones."""
    words = _words()
    header = _VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)  # the version, and pid 0: this process
    if _call("capget", header, words) != 0:
        raise OSError(errno.ENOSYS, "the kernel has no capget")
    for number in capabilities:
        for word in range(3):
            words[number // 32 * 3 + word] &= ~(1 << number % 32)
    if _call("capset", header, words) != 0:
        raise PermissionError(errno.EPERM, "the kernel refuses")


def keep_for_user() -> None:
    """Keep the permitted capabilities when this process switches to its user. Its exec ends this."""
    if _call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0:
        raise PermissionError(errno.EPERM, "the kernel refuses to keep capabilities (securebits, capabilities(7))")


def make_ambient(capabilities: Sequence[tuple[str, int]]) -> None:
    """Have exactly these (name, number), and keep them when a program is executed. Raises OSError.

    File capabilities of the program, or a set-user-ID bit, replace them. Only what is permitted and inheritable can
    become ambient.
    """
    words = _words()
    header = _VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)
    if _call("capget", header, words) != 0:
        raise OSError(errno.ENOSYS, "the kernel has no capget")
    wanted = [sum(1 << number % 32 for _, number in capabilities if number // 32 == word) for word in range(2)]
    missing = [name for name, number in capabilities if not words[number // 32 * 3 + 1] >> number % 32 & 1]
    if missing:
        raise PermissionError(errno.EPERM, f"cohabit does not have {missing[0]} (add it: docker run --cap-add)")
    for word, bits in enumerate(wanted):
        words[word * 3], words[word * 3 + 1] = bits, bits
        words[word * 3 + 2] |= bits
    if _call("capset", header, words) != 0:
        raise PermissionError(errno.EPERM, f"the kernel refuses {', '.join(name for name, _ in capabilities)}")
    for name, number in capabilities:
        if _call("prctl", _PR_CAP_AMBIENT, _RAISE, number, 0, 0) == 0:
            continue
        if _call("prctl", _PR_CAP_AMBIENT, _IS_SET, number, 0, 0) < 0:
            raise OSError(errno.ENOSYS, f"the kernel has no ambient capabilities, for {name} (Linux 4.3 has them)")
        raise PermissionError(errno.EPERM, f"the kernel refuses {name} (securebits, capabilities(7))")


def forbid_new() -> None:
    """No exec gives new privileges from here on: set-user-ID bits and file capabilities have no effect."""
    if _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(errno.ENOSYS, "the kernel has no no_new_privs")


def _call(function: str, *arguments: Any) -> int:
    """Call a function of the C library, which is already loaded."""
    if _ctypes is None:
        raise OSError(errno.ENOSYS, "this Python has no _ctypes (install ctypes)")
    address = _ctypes.dlsym(_ctypes.dlopen(None, 0), function)  # type: ignore[arg-type]  # None: what is loaded
    return int(_ctypes.call_function(address, arguments))


def _words() -> Any:
    """Return the array of unsigned int that capget fills."""
    if _ctypes is None:
        raise OSError(errno.ENOSYS, "this Python has no _ctypes (install ctypes)")
    unsigned = type("unsigned", (_ctypes._SimpleCData,), {"_type_": "I"})
    return type("words", (_ctypes.Array,), {"_type_": unsigned, "_length_": _WORDS})()
