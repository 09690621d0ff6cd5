"""The state of one service in the engine. No decisions here. "Unit" is systemd's term for a supervised object."""

from __future__ import annotations

from cohabit.engine.health import Health
from cohabit.engine.machine import AT_REST, ENDED, EXITED, STOPPED, STOPPING, UNDER_WAY
from cohabit.engine.run import PAUSED, Run
from cohabit.engine.transition import History
from cohabit.plan.model import COMPLETED, HEALTHY
from cohabit.plan.reason import SKIPPED
from cohabit.plan.record import from_plain, to_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Dependency, Service
    from cohabit.plan.reason import Reason

# Timers of a unit: the time limit of its state, its next probe, the time limit of its pre_stop hooks.
STATE_TIMER, HEALTH_TIMER, HOOK_TIMER = "state", "health", "hook"
# The fields in the re-execution state that are plain; the dependents follow from the Plan.
_PLAIN = ("state", "desired", "restart_pending", "gone", "code", "starts", "restarts", "failed")


class Unit:
    """The state of one service or replica.

    spec: the service as it runs, or will run next. next_spec: its replacement after a reload, until it is down.
    desired: whether it is to be up. state: the current state (machine.py).
    restart_pending: this run is to be replaced by a new one.
    gone: not in the Plan any more.
    run: the current run, or the last one; one without a process before the first.
    code: exit code of the last run that ended, None before the first end.
    starts: successful starts since the last start on request. restarts: restarts in a row.
    signal_refused: why a signal to the current run was not sent, or None.
    failed: the service failed for good, as failure number n of the container; 0 if it did not.
    """

    __slots__ = ("dependents", "health", "history", "next_spec", "run", "signal_refused", "spec", *_PLAIN)

    def __init__(self, service: Service) -> None:
        self.spec = service
        self.next_spec: Service | None = None
        self.dependents: list[str] = []
        self.state = STOPPED
        self.desired = service.schedule is None and service.autostart
        self.restart_pending = False
        self.gone = False
        self.run = Run()
        self.signal_refused: Reason | None = None
        self.health = Health()
        self.code: int | None = None
        self.starts = 0
        self.restarts = 0
        self.failed = 0
        self.history = History()

    @property
    def name(self) -> str:
        """The service's name."""
        return self.spec.name

    @property
    def newest_spec(self) -> Service:
        """The service as the newest Plan has it."""
        return self.next_spec or self.spec

    @property
    def at_rest(self) -> bool:
        """No process of it exists."""
        return self.state in AT_REST

    @property
    def unreachable(self) -> bool:
        """It is to end, and the kernel does not permit us to signal it: its end is not waited for."""
        return self.state == STOPPING and self.run.stop is not None and self.run.stop.refused

    @property
    def going_down(self) -> bool:
        """The current run is to end."""
        return self.restart_pending or not self.desired

    @property
    def command_runs(self) -> bool:
        """Its command was executed, has not ended, and is not being stopped."""
        return self.state in UNDER_WAY and self.run.main_alive

    @property
    def failure(self) -> bool:
        """Its last run was a failure: it did not start, was ended by a signal, or with a code that is not expected."""
        run = self.run
        if self.code is None or (run.reason is not None and run.reason.kind == SKIPPED):
            return False
        if not run.started:
            return bool(self.code) or self.spec.startup is not None
        return (
            bool(run.ended_by or run.on_failure or run.forced_exit_code)
            or self.code not in self.spec.restart.expected_codes
        )

    @property
    def ended(self) -> bool:
        """It ended by itself and for good: no request stopped it, and no schedule will start it again."""
        return self.state in ENDED and self.state != STOPPED and self.spec.schedule is None

    @property
    def skipped(self) -> bool:
        """One of its conditions did not hold at its last start. That counts as a success, as in systemd."""
        return self.state == EXITED and self.run.reason is not None and self.run.reason.kind == SKIPPED

    @property
    def succeeded(self) -> bool:
        """It has completed: its last run ended as expected, with 0 by default, or was skipped."""
        return self.state == EXITED and not self.failure

    @property
    def down(self) -> bool:
        """It was stopped on request, and neither its restart policy nor a schedule will start it."""
        return self.state == STOPPED and not self.desired and self.spec.schedule is None

    @property
    def dormant(self) -> bool:
        """It is down and has `autostart: false`: it starts on request, and the container does not wait for that."""
        return self.down and not self.newest_spec.autostart

    @property
    def paused(self) -> bool:
        """Whether its processes are stopped on request, to continue later."""
        return self.run.process == PAUSED and self.state in UNDER_WAY

    @property
    def start_complete(self) -> bool:
        """Its start has finished: it is ready, has completed successfully, or is to be down."""
        return not self.restart_pending and (self.run.ready or not self.desired or self.succeeded)

    def satisfies(self, dependency: Dependency) -> bool:
        """Whether the condition of a dependency on this service holds."""
        if self.restart_pending:
            return False
        if (self.ended or self.down) and not dependency.required:
            return True  # as in Compose: the dependent waits for it, but starts even if it fails
        if self.skipped or dependency.condition == COMPLETED:
            return self.succeeded
        if dependency.condition == HEALTHY:
            return self.run.ready
        return self.starts > 0 or self.command_runs

    def can_never_satisfy(self, dependency: Dependency) -> bool:
        """Whether the condition can never hold any more, without a request."""
        return self.ended and not self.restart_pending and not self.satisfies(dependency)

    def take_next(self) -> None:
        """Take over the version in the newest Plan."""
        if self.next_spec is not None:
            self.spec, self.next_spec = self.next_spec, None

    def to_plain(self) -> dict[str, Any]:
        """The re-execution state, as plain values."""
        return {name: getattr(self, name) for name in _PLAIN} | {
            "spec": to_plain(self.spec),
            "next_spec": to_plain(self.next_spec),
            "run": self.run.to_plain(),
            "signal_refused": to_plain(self.signal_refused),
            "health": self.health.to_plain(),
            "history": self.history.to_plain(),
        }

    @classmethod
    def restored(cls, plain: dict[str, Any]) -> Unit:
        """The inverse of to_plain. A field that the older program did not write keeps its initial value."""
        unit = cls(from_plain(plain["spec"]))
        unit.next_spec = from_plain(plain["next_spec"])
        unit.run = Run.restored(plain["run"])
        unit.signal_refused = from_plain(plain["signal_refused"])
        unit.health.restore(plain["health"])
        unit.history = History.restored(plain["history"])
        for name in _PLAIN:
            if name in plain:
                setattr(unit, name, plain[name])
        return unit
