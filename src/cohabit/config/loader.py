"""The loader as a process: its environment, its libraries, and its end.

`cohabit check` and `config` become the loader; for a start or a reload it is a child of process 1 (__main__.py).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit.config import load
from cohabit.errors import EXIT_SYSTEM
from cohabit.program import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

# Values that CPython sets LC_CTYPE to, also in the environment, if the locale is C (PEP 538; see reactor/linux.py).
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
_LIBRARIES = ("yaml", "cronsim")


def run(
    command: str,
    request: Mapping[str, Any],
    scale: Mapping[str, int | None] | None = None,
    requested: Sequence[str] = (),
) -> NoReturn:
    """Answer one request (load.py) and end the process, without the interpreter's finalization."""
    _find_libraries()
    _restore_environment()
    try:
        exit_code = load.main(command, request, scale, requested)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # the reader has gone; or process 1 was re-executed and has started another loader
        exit_code = EXIT_SYSTEM
    os._exit(exit_code)


def _find_libraries() -> None:
    """Have the libraries found that are not beside our package: an editable installation, or the system's.

    The module site takes as long as a third of the interpreter's start, so the loader is started without it (-S).
    """
    beside = os.path.dirname(os.path.abspath(PACKAGE))
    if not all(os.path.isdir(f"{beside}/{name}") for name in _LIBRARIES):
        sys.modules.pop("__future__", None)  # the substitute of bootstrap.py, which is for our own modules
        import_module("site").main()


def _restore_environment() -> None:
    """Undo in os.environ what our start and CPython's have changed in the environment."""
    for hidden in [name for name in os.environ if name.startswith("COHABIT_HIDDEN_")]:  # see reactor/linux.py
        os.environ[hidden.removeprefix("COHABIT_HIDDEN_")] = os.environ.pop(hidden)
    if os.environ.get("LC_CTYPE") in _COERCED and not _was_given(b"LC_CTYPE"):
        del os.environ["LC_CTYPE"]


def _was_given(name: bytes) -> bool:
    """Whether this program was started with a variable (proc_pid_environ(5)); True without /proc."""
    try:
        with open("/proc/self/environ", "rb") as file:
            return b"\0" + name + b"=" in b"\0" + file.read()
    except OSError:
        return True
