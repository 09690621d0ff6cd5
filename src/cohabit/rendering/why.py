"""`cohabit why`: the chain of causes for one service or for the whole container, as text or JSON.

causes.py finds the causes and advice.py the advice. This module groups causes into findings (a chain, or a root cause
with all services that wait for it) and formats them. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cohabit.nearest import did_you_mean
from cohabit.plan.file_words import word
from cohabit.rendering import causes
from cohabit.rendering.causes import Cause
from cohabit.rendering.colours import DONE, FAILED, READY, STOPPED, STOPPING, WAITING, paint
from cohabit.rendering.formatting import counted, duration, name_list, time_and_age
from cohabit.rendering.status import shown_container, shown_service
from cohabit.rendering.text import safe, wrap
from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.api.status import ContainerStatus, ServiceStatus
    from cohabit.rendering.causes import Snapshot

_STEP = "  "
_NAMES_MAX = 10
_DEPTH_MAX = 8  # deeper chains are not indented any further
_SLOW_LOAD_SECONDS = 10.0


class Finding(NamedTuple):
    """A chain of causes, or one root cause with its dependents.

    causes: in reading order. waiting: services that wait for the first cause's service; refused: they were given up
    and no longer wait. advice: in addition to that of the causes.
    """

    causes: tuple[Cause, ...]
    waiting: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    refused: bool = False


def why(
    container: ContainerStatus,
    services: Sequence[ServiceStatus],
    name: str | None,
    *,
    width: int = 0,
    colour: bool = False,
) -> list[str]:
    """Explain the state of a service, or (name: None) of the container, as lines of text.

    container, services: from the answer to `status output=N`, with all services. name: a service or one instance.
    width: columns at which lines are wrapped; 0: no limit.
    """
    parsed = shown_container(container)
    lines: list[str] = []
    for finding in _findings(parsed, [shown_service(service) for service in services], name):
        lines += [*([""] if lines else []), *_lines(finding, parsed.now, width=width, colour=colour)]
    return lines


def why_json(container: ContainerStatus, services: Sequence[ServiceStatus], name: str | None) -> list[dict[str, Any]]:
    """Return the same as plain values for JSON: causes in reading order.

    Each is {"service" ("" for the container), "kind" (causes.py), "time", "text", "facts", "output", "advice",
    "because": [services], "waiting": [services], "depth"}; depth 0 begins a new chain.
    """
    parsed = shown_container(container)
    found: list[dict[str, Any]] = []
    for finding in _findings(parsed, [shown_service(service) for service in services], name):
        for index, cause in enumerate(finding.causes):
            last = index == len(finding.causes) - 1
            found.append(
                {
                    "service": cause.service,
                    "kind": cause.kind,
                    "time": cause.time,
                    "text": _sentence(cause),
                    "facts": list(cause.facts),
                    "output": list(cause.output),
                    "advice": [*cause.advice, *(finding.advice if last else ())],
                    "because": [other for other, _ in cause.because],
                    "waiting": list(finding.waiting) if index == 0 else [],
                    "depth": cause.depth,
                }
            )
    return found


# --- findings -----------------------------------------------------------------------------------------


def _findings(container: ContainerStatus, services: list[ServiceStatus], name: str | None) -> list[Finding]:
    snapshot = causes.snapshot_of(container, services)
    if name is None:
        return _container_findings(snapshot)
    requested = safe(name)
    names = (
        [requested] if requested in snapshot.services else [one.name for one in services if one.service == requested]
    )
    if not names:
        if container.phase == "loading":
            return [Finding((_loading(container),))]
        return [Finding((Cause("", causes.UNKNOWN, _unknown_service(requested, services), None, FAILED),))]
    return [_chain_finding(causes.chain(snapshot, one)) for one in names]


def _unknown_service(requested: str, services: Sequence[ServiceStatus]) -> str:
    """The same text as in answers of the server (api/commands.py)."""
    known = sorted({item.service or item.name for item in services} | {item.name for item in services})
    more = f" and {len(known) - _NAMES_MAX} more" if len(known) > _NAMES_MAX else ""
    there_are = f"there are: {', '.join(known[:_NAMES_MAX])}{more}" if known else "there are none"
    return f"there is no service '{requested}'{did_you_mean(requested, known) or f' ({there_are})'}"


def _chain_finding(chain: list[Cause]) -> Finding:
    return Finding(tuple(chain), advice=_restart_advice(chain, advised=any(cause.advice for cause in chain)))


def _restart_advice(chain: Sequence[Cause], *, advised: bool) -> tuple[str, ...]:
    """Name the services that must be restarted, dependencies first; advised: other advice comes before."""
    names = [cause.service for cause in reversed(chain) if cause.kind in causes.FINAL]
    if not names:
        return ()
    shown = " ".join(dict.fromkeys(names))
    return (f"{'then ' if advised else ''}`cohabit restart {shown}` (after a change of the file: `cohabit reload`)",)


def _container_findings(snapshot: Snapshot) -> list[Finding]:
    container = snapshot.container
    if container.phase == "loading":
        return [Finding((_loading(container),))]
    if container.phase in {"stopping", "sweeping"}:
        return _stopping(snapshot)
    found = _grouped(snapshot)
    if container.reading:
        found.append(Finding((Cause("", "reading", "reload: the file is being read", None, WAITING),)))
    found = found or [Finding((_all_ready(snapshot),))]
    reported = {cause.service for finding in found for cause in finding.causes}
    stopped = [one.name for one in snapshot.services.values() if one.stopped_manually and one.name not in reported]
    if stopped:
        clause = f"stopped manually: {', '.join(stopped)} (cohabit start {' '.join(stopped)})"
        found.append(Finding((Cause("", causes.STOPPED_MANUALLY, clause, None, STOPPED),)))
    return found


def _loading(container: ContainerStatus) -> Cause:
    late = container.started is not None and container.now - container.started > _SLOW_LOAD_SECONDS
    advice = ("check whether the file or an included file is on a volume that does not respond",)
    clause = "no service runs yet: the file is being read"
    return Cause("", "loading", clause, container.started, WAITING, advice=advice if late else ())


def _all_ready(snapshot: Snapshot) -> Cause:
    found = [causes.explain(snapshot, name) for name in snapshot.services]
    parts = []
    for kind, state in (
        (causes.WELL, "ready"),
        (causes.DONE_JOB, "completed"),
        (causes.SCHEDULED, "scheduled"),
        (causes.WAS_SKIPPED, "skipped"),
    ):
        names = [cause.service for cause in found if cause.kind == kind]
        if names:
            subject = counted(len(names), "service") if kind == causes.WELL else name_list(names)
            parts.append(f"{subject} {state}")
    text = "; ".join(parts) or "no services"
    if not snapshot.container.ready:
        clause = f"the container is not ready, but no cause is known: {text}"
        return Cause("", causes.UNKNOWN, clause, None, WAITING)
    up = snapshot.container.started
    uptime = "" if up is None else f" for {duration(snapshot.container.now - up)}"
    return Cause("", causes.WELL, f"the container is ready, up{uptime}: {text}", None, READY)


def _grouped(snapshot: Snapshot) -> list[Finding]:
    """Find the root causes of all problems, each with the services that wait for it; the most dependents first."""
    groups: dict[str, tuple[Cause, list[Cause]]] = {}
    for name in snapshot.services:
        own = causes.explain(snapshot, name)
        if own.kind in causes.UNREMARKABLE:
            continue
        chain = causes.chain(snapshot, name)
        roots = [cause for cause in chain if not cause.because] or chain[:1]  # a cycle has no root
        for root in roots:
            group = groups.setdefault(root.service, (root, []))
            if root.service != name:
                groups[root.service] = (root, group[1])  # with the condition that its dependents wait for
                group[1].append(own)
    found = []
    for root, others in sorted(groups.values(), key=lambda group: -len(group[1])):
        restart = _restart_advice([*reversed(others), root], advised=bool(root.advice))
        refused = bool(others) and all(other.kind == causes.REFUSED for other in others)
        waiting = tuple(other.service for other in others)
        found.append(Finding((root._replace(depth=0),), waiting, restart, refused))
    return found


def _stopping(snapshot: Snapshot) -> list[Finding]:
    container = snapshot.container
    reason = f": {container.exit_reason}" if container.exit_reason else " on request"
    grace = format_duration(container.stop_grace_seconds or 0.0)
    supervisord = any(service.of_supervisord for service in snapshot.services.values())
    total = word("total grace", supervisord=supervisord)
    facts = [f"time limit {grace} ({total}), then SIGKILL to the remaining processes"]
    left = [service for service in snapshot.services.values() if not service.at_rest]
    if container.phase == "sweeping":
        facts.append("all services have ended; unassigned processes are being terminated")
    elif not left:
        facts.append("all services have ended")
    display_state = FAILED if container.code else STOPPING
    head = Cause("", "stopping", f"the container is being stopped{reason}", None, display_state, facts=tuple(facts))
    found = [causes.explain(snapshot, service.name)._replace(depth=1) for service in left]
    return [Finding((head, *sorted(found, key=lambda cause: bool(cause.because))))]


# --- text ---------------------------------------------------------------------------------------------


def _lines(finding: Finding, now: float, *, width: int, colour: bool) -> list[str]:
    lines: list[str] = []
    for index, cause in enumerate(finding.causes):
        indent = _STEP * min(cause.depth, _DEPTH_MAX)
        text = _sentence(cause) if index or not finding.waiting else _waiting_sentence(cause, finding)
        if cause.time is not None:
            text += f"{', since' if cause.since else ', at'} {time_and_age(cause.time, now)}"
        lines += [paint(line, cause.display_state, colour=colour) for line in wrap(text, width, indent=indent)]
        for fact in cause.facts:
            lines += wrap(fact, width, indent=indent + _STEP)
        if cause.output:
            lines += wrap("last lines of output:", width, indent=indent + _STEP)
            for line in cause.output:
                lines += wrap(f"| {line}", width, indent=indent + _STEP * 2)
    advice = _advice(finding)
    if advice:
        lines += [paint(line, DONE, colour=colour) for line in wrap("what to do:", width)]
        for item in advice:
            lines += wrap(f"- {item}", width, indent=_STEP)
    return lines


def _advice(finding: Finding) -> list[str]:
    """List each piece of advice once, preceded by the names of its services if there are several services."""
    services_by_advice: dict[str, list[str]] = {}
    for cause in finding.causes:
        for item in cause.advice:
            services_by_advice.setdefault(item, []).append(cause.service)
    several = len({name for names in services_by_advice.values() for name in names}) > 1
    text = [f"{name_list(names)}: {item}" if several else item for item, names in services_by_advice.items()]
    return [*text, *finding.advice]


def _sentence(cause: Cause) -> str:
    return f"{cause.service} {cause.clause}" if cause.service else cause.clause


def _waiting_sentence(cause: Cause, finding: Finding) -> str:
    item = len(finding.waiting) == 1
    waits = "cannot start without" if finding.refused else "waits for" if item else "wait for"
    return f"{name_list(finding.waiting)} {waits} {cause.service}, which {cause.clause}"
