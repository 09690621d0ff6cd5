"""One seeded world: the real Supervisor, a simulated reactor and kernel, virtual time, and the checkers.

reactor.py has what the reactor guarantees. Here is what is not guaranteed: how late process 1 wakes, the order of
events of one instant, re-execution at any time, and what comes from outside: stop signals; files that change and may be
broken, with requests to read them; schedules; internal errors; and a client that starts, stops, restarts, kills and
signals single services.
"""

from __future__ import annotations

import marshal
from random import Random
from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Plan, Service
from cohabit.plan.reason import FILES_CHANGED, Reason
from cohabit.plan.record import from_plain, to_plain
from sim.checker import Checker, Violation
from sim.checkers import CHECKERS
from sim.kernel import Kernel
from sim.model import Model
from sim.plans import NAMES, FaultProfile, PlanProfile, PostStops, changed_plan, random_plan, scaled_plan
from sim.programs import Programs
from sim.reactor import Reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event

START_SECONDS = 100.0  # a real monotonic clock does not start at zero
_FAULTS_END_AFTER_SECONDS = (1.0, 20.0, 60.0, 200.0)
_STEPS_WITH_FAULTS = 300
_STEPS_AT_MOST = 3000
_TERM_LIKE = (15, 15, 15, 2, 3)
_CLIENT_SEED = 1 << 64
_HAS_A_CLIENT = 0.5  # of the worlds
_RARELY, _OFTEN = 0.1, 0.5
_FREEZE_SEED, _SKIP_SEED, _PAUSE_SEED, _POST_STOP_SEED, _CHANGE_SEED = 1 << 40, 1 << 48, 1 << 52, 1 << 56, 1 << 44
_PROGRAM_SEED = 1 << 60
_ACTIONS = ("start", "start", "start", "stop", "stop", "restart", "restart", "kill", "signal", "scale")
_SIGNALS = (1, 10, 15)
_AFTER_EXIT: tuple[Event, ...] = (events.ReloadRequested(), events.StopRequested(15), events.Due())


class World:
    """One world. run() returns after the Exit or raises Violation."""

    def __init__(
        self,
        seed: int,
        supervisor: Callable[[], Supervisor] = Supervisor,
        checkers: Iterable[type[Checker]] = CHECKERS,
        log: Callable[[float, str], None] | None = None,
    ) -> None:
        self.rng = Random(seed)  # noqa: S311 - a simulation, not a secret
        # The client has its own generator: without a client the world is the same as before there were any.
        self.client = Random(seed + _CLIENT_SEED)  # noqa: S311 - the same
        self.freezes = Random(seed + _FREEZE_SEED)  # noqa: S311 - the same
        self._freezes_often = self.freezes.choice((0.0, 0.0, 0.02, 0.2))
        self.pauses = Random(seed + _PAUSE_SEED)  # noqa: S311 - the same
        self._pauses_often = self.pauses.choice((0.0, 0.0, 0.1, 0.4))
        self.changes = Random(seed + _CHANGE_SEED)  # noqa: S311 - the same
        self._changes_often = self.changes.choice((0.0, 0.0, 0.02, 0.1))
        self.faults = FaultProfile(self.rng)
        self.plan_profile = PlanProfile(self.rng)
        self.post_stops = PostStops(Random(seed + _POST_STOP_SEED))  # noqa: S311 - the same
        self._programs = Programs(Random(seed + _PROGRAM_SEED))  # noqa: S311 - the same
        plan = self._programs.added_to(random_plan(self.rng, self.plan_profile))
        self.plan = self.post_stops.added(plan)  # of the file, if it is valid
        self.kernel = Kernel(self.rng, self.faults)
        self.reactor = Reactor(self.rng, self.faults, self.kernel, Random(seed + _SKIP_SEED))  # noqa: S311 - the same
        self.model = Model()
        self.now = self.kernel.now = START_SECONDS
        self.late_seconds = 0.0  # sum of the delays with which process 1 woke
        self.queue = self.reactor.queue
        self.steps = 0
        self._broken = self.rng.random() < 0.03  # the file is not valid
        self._readings = 0
        self._seen: list[Event] = []  # events from outside, for the next gathering
        self._stop_signals: list[int] = []
        self._last_targets: tuple[str, ...] = ()
        self._client_rounds_left = self.client.choice((1, 2, 4, 8, 16)) if self.client.random() < _HAS_A_CLIENT else 0
        self._log = log
        self._supervisor = supervisor
        self.engine = supervisor()
        self._checkers = [checker(self) for checker in checkers]
        self._at_step = self._methods_for("stepped")
        self._at_effect = self._methods_for("effect")
        self._at_idle = self._methods_for("idle")
        self._schedule_outside()

    def _methods_for(self, moment: str) -> list[Callable[..., None]]:
        """The methods of the checkers for a moment, without those that do nothing."""
        idle = getattr(Checker, moment)
        return [getattr(checker, moment) for checker in self._checkers if getattr(type(checker), moment) is not idle]

    # --- the loop ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run to the Exit. Raises Violation."""
        while not self.model.done:
            self._feed()
            if self.model.done:
                self._feed_after_exit()
                return
            deadline = self.engine.deadline()
            for check in self._at_idle:
                check(deadline, self.now)
            if self.rng.random() < self.faults.reexecutes:
                self._reexecute()
            if self.freezes.random() < self._freezes_often:
                self._freeze()
            if self.pauses.random() < self._pauses_often and not self.kernel.faults_ended:
                self._pause()
            if self.changes.random() < self._changes_often and not self.kernel.faults_ended:
                names = tuple(self.model.states) or NAMES
                cause = Reason(FILES_CHANGED, path="/srv/x")
                self._seen.append(events.Requested("restart", (self.changes.choice(names),), cause=cause))
            self._wait(self.engine.deadline())
            self._gather()

    def _feed(self) -> None:
        while self.queue and not self.model.done:
            event = self.queue.pop(0)
            if self._log:
                self._log(self.now, f"event   {one_line(event)}")
            self.model.take(event, self.now)
            result = self.engine.step(event, self.now)
            for check in self._at_step:
                check(event, result, self.now)
            for effect in result:
                self._perform(effect)
            self.steps += 1
            if self.steps == _STEPS_WITH_FAULTS:
                self._end_faults()
            if self.steps > _STEPS_AT_MOST:
                raise Violation("Liveness", f"no Exit after {_STEPS_AT_MOST} events")

    def _feed_after_exit(self) -> None:
        """Feed the events that are still in the queue after Exit."""
        for event in (*self.queue, *_AFTER_EXIT):
            result = self.engine.step(event, self.now)
            for checker in self._checkers:
                checker.after_exit(event, result)

    def _perform(self, effect: Effect) -> None:
        if self._log:
            self._log(self.now, f"  effect  {one_line(effect)}")
        for check in self._at_effect:
            check(effect, self.now)
        self.model.apply(effect, self.now)
        if isinstance(effect, effects.Load):
            self._read(effect.scale)
        else:
            self.reactor.perform(effect)

    def _pause(self) -> None:
        """A client pauses a service, or lets it continue: possible or not."""
        names = tuple(self.model.states) or NAMES
        action = self.pauses.choice(("pause", "unpause"))
        self._seen.append(events.Requested(action, (self.pauses.choice(names),)))

    def _freeze(self) -> None:
        """Nothing runs for a while; process 1 knows at least how long, and at most (reactor/poller.py)."""
        seconds = self.freezes.choice((0.5, 6.0, 60.0))
        self.kernel.freeze(seconds)
        self.now += seconds
        self.kernel.now = self.now
        self.late_seconds += seconds
        self.queue.append(events.Gap(seconds, seconds + self.freezes.choice((0.0, 1.0))))

    def _wait(self, deadline: float | None) -> None:
        """Sleep until the next action of the kernel or the engine's deadline, sometimes longer."""
        moments = [moment for moment in (deadline, self.kernel.next_moment()) if moment is not None]
        if not moments:
            raise Violation("Liveness", "no Exit, and nothing is left to happen")
        wake = max(self.now, min(moments))
        if self.faults.wakes_late and self.rng.random() < self.faults.wakes_late:
            delay = self.rng.choice((0.001, 0.1, 2.5))
            self.late_seconds += delay
            wake += delay
        self.now = wake
        self.kernel.advance(wake)

    def _gather(self) -> None:
        """Queue the events that process 1 finds when it wakes, in the order of reactor/loop.py or in any order."""
        seen = [*self._seen, *self.reactor.gather()]
        self._seen = []
        if self._stop_signals:
            seen.insert(0, events.StopRequested(min(self._stop_signals)))
            self._stop_signals.clear()
        deadline = self.engine.deadline()
        if deadline is not None and deadline <= self.now:
            seen.append(events.Due())
        self.queue += self._shuffled(seen) if self.faults.shuffles else seen

    def _shuffled(self, pending: list[Event]) -> list[Event]:
        """Shuffle events. Those of one service keep their order."""
        by_service: dict[object, list[Event]] = {}
        order: list[object] = []
        for number, event in enumerate(pending):
            key = getattr(event, "service", number)
            by_service.setdefault(key, []).append(event)
            order.append(key)
        self.rng.shuffle(order)
        return [by_service[key].pop(0) for key in order]

    # --- what comes from outside ---------------------------------------------------------------------

    def _schedule_outside(self) -> None:
        """Schedule the loader's answer, stop signals, new files, an internal error and the end of the faults."""
        rng, at = self.rng, self.kernel.at
        fault_seconds = rng.choice(_FAULTS_END_AFTER_SECONDS)
        self._read({}, rng.choice((0.03, 0.03, 0.03, 2.0)))
        at(self.now + fault_seconds, self._end_faults)
        if rng.random() < 0.7:
            stop_at = self.now + rng.choice((0.04, 1.0, fault_seconds, fault_seconds, fault_seconds)) * rng.random()
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                at(stop_at, self._platform_signal if rng.random() < 0.6 else self._stop_signal, rng.choice(_TERM_LIKE))
                stop_at += rng.choice((0.0, 0.001, 0.5, 5.0))
        if rng.random() < 0.6:
            changed = self.now + fault_seconds * rng.random()
            for _ in range(rng.choice((1, 1, 2, 3, 5))):
                at(changed, self._file_changes)
                changed += rng.choice((0.0, 0.1, 1.0, 10.0))
        if rng.random() < 0.05:
            at(self.now + fault_seconds * rng.random(), self._internal_error)
        at(self.now + rng.random(), self._schedule_is_due)
        if self._client_rounds_left:
            at(
                self.now + self.client.choice((0.1, 1.0, fault_seconds, fault_seconds)) * self.client.random(),
                self._client_acts,
            )

    def _read(self, scale: Mapping[str, int | None], seconds: float | None = None) -> None:
        """The loader begins to read the file as it is now. An earlier reading is cancelled."""
        self._readings += 1
        if seconds is None:
            seconds = self.rng.choice((0.01, 0.3, 3.0))
        if self._broken:
            answer: Event = events.LoadFailed(("cohabit.yaml:3: unknown key",), 78)
        else:
            answer = events.Loaded(scaled_plan(self.plan, scale) if scale else self.plan)
        self.kernel.at(self.now + seconds, self._finish_reading, self._readings, answer)

    def _finish_reading(self, reading: int, answer: Event) -> None:
        if reading == self._readings:
            self._seen.append(answer)

    def _file_changes(self) -> None:
        before = self.post_stops.removed(self.plan)
        plan = self._programs.added_to(changed_plan(self.rng, self.plan_profile, before))
        self.plan = self.post_stops.added(plan)
        self._broken = self.rng.random() < self.faults.broken_file
        self._seen.append(events.ReloadRequested())
        if self._client_rounds_left:
            self.kernel.at(self.kernel.now + self.client.choice((0.02, 0.31, 3.01)), self._client_acts)

    def _client_acts(self) -> None:
        """The client sends requests, often in quick succession and about the same services."""
        draw = self.client.choice
        known = self._client_targets()
        for _ in range(draw((1, 1, 1, 2))):
            if not self._last_targets or self.client.random() < _OFTEN:
                several = min(draw((1, 1, 1, 2, 3, len(known))), len(known))
                self._last_targets = tuple(self.client.sample(known, several))
                if self.client.random() < _RARELY:  # a service that may be unknown or removed
                    self._last_targets = tuple({*self._last_targets, draw(NAMES)})
            action = draw(_ACTIONS)
            number = draw(_SIGNALS) if action == "signal" else 0
            if action == "scale":
                scale = {draw(NAMES): draw((1, 1, 2, 3)) for _ in range(draw((1, 1, 2)))}
                self._seen.append(events.ReloadRequested(scale))
            else:
                self._seen.append(events.Requested(action, self._last_targets, number))
        self._client_rounds_left = max(0, self._client_rounds_left - 1)
        if self._client_rounds_left and not self.kernel.faults_ended:
            self.kernel.at(self.kernel.now + draw((0.0, 0.0005, 0.05, 0.5, 3.0, 20.0)), self._client_acts)

    def _client_targets(self) -> Sequence[str]:
        """All services; every other time only those that are in a hook, a stop or a restart, if there are any."""
        states = self.model.states
        in_transition = [
            a.name
            for a in states.values()
            if a.active and (a.restart_pending or a.hook or a.stop_requested_at is not None)
        ]
        return in_transition if in_transition and self.client.random() < _OFTEN else sorted(states) or NAMES

    def _schedule_is_due(self) -> None:
        """A schedule is due: more often than in reality, and also while the container stops."""
        scheduled = self.reactor.scheduled
        if scheduled:
            self._seen.append(events.ScheduleDue(self.rng.choice(scheduled)))
        if not self.kernel.faults_ended:
            self.kernel.at(self.kernel.now + self.rng.choice((0.001, 0.5, 5.0, 30.0)), self._schedule_is_due)

    def _stop_signal(self, number: int) -> None:
        self._stop_signals.append(number)

    def _platform_signal(self, number: int) -> None:
        """Every process of the container gets a signal, and process 1 gets it at the same time or a moment later."""
        for process in list(self.kernel.living.values()):
            self.kernel.signal(process, number)
        self.kernel.at(self.kernel.now + self.rng.choice((0.0, 0.0003, 0.0003)), self._stop_signal, number)

    def _internal_error(self) -> None:
        self._seen.append(events.Broken("internal errors keep coming"))

    def _end_faults(self) -> None:
        """The faults end, and a stop is requested if the container does not stop yet. From now on it must end."""
        if not self.kernel.faults_ended:
            if self._log:
                self._log(self.now, "world   the faults end")
            self.kernel.end_faults()
            if self.model.ending_at is None:
                self.kernel.at(self.now, self._stop_signal, 15)

    def _reexecute(self) -> None:
        """Re-execute process 1: the state is kept as bytes, the loader and the probes start again."""
        if self._log:
            self._log(self.now, "world   re-execution")
        plain = {"plan": to_plain(self.engine.plan), "engine": self.engine.to_plain()}
        taken = marshal.loads(marshal.dumps(plain))  # noqa: S302 - our own bytes
        before = self.engine
        self.engine = self._supervisor()
        self.engine.restore(from_plain(taken["plan"]), taken["engine"])
        self.reactor.reexecuted()
        self.model.reexecuted()
        for checker in self._checkers:
            checker.reexecuted(before, self.engine)
        if self.model.reading:
            self._read(self.model.scale_being_read)


def one_line(record: Event | Effect) -> str:
    """An event or an effect as one line, with names in place of services and Plans."""
    parts = []
    for name in record._fields:
        value = getattr(record, name)
        if isinstance(value, Service):
            value = value.name
        elif isinstance(value, Plan):
            value = ", ".join(value.services)
        parts.append(f"{name}={value!r}")
    return f"{type(record).__name__}({', '.join(parts)})"
