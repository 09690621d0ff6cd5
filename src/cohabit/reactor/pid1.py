"""The role of process 1, or of a subreaper in its place.

The kernel treats process 1 of a PID namespace differently (pid_namespaces(7)): orphans become its children, a signal
whose action would be the default is dropped unless it has a handler, and when it ends, every process in the namespace
ends. Many platforms use process 1 themselves (docker --init, Fly, ECS, a shared process namespace). There,
PR_SET_CHILD_SUBREAPER (prctl(2)) makes us the parent of our descendants' orphans.

Python has no prctl. ctypes has, for 3 ms and half a megabyte; its C half `_ctypes` makes this one call in 0.3 ms. It
may be missing from a stripped-down Python: then a warning says what does not work.
"""

from __future__ import annotations

import sys

from cohabit.reactor.linux import DEV_NULL, environment_bytes, os

try:
    import _ctypes
except ImportError:  # a Python without ctypes
    _ctypes = None  # type: ignore[assignment]

_STDERR = 2
_DESCRIPTORS_WITHOUT_PROC = 1024  # those that are looked at
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_BY_SHELLS = (b"PWD", b"OLDPWD", b"SHLVL", b"PATH", b"_")
LOST = (
    "some environment variables are missing: /bin/sh, which starts this program, drops names that are not valid in a "
    'shell, for example discovery.type (write ENTRYPOINT ["python3", "-I", "-m", "cohabit", …], which uses no shell)'
)

CANNOT_REAP = (
    "cannot adopt orphans: this is not process 1, and the kernel or this Python has no subreaper, "
    "so zombies may remain (make it process 1: exec it from the wrapper script, drop `docker run --init`, "
    "or do not share the process namespace)"
)


def is_process_1() -> bool:
    """Whether we are process 1 of our PID namespace."""
    return os.getpid() == 1


def is_taken() -> bool:
    """Whether process 1 is another cohabit that runs services. False without /proc, where that is not known."""
    if is_process_1():
        return False
    try:
        with open("/proc/1/cmdline", "rb") as file:
            argv = file.read().split(b"\0")
    except OSError:
        return False
    at = 1  # the interpreter's options, then the program and its command
    while argv[at : at + 1] and argv[at].startswith(b"-"):
        at += 2 if argv[at] == b"-X" else 1
    program, command = (*argv[at : at + 2], b"", b"")[:2]
    return program.endswith(b"cohabit/__main__.py") and command in (b"up", b"run")


def _prctl(option: int, value: int) -> bool:
    if _ctypes is None:
        return False
    address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]  # None: what is loaded already
    return bool(_ctypes.call_function(address, (option, value, 0, 0, 0)) == 0)


def become_subreaper() -> bool:
    """Adopt the orphans of all our descendants; False if the kernel or this Python does not support it."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(number: int) -> bool:
    """Set the signal that we get when our parent ends; False if the kernel or this Python does not support it."""
    return _prctl(_PR_SET_PDEATHSIG, number)


def name_ourselves() -> None:
    """Set our name (proc_pid_comm(5)), so that `pkill python3` in a service does not stop the container."""
    try:
        fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # no /proc
    try:
        os.write(fd, b"cohabit")
    except OSError:
        pass
    finally:
        os.close(fd)


def keep_inherited_descriptors() -> None:
    """Keep the descriptors beyond 2 that we were given from our children. Only `sockets` are passed to services."""
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        numbers = list(range(_DESCRIPTORS_WITHOUT_PROC))
    for fd in numbers:
        try:
            if fd > _STDERR:
                os.set_inheritable(fd, False)
        except OSError:
            continue  # the one with which the directory was read, or one that is not open


def open_missing_stdio() -> None:
    """Open /dev/null as 0, 1 or 2 if they are closed, so that no descriptor of ours gets these numbers."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(DEV_NULL, os.O_RDWR)  # the lowest free number, which is fd
            os.set_inheritable(fd, True)


def option(name: str) -> str:
    """Return the value of `-X name=value` on the interpreter's command line, or ""."""
    return str(sys._xoptions.get(name, ""))


def environment_lost() -> str:
    """Return a warning if the shell in bin/cohabit has dropped variables; "" if it has not, or if that is not known.

    dash and busybox drop variables whose names are not valid in a shell. They also set some of their own, which may or
    may not have been in the original environment. If the originals had other values (PWD, after a change of directory
    that no shell made), the sizes prove nothing. No container runtime does that, so only process 1 compares them.
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
