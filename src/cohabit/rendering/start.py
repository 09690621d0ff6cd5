"""Analyse the start of a container from the timelines of its services, and find its critical path.

Each service is a Row of phases between the times in `status` (docs/reference/control.md). The critical path is found
backwards: from the service that settled last to the dependency whose condition was met last before it could start,
and so on. Its links are consecutive and add up to the whole start, so the start becomes shorter only if one of them
does. Pure; `now` is the container's time. timeline.py draws the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cohabit.api.status import Event
from cohabit.rendering.ending import is_unhealthy
from cohabit.rendering.formatting import counted, duration, name_list, times
from cohabit.rendering.status import shown_container, shown_service
from cohabit.units import describe_exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cohabit.api.status import ContainerStatus, DependencyStatus, ServiceStatus
    from cohabit.plan.reason import Reason

# Phases of a service between two events.
WAITS, BEGINS, UNREADY, PAUSES, ENDS = "waits", "begins", "unready", "pauses", "ends"
_PHASES = {
    "wanted": WAITS,
    "STARTING": BEGINS,
    "spawned": UNREADY,
    "RUNNING": UNREADY,
    "ready": UNREADY,  # a job continues to run
    "unhealthy": UNREADY,
    "healthy": UNREADY,
    "BACKOFF": PAUSES,
    "STOPPING": ENDS,
}
# Outcomes; "" for a service that has not settled.
READY, DONE, FAILED, STOPPED = "ready", "done", "failed", "stopped"

_READY = "ready"
_ENDED = frozenset({"EXITED", "FATAL", "STOPPED"})
_TIMELINE_MAX = 32  # entries; of a longer start the last events but one are not known (engine/transition.py)

_SAME_START_SECONDS = 1.0  # a service that was first wanted later than this after all had settled was added by a reload
_SAME_MOMENT_SECONDS = 0.002
_EXEC_SECONDS = 0.1
_SHOWN_TIMES = 3
_WORTH_NAMING = 0.01  # share of the whole: shorter links are summed up, not named


class Phase(NamedTuple):
    """One phase of a row; begin and end in Unix seconds."""

    kind: str
    begin: float
    end: float


class Crash(NamedTuple):
    """An unexpected end: BACKOFF, FATAL, or EXITED with a code other than 0.

    unhealthy: cohabit restarted it because its probe failed (on_failure: restart).
    """

    time: float
    text: str
    unhealthy: bool


class Wait(NamedTuple):
    """A dependency, and the time when its condition was met; None if it was not, or if the time is not known."""

    need: DependencyStatus
    satisfied: float | None


class Row(NamedTuple):
    """The start of one service. begin: its first STARTING; end: when it settled, or now.

    ready: when services that depend on its health could start. A job, and a service that crashes soon after, settles
    later than that.
    """

    service: ServiceStatus
    wanted: float
    begin: float | None
    running: float | None
    ready: float | None
    end: float
    outcome: str
    phases: tuple[Phase, ...]
    crashes: tuple[Crash, ...]

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.service.name

    @property
    def at_least(self) -> bool:
        """Whether it may have crashed more often than is known."""
        return len(self.service.timeline) >= _TIMELINE_MAX

    @property
    def free(self) -> float:
        """The end of its waiting: when it began or was refused, or now."""
        return self.begin if self.begin is not None else self.end


class Link(NamedTuple):
    """A link of the critical path: the share of one service, and the reason."""

    name: str
    begin: float
    end: float
    why: str

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.end - self.begin


class StartTimes(NamedTuple):
    """The whole start. rows: in the order given. waits: by name. path: first to last.

    later: names of services that were added after this start; other: names of services that were not part of it
    (scheduled, on demand). Neither has a row.
    """

    rows: tuple[Row, ...]
    began: float
    ended: float
    waits: dict[str, tuple[Wait, ...]]
    path: tuple[Link, ...]
    later: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """The duration of the whole start."""
        return self.ended - self.began

    @property
    def shown_seconds(self) -> float:
        """How much of it a chart shows: one service that is not ready, or failed late, must not hide the others.

        At most three times the time in which the last service became ready or completed.
        """
        settled = [row.end - self.began for row in self.rows if row.outcome in {READY, DONE}]
        return min(self.seconds, _SHOWN_TIMES * max(settled)) if settled and max(settled) > 0 else self.seconds

    @property
    def not_ready(self) -> tuple[str, ...]:
        """Names of services that have not settled."""
        return tuple(row.name for row in self.rows if not row.outcome)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of services that failed and are not restarted."""
        return tuple(row.name for row in self.rows if row.outcome == FAILED)


def analyse(container: ContainerStatus, services: Iterable[ServiceStatus]) -> StartTimes:
    """Analyse the answer to `status`."""
    around = shown_container(container)
    answer = {service.name: (service, timeline) for service, timeline in map(_read, services)}
    rows = [_row(service, timeline, around) for service, timeline in answer.values() if timeline]
    rows, later = _same_start(rows)
    by_name = {row.name: row for row in rows}
    waits = {row.name: tuple(_wait(need, by_name) for need in row.service.depends_on) for row in rows}
    began = min((row.wanted for row in rows), default=around.now)
    ended = max((row.end for row in rows), default=began)
    other = tuple(name for name, (_, timeline) in answer.items() if not timeline)
    return StartTimes(tuple(rows), began, ended, waits, _critical_path(by_name, waits), later, other)


def summary(start: StartTimes) -> str:
    """Describe the critical path in one sentence: total, the share of each service, and which share is the longest."""
    if not start.rows:
        return "no service has been started yet"
    whole = duration(start.seconds)
    longest = max(start.path, key=lambda link: link.seconds)
    named = [link for link in start.path if link.seconds > _WORTH_NAMING * start.seconds or link == longest]
    parts = [
        f"{link.name} {duration(link.seconds)}" + (f" ({link.why})" if link is longest and link.why else "")
        for link in named
    ]
    unnamed = [link for link in start.path if link not in named and link.seconds > 0]
    if unnamed:
        parts.append(f"{duration(sum(link.seconds for link in unnamed))} for {len(unnamed)} more")
    text = ", ".join(parts)
    if start.not_ready:
        waiting = [row.name for row in start.rows if not row.outcome and row.begin is None]
        text += f"; {counted(len(waiting), 'service')} still waiting" if waiting else ""
        return f"not ready after {whole}: {text} (see `cohabit why {longest.name}`)"
    last = start.path[-1].name
    if last in start.failed:
        return f"{last} failed after {whole}: {text} (see `cohabit why {last}`)"
    but = f" ({name_list(start.failed, 3)} failed)" if start.failed else ""
    return f"{whole} to ready{but}: {text} (longest: {longest.name})"


def _read(answer: ServiceStatus) -> tuple[ServiceStatus, list[Event]]:
    """A service and its timeline (a history without texts), sorted by time, up to the event that settled it."""
    service = shown_service(answer)
    events = [Event(step.time, service.name, step.event, "", None) for step in service.timeline if step.time]
    timeline: list[Event] = []
    for index, entry in enumerate(events):
        time, before = entry.time or 0.0, timeline[-1].time if timeline else None
        timeline.append(entry.replace(time=max(time, before or time)))  # the clock may have been set back
        if _settles(service, entry, events[index + 1 :]):  # as in engine/unit.py; later events are not part of it
            break
    return service, timeline


def _settles(service: ServiceStatus, entry: Event, later: Sequence[Event]) -> bool:
    """Whether its start is complete with this event.

    Without a probe a service is ready as soon as it runs, and may crash at once: then it was not.
    """
    if entry.event != _READY or service.job:
        return entry.event in _ENDED
    after = next((other for other in later if other.event != "STOPPING"), None)
    crashed = after is not None and after.event in {"BACKOFF", "FATAL", "EXITED"}
    return service.probe is not None or not crashed


def _row(service: ServiceStatus, timeline: Sequence[Event], container: ContainerStatus) -> Row:
    first: dict[str, float] = {}
    for entry in timeline:
        first.setdefault(entry.event, entry.time or 0.0)
    timeline = [entry for entry in timeline[:-1] if entry.event != _READY] + [timeline[-1]]
    moments = [entry.time or 0.0 for entry in timeline]
    outcome = _outcome(service, timeline[-1])
    end = moments[-1] if outcome else max(moments[-1], container.now)
    phases = tuple(
        Phase(_PHASES[entry.event], time, until)
        for entry, time, until in zip(timeline, moments, [*moments[1:], end], strict=True)
        if entry.event in _PHASES and until > time
    )
    crashes = tuple(
        Crash(time, _end_text(service, entry), is_unhealthy(_end_reason(service, entry)))
        for entry, time in zip(timeline, moments, strict=True)
        if entry.event in {"BACKOFF", "FATAL"} or (entry.event == "EXITED" and outcome == FAILED)
    )
    begin, running, ready = (first.get(event) for event in ("STARTING", "RUNNING", _READY))
    running = first.get("spawned", running)
    return Row(service, moments[0], begin, running, ready, end, outcome, phases, crashes)


def _outcome(service: ServiceStatus, last: Event) -> str:
    if last.event == _READY:
        return "" if service.job else READY
    if service.skipped:
        return STOPPED
    if last.event == "EXITED":
        return FAILED if _code(service, last) and not service.expected_end else DONE
    if last.event == "FATAL":
        return FAILED
    return STOPPED if last.event == "STOPPED" else ""


def _recorded(service: ServiceStatus, entry: Event) -> Event | None:
    """The same event in the history, which adds code and reason; None if the history no longer has it."""
    for known in service.history:
        if known.event == entry.event and abs((known.time or 0.0) - (entry.time or 0.0)) < _SAME_MOMENT_SECONDS:
            return known
    return None


def _code(service: ServiceStatus, entry: Event) -> int:
    known = _recorded(service, entry)
    if known and known.code is not None:
        return known.code
    return service.failed_code if service.state == entry.event else 0


def _end_text(service: ServiceStatus, entry: Event) -> str:
    known = _recorded(service, entry)
    if known and known.text:
        return known.text
    code = _code(service, entry)
    return service.why if service.why and service.state == entry.event else describe_exit(code) if code else "ended"


def _end_reason(service: ServiceStatus, entry: Event) -> Reason | None:
    known = _recorded(service, entry)
    if known and known.reason:
        return known.reason
    return service.reason if service.state == entry.event else None


def _same_start(rows: list[Row]) -> tuple[list[Row], tuple[str, ...]]:
    """The rows of the first start, and the names of services that were added after it."""
    ended = float("-inf")
    names: set[str] = set()
    for row in sorted(rows, key=lambda row: row.wanted):
        if names and row.wanted > ended + _SAME_START_SECONDS:
            break
        names.add(row.name)
        ended = max(ended, row.end)
    return [row for row in rows if row.name in names], tuple(row.name for row in rows if row.name not in names)


def _wait(need: DependencyStatus, rows: Mapping[str, Row]) -> Wait:
    """The time when the condition was met, by the rules of engine/unit.py."""
    row = rows.get(need.service)
    if row is None:
        return Wait(need, None)
    if need.condition == "service_healthy":
        moment = row.ready
    elif need.condition == "service_completed_successfully":
        moment = row.end if row.outcome == DONE else None
    else:
        moment = row.running
    if moment is None and not need.required and row.outcome in {FAILED, DONE}:
        moment = row.end
    return Wait(need, moment)


def _released_by(row: Row, waits: Sequence[Wait], rows: Mapping[str, Row]) -> tuple[str, float] | None:
    """The dependency that delayed it longest, and until when; None if none did."""
    held: list[tuple[bool, float, float, str]] = []
    for need, satisfied in waits:
        other = rows.get(need.service)
        if other is None or other is row:
            continue
        if satisfied is None and row.begin is None:  # it still waits, or was refused
            failed = row.outcome == other.outcome == FAILED
            held.append((failed, min(other.end, row.end), other.free, other.name))
        elif satisfied is not None and row.wanted < satisfied <= row.free + _SAME_MOMENT_SECONDS:
            held.append((False, min(satisfied, row.free), other.free, other.name))
    if not held:
        return None
    _, until, _, name = max(held, key=lambda one: one[:3])
    return name, until


def _critical_path(rows: Mapping[str, Row], waits: Mapping[str, Sequence[Wait]]) -> tuple[Link, ...]:
    """The links from first to last; if several services settle last, the longest chain."""
    if not rows:
        return ()
    before = {name: _released_by(row, waits[name], rows) for name, row in rows.items()}
    last = max((not row.outcome, row.end) for row in rows.values())
    chains = [_chain(name, before) for name, row in rows.items() if (not row.outcome, row.end) == last]
    names = max(chains, key=len)
    links = []
    end = rows[names[0]].end
    for index, name in enumerate(names):
        released = before[name] if index + 1 < len(names) else None
        begin = min(released[1] if released else rows[name].wanted, end)
        links.append(Link(name, begin, end, _why(rows[name], begin, end)))
        end = begin
    return tuple(reversed(links))


def _chain(name: str, before: Mapping[str, tuple[str, float] | None]) -> list[str]:
    """The names from last to first; a cycle is followed once."""
    chain = {name: None}
    while (released := before[name]) and released[0] not in chain:
        name = released[0]
        chain[name] = None
    return list(chain)


def _why(row: Row, begin: float, end: float) -> str:
    """What took most of the time; "" if it only ran."""
    crashes = [crash for crash in row.crashes if begin <= crash.time <= end]
    share: dict[str, float] = {}
    for phase in row.phases:
        common = min(phase.end, end) - max(phase.begin, begin)
        if common > 0:
            share[phase.kind] = share.get(phase.kind, 0.0) + common
    if crashes and max(crash.time for crash in crashes) - begin >= (end - begin) / 2:
        often = f"{' at least' if row.at_least else ''} {times(len(crashes))}" if len(crashes) > 1 else ""
        if all(crash.unhealthy for crash in crashes) and row.outcome != FAILED:
            return f"unhealthy, restarted{often}"
        return f"crashed{often}" if often or row.outcome != FAILED else "failed"
    kind = max(share, key=share.__getitem__, default="")
    if kind == BEGINS:  # fork and exec are faster than that
        return "pre_start" if share[kind] > _EXEC_SECONDS else ""
    if kind == UNREADY:
        if row.service.job or row.outcome == DONE:
            return "its run"
        return "probe" if row.service.probe else "post_start" if row.outcome == READY else ""
    return ""
