"""What the engine knows of one service while it lives: the only mutable noun. No decisions here.

(Unit is systemd's word for a thing under supervision.)
"""

from __future__ import annotations

from cohabit.engine.machine import AT_REST, ENDED, EXITED, RUNNING, STOPPED
from cohabit.plan.model import COMPLETED, HEALTHY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Dependency, Service

# What crosses a re-execution of process 1; the rest follows from the Plan.
_KEPT = (
    "state", "want_up", "pid", "leader_lives", "ready", "code", "started_at", "ran_seconds",
    "starts", "restarts", "killed", "why", "deadline",
)  # fmt: skip


class Unit:
    """One service's life.

    want_up: what is wanted; `state`: what is. pid: of the last process that was started, 0 if none ever
    was; leader_lives: whether that process still does. ready: its probe passed, or it has none and runs.
    code: exit code of the last run, None before the first end. started_at: monotonic seconds of the last
    start. starts: successful starts in all; restarts: restarts in a row. killed: SIGKILL was needed in this
    stop. why: the reason of its end, in words. deadline: monotonic seconds at which its state is due.
    """

    __slots__ = ("dependents", "service", *_KEPT)

    def __init__(self, service: Service) -> None:
        self.service = service
        self.dependents: list[str] = []
        self.state = STOPPED
        self.want_up = True
        self.pid = 0
        self.leader_lives = False
        self.ready = False
        self.code: int | None = None
        self.started_at = 0.0
        self.ran_seconds = 0.0
        self.starts = 0
        self.restarts = 0
        self.killed = False
        self.why = ""
        self.deadline: float | None = None

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    @property
    def at_rest(self) -> bool:
        """No process of it exists."""
        return self.state in AT_REST

    @property
    def over(self) -> bool:
        """It ended by itself, for good (and was not just told to stop)."""
        return self.state in ENDED and self.state != STOPPED

    def satisfies(self, dependency: Dependency) -> bool:
        """Whether whoever depends on this service in that way may start."""
        if self.over and not dependency.required:
            return True  # as in Compose: it was worth waiting for, its failure hurts nobody
        if dependency.condition == COMPLETED:
            return self.state == EXITED and self.code == 0
        if dependency.condition == HEALTHY:
            return self.ready
        return self.starts > 0 or self.state == RUNNING

    def disappoints(self, dependency: Dependency) -> bool:
        """Whether it is certain that the condition will never hold."""
        return self.over and not self.satisfies(dependency)

    def to_plain(self) -> dict[str, Any]:
        """The state that crosses a re-execution, as plain values."""
        return {name: getattr(self, name) for name in _KEPT}

    def restore(self, plain: dict[str, Any]) -> None:
        """The inverse of to_plain. A field that the older program did not know keeps its first value."""
        for name in _KEPT:
            if name in plain:
                setattr(self, name, plain[name])
