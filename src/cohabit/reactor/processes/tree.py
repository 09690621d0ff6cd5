"""Process trees: which service a process belongs to. A service owns its entire process tree.

A tree has a key: the name of a service ("web"), or the name followed by a task of its own ("web", NUL, "probe").
Its leaders are the processes that we started (the main process, and a hook beside it) and adopted daemons. The tree of
a running leader is the leader and its descendants. When a parent ends, the kernel gives its children to the nearest
subreaper, which is this process. So a process that survives its parents, or its nearest surviving ancestor, is a child
of ours that we did not start: an *orphan*.

The order in which processes end proves nothing. An orphan is attributed once, when it is first seen, after every
reaping and before every signal to a tree. The evidence, in this order:

  1. the process was recorded as a member of the tree while its parents were running (pid and start time);
  2. its cgroup, if there are cgroups (cgroup.py);
  3. its session (sessions.py): each leader has a session of its own;
  4. its tracking limit (tracking.py). A process can forge the limit, so it extends a tree and gives no rights:
     to speak for a service (sd_notify, a pid file) a process needs other evidence, or the service's own user.

An orphan without such evidence is not attributed to any tree: it may come from `docker exec`. It is reported, reaped
when it ends, and left alone until everything stops. The environment proves nothing, because any process can set it.

Without a /proc of our own PID namespace, a tree is its process groups. killing.py describes how a tree is killed that
forks meanwhile. Sources: credentials(7), prctl(2), cgroups(7), setsid(2); docs/adr/0010.
"""

from __future__ import annotations

from cohabit.control import SERVICE_VARIABLE, SUPERVISOR_VARIABLE
from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes import cgroup, killing, proc
from cohabit.reactor.processes.cgroup import Cgroups
from cohabit.reactor.processes.proc import ENDED, REFUSED, Process, send
from cohabit.reactor.processes.sessions import Sessions
from cohabit.reactor.processes.tracking import TrackingLimits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_PAUSES = {signals.STOP: True, signals.CONT: False}  # whether the tree's cgroup is frozen

NO_PROC = (
    "cannot search for processes that services leave behind: /proc does not show our PID namespace, so a process that "
    "starts a new session is not found (mount it: mount -t proc proc /proc)"
)
NO_LIMITS = (
    "cannot set tracking limits: our own hard limit of RLIMIT_RSS is too low, so a process that moves to the "
    "background may not be attributed to its service (remove `--ulimit rss` from the container)"
)

proc_is_ours = proc.is_ours  # if false, the caller logs NO_PROC

UNATTRIBUTED = ""

_ATTEMPTS = 3  # to read a chain of parents, which may change meanwhile
_ANCESTORS_MAX = 10_000


class Trees:
    """Leaders, orphans, and the trees that they belong to.

    supervisor: our name in the environment of services. cgroups: None if there are none.
    """

    def __init__(self, supervisor: str, cgroups: Cgroups | None = None) -> None:
        self.supervisor = supervisor
        self.cgroups = cgroups
        self.limits = TrackingLimits()
        self.sessions = Sessions()
        self.leaders: dict[int, str] = {}  # running: pid -> key
        self.orphans: dict[int, str] = {}  # pid -> key or UNATTRIBUTED
        self.being_killed: set[str] = set()  # an orphan of such a tree that is found later is killed too
        self.unreported: list[int] = []  # unattributed orphans that no log line names yet
        self._by_limit: set[int] = set()  # orphans attributed by their tracking limit only
        self._recorded: dict[int, tuple[int, str]] = {}  # members: pid -> (start, key)
        self._found_late: set[str] = set()  # trees being killed of which an orphan was found afterwards
        self._ending: set[str] = set()  # trees that are forgotten when their last orphan ends
        self._seen: list[int] = []  # our children when they were last read
        self._pid = os.getpid()
        self.has_proc = proc.is_ours()
        self._has_children = self.has_proc and proc.shows_children()

    # --- for re-execution ----------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for from_plain."""
        return {
            "supervisor": self.supervisor,
            "cgroups": self.cgroups.to_plain() if self.cgroups else None,
            "limits": self.limits.to_plain(),
            "sessions": self.sessions.to_plain(),
            "leaders": self.leaders,
            "orphans": self.orphans,
            "by_limit": sorted(self._by_limit),
            "recorded": self._recorded,
            "being_killed": sorted(self.being_killed),
            "ending": sorted(self._ending),
            "unreported": self.unreported,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Trees:
        """Restore the trees that to_plain returned."""
        trees = cls(plain["supervisor"], Cgroups.from_plain(plain["cgroups"]) if plain["cgroups"] else None)
        trees.limits = TrackingLimits.from_plain(plain["limits"])
        trees.sessions = Sessions.from_plain(plain["sessions"])
        trees.leaders, trees.orphans = plain["leaders"], plain["orphans"]
        trees._by_limit, trees._recorded = set(plain["by_limit"]), plain["recorded"]
        trees.being_killed, trees._found_late = set(plain["being_killed"]), set(plain["being_killed"])
        trees._ending, trees.unreported = set(plain["ending"]), plain["unreported"]
        return trees

    # --- values for a new child ----------------------------------------------------------------------

    def variables(self, key: str) -> dict[str, str]:
        """Return the environment variables that name the supervisor, the tree and the service."""
        service = key.partition("\0")[0]
        variables = {SUPERVISOR_VARIABLE: f"{self.supervisor}:{cgroup.encode(key)}"}
        return {SERVICE_VARIABLE: service, **variables} if service else variables

    def entrance(self, key: str) -> str:
        """Return the cgroup.procs file to which a child of this tree writes "0" before its exec; "" without cgroups."""
        return self.cgroups.entrance(key) if self.cgroups else ""

    # --- changes -------------------------------------------------------------------------------------

    def started(self, key: str, pid: int) -> None:
        """Add a leader: a process that was forked for this tree. It leads a session of its own."""
        self.leaders[pid] = key
        self.sessions.add(pid, key, started_by_us=True)
        for keys in (self.being_killed, self._found_late, self._ending):
            keys.discard(key)

    def adopt(self, key: str, pid: int) -> bool:
        """Make a process a leader of the tree; False if it is not a child of ours, whose end we would not see."""
        process = proc.read_process(pid)
        if process is None or process.parent != self._pid or self.leaders.get(pid, key) != key:
            return False
        self.orphans.pop(pid, None)
        self._by_limit.discard(pid)
        self.leaders[pid] = key
        if process.session == pid and not self.sessions.started_by_us(pid):
            self.sessions.add(pid, key, started_by_us=False)
        return True

    def reaped(self, pid: int, ticks: int) -> str | None:
        """Remove a child that was reaped. Returns the key of its tree if it was a leader, None if it was an orphan.

        ticks: proc.boot_ticks() before the reaping.
        """
        self.orphans.pop(pid, None)
        self._by_limit.discard(pid)
        self._recorded.pop(pid, None)
        self._seen = []  # the pid may be reused
        self.sessions.reaped(pid, ticks)
        return self.leaders.pop(pid, None)

    def ended(self, key: str) -> None:
        """Forget a tree of which nothing is running except its leaders, or as soon as its last orphan has ended."""
        if key in self.orphans.values():
            self._ending.add(key)
            return
        self._ending.discard(key)
        self.being_killed.discard(key)
        self.sessions.end(key)
        if key not in self.leaders.values():
            self._recorded = {pid: found for pid, found in self._recorded.items() if found[1] != key}
            if self.cgroups:
                self.cgroups.remove(key)
            if "\0" in key:  # a task: its next run has another key
                self.limits.forget(key)

    def close(self) -> None:
        """Remove the cgroups at the very end, when no process but this one is left."""
        if self.cgroups:
            self.cgroups.close()

    # --- queries and signals -------------------------------------------------------------------------

    def keys_with_orphans(self) -> set[str]:
        """Return the keys of the trees that have running processes besides their leaders.

        Call this after each reaping: it attributes orphans, and kills those that are found after their tree was killed.
        """
        if not self.has_proc:
            return {key for key in self.sessions.trees() if self._leaderless_group_lives(key)}
        self._attribute_orphans()
        found = set(self.orphans.values()) - {UNATTRIBUTED}
        for key in self._ending - found:  # only now: the last process may have left an orphan
            self.ended(key)
        while self._found_late:
            self.signal(self._found_late.pop(), signals.KILL)
        return found

    def orphans_of(self, key: str) -> list[int]:
        """Return the orphans of the tree, as far as /proc shows them."""
        if self.has_proc:
            self._attribute_orphans()
        return [pid for pid, name in self.orphans.items() if name == key]

    def lives(self, key: str) -> bool:
        """Whether any process of the tree is running."""
        if key in self.leaders.values():
            return True
        return bool(self.orphans_of(key)) if self.has_proc else self._leaderless_group_lives(key)

    def members(self, key: str) -> list[int]:
        """Return all processes of the tree: leaders, orphans and their descendants, parents before children."""
        return [pid for pid, process in self._find(key).items() if not process.is_gone]

    def owner(self, pid: int) -> str | None:
        """Return the key of the tree that a process belongs to, or UNATTRIBUTED; None if there is no such process."""
        found = self._attribute(pid)
        return found[0] if found else None

    def speaks_for(self, key: str, pid: int, uid: int) -> bool | None:
        """Whether a process may act for the tree, whose user is uid; None if there is no such process.

        A tracking limit is enough only for a process of that user.
        """
        found = self._attribute(pid)
        if found is None:
            return None
        owner, certain = found
        return owner == key and (certain or proc.users(pid) == {uid})

    def signal(self, key: str, number: int) -> list[int]:
        """Send a signal to the whole tree. After SIGKILL only zombies are left of it; after SIGSTOP, none of it runs.

        Returns the pids of the processes that we may not signal: they run on.
        """
        if number == signals.KILL:
            self.being_killed.add(key)
        if not self.has_proc:
            return [session for session in self.sessions.of(key) if send(-session, number) == REFUSED]
        if number == signals.KILL:
            refused = self._kill(key)
            self._found_late.discard(key)  # orphans found during the kill were killed with the rest
            return refused
        frozen = self.cgroups is not None and number in _PAUSES and self.cgroups.freeze(key, frozen=_PAUSES[number])
        if number != signals.STOP:
            return killing.send_to_all(self._find(key).values(), number)
        inside = set(self.cgroups.members(key)) if self.cgroups is not None and frozen else ()
        return killing.stop(
            lambda: [process for pid, process in self._find(key).items() if pid not in inside],
            lambda process: self._owns_group(key, process),
        )

    def signal_all(self, number: int) -> list[int]:
        """Send a signal to every process under us, including those that we did not start. Returns as signal().

        Process 1 uses kill(-1), which is atomic and cannot leave our namespace. Any other process walks down from its
        own children, because kill(-1) would reach the whole machine.
        """
        if self._pid == 1:
            send(-1, number)
            if number != signals.KILL:
                send(-1, signals.CONT)
            return [each.pid for each in self.everything() if each.lives and proc.send_to(each, 0) == REFUSED]
        if not self.has_proc:
            return [pid for key in self.sessions.trees() for pid in self.signal(key, number)]
        if number == signals.KILL:
            for key in set(self.leaders.values()) if self.cgroups else ():
                self.signal(key, number)  # by cgroup first: that is atomic, and a walk is not
            return killing.kill(self.everything)
        return killing.send_to_all(self.everything(), number)

    def everything(self) -> list[Process]:
        """Return all processes under us, parents before children; [] without /proc."""
        return list(self._with_descendants(self.children()).values()) if self.has_proc else []

    # --- internals -----------------------------------------------------------------------------------

    def _kill(self, key: str) -> list[int]:
        """Kill the cgroup, and the members outside it, which are found before their parents die with the cgroup."""
        if self.cgroups is None:
            return killing.kill(lambda: self._find(key).values(), lambda process: self._owns_group(key, process))
        self.cgroups.freeze(key, frozen=True)
        inside = set(self.cgroups.members(key))
        outside = [process for pid, process in self._find(key).items() if pid not in inside]
        gone = inside if self.cgroups.kill(key) else ()
        self.cgroups.freeze(key, frozen=False)
        return killing.kill(
            lambda: [process for pid, process in self._find(key, outside).items() if pid not in gone],
            lambda process: self._owns_group(key, process),
        )

    def _find(self, key: str, others: Iterable[Process] = ()) -> dict[int, Process]:
        """Return the processes of the tree: leaders, orphans and `others` in this order, with their descendants."""
        self._attribute_orphans()
        leaders = [pid for pid, name in self.leaders.items() if name == key]
        orphans = [pid for pid, name in self.orphans.items() if name == key]
        found = self._with_descendants([*leaders, *(pid for pid in orphans if pid not in self._by_limit)])
        for pid, process in found.items():
            if not process.is_gone:
                self._recorded[pid] = process.start, key
        more = [*orphans, *(process.pid for process in others if proc.is_same(process))]
        found.update(self._with_descendants([pid for pid in more if pid not in found]))
        if self.cgroups:
            inside = self._with_descendants([pid for pid in self.cgroups.members(key) if pid not in found])
            for pid, process in inside.items():
                if process.parent in inside or self.cgroups.owner(pid) == key:
                    found[pid] = process
        return found

    def _owns_group(self, key: str, process: Process) -> bool:
        """Whether the whole process group of a member belongs to the tree. A tracking limit alone is not enough.

        A group is part of one session. If a certain member is in a session, the session was created in the tree. A
        process with a forged limit may be in a session that only has the number of an ended session of the tree.
        """
        recorded = self._recorded.get(process.pid) == (process.start, key)
        return recorded or self.sessions.owner(process) == key

    def _attribute_orphans(self) -> None:
        """Attribute each child of ours that is neither a leader nor a known orphan."""
        children = self.children()
        if children == self._seen:
            return
        self._seen = children
        for pid in children:
            if pid not in self.leaders and pid not in self.orphans:
                self._attribute_orphan(pid)

    def _attribute_orphan(self, pid: int) -> None:
        process = proc.read_process(pid)
        found = self._evidence(process) if process else None
        if process is None or found is None:
            self._seen = []  # its files cannot be read now: try again the next time
            return
        key, certain = found
        self.orphans[pid] = key
        if not certain:
            self._by_limit.add(pid)
        if key == UNATTRIBUTED and process.lives:
            self.unreported.append(pid)
        if key in self.being_killed and process.lives:
            self._found_late.add(key)

    def _attribute(self, pid: int) -> tuple[str, bool] | None:
        """Return (key, whether the evidence is more than a tracking limit); None if there is no such process."""
        if not self.has_proc:
            try:
                return (self.sessions.key(os.getsid(pid)) or UNATTRIBUTED, True) if pid > 0 else None
            except OSError:
                return None
        for _ in range(_ATTEMPTS):
            process = proc.read_process(pid)
            if process is None:
                return None
            found = self._by_ancestors(process)
            if found is not None:
                return found
        return UNATTRIBUTED, True

    def _by_ancestors(self, process: Process) -> tuple[str, bool] | None:
        """As _attribute, for a running process; None if the chain of its parents broke because one of them ended."""
        for _ in range(_ANCESTORS_MAX):
            if process.parent == self._pid:
                return self._evidence(process)
            owner = self._certain_owner(process)
            if owner is not None:
                return owner, True
            if process.parent <= 1:
                break
            parent = proc.read_process(process.parent)
            if parent is None:
                return None
            process = parent
        return UNATTRIBUTED, True

    def _evidence(self, process: Process) -> tuple[str, bool] | None:
        """As _attribute, for a child of ours; None if its files cannot be read."""
        owner = self.leaders.get(process.pid)
        if owner is not None:
            return owner, True
        owner = self.orphans.get(process.pid)
        if owner is not None:
            return owner, process.pid not in self._by_limit
        owner = self._certain_owner(process)
        if owner is not None:
            return owner, True
        limit = proc.hard_rss_limit(process.pid)
        if limit is None:
            return None
        owner = self.limits.owner(limit)
        return (UNATTRIBUTED, True) if owner is None else (owner, False)

    def _certain_owner(self, process: Process) -> str | None:
        """Return the tree of a process by evidence that the process can neither choose nor change."""
        start, owner = self._recorded.get(process.pid, (-1, ""))
        if start == process.start:
            return owner
        return (self.cgroups.owner(process.pid) if self.cgroups else None) or self.sessions.owner(process)

    def children(self) -> list[int]:
        """Return the pids of our own children; [] if they cannot be seen."""
        if self._has_children:
            return proc.own_children()
        return [process.pid for process in proc.all_processes() if process.parent == self._pid]

    def _with_descendants(self, roots: Iterable[int]) -> dict[int, Process]:
        """Return these processes and their descendants, parents first, at a cost that depends on their number only.

        A descendant that ends, or loses its parent, before it is read is returned as `is_gone`: what it leaves behind
        may be missing.
        """
        found: dict[int, Process] = {}
        ahead = [(pid, 0) for pid in roots]
        below: dict[int, list[int]] | None = None
        if not self._has_children and ahead:
            below = {}
            for each in proc.all_processes():
                below.setdefault(each.parent, []).append(each.pid)
        for pid, parent in ahead:
            process = proc.read_process(pid) if pid not in found else None
            if process is not None and parent in (0, process.parent):  # else: another process, or an orphan by now
                found[pid] = process
                children = proc.children(pid) if below is None else below.get(pid, ())
                ahead += [(child, pid) for child in children]
            elif parent and pid not in found:
                found[pid] = Process(pid, parent, 0, state=proc.GONE)
        return found

    def _leaderless_group_lives(self, key: str) -> bool:
        return any(send(-session, 0) != ENDED for session in self.sessions.of(key, leaderless=True))
