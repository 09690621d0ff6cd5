"""`cohabit why`: the chain of causes in words, for one service or for the whole container.

The reasoning is causes.py's, the advice advice.py's. Here causes are gathered into findings (one story: a chain, or
a root cause with all who wait for it), and a finding is laid out: for people as indented lines, for programs as
plain values, both from the same. Pure.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from cohabit.rendering import causes
from cohabit.rendering.causes import Cause
from cohabit.rendering.colours import DONE, FAILED, READY, STOPPED, STOPPING, WAITING, paint
from cohabit.rendering.status import read_container, read_service
from cohabit.rendering.text import safe, wrap
from cohabit.rendering.words import listed, ordinary, span, stamp
from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cohabit.rendering.causes import World
    from cohabit.rendering.status import Container, Service

_STEP = "  "
_NAMES_MAX = 10
_DEPTH_MAX = 8  # deeper chains are not indented any further
_SLOW_LOAD_SECONDS = 10.0


class Finding(NamedTuple):
    """One story. causes: in the order in which they are read; waiting: who else is as it is because of the first.

    refused: those were given up, they do not wait any more. advice: beyond that of the causes.
    """

    causes: tuple[Cause, ...]
    waiting: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    refused: bool = False


def why(
    container: Mapping[str, Any],
    services: Sequence[Mapping[str, Any]],
    name: str | None,
    *,
    width: int = 0,
    colour: bool = False,
) -> list[str]:
    """Lines for people: why a service is as it is, or (name: None) what is up with the container.

    container, services: all of them, as `status output=N` tells them. name: of a service or of one instance.
    width: columns to wrap at, 0 for lines as long as they are.
    """
    whole = read_container(container)
    lines: list[str] = []
    for finding in _findings(whole, [read_service(service) for service in services], name):
        lines += [*([""] if lines else []), *_lines(finding, whole.now, width=width, colour=colour)]
    return lines


def why_json(
    container: Mapping[str, Any], services: Sequence[Mapping[str, Any]], name: str | None
) -> list[dict[str, Any]]:
    """The same for programs: causes in reading order.

    Each {"service" ("" for the container), "kind" (causes.py), "time", "text", "facts", "output", "advice",
    "because": [services], "waiting": [services], "depth"}; depth 0 begins a new story.
    """
    whole = read_container(container)
    found: list[dict[str, Any]] = []
    for finding in _findings(whole, [read_service(service) for service in services], name):
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


def _findings(whole: Container, services: list[Service], name: str | None) -> list[Finding]:
    here = causes.world(whole, services)
    if name is None:
        return _of_all(here)
    asked = safe(name)
    names = [asked] if asked in here.services else [one.name for one in services if one.service == asked]
    if not names:
        if whole.phase == "loading":
            return [Finding((_loading(whole),))]
        return [Finding((Cause("", causes.UNKNOWN, _no_service(asked, services), None, FAILED),))]
    return [_story(causes.chain(here, one)) for one in names]


def _no_service(asked: str, services: Sequence[Service]) -> str:
    """As the server says it of other requests (doors/verbs.py)."""
    known = sorted({one.service or one.name for one in services} | {one.name for one in services})
    near = get_close_matches(asked, known, n=1)
    more = f" and {len(known) - _NAMES_MAX} more" if len(known) > _NAMES_MAX else ""
    there = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known[:_NAMES_MAX])}{more}"
    return f"there is no service '{asked}' ({there if known else 'there are none'})"


def _story(chain: list[Cause]) -> Finding:
    return Finding(tuple(chain), advice=_start_again(chain, advised=any(cause.advice for cause in chain)))


def _start_again(chain: Sequence[Cause], *, advised: bool) -> tuple[str, ...]:
    """Those who do not start by themselves any more, in the order in which they may; advised: what to do before."""
    names = [cause.service for cause in reversed(chain) if cause.kind in causes.FINAL]
    if not names:
        return ()
    shown = " ".join(dict.fromkeys(names))
    return (f"{'then ' if advised else ''}`cohabit restart {shown}` (after a change of the file `cohabit reload`)",)


def _of_all(here: World) -> list[Finding]:
    whole = here.container
    if whole.phase == "loading":
        return [Finding((_loading(whole),))]
    if whole.phase in {"stopping", "sweeping"}:
        return _stopping(here)
    found = _grouped(here)
    if whole.reading:
        found.append(Finding((Cause("", "reading", "the file is being read again (reload)", None, WAITING),)))
    found = found or [Finding((_all_well(here),))]
    told = {cause.service for finding in found for cause in finding.causes}
    by_hand = [service.name for service in here.services.values() if service.by_hand and service.name not in told]
    if by_hand:
        says = f"stopped by hand: {', '.join(by_hand)} (cohabit start {' '.join(by_hand)})"
        found.append(Finding((Cause("", causes.BY_HAND, says, None, STOPPED),)))
    return found


def _loading(whole: Container) -> Cause:
    late = whole.started is not None and whole.now - whole.started > _SLOW_LOAD_SECONDS
    advice = ("is the file, or one that it includes, on a volume that hangs? `cohabit check` reads it, too",)
    says = "nothing runs yet: the file is being read"
    return Cause("", "loading", says, whole.started, WAITING, advice=advice if late else ())


def _all_well(here: World) -> Cause:
    found = [causes.explain(here, name) for name in here.services]
    parts = []
    for kind, words in (
        (causes.WELL, "ready"),
        (causes.DONE_JOB, "done"),
        (causes.SCHEDULED, "between two runs"),
    ):
        names = [cause.service for cause in found if cause.kind == kind]
        if names:
            who = ordinary(len(names), "service") if kind == causes.WELL else listed(names)
            parts.append(f"{who} {words}")
    told = "; ".join(parts) or "there are no services"
    if not here.container.ready:
        says = f"not everything is ready yet, though nothing is known to be wrong: {told}"
        return Cause("", causes.UNKNOWN, says, None, WAITING)
    up = here.container.started
    lasts = "" if up is None else f" for {span(here.container.now - up)}"
    return Cause("", causes.WELL, f"all is well, up{lasts}: {told}", None, READY)


def _grouped(here: World) -> list[Finding]:
    """The root causes of all that is not as it should be, each with those who wait for it; the most wanted first."""
    groups: dict[str, tuple[Cause, list[Cause]]] = {}
    for name in here.services:
        own = causes.explain(here, name)
        if own.kind in causes.FINE:
            continue
        chain = causes.chain(here, name)
        roots = [cause for cause in chain if not cause.because] or chain[:1]  # a circle has no root
        for root in roots:
            group = groups.setdefault(root.service, (root, []))
            if root.service != name:
                groups[root.service] = (root, group[1])  # as those who wait see it
                group[1].append(own)
    found = []
    for root, others in sorted(groups.values(), key=lambda group: -len(group[1])):
        again = _start_again([*reversed(others), root], advised=bool(root.advice))
        refused = bool(others) and all(other.kind == causes.REFUSED for other in others)
        waiting = tuple(other.service for other in others)
        found.append(Finding((root._replace(depth=0),), waiting, again, refused))
    return found


def _stopping(here: World) -> list[Finding]:
    whole = here.container
    word = f": {whole.exit_reason}" if whole.exit_reason else ", because it was asked to"
    grace = format_duration(whole.stop_grace_seconds)
    facts = [f"all of it within {grace} (x-cohabit stop_grace_period), then SIGKILL to what is left"]
    left = [service for service in here.services.values() if not service.at_rest]
    if whole.phase == "sweeping":
        facts.append("all services have ended; processes that no service owns are being ended")
    elif not left:
        facts.append("all services have ended")
    look = FAILED if whole.code else STOPPING
    head = Cause("", "stopping", f"everything is being stopped{word}", None, look, facts=tuple(facts))
    found = [causes.explain(here, service.name)._replace(depth=1) for service in left]
    return [Finding((head, *sorted(found, key=lambda cause: bool(cause.because))))]


# --- for people ---------------------------------------------------------------------------------------


def _lines(finding: Finding, now: float, *, width: int, colour: bool) -> list[str]:
    lines: list[str] = []
    for index, cause in enumerate(finding.causes):
        indent = _STEP * min(cause.depth, _DEPTH_MAX)
        told = _sentence(cause) if index or not finding.waiting else _waited_for(cause, finding)
        if cause.time is not None:
            told += f"{', since' if cause.since else ', at'} {stamp(cause.time, now)}"
        lines += [paint(line, cause.look, colour=colour) for line in wrap(told, width, indent=indent)]
        for fact in cause.facts:
            lines += wrap(fact, width, indent=indent + _STEP)
        if cause.output:
            lines += wrap("last lines of output:", width, indent=indent + _STEP)
            for line in cause.output:
                lines += wrap(f"| {line}", width, indent=indent + _STEP * 2)
    advice = _advice(finding)
    if advice:
        lines += [paint(line, DONE, colour=colour) for line in wrap("what to do:", width)]
        for one in advice:
            lines += wrap(f"- {one}", width, indent=_STEP)
    return lines


def _advice(finding: Finding) -> list[str]:
    """Each advice once; and, where it is for several services, with their names in front."""
    whom: dict[str, list[str]] = {}
    for cause in finding.causes:
        for one in cause.advice:
            whom.setdefault(one, []).append(cause.service)
    several = len({name for names in whom.values() for name in names}) > 1
    told = [f"{listed(names)}: {one}" if several else one for one, names in whom.items()]
    return [*told, *finding.advice]


def _sentence(cause: Cause) -> str:
    return f"{cause.service} {cause.says}" if cause.service else cause.says


def _waited_for(cause: Cause, finding: Finding) -> str:
    one = len(finding.waiting) == 1
    waits = "cannot start without" if finding.refused else "waits for" if one else "wait for"
    return f"{listed(finding.waiting)} {waits} {cause.service}, which {cause.says}"
