"""Which service does a process belong to? A service is its whole process tree.

A tree has a key: a service's name ("web"), or that and a task of its own ("web", NUL, "probe"). It has
leaders, which we started: the main process, a hook beside it; a daemon that was adopted is one, too. The tree of a
living leader is its descendants. When a parent ends, the kernel hands its children to the nearest subreaper, which is
us: so whatever survives of a tree has, at its top, a child of ours that we did not start, an *orphan*.

Nothing is concluded from who ended when. Each orphan is attributed by what it carries itself, once, when it is seen for
the first time, and this is asked after every reaping, whoever was reaped:

  1. it was recorded as a member of the tree before its parents ended (number and start);
  2. its cgroup, where there are cgroups (cgroup.py);
  3. its session (sessions.py): each leader has one of its own;
  4. its tracking limit (tracking.py). A process can forge it, so it extends a tree and gives no rights in it:
     whoever speaks for a service (sd_notify, a pid file) needs one of the others, or the service's own user.

An orphan that has none of these is not attributed to any tree: it may come from `docker exec`. It is reported, reaped
when it ends, and left alone until everything stops. The environment proves nothing: it can be anybody's.

Without a /proc of our own PID namespace, a tree is its process groups. How a tree is killed that may fork meanwhile
is in killing.py. Sources: credentials(7), prctl(2), cgroups(7), setsid(2); docs/adr/0010.
"""

from __future__ import annotations

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes import cgroup, killing, proc
from cohabit.reactor.processes.cgroup import Cgroups
from cohabit.reactor.processes.proc import Process, send
from cohabit.reactor.processes.sessions import Sessions
from cohabit.reactor.processes.tracking import TrackingLimits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Variables for people and for our own commands; they prove nothing.
SERVICE_VARIABLE = "COHABIT_SERVICE"
SUPERVISOR_VARIABLE = "COHABIT_SUPERVISOR"

NO_PROC = (
    "cannot look for processes that services leave behind: /proc is not that of our PID namespace, so one that makes "
    "itself a session of its own is not found (mount it: mount -t proc proc /proc)"
)
NO_LIMITS = (
    "cannot set tracking limits: our own hard limit of RLIMIT_RSS is in the way, so a process that puts itself in the "
    "background may not be attributed to its service (remove `--ulimit rss` from the container)"
)

proc_is_ours = proc.is_ours  # else NO_PROC is to be said

UNATTRIBUTED = ""

_LOOKS = 3  # at a chain of parents, which changes while it is read
_LONGEST_CHAIN = 10_000


class Trees:
    """Leaders, orphans, and the trees that they belong to.

    supervisor: our name in the environment of services. cgroups: None where there are none.
    """

    def __init__(self, supervisor: str, cgroups: Cgroups | None = None) -> None:
        self.supervisor = supervisor
        self.cgroups = cgroups
        self.limits = TrackingLimits()
        self.sessions = Sessions()
        self.leaders: dict[int, str] = {}  # living: pid -> key
        self.orphans: dict[int, str] = {}  # pid -> key or UNATTRIBUTED
        self.being_killed: set[str] = set()  # a process of such a tree that turns up later is killed, too
        self.unreported: list[int] = []  # orphans that are not attributed, and of which no line says so yet
        self._by_limit: set[int] = set()  # orphans for which nothing but their tracking limit speaks
        self._recorded: dict[int, tuple[int, str]] = {}  # pid -> (start, key) of members, while their parents lived
        self._late: set[str] = set()  # trees being killed of which one turned up
        self._ending: set[str] = set()  # trees that are forgotten with their last orphan
        self._seen: list[int] = []  # our children at the last look
        self._pid = os.getpid()
        self._has_proc = proc.is_ours()
        self._has_children = self._has_proc and proc.shows_children()

    # --- for re-execution ----------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Plain values for from_plain."""
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
        """The same trees again."""
        trees = cls(plain["supervisor"], Cgroups.from_plain(plain["cgroups"]) if plain["cgroups"] else None)
        trees.limits = TrackingLimits.from_plain(plain["limits"])
        trees.sessions = Sessions.from_plain(plain["sessions"])
        trees.leaders, trees.orphans = plain["leaders"], plain["orphans"]
        trees._by_limit, trees._recorded = set(plain["by_limit"]), plain["recorded"]
        trees.being_killed, trees._late = set(plain["being_killed"]), set(plain["being_killed"])
        trees._ending, trees.unreported = set(plain["ending"]), plain["unreported"]
        return trees

    # --- what a new child needs ----------------------------------------------------------------------

    def variables(self, key: str) -> dict[str, str]:
        """The environment variables that name its supervisor, tree and service."""
        service = key.partition("\0")[0]
        variables = {SUPERVISOR_VARIABLE: f"{self.supervisor}:{cgroup.encode(key)}"}
        return {SERVICE_VARIABLE: service, **variables} if service else variables

    def entrance(self, key: str) -> str:
        """The file into which a child of this tree writes "0" before its exec; "" where there are no cgroups."""
        return self.cgroups.entrance(key) if self.cgroups else ""

    # --- what the reactor tells ----------------------------------------------------------------------

    def started(self, key: str, pid: int) -> None:
        """A process was forked for this tree, beside others or as its first; it leads a session of its own."""
        self.leaders[pid] = key
        self.sessions.add(pid, key, started_by_us=True)
        for keys in (self.being_killed, self._late, self._ending):
            keys.discard(key)

    def adopt(self, key: str, pid: int) -> bool:
        """From now on this process leads the tree; False if it is no child of ours: then its end would not be seen."""
        process = proc.look(pid)
        if process is None or process.parent != self._pid or self.leaders.get(pid, key) != key:
            return False
        self.orphans.pop(pid, None)
        self._by_limit.discard(pid)
        self.leaders[pid] = key
        if process.session == pid and not self.sessions.started_by_us(pid):
            self.sessions.add(pid, key, started_by_us=False)
        return True

    def reaped(self, pid: int, ticks: int) -> str | None:
        """A child was reaped; its tree's key if it was a leader, None if it was an orphan.

        ticks: proc.boot_ticks() before that.
        """
        self.orphans.pop(pid, None)
        self._by_limit.discard(pid)
        self._recorded.pop(pid, None)
        self._seen = []  # the number may be given again
        self.sessions.reaped(pid, ticks)
        return self.leaders.pop(pid, None)

    def ended(self, key: str) -> None:
        """Nothing of the tree lives besides its living leaders; if an orphan does, this holds when it has ended."""
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
            if "\0" in key:  # a task, which comes again under another key
                self.limits.forget(key)

    def close(self) -> None:
        """No process is left but ours, which ends in a moment."""
        if self.cgroups:
            self.cgroups.close()

    # --- what the reactor asks -----------------------------------------------------------------------

    def with_orphans(self) -> set[str]:
        """Keys of trees of which something lives apart from a leader.

        Ask after each reaping: here orphans are attributed, and those that turn up after their tree was killed are
        killed.
        """
        if not self._has_proc:
            return {key for key in self.sessions.trees() if self._leaderless_group_lives(key)}
        self._attribute_orphans()
        found = set(self.orphans.values()) - {UNATTRIBUTED}
        for key in self._ending - found:  # not before: the last process may have left one that turns up only now
            self.ended(key)
        while self._late:
            self.signal(self._late.pop(), signals.KILL)
        return found

    def orphans_of(self, key: str) -> list[int]:
        """Those of the tree that are children of ours and no leaders, as far as /proc shows them."""
        if self._has_proc:
            self._attribute_orphans()
        return [pid for pid, name in self.orphans.items() if name == key]

    def lives(self, key: str) -> bool:
        """Whether anything of the tree lives."""
        if key in self.leaders.values():
            return True
        return bool(self.orphans_of(key)) if self._has_proc else self._leaderless_group_lives(key)

    def members(self, key: str) -> list[int]:
        """Every process of the tree: leaders and orphans and their descendants, parents before children."""
        return list(self._find(key))

    def owner(self, pid: int) -> str | None:
        """The key of the tree that a process belongs to, or UNATTRIBUTED; None when there is no such process."""
        found = self._attribute(pid)
        return found[0] if found else None

    def speaks_for(self, key: str, pid: int, uid: int) -> bool | None:
        """Whether a process may act in the name of the tree, whose user is uid; None when there is no such process.

        A tracking limit is enough only for a process of that very user.
        """
        found = self._attribute(pid)
        if found is None:
            return None
        owner, certain = found
        return owner == key and (certain or proc.users(pid) == {uid})

    def signal(self, key: str, number: int) -> None:
        """Send a signal to the whole tree; after SIGKILL nothing of it is left but zombies."""
        if number == signals.KILL:
            self.being_killed.add(key)
        if not self._has_proc:
            for session in self.sessions.of(key):
                send(-session, number)
        elif number == signals.KILL:
            self._kill(key)
            self._late.discard(key)  # who turned up while it was done
        else:
            killing.tell(self._find(key).values(), number)

    def signal_everybody(self, number: int) -> None:
        """Send a signal to every process under us, whoever started it.

        As process 1 that is kill(-1): it is atomic and cannot leave our namespace. Any other process walks
        down from its own children, since kill(-1) would reach the whole machine.
        """
        if self._pid == 1:
            send(-1, number)
            if number != signals.KILL:
                send(-1, signals.CONT)
        elif not self._has_proc:
            for key in self.sessions.trees():
                self.signal(key, number)
        elif number == signals.KILL:
            for key in set(self.leaders.values()) if self.cgroups else ():
                self.signal(key, number)  # at once, which a walk is not
            killing.kill(lambda: self._with_descendants(self._children()).values())
        else:
            killing.tell(self._with_descendants(self._children()).values(), number)

    # --- how -----------------------------------------------------------------------------------------

    def _kill(self, key: str) -> None:
        """The cgroup at once; and those whom it does not hold, who are found before their parents die with it."""
        if self.cgroups is None:
            killing.kill(lambda: self._find(key).values(), lambda one: self._owns_group(key, one))
            return
        self.cgroups.freeze(key, frozen=True)
        inside = set(self.cgroups.members(key))
        outside = [one for pid, one in self._find(key).items() if pid not in inside]
        gone = inside if self.cgroups.kill(key) else ()
        self.cgroups.freeze(key, frozen=False)
        killing.kill(
            lambda: [one for pid, one in self._find(key, outside).items() if pid not in gone],
            lambda one: self._owns_group(key, one),
        )

    def _find(self, key: str, others: Iterable[Process] = ()) -> dict[int, Process]:
        """The tree's processes in the order in which they were found: leaders, orphans, `others`, those below."""
        self._attribute_orphans()
        leaders = [pid for pid, name in self.leaders.items() if name == key]
        orphans = [pid for pid, name in self.orphans.items() if name == key]
        found = self._with_descendants([*leaders, *(pid for pid in orphans if pid not in self._by_limit)])
        for pid, process in found.items():
            self._recorded[pid] = process.start, key
        more = [*orphans, *(one.pid for one in others if proc.is_same(one))]
        found.update(self._with_descendants([pid for pid in more if pid not in found]))
        if self.cgroups:
            inside = self._with_descendants([pid for pid in self.cgroups.members(key) if pid not in found])
            found.update((pid, one) for pid, one in inside.items() if one.parent in inside or self._is_inside(pid, key))
        return found

    def _owns_group(self, key: str, process: Process) -> bool:
        """Whether the whole process group of a member belongs to the tree; its limit alone does not say so.

        A group is part of one session, and a session that a certain member is in was made in the tree.
        """
        recorded = self._recorded.get(process.pid) == (process.start, key)
        return recorded or self.sessions.key(process.session) == key

    def _is_inside(self, pid: int, key: str) -> bool:
        return self.cgroups is not None and self.cgroups.owner(pid) == key

    def _attribute_orphans(self) -> None:
        """Find the tree of each child of ours that was not there before."""
        children = self._children()
        if children == self._seen:
            return
        self._seen = children
        for pid in children:
            if pid not in self.leaders and pid not in self.orphans:
                self._attribute_orphan(pid)

    def _attribute_orphan(self, pid: int) -> None:
        process = proc.look(pid)
        found = self._evidence(process) if process else None
        if process is None or found is None:
            self._seen = []  # nothing can be read of it at the moment
            return
        key, certain = found
        self.orphans[pid] = key
        if not certain:
            self._by_limit.add(pid)
        if key == UNATTRIBUTED and process.lives:
            self.unreported.append(pid)
        if key in self.being_killed and process.lives:
            self._late.add(key)

    def _attribute(self, pid: int) -> tuple[str, bool] | None:
        """(key, whether more than a tracking limit says so); None when there is no such process."""
        if not self._has_proc:
            try:
                return (self.sessions.key(os.getsid(pid)) or UNATTRIBUTED, True) if pid > 0 else None
            except OSError:
                return None
        for _ in range(_LOOKS):
            process = proc.look(pid)
            if process is None:
                return None
            found = self._by_ancestors(process)
            if found is not None:
                return found
        return UNATTRIBUTED, True

    def _by_ancestors(self, process: Process) -> tuple[str, bool] | None:
        """As _attribute, for one that lives; None if the chain of its parents broke, since one of them ended."""
        for _ in range(_LONGEST_CHAIN):
            if process.parent == self._pid:
                return self._evidence(process)
            owner = self._certain_owner(process)
            if owner is not None:
                return owner, True
            if process.parent <= 1:
                break
            parent = proc.look(process.parent)
            if parent is None:
                return None
            process = parent
        return UNATTRIBUTED, True

    def _evidence(self, process: Process) -> tuple[str, bool] | None:
        """As _attribute, for a child of ours; None when nothing can be read of it."""
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
        """The tree of a process by what it can neither choose nor change."""
        start, owner = self._recorded.get(process.pid, (-1, ""))
        if start == process.start:
            return owner
        return (self.cgroups.owner(process.pid) if self.cgroups else None) or self.sessions.owner(process)

    def _children(self) -> list[int]:
        if self._has_children:
            return proc.own_children()
        return [process.pid for process in proc.everybody() if process.parent == self._pid]

    def _with_descendants(self, roots: Iterable[int]) -> dict[int, Process]:
        """These processes and all below them. One by one from parent to child, which costs by the size of the tree."""
        found: dict[int, Process] = {}
        ahead = [(pid, 0) for pid in roots]
        below: dict[int, list[int]] | None = None
        if not self._has_children and ahead:
            below = {}
            for process in proc.everybody():
                below.setdefault(process.parent, []).append(process.pid)
        for pid, parent in ahead:
            one = proc.look(pid) if pid not in found else None
            if one is not None and parent in (0, one.parent):  # else it is another process by now, or became an orphan
                found[pid] = one
                children = proc.children(pid) if below is None else below.get(pid, ())
                ahead += [(child, pid) for child in children]
        return found

    def _leaderless_group_lives(self, key: str) -> bool:
        return any(send(-session, 0) for session in self.sessions.of(key, leaderless=True))
