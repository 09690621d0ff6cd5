"""Requests for single services: start, stop, restart, kill, signal, pause, unpause. They are those of `docker compose`.

A service that was stopped or killed on request stays down until it is started on request or changed by a reload. The
container keeps running meanwhile, even without an essential service: a requested end is not a failure. A schedule
stays active and starts its job at the next time. A service that is not in the Plan any more but still has processes
can be stopped, killed and signalled, but not started.
"""

from __future__ import annotations

from cohabit.engine import machine, pausing
from cohabit.engine.effects import Signal
from cohabit.engine.runs import SIGKILL
from cohabit.engine.transition import CHANGED
from cohabit.engine.unit import STATE_TIMER
from cohabit.plan.model import COMPLETED
from cohabit.plan.reason import KILLED_ON_REQUEST, Reason
from cohabit.plan.reason_text import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.events import Requested
    from cohabit.engine.services import Services
    from cohabit.engine.unit import Unit

START, STOP, RESTART, KILL, SIGNAL = "start", "stop", "restart", "kill", "signal"
PAUSE, UNPAUSE = "pause", "unpause"


def request(services: Services, requested: Requested, now: float) -> None:
    """Apply the action to each of the services."""
    action = requested.action
    for name in requested.services:
        unit = services.units.get(name)
        if unit is None:
            continue
        if requested.grace_seconds is not None:
            request_grace(services, unit, requested.grace_seconds, now)
        if unit.unreachable and action in (STOP, RESTART):  # try again: its user may be another one by now
            services.runs.stop(unit, machine.STOPPING, now)
        if action == SIGNAL:
            if unit.run.main_alive:
                unit.signal_refused = None
                services.out.append(Signal(name, requested.number))
        elif action == STOP:
            _stop(services, unit)
        elif action == KILL:
            _kill(services, unit, now)
        elif action == PAUSE:
            pausing.pause(services, unit, now)
        elif action == UNPAUSE:
            pausing.unpause(services, unit, now)
        elif not unit.gone and (requested.cause is None or _is_concerned(unit)):
            if requested.cause is not None:
                services.say("info", unit, f"restarting it: {text_of(requested.cause)}")
                services.note(unit, CHANGED, now, requested.cause)
            if action == RESTART:
                services.restart(unit, up=True)
            _start(services, unit)


def _is_concerned(unit: Unit) -> bool:
    """Whether changed files restart it: it is to run. A job that waits for its schedule will see them then."""
    return unit.desired and not (unit.at_rest and unit.newest_spec.schedule is not None)


def request_grace(services: Services, unit: Unit, seconds: float, now: float) -> None:
    """Give the run that there is another grace period than the file does."""
    services.total_grace.requested[unit.name] = seconds
    services.runs.change_grace(unit, now, longer=True)


def _start(services: Services, unit: Unit) -> None:
    """Start a service and those of its dependencies that are down.

    A service that runs and is not being stopped is left alone. One that is being stopped starts again afterwards.
    """
    todo, seen = [unit], {unit.name}
    while todo:
        unit = todo.pop()
        if unit.at_rest or unit.state == machine.STOPPING or not unit.desired:
            services.replace_run(unit, up=True)
        for dependency in unit.newest_spec.depends_on:
            other = services.units[dependency.service]
            if other.name in seen or other.newest_spec.schedule is not None:
                continue
            done = dependency.condition == COMPLETED and other.satisfies(dependency)
            if not done and (other.ended or other.going_down or other.state == machine.STOPPED):
                seen.add(other.name)
                todo.append(other)


def _stop(services: Services, unit: Unit) -> None:
    unit.desired = unit.restart_pending = False
    services.mark_dirty(unit)


def _kill(services: Services, unit: Unit, now: float) -> None:
    _stop(services, unit)
    if not unit.at_rest:
        unit.run.reason = unit.run.reason or Reason(KILLED_ON_REQUEST, signal=SIGKILL)
        services.runs.kill_at_once(unit, now)


def signal_refused(services: Services, unit: Unit, cause: Reason, now: float) -> None:
    """A signal was not sent. What was not asked to end is not waited for: it is STOPPING until it ends."""
    pausing.refused(services, unit, cause, now)
    if unit.signal_refused is None:  # logged once per run
        not_awaited = "; its end is not waited for" if unit.state == machine.STOPPING else ""
        services.say("error", unit, text_of(cause) + not_awaited)
    unit.signal_refused = cause
    if unit.state == machine.STOPPING and unit.run.stop is not None:
        unit.run.stop.refused = True
        services.timers.set((unit.name, STATE_TIMER), None)
        services.mark_dirty(unit)


def schedule_due(services: Services, unit: Unit, now: float) -> None:
    """Start a job whose schedule is due, unless its previous run is not finished."""
    if unit.gone or unit.restart_pending or unit.spec.schedule is None:
        return
    if not unit.at_rest or unit.state == machine.BACKOFF or (unit.desired and unit.state == machine.STOPPED):
        services.say("warning", unit, "its schedule is due, but the previous run is not finished: skipped")
        return
    unit.desired, unit.restarts = True, 0
    services.fact(unit, machine.REARM, now)
    services.mark_dirty(unit)
