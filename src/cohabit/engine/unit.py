"""The state of one service in the engine. No decisions here. "Unit" is systemd's term for a supervised object."""

from __future__ import annotations

from cohabit.engine.health import Health
from cohabit.engine.machine import AT_REST, ENDED, EXITED, FATAL, RUNNING, STOPPED
from cohabit.plan.model import COMPLETED, HEALTHY
from cohabit.plan.record import from_plain, to_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Dependency, Service
    from cohabit.plan.reason import Reason

    Entry = tuple[float, str, Reason | None, int | None]

# The fields in the re-execution state; the others follow from the Plan.
_KEPT = (
    "state", "want_up", "restart_pending", "gone", "pid", "main_alive", "pending", "ready", "code", "started_at",
    "ran_seconds", "starts", "restarts", "killed", "restart_requested", "forced_exit_code", "failed", "in_background",
    "hook_stage", "hook_index",
    "orphans", "status", "reason", "deadline", "since", "history", "timeline", "out_of_memory",
    "blocked_hook",
)  # fmt: skip

_HISTORY_KEPT = 32  # events: enough for six crashes in a row
# Events besides the states.
READY, UNHEALTHY, HEALTHY_AGAIN, WANTED = "ready", "unhealthy", "healthy", "wanted"
_START_COMPLETE = (READY, EXITED, FATAL, STOPPED)  # events that complete a start


class Unit:
    """The state of one service or replica. Times are monotonic seconds.

    service: as it runs, or will run next. next: its replacement after a reload, taken over when it is down.
    want_up: the desired state. state: the current state (machine.py).
    restart_pending: this run is to be replaced by a new one.
    gone: not in the Plan any more.
    pid: of the main process, 0 before the first. main_alive: whether that process is running.
    pending: a start was requested, and its outcome is not known yet.
    ready: it runs, its start is complete, and its probe succeeded if it has one.
    code: exit code of the last run, None before the first end. reason: why it ended, or why it cannot start.
    started_at: time of the last start. ran_seconds: duration of the last run.
    starts: successful starts since the last start on request. restarts: restarts in a row.
    in_background: the move of this run into the background is already logged.
    killed: SIGKILL was needed in this stop. blocked_hook: the index of the pre_stop hook that was running then.
    restart_requested: `on_failure: restart` is ending this run.
    forced_exit_code: this end counts as this code; 0 for the code of the process.
    failed: the service failed for good, as failure number n of the container; 0 if it did not.
    hook_stage, hook_index: the hook that is running, "" for none.
    orphans: a TreeGone is expected.
    status: STATUS= of sd_notify(3).
    deadline: when the current state times out. since: when it was entered.
    history: the last events, (time, state or other event, reason or None, exit code or None).
    timeline: the events of its first start, (time, event).
    out_of_memory: the kernel killed the last run for lack of memory.
    """

    __slots__ = ("dependents", "health", "next", "service", *_KEPT)

    def __init__(self, service: Service) -> None:
        self.service = service
        self.next: Service | None = None
        self.dependents: list[str] = []
        self.health = Health()
        self.state = STOPPED
        self.want_up = service.schedule is None
        self.restart_pending = False
        self.gone = False
        self.pid = 0
        self.main_alive = False
        self.pending = False
        self.ready = False
        self.code: int | None = None
        self.started_at = 0.0
        self.ran_seconds = 0.0
        self.starts = 0
        self.restarts = 0
        self.killed = False
        self.blocked_hook: int | None = None
        self.restart_requested = False
        self.in_background = False
        self.forced_exit_code = 0
        self.failed = 0
        self.hook_stage = ""
        self.hook_index = 0
        self.orphans = False
        self.status = ""
        self.reason: Reason | None = None
        self.deadline: float | None = None
        self.since: float | None = None
        self.history: list[Entry] = []
        self.timeline: list[tuple[float, str]] = []
        self.out_of_memory = False

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    @property
    def wanted(self) -> Service:
        """The service as the newest Plan has it."""
        return self.next or self.service

    @property
    def at_rest(self) -> bool:
        """No process of it exists."""
        return self.state in AT_REST

    @property
    def going_down(self) -> bool:
        """The current run is to end."""
        return self.restart_pending or not self.want_up

    @property
    def ended(self) -> bool:
        """It ended by itself and for good: no request stopped it, and no schedule will start it again."""
        return self.state in ENDED and self.state != STOPPED and self.service.schedule is None

    @property
    def down(self) -> bool:
        """It was stopped on request, and neither its restart policy nor a schedule will start it."""
        return self.state == STOPPED and not self.want_up and self.service.schedule is None

    @property
    def start_complete(self) -> bool:
        """Its start has finished: it is ready, has completed successfully, or is to be down."""
        return not self.restart_pending and (
            self.ready or not self.want_up or (self.state == EXITED and self.code == 0)
        )

    def satisfies(self, dependency: Dependency) -> bool:
        """Whether the condition of a dependency on this service holds."""
        if self.restart_pending:
            return False
        if (self.ended or self.down) and not dependency.required:
            return True  # as in Compose: the dependent waits for it, but starts even if it fails
        if dependency.condition == COMPLETED:
            return self.state == EXITED and self.code == 0
        if dependency.condition == HEALTHY:
            return self.ready
        return self.starts > 0 or self.state == RUNNING

    def can_never_satisfy(self, dependency: Dependency) -> bool:
        """Whether the condition can never hold any more, without a request."""
        return self.ended and not self.restart_pending and not self.satisfies(dependency)

    def record(self, event: str, now: float, reason: Reason | None = None, code: int | None = None) -> None:
        """Add an event to the history, and to the timeline while the first start is under way."""
        self.history = [*self.history[1 - _HISTORY_KEPT :], (now, event, reason, code)]
        if event == WANTED or (self.timeline and self.timeline[-1][1] not in _START_COMPLETE):
            self.timeline = [*self.timeline[: _HISTORY_KEPT - 1], (now, event)]

    def take_next(self) -> None:
        """Take over the version in the newest Plan."""
        if self.next is not None:
            self.service, self.next = self.next, None

    def to_plain(self) -> dict[str, Any]:
        """The re-execution state, as plain values."""
        plain = {name: getattr(self, name) for name in _KEPT}
        plain["service"], plain["next"] = to_plain(self.service), to_plain(self.next)
        plain["reason"], plain["history"] = to_plain(self.reason), history_to_plain(self.history)
        plain["health"] = self.health.to_plain()
        return plain

    @classmethod
    def restored(cls, plain: dict[str, Any]) -> Unit:
        """The inverse of to_plain. A field that the older program did not write keeps its initial value."""
        unit = cls(from_plain(plain["service"]))
        unit.next = from_plain(plain["next"])
        unit.health.restore(plain["health"])
        for name in _KEPT:
            if name in plain:
                setattr(unit, name, plain[name])
        unit.reason, unit.history = from_plain(unit.reason), history_from_plain(unit.history)
        return unit


def history_to_plain(history: list[Entry]) -> list[Any]:
    """A history for the re-execution state."""
    return [(time, event, to_plain(reason), code) for time, event, reason, code in history]


def history_from_plain(plain: list[Any]) -> list[Entry]:
    """The inverse of history_to_plain."""
    return [(time, event, from_plain(reason), code) for time, event, reason, code in plain]
