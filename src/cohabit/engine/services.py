"""The services and their dependencies: what an event of one service leads to.

Each event goes through the table in machine.py (`fact`); each change of a state is a Transition, from which history,
events and counters are made. Then the services that the change may affect are reconciled, desired state against
current state: the service itself, its dependents and its dependencies.

runs.py has what happens in a run, health_monitor.py the probes, membership.py the changes of the Plan. supervisor.py
handles the container as a whole (start, end, reload); it reads here which services ended for good and which are active.

Nothing here waits, loops over time or touches Linux. `now` is monotonic seconds.
"""

from __future__ import annotations

from cohabit.engine import machine, post_stop, pre_stop, startup
from cohabit.engine.effects import Report
from cohabit.engine.health_monitor import HealthMonitor
from cohabit.engine.membership import Membership
from cohabit.engine.runs import Runs
from cohabit.engine.timers import Timers
from cohabit.engine.total_grace import TotalGrace
from cohabit.engine.transition import UNHEALTHY, Transition
from cohabit.engine.unit import HEALTH_TIMER, HOOK_TIMER, STATE_TIMER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.unit import Unit
    from cohabit.plan.reason import Reason

_ENDS = frozenset({machine.BACKOFF, machine.EXITED, machine.FATAL})
_COUNTED = frozenset({machine.STARTING, machine.BACKOFF, machine.FATAL})


class Services:
    """All units. Effects are collected in `out`, transitions in `transitions`.

    changed: the units that this step has changed, added or removed, also those without a transition.
    """

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.out: list[Effect] = []
        self.transitions: list[Transition] = []  # of this step
        self.changed: set[str] = set()
        self.ended: list[Unit] = []  # ended for good, or unhealthy with on_failure: exit; the supervisor empties it
        self.active: dict[str, None] = {}  # units that have processes, without those that are unreachable
        self.not_ready: dict[str, None] = {}  # units whose start is not complete
        self.killed = False  # SIGKILL was needed since stop_all()
        self.total_grace = TotalGrace()
        self.timers = Timers()
        self.health_monitor = HealthMonitor(self)
        self.runs = Runs(self)
        self.membership = Membership(self)
        self._dirty: dict[str, None] = {}

    # --- the state machine --------------------------------------------------------------------------

    def fact(self, unit: Unit, fact: str, now: float) -> None:
        """Apply one event of the table, and enter the new state."""
        cell = machine.next_state(unit.state, fact)
        if cell == machine.VERDICT:
            cell = post_stop.state(self, unit) or self.runs.verdict(unit, now)
        if cell != machine.STAY:
            self._enter(unit, cell, now)

    def _enter(self, unit: Unit, state: str, now: float) -> None:
        before, unit.state = unit.state, state
        if before != state:
            self._record_state(unit, before, now)
        if before in machine.UNDER_WAY and state != machine.RUNNING and unit.run.pid:
            self.health_monitor.end(unit)
        self.mark_dirty(unit)
        if state not in (machine.STOPPING, machine.BACKOFF):
            self.timers.set((unit.name, STATE_TIMER), None)
        if state != machine.STOPPING:
            self.timers.set((unit.name, HOOK_TIMER), None)
        if state == machine.STARTING:
            self.runs.begin(unit, now)
        elif state == machine.STOPPING:
            self.runs.stop(unit, before, now)
        elif state == machine.RUNNING:
            startup.over(self, unit, now)
        elif state == machine.STOPPED:
            unit.take_next()  # a later start uses the newest Plan
        elif not unit.restart_pending and (unit.ended or (unit.failure and state in (machine.EXITED, machine.FATAL))):
            self.ended.append(unit)

    def _record_state(self, unit: Unit, before: str, now: float) -> None:
        state = unit.state
        ended = before not in machine.AT_REST and state in machine.AT_REST
        self.record(
            unit,
            Transition(
                unit.name,
                now,
                state,
                before,
                state,
                pid=0 if state == machine.STARTING else unit.run.pid,
                expected=not (unit.failure and state in _ENDS),
                reason=unit.run.reason if ended else None,
                code=unit.code if ended else None,
                tries=unit.restarts if unit.spec.startup is not None and state in _COUNTED else 0,
            ),
        )

    def note(self, unit: Unit, event: str, now: float, reason: Reason | None = None) -> None:
        """Record an event that is not a state."""
        expected = event != UNHEALTHY
        self.record(unit, Transition(unit.name, now, event, unit.state, unit.state, unit.run.pid, expected, reason))

    def record(self, unit: Unit, transition: Transition) -> None:
        """Record a transition: in the history of the unit, and for subscribers to events."""
        unit.history.add(transition, job=unit.spec.job)
        self.transitions.append(transition)

    # --- timers ---------------------------------------------------------------------------------------

    def due(self, now: float) -> None:
        """Handle the timers of single services that have expired."""
        for name, purpose in list(self.timers.due(now)):
            unit = self.units[name]
            if self.timers.get((name, purpose)) is not None:
                continue  # another timer of this moment has set a new time
            if purpose == HEALTH_TIMER:
                self.health_monitor.due(unit, now)
                continue
            if purpose == HOOK_TIMER:
                pre_stop.over(self, unit)
                continue
            if unit.state == machine.STOPPING:
                self.runs.kill(unit)
            self.fact(unit, machine.DUE, now)

    # --- requests -------------------------------------------------------------------------------------

    def replace_run(self, unit: Unit, *, up: bool) -> None:
        """End the current run, then reset the unit. up: start it again; False for a job that waits for its schedule."""
        unit.restart_pending, unit.desired = True, up
        self.mark_dirty(unit)

    def restart(self, unit: Unit, *, up: bool) -> None:
        """Replace the run of a unit, and of the dependents with `restart: true` that are not down on request."""
        self.replace_run(unit, up=up)
        todo = [unit]
        while todo:
            unit = todo.pop()
            for other in (self.units[name] for name in unit.dependents):
                linked = any(d.service == unit.name and d.restart for d in other.newest_spec.depends_on)
                job = other.newest_spec.schedule is not None
                if linked and (other.desired or job) and not (other.restart_pending or other.gone):
                    self.replace_run(other, up=not job)
                    todo.append(other)

    def stop_all(self, now: float, deadline: float) -> None:
        """Have all services go down until the deadline."""
        self.killed = False
        self.total_grace.begin(self.units.values(), deadline)
        for unit in self.units.values():
            unit.desired = unit.restart_pending = False
            self._dirty[unit.name] = None
            self.runs.change_grace(unit, now)

    # --- reconciliation: desired state against current state ---------------------------------------------

    def reconcile(self, now: float) -> None:
        """Reconcile the units that a change may affect, until none is left."""
        while self._dirty:
            unit = self.units[next(iter(self._dirty))]
            del self._dirty[unit.name]
            if unit.restart_pending and unit.at_rest and unit.state != machine.BACKOFF:
                self._renewed(unit, now)
            if unit.going_down:
                if unit.state not in machine.ENDED and self._may_stop(unit):
                    self.fact(unit, machine.STOP, now)
            elif unit.state == machine.STOPPED:
                self._try_start(unit, now)

    def _renewed(self, unit: Unit, now: float) -> None:
        """No process of the old run is left: allow the next start."""
        unit.restart_pending = False
        unit.restarts = unit.starts = unit.failed = 0
        unit.take_next()
        self.fact(unit, machine.REARM, now)
        self.mark_dirty(unit)

    def _try_start(self, unit: Unit, now: float) -> None:
        others = [(self.units[dependency.service], dependency) for dependency in unit.spec.depends_on]
        failed = next((other for other, dependency in others if other.can_never_satisfy(dependency)), None)
        if failed is not None:
            self.runs.refuse(unit, failed)
            self.fact(unit, machine.REFUSED, now)
        elif all(other.satisfies(dependency) for other, dependency in others):
            self.fact(unit, machine.START, now)

    def _may_stop(self, unit: Unit) -> bool:
        """Whether all that depend on it and go down as well are down: directly, or through others.

        When the container stops, those of a higher level are down before, too.
        """
        if unit.at_rest:
            return True
        levels = self.total_grace.levels
        if levels and any(levels[name] > levels[unit.name] for name in self.active):
            return False
        todo, seen = list(unit.dependents), {unit.name}
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            dependent = self.units[name]
            if dependent.going_down and not (dependent.at_rest or dependent.unreachable):
                return False
            todo += dependent.dependents
        return True

    def mark_dirty(self, unit: Unit) -> None:
        """Reconcile this unit, its dependents and, when it goes down, its dependencies. The others cost nothing.

        One that is at rest or stays up passes this on: those that it depends on are reconciled, too (_may_stop).
        """
        self._classify(unit)
        self.changed.add(unit.name)
        self._dirty[unit.name] = None
        levels = self.total_grace.levels
        if levels and unit.name not in self.active and all(levels[name] < levels[unit.name] for name in self.active):
            self._dirty.update(self.active)  # it was the last one of its level
        for name in unit.dependents:
            self._dirty[name] = None
        todo, seen = ([unit] if unit.going_down else []), {unit.name}
        while todo:
            below = todo.pop()
            for dependency in (*below.spec.depends_on, *below.newest_spec.depends_on):
                other = self.units.get(dependency.service)
                if other is not None and other.name not in seen:
                    seen.add(other.name)
                    self._dirty[other.name] = None
                    if other.at_rest or other.unreachable or not other.going_down:
                        todo.append(other)

    def mark_all_dirty(self) -> None:
        """Have all units reconciled."""
        self.changed.update(self.units)
        for unit in self.units.values():
            self._classify(unit)
            self._dirty[unit.name] = None

    def _classify(self, unit: Unit) -> None:
        if unit.at_rest or unit.unreachable:
            self.active.pop(unit.name, None)
        else:
            self.active[unit.name] = None
        if unit.start_complete:
            self.not_ready.pop(unit.name, None)
        else:
            self.not_ready[unit.name] = None

    def drop(self, unit: Unit) -> None:
        """Remove a unit, its timers and all that is noted of it."""
        del self.units[unit.name]
        self.changed.add(unit.name)
        for names in (self.active, self.not_ready, self._dirty):
            names.pop(unit.name, None)
        for purpose in (STATE_TIMER, HEALTH_TIMER, HOOK_TIMER):
            self.timers.set((unit.name, purpose), None)

    # --- output and re-execution ------------------------------------------------------------------------

    def say(self, level: str, unit: Unit, text: str, *, transition: bool = False) -> None:
        """Log a line about a service. transition: as in Report."""
        self.out.append(Report(level, unit.name, text, transition))

    def restore(self, units: list[Unit], deadlines: dict[str, dict[str, float | None]]) -> None:
        """Take over units from the re-execution state: sets and timers are set up again."""
        self.membership.add(units)
        for unit in units:
            for purpose, times in deadlines.items():
                self.timers.set((unit.name, purpose), times.get(unit.name))
            if unit.command_runs and not unit.paused:
                self.timers.set((unit.name, HEALTH_TIMER), unit.health.next_at)
