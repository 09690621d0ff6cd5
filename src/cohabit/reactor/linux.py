"""System calls, under the name of `os`: the C module `posix`, without what os wraps around it.

os is posix and 1,100 lines of Python for other systems and for environments as mappings (_collections_abc,
posixpath): 1 ms of the 8 in which the interpreter starts, for an init that has 5 for everything. This house
stands on Linux only. Type checkers see os. Every module that becomes process 1 imports it from here.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os as os  # noqa: PLC0414 - exported under its own name
else:
    import posix as os

DEV_NULL = "/dev/null"

# Where the directory with our sockets may be (rundir.py makes it); here, so that clients need not load that module.
RUNTIME_DIR = "COHABIT_RUNTIME_DIR"  # of the environment: the only place, if it is set
RUNTIME_BASES = ("/run/cohabit", "/var/run/cohabit")  # one directory for all of us, each with a random one inside
SHARED_BASES = ("/tmp", "/dev/shm")  # noqa: S108 - a random name in it, made by mkdir, is nobody else's

# The folder of this package; relative when it was started so, which is fine, since process 1 never moves.
PACKAGE = __file__.rpartition("/reactor/")[0]

# CPython reads these in spite of -I, takes their values for its own path, and removes the second one from its
# environment (Modules/getpath.py). So a Python of ours gets them with this in front of their names (bin/cohabit and
# __main__.py do that first of all); services get them as they are.
_MISLEADING = ("PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")
_HIDDEN = "COHABIT_HIDDEN_"

# What CPython puts into LC_CTYPE where the locale is C (PEP 538); it sets it in the environment itself.
_COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")


def environment() -> dict[str, str]:
    """The environment as it was given to us; bytes that are no text survive the way back (PEP 383)."""
    encoding = sys.getfilesystemencoding()
    return {
        name.decode(encoding, "surrogateescape"): value.decode(encoding, "surrogateescape")
        for name, value in environment_bytes().items()
    }


def python_environment(variables: dict[str, str] | None = None) -> dict[str, str]:
    """These variables, else ours, for a Python of ours: it finds itself, and its children get them as they were."""
    given = environment() if variables is None else variables
    return {_HIDDEN + name if name in _MISLEADING else name: value for name, value in given.items()}


def environment_bytes() -> dict[bytes, bytes]:
    """The environment as it was given to us, undecoded."""
    variables = dict(_posix_environment())
    for name in _MISLEADING:
        hidden = (_HIDDEN + name).encode()
        if hidden in variables:
            variables[name.encode()] = variables.pop(hidden)
    if variables.get(b"LC_CTYPE") in _COERCED:
        _undo_coercion(variables)
    return variables


def _posix_environment() -> dict[bytes, bytes]:
    return os.environ  # type: ignore[return-value]  # posix has it as bytes


def _undo_coercion(variables: dict[bytes, bytes]) -> None:
    """Take LC_CTYPE back to what it was: the kernel remembers (proc_pid_environ(5)); without /proc nobody can tell."""
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read().split(b"\0")
    except OSError:
        return
    del variables[b"LC_CTYPE"]
    for item in given:
        if item.startswith(b"LC_CTYPE="):
            variables[b"LC_CTYPE"] = item.partition(b"=")[2]
