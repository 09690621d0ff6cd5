"""System calls, under the name `os`: the C module `posix`, without the wrapper os.

os is posix plus 1,100 lines of Python for other systems and for environments as mappings (_collections_abc,
posixpath): 1 ms of the 8 ms in which the interpreter starts, for an init that has 5 ms for everything. cohabit runs on
Linux only. Type checkers see os. Every module of process 1 imports it from here.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os as os  # noqa: PLC0414 - exported under its own name
else:
    import posix as os

DEV_NULL = "/dev/null"


# CPython reads these in spite of -I, uses their values as its own path, and removes the second one from its
# environment (Modules/getpath.py). So our Python processes get them with this prefix (bin/cohabit and __main__.py do
# that first); services get them unchanged.
_MISLEADING = ("PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")
_HIDDEN = "COHABIT_HIDDEN_"

# About process 1 itself, from its own supervisor (sd_notify(3), sd_listen_fds(3)).
_NOT_FOR_SERVICES = (
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
)  # fmt: skip

# Values that CPython sets LC_CTYPE to, also in the environment, if the locale is C (PEP 538).
_COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")


def environment() -> dict[str, str]:
    """Return the environment that was given to us. Bytes that cannot be decoded are preserved (PEP 383)."""
    encoding = sys.getfilesystemencoding()
    return {
        name.decode(encoding, "surrogateescape"): value.decode(encoding, "surrogateescape")
        for name, value in environment_bytes().items()
    }


def services_environment() -> dict[str, str]:
    """Return the environment that was given to us, without what is about process 1 itself."""
    return {name: value for name, value in environment().items() if name not in _NOT_FOR_SERVICES}


def python_environment(variables: dict[str, str] | None = None) -> dict[str, str]:
    """Return these variables, or ours, for a Python process of ours, whose children see the original names."""
    given = environment() if variables is None else variables
    return {_HIDDEN + name if name in _MISLEADING else name: value for name, value in given.items()}


def environment_bytes() -> dict[bytes, bytes]:
    """Return the environment that was given to us, undecoded."""
    variables = dict(_posix_environment())
    for name in _MISLEADING:
        hidden = (_HIDDEN + name).encode()
        if hidden in variables:
            variables[name.encode()] = variables.pop(hidden)
    if variables.get(b"LC_CTYPE") in _COERCED:
        _undo_coercion(variables)
    return variables


def _posix_environment() -> dict[bytes, bytes]:
    return os.environ  # type: ignore[return-value]  # in posix, names and values are bytes


def _undo_coercion(variables: dict[bytes, bytes]) -> None:
    """Restore the original LC_CTYPE, which the kernel stores (proc_pid_environ(5)). Without /proc it is not known."""
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read().split(b"\0")
    except OSError:
        return
    del variables[b"LC_CTYPE"]
    for item in given:
        if item.startswith(b"LC_CTYPE="):
            variables[b"LC_CTYPE"] = item.partition(b"=")[2]
