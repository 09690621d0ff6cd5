"""The start of a container, made out of its services' timelines: who waited for whom, and what took longest.

Each service is a Row of phases between the moments that `status` tells (docs/reference/control.md). The critical
path goes back from the service that was settled last: to the dependency whose condition came to hold last before
it could start, and so on. Its links are the stretches of time that follow one another from there to the end,
so they add up to the whole; only what shortens one of them makes the start shorter.
Pure; `now` is the container's time. Draws nothing: that is timeline.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cohabit.rendering.status import Entry, read_container, read_service
from cohabit.rendering.words import listed, ordinary, span, times
from cohabit.units import describe_exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cohabit.rendering.status import Container, Need, Service

# Phases: what a service does between two moments.
WAITS, BEGINS, UNREADY, PAUSES, ENDS = "waits", "begins", "unready", "pauses", "ends"
_PHASES = {
    "wanted": WAITS,
    "STARTING": BEGINS,
    "RUNNING": UNREADY,
    "ready": UNREADY,  # of a job: its work goes on
    "unhealthy": UNREADY,
    "healthy": UNREADY,
    "BACKOFF": PAUSES,
    "STOPPING": ENDS,
}
# Outcomes. A service that is not settled has none, "".
READY, DONE, FAILED, STOPPED = "ready", "done", "failed", "stopped"

_READY = "ready"
_ENDED = frozenset({"EXITED", "FATAL", "STOPPED"})
_SOON_SECONDS = 10.0  # who ends so soon has not made its start: Docker forgives the crashes before a longer run

_SAME_START_SECONDS = 1.0  # a service that was first wanted later than that after all was settled belongs to a reload
_SAME_MOMENT_SECONDS = 0.002
_EXEC_SECONDS = 0.1
_WORTH_TELLING = 0.01  # of the whole: a shorter link is counted, not named


class Phase(NamedTuple):
    """Unix seconds."""

    kind: str
    begin: float
    end: float


class Crash(NamedTuple):
    """An end that was not wanted: BACKOFF, FATAL, or EXITED with a code.

    unhealthy: it did not crash, but was ended for its probe's sake (on_failure: restart).
    """

    time: float
    text: str
    unhealthy: bool


class Wait(NamedTuple):
    """A dependency; since when its condition holds, None if it does not or nobody knows."""

    need: Need
    satisfied: float | None


class Row(NamedTuple):
    """The start of one service. begin: its first STARTING; end: when it was settled, or now.

    ready: when those who depend on its health could start; a job, and who crashes right then, goes on from there.
    """

    service: Service
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
    def free(self) -> float:
        """When it waited no longer: it began, was refused, or now."""
        return self.begin if self.begin is not None else self.end


class Link(NamedTuple):
    """A part of the critical path: what of the whole was this service's, and why."""

    name: str
    begin: float
    end: float
    why: str

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin


class StartTimes(NamedTuple):
    """All of it. rows: in the order given. waits: by name. path: first to last.

    Not in it: later, the names that were added when this start was over; other, those that nobody wanted from
    the start (scheduled, on demand).
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
        """The whole."""
        return self.ended - self.began

    @property
    def not_ready(self) -> tuple[str, ...]:
        """Names that are still on their way."""
        return tuple(row.name for row in self.rows if not row.outcome)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names that failed for good."""
        return tuple(row.name for row in self.rows if row.outcome == FAILED)


def analysed(container: Mapping[str, Any], services: Iterable[Mapping[str, Any]]) -> StartTimes:
    """The start that the answer to `status` tells of."""
    around = read_container(container)
    told = {service.name: (service, timeline) for service, timeline in map(_read, services)}
    rows = [_row(service, timeline, around) for service, timeline in told.values() if timeline]
    rows, later = _same_start(rows)
    by_name = {row.name: row for row in rows}
    waits = {row.name: tuple(_wait(need, by_name) for need in row.service.depends_on) for row in rows}
    began = min((row.wanted for row in rows), default=around.now)
    ended = max((row.end for row in rows), default=began)
    other = tuple(name for name, (_, timeline) in told.items() if not timeline)
    return StartTimes(tuple(rows), began, ended, waits, _critical_path(by_name, waits), later, other)


def in_words(start: StartTimes) -> str:
    """The critical path in one sentence: how long, who had which part of it, and where to begin."""
    if not start.rows:
        return "nothing has been started yet"
    whole = span(start.seconds)
    longest = max(start.path, key=lambda link: link.seconds)
    worth = [link for link in start.path if link.seconds > _WORTH_TELLING * start.seconds or link == longest]
    parts = [
        f"{link.name} {span(link.seconds)}" + (f" ({link.why})" if link is longest and link.why else "")
        for link in worth
    ]
    little = [link for link in start.path if link not in worth and link.seconds > 0]
    if little:
        parts.append(f"{span(sum(link.seconds for link in little))} for {len(little)} more")
    text = ", ".join(parts)
    if start.not_ready:
        waiting = [row.name for row in start.rows if not row.outcome and row.begin is None]
        text += f"; {ordinary(len(waiting), 'service')} still waiting" if waiting else ""
        return f"{whole} and not ready yet: {text}; ask `cohabit why {longest.name}`"
    last = start.path[-1].name
    if last in start.failed:
        return f"{whole} until {last} had failed: {text}; ask `cohabit why {last}`"
    but = f" ({listed(start.failed, 3)} failed)" if start.failed else ""
    return f"{whole} to ready{but}: {text}; to be faster begin with {longest.name}"


def _read(told: Mapping[str, Any]) -> tuple[Service, list[Entry]]:
    """A service and its timeline, which has the form of a history without texts; in order, up to its settling."""
    service = read_service(told)
    events = [entry for entry in read_service({**told, "history": told.get("timeline")}).history if entry.time]
    events += _gone_on(service, events)
    timeline: list[Entry] = []
    for index, entry in enumerate(events):
        time, before = entry.time or 0.0, timeline[-1].time if timeline else None
        timeline.append(entry._replace(time=max(time, before or time)))  # a clock may be set back
        if _settles(service, entry, events[index + 1 :]):  # as engine/unit.py: what came later was no part of it
            break
    return service, timeline


def _gone_on(service: Service, timeline: Sequence[Entry]) -> list[Entry]:
    """What came after "ready" for those who had not made it with that: jobs, and whoever has no probe.

    Without a probe a service is ready when it runs, and may crash right then. The history forgets; who has crashed
    after each of its starts has done so after the first one, too.
    """
    if not timeline or timeline[-1].event != _READY or (service.probe is not None and not service.job):
        return []
    ready = timeline[-1]
    known = _recorded(service, ready)
    if known is not None:
        return list(service.history[service.history.index(known) + 1 :])
    loops = 0 < service.restarts <= service.starts <= service.restarts + 1
    return [Entry(ready.time, "BACKOFF", "", None), *service.history] if loops else []


def _settles(service: Service, entry: Entry, later: Sequence[Entry]) -> bool:
    if entry.event != _READY or service.job:
        return entry.event in _ENDED
    after = next((other for other in later if other.event != "STOPPING"), None)
    crashed = after is not None and after.event in {"BACKOFF", "FATAL", "EXITED"}
    return not (crashed and after and (after.time or 0.0) - (entry.time or 0.0) < _SOON_SECONDS)


def _row(service: Service, timeline: Sequence[Entry], container: Container) -> Row:
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
        Crash(time, (how := _ended_how(service, entry)), how.startswith("unhealthy"))
        for entry, time in zip(timeline, moments, strict=True)
        if entry.event in {"BACKOFF", "FATAL"} or (entry.event == "EXITED" and outcome == FAILED)
    )
    begin, running, ready = (first.get(event) for event in ("STARTING", "RUNNING", _READY))
    return Row(service, moments[0], begin, running, ready, end, outcome, phases, crashes)


def _outcome(service: Service, last: Entry) -> str:
    if last.event == _READY:
        return "" if service.job else READY
    if last.event == "EXITED":
        return FAILED if _code(service, last) else DONE
    if last.event == "FATAL":
        return FAILED
    return STOPPED if last.event == "STOPPED" else ""


def _recorded(service: Service, entry: Entry) -> Entry | None:
    """The same event in the history, which has its code and reason; it keeps the newest ones only."""
    for known in service.history:
        if known.event == entry.event and abs((known.time or 0.0) - (entry.time or 0.0)) < _SAME_MOMENT_SECONDS:
            return known
    return None


def _code(service: Service, entry: Entry) -> int:
    known = _recorded(service, entry)
    if known and known.code is not None:
        return known.code
    return service.code or 0 if service.state == entry.event else 0


def _ended_how(service: Service, entry: Entry) -> str:
    known = _recorded(service, entry)
    if known and known.text:
        return known.text
    code = _code(service, entry)
    return service.why if service.why and service.state == entry.event else describe_exit(code) if code else "ended"


def _same_start(rows: list[Row]) -> tuple[list[Row], tuple[str, ...]]:
    """The rows of the first start, and the names of those that were wanted when it was long over."""
    over = float("-inf")
    names: set[str] = set()
    for row in sorted(rows, key=lambda row: row.wanted):
        if names and row.wanted > over + _SAME_START_SECONDS:
            break
        names.add(row.name)
        over = max(over, row.end)
    return [row for row in rows if row.name in names], tuple(row.name for row in rows if row.name not in names)


def _wait(need: Need, rows: Mapping[str, Row]) -> Wait:
    """When the condition came to hold, as engine/unit.py decides it."""
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
    """Who held it up longest, and until when; None if nobody did."""
    held: list[tuple[bool, float, float, str]] = []
    for need, satisfied in waits:
        other = rows.get(need.service)
        if other is None or other is row:
            continue
        if satisfied is None and row.begin is None:  # it waits still, or was refused
            to_blame = row.outcome == other.outcome == FAILED
            held.append((to_blame, min(other.end, row.end), other.free, other.name))
        elif satisfied is not None and row.wanted < satisfied <= row.free + _SAME_MOMENT_SECONDS:
            held.append((False, min(satisfied, row.free), other.free, other.name))
    if not held:
        return None
    _, until, _, name = max(held, key=lambda one: one[:3])
    return name, until


def _critical_path(rows: Mapping[str, Row], waits: Mapping[str, Sequence[Wait]]) -> tuple[Link, ...]:
    """The links from the first to the last; where several end last, the longest chain of them."""
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
    """From the last to the first, without going round."""
    chain = {name: None}
    while (released := before[name]) and released[0] not in chain:
        name = released[0]
        chain[name] = None
    return list(chain)


def _why(row: Row, begin: float, end: float) -> str:
    """What most of that time went into, in words; "" where there is nothing to say but that it ran."""
    crashes = [crash for crash in row.crashes if begin <= crash.time <= end]
    share: dict[str, float] = {}
    for phase in row.phases:
        common = min(phase.end, end) - max(phase.begin, begin)
        if common > 0:
            share[phase.kind] = share.get(phase.kind, 0.0) + common
    if crashes and max(crash.time for crash in crashes) - begin >= (end - begin) / 2:
        often = f" {times(len(crashes))}" if len(crashes) > 1 else ""
        if all(crash.unhealthy for crash in crashes) and row.outcome != FAILED:
            return f"it was unhealthy, and restarted{often}"
        return f"it crashed{often}" if often or row.outcome != FAILED else "it failed"
    kind = max(share, key=share.__getitem__, default="")
    if kind == BEGINS:  # a fork and an exec take no such time
        return "pre_start" if share[kind] > _EXEC_SECONDS else ""
    if kind == UNREADY:
        if row.service.job or row.outcome == DONE:
            return "its work"
        return "its probe" if row.service.probe else "post_start" if row.outcome == READY else ""
    return ""
