"""The whole container: step(event, now) -> effects, and deadline().

services.py handles single services, reading.py the file and its reloads, ending.py the end of the container.

Nothing here waits, loops over time or touches Linux. `now` is monotonic seconds.
"""

from __future__ import annotations

from cohabit.engine import machine, started
from cohabit.engine.container import DONE, STOPPING, SWEEPING, UP, Container
from cohabit.engine.effects import AllReady, Forget
from cohabit.engine.ending import Ending
from cohabit.engine.events import (
    Broken,
    Daemonised,
    Due,
    Exited,
    Gap,
    HookEnded,
    Loaded,
    LoadFailed,
    Notified,
    Probed,
    ReloadRequested,
    Requested,
    ScheduleDue,
    SignalRefused,
    Spawned,
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.reading import Reading
from cohabit.engine.requests import request, schedule_due, signal_refused
from cohabit.engine.transition import entries_from_plain, entries_to_plain
from cohabit.engine.unit import HEALTH_TIMER, HOOK_TIMER, STATE_TIMER, Unit
from cohabit.plan.model import PASSIVE_PROBES
from cohabit.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.services import Services
    from cohabit.engine.transition import Entry
    from cohabit.plan.model import Plan


class Supervisor:
    """The engine. Pass it every event, carry out its effects in order, and pass it Due at its deadline."""

    def __init__(self) -> None:
        self.container = Container()
        self.reading = Reading(self.container)
        self.ending = Ending(self.container)
        self.announced = False  # AllReady was given
        self.settled = False  # the line about the end of the start was logged

    @property
    def services(self) -> Services:
        """The services of the container."""
        return self.container.services

    @property
    def phase(self) -> str:
        """The phase of the container (container.py)."""
        return self.container.phase

    @property
    def plan(self) -> Plan | None:
        """The newest Plan; None before the first read of the file."""
        return self.container.plan

    @property
    def history(self) -> list[Entry]:
        """The history of the container."""
        return self.container.history

    def step(self, event: Event, now: float) -> list[Effect]:
        """Handle one event. Returns the effects to carry out, in order. Raises ImpossibleEventError."""
        self.services.out, self.services.transitions, self.services.changed = [], [], set()
        if self.phase == DONE:
            return self.services.out  # the reactor empties its queue before it exits
        if not self._service_event(event, now):
            self._container_event(event, now)
        self._reconcile(now)
        return self.services.out

    @property
    def wanted(self) -> list[Effect]:
        """The effects of the last step; if it raised an exception, those that it gave before."""
        return self.services.out

    @property
    def units(self) -> dict[str, Unit]:
        """Every service that is in the Plan or not down yet."""
        return self.services.units

    def deadline(self) -> float | None:
        """Monotonic seconds at which the engine needs a Due; None when only another event can change anything."""
        earliest = self.services.timers.next()
        if self.ending.deadline is None:
            return earliest
        return self.ending.deadline if earliest is None else min(earliest, self.ending.deadline)

    @property
    def patient(self) -> bool:
        """Whether the deadline is for others: for a stop, a start, or a report of a service."""
        first = self.services.timers.first()
        if self.stops or first is None:
            return self.stops
        unit = self.units[first[0]]
        if first[1] == STATE_TIMER:
            return unit.state == machine.STARTING
        probe = unit.spec.probe
        return probe is not None and probe.kind in PASSIVE_PROBES

    @property
    def stops(self) -> bool:
        """Whether the deadline is that of a stop."""
        first = self.services.timers.first()
        if first is None or self.phase in (STOPPING, SWEEPING):
            return self.ending.deadline is not None
        return first[1] != HEALTH_TIMER and self.units[first[0]].state == machine.STOPPING

    def _service_event(self, event: Event, now: float) -> bool:
        """Whether the event is about one service; it is handled then."""
        services = self.services
        unit = services.units.get(getattr(event, "service", ""))
        if unit is None:
            return hasattr(event, "service")  # of a service that was removed
        match event:
            case Spawned(_, pid):
                services.runs.spawned(unit, pid, now)
            case SpawnFailed(_, cause, orphans):
                services.runs.spawn_failed(unit, cause, now, orphans=orphans)
            case Exited():
                services.runs.exited(unit, event, now)
            case Daemonised(_, pid):
                services.runs.daemonised(unit, pid)
            case SignalRefused(_, cause):
                signal_refused(services, unit, cause, now)
            case TreeGone():
                services.fact(unit, machine.TREE_GONE, now)
            case HookEnded(_, code, cause, orphans):
                services.runs.hook_ended(unit, code, cause, now, orphans=orphans)
            case Probed(_, passed, output, reason):
                services.health_monitor.probed(unit, now, passed=passed, output=output, reason=reason)
            case Notified():
                services.runs.notified(unit, event, now)
                services.health_monitor.notified(unit, event, now)
            case ScheduleDue() if self.phase == UP:
                schedule_due(services, unit, now)
        return True

    def _container_event(self, event: Event, now: float) -> None:
        match event:
            case Due():
                self.services.due(now)
                if self.ending.deadline is not None and self.ending.deadline <= now:
                    self.ending.due(now)
            case StopRequested(number, by, grace):
                self.ending.stop_requested(number, by or signal_name(number), now, grace)
            case Gap(seconds, at_most):
                self.services.runs.postpone(seconds)
                self.services.health_monitor.postpone(at_most)
                self.services.total_grace.postpone(seconds)
                self.ending.postpone(seconds)
            case Swept():
                self.ending.finish()
            case Broken(text):
                self.ending.broken(text, now)
            case ReloadRequested(scale, restart):
                self.reading.request(scale, restart=restart)
            case Requested() if self.phase == UP:
                request(self.services, event, now)
            case Loaded(plan):
                self.reading.loaded(plan, now)
            case LoadFailed(lines, code):
                self.reading.failed(lines, code, now)

    def _reconcile(self, now: float) -> None:
        """Handle services that ended for good and reconcile the others, until nothing changes."""
        services = self.services
        done = False
        while not done:
            for unit in services.ended[:]:
                services.ended.remove(unit)
                self.ending.service_ended(unit, now)
            services.reconcile(now)
            done = not services.ended
        if self.phase == UP:
            self._check_progress(now)
        if self.phase == STOPPING and not services.active:
            self.ending.sweep()

    def _check_progress(self, now: float) -> None:
        """Forget removed services, and see whether all services have ended or are ready."""
        services = self.services
        while (unit := services.membership.next_to_forget()) is not None:
            services.membership.forget(unit)
            self.container.do(Forget(unit.name))
        stays, beside = (False, ()) if self.plan is None else (self.plan.stays, self.plan.beside)
        active = any(name not in beside for name in services.active)
        if not (stays or active) and services.membership.all_ended(beside):
            self.ending.all_ended(now)
            services.reconcile(now)
        elif not self.announced and not services.not_ready:
            self.announced = self.settled = True
            self.container.note("ready", now)
            self.container.do(AllReady())
            self.container.say(*started.report(self.units.values(), now - self.container.up_at), transition=True)
        elif not self.settled and started.will_not_be_ready(self.units[name] for name in services.not_ready):
            self.settled = True
            self.container.say(*started.report(self.units.values(), now - self.container.up_at), transition=True)

    # --- re-execution ----------------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """The re-execution state, as plain values. The Plan is passed separately."""
        return {
            "phase": self.phase,
            "announced": self.announced,
            "settled": self.settled,
            "up_at": self.container.up_at,
            "history": entries_to_plain(self.history),
            "reading": self.reading.to_plain(),
            "ending": self.ending.to_plain(),
            "killed": self.services.killed,
            "total_grace": self.services.total_grace.to_plain(),
            "deadlines": {
                purpose: {name: self.services.timers.get((name, purpose)) for name in self.units}
                for purpose in (STATE_TIMER, HOOK_TIMER)
            },
            "units": [unit.to_plain() for unit in self.units.values()],
        }

    def restore(self, plan: Plan | None, plain: dict[str, Any]) -> None:
        """The inverse of to_plain."""
        container = self.container
        container.plan, container.phase = plan, plain["phase"]
        container.history = entries_from_plain(plain["history"])
        self.announced, self.settled = plain["announced"], plain["settled"]
        container.up_at = plain["up_at"]
        self.reading.restore(plain["reading"])
        self.ending.restore(plain["ending"])
        container.services.killed = plain["killed"]
        container.services.total_grace.restore(plain["total_grace"])
        container.services.restore([Unit.restored(unit) for unit in plain["units"]], plain["deadlines"])
