"""Events: what happened outside the engine. For every effect that can fail there is an event for the failure.

Codes are exit codes as a shell or Docker shows them: 0 to 255, 128+n for a death by signal n.
"""

from __future__ import annotations

from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.plan.model import Plan
    from cohabit.plan.reason import Reason


class Loaded(Record):
    """The loader read the configuration file and returned a Plan."""

    plan: Plan


class LoadFailed(Record):
    """The file is not valid, or the loader failed. lines: one problem each."""

    lines: tuple[str, ...]
    code: int


class Spawned(Record):
    """The service's command is running: its exec succeeded."""

    service: str
    pid: int


class SpawnFailed(Record):
    """The service's command could not be started. cause: why, with a code. orphans: as in HookEnded."""

    service: str
    cause: Reason
    orphans: bool = False


class Exited(Record):
    """The main process of the service has ended. orphans: other processes of its tree are still running.

    out_of_memory: the kernel killed it because the memory of the container was exhausted. by_signal: a signal ended it;
    False for a shell that exits with 128+n.
    """

    service: str
    code: int
    orphans: bool = False
    out_of_memory: bool = False
    by_signal: bool = False


class Daemonised(Record):
    """In place of Exited: the main process ended with 0 and left a daemon, `pid`, which is now the main process."""

    service: str
    pid: int


class SignalRefused(Record):
    """A Signal or SignalTree was not sent: the kernel does not permit it. cause: why, with the signal's number.

    For SignalTree: no process got it, or, for SIGKILL, some did not.
    """

    service: str
    cause: Reason


class TreeGone(Record):
    """No process of the service's tree is left. Follows an event with orphans=True."""

    service: str


class HookEnded(Record):
    """The answer to RunHook. cause: why the hook did not run to its end; None if it did.

    orphans: the service has no main process, and processes that its hooks left behind are running.
    """

    service: str
    code: int
    cause: Reason | None = None
    orphans: bool = False


class Probed(Record):
    """The result of a probe: the answer to Ask, or what the service reported itself (log, descriptor).

    output: at most 4 KiB of what the probe printed. reason: why it failed, if that is known; output is its text then.
    """

    service: str
    passed: bool
    output: str = ""
    reason: Reason | None = None


class Notified(Record):
    """One message of sd_notify(3) from a process of the service; the reactor has checked the sender.

    watchdog: "", "1" (a keep-alive message) or "trigger" (the service reports its own failure).
    main_pid: a process of the service's tree, or 0. extend_seconds: additional time for the current operation.
    """

    service: str
    ready: bool = False
    reloading: bool = False
    stopping: bool = False
    status: str | None = None
    main_pid: int = 0
    watchdog: str = ""
    extend_seconds: float = 0.0


class ScheduleDue(Record):
    """The service's schedule is due."""

    service: str


class ReloadRequested(Record):
    """A request to read the configuration file again and apply the changes (SIGHUP, `reload`, `scale`).

    scale: the number of replicas by service, which replaces the one in the file from now on; None starts a service that
    does not take part yet, with the number in the file. restart: then all services start anew (supervisord's HUP).
    """

    scale: Mapping[str, int | None] = {}
    restart: bool = False


class Requested(Record):
    """A request for single services.

    action: "start", "stop", "restart", "kill", "pause", "unpause", or "signal" with a number.
    grace_seconds: for "stop" and "restart", instead of the grace period in the file. cause: why cohabit itself
    requests a "restart": changed files. A service that is down on request stays down then. See engine/requests.py.
    """

    action: str
    services: tuple[str, ...]
    number: int = 0
    grace_seconds: float | None = None
    cause: Reason | None = None


class StopRequested(Record):
    """A request to stop the container (docker stop, Ctrl-C). number: the signal, or the one that stands for it.

    by: the source of a request that is not a signal, such as "cohabit down". grace_seconds: of each service, and the
    total, instead of those in the file.
    """

    number: int
    by: str = ""
    grace_seconds: float | None = None


class Swept(Record):
    """The answer to Sweep: no descendant of cohabit is left."""


class Broken(Record):
    """An internal error of cohabit has occurred repeatedly. text: the message to log."""

    text: str


class Gap(Record):
    """Process 1 did not run for a time: the container was paused, the machine was suspended, or too busy.

    seconds: how long at least: so much later than requested it woke. at_most: how long at most: since it last ran.
    """

    seconds: float
    at_most: float


class Due(Record):
    """The time that deadline() returned has come."""


Event = (
    Loaded
    | LoadFailed
    | Spawned
    | SpawnFailed
    | Exited
    | Daemonised
    | SignalRefused
    | TreeGone
    | HookEnded
    | Probed
    | Notified
    | ScheduleDue
    | ReloadRequested
    | Requested
    | StopRequested
    | Swept
    | Broken
    | Gap
    | Due
)
