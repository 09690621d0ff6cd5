"""Mutants: defects in the attribution of processes, at least one for each checker of ownership_world.py.

Each replaces functions of reactor/processes with broken ones, with a defect that has existed or that is easily made.
test_ownership_worlds.py runs each one until its checker finds it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from cohabit.reactor.processes import daemon, proc
from cohabit.reactor.processes.children import Children
from cohabit.reactor.processes.sessions import Sessions
from cohabit.reactor.processes.tracking import TrackingLimits
from cohabit.reactor.processes.tree import UNATTRIBUTED, Trees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from cohabit.reactor.processes.proc import Process
    from sim.ownership_world import World

    Mutant = Callable[[World], list[tuple[Any, str, Any]]]

_real_evidence = Trees._evidence
_real_reaped = Trees.reaped
_real_with_descendants = Trees._with_descendants
_real_session_reaped = Sessions.reaped


def attributes_to_last_ended_tree(_world: World) -> list[tuple[Any, str, Any]]:
    """An orphan without evidence belongs to the tree whose leader was reaped last."""
    last = [UNATTRIBUTED]

    def reaped(self: Trees, pid: int, ticks: int) -> str | None:
        key = _real_reaped(self, pid, ticks)
        last[0] = key or last[0]
        return key

    def evidence(self: Trees, process: Process) -> tuple[str, bool] | None:
        found = _real_evidence(self, process)
        return (last[0], True) if found and found[0] == UNATTRIBUTED else found

    return [(Trees, "reaped", reaped), (Trees, "_evidence", evidence)]


def attributes_to_running_probe(_world: World) -> list[tuple[Any, str, Any]]:
    """An orphan without evidence belongs to a probe that runs at the moment."""

    def evidence(self: Trees, process: Process) -> tuple[str, bool] | None:
        found = _real_evidence(self, process)
        tasks = [key for key in self.leaders.values() if "\0" in key]
        return (tasks[0], True) if tasks and found and found[0] == UNATTRIBUTED else found

    return [(Trees, "_evidence", evidence)]


def trusts_environment(world: World) -> list[tuple[Any, str, Any]]:
    """An orphan without other evidence belongs to the tree that its environment names."""

    def evidence(self: Trees, process: Process) -> tuple[str, bool] | None:
        found = _real_evidence(self, process)
        key = world.kernel.environment(process.pid)
        return (key, True) if key and found and found[0] == UNATTRIBUTED else found

    return [(Trees, "_evidence", evidence)]


def ignores_start_time(_world: World) -> list[tuple[Any, str, Any]]:
    """A signal goes to any process that has the pid now."""
    return [(proc, "is_same", lambda process: proc.read_process(process.pid) is not None)]


def trusts_reused_pids(_world: World) -> list[tuple[Any, str, Any]]:
    """Any process with the pid of a recorded member is taken for it."""
    real = Trees._certain_owner

    def certain_owner(self: Trees, process: Process) -> str | None:
        recorded = self._recorded.get(process.pid)
        return recorded[1] if recorded else real(self, process)

    def reaped(self: Trees, pid: int, ticks: int) -> str | None:
        before = dict(self._recorded)
        key = _real_reaped(self, pid, ticks)
        self._recorded = before
        return key

    return [(Trees, "_certain_owner", certain_owner), (Trees, "reaped", reaped)]


def trusts_reused_session_ids(_world: World) -> list[tuple[Any, str, Any]]:
    """The session id of an ended leader always means that leader's session."""

    def owner(self: Sessions, process: Process) -> str | None:
        return self.key(process.session)

    return [(Sessions, "owner", owner)]


def keeps_ended_sessions(_world: World) -> list[tuple[Any, str, Any]]:
    """A session is taken as alive until another process with the pid of its leader is reaped."""

    def reaped(self: Sessions, number: int, ticks: int) -> None:
        if number in self._sessions:
            self._sessions[number].reaped = ticks

    return [(Sessions, "reaped", reaped)]


def stops_any_group(_world: World) -> list[tuple[Any, str, Any]]:
    """The whole process group of a process that has only the limit is stopped."""
    return [(Trees, "_owns_group", lambda _self, _key, _process: True)]


def stops_groups_in_reused_sessions(_world: World) -> list[tuple[Any, str, Any]]:
    """The whole process group of a process that has only the limit is stopped if its session number was the tree's."""

    def owns_group(self: Trees, key: str, process: Process) -> bool:
        return self.sessions.key(process.session) == key

    return [(Trees, "_owns_group", owns_group)]


def ignores_limits(_world: World) -> list[tuple[Any, str, Any]]:
    """Tracking limits are set, but not read."""
    return [(TrackingLimits, "owner", lambda _self, _limit: None)]


def forgets_too_early(_world: World) -> list[tuple[Any, str, Any]]:
    """A tree that is being killed is forgotten when its last known process is reaped, without a search for others."""

    def reaped(self: Trees, pid: int, ticks: int) -> str | None:
        key = self.orphans.get(pid)
        leader = _real_reaped(self, pid, ticks)
        if key in self._ending:
            self.ended(key)
        return leader

    return [(Trees, "reaped", reaped)]


def reads_children_once(_world: World) -> list[tuple[Any, str, Any]]:
    """The children of a tree are read once, so that later ones are missed."""

    def attribute_orphans(self: Trees) -> None:
        for pid in self.children():
            if pid not in self.leaders and pid not in self.orphans:
                self.orphans[pid] = UNATTRIBUTED

    return [(Trees, "_attribute_orphans", attribute_orphans)]


def trusts_every_pid_file(_world: World) -> list[tuple[Any, str, Any]]:
    """Any child of process 1 that a pid file names is taken as the daemon."""
    return [(daemon, "_check", lambda *_arguments: None)]


def trusts_every_limit(_world: World) -> list[tuple[Any, str, Any]]:
    """A limit is taken as full evidence."""

    def speaks_for(self: Trees, key: str, pid: int, _uid: int) -> bool | None:
        return self.owner(pid) == key

    return [(Trees, "speaks_for", speaks_for)]


def adopts_hook(_world: World) -> list[tuple[Any, str, Any]]:
    """A hook that a pid file names becomes the main process, and its end is not reported as the end of a hook."""
    real = Children.adopt

    def adopt(self: Children, name: str, pid: int) -> bool:
        self._by_pid.pop(pid, None)
        return real(self, name, pid)

    return [(Children, "adopt", adopt)]


def overlooks_what_is_gone(_world: World) -> list[tuple[Any, str, Any]]:
    """A kill ends with a pass in which a process ended before it was read: its children are missing."""

    def with_descendants(self: Trees, roots: Iterable[int]) -> dict[int, Process]:
        found = _real_with_descendants(self, roots)
        return {pid: process for pid, process in found.items() if not process.is_gone}

    return [(Trees, "_with_descendants", with_descendants)]


MUTANTS: list[tuple[Mutant, str]] = [
    (attributes_to_last_ended_tree, "Signals"),
    (attributes_to_running_probe, "Signals"),
    (trusts_environment, "Signals"),
    (ignores_start_time, "Signals"),
    (trusts_reused_pids, "Signals"),
    (trusts_reused_session_ids, "Signals"),
    (keeps_ended_sessions, "Signals"),
    (stops_any_group, "Signals"),
    (stops_groups_in_reused_sessions, "Signals"),
    (ignores_limits, "LeftBehind"),
    (forgets_too_early, "LeftBehind"),
    (reads_children_once, "LeftBehind"),
    (overlooks_what_is_gone, "LeftBehind"),
    (trusts_every_pid_file, "Adoption"),
    (trusts_every_limit, "Authority"),
    (adopts_hook, "Liveness"),
]


@contextlib.contextmanager
def installed(defects: list[tuple[Any, str, Any]]) -> Iterator[None]:
    """Install these replacements until the end of the block."""
    before = [(place, name, getattr(place, name)) for place, name, _ in defects]
    try:
        for place, name, value in defects:
            setattr(place, name, value)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)
