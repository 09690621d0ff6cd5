"""Entry point of the loader: `python -I PACKAGE/config/__main__.py COMMAND REQUEST`, a child of process 1.

COMMAND is plan, check or config. REQUEST is the repr of a dict of plain values (see load.py). The answer goes to
standard output. The loader is started by path in isolated Python, so it adds its own package to sys.path.
"""

from __future__ import annotations

import gc
import os
import sys

# The loader is short-lived and its input is bounded: garbage collection would only cost time. For the same reason
# os._exit() skips the finalization of the interpreter.
gc.disable()

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if _PACKAGE_PARENT not in sys.path:
    sys.path.append(_PACKAGE_PARENT)

from cohabit.config import load  # noqa: E402 - importable only after the change of sys.path
from cohabit.errors import EXIT_SYSTEM  # noqa: E402

# Values that CPython sets LC_CTYPE to, also in the environment, if the locale is C (PEP 538; see reactor/linux.py).
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")


def _was_given(name: bytes) -> bool:
    """Whether this program was started with a variable (proc_pid_environ(5)); True without /proc."""
    try:
        with open("/proc/self/environ", "rb") as file:
            return b"\0" + name + b"=" in b"\0" + file.read()
    except OSError:
        return True


if __name__ == "__main__":
    for hidden in [name for name in os.environ if name.startswith("COHABIT_HIDDEN_")]:  # see reactor/linux.py
        os.environ[hidden.removeprefix("COHABIT_HIDDEN_")] = os.environ.pop(hidden)
    if os.environ.get("LC_CTYPE") in _COERCED and not _was_given(b"LC_CTYPE"):
        del os.environ["LC_CTYPE"]
    try:
        exit_code = load.main(sys.argv[1:])
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # process 1 was re-executed and has started another loader
        exit_code = EXIT_SYSTEM
    os._exit(exit_code)
