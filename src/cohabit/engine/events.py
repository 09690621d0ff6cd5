"""Facts: what happened outside, told to the engine. Every effect that can fail has its failing fact here.

Codes are exit codes as a shell or Docker shows them: 0 to 255, 128+n for a death by signal n.
"""

from __future__ import annotations

from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Plan


class Loaded(Record):
    """The loader read the file and found a Plan in it."""

    plan: Plan


class LoadFailed(Record):
    """There is no Plan: the file is wrong or the loader died. `lines` say why, one problem each."""

    lines: tuple[str, ...]
    code: int


class Spawned(Record):
    """The service's command is running (its exec succeeded)."""

    service: str
    pid: int


class SpawnFailed(Record):
    """The service's command could not be started. `why` completes "cannot start". orphans: as in HookEnded."""

    service: str
    why: str
    code: int
    orphans: bool = False


class Exited(Record):
    """The process that we started for the service has ended. orphans: others of its tree still live.

    out_of_memory: the kernel killed it, since the container's memory was used up.
    """

    service: str
    code: int
    orphans: bool = False
    out_of_memory: bool = False


class Daemonised(Record):
    """Instead of Exited: its process ended well and left a daemon, `pid`, which is its main process from now on."""

    service: str
    pid: int


class TreeGone(Record):
    """After a fact with orphans=True: now nothing of the service's process tree is left."""

    service: str


class HookEnded(Record):
    """The answer to RunHook. why: words for a hook that could not be started.

    orphans: there is no main process of the service, and somebody whom its hooks left behind lives.
    """

    service: str
    code: int
    why: str = ""
    orphans: bool = False


class Probed(Record):
    """The answer to Ask, or what a service told by itself (its log, its descriptor): whether it is well.

    output: at most 4 KiB of what the probe had to say.
    """

    service: str
    passed: bool
    output: str = ""


class Notified(Record):
    """One message of sd_notify(3) from a process of the service, already checked.

    watchdog: "" or "1" (alive) or "trigger" (call it failed). main_pid: a process of the service's tree, or 0.
    extend_seconds: so much more time for what it is doing.
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
    """The time has come that a service's schedule names."""

    service: str


class ReloadRequested(Record):
    """Somebody wants the file read again and what changed in it to happen (SIGHUP).

    scale: numbers of replicas by service, instead of those in the file from now on.
    """

    scale: dict[str, int] = {}  # noqa: RUF012 - a record's default is never changed


class Requested(Record):
    """Somebody asks something of these services. action: "start", "stop", "restart", "kill", or "signal" with a number.

    See engine/requests.py.
    """

    action: str
    services: tuple[str, ...]
    number: int = 0


class StopRequested(Record):
    """Somebody outside (docker stop, ctrl-C) wants everything to end; `number` is the signal, or stands for it.

    by: the words of whoever used no signal, "cohabit down".
    """

    number: int
    by: str = ""


class Swept(Record):
    """After a Sweep: no process of anybody is left under us."""


class Broken(Record):
    """Internal errors of ours keep coming; `text` says so."""

    text: str


class Due(Record):
    """The time that deadline() named has come."""


Event = (
    Loaded
    | LoadFailed
    | Spawned
    | SpawnFailed
    | Exited
    | Daemonised
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
    | Due
)
