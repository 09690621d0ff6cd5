"""Where every start begins: `cohabit …` (bin/cohabit), `python -m cohabit …`, and each re-execution.

Process 1 runs isolated: -I and -S keep out user paths, PYTHON… variables, site-packages and their .pth
hooks. Started without them, this file starts itself again with them, in place. Until then it touches only
modules that are part of the interpreter, which no file that lies around can replace.
"""

import gc
import posix
import sys

if not (sys.flags.isolated and sys.flags.no_site):
    _options = [f"-X{name}={value}" for name, value in sys._xoptions.items()]
    _command = [sys.executable, "-I", "-S", *_options, __file__, *sys.argv[1:]]
    try:
        # As the kernel remembers it: where the locale is C, CPython has put an LC_CTYPE into ours (PEP 538).
        with open("/proc/self/environ", "rb") as _file:
            _given = dict(item.partition(b"=")[::2] for item in _file.read().split(b"\0") if item)
    except OSError:
        _given = posix.environ
    posix.execve(sys.executable, _command, _given)

gc.disable()  # nothing of a start is garbage; the loop, which lives long, enables it


class _Future:
    """For `from __future__ import annotations`, which the compiler has obeyed: the module is one file more to read."""

    annotations = None


sys.modules["__future__"] = _Future  # type: ignore[assignment]

# The folder that holds the package, without os.path, which process 1 does without (reactor/linux.py).
_PARTS = __file__.rsplit("/", 2)
sys.path.append((_PARTS[0] or "/", ".", "..")[3 - len(_PARTS)])

from cohabit.cli.main import main  # noqa: E402 - the path to it had to be made first

main()
