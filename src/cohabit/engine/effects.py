"""Effects: the actions that the engine requests. The reactor carries them out in the given order."""

from __future__ import annotations

from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.plan.model import Plan, Service
    from cohabit.plan.reason import Reason


class Spawn(Record):
    """Start the service's command. Answered by Spawned or SpawnFailed, later by Exited."""

    service: Service


class Signal(Record):
    """Send a signal to the main process of the service only."""

    service: str
    number: int


class SignalTree(Record):
    """Send a signal to every process of the service's tree, in any session or process group."""

    service: str
    number: int


class Pause(Record):
    """Stop all processes of the service's tree, so that they continue later. If that is refused: SignalRefused."""

    service: str


class Unpause(Record):
    """Let the processes of the service's tree continue."""

    service: str


class RunHook(Record):
    """Run one hook of the service, as a process of its tree. Answered by HookEnded.

    stage: as for Service.hooks. number: the index of the hook in its stage, from 0. variables: additional ones for its
    environment; those of a post_stop hook say how the run has ended (post_stop.py).
    """

    service: Service
    stage: str
    number: int
    variables: Mapping[str, str] = {}


class Ask(Record):
    """Run the service's probe once. Answered by Probed, within the timeout of the probe."""

    service: Service


class StopAsking(Record):
    """Cancel the running probe, and ignore the service's own readiness messages until its next start."""

    service: str


class Load(Record):
    """Read the configuration file (again). Answered by Loaded or LoadFailed.

    scale: the number of replicas by service, of all requests so far; None for a service that was started by name.
    asked: the services in `scale` that this request names; it is an error if one is not in the file.
    """

    scale: Mapping[str, int | None] = {}
    asked: tuple[str, ...] = ()


class Forget(Record):
    """Release everything that is kept for the service: it is not in the Plan and has no processes."""

    service: str


class AllReady(Record):
    """Every service has finished its start. The reactor sends READY=1 (sd_notify) to the supervisor of cohabit."""


class Sweep(Record):
    """Send a signal to every remaining descendant of cohabit, of any service or none. Answered by Swept."""

    number: int


class Report(Record):
    """Log one line. level: "info", "warning", "error" or "problem"; service: "" for the whole container.

    transition: a Transition of this step says the same, for logs that are made from these (main_log.py).
    """

    level: str
    service: str
    text: str
    transition: bool = False


class Prepare(Record):
    """The engine has taken over a Plan, the first or a later one: prepare its services, open their sockets."""

    plan: Plan


class Exit(Record):
    """End the container. reason: None for a file with problems. cause: the service whose output explains it, or ""."""

    code: int
    reason: Reason | None
    cause: str = ""


Effect = (
    Spawn
    | Signal
    | SignalTree
    | Pause
    | Unpause
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
