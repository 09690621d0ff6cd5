"""Find the cause of each service's state, and the chain of causes from a service to its root causes.

`explain` examines one service and names the services it waits for. `chain` follows these names to services that wait
for nothing: the root causes. why.py turns causes into sentences or JSON. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cohabit.errors import EXIT_CANNOT_RUN, EXIT_NOT_FOUND
from cohabit.plan.file_words import word
from cohabit.plan.model import POST_STOP
from cohabit.plan.reason import DEPENDENCY_FAILED, STOP_TIMED_OUT, STOPPED_UNASKED
from cohabit.plan.reason_text import start_failure, text_of
from cohabit.rendering.advice import blocked_advice, buffer_advice, exit_advice, port_advice, probe_advice, stop_advice
from cohabit.rendering.colours import DONE, FAILED, READY, STOPPED, state_of
from cohabit.rendering.ending import end_clause, next_attempt, restart_policy, stop_progress
from cohabit.rendering.formatting import clock, counted, name_list, time_and_age, until
from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.api.status import BlockedOutput, ContainerStatus, ProbeStatus, ServiceStatus

STARTED, HEALTHY, COMPLETED = "service_started", "service_healthy", "service_completed_successfully"
STOPPED_FIRST = "down"  # not a condition of Compose: a service that will be stopped waits for its dependents
_CONDITION_TEXT = {
    STARTED: "to start",
    HEALTHY: "to be ready",
    COMPLETED: "to complete successfully",
    STOPPED_FIRST: "to end first",
}

_JOINED_MAX = 2
_NOT_KEPT = frozenset({"inherit", "raw"})  # drivers whose output cohabit does not see, or sees only for `logs -f`
_RECENT_SECONDS = 10.0  # Docker resets the back-off after a run of this length
_SOON_SECONDS = 5.0
_SILENT_SECONDS = 3.0  # after this time the stop signal may have been ignored

# Kinds of causes, as in the JSON output.
WELL, WAITS, RESTARTING, GAVE_UP, CANNOT_START = "well", "waits", "restarting", "gave-up", "cannot-start"
REFUSED, FAILED_RUN, ENDED, DONE_JOB, SCHEDULED = "refused", "failed", "ended", "done", "scheduled"
SCHEDULED_FAILED, WAS_SKIPPED = "scheduled-failed", "skipped"
NOT_READY, UNHEALTHY, UNFINISHED, HOOK = "not-ready", "unhealthy", "unfinished", "hook"
BLOCKED, PAUSED = "blocked", "paused"
IS_STARTING, IS_STOPPING, STOPPED_MANUALLY, UNKNOWN = "starting", "stopping", "stopped", "unknown"

# Kinds that are not reported for the whole container, unless another service waits for the service.
UNREMARKABLE = frozenset({WELL, DONE_JOB, SCHEDULED, STOPPED_MANUALLY, WAS_SKIPPED})
# Kinds in which cohabit does not start the service again by itself.
FINAL = frozenset({GAVE_UP, CANNOT_START, FAILED_RUN, ENDED, REFUSED})


class Cause(NamedTuple):
    """The cause of one service's state.

    clause: completes "web ...". kind: one of the constants above. time: Unix seconds; since: the state has lasted
    since then (True), or an event happened then (False). display_state: a key of colours.STYLES. facts: further lines.
    output: its last lines of output. advice: what to do. because: the services it waits for, each with the condition;
    a root cause has none. depth: its level in the chain, from 0.
    """

    service: str
    kind: str
    clause: str
    time: float | None
    display_state: str
    since: bool = True
    facts: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    because: tuple[tuple[str, str], ...] = ()
    depth: int = 0


class Snapshot(NamedTuple):
    """All services, and the dependents of each. explained: causes found so far, by (service, condition)."""

    container: ContainerStatus
    services: Mapping[str, ServiceStatus]
    dependents: Mapping[str, list[str]]
    explained: dict[tuple[str, str], Cause]


def snapshot_of(container: ContainerStatus, services: list[ServiceStatus]) -> Snapshot:
    """Build the snapshot in which causes are searched."""
    dependents: dict[str, list[str]] = {}
    for service in services:
        for need in service.depends_on:
            dependents.setdefault(need.service, []).append(service.name)
    return Snapshot(container, {service.name: service for service in services}, dependents, {})


def chain(snapshot: Snapshot, name: str) -> list[Cause]:
    """Return its cause and those of all services it waits for, each once, in depth-first order."""
    found: dict[str, Cause] = {}
    todo = [(name, "", 0)]
    while todo:
        name, condition, depth = todo.pop()
        if name not in found:
            found[name] = cause = explain(snapshot, name, condition)._replace(depth=depth)
            todo += [(other, needed, depth + 1) for other, needed in reversed(cause.because)]
    return list(found.values())


def explain(snapshot: Snapshot, name: str, condition: str = "") -> Cause:
    """Return the cause of a service's state; condition: the one that a dependent waits for, "" if none."""
    if (name, condition) not in snapshot.explained:
        snapshot.explained[name, condition] = _with_stopped(snapshot, _explain(snapshot, name, condition))
    return snapshot.explained[name, condition]


def _explain(snapshot: Snapshot, name: str, condition: str) -> Cause:
    service = snapshot.services.get(name)
    if service is None:
        return Cause(name, UNKNOWN, "does not exist", None, FAILED)
    if service.state == "RUNNING":
        return _running(snapshot, service, condition)
    how = _BY_STATE.get(service.state)
    if how is None:
        return _unknown(service, f"is in an unknown state: {service.state or 'none'}")
    return _as_needed(how(snapshot, service), service, condition)


def _with_stopped(snapshot: Snapshot, cause: Cause) -> Cause:
    """Add the dependencies that were stopped manually: their absence may be the reason of its state."""
    service = snapshot.services.get(cause.service)
    if service is None or (service.at_rest and service.state != "BACKOFF") or snapshot.container.phase != "up":
        return cause
    known = {name for name, _ in cause.because}
    others = [snapshot.services.get(need.service) for need in service.depends_on]
    names = dict.fromkeys(
        one.name for one in others if one is not None and one.stopped_manually and one.name not in known
    )
    facts = tuple(f"its dependency {name} was stopped manually" for name in names)
    return cause._replace(
        facts=(*cause.facts, *facts), advice=(*cause.advice, *(f"`cohabit start {name}`" for name in names))
    )


def _as_needed(cause: Cause, service: ServiceStatus, condition: str) -> Cause:
    """Add advice if it ended with 0 but a dependent waits for a condition that this does not fulfil."""
    well = service.code == 0 and not cause.because
    if well and condition == COMPLETED and service.state == "BACKOFF":
        return cause._replace(advice=(_never_completed(service),))
    if well and condition == HEALTHY and service.state == "EXITED":
        job = "if dependents wait for it to complete: set `condition: service_completed_successfully`"
        return cause._replace(advice=(*cause.advice, job))
    return cause


# --- running ------------------------------------------------------------------------------------------


def _running(snapshot: Snapshot, service: ServiceStatus, condition: str) -> Cause:
    now = snapshot.container.now
    if service.going_down:
        return _going_down(snapshot, service)
    if service.paused:
        since = service.last_time("paused")
        advice = (f"cohabit unpause {service.name}",)
        return _cause(service, PAUSED, "was paused by a request", advice=advice, time=since)
    if service.blocked_output:
        return _blocked(service, now)
    if condition == COMPLETED:
        return _unfinished(service)
    if service.hook_stage:
        clause = f"is not ready: its {service.hook_stage} hook {service.hook_index + 1} is running"
        return _cause(service, HOOK, clause, output=_output(service))
    if service.health == "unhealthy":
        return _probe_failing(snapshot, service, UNHEALTHY, "is unhealthy")
    if not service.ready and service.probe is not None:
        problem = (
            "has not reported that it is ready" if service.probe.kind in {"notify", "fd", "log"} else "is not ready"
        )
        return _probe_failing(snapshot, service, NOT_READY, f"runs but {problem}")
    if not service.ready:
        return _unknown(service, "runs but is not ready, and has no healthcheck")
    recent = service.started is not None and now - service.started < _RECENT_SECONDS
    if service.restarts and recent:
        clause = f"runs after {counted(service.restarts, 'restart')} in a row"
        last = (f"the last time it {end_clause(service, snapshot.container)}",) if service.last_reason else ()
        service = service.replace(output=service.output_before)  # of the run that ended
        return _cause(
            service, RESTARTING, clause, facts=last, output=_output(service), advice=_advice(snapshot, service)
        )
    return _running_well(service, now)


def _running_well(service: ServiceStatus, now: float) -> Cause:
    parts = [f"is {service.health}" if service.health else "runs", f"pid {service.pid}"]
    if service.started is not None:
        parts.append(f"{'runs ' if service.health else ''}since {time_and_age(service.started, now)}")
    ready = service.last_time("ready")
    if ready is not None:
        parts.append(f"ready since {time_and_age(ready, now)}")
    if service.restarts:
        last = text_of(service.last_reason)
        parts.append(f"{counted(service.restarts, 'restart')} before" + (f" (the last: {last})" if last else ""))
    if changed := _changed_files(service, runs=1):
        parts.append(f"restarted: {changed}")
    if service.status:
        parts.append(f"status: {service.status}")
    return Cause(service.name, WELL, ", ".join(parts), None, READY)


def _changed_files(service: ServiceStatus, runs: int) -> str:
    """The changed files for which its run was requested, "" if it has another cause. runs: those that began since."""
    for event in reversed(service.history):
        if event.event == "changed":
            return event.text
        runs -= event.event == "RUNNING"
        if runs < 0:
            break
    return ""


def _blocked(service: ServiceStatus, now: float) -> Cause:
    """Its output waits: a failing probe, or a job that does not complete, is often the consequence."""
    first = service.blocked_output[0]
    facts = _blocked_facts(service.blocked_output[1:])
    facts.append(
        f"once its pipe is full, it blocks whenever it writes ({word('blocking', supervisord=service.of_supervisord)})"
    )
    if service.probe is not None and service.health != "healthy":
        facts += _probe_facts(service, service.probe, now)
    clause = f"runs, but its {first.stream} waits for {first.text}"
    return _cause(
        service, BLOCKED, clause, facts=facts, output=_output(service), advice=blocked_advice(service, first),
        time=first.since, display_state=FAILED,
    )  # fmt: skip


def _blocked_facts(outputs: tuple[BlockedOutput, ...]) -> list[str]:
    return [f"its {output.stream} waits for {output.text}" for output in outputs]


def _unfinished(service: ServiceStatus) -> Cause:
    advice = []
    if service.restart == "always":
        advice.append(_never_completed(service))
    elif not service.job or service.probe is not None:
        advice.append("if it is not a job: depend on it with `service_started` or `service_healthy` instead")
    return _cause(
        service, UNFINISHED, f"has not completed yet, pid {service.pid}", facts=_status_lines(service),
        output=_output(service), advice=advice, time=service.started,
    )  # fmt: skip


def _never_completed(service: ServiceStatus) -> str:
    always, on_failure = (
        word(meaning, supervisord=service.of_supervisord) for meaning in ("always restarted", "restart on failure")
    )
    return f"its `{always}` restarts it after every end, so it never completes: set `{on_failure}`"


def _probe_failing(snapshot: Snapshot, service: ServiceStatus, kind: str, clause: str) -> Cause:
    facts = [*_status_lines(service)]
    if service.probe is not None:
        facts += _probe_facts(service, service.probe, snapshot.container.now)
    since = service.last_time("unhealthy") if kind == UNHEALTHY else None
    return _cause(
        service, kind, clause, facts=facts, output=_output(service), advice=probe_advice(service),
        time=service.started if since is None else since,
    )  # fmt: skip


def _probe_facts(service: ServiceStatus, probe: ProbeStatus, now: float) -> list[str]:
    every = "" if probe.kind in {"notify", "fd", "log"} else f", every {format_duration(probe.interval_seconds)}"
    failures = f"{counted(probe.failures, 'failure')} in a row"
    limit = f", unhealthy after {probe.retries}" if service.health != "unhealthy" else f" (retries: {probe.retries})"
    facts = [f"probe: {probe.text}{every}: {failures}{limit}"]
    last = service.results[-1] if service.results else None
    if last is None:
        facts.append("no result yet")
    else:
        when = "" if last.time is None else f", at {time_and_age(last.time, now)}"
        facts.append(f"last result: {last.output or ('passed' if last.passed else 'failed, no output')}{when}")
    if service.health == "starting" and probe.start_period_seconds and service.started is not None:
        end = service.started + probe.start_period_seconds
        if end > now:
            period = word("start period", supervisord=service.of_supervisord)
            facts.append(f"failures do not count until {clock(end, now)} ({period})")
    if service.on_failure in {"restart", "exit"}:
        action = "it is restarted" if service.on_failure == "restart" else "the container stops"
        facts.append(f"when it is unhealthy, {action} (on_failure: {service.on_failure})")
    return facts


def _going_down(snapshot: Snapshot, service: ServiceStatus) -> Cause:
    others = [
        snapshot.services[name] for name in snapshot.dependents.get(service.name, []) if name in snapshot.services
    ]
    still = tuple((other.name, STOPPED_FIRST) for other in others if not other.at_rest and other.going_down)
    action = "will be restarted" if service.restart_pending else "will be stopped"
    waits = f", and waits for {name_list([name for name, _ in still])} to end first" if still else ""
    return Cause(service.name, IS_STOPPING, action + waits, None, state_of(service), because=still)


# --- starting, stopping, at rest ----------------------------------------------------------------------


def _starting(snapshot: Snapshot, service: ServiceStatus) -> Cause:
    if service.hook_stage:
        clause = f"is starting: its {service.hook_stage} hook {service.hook_index + 1} is running"
        return _cause(service, HOOK, clause, output=_output(service))
    if service.command_runs and service.next is not None:
        left = f"it is RUNNING {until(service.next, snapshot.container.now)}, if it does not end before (startsecs)"
        return _cause(service, IS_STARTING, "is starting", facts=(left,))
    return _cause(service, IS_STARTING, "is starting: the exec of its command is not confirmed yet")


def _backoff(snapshot: Snapshot, service: ServiceStatus) -> Cause:
    now, end = snapshot.container.now, end_clause(service, snapshot.container)
    outcome = "exiting" if service.code == 0 else "failing"
    clause = f"keeps {outcome}: the last time it {end}" if service.restarts > 1 else f"{end}, and will be restarted"
    advice = _advice(snapshot, service)
    if service.next is not None and service.next - now > _SOON_SECONDS:
        advice.append(f"to restart it without waiting: `cohabit restart {service.name}`")
    return _cause(
        service, RESTARTING, clause, since=False, facts=(f"{next_attempt(service, now)} ({restart_policy(service)})",),
        output=_output(service), advice=advice,
    )  # fmt: skip


def _stopping(snapshot: Snapshot, service: ServiceStatus) -> Cause:
    now = snapshot.container.now
    if service.restart_pending:
        changed = _changed_files(service, runs=0)
        clause = "is being stopped for a restart" + (f": {changed}" if changed else "")
    elif not service.up:
        clause = "is being stopped"
    else:
        hooks = service.hook_stage == POST_STOP
        rest = "its post_stop hooks run" if hooks else "its remaining processes are being terminated"
        clause = f"{end_clause(service, snapshot.container)}; {rest}"
    late = service.since is not None and now - service.since > _SILENT_SECONDS
    advice = stop_advice(service) if late and not service.hook_stage else []
    return _cause(service, IS_STOPPING, clause, facts=(stop_progress(service, now),), advice=advice)


def _stopped(snapshot: Snapshot, service: ServiceStatus) -> Cause:
    if service.gone:
        return _cause(service, STOPPED_MANUALLY, "was stopped: it was removed from the file")
    if service.restart_pending:
        return _cause(service, IS_STARTING, "is about to be restarted")
    if snapshot.container.phase in {"stopping", "sweeping"}:
        return _cause(service, STOPPED_MANUALLY, "is stopped: the container is stopping")
    if service.schedule and not service.up:
        return _scheduled(snapshot, service)
    if service.dormant and service.started is None:
        not_started = word("no autostart", supervisord=service.of_supervisord)
        advice = [f"`cohabit start {service.name}`"]
        return _cause(service, STOPPED_MANUALLY, f"is not started by itself ({not_started})", advice=advice)
    if not service.up:
        clause = (
            "was stopped manually before its first start"
            if service.started is None
            else "was stopped manually (cohabit stop, cohabit kill)"
        )
        advice = [f"`cohabit start {service.name}`"]
        late = service.reason is not None and service.reason.kind in {STOP_TIMED_OUT, STOPPED_UNASKED}
        killed = (f"it was killed: it {service.why}",) if late else ()
        return _cause(service, STOPPED_MANUALLY, clause, facts=killed, advice=advice)
    waits = service.conditions
    if not waits:
        return _unknown(service, "does not run yet, but all its dependencies are met: it is about to start")
    because = tuple((need.service, need.condition) for need in waits)
    since = snapshot.container.started if service.since is None else service.since
    return _cause(service, WAITS, f"waits for {_needs(because)}", time=since, because=because)


def _exited(snapshot: Snapshot, service: ServiceStatus) -> Cause:
    if service.skipped:
        advice = [f"`cohabit start {service.name}` checks its conditions again"]
        return _cause(service, WAS_SKIPPED, text_of(service.reason), since=False, advice=advice)
    if service.schedule:
        return _scheduled(snapshot, service)
    if not service.failed_code and service.job:
        return _cause(service, DONE_JOB, f"has completed: it {end_clause(service, snapshot.container)}", since=False)
    end = end_clause(service, snapshot.container)
    advice = _advice(snapshot, service)
    if service.failed_code and service.restart == "no" and not service.job:
        on_failure = word("restart on failure", supervisord=service.of_supervisord)
        advice.append(f"to restart it after a failure: set `{on_failure}`")
    kind, clause = (FAILED_RUN, end) if service.failed_code else (ENDED, end)
    return _cause(
        service, kind, clause, since=False, facts=(f"it is not restarted ({restart_policy(service)})",),
        output=_output(service), advice=advice, display_state=FAILED if service.failed_code else DONE,
    )  # fmt: skip


def _fatal(snapshot: Snapshot, service: ServiceStatus) -> Cause:
    reason = service.reason
    if reason is not None and reason.kind == DEPENDENCY_FAILED:
        waits = service.conditions
        if not waits:
            clause = f"was not started: {start_failure(reason)}; that condition is met now"
            return _cause(service, REFUSED, clause, since=False)
        failed = [need for need in waits if need.service == reason.service] or waits
        because = tuple((need.service, need.condition) for need in failed)
        return _cause(service, REFUSED, f"was not started: it needs {_needs(because)}", since=False, because=because)
    end, advice = end_clause(service, snapshot.container), _advice(snapshot, service)
    if service.start_retries is not None:
        kind = GAVE_UP
        retries = "1 start retry" if service.restarts == 1 else f"{service.restarts} start retries"
        clause = f"was given up after {retries}: the last time it {end}"
    elif service.attempts is not None and service.restarts >= service.attempts:
        kind = GAVE_UP
        clause = f"was given up after {counted(service.restarts, 'restart')} in a row: the last time it {end}"
    else:
        kind, clause = CANNOT_START, end
    missing = service.code in {EXIT_CANNOT_RUN, EXIT_NOT_FOUND} and service.never_ran and service.start_retries is None
    why_not = "the command cannot be executed" if missing else restart_policy(service)
    facts = (f"it is not restarted ({why_not})",)
    return _cause(service, kind, clause, since=False, facts=facts, output=_output(service), advice=advice)


def _scheduled(snapshot: Snapshot, service: ServiceStatus) -> Cause:
    """The time of the next run is not part of the answer; only the clock process knows it."""
    if service.code:
        return _cause(
            service, SCHEDULED_FAILED, f"{end_clause(service, snapshot.container)}, in its last run", since=False,
            facts=(f"its next run follows its schedule, {service.schedule}",), output=_output(service),
            advice=[*_advice(snapshot, service), f"to run it now: `cohabit start {service.name}`"],
        )  # fmt: skip
    last = "it has not run yet" if service.code is None else f"its last run {end_clause(service, snapshot.container)}"
    clause = f"waits for its next scheduled run ({service.schedule}): {last}"
    display_state = STOPPED if service.code is None else DONE
    advice = [f"to run it now: `cohabit start {service.name}`"]
    return _cause(service, SCHEDULED, clause, display_state=display_state, advice=advice)


_BY_STATE = {
    "STARTING": _starting, "BACKOFF": _backoff, "STOPPING": _stopping, "STOPPED": _stopped, "EXITED": _exited,
    "FATAL": _fatal,
}  # fmt: skip


# --- parts --------------------------------------------------------------------------------------------


def _unknown(service: ServiceStatus, clause: str) -> Cause:
    facts = [f"reason: {service.why}"] if service.why else []
    return _cause(service, UNKNOWN, clause, facts=[*facts, *_status_lines(service)], output=_output(service))


def _cause(service: ServiceStatus, kind: str, clause: str, **more: Any) -> Cause:
    """Build a cause; defaults: the time of the current state, the service's display state, a note on empty output."""
    if more.get("output") == () and service.output is not None and not service.never_ran:
        kept = service.driver not in _NOT_KEPT
        silent = (
            "it has written no output"
            if kept
            else f"its output is not kept (logging: {service.driver}): see `docker logs`"
        )
        more["facts"] = (*more.get("facts", ()), silent)
        if kept:
            more["advice"] = (*buffer_advice(service), *more.get("advice", ()))
    if kind != BLOCKED:
        more["facts"] = (*more.get("facts", ()), *_blocked_facts(service.blocked_output))
    for field in ("facts", "output", "advice"):
        more[field] = tuple(more.get(field, ()))
    return Cause(
        service.name,
        kind,
        clause,
        more.pop("time", service.since),
        more.pop("display_state", state_of(service)),
        **more,
    )


def _needs(because: tuple[tuple[str, str], ...]) -> str:
    words = [f"{name} {_CONDITION_TEXT.get(condition, condition)}".rstrip() for name, condition in because]
    return " and ".join(words) if len(words) <= _JOINED_MAX else name_list(words)


def _status_lines(service: ServiceStatus) -> list[str]:
    return [f"status: {service.status}"] if service.status else []


def _advice(snapshot: Snapshot, service: ServiceStatus) -> list[str]:
    """Advise on its end; if no cause is recognised, point to its log."""
    found = port_advice(service, snapshot.services.values()) or exit_advice(service, snapshot.container)
    if not found and service.output:
        found.append(f"see its full output: `cohabit logs {service.name}`")
    return found


def _output(service: ServiceStatus) -> tuple[str, ...]:
    return service.output or ()
