"""Whose process is this? A service is its whole process tree, and nobody may be left behind.

Nothing in Linux but a cgroup names the family of a process, so the rules are these. A living leader's tree
is its descendants. When a parent dies, the kernel hands its children to the nearest subreaper, which is us:
so whatever survives of a tree has, at its top, a child of ours that we did not start, an *orphan*. An orphan
belongs to the service whose session it is in (each service has a session of its own), or, if it made itself
a session, to the one whose mark is in its environment, as /proc/PID/environ shows it. Where that may not be
read (another user's, without CAP_SYS_PTRACE) or is empty, it belongs to the service whose leader has just
ended. An orphan with another environment belongs to nobody: it may have come from `docker exec`. It is reaped
all the same, and swept at the end.

Reading our own children is one small file (/proc/self/task/TID/children, with CONFIG_PROC_CHILDREN); all of
/proc is walked only to signal a whole tree. Without a /proc of our own namespace, a tree is its process
group. Sources: proc_pid_stat(5), proc_pid_task(5), prctl(2).
"""

from __future__ import annotations

from cohabit.reactor import signals
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MARK_SERVICE = "COHABIT_SERVICE"
MARK_SUPERVISOR = "COHABIT_SUPERVISOR"

NO_PROC = (
    "cannot look for processes that services leave behind: /proc is not that of our PID namespace, so one that makes "
    "itself a session of its own is not found (mount it: mount -t proc proc /proc)"
)

_PASSES = 20  # how often a tree that forks while it is being killed is gone through again


def proc_is_ours() -> bool:
    """Whether /proc is there and shows our own PID namespace."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


class Trees:
    """Leaders, orphans, and who they belong to. `supervisor` is the mark's second half, unique to us."""

    def __init__(self, supervisor: str) -> None:
        self.supervisor = supervisor
        self.leaders: dict[int, str] = {}  # living: pid -> service
        self.sessions: dict[int, str] = {}  # session -> service, kept while its tree may live
        self.orphans: dict[int, str] = {}  # pid -> service, "" for nobody's
        self._pid = os.getpid()
        self._has_proc = proc_is_ours()

    # --- what the reactor tells ----------------------------------------------------------------------

    def started(self, service: str, pid: int) -> None:
        """A process was forked for the service; it leads a session of its own."""
        self.leaders[pid] = service
        self.sessions[pid] = service

    def reaped(self, pid: int) -> str | None:
        """A child was reaped; the service if it was a leader, None if it was an orphan."""
        self.orphans.pop(pid, None)
        return self.leaders.pop(pid, None)

    def ended(self, service: str) -> None:
        """The whole tree is gone: its session numbers mean nothing any more."""
        for session in [number for number, name in self.sessions.items() if name == service]:
            if session not in self.leaders:
                del self.sessions[session]

    # --- what the reactor asks -----------------------------------------------------------------------

    def services_with_orphans(self, ended: Sequence[str] = ()) -> set[str]:
        """Services of which something lives apart from a leader; `ended`: whose leaders were just reaped."""
        if not self._has_proc:
            return {name for name in self.sessions.values() if self._group_lives(name)}
        self._adopt(ended)
        return {name for name in self.orphans.values() if name}

    def members(self, service: str) -> list[int]:
        """Every process of the service's tree, parents before children."""
        self._adopt()
        roots = [pid for pid, name in self.leaders.items() if name == service]
        roots += [pid for pid, name in self.orphans.items() if name == service]
        return self._with_descendants(roots)

    def signal(self, service: str, number: int) -> None:
        """Send a signal to the whole tree; SIGKILL goes on until a pass finds nobody new."""
        if not self._has_proc:
            for session in [pid for pid, name in self.sessions.items() if name == service]:
                send(-session, number)
            return
        self._signal_all(lambda: self.members(service), number)

    def signal_everybody(self, number: int) -> None:
        """Send a signal to every process under us, whoever started it.

        As process 1 that is kill(-1): it is atomic and cannot leave our namespace. Anybody else walks
        down from its own children, since kill(-1) would reach the whole machine.
        """
        if self._pid == 1:
            send(-1, number)
            if number != signals.KILL:
                send(-1, signals.CONT)
        elif self._has_proc:
            self._signal_all(lambda: self._with_descendants(self._children()), number)
        else:
            for session in self.sessions:
                send(-session, number)

    # --- how -----------------------------------------------------------------------------------------

    def _signal_all(self, find: _Find, number: int) -> None:
        done: set[int] = set()
        for _ in range(_PASSES if number == signals.KILL else 1):
            fresh = [pid for pid in find() if pid not in done]
            if not fresh:
                return
            for pid in fresh:
                send(pid, number)
                if number != signals.KILL:
                    send(pid, signals.CONT)  # whoever is stopped must hear it too, as systemd does
            done.update(fresh)

    def _adopt(self, ended: Sequence[str] = ()) -> None:
        """Find the owner of each child of ours that we have not seen before.

        One that cannot be told by session or mark came to us because its parent ended: if just one leader
        did, it was that one's.
        """
        for pid in self._children():
            if pid not in self.leaders and pid not in self.orphans:
                owner = self._owner(pid)
                if owner is None:
                    owner = ended[0] if len(ended) == 1 else ""
                self.orphans[pid] = owner

    def _owner(self, pid: int) -> str | None:
        """The service that a process belongs to, "" for nobody's, None if its environment is not to be seen."""
        stat = _stat(pid)
        if stat is not None and stat[1] in self.sessions:
            return self.sessions[stat[1]]
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = file.read().split(b"\0")
        except OSError:
            return None
        if environment == [b""]:
            return None
        if f"{MARK_SUPERVISOR}={self.supervisor}".encode() not in environment:
            return ""
        mark = f"{MARK_SERVICE}=".encode()
        return next((item[len(mark) :].decode() for item in environment if item.startswith(mark)), "")

    def _children(self) -> list[int]:
        try:
            with open(f"/proc/self/task/{self._pid}/children", "rb") as file:
                return [int(word) for word in file.read().split()]
        except OSError:
            return [pid for pid, (parent, _) in _everything().items() if parent == self._pid]

    def _with_descendants(self, roots: Iterable[int]) -> list[int]:
        children: dict[int, list[int]] = {}
        for pid, (parent, _) in _everything().items():
            children.setdefault(parent, []).append(pid)
        found = list(roots)
        for pid in found:
            found.extend(children.get(pid, ()))
        return found

    def _group_lives(self, service: str) -> bool:
        return any(
            send(-session, 0)
            for session, name in self.sessions.items()
            if name == service and session not in self.leaders
        )


if TYPE_CHECKING:
    from collections.abc import Callable

    _Find = Callable[[], list[int]]


def _stat(pid: int) -> tuple[int, int] | None:
    """(parent, session) of a process, None when it is gone. The name in brackets may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(words[1]), int(words[3])) if len(words) > 3 else None  # noqa: PLR2004 - state ppid pgrp session


def _everything() -> dict[int, tuple[int, int]]:
    """(parent, session) of every process that /proc shows."""
    found: dict[int, tuple[int, int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return found
    for name in names:
        if name.isdigit():
            stat = _stat(int(name))
            if stat is not None:
                found[int(name)] = stat
    return found


def send(pid: int, number: int) -> bool:
    """kill(2), where "there is none" and "not yours" are answers, not errors."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
