"""What the engine knows of one service while it lives: the only mutable noun. No decisions here.

(Unit is systemd's word for a thing under supervision.)
"""

from __future__ import annotations

from cohabit.engine.health import Health
from cohabit.engine.machine import AT_REST, ENDED, EXITED, FATAL, RUNNING, STOPPED
from cohabit.plan.model import COMPLETED, HEALTHY
from cohabit.plan.record import from_plain, to_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Dependency, Service

# What crosses a re-execution of process 1; the rest follows from the Plan.
_KEPT = (
    "state", "want_up", "restart_pending", "gone", "pid", "main_alive", "pending", "ready", "code", "started_at",
    "ran_seconds", "starts", "restarts", "killed", "restart_requested", "forced_exit_code", "failed", "in_background",
    "hook_stage", "hook_index",
    "orphans", "status", "why", "deadline", "since", "history", "timeline", "out_of_memory",
    "blocked_hook",
)  # fmt: skip

# What is kept of what happened: enough for six crashes in a row.
_HISTORY_KEPT = 32
# Events besides the states, and those that complete a start.
READY, UNHEALTHY, HEALTHY_AGAIN, WANTED = "ready", "unhealthy", "healthy", "wanted"
_SETTLED = (READY, EXITED, FATAL, STOPPED)


class Unit:
    """One service's life.

    service: as it runs, or shall run next; next: what replaces it at its next rest, after a reload.
    want_up: what is wanted; `state`: what is. renew: a fresh run is wanted in place of this one. gone: no longer
    in the Plan. pid: of its main process, 0 if none ever was; leader_lives: whether that process still does;
    pending: a start is under way of which nothing has been heard. ready: it runs, its start is complete, and its
    probe passed if it has one. code: exit code of the last run, None before the first end. started_at:
    monotonic seconds of the last start. starts: successful starts since somebody last asked for one; restarts:
    restarts in a row. in_background: so it was said of this run. killed: SIGKILL was needed in this stop; hung:
    the hook that was at work then. again: it is ended in order to be started again; blame: the code that this end
    shall count as, 0 for its own. failed: it failed for good, as the how-manieth of all, 0 if not.
    stage, step: the hook that runs. orphans: TreeGone is to come. status: its own words (sd_notify). why: the
    reason of its end, in words. deadline: monotonic seconds at which its state is due. since: those at which it
    was entered. history: the last that happened, (moment, state or other event, reason, exit code or None);
    timeline: (moment, event) of its first start. out_of_memory: that ended its last run.
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
        self.blocked_hook = ""
        self.restart_requested = False
        self.in_background = False
        self.forced_exit_code = 0
        self.failed = 0
        self.hook_stage = ""
        self.hook_index = 0
        self.orphans = False
        self.status = ""
        self.why = ""
        self.deadline: float | None = None
        self.since: float | None = None
        self.history: list[tuple[float, str, str, int | None]] = []
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
        """What runs of it shall run no more."""
        return self.restart_pending or not self.want_up

    @property
    def ended(self) -> bool:
        """It ended by itself, for good: it was not just told to stop, and no schedule will start it again."""
        return self.state in ENDED and self.state != STOPPED and self.service.schedule is None

    @property
    def down(self) -> bool:
        """Nothing of it runs, as somebody asked: neither its policy nor a schedule will change that."""
        return self.state == STOPPED and not self.want_up and self.service.schedule is None

    @property
    def settled(self) -> bool:
        """Nothing more is expected of its start: it is ready, has done its work, or is not wanted now."""
        return not self.restart_pending and (
            self.ready or not self.want_up or (self.state == EXITED and self.code == 0)
        )

    def satisfies(self, dependency: Dependency) -> bool:
        """Whether whoever depends on this service in that way may start."""
        if self.restart_pending:
            return False
        if (self.ended or self.down) and not dependency.required:
            return True  # as in Compose: it was worth waiting for, its failure hurts nobody
        if dependency.condition == COMPLETED:
            return self.state == EXITED and self.code == 0
        if dependency.condition == HEALTHY:
            return self.ready
        return self.starts > 0 or self.state == RUNNING

    def disappoints(self, dependency: Dependency) -> bool:
        """Whether it is certain that the condition will never hold."""
        return self.ended and not self.restart_pending and not self.satisfies(dependency)

    def record(self, event: str, now: float, why: str = "", code: int | None = None) -> None:
        """Something happened to it that people may want to know."""
        self.history = [*self.history[1 - _HISTORY_KEPT :], (now, event, why, code)]
        if event == WANTED or (self.timeline and self.timeline[-1][1] not in _SETTLED):
            self.timeline = [*self.timeline[: _HISTORY_KEPT - 1], (now, event)]

    def take_next(self) -> None:
        """Become what the newest Plan has."""
        if self.next is not None:
            self.service, self.next = self.next, None

    def to_plain(self) -> dict[str, Any]:
        """The state that crosses a re-execution, as plain values."""
        plain = {name: getattr(self, name) for name in _KEPT}
        plain["service"], plain["next"] = to_plain(self.service), to_plain(self.next)
        plain["health"] = self.health.to_plain()
        return plain

    @classmethod
    def restored(cls, plain: dict[str, Any]) -> Unit:
        """The inverse of to_plain. A field that the older program did not know keeps its first value."""
        unit = cls(from_plain(plain["service"]))
        unit.next = from_plain(plain["next"])
        unit.health.restore(plain["health"])
        for name in _KEPT:
            if name in plain:
                setattr(unit, name, plain[name])
        return unit
