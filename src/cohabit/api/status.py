"""The answer to `status`, and the events: their only definition.

Process 1 fills these records (serialisers.py), clients read them (from_json), and docs/reference/status.md and its JSON
schema are made from the annotations and comments here and in plan/reason.py (tools/status_page.py). A value of a wrong
type counts as missing, a missing one gets the default of its type, and what a newer cohabit adds is ignored. Times are
Unix seconds.
"""

from __future__ import annotations

from cohabit.plan.reason import CAUSES_KEPT, NOT_STARTED, OUT_OF_MEMORY, SKIPPED, Reason
from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self

_TIME_MAX = 2.5e11  # Unix seconds within the range of datetime: a day in the year 9892
_NUMBER_MAX = 10**15
_RECORDS: dict[str, type[JsonRecord]] = {}


class JsonRecord(Record):
    """A record that is an object in an answer. Its annotations are those of _READERS, or other such records."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _RECORDS[cls.__name__] = cls

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the record for an object of an answer, whatever the object holds."""
        defaults = cls.__dict__
        return cls(**{
            name: _read(kind, value[name] if name in value else defaults.get(name))
            for name, kind in cls.__annotations__.items()
        })  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the object as dicts, lists, texts, numbers and None."""
        return {name: _plain(value) for name, value in self.__dict__.items()}


class Event(JsonRecord):
    """What happened to a service or to the container."""

    time: float | None
    service: str  # the instance; empty for the container
    event: str  # the state that was entered, or what happened
    text: str  # the reason, as text to be shown
    code: int | None  # the exit code, if a run has ended
    reason: Reason | None = None
    from_state: str = ""  # the state before it, the same if it did not change; empty for the container
    pid: int = 0  # the main process that it is about; 0 if there is none
    expected: bool = True  # false if it is a failure
    tries: int = 0  # failed starts in a row, of a service of supervisord


class DependencyStatus(JsonRecord):
    """One entry of depends_on."""

    service: str  # the instance
    condition: str  # service_started, service_healthy or service_completed_successfully
    satisfied: bool
    required: bool = True


class ProbeStatus(JsonRecord):
    """The probe of a service."""

    kind: str  # exec, http, tcp, unix, log, notify or fd
    text: str  # as in the file
    interval_seconds: float
    timeout_seconds: float
    retries: int
    start_period_seconds: float
    failures: int  # in a row


class ProbeResult(JsonRecord):
    """One result of a probe."""

    time: float | None
    passed: bool
    output: str
    reason: Reason | None = None  # why it failed, if it is known


class TimelineEntry(JsonRecord):
    """One step of the first start of a service."""

    time: float | None
    event: str


class BlockedOutput(JsonRecord):
    """Output of a service that waits, because its log destination has not accepted any for 3 seconds or more."""

    stream: str  # stdout or stderr
    destination: str  # stdout or stderr of the container, the path of a file, or the address of a syslog server
    since: float | None  # the last time that some was accepted
    why: str  # why the destination accepts none; empty if it is not known, as for a reader that does not read

    @property
    def text(self) -> str:
        """The text that follows "its output waits for"."""
        own = self.destination in {"stdout", "stderr"}
        name = f"the container's {self.destination}" if own else self.destination
        return f"{name}, which accepts none" + (f" ({self.why})" if self.why else "")


class Counters(JsonRecord):
    """What happened to a service since cohabit started. No number ever decreases."""

    starts: int  # how often its command was started
    restarts: int  # how often its restart policy started it again
    exits: dict[str, int]  # the ends of its runs, by the kind of the reason
    probes_passed: int
    probes_failed: int


class ProgramStatus(JsonRecord):
    """A running program of cohabit itself, beside process 1."""

    name: str  # loader, env file, clock, follow, match, multiline, resolve or log writer
    service: str  # the instance that it works for; empty for the container
    pid: int


class ContainerStatus(JsonRecord):
    """The container."""

    version: str  # of the running cohabit
    protocol: int  # the version of the protocol that it speaks
    pid: int  # of the running cohabit
    started: float | None  # when it started
    memory_limit: int | None  # bytes
    time: float | None  # now
    phase: str  # loading, up, stopping, sweeping or done
    exit_reason: str  # why the container ends, as text to be shown
    reason: Reason | None  # the same
    code: int | None  # its exit code
    stop_grace_seconds: float | None  # the total grace period; null before the file has been read
    next: float | None  # when the total grace period ends
    reading: bool  # whether the file is being read
    scale: dict[str, int]  # the numbers of replicas set by `scale`
    history: tuple[Event, ...]  # its last 64 events
    ready: bool  # whether everything that is to be started is ready
    programs: tuple[ProgramStatus, ...]  # the running programs of cohabit itself

    @property
    def now(self) -> float:
        """The time of the answer; 0.0 if it is unknown."""
        return self.time or 0.0


class ServiceStatus(JsonRecord):
    """One instance of a service."""

    name: str  # of the instance
    service: str  # the service in the file
    replica: int  # its number; 0 without replicas
    state: str  # STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED or FATAL
    since: float | None  # when it entered the state
    want: str  # up or down
    restart_pending: bool  # whether a new run is requested
    gone: bool  # whether it is no longer in the file
    ready: bool
    paused: bool  # whether its processes are stopped by `cohabit pause`
    health: str  # starting, healthy, unhealthy, or empty without a probe
    status: str  # the text that it sent as STATUS (sd_notify)
    pid: int  # its main process; 0 if there is none
    code: int | None  # exit code of its last run, 128+n for signal n
    why: str  # why its last run ended, as text to be shown
    reason: Reason | None  # the same
    out_of_memory: bool  # whether the kernel killed it for lack of memory
    starts: int  # number of starts
    restarts: int  # restarts in a row
    attempts: int | None  # their maximum
    restart: str  # the restart condition
    started: float | None  # its last start
    next: float | None  # when BACKOFF or STOPPING ends, or STARTING of a program of supervisord
    hook_stage: str  # pre_start, post_start, pre_stop or post_stop, while such a hook is running
    hook_index: int  # the number of that hook
    depends_on: tuple[DependencyStatus, ...]
    essential: bool  # its failure ends the container
    ends_on_success: bool  # its success does so, too (`essential: true` in the file)
    job: bool  # whether other services wait for its completion
    schedule: str
    autostart: bool  # false: it is started by a request only
    command: tuple[str, ...]
    driver: str  # the drivers of logging, joined by ", "
    stop_signal: str
    stop_grace_seconds: float
    on_failure: str
    probe: ProbeStatus | None
    results: tuple[ProbeResult, ...]  # the last five of the probe
    history: tuple[Event, ...]  # its last 32 events
    timeline: tuple[TimelineEntry, ...]  # its first start until it was ready for 10 s, ended or was stopped
    counters: Counters
    pids: tuple[int, ...]  # all its processes that are children of process 1
    blocked_output: tuple[BlockedOutput, ...]  # what its log destinations do not accept
    output: tuple[str, ...] | None  # the last lines of its last run; null if the request did not ask for them
    output_before: tuple[str, ...] | None = None  # the same of the run before it
    next_run: float | None = None  # when its schedule is due next; null without a schedule
    startup_seconds: float | None = None  # the startsecs of a program of supervisord; null for another service
    start_retries: int | None = None  # its startretries
    expected_end: bool = False  # whether its exit code, which is not 0, is an expected one (exitcodes)
    exitcodes: tuple[int, ...] = ()  # of a program of supervisord; empty for another service

    @property
    def of_supervisord(self) -> bool:
        """Whether it is a program of a supervisord.conf."""
        return self.startup_seconds is not None

    @property
    def up(self) -> bool:
        """Whether it is to run."""
        return self.want == "up"

    @property
    def going_down(self) -> bool:
        """Whether its running processes are to be stopped, for a stop or a restart."""
        return self.restart_pending or not self.up

    @property
    def failed_code(self) -> int:
        """The exit code of its last run if it is a failure; 0 if it is not."""
        return 0 if self.expected_end else self.code or 0

    @property
    def command_runs(self) -> bool:
        """Whether its main process runs and is not being stopped."""
        return self.state in {"STARTING", "RUNNING"} and self.pid != 0

    @property
    def at_rest(self) -> bool:
        """Whether it has no process."""
        return self.state in {"STOPPED", "BACKOFF", "EXITED", "FATAL"}

    @property
    def stopped_manually(self) -> bool:
        """Whether it was stopped on request and stays stopped until it is started on request."""
        return self.state == "STOPPED" and not (self.up or self.restart_pending or self.gone or self.schedule)

    @property
    def dormant(self) -> bool:
        """Whether it is down and has `autostart: false`: that is not a fault."""
        return self.stopped_manually and not self.autostart

    @property
    def skipped(self) -> bool:
        """Whether one of its `conditions` did not hold at its last start: that is not a fault."""
        return self.state == "EXITED" and self.reason is not None and self.reason.kind == SKIPPED

    @property
    def conditions(self) -> tuple[DependencyStatus, ...]:
        """Its dependencies whose condition does not hold."""
        return tuple(dependency for dependency in self.depends_on if not dependency.satisfied)

    @property
    def last_reason(self) -> Reason | None:
        """Why its last run ended, without whether it was given up then.

        Its `reason` is cleared at its next start; the history still has it.
        """
        ends = (event.reason for event in reversed(self.history) if event.code is not None and event.reason)
        found = self.reason or next(ends, None)
        return found and found.replace(restarts=None)

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed its last run for lack of memory, also after its next start."""
        return self.out_of_memory or (self.last_reason is not None and self.last_reason.kind == OUT_OF_MEMORY)

    @property
    def never_ran(self) -> bool:
        """Whether its last start failed before its command ran."""
        return self.reason is not None and self.reason.kind in NOT_STARTED

    def last_time(self, event: str) -> float | None:
        """Return the time of the last such event in the history, in Unix seconds."""
        return next((entry.time for entry in reversed(self.history) if entry.event == event), None)


class Status(JsonRecord):
    """The container and its services, in the order of the file."""

    container: ContainerStatus
    services: tuple[ServiceStatus, ...]


def reason_to_json(reason: Reason) -> dict[str, Any]:
    """Return a reason as an object: its kind, and those of its fields that the kind has."""
    return {name: _plain(value) for name, value in vars(reason).items() if value is not None and value != ""}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and abs(value) < _NUMBER_MAX else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and 0 <= value < _TIME_MAX  # false for NaN and infinity
    return float(value) if is_number else None  # type: ignore[arg-type]


def _items(value: object, kind: type) -> tuple[Any, ...]:
    return tuple(item for item in value if isinstance(item, kind)) if isinstance(value, (list, tuple)) else ()


def _reason(value: object, levels: int = CAUSES_KEPT) -> Reason | None:
    if not isinstance(value, dict) or not _text(value.get("kind")):
        return None
    fields = {name: _READERS[Reason.__annotations__[name]](value[name]) for name in value.keys() & _PLAIN_OF_REASON}
    return Reason(**fields, cause=_reason(value.get("cause"), levels - 1) if levels else None)


# How a value becomes that of a field, by the annotation of the field.
_READERS: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "bool": bool,
    "int": lambda value: _integer(value) or 0,
    "int | None": _integer,
    "float": lambda value: _number(value) or 0.0,
    "float | None": _number,
    "tuple[str, ...]": lambda value: _items(value, str),
    "tuple[str, ...] | None": lambda value: _items(value, str) if isinstance(value, (list, tuple)) else None,
    "tuple[int, ...]": lambda value: _items(value, int),
    "dict[str, int]": lambda value: (
        {str(key): _integer(item) or 0 for key, item in value.items()} if isinstance(value, dict) else {}
    ),
    "Reason | None": _reason,
}
_PLAIN_OF_REASON = set(Reason.__annotations__) - {"cause"}


def _read(kind: str, value: Any) -> Any:
    reader = _READERS.get(kind)
    if reader:
        return reader(value)
    record = _RECORDS[kind.removesuffix(" | None").removeprefix("tuple[").removesuffix(", ...]")]
    if kind.startswith("tuple["):
        return tuple(map(record.from_json, _items(value, dict)))
    if isinstance(value, dict):
        return record.from_json(value)
    return None if kind.endswith(" | None") else record.from_json({})


def _plain(value: Any) -> Any:
    if isinstance(value, JsonRecord):
        return value.to_json()
    if isinstance(value, Reason):
        return reason_to_json(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
