"""Where every start begins: `cohabit …` (bin/cohabit), `python -I -m cohabit …`, and each re-execution.

Process 1 runs isolated: -I and -S keep out user paths, PYTHON… variables, site-packages and their .pth
hooks. Started without them, this file starts itself again with them, in place. Until then it touches only
modules that are part of the interpreter, which no file that lies around can replace. (A `cohabit.py` in the working
directory of `python -m cohabit` can: CPython finds it before this file. So -I is part of every recommended line.)

Before anything else all signals are blocked: none is lost from here on, and INT, for which CPython has a handler of its
own, is no KeyboardInterrupt in the middle of an import. What that handler has noted before is sent once more.
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

import gc  # noqa: E402 - the signals had to be blocked before
import posix  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

if interrupted:
    posix.kill(posix.getpid(), _signal.SIGINT)

_MASK = "cohabit-mask"  # -X option (isolation.py): the mask before this program was started again
if _MASK in sys._xoptions:
    given_mask = {int(number) for number in str(sys._xoptions[_MASK]).split(",") if number.isdecimal()}

# Not isolated yet, or misled by a variable that CPython reads in spite of -I: a file of ours knows what to do, loaded
# by its path, since any search could find another one. It is not part of this one, which is compiled at each start.
_ISOLATED = sys.flags.isolated and sys.flags.no_site and b"PYTHONEXECUTABLE" not in posix.environ
if not (_ISOLATED and sys.executable.endswith(sys.orig_argv[0].lstrip("./"))):
    import _frozen_importlib_external

    _path = f"{__file__.rpartition('/')[0] or '.'}/isolation.py"
    _loader = _frozen_importlib_external.SourceFileLoader("isolation", _path)
    _isolation: dict[str, object] = {}
    exec(_loader.get_code("isolation") or "", _isolation)  # noqa: S102
    _isolation["start_again"](__file__, given_mask)  # type: ignore[operator]

gc.disable()  # nothing of a start is garbage; the loop, which lives long, enables it


class _Future:
    """For `from __future__ import annotations`, which the compiler has obeyed: the module is one file more to read."""

    annotations = None


sys.modules["__future__"] = _Future  # type: ignore[assignment]

# The folder that holds the package, without os.path, which process 1 does without (reactor/linux.py).
_PARTS = __file__.rsplit("/", 2)
sys.path.append((_PARTS[0] or "/", ".", "..")[3 - len(_PARTS)])

# A re-execution cannot be undone: where there is no room to read our own modules, it waits until there is. A module
# that cannot be found may be a folder that could not be read; after so many attempts it is not there.
_ATTEMPTS, _ATTEMPTS_STOPPING, _PAUSE_SECONDS = 60, 6, 0.5
_SHORTAGE = (5, 12, 23, 24)  # EIO, ENOMEM, ENFILE, EMFILE
_STOPS = {_signal.SIGTERM, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGPWR, _signal.SIGRTMIN + 3}
_attempts = _asked = 0
while True:
    try:
        from cohabit.cli.main import main, resumes

        if resumes():
            import cohabit.cli.up  # noqa: F401 - to have it, with all that it needs
        break
    except (ImportError, MemoryError, OSError) as _error:
        _attempts += 1
        if "cohabit-resume" not in sys._xoptions:
            if isinstance(_error, ImportError) or (isinstance(_error, OSError) and _error.errno not in _SHORTAGE):
                raise
            posix.write(2, f"cohabit: cannot start: {_error} (no room to read our own modules)\n".encode())
            posix._exit(71)
        if isinstance(_error, ImportError) and _attempts > _ATTEMPTS:
            raise
        if "cohabit-stopping" in sys._xoptions or _signal.sigpending() & _STOPS:
            _asked += 1  # to stop, which needs those modules, too: a few attempts more, and then without them
            if _asked > _ATTEMPTS_STOPPING:
                posix.write(2, f"cohabit: stopped at once: {_error} (no room to read our own modules)\n".encode())
                posix._exit(71)
        sys.path_importer_cache.clear()  # it remembers folders that could not be read as folders that are not there
        time.sleep(_PAUSE_SECONDS)

main(given_mask)
