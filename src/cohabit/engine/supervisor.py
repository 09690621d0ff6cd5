"""The whole container: step(event, now) -> effects, and deadline().

services.py handles single services. This module handles the start, the reload and the end of the container. It ends

  - when an essential service ends for good, with the exit code of that service; later failures do not change it;
  - when all services have ended, with 0 or the code of the first failure;
  - on request (docker stop), with 0, or 137 if SIGKILL was needed.

The steps of the end are always the same. All services stop in reverse order of their dependencies, within one total
time. Then the remaining processes get SIGTERM, and SIGKILL when the time is over. Then comes Exit.

A reload applies the difference between two Plans: removed services stop, changed ones restart where needed, new ones
start, and the others are not affected.

Nothing here waits, loops over time or touches Linux. `now` is monotonic seconds.
"""

from __future__ import annotations

from cohabit.engine import machine
from cohabit.engine.effects import AllReady, Exit, Forget, Load, Prepare, Report, Sweep
from cohabit.engine.events import (
    Broken,
    Daemonised,
    Due,
    Exited,
    HookEnded,
    Loaded,
    LoadFailed,
    Notified,
    Probed,
    ReloadRequested,
    Requested,
    ScheduleDue,
    Spawned,
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.requests import request, schedule_due
from cohabit.engine.runs import SIGKILL, SIGTERM
from cohabit.engine.services import Services
from cohabit.engine.transition import Transition, entries_from_plain, entries_to_plain
from cohabit.engine.unit import STATE_TIMER, Unit
from cohabit.errors import EXIT_BUG, EXIT_KILLED
from cohabit.plan import reason as reasons
from cohabit.plan.diff import diff
from cohabit.plan.model import EXIT
from cohabit.plan.reason import Reason
from cohabit.plan.record import from_plain, to_plain
from cohabit.units import format_duration, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.transition import Entry
    from cohabit.plan.diff import Difference
    from cohabit.plan.model import Plan

REPEATED_SIGNAL_SECONDS = 0.2  # the same signal again within this time is the same request
_HISTORY_KEPT = 64
KILL_WAIT_SECONDS = 2.0  # after SIGKILL to all processes; Docker waits as long

# Phases of the container.
LOADING, UP, STOPPING, SWEEPING, DONE = "loading", "up", "stopping", "sweeping", "done"

_KEPT = (
    "phase", "code", "exit_reason", "cause", "failures", "requested", "stop_signal", "stop_requested_at",
    "killing", "total_deadline", "reading", "read_again", "announced", "scale", "scale_read", "scale_requested",
    "reads", "reload_messages", "read_code", "history",
)  # fmt: skip


class Supervisor:
    """The engine. Pass it every event, carry out its effects in order, and pass it Due at its deadline."""

    def __init__(self) -> None:
        self.services = Services()
        self.phase = LOADING
        self.plan: Plan | None = None
        self.code: int | None = None  # exit code of the first cause; None while there is none, and after a request
        self.exit_reason: Reason | None = None
        self.cause = ""
        self.failures = 0  # services that have failed for good
        self.requested = False  # the end was requested
        self.stop_signal, self.stop_requested_at = 0, 0.0  # the signal of the first stop request, and its time
        self.killing = False  # SIGKILL was sent to all; KILL_WAIT_SECONDS runs
        self.total_deadline: float | None = None
        self.drain_until = 0.0  # monotonic seconds until which output may be written after Exit
        self.reading, self.read_again = True, False  # the file is being read; it must be read once more
        self.announced = False  # AllReady was given
        self.scale: dict[str, int] = {}  # replicas by service, as in the last Load
        self.scale_read: dict[str, int] = {}  # the same, as in the current Plan
        self.scale_requested: dict[str, int] = {}  # requested since then, for the next Load
        self.reads = 0  # how many times the file was read
        self.reload_messages: tuple[str, ...] = ()  # the messages of the last read: what changed, or why nothing
        self.read_code = 0  # the exit code of the last read
        self.history: list[Entry] = []  # of the container, as History.entries

    def step(self, event: Event, now: float) -> list[Effect]:
        """Handle one event. Returns the effects to carry out, in order. Raises ImpossibleEventError."""
        self.services.out, self.services.transitions = [], []
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
        if self.total_deadline is None:
            return earliest
        return self.total_deadline if earliest is None else min(earliest, self.total_deadline)

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
            case Exited(_, code, orphans, out_of_memory):
                services.runs.exited(unit, code, now, orphans=orphans, out_of_memory=out_of_memory)
            case Daemonised(_, pid):
                services.runs.daemonised(unit, pid)
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
                if self.total_deadline is not None and self.total_deadline <= now:
                    self._total_due(now)
            case StopRequested(number, by):
                self._stop_requested(number, by or signal_name(number), now)
            case Swept():
                self._finish()
            case Broken(text):
                self._broken(text, now)
            case ReloadRequested(scale):
                self._reload_requested(scale)
            case Requested(action, names, number) if self.phase == UP:
                request(self.services, action, names, number, now)
            case Loaded(plan):
                self._loaded(plan, now)
            case LoadFailed(lines, code):
                self._load_failed(lines, code, now)

    def _reconcile(self, now: float) -> None:
        """Handle services that ended for good and reconcile the others, until nothing changes."""
        services = self.services
        done = False
        while not done:
            for unit in services.ended[:]:
                services.ended.remove(unit)
                self._over(unit, now)
            services.reconcile(now)
            done = not services.ended
        if self.phase == UP:
            self._check_progress(now)
        if self.phase == STOPPING and not services.active:
            self._sweep()

    def _check_progress(self, now: float) -> None:
        """Forget removed services, and see whether all services have ended or are ready."""
        services = self.services
        for unit in [unit for unit in services.membership.gone if unit.at_rest]:
            services.membership.forget(unit)
            self._do(Forget(unit.name))
        if not services.active and all(unit.ended for unit in services.units.values()):
            self._all_done(now)
            services.reconcile(now)
        elif not self.announced and not services.not_ready:
            self.announced = True
            self._note("ready", now)
            self._do(AllReady())

    # --- the file, at the start and at a reload --------------------------------------------------------

    def _loaded(self, plan: Plan, now: float) -> None:
        self.reading, self.scale_read = False, self.scale
        if self.phase == LOADING:
            self.phase, self.plan = UP, plan
            self.services.membership.begin(plan, now)
            self._do(Prepare(plan))
            self._read((), 0)
            self._note("up", now)
        elif self.phase == UP and self.plan is not None:
            difference = diff(self.plan, plan)
            self.plan = plan
            before = len(self.services.out)
            self._report_difference(difference)
            self._read(tuple(effect.text for effect in self.services.out[before:] if isinstance(effect, Report)), 0)
            self._note("reloaded", now)
            if difference:
                self._do(Prepare(plan))
                self.services.membership.change(plan, difference, now)
            self._read_once_more()

    def _report_difference(self, difference: Difference) -> None:
        if difference.stop_grace_seconds:
            total = " -> ".join(format_duration(seconds) for seconds in difference.stop_grace_seconds)
            self._say("info", f"reload: stop_grace_period changed: {total}")
        for key in difference.whole:
            self._say("info", f"reload: x-cohabit.{key} changed")
        for name, fields in difference.changed.items():
            how = "restarting" if name in difference.restarting else "no restart needed"
            self._say("info", f"reload: {name} changed ({', '.join(fields)}): {how}")
        for name in difference.removed:
            self._say("info", f"reload: {name} was removed: stopping it")
        for name in difference.added:
            self._say("info", f"reload: {name} is new: starting it")
        if not difference:
            self._say("info", "reload: nothing has changed")

    def _load_failed(self, lines: tuple[str, ...], code: int, now: float) -> None:
        self.reading, self.scale = False, self.scale_read
        self._read(lines, code)
        if self.phase not in (LOADING, UP):
            return
        level = "problem" if self.phase == LOADING else "error"  # "error" has our name in front, among other output
        for line in lines:
            self._do(Report(level, "", line))
        if self.phase == LOADING:
            self.phase = DONE
            self._do(Exit(code, None))
        else:
            self._note("reload failed", now, Reason(reasons.RELOAD_FAILED, detail=lines[0] if lines else ""), code)
            self._say("error", "cannot reload: see the messages above (nothing was changed)")
            self._read_once_more()

    def _reload_requested(self, scale: dict[str, int]) -> None:
        if self.phase in (STOPPING, SWEEPING, DONE):
            self._say("warning", "cannot reload: everything is being stopped")
            return
        self.scale_requested = {**self.scale_requested, **scale}
        if self.reading:
            self.read_again = self.phase == UP
        else:
            requested, self.scale_requested = self.scale_requested, {}
            self.reading, self.scale = True, {**self.scale, **requested}
            self._say("info", "reload: reading the file again")
            self._do(Load(self.scale, tuple(requested)))

    def _read_once_more(self) -> None:
        """Repeat a reload that was requested while the file was being read."""
        if self.read_again:
            self.read_again = False
            self._reload_requested({})

    def _read(self, messages: tuple[str, ...], code: int) -> None:
        """Record the outcome of a read of the file."""
        self.reads += 1
        self.reload_messages, self.read_code = messages, code

    # --- the end -------------------------------------------------------------------------------------

    def _over(self, unit: Unit, now: float) -> None:
        """A service ended for good, or is unhealthy with `on_failure: exit`: end the container if it has to."""
        if unit.code and not unit.failed and unit.spec.schedule is None:
            self.failures += 1
            unit.failed = self.failures
        if self.phase != UP or unit.gone:
            return
        if unit.spec.essential or unit.run.on_failure == EXIT:
            self.cause = self._first_cause(unit)
            said = self._why_it_ends_all(unit)
            reason = Reason(reasons.SERVICE_ENDED, service=unit.name, cause=unit.run.reason, detail=said)
            self._begin_stop(unit.code or 0, reason, now)

    def _why_it_ends_all(self, unit: Unit) -> str:
        """Say that it was essential, unless all services are."""
        if not unit.spec.essential:
            return "on_failure: exit"
        return "" if all(other.spec.essential for other in self.units.values()) else "essential"

    def _first_cause(self, unit: Unit) -> str:
        """The service whose output explains the end: the given one, or the dependency that failed."""
        while not unit.starts:
            others = [(self.units[dependency.service], dependency) for dependency in unit.spec.depends_on]
            failed = [other for other, dependency in others if other.can_never_satisfy(dependency)]
            if not failed:
                break
            unit = failed[0]
        return unit.name

    def _all_done(self, now: float) -> None:
        failures = [unit for unit in self.units.values() if unit.failed]
        if not failures:
            self._begin_stop(0, Reason(reasons.ALL_ENDED), now)
        else:
            failed = min(failures, key=lambda unit: unit.failed)
            self.cause = self._first_cause(failed)
            reason = Reason(reasons.ALL_ENDED, service=failed.name, cause=failed.run.reason)
            self._begin_stop(failed.code, reason, now)

    def _stop_requested(self, number: int, by: str, now: float) -> None:
        if self.phase == LOADING:
            self.phase = DONE
            self._do(Exit(0, Reason(reasons.STOPPED_EARLY, detail=by)))
        elif self.phase == UP:
            self.requested = True
            self._say("info", f"{by}: stopping")
            self._begin_stop(None, Reason(reasons.STOP_REQUESTED, detail=by), now)
            self.stop_signal, self.stop_requested_at = number, now
        elif number == self.stop_signal and now - self.stop_requested_at < REPEATED_SIGNAL_SECONDS:
            return  # timeout(1), npm and some platforms signal process 1 and then its whole group
        elif self.phase in (STOPPING, SWEEPING) and not self.requested:
            self.stop_signal, self.stop_requested_at = number, now
            # A signal to a whole process group may reach a service before cohabit. The death of the service then looks
            # like the cause of the end, but is part of this request.
            self.requested = True
            if self.code == 128 + number:
                self.code, self.cause = None, ""
                self.exit_reason = Reason(reasons.STOP_REQUESTED, detail=by)
        elif self.phase in (STOPPING, SWEEPING) and not self.killing:
            self._say("warning", f"{by} again: killing the remaining processes")
            self._total_due(now)

    def _broken(self, text: str, now: float) -> None:
        """Stop everything in order, with the exit code for a bug in cohabit."""
        self._say("error", text)
        reason = Reason(reasons.INTERNAL_ERROR, detail=text)
        if self.phase == LOADING:
            self.phase = DONE
            self._do(Exit(EXIT_BUG, reason))
        elif self.phase == UP:
            self._begin_stop(EXIT_BUG, reason, now)
        self.code, self.exit_reason, self.cause = EXIT_BUG, reason, ""

    def _begin_stop(self, code: int | None, reason: Reason, now: float) -> None:
        self.phase, self.code, self.exit_reason = STOPPING, code, reason
        self._note("stopping", now, reason, code)
        grace = self.plan.stop_grace_seconds if self.plan else 0.0
        self.total_deadline = now + grace
        self.services.stop_all()

    def _total_due(self, now: float) -> None:
        """The total time is over, or a second request came: send SIGKILL to all. KILL_WAIT_SECONDS later, exit."""
        if self.killing:
            waited = format_duration(KILL_WAIT_SECONDS)
            self._say("error", f"some processes have not ended {waited} after SIGKILL: exiting without them")
            self._do(Sweep(SIGKILL))  # the processes that belong to no service have had no signal yet
            self._finish()
            return
        over = self.total_deadline is not None and self.total_deadline <= now
        self.killing = self.services.killed = True
        self.total_deadline = now + KILL_WAIT_SECONDS
        if self.phase == SWEEPING:
            self._say("warning", "killing the remaining processes that belong to no service")
            self._do(Sweep(SIGKILL))
            return
        running = [unit for unit in self.units.values() if not unit.at_rest]
        names = ", ".join(unit.name for unit in running)
        total = format_duration(self.plan.stop_grace_seconds if self.plan else 0.0)
        late = f"not stopped within the total of {total} (x-cohabit: stop_grace_period): " if over else ""
        self._say("warning", f"{late}killing {names}")
        for unit in running:
            self.services.runs.kill_at_once(unit, now)

    def _sweep(self) -> None:
        self.phase = SWEEPING
        self._do(Sweep(SIGKILL if self.killing else SIGTERM))

    def _finish(self) -> None:
        if self.phase == DONE:
            return
        self.phase = DONE
        self.drain_until = self.total_deadline or 0.0
        self.total_deadline = None
        code = self.code
        if code is None:
            code = EXIT_KILLED if self.services.killed else 0
        self._do(Exit(code, self.exit_reason, self.cause))

    # --- output ----------------------------------------------------------------------------------------

    def _do(self, effect: Effect) -> None:
        self.services.out.append(effect)

    def _note(self, event: str, now: float, reason: Reason | None = None, code: int | None = None) -> None:
        """Record a transition of the container: in its history, and for subscribers to events."""
        transition = Transition("", now, event, expected=not code, reason=reason, code=code)
        self.history = [*self.history[1 - _HISTORY_KEPT :], transition.entry]
        self.services.transitions.append(transition)

    def _say(self, level: str, text: str) -> None:
        self._do(Report(level, "", text))

    # --- re-execution ----------------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """The re-execution state, as plain values. The Plan is passed separately."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _KEPT}
        plain["exit_reason"], plain["history"] = to_plain(self.exit_reason), entries_to_plain(self.history)
        plain["killed"] = self.services.killed
        plain["deadlines"] = {name: self.services.timers.get((name, STATE_TIMER)) for name in self.units}
        plain["units"] = [unit.to_plain() for unit in self.units.values()]
        return plain

    def restore(self, plan: Plan | None, plain: dict[str, Any]) -> None:
        """The inverse of to_plain."""
        self.plan = plan
        for name in _KEPT:
            if name in plain:
                setattr(self, name, plain[name])
        self.exit_reason, self.history = from_plain(self.exit_reason), entries_from_plain(self.history)
        self.services.killed = plain["killed"]
        self.services.restore([Unit.restored(unit) for unit in plain["units"]], plain["deadlines"])
