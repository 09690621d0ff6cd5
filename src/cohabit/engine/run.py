"""One run of a service, from its start to the end of its last process. Each start makes a new one."""

from __future__ import annotations

from cohabit.plan.model import PRE_STOP, RESTART
from cohabit.plan.reason import HOOK_FAILED
from cohabit.plan.record import from_plain, to_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.reason import Reason

# The main process: its start was requested, and the outcome is not known yet; it runs; it is paused, as the rest of its
# tree; there is none (any more).
PENDING, ALIVE, PAUSED, GONE = "pending", "alive", "paused", "gone"
# The post_stop hooks: their time has not come; the first one is to run; they run; no (further) hook is to run.
NOT_YET, DUE, RUN, OVER = "", "due", "run", "over"
# What ended it, besides an exit of its own: a signal, and the kernel for lack of memory.
SIGNAL, OUT_OF_MEMORY = "signal", "out of memory"


class Stop:
    """The stop of a run: its processes were signalled to end.

    share: the seconds that it has, if that is less than its grace period (TotalGrace); None otherwise.
    extended: it has asked for a longer time (EXTEND_TIMEOUT_USEC=), and got it.
    killed: SIGKILL was needed. asked: it was asked to stop before that, by a stop signal or a pre_stop hook.
    blocked_hook: the index of the pre_stop hook that was running then; the stop signal had not been sent yet.
    hooks_over: the time for pre_stop hooks is over: the stop signal was sent, although one is still running.
    refused: the kernel does not permit the signal, so its end is not waited for.
    post_stop: NOT_YET, DUE, RUN or OVER.
    """

    __slots__ = ("asked", "blocked_hook", "extended", "hooks_over", "killed", "post_stop", "refused", "share")

    def __init__(self, *, asked: bool = True) -> None:
        self.share: float | None = None
        self.extended = False
        self.killed = False
        self.asked = asked
        self.blocked_hook: int | None = None
        self.hooks_over = False
        self.refused = False
        self.post_stop = NOT_YET


class Run:
    """One run. Times are monotonic seconds.

    started_at: the time of the start. ran_seconds: its duration, once its main process has ended.
    pid: of the main process, 0 before it is known and if it could not be started.
    process: PENDING, ALIVE, PAUSED or GONE.
    hook_stage, hook_index: the hook that is running, "" for none.
    orphans: a TreeGone is expected.
    ready: it runs, its start is complete, and its probe succeeded if it has one.
    status: STATUS= of sd_notify(3).
    in_background: its move into the background is already logged.
    reason: why it ended, or is being ended; or why it cannot start.
    ended: how its main process has ended (SIGNAL, OUT_OF_MEMORY, or "" for an exit) and its exit code; None before
    that, and if it was not started.
    startup_ends: when it counts as started (`startup` of its service); None if it does, or if it was not executed.
    on_failure: what its failed probe causes, `restart` or `exit`; "" as long as it causes nothing.
    stop: None as long as it is not being stopped.
    """

    __slots__ = (
        "ended", "hook_index", "hook_stage", "in_background", "on_failure", "orphans", "pid", "process",
        "ran_seconds", "ready", "reason", "started_at", "startup_ends", "status", "stop",
    )  # fmt: skip

    def __init__(self, started_at: float = 0.0, process: str = GONE) -> None:
        self.started_at = started_at
        self.process = process
        self.ran_seconds = 0.0
        self.pid = 0
        self.hook_stage = ""
        self.hook_index = 0
        self.orphans = False
        self.ready = False
        self.status = ""
        self.in_background = False
        self.reason: Reason | None = None
        self.ended: tuple[str, int] | None = None
        self.startup_ends: float | None = None
        self.on_failure = ""
        self.stop: Stop | None = None

    @property
    def main_alive(self) -> bool:
        """Whether there is a main process."""
        return self.process in (ALIVE, PAUSED)

    @property
    def started(self) -> bool:
        """Whether it counts as started: its command was executed and, with `startup`, has run for that time."""
        return self.pid != 0 and self.startup_ends is None

    @property
    def exit_code(self) -> int | None:
        """That of its main process; None if it has not ended or was not started."""
        return None if self.ended is None else self.ended[1]

    @property
    def ended_by(self) -> str:
        """SIGNAL or OUT_OF_MEMORY; "" for an exit, and before its end."""
        return "" if self.ended is None else self.ended[0]

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel killed it for lack of memory."""
        return self.ended_by == OUT_OF_MEMORY

    @property
    def forced_exit_code(self) -> int:
        """The code that its end counts as, because it was ended for a failure; 0 for the code of its main process."""
        if self.on_failure == RESTART:
            return 1
        reason = self.reason
        return reason.code or 0 if reason is not None and reason.kind == HOOK_FAILED else 0

    @property
    def post_stop(self) -> str:
        """How far its post_stop hooks are: NOT_YET, DUE, RUN or OVER."""
        return NOT_YET if self.stop is None else self.stop.post_stop

    @property
    def killed(self) -> bool:
        """Whether SIGKILL was needed to end it."""
        return self.stop is not None and self.stop.killed

    @property
    def awaits_hook(self) -> bool:
        """Whether a hook is running whose end it waits for."""
        return self.hook_stage != "" and not (self.stop is not None and self.stop.hooks_over)

    def kill(self) -> None:
        """Record that SIGKILL is needed."""
        self.stop = self.stop or Stop(asked=False)
        if self.stop.post_stop:
            self.stop.post_stop = OVER
            return
        self.stop.killed = True
        if self.hook_stage == PRE_STOP and self.awaits_hook:
            self.stop.blocked_hook = self.hook_index

    def to_plain(self) -> dict[str, Any]:
        """The re-execution state, as plain values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["reason"] = to_plain(self.reason)
        plain["stop"] = self.stop and {name: getattr(self.stop, name) for name in Stop.__slots__}
        return plain

    @classmethod
    def restored(cls, plain: dict[str, Any]) -> Run:
        """The inverse of to_plain. A field that the older program did not write keeps its initial value."""
        run = cls()
        for name in cls.__slots__:
            if name in plain:
                setattr(run, name, plain[name])
        run.reason = from_plain(run.reason)
        if plain.get("stop") is not None:
            run.stop = Stop()
            for name, value in plain["stop"].items():
                setattr(run.stop, name, value)
        return run
