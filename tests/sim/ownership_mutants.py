"""Planted bugs in the attribution of processes, one for each sentence that a checker of ownership_world.py can say.

Each replaces a function of reactor/processes by one with a defect of the kind that was there, or that is easily made.
tests/sim/test_ownership_worlds.py runs each until its checker finds it.
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
    from collections.abc import Callable, Iterator
    from typing import Any

    from cohabit.reactor.processes.proc import Process
    from sim.ownership_world import World

    Planted = Callable[[World], list[tuple[Any, str, Any]]]

_real_evidence = Trees._evidence
_real_reaped = Trees.reaped
_real_session_reaped = Sessions.reaped


def attributes_to_what_just_ended(_world: World) -> list[tuple[Any, str, Any]]:
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


def attributes_to_running_tasks(_world: World) -> list[tuple[Any, str, Any]]:
    """An orphan without evidence belongs to a probe that runs at the moment."""

    def evidence(self: Trees, process: Process) -> tuple[str, bool] | None:
        found = _real_evidence(self, process)
        tasks = [key for key in self.leaders.values() if "\0" in key]
        return (tasks[0], True) if tasks and found and found[0] == UNATTRIBUTED else found

    return [(Trees, "_evidence", evidence)]


def trusts_the_environment(world: World) -> list[tuple[Any, str, Any]]:
    """An orphan without other evidence belongs to the tree that its environment names."""

    def evidence(self: Trees, process: Process) -> tuple[str, bool] | None:
        found = _real_evidence(self, process)
        key = world.kernel.environment(process.pid)
        return (key, True) if key and found and found[0] == UNATTRIBUTED else found

    return [(Trees, "_evidence", evidence)]


def does_not_compare_the_start(_world: World) -> list[tuple[Any, str, Any]]:
    """A signal goes to whoever has the number now."""
    return [(proc, "is_same", lambda process: proc.look(process.pid) is not None)]


def trusts_records_of_old_numbers(_world: World) -> list[tuple[Any, str, Any]]:
    """Whoever has the number of a recorded member is one."""
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


def trusts_old_sessions(_world: World) -> list[tuple[Any, str, Any]]:
    """The number of a dead leader's session always means that session."""

    def owner(self: Sessions, process: Process) -> str | None:
        return self.key(process.session)

    return [(Sessions, "owner", owner)]


def renews_old_sessions(_world: World) -> list[tuple[Any, str, Any]]:
    """A session is taken for alive until another process of its leader's number is reaped."""

    def reaped(self: Sessions, number: int, ticks: int) -> None:
        if number in self._sessions:
            self._sessions[number].reaped = ticks

    return [(Sessions, "reaped", reaped)]


def stops_any_group(_world: World) -> list[tuple[Any, str, Any]]:
    """The whole process group of a process that has nothing but a limit is stopped."""
    return [(Trees, "_owns_group", lambda _self, _key, _process: True)]


def ignores_limits(_world: World) -> list[tuple[Any, str, Any]]:
    """Tracking limits are set and not read."""
    return [(TrackingLimits, "owner", lambda _self, _limit: None)]


def forgets_too_early(_world: World) -> list[tuple[Any, str, Any]]:
    """A tree that is being killed is forgotten when its last known process is reaped, before others are looked for."""

    def reaped(self: Trees, pid: int, ticks: int) -> str | None:
        key = self.orphans.get(pid)
        leader = _real_reaped(self, pid, ticks)
        if key in self._ending:
            self.ended(key)
        return leader

    return [(Trees, "reaped", reaped)]


def never_looks_again(_world: World) -> list[tuple[Any, str, Any]]:
    """The children are read once for each tree, so what turns up later is not seen."""

    def attribute_orphans(self: Trees) -> None:
        for pid in self._children():
            if pid not in self.leaders and pid not in self.orphans:
                self.orphans[pid] = UNATTRIBUTED

    return [(Trees, "_attribute_orphans", attribute_orphans)]


def believes_every_pid_file(_world: World) -> list[tuple[Any, str, Any]]:
    """What a pid file names is the daemon, if it is a child of ours."""
    return [(daemon, "_check", lambda *_arguments: None)]


def believes_every_limit(_world: World) -> list[tuple[Any, str, Any]]:
    """A limit is as good as any other evidence."""

    def speaks_for(self: Trees, key: str, pid: int, _uid: int) -> bool | None:
        return self.owner(pid) == key

    return [(Trees, "speaks_for", speaks_for)]


def adopts_its_hook(_world: World) -> list[tuple[Any, str, Any]]:
    """A hook that a pid file names becomes the main process, and its end is no hook's any more."""
    real = Children.adopt

    def adopt(self: Children, name: str, pid: int) -> bool:
        self._by_pid.pop(pid, None)
        return real(self, name, pid)

    return [(Children, "adopt", adopt)]


PLANTED: list[tuple[Planted, str]] = [
    (attributes_to_what_just_ended, "Signals"),
    (attributes_to_running_tasks, "Signals"),
    (trusts_the_environment, "Signals"),
    (does_not_compare_the_start, "Signals"),
    (trusts_records_of_old_numbers, "Signals"),
    (trusts_old_sessions, "Signals"),
    (renews_old_sessions, "Signals"),
    (stops_any_group, "Signals"),
    (ignores_limits, "LeftBehind"),
    (forgets_too_early, "LeftBehind"),
    (never_looks_again, "LeftBehind"),
    (believes_every_pid_file, "Adoption"),
    (believes_every_limit, "Authority"),
    (adopts_its_hook, "Liveness"),
]


@contextlib.contextmanager
def planted(defects: list[tuple[Any, str, Any]]) -> Iterator[None]:
    """Have these in place until the block is over."""
    before = [(place, name, getattr(place, name)) for place, name, _ in defects]
    try:
        for place, name, value in defects:
            setattr(place, name, value)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)
