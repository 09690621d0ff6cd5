"""Why is a service as it is? One cause for each, and the chain from it to those who are to blame.

`explain` looks at one service and at nobody else, apart from naming those it waits for; `chain` follows these
names down to whoever waits for nobody: the root causes. A cause is a fact with its time; how it is worded for
people who read it alone, in a chain or in JSON is why.py's. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cohabit.errors import EXIT_CANNOT_RUN, EXIT_NOT_FOUND
from cohabit.rendering.advice import about_end, about_port, about_probe, about_stop
from cohabit.rendering.colours import DONE, FAILED, READY, STOPPED
from cohabit.rendering.ending import attempt, ended, last_reason, patience, policy
from cohabit.rendering.words import clock, listed, ordinary, stamp
from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.rendering.status import Container, Probe, Service

STARTED, HEALTHY, COMPLETED = "service_started", "service_healthy", "service_completed_successfully"
GONE_DOWN = "down"  # not Compose's: who is to stop waits for those who depend on it
_IN_WORDS = {STARTED: "to be started", HEALTHY: "to be ready", COMPLETED: "to end well", GONE_DOWN: "to end first"}

_NEVER_COMPLETED = "its `restart: always` starts it again after every end, so it is never done: `restart: on-failure`"
_FEW = 2
_NOT_KEPT = frozenset({"inherit", "raw"})  # drivers whose lines we do not see, or only while somebody follows
_FRESH_SECONDS = 10.0  # a run that has lasted so long has Docker's forgiveness for those before it
_SOON_SECONDS = 5.0
_SILENT_SECONDS = 3.0  # after so long it is worth wondering whether somebody heard the stop signal

# Kinds of causes, for programs that read them.
WELL, WAITS, RESTARTING, GAVE_UP, CANNOT_START = "well", "waits", "restarting", "gave-up", "cannot-start"
REFUSED, FAILED_RUN, ENDED, DONE_JOB, SCHEDULED = "refused", "failed", "ended", "done", "scheduled"
SCHEDULED_FAILED = "scheduled-failed"
NOT_READY, UNHEALTHY, UNFINISHED, HOOK = "not-ready", "unhealthy", "unfinished", "hook"
IS_STARTING, IS_STOPPING, BY_HAND, UNKNOWN = "starting", "stopping", "stopped", "unknown"

# Those that need no explanation when the container is looked at as a whole, unless somebody waits for them.
FINE = frozenset({WELL, DONE_JOB, SCHEDULED, BY_HAND})
# Those that somebody has to start again.
FINAL = frozenset({GAVE_UP, CANNOT_START, FAILED_RUN, ENDED, REFUSED})


class Cause(NamedTuple):
    """Why one service is as it is.

    says: completes "web ..."; kind: for programs; time: Unix seconds, since: whether it lasts since then or happened
    at it. facts: further lines; output: last lines of it; advice: what to do. because: who it waits for, and with
    which condition: [] makes it a root cause. depth: how far down a chain. look: a state of colours.py.
    """

    service: str
    kind: str
    says: str
    time: float | None
    look: str
    since: bool = True
    facts: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    because: tuple[tuple[str, str], ...] = ()
    depth: int = 0


class World(NamedTuple):
    """Everybody there is, and who depends on whom. told: what was explained already, (service, condition)."""

    container: Container
    services: Mapping[str, Service]
    dependents: Mapping[str, list[str]]
    told: dict[tuple[str, str], Cause]


def world(container: Container, services: list[Service]) -> World:
    """What the causes are looked for in."""
    dependents: dict[str, list[str]] = {}
    for service in services:
        for need in service.depends_on:
            dependents.setdefault(need.service, []).append(service.name)
    return World(container, {service.name: service for service in services}, dependents, {})


def chain(here: World, name: str) -> list[Cause]:
    """Its cause, and below it those of everybody it waits for, each once; depth first, as it is read."""
    found: dict[str, Cause] = {}
    todo = [(name, "", 0)]
    while todo:
        name, condition, depth = todo.pop()
        if name not in found:
            found[name] = cause = explain(here, name, condition)._replace(depth=depth)
            todo += [(other, needed, depth + 1) for other, needed in reversed(cause.because)]
    return list(found.values())


def explain(here: World, name: str, condition: str = "") -> Cause:
    """Why a service is as it is; condition: what somebody who waits for it needs it to be, if anybody does."""
    if (name, condition) not in here.told:
        here.told[name, condition] = _with_stopped(here, _explain(here, name, condition))
    return here.told[name, condition]


def _explain(here: World, name: str, condition: str) -> Cause:
    service = here.services.get(name)
    if service is None:
        return Cause(name, UNKNOWN, "is not known here (any more)", None, FAILED)
    if service.state == "RUNNING":
        return _running(here, service, condition)
    how = _BY_STATE.get(service.state)
    if how is None:
        return _unknown(service, f"is in a state that is not known here: {service.state or 'none'}")
    return _as_needed(how(here, service), service, condition)


def _with_stopped(here: World, cause: Cause) -> Cause:
    """Somebody it depends on was stopped by hand: that may be why it does badly, and nobody else would tell."""
    service = here.services.get(cause.service)
    if service is None or (service.at_rest and service.state != "BACKOFF") or here.container.phase != "up":
        return cause
    told = {name for name, _ in cause.because}
    others = [here.services.get(need.service) for need in service.depends_on]
    names = dict.fromkeys(one.name for one in others if one is not None and one.by_hand and one.name not in told)
    facts = tuple(f"{name}, which it depends on, was stopped by hand" for name in names)
    return cause._replace(
        facts=(*cause.facts, *facts), advice=(*cause.advice, *(f"`cohabit start {name}`" for name in names))
    )


def _as_needed(cause: Cause, service: Service, condition: str) -> Cause:
    """It ended well, which is not what somebody waits for: then what is wrong is the waiting."""
    well = service.code == 0 and not cause.because
    if well and condition == COMPLETED and service.state == "BACKOFF":
        return cause._replace(advice=(_NEVER_COMPLETED,))
    if well and condition == HEALTHY and service.state == "EXITED":
        job = "who waits for its end, not for its health, says `condition: service_completed_successfully`"
        return cause._replace(advice=(*cause.advice, job))
    return cause


# --- it runs ------------------------------------------------------------------------------------------


def _running(here: World, service: Service, condition: str) -> Cause:
    now = here.container.now
    if service.going_down:
        return _to_stop(here, service)
    if condition == COMPLETED:
        return _unfinished(service)
    if service.hook_stage:
        says = f"is not ready: its {service.hook_stage} hook {service.hook_index + 1} still runs"
        return _cause(service, HOOK, says, output=_output(service))
    if service.health == "unhealthy":
        return _asked(here, service, UNHEALTHY, "is unhealthy")
    if not service.ready and service.probe is not None:
        never = "has not said that it is ready" if service.probe.kind in {"notify", "fd", "log"} else "is not ready"
        return _asked(here, service, NOT_READY, f"runs, but {never}")
    if not service.ready:
        return _unknown(service, "runs and is not ready, though it has no healthcheck")
    before = last_reason(service)
    fresh = service.started is not None and now - service.started < _FRESH_SECONDS
    if service.restarts and fresh:
        says = f"runs again, after {ordinary(service.restarts, 'restart')} in a row"
        last = (f"the last time it {ended(service, here.container)}",) if before else ()
        return _cause(service, RESTARTING, says, facts=last, output=_output(service), advice=_advice(here, service))
    return _well(service, now)


def _well(service: Service, now: float) -> Cause:
    parts = [f"is {service.health}" if service.health else "runs", f"pid {service.pid}"]
    if service.started is not None:
        parts.append(f"{'runs ' if service.health else ''}since {stamp(service.started, now)}")
    ready = service.when("ready")
    if ready is not None:
        parts.append(f"ready since {stamp(ready, now)}")
    if service.restarts:
        last = last_reason(service)
        parts.append(f"{ordinary(service.restarts, 'restart')} before" + (f" (the last: {last})" if last else ""))
    if service.status:
        parts.append(f"says: {service.status}")
    return Cause(service.name, WELL, ", ".join(parts), None, READY)


def _unfinished(service: Service) -> Cause:
    advice = []
    if service.restart == "always":
        advice.append(_NEVER_COMPLETED)
    elif not service.job or service.probe is not None:
        advice.append("if it is to run on, wait for `service_started` or `service_healthy` instead")
    return _cause(
        service, UNFINISHED, f"has not ended yet, pid {service.pid}", facts=_own_words(service),
        output=_output(service), advice=advice, time=service.started,
    )  # fmt: skip


def _asked(here: World, service: Service, kind: str, says: str) -> Cause:
    """It runs and its probe does not pass."""
    facts = [*_own_words(service)]
    if service.probe is not None:
        facts += _probe_facts(service, service.probe, here.container.now)
    since = service.when("unhealthy") if kind == UNHEALTHY else None
    return _cause(
        service, kind, says, facts=facts, output=_output(service), advice=about_probe(service),
        time=service.started if since is None else since,
    )  # fmt: skip


def _probe_facts(service: Service, probe: Probe, now: float) -> list[str]:
    tells = probe.kind in {"notify", "fd", "log"}
    asked = f"what it is to tell: {probe.text}" if tells else f"what is asked: {probe.text}"
    every = "" if tells else f", every {format_duration(probe.interval_seconds)}"
    counted = f"{ordinary(probe.failures, 'failure')} in a row"
    of = f", {probe.retries} make it unhealthy" if service.health != "unhealthy" else f" (retries: {probe.retries})"
    facts = [f"{asked}{every}: {counted}{of}"]
    last = service.results[-1] if service.results else None
    if last is None:
        facts.append("no answer yet")
    else:
        when = "" if last.time is None else f", at {stamp(last.time, now)}"
        facts.append(f"last answer: {last.output or ('passed' if last.passed else 'failed, without a word')}{when}")
    if service.health == "starting" and probe.start_period_seconds and service.started is not None:
        over = service.started + probe.start_period_seconds
        if over > now:
            facts.append(f"failures do not count before {clock(over, now)} (start_period)")
    if service.on_failure in {"restart", "exit"}:
        what = "is started again" if service.on_failure == "restart" else "takes the container along"
        facts.append(f"when it is unhealthy, it {what} (on_failure: {service.on_failure})")
    return facts


def _to_stop(here: World, service: Service) -> Cause:
    """It goes down as soon as those who depend on it have."""
    others = [here.services[name] for name in here.dependents.get(service.name, []) if name in here.services]
    still = tuple((other.name, GONE_DOWN) for other in others if not other.at_rest and other.going_down)
    what = "is to be started again" if service.restart_pending else "is to be stopped"
    waits = f", and waits for {listed([name for name, _ in still])} to end first" if still else ""
    return Cause(service.name, IS_STOPPING, what + waits, None, service.look, because=still)


# --- it starts, ends, or waits ------------------------------------------------------------------------


def _starting(_here: World, service: Service) -> Cause:
    if service.hook_stage:
        says = f"is being started: its {service.hook_stage} hook {service.hook_index + 1} still runs"
        return _cause(service, HOOK, says, output=_output(service))
    return _cause(service, IS_STARTING, "is being started: its command is not confirmed to run yet")


def _backoff(here: World, service: Service) -> Cause:
    now, end = here.container.now, ended(service, here.container)
    verb = "ending" if service.code == 0 else "failing"
    says = f"keeps {verb}: the last time it {end}" if service.restarts > 1 else f"{end}, and is started again"
    advice = _advice(here, service)
    if service.next is not None and service.next - now > _SOON_SECONDS:
        advice.append(f"`cohabit restart {service.name}` does not wait for the next attempt")
    return _cause(
        service, RESTARTING, says, since=False, facts=(f"{attempt(service, now)} ({policy(service)})",),
        output=_output(service), advice=advice,
    )  # fmt: skip


def _stopping(here: World, service: Service) -> Cause:
    now = here.container.now
    if service.restart_pending:
        says = "is being stopped, to be started again"
    elif not service.up:
        says = "is being stopped"
    else:
        says = f"{ended(service, here.container)}; its processes that are left are being ended"
    late = service.since is not None and now - service.since > _SILENT_SECONDS
    advice = about_stop(service) if late and not service.hook_stage else []
    return _cause(service, IS_STOPPING, says, facts=(patience(service, now),), advice=advice)


def _stopped(here: World, service: Service) -> Cause:
    if service.gone:
        return _cause(service, BY_HAND, "was stopped: it is no longer in the file")
    if service.restart_pending:
        return _cause(service, IS_STARTING, "was stopped and is about to be started again")
    if here.container.phase in {"stopping", "sweeping"}:
        return _cause(service, BY_HAND, "is stopped, as everything is")
    if service.schedule and not service.up:
        return _scheduled(here, service)
    if not service.up:
        says = (
            "was stopped by hand before it ever ran" if service.started is None else "was stopped by hand (stop, kill)"
        )
        advice = [f"`cohabit start {service.name}`"]
        killed = (f"it had to be killed: it {service.why}",) if "ignored" in service.why else ()
        return _cause(service, BY_HAND, says, facts=killed, advice=advice)
    waits = service.conditions
    if not waits:
        return _unknown(service, "does not run yet, and everything it depends on is there: it is about to be started")
    because = tuple((need.service, need.condition) for need in waits)
    since = here.container.started if service.since is None else service.since
    return _cause(service, WAITS, f"waits for {_needs(because)}", time=since, because=because)


def _exited(here: World, service: Service) -> Cause:
    if service.schedule:
        return _scheduled(here, service)
    if not service.code and service.job:
        return _cause(service, DONE_JOB, f"has done its work: it {ended(service, here.container)}", since=False)
    end = ended(service, here.container)
    advice = _advice(here, service)
    if service.code and service.restart == "no" and not service.job:
        advice.append("if it is to be started again after a crash: `restart: on-failure`")
    kind, says = (FAILED_RUN, end) if service.code else (ENDED, f"{end}, by itself")
    return _cause(
        service, kind, says, since=False, facts=(f"it stays so ({policy(service)})",), output=_output(service),
        advice=advice, look=FAILED if service.code else DONE,
    )  # fmt: skip


def _fatal(here: World, service: Service) -> Cause:
    if "it waits for " in service.why:
        waits = service.conditions
        if not waits:
            says = f"was not started: {service.why.removeprefix('cannot start: ')}; by now that one is well"
            return _cause(service, REFUSED, says, since=False)
        blamed = [need for need in waits if f"it waits for {need.service}," in service.why] or waits
        because = tuple((need.service, need.condition) for need in blamed)
        return _cause(service, REFUSED, f"was given up: it needed {_needs(because)}", since=False, because=because)
    end, advice = ended(service, here.container), _advice(here, service)
    if service.attempts is not None and service.restarts >= service.attempts:
        kind = GAVE_UP
        says = f"was given up after {ordinary(service.restarts, 'restart')} in a row: the last time it {end}"
    else:
        kind, says = CANNOT_START, end
    missing = service.code in {EXIT_CANNOT_RUN, EXIT_NOT_FOUND} and service.why.startswith("cannot start")
    reason = "a command that is not there stays so" if missing else policy(service)
    facts = (f"it is not tried again ({reason})",)
    return _cause(service, kind, says, since=False, facts=facts, output=_output(service), advice=advice)


def _scheduled(here: World, service: Service) -> Cause:
    """A job between two runs. When the next one is due is known to the clock only, not to us."""
    if service.code:
        return _cause(
            service, SCHEDULED_FAILED, f"{ended(service, here.container)}, in its last run", since=False,
            facts=(f"its next run comes by its schedule, {service.schedule}",), output=_output(service),
            advice=[*_advice(here, service), f"`cohabit start {service.name}` runs it now"],
        )  # fmt: skip
    last = "it has not run yet" if service.code is None else f"its last run {ended(service, here.container)}"
    says = f"is between two runs, schedule {service.schedule}: {last}"
    look = STOPPED if service.code is None else DONE
    advice = [f"`cohabit start {service.name}` runs it now"]
    return _cause(service, SCHEDULED, says, look=look, advice=advice)


_BY_STATE = {
    "STARTING": _starting, "BACKOFF": _backoff, "STOPPING": _stopping, "STOPPED": _stopped, "EXITED": _exited,
    "FATAL": _fatal,
}  # fmt: skip


# --- small change -------------------------------------------------------------------------------------


def _unknown(service: Service, says: str) -> Cause:
    facts = [f"the reason given: {service.why}"] if service.why else []
    return _cause(service, UNKNOWN, says, facts=[*facts, *_own_words(service)], output=_output(service))


def _cause(service: Service, kind: str, says: str, **more: Any) -> Cause:
    """A cause with what most of them have in common: the time is that of the state, the look the service's own."""
    if more.get("output") == () and service.output is not None and not service.why.startswith("cannot start"):
        kept = service.driver not in _NOT_KEPT
        silent = (
            "it has written nothing" if kept else f"its output is not kept (logging: {service.driver}): `docker logs`"
        )
        more["facts"] = (*more.get("facts", ()), silent)
    for field in ("facts", "output", "advice"):
        more[field] = tuple(more.get(field, ()))
    return Cause(service.name, kind, says, more.pop("time", service.since), more.pop("look", service.look), **more)


def _needs(because: tuple[tuple[str, str], ...]) -> str:
    words = [f"{name} {_IN_WORDS.get(condition, condition)}".rstrip() for name, condition in because]
    return " and ".join(words) if len(words) <= _FEW else listed(words)


def _own_words(service: Service) -> list[str]:
    return [f"it says of itself: {service.status}"] if service.status else []


def _advice(here: World, service: Service) -> list[str]:
    """What to do about its end; where nothing is known of it, where to look."""
    found = about_port(service, here.services.values()) or about_end(service, here.container)
    if not found and service.output:
        found.append(f"look at all that it wrote: `cohabit logs {service.name}`")
    return found


def _output(service: Service) -> tuple[str, ...]:
    return service.output or ()
