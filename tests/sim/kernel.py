"""The simulated Linux under the engine: processes that fork, exec, get signals and end.

It has virtual time and an agenda of what will happen. It knows which processes are alive and which were sent SIGKILL.
reactor.py decides what process 1 learns of that, and when. Nothing here knows the engine.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random
    from typing import Any

    from sim.plans import FaultProfile

SIGKILL = 9
_SIGNALLED = 128
_INSTANT_SECONDS = 0.001
_PROCESSES_AT_MOST = 4  # children of one process


class Process:
    """One process.

    service: the tree that it belongs to, "" for none. leader: a child of process 1, which reads its exit status.
    hook: its stage, "" for a main process. session: it made a session of its own. code: its exit code, once it ended.
    by_signal: a signal ended it; a shell exits with such a code, too.
    """

    __slots__ = (
        "alive", "by_signal", "code", "exec_failed", "executed", "hook", "ignores_signals", "killed", "leader",
        "pending", "pid", "service", "session",
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
        self.ignores_signals = False
        self.killed = False  # SIGKILL was sent to it
        self.pending: list[int] = []  # signals that wait for its exec
        self.code = 0
        self.by_signal = False


class Kernel:
    """All processes and the agenda. `confirmed` and `zombies` are what process 1 can notice."""

    def __init__(self, rng: Random, faults: FaultProfile) -> None:
        self.now = 0.0
        self.living: dict[int, Process] = {}
        self.confirmed: list[Process] = []  # exec succeeded, not noticed yet
        self.zombies: list[Process] = []  # not reaped yet
        self.faults_ended = False
        self.paused: set[str] = set()  # services whose processes do not run
        self._held: list[tuple[str, Callable[..., None], tuple[Any, ...]]] = []  # what they would have done
        self._rng = rng
        self._faults = faults
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._last_pid = 1

    # --- time ----------------------------------------------------------------------------------------

    def at(self, moment: float, action: Callable[..., None], *arguments: Any) -> None:
        """Schedule an action at a moment of virtual time, in seconds."""
        self._count += 1
        heapq.heappush(self._agenda, (moment, self._count, action, arguments))

    def next_moment(self) -> float | None:
        """The moment of the next action, None for none."""
        return self._agenda[0][0] if self._agenda else None

    def freeze(self, seconds: float) -> None:
        """Nothing runs for this time: neither process 1 nor any other process."""
        self._agenda = [(moment + seconds, *entry[1:]) for entry in self._agenda for moment in entry[:1]]

    def unpause(self, service: str) -> None:
        """Let the processes of a service run again: what they would have done happens now."""
        self.paused.discard(service)
        held, self._held = self._held, [entry for entry in self._held if entry[0] != service]
        for name, action, arguments in held:
            if name == service:
                self.at(self.now + self._instant(), action, *arguments)

    def _is_held(self, process: Process, action: Callable[..., None], *arguments: Any) -> bool:
        """Whether it is paused, so that this happens later."""
        held = process.service in self.paused and not process.killed
        if held:
            self._held.append((process.service, action, (process, *arguments)))
        return held

    def advance(self, now: float) -> None:
        """Run all actions that are due until now, in order."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            self.now, _, action, arguments = heapq.heappop(agenda)
            action(*arguments)
        self.now = now

    # --- system calls of process 1 -------------------------------------------------------------------

    def fork(self, service: str, hook: str = "") -> Process:
        """Create a child of process 1. Its exec succeeds or fails a moment later."""
        leader = self._create(service, hook, leader=True)
        self.at(self.now + self._instant(), self._exec, leader)
        return leader

    def members(self, service: str) -> list[Process]:
        """All living processes of a service's tree."""
        return [process for process in self.living.values() if process.service == service]

    def signal(self, process: Process, number: int) -> None:
        """kill(2). A signal between fork and exec has its effect after the exec, except SIGKILL."""
        if not process.alive:
            return
        if number == SIGKILL:
            process.killed = True
            stuck = self._rng.choice((0.5, 1.5, 5.0, 20.0)) if self._chance(self._faults.unkillable) else 0.0
            self.at(self.now + stuck + self._instant(), self._die, process, 128 + SIGKILL)
        elif not process.executed:
            process.pending.append(number)
        elif not process.ignores_signals:
            slow = self._rng.choice((0.3, 1.0, 8.9, 12.0)) if self._chance(self._faults.slow_to_die) else 0.0
            code = self._rng.choice((0, 128 + number, 128 + number, 128 + number, 1))
            self.at(self.now + slow + self._instant(), self._die, process, code)

    def end_faults(self) -> None:
        """The faults end. A process that was sent SIGKILL and is stuck ends."""
        self.faults_ended = True
        self._faults.end_faults()
        for process in self.living.values():
            if process.killed:
                self.at(self.now + self._instant(), self._die, process, 128 + SIGKILL)

    # --- life cycle of a process ---------------------------------------------------------------------

    def _exec(self, leader: Process) -> None:
        if not leader.alive:
            return
        if self._chance(self._faults.exec_fails):
            leader.exec_failed = True
            self._die(leader, self._rng.choice((126, 127)))
            return
        leader.executed = True
        leader.ignores_signals = self._chance(self._faults.ignores_signals)
        self.confirmed.append(leader)
        for number in leader.pending:
            self.signal(leader, number)
        if leader.hook:
            self._schedule_hook_end(leader)
        else:
            self._schedule_end(leader)
        if self._chance(self._faults.has_children):
            for _ in range(self._rng.randint(1, _PROCESSES_AT_MOST)):
                self._child(leader.service)

    def _schedule_end(self, leader: Process) -> None:
        if self._chance(self._faults.dies_at_once):
            self.at(self.now + self._instant(), self._die, leader, self._end_code())
        elif self._chance(self._faults.daemonises):
            self.at(self.now + self._rng.choice((0.001, 0.5, 3.0)), self._daemonise, leader)
        elif self._chance(self._faults.ends_by_itself):
            self.at(self.now + self._rng.choice((0.05, 1.0, 4.0, 11.0, 40.0)), self._die, leader, self._end_code())

    def _schedule_hook_end(self, leader: Process) -> None:
        if not self._chance(self._faults.hook_hangs):
            code = self._rng.choice((1, 3, 127, 143)) if self._chance(self._faults.hook_fails) else 0
            self.at(self.now + self._rng.choice((0.0005, 0.05, 0.5, 4.0)), self._die, leader, code)

    def _daemonise(self, leader: Process) -> None:
        """fork(2), setsid(2), and the parent exits. Sometimes several children do so."""
        if not leader.alive or self._is_held(leader, self._daemonise):
            return
        for _ in range(self._rng.choice((1, 1, 1, 2))):
            daemon = self._create(leader.service, leader=False)
            daemon.session = True
            daemon.ignores_signals = self._chance(self._faults.ignores_signals)
            if self._chance(self._faults.ends_by_itself):
                self.at(self.now + self._rng.choice((0.0005, 1.0, 11.0)), self._die, daemon, self._end_code())
        self._die(leader, 0)

    def _child(self, service: str) -> None:
        child = self._create("" if self._chance(self._faults.escapes) else service, leader=False)
        child.ignores_signals = self._chance(self._faults.ignores_signals)
        if self._chance(0.5):
            self.at(self.now + self._rng.choice((0.01, 2.0, 15.0)), self._die, child, 0)

    def _die(self, process: Process, code: int) -> None:
        if not process.alive or self._is_held(process, self._die, code):
            return
        process.alive = False
        process.code = code
        process.by_signal = process.killed or (code > _SIGNALLED and process.pid % 2 == 0)
        del self.living[process.pid]
        if process.leader:
            self.zombies.append(process)

    def _create(self, service: str, hook: str = "", *, leader: bool) -> Process:
        self._last_pid += 1
        process = self.living[self._last_pid] = Process(self._last_pid, service, hook, leader=leader)
        return process

    def _end_code(self) -> int:
        return self._rng.choice((1, 3, 137, 139, 143)) if self._chance(self._faults.fails) else 0

    def _instant(self) -> float:
        return _INSTANT_SECONDS * self._rng.random()

    def _chance(self, probability: float) -> bool:
        return probability > 0.0 and self._rng.random() < probability
