"""A simulated Linux with processes as process 1 sees them. It has few pids, so that they are reused soon.

It has fork, setsid, setuid, hard limits, cgroups, signals, zombies and reparenting to the subreaper. The owner of each
process is known: a child has the owner of its parent. `installed` replaces the system calls and /proc under the real
reactor/processes. Other processes may run between any two of these calls. Nothing here knows what process 1 concludes.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes import children, daemon_search, killing, pid_file, proc, spawn, tracking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random
    from typing import Any

KILL, STOP, CONT, TERM = 9, 19, 18, 15
UNLIMITED = proc.UNLIMITED
OUTSIDE = "docker exec"  # the owner of processes that were started from outside
_TICKS_PER_SECOND = 100
_DESCRIPTOR = 1_000_000  # larger than any real descriptor
_ECHILD, _ESRCH = 10, 3


class Task:
    """One process.

    owner: the key of the tree that it belongs to. run: the instance of that tree. untracked: it gave up the evidence of
    its owner, so that no guarantee holds for it. claims: trees that it or an ancestor pretended to belong to.
    environment: the tree that its environment names. was_root: it was root before it became another user.
    """

    __slots__ = (
        "cgroup", "claims", "environment", "frozen", "group", "ignores_term", "limit", "owner", "parent", "pending",
        "pid", "run", "session", "start", "state", "status", "uid", "untracked", "was_root",
    )  # fmt: skip

    def __init__(self, pid: int, parent: int, owner: str, run: int, start: int) -> None:
        self.pid = pid
        self.parent = parent
        self.group = self.session = pid
        self.owner = owner
        self.run = run
        self.start = start
        self.uid = 0
        self.limit = UNLIMITED
        self.cgroup = "/"
        self.environment = ""
        self.state = "S"
        self.status = 0
        self.pending = 0
        self.ignores_term = False
        self.frozen = False
        self.untracked = False
        self.was_root = False
        self.claims: set[str] = set()

    def may_act_as(self, uid: int) -> bool:
        """Whether it has this uid; uid 0 also if it was root before."""
        return uid in ({self.uid, 0} if self.was_root else {self.uid})

    @property
    def is_alive(self) -> bool:
        """Whether it is not a zombie."""
        return self.state != "Z"

    def __str__(self) -> str:
        owner = self.owner.replace("\0", "/")
        return f"{self.pid} ({owner} {self.run}, parent {self.parent}, session {self.session}, uid {self.uid})"


class Kernel:
    """All processes. us: the pid of process 1. signalled(task, number) is called before each of its signals."""

    def __init__(self, rng: Random, us: int, numbers: int, log: Callable[[str], None]) -> None:
        self.rng = rng
        self.us = us
        self.numbers = numbers
        self.now = 100.0
        self.tasks: dict[int, Task] = {}
        self.log = log
        self.signalled: Callable[[Task, int], None] = lambda _task, _number: None
        self.others: Callable[[], None] = lambda: None  # lets other processes run
        self.pid_files: dict[str, tuple[int, set[int]]] = {}  # path -> (pid in it, uids that can have written it)
        self.calls = 0
        self._descriptors: dict[int, Task] = {}
        self._next_descriptor = _DESCRIPTOR
        self._last_pid = us
        self._before: dict[int, int] = {}  # pid -> start of the last process that had it
        self._add(Task(us, 0, "us", 0, self.ticks))

    @property
    def ticks(self) -> int:
        """Clock ticks since boot."""
        return int(self.now * _TICKS_PER_SECOND)

    def _add(self, task: Task) -> Task:
        self.tasks[task.pid] = task
        self._before[task.pid] = task.start
        return task

    def _free_pid(self) -> int:
        """The next pid that no process, group or session has, 0 for none. A pid is not reused within one tick."""
        used = {number for task in self.tasks.values() for number in (task.pid, task.group, task.session)}
        pid = self._last_pid
        for _ in range(self.numbers):
            pid = pid + 1 if pid < self.numbers else 2
            if pid not in used and pid != self.us:
                self._last_pid = pid
                if self._before.get(pid) == self.ticks:
                    self.now += 1 / _TICKS_PER_SECOND
                return pid
        return 0

    # --- what processes do ---------------------------------------------------------------------------

    def fork(self, parent: Task, owner: str = "", run: int = 0) -> Task | None:
        """Create a child with the given owner or that of its parent. None if no pid is left."""
        pid = self._free_pid()
        if not pid:
            return None
        child = Task(pid, parent.pid, owner or parent.owner, run if owner else parent.run, self.ticks)
        for name in ("group", "session", "uid", "limit", "cgroup", "environment", "untracked"):
            setattr(child, name, getattr(parent, name))
        child.claims = set(parent.claims)
        return self._add(child)

    def enter(self) -> Task | None:
        """Create a process from outside: without a visible parent, in a session of its own. None if no pid is left."""
        pid = self._free_pid()
        return self._add(Task(pid, 0, OUTSIDE, 0, self.ticks)) if pid else None

    def make_session(self, task: Task) -> None:
        """setsid(2). Nothing happens for the leader of a group."""
        if task.group != task.pid:
            task.session = task.group = task.pid

    def end(self, task: Task, status: int) -> None:
        """Make it a zombie and reparent its children to the subreaper."""
        task.state, task.status = "Z", status
        ours = self._is_below_us(task)
        for child in self.children_of(task.pid):
            child.parent = self.us if ours or self.us == 1 else 1
            if child.parent != self.us and not child.is_alive:
                self._collect(child)
        parent = self.tasks.get(task.parent)
        if parent is None or not parent.is_alive or (parent.pid != self.us and self.rng.random() < 0.7):
            self._collect(task)

    def _is_below_us(self, task: Task) -> bool:
        while task.pid != self.us:
            above = self.tasks.get(task.parent)
            if above is None:
                return False
            task = above
        return True

    def _collect(self, task: Task) -> None:
        del self.tasks[task.pid]

    def children_of(self, pid: int) -> list[Task]:
        """Its children, zombies included."""
        return [task for task in self.tasks.values() if task.parent == pid]

    def descendants(self, task: Task) -> list[Task]:
        """The process and all its descendants."""
        found = [task]
        for one in found:
            found += self.children_of(one.pid)
        return found

    def living(self) -> list[Task]:
        """All living processes except process 1."""
        return [task for task in self.tasks.values() if task.is_alive and task.pid != self.us]

    def deliver(self, task: Task, number: int) -> None:
        """Apply the effect of a signal."""
        if not task.is_alive or task.pid == self.us:
            return
        if number == KILL:
            self.end(task, number)
        elif number == STOP:
            task.state = "T"
        elif number == CONT:
            task.state = "S"
            if task.pending:
                self.end(task, task.pending)
        elif number == TERM and not task.ignores_term:
            if task.state == "T":
                task.pending = number
            else:
                self.end(task, number)

    # --- system calls of process 1 -------------------------------------------------------------------

    def _call(self) -> None:
        self.calls += 1
        self.others()

    def _kill(self, pid: int, number: int) -> None:
        self._call()
        if pid == self.us or pid in (0, -1):
            return  # to itself: there is more to reap
        if pid > 0:
            found = [self.tasks[pid]] if pid in self.tasks else []
        else:
            found = [task for task in self.tasks.values() if task.group == -pid]
        if not found:
            raise ProcessLookupError(_ESRCH, "No such process")
        for task in found:
            self._send(task, number)

    def _send(self, task: Task, number: int) -> None:
        if number and task.is_alive:
            self.signalled(task, number)
            self.deliver(task, number)

    def _pidfd_open(self, pid: int, _flags: int = 0) -> int:
        self._call()
        if pid not in self.tasks:
            raise ProcessLookupError(_ESRCH, "No such process")
        self._next_descriptor += 1
        self._descriptors[self._next_descriptor] = self.tasks[pid]
        return self._next_descriptor

    def _pidfd_send_signal(self, fd: int, number: int) -> None:
        self._call()
        task = self._descriptors[fd]
        if self.tasks.get(task.pid) is not task:
            raise ProcessLookupError(_ESRCH, "No such process")
        self._send(task, number)

    def _wait(self, _pid: int, _options: int) -> tuple[int, int]:
        self._call()
        ours = self.children_of(self.us)
        if not ours:
            raise ChildProcessError(_ECHILD, "No child processes")
        for task in ours:
            if not task.is_alive:
                self._collect(task)
                self.log(f"reaped {task}")
                return task.pid, task.status
        return 0, 0

    def _error_pipe(self) -> tuple[int, int]:
        self._next_descriptor += 1
        return self._next_descriptor, self._next_descriptor

    def _fork(self, start: Any, _inherited: int) -> int:
        task = self.fork(self.tasks[self.us], start.owner, start.run)
        if task is None:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.make_session(task)
        task.uid, task.environment = start.uid, start.owner
        limit = dict(start.first)[tracking.STEP]
        if limit is not None:
            task.limit = limit
        if start.cgroup:
            task.cgroup = start.cgroup.rpartition("/")[0]
        self.log(f"started {task}")
        return task.pid

    def _look(self, pid: int) -> proc.Process | None:
        self._call()
        task = self.tasks.get(pid)
        if task is None:
            return None
        process = proc.Process(pid, task.parent, task.session, start=task.start, state=task.state)
        process.group = task.group
        return process

    def _children(self, pid: int) -> list[int]:
        self._call()
        return [task.pid for task in self.children_of(pid)]

    def _limit(self, pid: int) -> int | None:
        self._call()
        return self.tasks[pid].limit if pid in self.tasks else None

    def environment(self, pid: int) -> str:
        """The tree that the environment of a process names. Process 1 must not use it."""
        return self.tasks[pid].environment if pid in self.tasks else ""

    def _users(self, pid: int) -> set[int]:
        return {self.tasks[pid].uid} if pid in self.tasks else set()

    def _read_pid_file(self, path: str) -> pid_file.PidFile:
        self._call()
        if path not in self.pid_files:
            raise FileNotFoundError(2, "No such file or directory")
        pid, authors = self.pid_files[path]
        found = pid_file.PidFile(pid)
        found.users = authors
        return found

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(3):
            self.others()

    def monotonic(self) -> float:
        """Virtual time in seconds."""
        return self.now

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the real kernel until the end of the block."""
        replaced: list[tuple[Any, str, Any]] = [
            (os, "getpid", lambda: self.us),
            (os, "geteuid", lambda: 0),
            (os, "getsid", lambda _: self.us),
            (os, "kill", self._kill),
            (os, "waitpid", self._wait),
            (os, "pidfd_open", self._pidfd_open),
            (os, "close", lambda fd: self._descriptors.pop(fd, None)),
            (os, "set_inheritable", lambda _fd, _inheritable: None),
            (signals, "send_by_pidfd", self._pidfd_send_signal),
            (proc, "is_ours", lambda: True),
            (proc, "shows_children", lambda: True),
            (proc, "read_process", self._look),
            (proc, "children", self._children),
            (proc, "own_children", lambda: self._children(self.us)),
            (proc, "hard_rss_limit", self._limit),
            (proc, "users", self._users),
            (proc, "groups", lambda _: ()),
            (proc, "name", lambda pid: f"name{pid}"),
            (proc, "boot_ticks", lambda: self.ticks),
            (proc, "cgroup", lambda pid: self.tasks[pid].cgroup if pid in self.tasks else ""),
            (pid_file, "read", self._read_pid_file),
            (tracking, "step", lambda limit: limit),
            (spawn, "error_pipe", self._error_pipe),
            (spawn, "fork", self._fork),
            (spawn, "exec_errors", lambda _: b""),
            (children, "delegated", lambda: False),
            (children, "OutOfMemory", _OutOfMemory),
            (children, "time", _Clock(self)),
            (daemon_search, "time", _Clock(self)),
            (killing, "time", _Clock(self)),
        ]
        before = [(place, name, getattr(place, name)) for place, name, _ in replaced]
        try:
            for place, name, value in replaced:
                setattr(place, name, value)
            yield
        finally:
            for place, name, value in before:
                setattr(place, name, value)


class _Clock:
    """Replaces the module time."""

    def __init__(self, kernel: Kernel) -> None:
        self.monotonic = kernel.monotonic
        self.sleep = kernel._sleep
        self.time_ns = lambda: 0


class Timers(Poller):
    """A poller without descriptors, which are simulated: it has the timers only."""

    def __init__(self) -> None:
        super().__init__()
        self.close()

    def add(self, *_: Any, **__: Any) -> None:
        """Nothing to do."""

    def remove(self, fd: int) -> None:
        """Nothing to do."""


class _OutOfMemory:
    """A machine without out-of-memory kills."""

    count = 0

    def killed_one(self) -> bool:
        """Always False."""
        return False
