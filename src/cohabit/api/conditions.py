"""Decides when a requested condition holds (ready, ended, healthy), and words the answer.

These functions only read the engine's state. Each returns an Answer, or None while the condition may still come true.
"""

from __future__ import annotations

from cohabit import control
from cohabit.api.protocol import Answer
from cohabit.engine import health, machine
from cohabit.engine.container import DONE, LOADING, UP
from cohabit.errors import EXIT_KILLED
from cohabit.plan.file_words import word
from cohabit.plan.reason_text import text_of
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cohabit.api.status import BlockedOutput
    from cohabit.engine.supervisor import Supervisor
    from cohabit.engine.unit import Unit

_FAILED = (machine.FATAL, machine.EXITED)


def affected(engine: Supervisor) -> set[str] | None:
    """Return the services for which the last step of the engine may have changed a condition.

    These are the services that the step changed or removed, with or without a transition, and all that depend on them,
    directly or not. None for all services: the container had a transition.
    """
    names = engine.services.changed | {each.service for each in engine.services.transitions}
    if "" in names:
        return None
    todo = list(names)
    while todo:
        unit = engine.units.get(todo.pop())
        dependents = [name for name in unit.dependents if name not in names] if unit else []
        names.update(dependents)
        todo += dependents
    return names


def readiness(
    engine: Supervisor,
    units: Sequence[Unit],
    blocked: Mapping[str, Sequence[BlockedOutput]],
    now: float,
    *,
    named: bool,
) -> Answer:
    """Return whether the container, or these services if the request named them, are ready.

    For the whole container, these services do not count: those that were stopped by request, those with a schedule, and
    those that are neither essential nor a job on which others depend. blocked: by service, the output that waits: the
    service is not ready, since it blocks in write(2) sooner or later. now: Unix seconds.
    """
    if engine.phase != UP:
        if engine.phase == LOADING:
            return Answer(1, "the file is still being read", error=control.LOADING)
        return Answer(1, f"stopping: {text_of(engine.ending.reason)}", error=control.STOPPING)
    if not named and (nothing_left := _describe_nothing_left(engine)):
        return Answer(1, nothing_left, error=control.NOT_READY)
    counted = [unit for unit in units if named or _counts(unit)]
    reasons = [_describe_blocked(unit, blocked[unit.name][0], now) for unit in counted if unit.name in blocked]
    reasons += [f"{unit.name} {_describe_not_ready(engine, unit)}" for unit in counted if not _is_ready(unit)]
    if reasons:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return Answer(1, reasons[0] + more, error=control.NOT_READY)
    ready = sum(not unit.skipped for unit in counted)
    return Answer(0, f"ready: {'1 service' if ready == 1 else f'{ready} services'}")


def liveness(engine: Supervisor, units: Sequence[Unit]) -> Answer:
    """Return 1 if a restart of the container may help: a service is unhealthy, or an essential one or all are FATAL."""
    for unit in units:
        if unit.health.status == health.UNHEALTHY:
            return Answer(1, f"{unit.name} {_describe_unhealthy(unit)}")
        if unit.state == machine.FATAL and unit.spec.essential:
            return Answer(1, f"{unit.name} {text_of(unit.run.reason)}")
    if len(units) == len(engine.units) and (nothing_left := _describe_nothing_left(engine)):
        return Answer(1, nothing_left)
    return Answer(0, f"alive: {'starting' if engine.phase == LOADING else engine.phase}")


def whether_ready(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """For `wait`: answer when all are ready or one cannot become ready. A crash that is retried does not count."""
    return _all_ready(engine, names, retries=True)


def started(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """For `start` and `restart`: as whether_ready, but the first crash is the answer."""
    return _all_ready(engine, names, retries=False)


def _all_ready(engine: Supervisor, names: Sequence[str], *, retries: bool) -> Answer | None:
    if engine.phase not in (UP, LOADING):
        return Answer(1, f"everything is being stopped: {text_of(engine.ending.reason)}", error=control.STOPPING)
    if engine.phase == LOADING:
        return None
    pending = False
    for name in names:
        unit = engine.units.get(name)
        if unit is None:
            return Answer(1, f"{name} is no longer in the file")
        if _is_ready(unit):
            continue
        failure = _failure(engine, unit, retries=retries)
        if failure is not None:
            return failure
        pending = True
    return None if pending else Answer(0, _describe_ready([engine.units[name] for name in names]))


def _describe_ready(units: Sequence[Unit]) -> str:
    ready = [unit.name for unit in units if not unit.skipped]
    texts = [f"{unit.name} {text_of(unit.run.reason)}" for unit in units if unit.skipped]
    if ready or not texts:
        texts.insert(0, f"ready: {', '.join(ready) or 'nothing to wait for'}")
    return "; ".join(texts)


def _failure(engine: Supervisor, unit: Unit, *, retries: bool) -> Answer | None:
    """Return why the unit does not become ready without a further request; None while it still may."""
    if unit.unreachable:
        return unreachable([unit])
    if unit.restart_pending or unit.state == machine.STOPPING:
        return None
    if unit.state in _FAILED or (unit.state == machine.BACKOFF and not retries):
        retried = "" if unit.state in _FAILED else "; it will be restarted"
        return Answer(1, f"{unit.name} {text_of(unit.run.reason)}{retried}")
    if not unit.desired:
        scheduled = unit.spec.schedule is not None and unit.code is None
        not_started = word("no autostart", supervisord=unit.spec.startup is not None)
        why = f"is not started by itself: {not_started}" if unit.dormant and unit.code is None else "was stopped"
        return Answer(1, f"{unit.name} {'has not run yet: it runs on a schedule' if scheduled else why}")
    if unit.health.status == health.UNHEALTHY and not retries:
        return Answer(1, f"{unit.name} {_describe_unhealthy(unit)}")
    stopped = _stopped_dependency(engine, unit)
    return Answer(1, f"{unit.name} waits for {stopped}, which was stopped") if stopped else None


def _stopped_dependency(engine: Supervisor, unit: Unit) -> str:
    """Return the name of a direct or indirect dependency that was stopped by request, or ""."""
    todo, seen = [unit], {unit.name}
    while todo:
        unit = todo.pop()
        if unit.state != machine.STOPPED or unit.restart_pending:
            continue
        if unit.down:
            return unit.name
        for dependency in unit.spec.depends_on:
            other = engine.units[dependency.service]
            if unit.desired and other.name not in seen and not other.satisfies(dependency):
                seen.add(other.name)
                todo.append(other)
    return ""


def whether_ended(
    engine: Supervisor, names: Sequence[str], *, by_itself: bool = False, dead: Collection[str] = ()
) -> Answer | None:
    """Answer when no process of these services is left.

    With by_itself (for `wait`), the code is the exit code of the first service that failed. Without it (for `stop` and
    `kill`), it is an answer too that one of them is wanted again. dead: those that did not run before.
    """
    if engine.phase == LOADING:
        return None
    units = [engine.units[name] for name in names if name in engine.units]
    if engine.phase == DONE:
        code = _first_failure(units) if by_itself else 0
        return Answer(code, f"cohabit exits: {text_of(engine.ending.reason)}", error=control.OK)
    wanted = next((unit.name for unit in units if unit.desired and not unit.ended), "")
    if wanted and not by_itself:
        return Answer(1, f"{wanted} is to start again")
    refused = [unit for unit in units if unit.unreachable]
    if refused and not by_itself:
        return unreachable(refused)
    if any(unit.restart_pending or unit.state not in machine.ENDED or _waits_to_start(unit) for unit in units):
        return None
    if by_itself:
        texts = [f"{unit.name} {text_of(unit.run.reason)}" for unit in units if unit.run.reason is not None]
        return Answer(_first_failure(units), "; ".join(texts) or "ended", error=control.OK)
    killed = [unit.name for unit in units if unit.run.killed and unit.code == EXIT_KILLED and unit.name not in dead]
    note = f" (killed: {', '.join(killed)})" if killed else ""
    return Answer(0, f"stopped: {', '.join(names)}{note}")


def unreachable(units: Sequence[Unit]) -> Answer:
    """The answer that names these services, which cannot be signalled."""
    return Answer(1, "; ".join(f"cannot stop {unit.name}: {text_of(unit.signal_refused)}" for unit in units))


def _first_failure(units: Sequence[Unit]) -> int:
    """Return the exit code of the first unit that failed, 1 if it ended with 0; 0 if none did."""
    return next((unit.code or 1 for unit in units if unit.failure), 0)


def _describe_nothing_left(engine: Supervisor) -> str:
    """Return the reason if no service that takes part runs or will run without a request, and one is FATAL; or ""."""
    beside = engine.plan.beside if engine.plan else ()
    units = [unit for unit in engine.units.values() if unit.name not in beside and not unit.dormant]
    failed = [unit for unit in units if unit.state == machine.FATAL]
    if engine.phase != UP or not failed or any(not unit.ended or unit.restart_pending for unit in units):
        return ""
    what = "all have failed" if len(failed) == len(units) else "all have failed or ended"
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return f"{what}: {failed[0].name} {text_of(failed[0].run.reason)}{more}"


def _counts(unit: Unit) -> bool:
    return unit.desired and unit.spec.schedule is None and (unit.spec.essential or unit.spec.job)


def _waits_to_start(unit: Unit) -> bool:
    return unit.state == machine.STOPPED and unit.desired


def _is_ready(unit: Unit) -> bool:
    """A job that ended with 0 counts as ready, and so does a service that was skipped."""
    return not unit.restart_pending and (unit.run.ready or unit.succeeded)


def _describe_blocked(unit: Unit, output: BlockedOutput, now: float) -> str:
    waited = "" if output.since is None else f" {format_duration(max(0.0, now - output.since))}"
    return f"the output of {unit.name} has waited{waited} for {output.text}"


def _describe_unhealthy(unit: Unit) -> str:
    return f"is unhealthy: {unit.health.last_output or 'its probe failed'}"


def _describe_not_ready(engine: Supervisor, unit: Unit) -> str:
    """Return the reason, worded to follow the service's name."""
    if unit.health.status == health.UNHEALTHY:
        return _describe_unhealthy(unit)
    if unit.state in (machine.BACKOFF, *_FAILED):
        return text_of(unit.run.reason)
    if unit.state == machine.RUNNING:
        output = f": {unit.health.last_output}" if unit.health.last_output else ""
        return f"is running and not ready yet{output}"
    if unit.state == machine.STOPPED and unit.desired:
        waiting = [each.service for each in unit.spec.depends_on if not engine.units[each.service].satisfies(each)]
        return f"waits for {', '.join(waiting)}" if waiting else "is about to start"
    if unit.command_runs:
        return "is starting: it has not run for its startsecs yet"
    return {machine.STOPPED: "is stopped", machine.STARTING: "is starting", machine.STOPPING: "is stopping"}[unit.state]
