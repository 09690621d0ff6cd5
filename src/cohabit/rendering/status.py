"""What `status` answers (docs/reference/control.md), read into nouns that the views can rely on.

The one gate between what comes over the socket and what is shown: every field has its type afterwards, whatever
an older or newer cohabit left out or added, and every text is `safe`. A field that is missing or makes no
sense is as if nothing were known. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cohabit.rendering.colours import state_of
from cohabit.rendering.text import safe, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

_LAST_MOMENT = 2.5e11  # Unix seconds that datetime still knows: a day in the year 9892
_ANSWER_MAX = 200  # columns
_NUMBER_MAX = 10**15


class Need(NamedTuple):
    """One entry of depends_on. service: an instance's name."""

    service: str
    condition: str
    required: bool
    satisfied: bool


class Probe(NamedTuple):
    """What is asked, and how it went. kind and text: as in the contract. failures: in a row."""

    kind: str
    text: str
    interval_seconds: float
    timeout_seconds: float
    retries: int
    start_period_seconds: float
    failures: int


class Result(NamedTuple):
    """One answer to a probe. output: its last line that is not empty."""

    time: float | None
    passed: bool
    output: str


class Entry(NamedTuple):
    """One entry of a service's history."""

    time: float | None
    event: str
    text: str
    code: int | None


class Service(NamedTuple):
    """One instance. The fields are the contract's.

    look: its state as colours.py tells them apart. output: None when it was not asked for.
    """

    name: str
    service: str
    look: str
    state: str
    since: float | None
    up: bool
    restart_pending: bool
    gone: bool
    ready: bool
    health: str
    status: str
    pid: int
    code: int | None
    why: str
    out_of_memory: bool
    starts: int
    restarts: int
    attempts: int | None
    restart: str
    started: float | None
    next: float | None
    hook_stage: str
    hook_index: int
    depends_on: tuple[Need, ...]
    essential: bool
    job: bool
    schedule: str
    command: tuple[str, ...]
    driver: str
    stop_signal: str
    stop_grace_seconds: float
    on_failure: str
    probe: Probe | None
    results: tuple[Result, ...]
    history: tuple[Entry, ...]
    output: tuple[str, ...] | None

    @property
    def going_down(self) -> bool:
        """What runs of it shall run no more."""
        return self.restart_pending or not self.up

    @property
    def at_rest(self) -> bool:
        """No process of it exists."""
        return self.state in {"STOPPED", "BACKOFF", "EXITED", "FATAL"}

    @property
    def by_hand(self) -> bool:
        """Somebody stopped it, and it stays so until somebody starts it."""
        return self.state == "STOPPED" and not (self.up or self.restart_pending or self.gone or self.schedule)

    @property
    def conditions(self) -> tuple[Need, ...]:
        """What it still waits for."""
        return tuple(need for need in self.depends_on if not need.satisfied)

    def when(self, event: str) -> float | None:
        """When that happened last."""
        return next((entry.time for entry in reversed(self.history) if entry.event == event), None)


class Container(NamedTuple):
    """The container as a whole, and the moment of the answer (`now`)."""

    now: float
    started: float | None
    phase: str
    ready: bool
    exit_reason: str
    code: int | None
    stop_grace_seconds: float
    reading: bool
    memory_limit: int | None


def read_container(told: Mapping[str, Any]) -> Container:
    """The container's object."""
    return Container(
        now=_moment(told, "time") or 0.0,
        started=_moment(told, "started"),
        phase=_text(told, "phase"),
        ready=bool(told.get("ready")),
        exit_reason=_text(told, "exit_reason"),
        code=_integer(told, "code"),
        stop_grace_seconds=_seconds(told, "stop_grace_seconds"),
        reading=bool(told.get("reading")),
        memory_limit=_integer(told, "memory_limit"),
    )


def read_service(told: Mapping[str, Any]) -> Service:
    """One service's object."""
    name = _text(told, "name") or "?"
    probe = told.get("probe")
    return Service(
        name=name,
        service=_text(told, "service") or name,
        look=state_of(told),
        state=_text(told, "state"),
        since=_moment(told, "since"),
        up=told.get("want") == "up",
        restart_pending=bool(told.get("restart_pending")),
        gone=bool(told.get("gone")),
        ready=bool(told.get("ready")),
        health=_text(told, "health"),
        status=_text(told, "status"),
        pid=_integer(told, "pid") or 0,
        code=_integer(told, "code"),
        why=_text(told, "why"),
        out_of_memory=bool(told.get("out_of_memory")),
        starts=_integer(told, "starts") or 0,
        restarts=_integer(told, "restarts") or 0,
        attempts=_integer(told, "attempts"),
        restart=_text(told, "restart"),
        started=_moment(told, "started"),
        next=_moment(told, "next"),
        hook_stage=_text(told, "hook_stage"),
        hook_index=_integer(told, "hook_index") or 0,
        depends_on=tuple(_need(need) for need in _objects(told, "depends_on")),
        essential=bool(told.get("essential")),
        job=bool(told.get("job")),
        schedule=_text(told, "schedule"),
        command=_texts(told, "command"),
        driver=_text(told, "driver"),
        stop_signal=_text(told, "stop_signal"),
        stop_grace_seconds=_seconds(told, "stop_grace_seconds"),
        on_failure=_text(told, "on_failure"),
        probe=_probe(probe) if isinstance(probe, dict) else None,
        results=tuple(_result(result) for result in _objects(told, "results")),
        history=tuple(_entry(entry) for entry in _objects(told, "history")),
        output=_texts(told, "output") if isinstance(told.get("output"), list) else None,
    )


def _need(told: Mapping[str, Any]) -> Need:
    required = bool(told.get("required", True))
    return Need(_text(told, "service") or "?", _text(told, "condition"), required, bool(told.get("satisfied")))


def _probe(told: Mapping[str, Any]) -> Probe:
    kind = _text(told, "kind")
    return Probe(
        kind,
        _text(told, "text") or kind or "a probe",
        _seconds(told, "interval_seconds"),
        _seconds(told, "timeout_seconds"),
        _integer(told, "retries") or 0,
        _seconds(told, "start_period_seconds"),
        _integer(told, "failures") or 0,
    )


def _result(told: Mapping[str, Any]) -> Result:
    output = told.get("output")
    lines = output.splitlines() if isinstance(output, str) else []
    last = next((line for line in reversed(lines) if line.strip()), "")
    return Result(_moment(told, "time"), bool(told.get("passed")), shorten(safe(last.strip()), _ANSWER_MAX))


def _entry(told: Mapping[str, Any]) -> Entry:
    return Entry(_moment(told, "time"), _text(told, "event"), _text(told, "text"), _integer(told, "code"))


def _text(told: Mapping[str, Any], field: str) -> str:
    value = told.get(field)
    return safe(value) if isinstance(value, str) else ""


def _texts(told: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = told.get(field)
    return tuple(safe(one) for one in value if isinstance(one, str)) if isinstance(value, (list, tuple)) else ()


def _objects(told: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    value = told.get(field)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, (list, tuple)) else []


def _integer(told: Mapping[str, Any], field: str) -> int | None:
    value = told.get(field)
    return value if isinstance(value, int) and abs(value) < _NUMBER_MAX else None


def _moment(told: Mapping[str, Any], field: str) -> float | None:
    value = told.get(field)
    is_number = isinstance(value, (int, float)) and 0 <= value < _LAST_MOMENT  # neither NaN nor infinite
    return float(value) if is_number and value is not None else None


def _seconds(told: Mapping[str, Any], field: str) -> float:
    return _moment(told, field) or 0.0
