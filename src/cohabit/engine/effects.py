"""Effects: what the engine wants done outside. They are carried out in the order in which they come."""

from __future__ import annotations

from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Plan, Service


class Spawn(Record):
    """Start the service's command. Answered by Spawned or SpawnFailed, later by Exited."""

    service: Service


class Signal(Record):
    """Send a signal to the process that was started for the service, and to that one only."""

    service: str
    number: int


class SignalTree(Record):
    """Send a signal to every process of the service's tree, wherever it hides."""

    service: str
    number: int


class RunHook(Record):
    """Run one hook of the service, as a process of its tree. Answered by HookEnded. stage: see Service.hooks."""

    service: Service
    stage: str
    number: int


class Ask(Record):
    """Ask the service once how it is. Answered by Probed, at the latest after the probe's timeout."""

    service: Service


class StopAsking(Record):
    """No answer is wanted any more to what was asked, and the service's messages mean nothing until its next start."""

    service: str


class Load(Record):
    """Read the file (again). Answered by Loaded or LoadFailed. scale: as in ReloadRequested, all of it.

    asked: the services in it that were asked for just now, and have to be there.
    """

    scale: dict[str, int] = {}  # noqa: RUF012 - a record's default is never changed
    asked: tuple[str, ...] = ()


class Forget(Record):
    """The service is no longer in the Plan, and nothing of it lives: let go of all that was kept for it."""

    service: str


class AllReady(Record):
    """Everything that was to be started is: whoever supervises us may know (sd_notify's READY=1)."""


class Sweep(Record):
    """Send a signal to every process that is left under us, whoever started it. Answered by Swept."""

    number: int


class Report(Record):
    """One line for people. level: "info", "warning" or "error"; service "" when it concerns the whole."""

    level: str
    service: str
    text: str


class Prepare(Record):
    """A Plan was taken, the first or a later one: make room for its services, know their names, open their sockets."""

    plan: Plan


class Exit(Record):
    """The container ends. reason: one line; cause: the service whose last output goes with it, or ""."""

    code: int
    reason: str
    cause: str = ""


Effect = (
    Spawn
    | Signal
    | SignalTree
    | RunHook
    | Ask
    | StopAsking
    | Load
    | Forget
    | AllReady
    | Sweep
    | Report
    | Prepare
    | Exit
)
