"""Being process 1, or standing in for it.

The kernel treats process 1 of a PID namespace apart (pid_namespaces(7)): orphans become its children, a
signal whose action would be the default is dropped unless it has a handler, and its end is the end of every
process in the namespace. Many platforms keep process 1 for themselves (docker --init, Fly, ECS, a shared
process namespace); there PR_SET_CHILD_SUBREAPER (prctl(2)) makes us the parent of our descendants' orphans.

Python has no prctl. ctypes has, for 3 ms and half a megabyte; its C half `_ctypes` alone does this one call
in 0.3 ms. It may be missing from a stripped-down Python: then we say what will not work.
"""

from __future__ import annotations

import sys

from cohabit.reactor.linux import DEV_NULL, PACKAGE, environment_bytes, os, python_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

try:
    import _ctypes
except ImportError:  # a Python without ctypes
    _ctypes = None  # type: ignore[assignment]

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_BY_SHELLS = (b"PWD", b"OLDPWD", b"SHLVL", b"PATH", b"_")
LOST = (
    "some environment variables did not reach us: /bin/sh, which starts this program, hands on only names that it can "
    'read, so not discovery.type (write ENTRYPOINT ["python3", "-I", "-m", "cohabit", …]: there no shell is in between)'
)

CANNOT_REAP = (
    "cannot adopt orphans: this is not process 1 and the kernel or this Python offers no subreaper, "
    "so zombies may stay (make it process 1: exec it from the wrapper script, drop `docker run --init`, "
    "or do not share the process namespace)"
)


def is_process_1() -> bool:
    """Whether we are process 1 of our PID namespace."""
    return os.getpid() == 1


def is_taken() -> bool:
    """Whether process 1 is another cohabit that runs services. Without /proc nobody can tell: then it is not."""
    if is_process_1():
        return False
    try:
        with open("/proc/1/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    at = 1  # behind the interpreter come its options, then the program and the verb
    while words[at : at + 1] and words[at].startswith(b"-"):
        at += 2 if words[at] == b"-X" else 1
    program, verb = (*words[at : at + 2], b"", b"")[:2]
    return program.endswith(b"cohabit/__main__.py") and verb in (b"up", b"run")


def _prctl(option: int, value: int) -> bool:
    if _ctypes is None:
        return False
    address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]  # None: what is loaded already
    return bool(_ctypes.call_function(address, (option, value, 0, 0, 0)) == 0)


def become_subreaper() -> bool:
    """Adopt the orphans of all our descendants; False if that is not to be had."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(number: int) -> bool:
    """Ask to be sent this signal when our parent ends; False if that is not to be had."""
    return _prctl(_PR_SET_PDEATHSIG, number)


def open_missing_stdio() -> None:
    """Give 0, 1 and 2 to /dev/null where they are closed, so that no descriptor of ours lands there."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(DEV_NULL, os.O_RDWR)  # the lowest free number, which is fd
            os.set_inheritable(fd, True)


def option(name: str) -> str:
    """The value of `-X name=value` on the interpreter's command line, or ""."""
    return str(sys._xoptions.get(name, ""))


def environment_lost() -> str:
    """What the shell in front of us (bin/cohabit) did not hand on, as a warning; "" if nothing, or if nobody can tell.

    dash and busybox drop variables whose names a shell cannot read, and set some of their own, which may or may not
    have been given. Where those were given with other values (PWD, after a change of directory that no shell
    made) the sizes tell nothing; no container runtime does that, so only process 1 looks.
    """
    given = int(option("cohabit-environ") or 0)
    if not given or not is_process_1():
        return ""
    sizes = {name: len(name) + len(value) + len("=\0") for name, value in environment_bytes().items()}
    perhaps = {0}
    for name in _BY_SHELLS:
        perhaps |= {sizes.get(name, 0) + other for other in perhaps}
        sizes[name] = 0
    return "" if given - sum(sizes.values()) in perhaps else LOST


def start_again(extra: list[str]) -> NoReturn:
    """Replace this program by itself, isolated, with more -X options. Raises OSError when that fails."""
    options = ["-I", "-S"]
    for name, value in sys._xoptions.items():
        if name.startswith("cohabit-") and name not in ("cohabit-resume", "cohabit-stopping", "cohabit-mask"):
            options += ["-X", f"{name}={value}"]
    for word in extra:
        options += ["-X", word]
    command = [sys.executable, *options, f"{PACKAGE}/__main__.py", *sys.argv[1:]]
    os.execve(sys.executable, command, python_environment())
