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


class StartProbe(Record):
    """Ask the service whether it is ready until it says so. Answered by ProbePassed."""

    service: Service


class StopProbe(Record):
    """Ask no more."""

    service: str


class Sweep(Record):
    """Send a signal to every process that is left under us, whoever started it. Answered by Swept."""

    number: int


class Report(Record):
    """One line for people. level: "info", "warning" or "error"; service "" when it concerns the whole."""

    level: str
    service: str
    text: str


class Prepare(Record):
    """A Plan was taken: make room for its services and know their names."""

    plan: Plan


class Exit(Record):
    """The container ends. word: the last word, one line; culprit: whose last output goes with it, or ""."""

    code: int
    word: str
    culprit: str = ""


Effect = Spawn | Signal | SignalTree | StartProbe | StopProbe | Sweep | Report | Prepare | Exit
