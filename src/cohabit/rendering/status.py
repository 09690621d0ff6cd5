"""Convert the answer to `status` (docs/reference/control.md) to records with checked fields.

Everything that is shown passes through here. Afterwards every field has its type, whatever an older or newer cohabit
omitted or added, and every text is `safe`. A missing or invalid field counts as unknown. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cohabit.rendering.colours import state_of
from cohabit.rendering.text import safe, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

_LAST_MOMENT = 2.5e11  # Unix seconds within the range of datetime: a day in the year 9892
_ANSWER_MAX = 200  # columns
_NUMBER_MAX = 10**15


class Need(NamedTuple):
    """One entry of depends_on. service: the name of an instance."""

    service: str
    condition: str
    required: bool
    satisfied: bool


class Probe(NamedTuple):
    """A probe and its state. kind, text: as in control.md. failures: consecutive ones."""

    kind: str
    text: str
    interval_seconds: float
    timeout_seconds: float
    retries: int
    start_period_seconds: float
    failures: int


class Result(NamedTuple):
    """One result of a probe. output: its last line that is not empty."""

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
    """One instance, with the fields of control.md.

    display_state: see colours.py. output: None if the request did not include it.
    """

    name: str
    service: str
    display_state: str
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
        """Whether its running processes are to be stopped, for a stop or a restart."""
        return self.restart_pending or not self.up

    @property
    def at_rest(self) -> bool:
        """Whether it has no process."""
        return self.state in {"STOPPED", "BACKOFF", "EXITED", "FATAL"}

    @property
    def stopped_manually(self) -> bool:
        """Whether it was stopped on request and stays stopped until it is started on request."""
        return self.state == "STOPPED" and not (self.up or self.restart_pending or self.gone or self.schedule)

    @property
    def conditions(self) -> tuple[Need, ...]:
        """Its dependencies whose condition is not met."""
        return tuple(need for need in self.depends_on if not need.satisfied)

    def last_time(self, event: str) -> float | None:
        """Return the time of the last such event in the history, in Unix seconds."""
        return next((entry.time for entry in reversed(self.history) if entry.event == event), None)


class Container(NamedTuple):
    """The container, and the time of the answer (`now`)."""

    now: float
    started: float | None
    phase: str
    ready: bool
    exit_reason: str
    code: int | None
    stop_grace_seconds: float
    reading: bool
    memory_limit: int | None


def read_container(answer: Mapping[str, Any]) -> Container:
    """Convert the container's object."""
    return Container(
        now=_timestamp(answer, "time") or 0.0,
        started=_timestamp(answer, "started"),
        phase=_text(answer, "phase"),
        ready=bool(answer.get("ready")),
        exit_reason=_text(answer, "exit_reason"),
        code=_integer(answer, "code"),
        stop_grace_seconds=_seconds(answer, "stop_grace_seconds"),
        reading=bool(answer.get("reading")),
        memory_limit=_integer(answer, "memory_limit"),
    )


def read_service(answer: Mapping[str, Any]) -> Service:
    """Convert one service's object."""
    name = _text(answer, "name") or "?"
    probe = answer.get("probe")
    return Service(
        name=name,
        service=_text(answer, "service") or name,
        display_state=state_of(answer),
        state=_text(answer, "state"),
        since=_timestamp(answer, "since"),
        up=answer.get("want") == "up",
        restart_pending=bool(answer.get("restart_pending")),
        gone=bool(answer.get("gone")),
        ready=bool(answer.get("ready")),
        health=_text(answer, "health"),
        status=_text(answer, "status"),
        pid=_integer(answer, "pid") or 0,
        code=_integer(answer, "code"),
        why=_text(answer, "why"),
        out_of_memory=bool(answer.get("out_of_memory")),
        starts=_integer(answer, "starts") or 0,
        restarts=_integer(answer, "restarts") or 0,
        attempts=_integer(answer, "attempts"),
        restart=_text(answer, "restart"),
        started=_timestamp(answer, "started"),
        next=_timestamp(answer, "next"),
        hook_stage=_text(answer, "hook_stage"),
        hook_index=_integer(answer, "hook_index") or 0,
        depends_on=tuple(_need(need) for need in _objects(answer, "depends_on")),
        essential=bool(answer.get("essential")),
        job=bool(answer.get("job")),
        schedule=_text(answer, "schedule"),
        command=_texts(answer, "command"),
        driver=_text(answer, "driver"),
        stop_signal=_text(answer, "stop_signal"),
        stop_grace_seconds=_seconds(answer, "stop_grace_seconds"),
        on_failure=_text(answer, "on_failure"),
        probe=_probe(probe) if isinstance(probe, dict) else None,
        results=tuple(_result(result) for result in _objects(answer, "results")),
        history=tuple(_entry(entry) for entry in _objects(answer, "history")),
        output=_texts(answer, "output") if isinstance(answer.get("output"), list) else None,
    )


def _need(answer: Mapping[str, Any]) -> Need:
    required = bool(answer.get("required", True))
    return Need(_text(answer, "service") or "?", _text(answer, "condition"), required, bool(answer.get("satisfied")))


def _probe(answer: Mapping[str, Any]) -> Probe:
    kind = _text(answer, "kind")
    return Probe(
        kind,
        _text(answer, "text") or kind or "a probe",
        _seconds(answer, "interval_seconds"),
        _seconds(answer, "timeout_seconds"),
        _integer(answer, "retries") or 0,
        _seconds(answer, "start_period_seconds"),
        _integer(answer, "failures") or 0,
    )


def _result(answer: Mapping[str, Any]) -> Result:
    output = answer.get("output")
    lines = output.splitlines() if isinstance(output, str) else []
    last = next((line for line in reversed(lines) if line.strip()), "")
    return Result(_timestamp(answer, "time"), bool(answer.get("passed")), shorten(safe(last.strip()), _ANSWER_MAX))


def _entry(answer: Mapping[str, Any]) -> Entry:
    return Entry(_timestamp(answer, "time"), _text(answer, "event"), _text(answer, "text"), _integer(answer, "code"))


def _text(answer: Mapping[str, Any], field: str) -> str:
    value = answer.get(field)
    return safe(value) if isinstance(value, str) else ""


def _texts(answer: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = answer.get(field)
    return tuple(safe(text) for text in value if isinstance(text, str)) if isinstance(value, (list, tuple)) else ()


def _objects(answer: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    value = answer.get(field)
    return [text for text in value if isinstance(text, dict)] if isinstance(value, (list, tuple)) else []


def _integer(answer: Mapping[str, Any], field: str) -> int | None:
    value = answer.get(field)
    return value if isinstance(value, int) and abs(value) < _NUMBER_MAX else None


def _timestamp(answer: Mapping[str, Any], field: str) -> float | None:
    value = answer.get(field)
    is_number = isinstance(value, (int, float)) and 0 <= value < _LAST_MOMENT  # false for NaN and infinity
    return float(value) if is_number and value is not None else None


def _seconds(answer: Mapping[str, Any], field: str) -> float:
    return _timestamp(answer, field) or 0.0
