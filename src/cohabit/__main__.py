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

_MASK = "cohabit-mask"  # -X option: the mask before this program was started again
if _MASK in sys._xoptions:
    given_mask = {int(number) for number in str(sys._xoptions[_MASK]).split(",") if number.isdecimal()}

# As reactor/linux.py has them, which cannot be imported yet.
_HIDDEN = {name: b"COHABIT_HIDDEN_" + name for name in (b"PYTHONEXECUTABLE", b"__PYVENV_LAUNCHER__")}


def _given() -> dict[bytes, bytes]:
    """The environment as the kernel remembers it.

    Where the locale is C, CPython has put an LC_CTYPE into ours (PEP 538); __PYVENV_LAUNCHER__ it has taken away.
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            return dict(item.partition(b"=")[::2] for item in file.read().split(b"\0") if item)
    except OSError:
        return dict(posix.environ)  # posix has it as bytes


def _interpreter(path: bytes) -> str:
    """The interpreter as it was started. Its own path for itself is another one, by a variable of _HIDDEN."""
    name = sys.orig_argv[0]
    if "/" in name:
        return name
    us = posix.stat("/proc/self/exe")
    for directory in path.decode("utf-8", "surrogateescape").split(":"):
        found = f"{directory or '.'}/{name}"
        try:
            status = posix.stat(found)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == (us.st_dev, us.st_ino):
            return found
    return "/proc/self/exe"


def _start_again() -> None:
    """Start this file again, isolated and without variables that mislead CPython, unless it is already so."""
    isolated = sys.flags.isolated and sys.flags.no_site
    misled = b"PYTHONEXECUTABLE" in posix.environ or not sys.executable.endswith(sys.orig_argv[0].lstrip("./"))
    if isolated and not misled:
        return
    variables = _given()
    hidden = {_HIDDEN[name]: variables.pop(name) for name in _HIDDEN if name in variables}
    if isolated and not hidden:
        return
    program = _interpreter(variables.get(b"PATH", b"")) if hidden else sys.executable
    options = [f"-X{name}={value}" for name, value in sys._xoptions.items() if name != _MASK]
    options.append(f"-X{_MASK}={','.join(str(int(number)) for number in given_mask or ())}")
    posix.execve(program, [program, "-I", "-S", *options, __file__, *sys.argv[1:]], {**variables, **hidden})


_start_again()

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
