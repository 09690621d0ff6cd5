"""Start this program again, isolated, where it was started in another way.

bootstrap.py runs this before it imports anything of ours, so it touches only modules that are part of the interpreter
(__future__ is not: it is a file, which could lie in the working directory as well).
"""

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MASK = "cohabit-mask"
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


def start_again(program_file: str, mask: "Iterable[int]") -> None:
    """Start that file again, isolated and without variables that mislead CPython, unless it is already so.

    mask: the signals that were blocked when we were started; all are blocked by now.
    """
    isolated = sys.flags.isolated and sys.flags.no_site
    variables = _given()
    hidden = {_HIDDEN[name]: variables.pop(name) for name in _HIDDEN if name in variables}
    if isolated and not hidden:
        return
    program = _interpreter(variables.get(b"PATH", b"")) if hidden else sys.executable
    options = [f"-X{name}={value}" for name, value in sys._xoptions.items() if name != _MASK]
    options.append(f"-X{_MASK}={','.join(str(int(number)) for number in mask)}")
    posix.execve(program, [program, "-I", "-S", *options, program_file, *sys.argv[1:]], {**variables, **hidden})
