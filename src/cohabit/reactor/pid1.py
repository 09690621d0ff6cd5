"""Being process 1, or standing in for it.

The kernel treats process 1 of a PID namespace apart (pid_namespaces(7)): orphans become its children, a
signal whose action would be the default is dropped unless it has a handler, and its end is the end of every
process in the namespace. Many platforms keep process 1 for themselves (docker --init, Fly, ECS, a shared
process namespace); there PR_SET_CHILD_SUBREAPER (prctl(2)) makes us the parent of our descendants' orphans.

Python has no prctl. ctypes has, for 3 ms and half a megabyte; its C half `_ctypes` alone does this one call
in 0.3 ms. It may be missing from a stripped-down Python: then we say what will not work.
"""

from __future__ import annotations

import os
import sys

try:
    import _ctypes
except ImportError:  # a Python without ctypes
    _ctypes = None  # type: ignore[assignment]

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")

CANNOT_REAP = (
    "cannot adopt orphans: this is not process 1 and the kernel or this Python offers no subreaper, "
    "so zombies may stay (make it process 1: exec it from the wrapper script, drop `docker run --init`, "
    "or do not share the process namespace)"
)


def is_process_1() -> bool:
    """Whether we are process 1 of our PID namespace."""
    return os.getpid() == 1


def _prctl(option: int, value: int) -> bool:
    if _ctypes is None:
        return False
    address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]  # None: what is loaded already
    return bool(_ctypes.call_function(address, (option, value, 0, 0, 0)) == 0)


def become_subreaper() -> bool:
    """Adopt the orphans of all our descendants; False if that is not to be had."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(number: int) -> bool:
    """Ask to be sent this signal when our parent ends; False if that is not to be had."""
    return _prctl(_PR_SET_PDEATHSIG, number)


def open_missing_stdio() -> None:
    """Give 0, 1 and 2 to /dev/null where they are closed, so that no descriptor of ours lands there."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is fd
            os.set_inheritable(fd, True)


def undo_locale_coercion() -> None:
    """Take LC_CTYPE back to what was given: where the locale is C, CPython has set it (PEP 538)."""
    if os.environ.get("LC_CTYPE") not in _COERCED:
        return
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read().split(b"\0")
    except OSError:
        return  # then nobody can tell
    del os.environ["LC_CTYPE"]
    for item in given:
        if item.startswith(b"LC_CTYPE="):
            os.environ["LC_CTYPE"] = os.fsdecode(item.partition(b"=")[2])


def option(name: str) -> str:
    """The value of `-X name=value` on the interpreter's command line, or ""."""
    return str(sys._xoptions.get(name, ""))  # noqa: SLF001 - its documented name


def again(extra: list[str]) -> list[str]:
    """The command line that runs this very program again, isolated, with more -X options."""
    main = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "__main__.py")
    options = ["-I", "-S"]
    for name, value in sys._xoptions.items():  # noqa: SLF001 - same
        if name.startswith("cohabit-") and name != "cohabit-resume":
            options += ["-X", f"{name}={value}"]
    for option in extra:
        options += ["-X", option]
    return [sys.executable, *options, main, *sys.argv[1:]]
