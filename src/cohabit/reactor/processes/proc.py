"""Processes as /proc shows them (state, children, limits, cgroup), and signals to exactly one process.

A process may end at any moment: that is a result, not an error. Pids are those of our own PID namespace, so nothing
here is valid unless `is_ours()`. Reading a process takes about 10 µs, and its children as much again. All of /proc is
read only if the kernel has no file of children (CONFIG_PROC_CHILDREN). Sources: proc_pid_stat(5), proc_pid_task(5),
proc_pid_limits(5), cgroups(7), pidfd_send_signal(2).

Without a free descriptor (EMFILE) a process cannot be read, and "no such process" would be a wrong answer. So one
descriptor is kept in reserve.
"""

from __future__ import annotations

import errno
import time

from cohabit.reactor import signals
from cohabit.reactor.linux import DEV_NULL, os

_READ = 65_536

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
UNLIMITED = -1
GONE = "X"  # a state: the process was listed, and has ended or lost its parent before it was read

# What became of a signal (kill(2)): it was sent; there is no such process; it is not permitted to us.
SENT, ENDED, REFUSED = "sent", "ended", "refused"
_RSS_LIMIT = b"Max resident set"

# Indexes of the fields of proc_pid_stat(5) after the name.
_STATE, _PARENT, _GROUP, _SESSION, _THREADS, _START = 0, 1, 2, 3, 17, 19


class Process:
    """One process as it was read. start: clock ticks since the boot; unique together with the pid."""

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
        """False for a zombie. A process whose first thread has ended while others run is not a zombie."""
        return self.state not in "ZX" or self.threads > 1

    @property
    def is_gone(self) -> bool:
        """Whether it was listed as a child, and was not there any more: only its pid is known."""
        return self.state == GONE

    @property
    def can_run(self) -> bool:
        """False if it is stopped, dead, or in a sleep that no signal ends; then it does not fork either."""
        return self.state not in "TtDZX"


def is_ours() -> bool:
    """Whether /proc is mounted and shows our own PID namespace."""
    _reserve.take()
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def read_process(pid: int) -> Process | None:
    """Read one process; None if it does not exist. Its name, in brackets, may contain any character."""
    fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if len(fields) <= _START:
        return None
    parent, session, start = (int(fields[index]) for index in (_PARENT, _SESSION, _START))
    process = Process(pid, parent, session, start=start, state=fields[_STATE].decode())
    process.group, process.threads = int(fields[_GROUP]), int(fields[_THREADS])
    return process


def all_processes() -> list[Process]:
    """Read every process that /proc shows."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    found = (read_process(int(name)) for name in names if name.isdigit())
    return [process for process in found if process is not None]


def shows_children() -> bool:
    """Whether the kernel has the files that `children` reads."""
    return os.access(f"/proc/self/task/{os.getpid()}/children", os.F_OK)


def children(pid: int) -> list[int]:
    """Return the pids of a process's children, of all its threads."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        found += map(int, read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def own_children() -> list[int]:
    """Return the pids of our own children: we have one thread only."""
    return [int(pid) for pid in read(f"/proc/self/task/{os.getpid()}/children").split()]


def hard_rss_limit(pid: int) -> int | None:
    """Return the hard limit of RLIMIT_RSS in bytes; UNLIMITED; None if it cannot be read."""
    line = read(f"/proc/{pid}/limits").partition(_RSS_LIMIT)[2].partition(b"\n")[0]
    values = line.split()  # soft, hard, unit
    if len(values) <= 1:
        return None
    return int(values[1]) if values[1].isdigit() else UNLIMITED


def users(pid: int) -> set[int]:
    """Return the real, effective and saved uid of a process; an empty set if there is no such process."""
    return set(_credentials(pid, b"\nUid:"))


def groups(pid: int) -> tuple[int, ...]:
    """Return the real, effective and saved gid of a process; () if there is no such process."""
    return _credentials(pid, b"\nGid:")


def _credentials(pid: int, field: bytes) -> tuple[int, ...]:
    line = read(f"/proc/{pid}/status").partition(field)[2].partition(b"\n")[0]
    return tuple(map(int, line.split()[:3]))


def name(pid: int) -> str:
    """Return the printable name of a process, at most 15 characters; "" if there is no such process."""
    text = read(f"/proc/{pid}/comm").rstrip(b"\n").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text)


def unescape(field: str) -> str:
    r"""Decode a field of mountinfo (proc_pid_mountinfo(5)), in which space, tab, newline and backslash are \ooo."""
    for character in " \t\n\\":
        field = field.replace(f"\\{ord(character):03o}", character)
    return field


def boot_ticks() -> int:
    """Return the current time in the unit of Process.start."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_SECOND)


def cgroup(pid: int | str, controller: str = "") -> str:
    """Return the path of a process's cgroup as our cgroup namespace sees it; "" if it has none.

    Without a controller, in the hierarchy of version 2; with a controller, in its hierarchy of version 1.
    """
    for line in read(f"/proc/{pid}/cgroup").split(b"\n"):
        _, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        if path and controller.encode() in controllers.split(b","):
            return path.decode("utf-8", "surrogateescape")
    return ""


class _Reserve:
    """A descriptor that is closed when another one is needed and none is free."""

    fd = -1

    def take(self) -> None:
        """Open the descriptor if one is free."""
        if self.fd < 0:
            try:
                self.fd = os.open(DEV_NULL, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return

    def free(self) -> bool:
        """Close it; False if it is not open."""
        if self.fd < 0:
            return False
        os.close(self.fd)
        self.fd = -1
        return True


_reserve = _Reserve()


def reserved() -> set[int]:
    """Return the descriptor in reserve, which no other code may close."""
    return {_reserve.fd} - {-1}


def read(path: str) -> bytes:
    """Return the contents of a file of the kernel; b"" if it cannot be read. Takes half the time of open()."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE) and _reserve.free():
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


def send(pid: int, *numbers: int) -> str:
    """Call kill(2) for each signal as long as they are SENT; returns SENT, ENDED or REFUSED.

    Of several processes (a group, or -1), it is REFUSED only if none may be signalled.
    """
    try:
        for number in numbers:
            os.kill(pid, number)
    except ProcessLookupError:
        return ENDED
    except PermissionError:
        return REFUSED
    return SENT


def send_to(process: Process, *numbers: int) -> str:
    """Signal exactly this process, also if its pid may have been reused; returns SENT, ENDED or REFUSED.

    The pid of a child of ours is not reused before we reap it. Any other pid may be reused at any moment: a pidfd
    refers to one process, and if that has the same start time, it is the process that was read. (Linux 5.3; before
    that, the start time is compared right before the signal.)
    """
    if process.parent == os.getpid():
        return send(process.pid, *numbers)
    try:
        fd = os.pidfd_open(process.pid)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            return ENDED
        return send(process.pid, *numbers) if is_same(process) else ENDED
    try:
        if not is_same(process):
            return ENDED
        for number in numbers:
            signals.send_by_pidfd(fd, number)
    except ProcessLookupError:
        return ENDED
    except PermissionError:
        return REFUSED
    finally:
        os.close(fd)
    return SENT


def is_same(process: Process) -> bool:
    """Whether the pid still belongs to the process that was read."""
    now = read_process(process.pid)
    return now is not None and now.start == process.start


def command_line(pid: int) -> list[bytes]:
    """Return the arguments of a process; [] if there is no such process or they cannot be read."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")[:-1]
    except OSError:
        return []
