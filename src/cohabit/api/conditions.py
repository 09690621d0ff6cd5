"""When something that was asked for has come about, and how that reads: ready, ended, well. Pure looks at units."""

from __future__ import annotations

from cohabit.api.protocol import Answer
from cohabit.engine import health, machine
from cohabit.engine.supervisor import DONE, LOADING, UP
from cohabit.errors import EXIT_KILLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.engine.supervisor import Supervisor
    from cohabit.engine.unit import Unit

_FAILED = (machine.FATAL, machine.EXITED)


def well(engine: Supervisor, units: Sequence[Unit], *, named: bool) -> Answer:
    """Whether the container is ready for work, or those who are named.

    What nobody named counts if it matters: not what was stopped by request, what has a schedule, or what is neither
    essential nor a job that somebody waits for.
    """
    if engine.phase != UP:
        return Answer(
            1, "the file is still being read" if engine.phase == LOADING else f"stopping: {engine.exit_reason}"
        )
    counting = [unit for unit in units if named or _matters(unit)]
    reasons = [f"{unit.name} {_not_ready(engine, unit)}" for unit in counting if not _is_ready(unit)]
    if reasons:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return Answer(1, reasons[0] + more)
    return Answer(0, f"ready: {_count(len(counting))}")


def alive(engine: Supervisor, units: Sequence[Unit]) -> Answer:
    """Whether there is nothing that a restart of the container would mend."""
    for unit in units:
        if unit.health.status == health.UNHEALTHY:
            return Answer(1, f"{unit.name} {_unhealthy(unit)}")
        if unit.state == machine.FATAL and unit.service.essential:
            return Answer(1, f"{unit.name} {unit.why}")
    return Answer(0, f"alive: {'starting' if engine.phase == LOADING else engine.phase}")


def whether_ready(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """For `wait`: all ready, or one of them that will not be; a crash between two attempts is no end."""
    return _all_started(engine, names, patient=True)


def started(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """For `start` and `restart`: the same, but the first crash is an answer."""
    return _all_started(engine, names, patient=False)


def _all_started(engine: Supervisor, names: Sequence[str], *, patient: bool) -> Answer | None:
    if engine.phase not in (UP, LOADING):
        return Answer(1, f"everything is being stopped: {engine.exit_reason}")
    if engine.phase == LOADING:
        return None
    pending = False
    for name in names:
        unit = engine.units.get(name)
        if unit is None:
            return Answer(1, f"{name} is no longer in the file")
        if _is_ready(unit):
            continue
        why_not = _why_never(engine, unit, patient=patient)
        if why_not is not None:
            return why_not
        pending = True
    return None if pending else Answer(0, f"ready: {', '.join(names) or 'nothing to wait for'}")


def _why_never(engine: Supervisor, unit: Unit, *, patient: bool) -> Answer | None:
    """Why it will not be ready, unless somebody does something about it; None while it is on its way."""
    if unit.restart_pending or unit.state == machine.STOPPING:
        return None
    if unit.state in _FAILED or (unit.state == machine.BACKOFF and not patient):
        again = "" if unit.state in _FAILED else "; it will be started again"
        return Answer(1, f"{unit.name} {unit.why}{again}")
    if not unit.want_up:
        idle = unit.service.schedule is not None and unit.code is None
        return Answer(1, f"{unit.name} {'has not run yet: its schedule says when' if idle else 'was stopped'}")
    if unit.health.status == health.UNHEALTHY and not patient:
        return Answer(1, f"{unit.name} {_unhealthy(unit)}")
    down = _held_up_by(engine, unit)
    return Answer(1, f"{unit.name} waits for {down}, which was stopped") if down else None


def _held_up_by(engine: Supervisor, unit: Unit) -> str:
    """Who is down by request, of those for whom it waits and for whom these wait; "" if nobody is."""
    todo, seen = [unit], {unit.name}
    while todo:
        unit = todo.pop()
        if unit.state != machine.STOPPED or unit.restart_pending:
            continue
        if unit.down:
            return unit.name
        for need in unit.service.depends_on:
            other = engine.units[need.service]
            if unit.want_up and other.name not in seen and not other.satisfies(need):
                seen.add(other.name)
                todo.append(other)
    return ""


def whether_ended(engine: Supervisor, names: Sequence[str], *, by_itself: bool = False) -> Answer | None:
    """Nothing of any of them lives. by_itself: the answer's code is that of the first that failed, for `wait`.

    Else, for `stop` and `kill`, it is an answer as well that somebody has asked for one of them again.
    """
    if engine.phase == LOADING:
        return None
    units = [engine.units[name] for name in names if name in engine.units]
    if engine.phase == DONE:
        return Answer(_first_failure(units) if by_itself else 0, f"the container has ended: {engine.exit_reason}")
    again = next((unit.name for unit in units if unit.want_up and not unit.ended), "")
    if again and not by_itself:
        return Answer(1, f"{again} was asked for again")
    if any(unit.restart_pending or unit.state not in machine.ENDED or _waits(unit) for unit in units):
        return None
    if by_itself:
        texts = [f"{unit.name} {unit.why}" for unit in units if unit.why]
        return Answer(_first_failure(units), "; ".join(texts) or "ended")
    killed = [unit.name for unit in units if unit.killed and unit.code == EXIT_KILLED]
    note = f" (killed: {', '.join(killed)})" if killed else ""
    return Answer(0, f"stopped: {', '.join(names)}{note}")


def _first_failure(units: Sequence[Unit]) -> int:
    """The exit code of the first that failed, 0 if none did."""
    return next((unit.code for unit in units if unit.code), 0)


def _unhealthy(unit: Unit) -> str:
    return f"is unhealthy: {unit.health.last_output or 'its probe failed'}"


def _matters(unit: Unit) -> bool:
    return unit.want_up and unit.service.schedule is None and (unit.service.essential or unit.service.job)


def _waits(unit: Unit) -> bool:
    """It is still to run, when its conditions hold."""
    return unit.state == machine.STOPPED and unit.want_up


def _is_ready(unit: Unit) -> bool:
    """It does its work, or has done it."""
    return not unit.restart_pending and (unit.ready or (unit.state == machine.EXITED and unit.code == 0))


def _not_ready(engine: Supervisor, unit: Unit) -> str:
    """Why, as the end of a sentence that begins with its name."""
    if unit.health.status == health.UNHEALTHY:
        return _unhealthy(unit)
    if unit.state in (machine.BACKOFF, *_FAILED):
        return unit.why
    if unit.state == machine.RUNNING:
        asked = f": {unit.health.last_output}" if unit.health.last_output else ""
        return f"is running and not ready yet{asked}"
    if unit.state == machine.STOPPED and unit.want_up:
        waiting = [need.service for need in unit.service.depends_on if not engine.units[need.service].satisfies(need)]
        return f"waits for {', '.join(waiting)}" if waiting else "is about to start"
    return {machine.STOPPED: "is stopped", machine.STARTING: "is starting", machine.STOPPING: "is stopping"}[unit.state]


def _count(services: int) -> str:
    return "1 service" if services == 1 else f"{services} services"
