"""The start, once the signals are blocked: isolation, the path of our package, and its first import.

__main__.py loads this file by its path, before anything else of ours. So it imports only modules that are part of the
interpreter, which no file that lies around can replace (`__future__` is not: it is a file).
"""

import _signal  # type: ignore[import-not-found]  # a part of CPython that typeshed leaves out
import errno
import gc
import posix
import sys
import time
from _frozen_importlib_external import SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

_MASK = "cohabit-mask"  # -X option (isolation.py): the mask before this program was started again
_EARLY = "cohabit-early"  # -X option (bin/cohabit): signals that came before the interpreter, by name
_RESUME, _STOPPING = "cohabit-resume", "cohabit-stopping"  # -X options of a re-execution: reactor/reexecution.py
# A module that cannot be found may be a directory that could not be read; after so many attempts it is not there.
_ATTEMPTS, _ATTEMPTS_STOPPING, _PAUSE_SECONDS = 60, 6, 0.5
_SHORTAGE = (errno.EIO, errno.ENOMEM, errno.ENFILE, errno.EMFILE)
_STOPS = {_signal.SIGTERM, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGPWR, _signal.SIGRTMIN + 3}


class _Future:
    """For `from __future__ import annotations`, which the compiler has obeyed: the module is one file more to read."""

    annotations = None


def start(program_file: str, mask: "Iterable[int]") -> "NoReturn":
    """Run the command line, isolated. mask: the signals that were blocked when we were started; all are by now.

    Process 1 runs isolated: -I and -S keep out user paths, PYTHON… variables, site-packages and their .pth hooks.
    Started without them, or misled by a variable that CPython reads in spite of -I, the program starts itself again.
    """
    if _MASK in sys._xoptions:
        mask = {int(number) for number in str(sys._xoptions[_MASK]).split(",") if number.isdecimal()}
    isolated = sys.flags.isolated and sys.flags.no_site and b"PYTHONEXECUTABLE" not in posix.environ
    if not (isolated and sys.executable.endswith(sys.orig_argv[0].lstrip("./"))):
        directory = program_file.rpartition("/")[0] or "."
        isolation: dict[str, Callable[..., None]] = {}
        exec(SourceFileLoader("isolation", f"{directory}/isolation.py").get_code("isolation") or "", isolation)  # noqa: S102
        isolation["start_again"](program_file, mask)
    for name in str(sys._xoptions.pop(_EARLY, "")).split(","):  # taken out, so that no re-execution repeats them
        if name:
            posix.kill(posix.getpid(), getattr(_signal, f"SIG{name}"))
    gc.disable()  # nothing of a start is garbage; the loop, which lives long, enables it
    sys.modules["__future__"] = _Future  # type: ignore[assignment]
    # The directory that holds the package, without os.path, which process 1 does without (reactor/linux.py).
    # As an absolute path: `init` leaves its directory, and loads modules afterwards.
    parts = program_file.rsplit("/", 2)
    directory = (parts[0] or "/", ".", "..")[3 - len(parts)]
    sys.path.append(directory if directory.startswith("/") else f"{posix.getcwd()}/{directory}")
    _import_program()(mask)


def _import_program() -> "Callable[[Iterable[int]], NoReturn]":
    """cli.main's main. A re-execution, which cannot be undone, waits until there is room to read our own modules."""
    attempts = asked = 0
    while True:
        try:
            from cohabit.cli.main import main, resumes  # noqa: PLC0415 - what this function is for

            if resumes():
                import cohabit.cli.supervise  # noqa: F401, PLC0415 - to have it, with all that it needs
        except (ImportError, MemoryError, OSError) as error:
            attempts += 1
            if _RESUME not in sys._xoptions:
                if isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno not in _SHORTAGE):
                    raise
                _end("cannot start", error)
            if isinstance(error, ImportError) and attempts > _ATTEMPTS:
                raise
            if _STOPPING in sys._xoptions or _signal.sigpending() & _STOPS:
                asked += 1  # to stop, which needs those modules, too: a few attempts more, and then without them
                if asked > _ATTEMPTS_STOPPING:
                    _end("stopped at once", error)
            sys.path_importer_cache.clear()  # it remembers directories that could not be read as missing ones
            time.sleep(_PAUSE_SECONDS)
        else:
            return main


def _end(what: str, error: Exception) -> "NoReturn":
    posix.write(2, f"cohabit: {what}: {error} (no room to read our own modules)\n".encode())
    posix._exit(71)
