"""What /proc shows of processes: one of them, its children, everybody, its environment, its cgroup.

Only reads, and everybody may be gone at any moment, which is an answer and no error. Numbers are those of our own
PID namespace, so nothing here means anything unless `is_ours()`. A process costs some 10 µs to look at, and its
children as much again; all of /proc is walked only where the kernel has no file of children
(CONFIG_PROC_CHILDREN). Sources: proc_pid_stat(5), proc_pid_task(5), proc_pid_environ(5), cgroups(7).
"""

from __future__ import annotations

from cohabit.reactor.linux import os

_READ = 65_536

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


def environment(pid: int) -> list[bytes] | None:
    """The environment of a process as NAME=VALUE; None if it may not be seen, is empty, or is a title.

    Who shows what it does in `ps` (nginx, sshd, PostgreSQL: setproctitle) writes it over its arguments and environment.
    """
    items = read(f"/proc/{pid}/environ").split(b"\0")
    return items if b"=" in items[0] else None


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


def read(path: str) -> bytes:
    """All of a file of the kernel's, b"" when it cannot be read. Half as dear as open()."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
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


def command_line(pid: int) -> list[bytes]:
    """The words of its command line; [] when there is no such process or it may not be read."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")[:-1]
    except OSError:
        return []
