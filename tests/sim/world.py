"""One seeded world: the real Supervisor, a simulated reactor and kernel, virtual time, and the judges.

The reactor here keeps the promises of reactor/loop.py and reactor/children.py, which is all that the engine
may rely on: effects are carried out in order; Exited never comes before Spawned; SpawnFailed only when
nothing of it runs; TreeGone only after Exited(orphans=True); Swept when no process is left; several stop
signals at once are one request. Everything else is left to chance: how late process 1 wakes, which facts
of one instant come first, when it re-executes itself.
"""

from __future__ import annotations

import marshal
from random import Random
from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Plan, Service
from cohabit.plan.record import from_plain, to_plain
from sim.checkers import CHECKERS, Violation
from sim.kernel import Kernel, Process
from sim.ledger import Ledger
from sim.plans import Climate, random_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from sim.checkers import Checker

START_SECONDS = 100.0  # no clock of a real machine starts at zero
_HEALED_AFTER_SECONDS = (1.0, 20.0, 60.0, 200.0)
_STEPS_WITH_FAULTS = 300
_STEPS_AT_MOST = 3000
_SYSTEM = 71
_TERM_LIKE = (15, 15, 15, 2, 3)


class World:
    """A world and its history. run() ends well or raises Violation."""

    def __init__(
        self,
        seed: int,
        supervisor: Callable[[], Supervisor] = Supervisor,
        checkers: Iterable[type[Checker]] = CHECKERS,
        tell: Callable[[float, str], None] | None = None,
    ) -> None:
        self.rng = Random(seed)  # noqa: S311 - a simulation, not a secret
        self.climate = Climate(self.rng)
        self.plan = random_plan(self.rng)
        self.kernel = Kernel(self.rng, self.climate)
        self.ledger = Ledger()
        self.now = self.kernel.now = START_SECONDS
        self.late_seconds = 0.0  # in all: how late process 1 woke
        self.leaders: dict[str, Process] = {}  # from fork to reaping
        self.probing: dict[str, int] = {}  # who is asked whether it is ready
        self.loading = True
        self.facts: list[Event] = []
        self.steps = 0
        self._starting: set[str] = set()  # their exec is not confirmed
        self._haunted: set[str] = set()  # leader gone, orphans live
        self._sweeping = False
        self._seen: list[Event] = []  # by the gathering that goes on
        self._requests: list[int] = []
        self._tell = tell
        self._supervisor = supervisor
        self.engine = supervisor()
        self._checkers = [checker(self) for checker in checkers]
        self._plan_the_outside()

    # --- the loop ------------------------------------------------------------------------------------

    def run(self) -> None:
        """To the Exit. Raises Violation, with the story so far told."""
        while not self.ledger.done:
            self._feed()
            if self.ledger.done:
                return
            deadline = self.engine.deadline()
            for checker in self._checkers:
                checker.quiet(deadline, self.now)
            if self.rng.random() < self.climate.reexecutes:
                self._reexecute()
            self._wait(deadline)
            self._gather()

    def _feed(self) -> None:
        while self.facts and not self.ledger.done:
            fact = self.facts.pop(0)
            if self._tell:
                self._tell(self.now, f"fact    {in_short(fact)}")
            self.ledger.take(fact, self.now)
            wanted = self.engine.step(fact, self.now)
            for checker in self._checkers:
                checker.stepped(fact, wanted, self.now)
            for effect in wanted:
                self._perform(effect)
            self.steps += 1
            if self.steps == _STEPS_WITH_FAULTS:
                self._heal()
            if self.steps > _STEPS_AT_MOST:
                raise Violation("Liveness", f"it goes on and on: {_STEPS_AT_MOST} facts and no Exit")

    def _wait(self, deadline: float | None) -> None:
        """Sleep until something happens or the engine's deadline has come, now and then longer."""
        moments = [moment for moment in (deadline, self.kernel.next_moment()) if moment is not None]
        if not moments:
            raise Violation("Liveness", "nothing will ever happen again, and no Exit")
        wake = max(self.now, min(moments))
        if self.climate.late and self.rng.random() < self.climate.late:
            late = self.rng.choice((0.001, 0.1, 2.5))
            self.late_seconds += late
            wake += late
        self.now = wake
        self.kernel.advance(wake)

    # --- from the world to facts ---------------------------------------------------------------------

    def _gather(self) -> None:
        """What process 1 sees when it wakes, in the order of reactor/loop.py or in any order."""
        for process in self.kernel.confirmed:
            self._confirmed(process)
        self.kernel.confirmed.clear()
        self._reap()
        if self._requests:
            self._seen.insert(0, events.StopRequested(min(self._requests)))
            self._requests.clear()
        deadline = self.engine.deadline()
        if deadline is not None and deadline <= self.now:
            self._seen.append(events.Due())
        self.facts += self._shuffled(self._seen) if self.climate.shuffles else self._seen
        self._seen = []

    def _confirmed(self, process: Process) -> None:
        name = process.service
        if name in self._starting and self.leaders[name] is process:
            self._starting.discard(name)
            self._seen.append(events.Spawned(name, process.pid))

    def _reap(self) -> None:
        zombies, self.kernel.zombies = self.kernel.zombies, []
        self.rng.shuffle(zombies)
        for process in zombies:
            self._ended(process)
        for name in sorted(self._haunted):
            if not self.kernel.members(name):
                self._haunted.discard(name)
                self._seen.append(events.TreeGone(name))
        if self._sweeping and not self.kernel.living:
            self._seen.append(events.Swept())
            self._sweeping = False

    def _ended(self, process: Process) -> None:
        name = process.service
        del self.leaders[name]
        if name in self._starting:
            self._starting.discard(name)
            if process.exec_failed:
                self._seen.append(events.SpawnFailed(name, f"{name!r} is not found", process.code))
                return
            self._seen.append(events.Spawned(name, process.pid))
        orphans = bool(self.kernel.members(name))
        self._seen.append(events.Exited(name, process.code, orphans))
        if orphans:
            self._haunted.add(name)

    def _shuffled(self, facts: list[Event]) -> list[Event]:
        """Any order in which the facts about one service keep theirs."""
        lanes: dict[object, list[Event]] = {}
        turns: list[object] = []
        for number, fact in enumerate(facts):
            lane = getattr(fact, "service", number)
            lanes.setdefault(lane, []).append(fact)
            turns.append(lane)
        self.rng.shuffle(turns)
        return [lanes[lane].pop(0) for lane in turns]

    # --- from effects to the world -------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        if self._tell:
            self._tell(self.now, f"  effect  {in_short(effect)}")
        for checker in self._checkers:
            checker.effect(effect, self.now)
        self.ledger.note(effect, self.now)
        match effect:
            case effects.Spawn(service):
                self._spawn(service.name)
            case effects.Signal(name, number):
                if name in self.leaders:
                    self.kernel.signal(self.leaders[name], number)
            case effects.SignalTree(name, number):
                for process in self.kernel.members(name):
                    self.kernel.signal(process, number)
            case effects.StartProbe(service):
                self._start_probe(service)
            case effects.StopProbe(name):
                self.probing.pop(name, None)
            case effects.Sweep(number):
                self._sweep(number)

    def _spawn(self, name: str) -> None:
        if self.rng.random() < self.climate.fork_fails:
            self.facts.append(events.SpawnFailed(name, "no room for another process", _SYSTEM))
            return
        self.leaders[name] = self.kernel.fork(name)
        self._starting.add(name)

    def _start_probe(self, service: Service) -> None:
        token = self.probing[service.name] = self.steps
        if self.rng.random() >= self.climate.probe_never_passes:
            moment = self.now + self.rng.choice((0.0, 0.1, 1.0, 30.0))
            self.kernel.at(moment, self._probe_passes, service.name, token)

    def _probe_passes(self, name: str, token: int) -> None:
        if self.probing.get(name) == token:
            del self.probing[name]
            self._seen.append(events.ProbePassed(name))

    def _sweep(self, number: int) -> None:
        for process in list(self.kernel.living.values()):
            self.kernel.signal(process, number)
        if self.kernel.living:
            self._sweeping = True
        else:
            self.facts.append(events.Swept())

    # --- what comes from outside ---------------------------------------------------------------------

    def _plan_the_outside(self) -> None:
        """The loader's answer, stop signals once or more at any moment, an internal error; the faults' end."""
        rng, at = self.rng, self.kernel.at
        ready = rng.choice((0.03, 0.03, 0.03, 2.0))
        at(self.now + ready, self._loaded)
        healed = ready + rng.choice(_HEALED_AFTER_SECONDS)
        at(self.now + healed, self._heal)
        if rng.random() < 0.7:
            asked = self.now + rng.choice((0.04, 1.0, healed, healed, healed)) * rng.random()
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                at(asked, self._platform_signal if rng.random() < 0.6 else self._request, rng.choice(_TERM_LIKE))
                asked += rng.choice((0.0, 0.001, 0.5, 5.0))
        if rng.random() < 0.05:
            at(self.now + healed * rng.random(), self._breaks)

    def _loaded(self) -> None:
        self.loading = False
        if self.rng.random() < 0.03:
            self._seen.append(events.LoadFailed(("cohabit.yaml:3: unknown key",), 78))
        else:
            self._seen.append(events.Loaded(self.plan))

    def _request(self, number: int) -> None:
        self._requests.append(number)

    def _platform_signal(self, number: int) -> None:
        """Somebody signals every process of the container, and us a moment later or at once."""
        for process in list(self.kernel.living.values()):
            self.kernel.signal(process, number)
        self.kernel.at(self.kernel.now + self.rng.choice((0.0, 0.0003, 0.0003)), self._request, number)

    def _breaks(self) -> None:
        self._seen.append(events.Broken("internal errors keep coming"))

    def _heal(self) -> None:
        """The faults end, and somebody asks for the end if nobody did: from here on it must get there."""
        if not self.kernel.healed:
            if self._tell:
                self._tell(self.now, "world   the faults end")
            self.kernel.heal()
            if self.ledger.ending_at is None:
                self.kernel.at(self.now, self._request, 15)

    def _reexecute(self) -> None:
        """Process 1 replaces itself: state crosses as bytes, the loader and the probes begin anew."""
        if self._tell:
            self._tell(self.now, "world   re-execution")
        plain = {"plan": to_plain(self.engine.plan), "engine": self.engine.to_plain()}
        taken = marshal.loads(marshal.dumps(plain))  # noqa: S302 - our own bytes
        before = self.engine
        self.engine = self._supervisor()
        self.engine.restore(from_plain(taken["plan"]), taken["engine"])
        for checker in self._checkers:
            checker.reexecuted(before, self.engine)
        for name in list(self.probing):
            self._start_probe(self.plan.services[name])


def in_short(record: Event | Effect) -> str:
    """A fact or an effect as one readable line: a service by its name, a Plan by its names."""
    parts = []
    for name in record._fields:
        value = getattr(record, name)
        if isinstance(value, Service):
            value = value.name
        elif isinstance(value, Plan):
            value = ", ".join(value.services)
        parts.append(f"{name}={value!r}")
    return f"{type(record).__name__}({', '.join(parts)})"
