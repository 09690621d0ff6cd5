"""The services and their dependencies: what an event of one service leads to.

Each event goes through the table in machine.py. Then the services that the change may affect are reconciled, desired
state against current state: the service itself, its dependents and its dependencies. supervisor.py handles the
container as a whole (start, end, reload); it reads here which services ended for good and which are active.

Nothing here waits, loops over time or touches Linux. `now` is monotonic seconds.
"""

from __future__ import annotations

from cohabit.engine import health_monitor, machine
from cohabit.engine.effects import Report, RunHook, Signal, SignalTree, Spawn
from cohabit.engine.policy import verdict
from cohabit.engine.timers import Timers
from cohabit.engine.unit import WANTED, Unit
from cohabit.errors import EXIT_KILLED
from cohabit.plan.model import POST_START, PRE_START, PRE_STOP
from cohabit.plan.reason import (
    CANNOT_START,
    HOOK_ENDED,
    HOOK_FAILED,
    STOP_TIMED_OUT,
    Reason,
    dependency_failed,
    end_of_run,
)
from cohabit.plan.reason_text import text_of
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Notified
    from cohabit.engine.policy import Verdict
    from cohabit.plan.diff import Difference
    from cohabit.plan.model import Plan, Service

SIGKILL, SIGTERM = 9, 15
_STATE = "state"  # the purpose of a timer; the other one is health_monitor.TIMER


class Services:
    """The units of the newest Plan, and those of older Plans that are not down yet. Effects are collected in `out`."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.out: list[Effect] = []
        self.ended: list[Unit] = []  # ended for good, or unhealthy with on_failure: exit; the supervisor empties it
        self.active: dict[str, None] = {}  # units that have processes
        self.not_ready: dict[str, None] = {}  # units whose start is not complete
        self.gone: list[Unit] = []  # units that are not in the Plan any more
        self.killed = False  # SIGKILL was needed since stop_all()
        self.timers = Timers()
        self.health_monitor = health_monitor.HealthMonitor(self)
        # Of this step: the name of the service, then as in Unit.history.
        self.transitions: list[tuple[str, float, str, Reason | None, int | None]] = []
        self._dirty: dict[str, None] = {}

    # --- events of one service ----------------------------------------------------------------------

    def fact(self, unit: Unit, fact: str, now: float) -> None:
        """Apply one event of the table, and enter the new state."""
        cell = machine.next_state(unit.state, fact)
        if cell == machine.STAY:
            return
        if cell == machine.VERDICT:
            self._verdict(unit, now)
        else:
            self._enter(unit, cell, now)

    def _enter(self, unit: Unit, state: str, now: float) -> None:
        before, unit.state = unit.state, state
        ended = before not in machine.AT_REST and state in machine.AT_REST
        if before != state:
            unit.since = now
            self.note(unit, state, now, unit.reason if ended else None, unit.code if ended else None)
        if before == machine.RUNNING:
            self.health_monitor.end(unit)
        self.mark_dirty(unit)
        if state != machine.STOPPING:
            self._set_deadline(unit, None)
        if state == machine.STARTING:
            self._enter_starting(unit, now)
        elif state == machine.STOPPING:
            self._enter_stopping(unit, before, now)
        elif not unit.restart_pending and (unit.ended or (unit.code and state in (machine.EXITED, machine.FATAL))):
            self.ended.append(unit)

    def _enter_starting(self, unit: Unit, now: float) -> None:
        unit.started_at = now
        unit.killed = unit.restart_requested = unit.in_background = False
        unit.forced_exit_code = unit.failed = 0
        unit.out_of_memory = False
        unit.reason = None
        unit.status = ""
        unit.blocked_hook = None
        unit.pending = True
        if unit.service.pre_start:
            self._run_hook(unit, PRE_START, 0)
        else:
            self.out.append(Spawn(unit.service))

    def _enter_stopping(self, unit: Unit, before: str, now: float) -> None:
        if before != machine.STOPPING:
            self._set_deadline(unit, now + unit.service.stop_grace_seconds)
        if unit.killed:
            self.out.append(SignalTree(unit.name, SIGKILL))
        elif before == machine.RUNNING and unit.main_alive and unit.service.pre_stop and not unit.hook_stage:
            self._run_hook(unit, PRE_STOP, 0)
        elif unit.main_alive or unit.pending:
            self.out.append(Signal(unit.name, unit.service.stop_signal))
        else:
            self.out.append(SignalTree(unit.name, SIGTERM))

    def spawned(self, unit: Unit, pid: int, now: float) -> None:
        """The exec of its command succeeded."""
        unit.pid, unit.main_alive, unit.pending = pid, True, False
        unit.starts += 1
        unit.started_at = now
        self.fact(unit, machine.SPAWNED, now)
        self.say("info", unit, f"started, pid {pid}")
        if unit.state != machine.RUNNING:
            self.mark_dirty(unit)  # stopped before its exec; yet service_started holds now for its dependents
            return
        if unit.service.post_start:
            self._run_hook(unit, POST_START, 0)
        else:
            self.health_monitor.begin(unit, now)

    def spawn_failed(self, unit: Unit, cause: Reason, now: float, *, orphans: bool) -> None:
        """Its command could not be started. Processes that its pre_start hooks left behind are terminated."""
        unit.pid, unit.main_alive, unit.pending = 0, False, False
        unit.code, unit.ran_seconds = cause.code, 0.0
        unit.reason = Reason(CANNOT_START, cause.code, cause=cause)
        self.fact(unit, machine.LEFT_ORPHANS if orphans else machine.SPAWN_FAILED, now)

    def exited(self, unit: Unit, code: int, now: float, *, orphans: bool) -> None:
        """Its main process has ended."""
        unit.main_alive, unit.code, unit.orphans = False, unit.forced_exit_code or code, orphans
        unit.ran_seconds = max(0.0, now - unit.started_at)
        if unit.reason is None:
            unit.reason = end_of_run(code, unit.ran_seconds, out_of_memory=unit.out_of_memory)
            if unit.state == machine.STOPPING and code == EXIT_KILLED and unit.killed:
                unit.reason = _stop_timed_out(unit.reason, unit.blocked_hook)
        if orphans and unit.state == machine.RUNNING:
            hint = "" if code else " (if it is a daemon: run it in the foreground, or set pid_file)"
            self.say("warning", unit, f"{text_of(unit.reason)}; terminating the processes that it left behind{hint}")
        orphans = orphans or unit.hook_stage != ""  # a hook that is still running counts, too
        self.fact(unit, machine.LEFT_ORPHANS if orphans else machine.ENDED_ALONE, now)
        final = not unit.going_down and self._policy(unit).state != machine.BACKOFF
        if orphans and final and (unit.code or unit.service.schedule is None):
            self.ended.append(unit)  # at once: the others do not wait for the processes that it left behind

    def daemonised(self, unit: Unit, pid: int) -> None:
        """Its main process is the daemon `pid` from now on."""
        unit.pid = pid
        if unit.state == machine.STOPPING and not unit.hook_stage:
            self.out.append(Signal(unit.name, unit.service.stop_signal))
        if not unit.in_background:  # logged once per run, however often it forks again
            unit.in_background = True
            self.say("info", unit, f"is in the background now, pid {pid}")

    def hook_ended(self, unit: Unit, code: int, cause: Reason | None, now: float, *, orphans: bool) -> None:
        """A hook has ended: run the next one, or continue the start or the stop."""
        stage, index, unit.hook_stage = unit.hook_stage, unit.hook_index, ""
        outcome = Reason(HOOK_FAILED if code else HOOK_ENDED, code, hook_stage=stage, hook_index=index, cause=cause)
        more = index + 1 < len(unit.service.hooks(stage)) if stage else False
        if stage != PRE_START and not unit.main_alive and unit.state == machine.STOPPING:
            unit.orphans = unit.orphans or orphans
            if not unit.orphans:
                self.fact(unit, machine.TREE_GONE, now)
        elif stage == PRE_START:
            self._pre_start_ended(unit, code if code or more else None, outcome, now, orphans=orphans)
        elif stage == PRE_STOP and unit.state == machine.STOPPING:
            if code:
                self.say("warning", unit, text_of(outcome))
            if more and not unit.killed:
                self._run_hook(unit, PRE_STOP, index + 1)
            elif not unit.killed:
                self.out.append(Signal(unit.name, unit.service.stop_signal))
        elif stage == POST_START and unit.state == machine.RUNNING:
            if code:
                self.say("error", unit, text_of(outcome) + ("" if unit.going_down else ": stopping it"))
                if not unit.going_down:
                    unit.reason, unit.forced_exit_code = outcome, code
                    self.fact(unit, machine.FAILED, now)
            elif more:
                self._run_hook(unit, POST_START, index + 1)
            else:
                self.health_monitor.begin(unit, now)

    def _pre_start_ended(self, unit: Unit, code: int | None, outcome: Reason, now: float, *, orphans: bool) -> None:
        """code: None when it was the last hook and it succeeded."""
        if unit.state == machine.STARTING and not code and not unit.going_down:
            if code is None:
                self.out.append(Spawn(unit.service))
            else:
                self._run_hook(unit, PRE_START, unit.hook_index + 1)
            return
        unit.pid, unit.pending = 0, False
        unit.code, unit.ran_seconds, unit.reason = code or 0, 0.0, outcome
        if unit.state == machine.STARTING:
            self.fact(unit, machine.LEFT_ORPHANS if orphans else machine.SPAWN_FAILED, now)
        elif unit.state == machine.STOPPING:
            self.fact(unit, machine.LEFT_ORPHANS if orphans else machine.ENDED_ALONE, now)

    def notified(self, unit: Unit, message: Notified, now: float) -> None:
        """Handle a message of sd_notify(3)."""
        if message.status is not None:
            unit.status = message.status
        if message.main_pid:
            unit.pid = message.main_pid
        if message.extend_seconds and unit.state == machine.STOPPING and unit.deadline is not None:
            self._set_deadline(unit, max(unit.deadline, now + message.extend_seconds))
        self.health_monitor.notified(unit, message, now)

    def schedule_due(self, unit: Unit, now: float) -> None:
        """Start a job whose schedule is due, unless its previous run is not finished."""
        if unit.gone or unit.restart_pending or unit.service.schedule is None:
            return
        if not unit.at_rest or unit.state == machine.BACKOFF or (unit.want_up and unit.state == machine.STOPPED):
            self.say("warning", unit, "its schedule is due, but the previous run is not finished: skipped")
            return
        unit.want_up, unit.restarts = True, 0
        self.fact(unit, machine.REARM, now)
        self.mark_dirty(unit)

    # --- the end of a run -----------------------------------------------------------------------------

    def _verdict(self, unit: Unit, now: float) -> None:
        code = unit.code or 0
        started = unit.pid != 0
        why = text_of(unit.reason)
        if unit.going_down:
            self.say("info" if started else "error", unit, f"stopped: {why}" if started else why)
            self._enter(unit, machine.STOPPED, now)
            unit.take_next()  # a later start uses the newest Plan
            return
        what = self._policy(unit)
        unit.restarts = what.restarts
        if what.state == machine.BACKOFF:
            delay = format_duration(what.delay_seconds)
            self.say("warning", unit, f"{why}; starting again in {delay} (restart {what.restarts})")
        else:
            if what.state == machine.FATAL and started and unit.reason is not None:
                unit.reason = unit.reason.replace(restarts=what.restarts)
            self.say("error" if code or what.state == machine.FATAL else "info", unit, text_of(unit.reason))
        self._enter(unit, what.state, now)
        if what.state == machine.BACKOFF:
            self._set_deadline(unit, now + what.delay_seconds)

    def _policy(self, unit: Unit) -> Verdict:
        code, started = unit.code or 0, unit.pid != 0
        restart = unit.service.restart
        requested = unit.restart_requested
        return verdict(restart, code, unit.ran_seconds, unit.restarts, started=started, restart_requested=requested)

    def due(self, now: float) -> None:
        """Handle the timers of single services that have expired."""
        for name, purpose in list(self.timers.due(now)):
            unit = self.units[name]
            if purpose == health_monitor.TIMER:
                self.health_monitor.due(unit, now)
                continue
            unit.deadline = None
            if unit.state == machine.STOPPING:
                self._kill(unit)
            self.fact(unit, machine.DUE, now)

    def _kill(self, unit: Unit) -> None:
        self.killed = True
        grace = format_duration(unit.service.stop_grace_seconds)
        self._mark_killed(unit)
        hook = unit.blocked_hook
        blocked = "" if hook is None else f" (its {PRE_STOP} hook {hook + 1} is still running)"
        self.say("warning", unit, f"not stopped within its stop_grace_period of {grace}{blocked}: killing it")
        self.out.append(SignalTree(unit.name, SIGKILL))

    @staticmethod
    def _mark_killed(unit: Unit) -> None:
        """Record that SIGKILL is needed. While a pre_stop hook runs, the stop signal has not been sent yet."""
        unit.killed = True
        if unit.hook_stage == PRE_STOP:
            unit.blocked_hook = unit.hook_index

    def kill_at_once(self, unit: Unit, now: float) -> None:
        """Send SIGKILL to its process tree now, without a grace period."""
        self._mark_killed(unit)
        self._enter(unit, machine.STOPPING, now)
        self._set_deadline(unit, None)

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

    def waits_for(self, name: str, other: Unit) -> bool:
        """Whether a service is to start, and its dependency on the other one does not hold yet."""
        unit = self.units[name]
        dependencies = [d for d in unit.service.depends_on if d.service == other.name]
        held = all(other.satisfies(dependency) for dependency in dependencies)
        return unit.want_up and unit.state == machine.STOPPED and not held

    def _try_start(self, unit: Unit, now: float) -> None:
        others = [(self.units[dependency.service], dependency) for dependency in unit.service.depends_on]
        failed = next((other for other, dependency in others if other.can_never_satisfy(dependency)), None)
        if failed is not None:
            unit.reason = dependency_failed(failed.name, failed.reason)
            unit.code = failed.code or 1  # it counts as a failure even if the other one ended with 0
            self.say("error", unit, text_of(unit.reason))
            self.fact(unit, machine.REFUSED, now)
        elif all(other.satisfies(dependency) for other, dependency in others):
            self.fact(unit, machine.START, now)

    def _may_stop(self, unit: Unit) -> bool:
        """Whether all dependents that go down as well are down."""
        if unit.at_rest:
            return True
        return all(self.units[name].at_rest or not self.units[name].going_down for name in unit.dependents)

    def mark_dirty(self, unit: Unit) -> None:
        """Reconcile this unit, its dependents and, when it goes down, its dependencies. The others cost nothing."""
        self._note(unit)
        self._dirty[unit.name] = None
        for name in unit.dependents:
            self._dirty[name] = None
        if unit.going_down:
            for dependency in (*unit.service.depends_on, *unit.wanted.depends_on):
                if dependency.service in self.units:
                    self._dirty[dependency.service] = None

    def _note(self, unit: Unit) -> None:
        if unit.at_rest:
            self.active.pop(unit.name, None)
        else:
            self.active[unit.name] = None
        if unit.start_complete:
            self.not_ready.pop(unit.name, None)
        else:
            self.not_ready[unit.name] = None

    # --- the set of units -------------------------------------------------------------------------------

    def begin(self, plan: Plan, now: float) -> None:
        """Take over the first Plan."""
        self._add([self._new_unit(service, now) for service in plan.services.values()])

    def _new_unit(self, service: Service, now: float) -> Unit:
        unit = Unit(service)
        if unit.want_up:
            self.note(unit, WANTED, now)
        return unit

    def _add(self, units: list[Unit]) -> None:
        for unit in units:
            self.units[unit.name] = unit
        self._connect()

    def change(self, plan: Plan, difference: Difference, now: float) -> None:
        """Take over another Plan: removed services stop, changed ones restart where needed, new ones start."""
        for name in difference.removed:
            unit = self.units[name]
            unit.gone, unit.want_up, unit.restart_pending = True, False, False
            self.gone.append(unit)
        for name in difference.added:
            existing = self.units.get(name)
            if existing is None:
                self.units[name] = self._new_unit(plan.services[name], now)
            elif existing.gone:  # it was removed, and its processes have not ended yet
                self.gone.remove(existing)
                existing.gone, existing.next = False, plan.services[name]
                self.replace_run(existing, up=existing.wanted.schedule is None)
        for name in difference.changed:
            self.units[name].next = plan.services[name]
        self._connect()
        for name in difference.restarting:
            self.restart(self.units[name], up=plan.services[name].schedule is None)
        for name in difference.changed:
            if not self.units[name].restart_pending:
                self._change_in_place(self.units[name], now)

    def replace_run(self, unit: Unit, *, up: bool) -> None:
        """End the current run, then reset the unit. up: start it again; False for a job that waits for its schedule."""
        unit.restart_pending, unit.want_up = True, up
        self.mark_dirty(unit)

    def restart(self, unit: Unit, *, up: bool) -> None:
        """Replace the run of a unit, and of the dependents with `restart: true` that are not down on request."""
        self.replace_run(unit, up=up)
        todo = [unit]
        while todo:
            unit = todo.pop()
            for other in (self.units[name] for name in unit.dependents):
                linked = any(d.service == unit.name and d.restart for d in other.wanted.depends_on)
                job = other.wanted.schedule is not None
                if linked and (other.want_up or job) and not (other.restart_pending or other.gone):
                    self.replace_run(other, up=not job)
                    todo.append(other)

    def _change_in_place(self, unit: Unit, now: float) -> None:
        probe = unit.service.probe
        unit.take_next()
        if unit.state == machine.RUNNING and unit.hook_stage != POST_START and unit.service.probe != probe:
            self.health_monitor.end(unit)
            self.health_monitor.begin(unit, now)
        self.mark_dirty(unit)

    def stop_all(self) -> None:
        """Have all services go down."""
        self.killed = False
        for unit in self.units.values():
            unit.want_up = unit.restart_pending = False
            self._dirty[unit.name] = None

    def forget(self, unit: Unit) -> None:
        """Remove a unit that is not in the Plan any more and has no processes."""
        self.gone.remove(unit)
        del self.units[unit.name]
        for names in (self.active, self.not_ready, self._dirty):
            names.pop(unit.name, None)
        for purpose in (_STATE, health_monitor.TIMER):
            self.timers.set((unit.name, purpose), None)
        self._connect()

    def restore(self, units: list[Unit]) -> None:
        """Take over units from the re-execution state: sets and timers are set up again."""
        self._add(units)
        self.gone = [unit for unit in units if unit.gone]
        for unit in units:
            self._set_deadline(unit, unit.deadline)
            if unit.state == machine.RUNNING:
                self.timers.set((unit.name, health_monitor.TIMER), unit.health.next_at)

    def _connect(self) -> None:
        """Rebuild the lists of dependents, and have all units reconciled."""
        for unit in self.units.values():
            unit.dependents = []
        for unit in self.units.values():
            for dependency in unit.wanted.depends_on:
                if dependency.service in self.units:
                    self.units[dependency.service].dependents.append(unit.name)
        for unit in self.units.values():
            self._note(unit)
            self._dirty[unit.name] = None

    # --- output -----------------------------------------------------------------------------------------

    def note(self, unit: Unit, event: str, now: float, reason: Reason | None = None, code: int | None = None) -> None:
        """Record a transition: in the history of the unit, and for subscribers to events."""
        unit.record(event, now, reason, code)
        self.transitions.append((unit.name, now, event, reason, code))

    def say(self, level: str, unit: Unit, text: str) -> None:
        """Log a line about a service."""
        self.out.append(Report(level, unit.name, text))

    def _run_hook(self, unit: Unit, stage: str, index: int) -> None:
        unit.hook_stage, unit.hook_index = stage, index
        self.out.append(RunHook(unit.service, stage, index))

    def _set_deadline(self, unit: Unit, time: float | None) -> None:
        unit.deadline = time
        self.timers.set((unit.name, _STATE), time)


def _stop_timed_out(reason: Reason, blocked_hook: int | None) -> Reason:
    if blocked_hook is None:
        return reason.replace(kind=STOP_TIMED_OUT)
    return reason.replace(kind=STOP_TIMED_OUT, hook_stage=PRE_STOP, hook_index=blocked_hook)
