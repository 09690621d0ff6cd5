"""What /proc shows of processes (one of them, its children, its limits, its cgroup), and how to signal just that one.

A process may be gone at any moment, which is an answer and no error. Numbers are those of our own
PID namespace, so nothing here means anything unless `is_ours()`. A process costs some 10 µs to look at, and its
children as much again; all of /proc is walked only where the kernel has no file of children
(CONFIG_PROC_CHILDREN). Sources: proc_pid_stat(5), proc_pid_task(5), proc_pid_limits(5), cgroups(7),
pidfd_send_signal(2).

A reading fails for want of a descriptor (EMFILE) just when much goes on, and "no such process" would be a wrong answer
then: one descriptor is kept in reserve for it.
"""

from __future__ import annotations

import time

from cohabit.reactor import signals
from cohabit.reactor.linux import DEV_NULL, os

_READ = 65_536

_EMFILE, _ENFILE, _ENOSYS, _EPERM, _ENOMEM = 24, 23, 38, 1, 12
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
UNLIMITED = -1
_RSS_LIMIT = b"Max resident set"

# Places of proc_pid_stat(5) after the name: state, parent, group, session, number of threads, start time.
_STATE, _PARENT, _GROUP, _SESSION, _THREADS, _START = 0, 1, 2, 3, 17, 19


class Process:
    """One process as it was when looked at. start: clock ticks since the boot; with the pid it is unique."""

    __slots__ = ("group", "parent", "pid", "session", "start", "state", "threads")

    def __init__(self, pid: int, parent: int, session: int, *, start: int = 0, state: str = "S") -> None:
        self.pid = pid
        self.parent = parent
        self.session = session
        self.group = session
        self.start = start
        self.state = state  # of its first thread
        self.threads = 1

    @property
    def lives(self) -> bool:
        """False for a zombie, a number that somebody has still to collect; the first thread may end alone."""
        return self.state not in "ZX" or self.threads > 1

    @property
    def can_run(self) -> bool:
        """False if it is stopped, dead, or in a sleep that no signal ends; then it does not fork either."""
        return self.state not in "TtDZX"


def is_ours() -> bool:
    """Whether /proc is there and shows our own PID namespace."""
    _reserve.take()
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def look(pid: int) -> Process | None:
    """A process, None when there is none. The name in brackets may hold anything, brackets too."""
    words = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if len(words) <= _START:
        return None
    parent, session, start = (int(words[place]) for place in (_PARENT, _SESSION, _START))
    process = Process(pid, parent, session, start=start, state=words[_STATE].decode())
    process.group, process.threads = int(words[_GROUP]), int(words[_THREADS])
    return process


def everybody() -> list[Process]:
    """Every process that /proc shows."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    found = (look(int(name)) for name in names if name.isdigit())
    return [process for process in found if process is not None]


def shows_children() -> bool:
    """Whether the kernel was built with the files that `children` reads."""
    return os.access(f"/proc/self/task/{os.getpid()}/children", os.F_OK)


def children(pid: int) -> list[int]:
    """The children of a process, those of all its threads together."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        found += map(int, read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def own_children() -> list[int]:
    """Our own: we have one thread only."""
    return [int(word) for word in read(f"/proc/self/task/{os.getpid()}/children").split()]


def hard_rss_limit(pid: int) -> int | None:
    """The hard limit of RLIMIT_RSS, in bytes; UNLIMITED; None if it cannot be read, or there is no such process."""
    line = read(f"/proc/{pid}/limits").partition(_RSS_LIMIT)[2].partition(b"\n")[0]
    words = line.split()
    if len(words) <= 1:
        return None
    return int(words[1]) if words[1].isdigit() else UNLIMITED


def users(pid: int) -> set[int]:
    """The real, effective and saved user of a process; none when there is no such process."""
    return set(_credentials(pid, b"\nUid:"))


def groups(pid: int) -> tuple[int, ...]:
    """The real, effective and saved group of a process; none when there is no such process."""
    return _credentials(pid, b"\nGid:")


def _credentials(pid: int, field: bytes) -> tuple[int, ...]:
    line = read(f"/proc/{pid}/status").partition(field)[2].partition(b"\n")[0]
    return tuple(map(int, line.split()[:3]))


def name(pid: int) -> str:
    """The name of a process, at most 15 characters, to be printed; "" when there is none."""
    text = read(f"/proc/{pid}/comm").rstrip(b"\n").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text)


def boot_ticks() -> int:
    """Now, in the unit of Process.start."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_SECOND)


def cgroup(pid: int | str, controller: str = "") -> str:
    """The path of a process's cgroup as our cgroup namespace sees it, "" if none.

    In the hierarchy of version 2; or, with a controller, in the one of version 1 that this controller is in.
    """
    for line in read(f"/proc/{pid}/cgroup").split(b"\n"):
        _, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        if path and controller.encode() in controllers.split(b","):
            return path.decode("utf-8", "surrogateescape")
    return ""


class _Reserve:
    """A descriptor that is closed where another one is needed and none is to be had."""

    fd = -1

    def take(self) -> None:
        """Have it, if it is to be had."""
        if self.fd < 0:
            try:
                self.fd = os.open(DEV_NULL, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return

    def free(self) -> bool:
        """Give it up; False if we do not have it."""
        if self.fd < 0:
            return False
        os.close(self.fd)
        self.fd = -1
        return True


_reserve = _Reserve()


def reserved() -> set[int]:
    """The descriptor in reserve: nobody else may close it."""
    return {_reserve.fd} - {-1}


def read(path: str) -> bytes:
    """All of a file of the kernel's, b"" when it cannot be read. Half as dear as open()."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (_EMFILE, _ENFILE) and _reserve.free():
            try:
                return read(path)
            finally:
                _reserve.take()
        return b""
    data = b""
    try:
        while piece := os.read(fd, _READ):
            data += piece
    except OSError:
        pass  # it ended meanwhile
    finally:
        os.close(fd)
    return data


def send(pid: int, number: int) -> bool:
    """kill(2), where "there is none" and "not yours" are answers, not errors."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def send_to(process: Process, *numbers: int) -> bool:
    """Signal just this process, whoever may have its number by now; False if it is gone or not ours to signal.

    The number of our own child is not given again before we reap it. That of any other can be, at any moment:
    a pidfd holds on to the process, and if its start is the same then, it is the one that was looked at. (Linux 5.3;
    elsewhere the look comes right before the signal.)
    """
    if process.parent == os.getpid():
        return all(send(process.pid, number) for number in numbers)
    try:
        fd = os.pidfd_open(process.pid)
    except OSError as error:
        if error.errno not in (_ENOSYS, _EPERM, _EMFILE, _ENFILE, _ENOMEM):
            return False
        return is_same(process) and all(send(process.pid, number) for number in numbers)
    try:
        if not is_same(process):
            return False
        for number in numbers:
            signals.send_by_pidfd(fd, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(fd)
    return True


def is_same(process: Process) -> bool:
    """Whether its number is still that of the process that was looked at."""
    now = look(process.pid)
    return now is not None and now.start == process.start


def command_line(pid: int) -> list[bytes]:
    """The words of its command line; [] when there is no such process or it may not be read."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")[:-1]
    except OSError:
        return []
