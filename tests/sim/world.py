"""One seeded world: the real Supervisor, a simulated reactor and kernel, virtual time, and the judges.

What the reactor promises is reactor.py's. Here is what nobody promises anything about: how late process 1 wakes,
which facts of one instant come first, when it re-executes itself, and what comes from outside at any moment: requests
to stop, once or more; other files, whole and broken, and requests to read them; the times of schedules; errors of ours;
and somebody who starts, stops, restarts, kills and signals single services.
"""

from __future__ import annotations

import marshal
from random import Random
from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Plan, Service
from cohabit.plan.record import from_plain, to_plain
from sim.checker import Checker, Violation
from sim.checkers import CHECKERS
from sim.kernel import Kernel
from sim.model import Ledger
from sim.plans import NAMES, Climate, Temper, changed_plan, random_plan, scaled_plan
from sim.reactor import Reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event

START_SECONDS = 100.0  # no clock of a real machine starts at zero
_HEALED_AFTER_SECONDS = (1.0, 20.0, 60.0, 200.0)
_STEPS_WITH_FAULTS = 300
_STEPS_AT_MOST = 3000
_TERM_LIKE = (15, 15, 15, 2, 3)
_VISITOR = 1 << 64
_HAS_A_VISITOR = 0.5  # of the worlds
_SELDOM, _OFTEN = 0.1, 0.5
_ACTIONS = ("start", "start", "start", "stop", "stop", "restart", "restart", "kill", "signal", "scale")
_SIGNALS = (1, 10, 15)
_AFTER_THE_END: tuple[Event, ...] = (events.ReloadRequested(), events.StopRequested(15), events.Due())


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
        # What is asked of single services has a generator of its own: a world without that tells its story unchanged.
        self.visitor = Random(seed + _VISITOR)  # noqa: S311 - the same
        self.climate = Climate(self.rng)
        self.temper = Temper(self.rng)
        self.plan = random_plan(self.rng, self.temper)  # what the file says, were it whole
        self.kernel = Kernel(self.rng, self.climate)
        self.reactor = Reactor(self.rng, self.climate, self.kernel)
        self.ledger = Ledger()
        self.now = self.kernel.now = START_SECONDS
        self.late_seconds = 0.0  # in all: how late process 1 woke
        self.facts = self.reactor.facts
        self.steps = 0
        self._broken = self.rng.random() < 0.03  # the file is
        self._readings = 0
        self._seen: list[Event] = []  # from outside, by the gathering that goes on
        self._requests: list[int] = []
        self._last_asked: tuple[str, ...] = ()
        self._visits_left = self.visitor.choice((1, 2, 4, 8, 16)) if self.visitor.random() < _HAS_A_VISITOR else 0
        self._tell = tell
        self._supervisor = supervisor
        self.engine = supervisor()
        self._checkers = [checker(self) for checker in checkers]
        self._at_step = self._interested("stepped")
        self._at_effect = self._interested("effect")
        self._at_rest = self._interested("quiet")
        self._plan_the_outside()

    def _interested(self, moment: str) -> list[Callable[..., None]]:
        """What the judges do at a moment of a world, without those who do nothing then."""
        idle = getattr(Checker, moment)
        return [getattr(checker, moment) for checker in self._checkers if getattr(type(checker), moment) is not idle]

    # --- the loop ------------------------------------------------------------------------------------

    def run(self) -> None:
        """To the Exit. Raises Violation, with the story so far told."""
        while not self.ledger.done:
            self._feed()
            if self.ledger.done:
                self._feed_after_the_end()
                return
            deadline = self.engine.deadline()
            for judge in self._at_rest:
                judge(deadline, self.now)
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
            for judge in self._at_step:
                judge(fact, wanted, self.now)
            for effect in wanted:
                self._perform(effect)
            self.steps += 1
            if self.steps == _STEPS_WITH_FAULTS:
                self._heal()
            if self.steps > _STEPS_AT_MOST:
                raise Violation("Liveness", f"it goes on and on: {_STEPS_AT_MOST} facts and no Exit")

    def _feed_after_the_end(self) -> None:
        """The reactor empties its queue before it leaves."""
        for fact in (*self.facts, *_AFTER_THE_END):
            wanted = self.engine.step(fact, self.now)
            for checker in self._checkers:
                checker.after_the_end(fact, wanted)

    def _perform(self, effect: Effect) -> None:
        if self._tell:
            self._tell(self.now, f"  effect  {in_short(effect)}")
        for judge in self._at_effect:
            judge(effect, self.now)
        self.ledger.note(effect, self.now)
        if isinstance(effect, effects.Load):
            self._read(effect.scale)
        else:
            self.reactor.perform(effect)

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

    def _gather(self) -> None:
        """What process 1 sees when it wakes, in the order of reactor/loop.py or in any order."""
        seen = [*self._seen, *self.reactor.gather()]
        self._seen = []
        if self._requests:
            seen.insert(0, events.StopRequested(min(self._requests)))
            self._requests.clear()
        deadline = self.engine.deadline()
        if deadline is not None and deadline <= self.now:
            seen.append(events.Due())
        self.facts += self._shuffled(seen) if self.climate.shuffles else seen

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

    # --- what comes from outside ---------------------------------------------------------------------

    def _plan_the_outside(self) -> None:
        """The loader's answer, requests of every kind at any moment, an internal error; the faults' end."""
        rng, at = self.rng, self.kernel.at
        healed = rng.choice(_HEALED_AFTER_SECONDS)
        self._read({}, rng.choice((0.03, 0.03, 0.03, 2.0)))
        at(self.now + healed, self._heal)
        if rng.random() < 0.7:
            asked = self.now + rng.choice((0.04, 1.0, healed, healed, healed)) * rng.random()
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                at(asked, self._platform_signal if rng.random() < 0.6 else self._request, rng.choice(_TERM_LIKE))
                asked += rng.choice((0.0, 0.001, 0.5, 5.0))
        if rng.random() < 0.6:
            changed = self.now + healed * rng.random()
            for _ in range(rng.choice((1, 1, 2, 3, 5))):
                at(changed, self._file_changes)
                changed += rng.choice((0.0, 0.1, 1.0, 10.0))
        if rng.random() < 0.05:
            at(self.now + healed * rng.random(), self._breaks)
        at(self.now + rng.random(), self._clock_ticks)
        if self._visits_left:
            at(self.now + self.visitor.choice((0.1, 1.0, healed, healed)) * self.visitor.random(), self._visit)

    def _read(self, scale: dict[str, int], seconds: float | None = None) -> None:
        """The loader begins to read what the file says now; an earlier reading is abandoned."""
        self._readings += 1
        if seconds is None:
            seconds = self.rng.choice((0.01, 0.3, 3.0))
        if self._broken:
            answer: Event = events.LoadFailed(("cohabit.yaml:3: unknown key",), 78)
        else:
            answer = events.Loaded(scaled_plan(self.plan, scale) if scale else self.plan)
        self.kernel.at(self.now + seconds, self._has_read, self._readings, answer)

    def _has_read(self, reading: int, answer: Event) -> None:
        if reading == self._readings:
            self._seen.append(answer)

    def _file_changes(self) -> None:
        self.plan = changed_plan(self.rng, self.temper, self.plan)
        self._broken = self.rng.random() < self.climate.broken_file
        self._seen.append(events.ReloadRequested())
        if self._visits_left:
            self.kernel.at(self.kernel.now + self.visitor.choice((0.02, 0.31, 3.01)), self._visit)

    def _visit(self) -> None:
        """Somebody asks something of one service or several, often soon again, and often of the same ones."""
        draw = self.visitor.choice
        known = self._worth_a_visit()
        for _ in range(draw((1, 1, 1, 2))):
            if not self._last_asked or self.visitor.random() < _OFTEN:
                several = min(draw((1, 1, 1, 2, 3, len(known))), len(known))
                self._last_asked = tuple(self.visitor.sample(known, several))
                if self.visitor.random() < _SELDOM:  # one that may be unknown, or gone
                    self._last_asked = tuple({*self._last_asked, draw(NAMES)})
            action = draw(_ACTIONS)
            number = draw(_SIGNALS) if action == "signal" else 0
            if action == "scale":
                scale = {draw(NAMES): draw((1, 1, 2, 3)) for _ in range(draw((1, 1, 2)))}
                self._seen.append(events.ReloadRequested(scale))
            else:
                self._seen.append(events.Requested(action, self._last_asked, number))
        self._visits_left = max(0, self._visits_left - 1)
        if self._visits_left and not self.kernel.healed:
            self.kernel.at(self.kernel.now + draw((0.0, 0.0005, 0.05, 0.5, 3.0, 20.0)), self._visit)

    def _worth_a_visit(self) -> Sequence[str]:
        """Everybody; every other time those who are in the middle of something, if there are any."""
        accounts = self.ledger.accounts
        moving = [a.name for a in accounts.values() if a.busy and (a.fresh or a.hook or a.asked_at is not None)]
        return moving if moving and self.visitor.random() < _OFTEN else sorted(accounts) or NAMES

    def _clock_ticks(self) -> None:
        """Schedules come due, more often than any clock would let them, and while everything ends, too."""
        scheduled = self.reactor.scheduled
        if scheduled:
            self._seen.append(events.ScheduleDue(self.rng.choice(scheduled)))
        if not self.kernel.healed:
            self.kernel.at(self.kernel.now + self.rng.choice((0.001, 0.5, 5.0, 30.0)), self._clock_ticks)

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
        self.reactor.reexecuted()
        self.ledger.reexecuted()
        for checker in self._checkers:
            checker.reexecuted(before, self.engine)
        if self.ledger.reading:
            self._read(self.ledger.scale_tried)


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
