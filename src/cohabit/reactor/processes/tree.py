"""Whose process is this? A service is its whole process tree, and nobody may be left behind.

A tree is named by a key: a service's name ("web"), or that and a task of its own ("web", NUL, "probe"). It has
leaders, which we started: the main process, a hook beside it. A living leader's tree is its descendants. When
a parent dies, the kernel hands its children to the nearest subreaper, which is us: so whatever survives of
a tree has, at its top, a child of ours that we did not start, an *orphan*. An orphan belongs to the tree
in whose cgroup it is, where there are cgroups (cgroup.py); else to that whose session it is in (each leader
has one of its own); else to that whose mark is in its environment. Where that may not be read (another user's,
without CAP_SYS_PTRACE), is empty or is a title, it belongs to the tree whose leader has just ended, or which is being
killed. An orphan with another environment belongs to nobody: it may have come from `docker exec`. It is
reaped all the same, and swept at the end.

Without a /proc of our own namespace, a tree is its process groups. Who is told to die, and how it is seen to
that nobody forks away meanwhile, is in killing.py. Sources: credentials(7), prctl(2), cgroups(7).
"""

from __future__ import annotations

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes import cgroup, killing, proc
from cohabit.reactor.processes.cgroup import Cgroups
from cohabit.reactor.processes.proc import send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

MARK_SERVICE = "COHABIT_SERVICE"
MARK_SUPERVISOR = "COHABIT_SUPERVISOR"

NO_PROC = (
    "cannot look for processes that services leave behind: /proc is not that of our PID namespace, so one that makes "
    "itself a session of its own is not found (mount it: mount -t proc proc /proc)"
)

proc_is_ours = proc.is_ours  # else NO_PROC is to be said

NOBODY = ""  # whose what is nobody's is

_LOOKS = 3  # at a chain of parents, which changes while it is read
_LONGEST_CHAIN = 10_000


class Trees:
    """Leaders, orphans, and who they belong to. `supervisor` is in the marks, unique to us. cgroups: None does too."""

    def __init__(self, supervisor: str, cgroups: Cgroups | None = None) -> None:
        self.supervisor = supervisor
        self.cgroups = cgroups
        self.leaders: dict[int, str] = {}  # living: pid -> key
        self.sessions: dict[int, str] = {}  # session of a leader -> key, kept while its tree may live
        self.daemons: dict[int, str] = {}  # the same of leaders that we did not start
        self.orphans: dict[int, str] = {}  # pid -> key or NOBODY
        self.doomed: set[str] = set()  # killed: whoever of them turns up later must die too
        self._late: set[str] = set()  # of those, where somebody did
        self._seen: list[int] = []  # our children at the last look
        self._unsure: set[int] = set()  # orphans that could not be told
        self._pid = os.getpid()
        self._has_proc = proc.is_ours()
        self._has_children = self._has_proc and proc.shows_children()

    # --- for re-execution ----------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """What the next life has to know, as plain values."""
        return {
            "supervisor": self.supervisor,
            "cgroups": self.cgroups.to_plain() if self.cgroups else None,
            "leaders": self.leaders,
            "sessions": self.sessions,
            "daemons": self.daemons,
            "orphans": self.orphans,
            "doomed": sorted(self.doomed),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Trees:
        """The same trees again."""
        trees = cls(plain["supervisor"], Cgroups.from_plain(plain["cgroups"]) if plain["cgroups"] else None)
        trees.leaders, trees.sessions, trees.daemons = plain["leaders"], plain["sessions"], plain["daemons"]
        trees._unsure = {pid for pid, key in plain["orphans"].items() if key == NOBODY}
        trees.orphans, trees.doomed, trees._late = plain["orphans"], set(plain["doomed"]), set(plain["doomed"])
        return trees

    # --- what a new child needs ----------------------------------------------------------------------

    def marks(self, key: str) -> dict[str, str]:
        """The variables by which its processes are known; the service's name is there for people."""
        service = key.partition("\0")[0]
        marks = {MARK_SUPERVISOR: f"{self.supervisor}:{cgroup.encode(key)}"}
        return {MARK_SERVICE: service, **marks} if service else marks

    def entrance(self, key: str) -> str:
        """The file into which a child of this tree writes "0" before its exec; "" where there are no cgroups."""
        return self.cgroups.entrance(key) if self.cgroups else ""

    # --- what the reactor tells ----------------------------------------------------------------------

    def started(self, key: str, pid: int) -> None:
        """A process was forked for this tree, beside others or as its first; it leads a session of its own."""
        self.leaders[pid] = key
        self.sessions[pid] = key
        self.doomed.discard(key)
        self._late.discard(key)

    def adopt(self, key: str, pid: int) -> bool:
        """From now on this process leads the tree; False if it is no child of ours: then its end would not be told."""
        process = proc.look(pid)
        if process is None or process.parent != self._pid:
            return False
        self.orphans.pop(pid, None)
        self.leaders[pid] = key
        if process.session not in self.sessions:
            self.daemons[process.session] = key
        return True

    def reaped(self, pid: int) -> str | None:
        """A child was reaped; its tree's key if it was a leader, None if it was an orphan."""
        self.orphans.pop(pid, None)
        self._unsure.discard(pid)
        self._seen = []  # the number may come again
        return self.leaders.pop(pid, None)

    def ended(self, key: str) -> None:
        """Nothing of the tree lives besides its living leaders: other session numbers of it mean nothing any more."""
        if key in self.orphans.values():
            return
        for sessions in (self.sessions, self.daemons):
            for session in [number for number, name in sessions.items() if name == key]:
                if session not in self.leaders:
                    del sessions[session]
        self.doomed.discard(key)
        if self.cgroups and key not in self.leaders.values():
            self.cgroups.remove(key)

    def close(self) -> None:
        """Everybody is gone, and so are we in a moment."""
        if self.cgroups:
            self.cgroups.close()

    # --- what the reactor asks -----------------------------------------------------------------------

    def services_with_orphans(self, ended: Sequence[str] = ()) -> set[str]:
        """Keys of trees of which something lives apart from a leader; `ended`: whose leaders were just reaped.

        Ask after each reaping: it is also where those who turn up after their tree was killed are killed.
        """
        if not self._has_proc:
            return {key for key in self.sessions.values() if self._lost_group_lives(key)}
        self._take_in(ended)
        found = set(self.orphans.values()) - {NOBODY}
        while self._late:
            self.signal(self._late.pop(), signals.KILL)
        return found

    def orphans_of(self, key: str) -> list[int]:
        """Those of the tree that are children of ours and no leaders, as far as /proc shows them."""
        if self._has_proc:
            self._take_in()
        return [pid for pid, name in self.orphans.items() if name == key]

    def lives(self, key: str) -> bool:
        """Whether anything of the tree lives."""
        if key in self.leaders.values():
            return True
        return bool(self.orphans_of(key)) if self._has_proc else self._lost_group_lives(key)

    def members(self, key: str) -> list[int]:
        """Every process of the tree: leaders and orphans and their descendants, parents before children."""
        return list(self._find(key))

    def owner(self, pid: int) -> str | None:
        """The key of the tree that a process belongs to, "" for nobody's; None when there is no such process."""
        if not self._has_proc:
            try:
                return self.sessions.get(os.getsid(pid), NOBODY) if pid > 0 else None
            except OSError:
                return None
        for _ in range(_LOOKS):
            process = proc.look(pid)
            if process is None:
                return None
            owner = self._known(process)
            if owner is None:
                owner = self._owner_by_parents(process)
            if owner is not None:
                return owner
        return NOBODY

    def signal(self, key: str, number: int) -> None:
        """Send a signal to the whole tree; after SIGKILL nobody of it is left but zombies."""
        if number == signals.KILL:
            self.doomed.add(key)
        if not self._has_proc:
            for session in [pid for pid, name in self.sessions.items() if name == key]:
                send(-session, number)
        elif number == signals.KILL:
            self._kill(key)
            self._late.discard(key)  # who turned up while it was done
        else:
            killing.tell(self.members(key), number)

    def signal_everybody(self, number: int) -> None:
        """Send a signal to every process under us, whoever started it.

        As process 1 that is kill(-1): it is atomic and cannot leave our namespace. Anybody else walks
        down from its own children, since kill(-1) would reach the whole machine.
        """
        if self._pid == 1:
            send(-1, number)
            if number != signals.KILL:
                send(-1, signals.CONT)
        elif not self._has_proc:
            for session in self.sessions:
                send(-session, number)
        elif number == signals.KILL:
            for key in set(self.leaders.values()) if self.cgroups else ():
                self.signal(key, number)  # at once, which a walk is not
            killing.kill(lambda: self._with_descendants(self._children()))
        else:
            killing.tell(self._with_descendants(self._children()), number)

    # --- how -----------------------------------------------------------------------------------------

    def _kill(self, key: str) -> None:
        """The cgroup at once; and those whom it does not hold, who are found before their parents die with it."""
        if self.cgroups is None:
            killing.kill(lambda: self._find(key, ended=(key,)))
            return
        self.cgroups.freeze(key, frozen=True)
        inside = set(self.cgroups.members(key))
        outside = [pid for pid in self._find(key) if pid not in inside]
        gone = inside if self.cgroups.kill(key) else ()
        self.cgroups.freeze(key, frozen=False)
        killing.kill(lambda: [pid for pid in self._find(key, outside, ended=(key,)) if pid not in gone])

    def _find(self, key: str, others: Iterable[int] = (), ended: Sequence[str] = ()) -> dict[int, None]:
        """The tree's processes in the order in which they were found: leaders, orphans, `others`, those below."""
        self._take_in(ended)
        roots = [pid for pid, name in self.leaders.items() if name == key]
        roots += [pid for pid, name in self.orphans.items() if name == key]
        found = self._with_descendants([*roots, *others])
        if self.cgroups:
            found.update(dict.fromkeys(self.cgroups.members(key)))
        return found

    def _take_in(self, ended: Sequence[str] = ()) -> None:
        """Find the owner of each child of ours that we have not seen before."""
        children = self._children()
        if children != self._seen:
            self._seen = children
            for pid in children:
                if pid not in self.leaders and pid not in self.orphans:
                    self._place(pid, ended)
        for pid in list(self._unsure):
            self._place(pid)

    def _place(self, pid: int, ended: Sequence[str] = ()) -> None:
        """Find the owner of an orphan.

        One that cannot be told came to us because its parent ended: if just one tree lost its leader, it was
        that one's. Else it may be in the middle of an exec, and is looked at again the next time.
        """
        self.orphans.pop(pid, None)
        self._unsure.discard(pid)
        process = proc.look(pid)
        owner = self._known(process) if process else None
        if process and process.lives:  # a zombie has no environment any more, and harms nobody
            if owner is None:
                owner = self._owner_by_mark(pid)
            if owner is None and len(ended) == 1:
                owner = ended[0]
            if owner is None:
                self._unsure.add(pid)
            if owner in self.doomed:
                self._late.add(owner)
        self.orphans[pid] = owner or NOBODY

    def _known(self, process: proc.Process) -> str | None:
        """The tree of a process by what it is itself: one of ours, in a cgroup of ours, in a session of ours."""
        pid, session = process.pid, process.session
        owner = self.leaders.get(pid)
        if owner is None:
            owner = self.orphans.get(pid)
        if owner is None and self.cgroups:
            owner = self.cgroups.owner(pid)
        if owner is None:
            owner = self.sessions.get(session, self.daemons.get(session))
        return owner

    def _owner_by_mark(self, pid: int) -> str | None:
        """The tree named in its environment, "" if there is another's or none, None if it is not to be seen."""
        environment = proc.environment(pid)
        if environment is None:
            return None
        mark = f"{MARK_SUPERVISOR}={self.supervisor}:".encode()
        for item in environment:
            if item.startswith(mark):
                return cgroup.decode(item[len(mark) :].decode("utf-8", "replace")) or NOBODY
        return NOBODY

    def _owner_by_parents(self, process: proc.Process) -> str | None:
        """The tree of its nearest ancestor that has one; None if the chain broke, since somebody in it ended."""
        for _ in range(_LONGEST_CHAIN):
            if process.parent == self._pid:  # an orphan, and a new one
                return self._owner_by_mark(process.pid) or NOBODY
            if process.parent <= 1:
                return NOBODY
            parent = proc.look(process.parent)
            if parent is None:
                return None
            owner = self._known(parent)
            if owner is not None:
                return owner
            process = parent
        return NOBODY

    def _children(self) -> list[int]:
        if self._has_children:
            return proc.own_children()
        return [process.pid for process in proc.everybody() if process.parent == self._pid]

    def _with_descendants(self, roots: Iterable[int]) -> dict[int, None]:
        """These processes and all below them. One by one from parent to child, which costs by the size of the tree."""
        found = dict.fromkeys(roots)
        below: dict[int, list[int]] = {}
        if not self._has_children and found:
            for process in proc.everybody():
                below.setdefault(process.parent, []).append(process.pid)
        ahead = list(found)
        for pid in ahead:
            for child in below.get(pid, ()) if below else proc.children(pid):
                if child not in found:
                    found[child] = None
                    ahead.append(child)
        return found

    def _lost_group_lives(self, key: str) -> bool:
        return any(
            send(-session, 0) for session, name in self.sessions.items() if name == key and session not in self.leaders
        )
