"""The simulated Linux under the engine: processes that are forked, exec, hear signals or not, and die.

It keeps virtual time and an agenda of what will happen. It knows what is true (who lives, who was sent
SIGKILL); what process 1 learns of it, and when, is reactor.py's business. Nothing here knows the engine.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random
    from typing import Any

    from sim.plans import Climate

SIGKILL = 9
_INSTANT_SECONDS = 0.001
_PROCESSES_AT_MOST = 4  # children of one leader


class Process:
    """One process. service: whose tree it is in, "" for nobody's. code: once it is dead.

    leader: process 1 reads its end; hook: at which stage, "" for a main process. session: it made one of its own.
    """

    __slots__ = (
        "alive", "code", "deaf", "exec_failed", "executed", "hook", "killed", "leader", "pending", "pid", "service",
        "session",
    )  # fmt: skip

    def __init__(self, pid: int, service: str, hook: str = "", *, leader: bool) -> None:
        self.pid = pid
        self.service = service
        self.leader = leader
        self.hook = hook
        self.alive = True
        self.executed = not leader
        self.exec_failed = False
        self.session = False
        self.deaf = False
        self.killed = False  # SIGKILL was sent to it
        self.pending: list[int] = []  # signals that wait for its exec
        self.code = 0


class Kernel:
    """All processes and the agenda. What process 1 may notice lies in `confirmed` and `zombies`."""

    def __init__(self, rng: Random, climate: Climate) -> None:
        self.now = 0.0
        self.living: dict[int, Process] = {}
        self.confirmed: list[Process] = []  # their exec succeeded, not yet noticed
        self.zombies: list[Process] = []  # leaders that wait to be reaped
        self.healed = False
        self._rng = rng
        self._climate = climate
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._last_pid = 1

    # --- time ----------------------------------------------------------------------------------------

    def at(self, moment: float, action: Callable[..., None], *words: Any) -> None:
        """Let something happen at a moment of virtual time."""
        self._count += 1
        heapq.heappush(self._agenda, (moment, self._count, action, words))

    def next_moment(self) -> float | None:
        """When something happens next, None if nothing ever will."""
        return self._agenda[0][0] if self._agenda else None

    def advance(self, now: float) -> None:
        """Let everything happen that is due until now, in its order."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            self.now, _, action, words = heapq.heappop(agenda)
            action(*words)
        self.now = now

    # --- what process 1 asks for ---------------------------------------------------------------------

    def fork(self, service: str, hook: str = "") -> Process:
        """A new leader; its exec or the failure of it comes a moment later."""
        leader = self._born(service, hook, leader=True)
        self.at(self.now + self._instant(), self._exec, leader)
        return leader

    def members(self, service: str) -> list[Process]:
        """Everybody who lives of a service's tree."""
        return [process for process in self.living.values() if process.service == service]

    def signal(self, process: Process, number: int) -> None:
        """kill(2): a signal that comes between fork and exec waits for the exec, but for SIGKILL."""
        if not process.alive:
            return
        if number == SIGKILL:
            process.killed = True
            stuck = self._rng.choice((0.5, 1.5, 5.0, 20.0)) if self._chance(self._climate.unkillable) else 0.0
            self.at(self.now + stuck + self._instant(), self._die, process, 128 + SIGKILL)
        elif not process.executed:
            process.pending.append(number)
        elif not process.deaf:
            slow = self._rng.choice((0.3, 1.0, 8.9, 12.0)) if self._chance(self._climate.slow_to_die) else 0.0
            code = self._rng.choice((0, 128 + number, 128 + number, 128 + number, 1))
            self.at(self.now + slow + self._instant(), self._die, process, code)

    def heal(self) -> None:
        """The faults end: whoever was sent SIGKILL and is stuck gets unstuck."""
        self.healed = True
        self._climate.heal()
        for process in self.living.values():
            if process.killed:
                self.at(self.now + self._instant(), self._die, process, 128 + SIGKILL)

    # --- what happens --------------------------------------------------------------------------------

    def _exec(self, leader: Process) -> None:
        if not leader.alive:
            return
        if self._chance(self._climate.exec_fails):
            leader.exec_failed = True
            self._die(leader, self._rng.choice((126, 127)))
            return
        leader.executed = True
        leader.deaf = self._chance(self._climate.deaf)
        self.confirmed.append(leader)
        for number in leader.pending:
            self.signal(leader, number)
        if leader.hook:
            self._live_as_hook(leader)
        else:
            self._live(leader)
        if self._chance(self._climate.has_children):
            for _ in range(self._rng.randint(1, _PROCESSES_AT_MOST)):
                self._child(leader.service)

    def _live(self, leader: Process) -> None:
        if self._chance(self._climate.dies_at_once):
            self.at(self.now + self._instant(), self._die, leader, self._end_code())
        elif self._chance(self._climate.daemonises):
            self.at(self.now + self._rng.choice((0.001, 0.5, 3.0)), self._daemonise, leader)
        elif self._chance(self._climate.ends_by_itself):
            self.at(self.now + self._rng.choice((0.05, 1.0, 4.0, 11.0, 40.0)), self._die, leader, self._end_code())

    def _live_as_hook(self, leader: Process) -> None:
        if not self._chance(self._climate.hook_hangs):
            code = self._rng.choice((1, 3, 127, 143)) if self._chance(self._climate.hook_fails) else 0
            self.at(self.now + self._rng.choice((0.0005, 0.05, 0.5, 4.0)), self._die, leader, code)

    def _daemonise(self, leader: Process) -> None:
        """fork(2), setsid(2), and the parent ends; now and then several do so."""
        if not leader.alive:
            return
        for _ in range(self._rng.choice((1, 1, 1, 2))):
            daemon = self._born(leader.service, leader=False)
            daemon.session = True
            daemon.deaf = self._chance(self._climate.deaf)
            if self._chance(self._climate.ends_by_itself):
                self.at(self.now + self._rng.choice((0.0005, 1.0, 11.0)), self._die, daemon, self._end_code())
        self._die(leader, 0)

    def _child(self, service: str) -> None:
        child = self._born("" if self._chance(self._climate.escapes) else service, leader=False)
        child.deaf = self._chance(self._climate.deaf)
        if self._chance(0.5):
            self.at(self.now + self._rng.choice((0.01, 2.0, 15.0)), self._die, child, 0)

    def _die(self, process: Process, code: int) -> None:
        if not process.alive:
            return
        process.alive = False
        process.code = code
        del self.living[process.pid]
        if process.leader:
            self.zombies.append(process)

    def _born(self, service: str, hook: str = "", *, leader: bool) -> Process:
        self._last_pid += 1
        process = self.living[self._last_pid] = Process(self._last_pid, service, hook, leader=leader)
        return process

    def _end_code(self) -> int:
        return self._rng.choice((1, 3, 137, 139, 143)) if self._chance(self._climate.fails) else 0

    def _instant(self) -> float:
        return _INSTANT_SECONDS * self._rng.random()

    def _chance(self, probability: float) -> bool:
        return probability > 0.0 and self._rng.random() < probability
