"""Where every start begins: `cohabit …` (bin/cohabit), `python -I -m cohabit …`, and each re-execution.

The interpreter compiles this file at each start, so it does only what has to come first. All signals are blocked: none
is lost from here on, and INT, for which CPython has a handler of its own, does not raise KeyboardInterrupt in the
middle of an import. What that handler has noted before is sent once more. The rest of the start is bootstrap.py,
loaded by its path: until -I and -S are known to be in effect, a search could find another file.

(`python -m cohabit` without -I is not safe: CPython finds a `cohabit.py` in the working directory before this file.)
"""

import _signal  # type: ignore[import-not-found]  # a part of CPython that typeshed leaves out

given_mask = None
interrupted = False
while True:
    try:
        if given_mask is None:
            given_mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
        _signal.pthread_sigmask(_signal.SIG_SETMASK, _signal.valid_signals())
        break
    except KeyboardInterrupt:
        interrupted = True

import posix  # noqa: E402 - the signals had to be blocked before
import sys  # noqa: E402
import time  # noqa: E402
from _frozen_importlib_external import SourceFileLoader  # noqa: E402

if interrupted:
    posix.kill(posix.getpid(), _signal.SIGINT)

_path = f"{__file__.rpartition('/')[0] or '.'}/bootstrap.py"
_bootstrap: dict[str, object] = {}
_attempts = 60 if "cohabit-resume" in sys._xoptions else 0  # an exec cannot be undone: wait for room to read a file
while not _bootstrap:
    try:
        exec(SourceFileLoader("bootstrap", _path).get_code("bootstrap") or "", _bootstrap)  # noqa: S102
    except (OSError, MemoryError) as _error:
        _bootstrap.clear()
        _attempts -= 1
        if _attempts < 0:
            posix.write(2, f"cohabit: cannot start: {_error} (is there no memory, or is a file missing?)\n".encode())
            posix._exit(71)
        time.sleep(0.5)
_bootstrap["start"](__file__, given_mask)  # type: ignore[operator]
