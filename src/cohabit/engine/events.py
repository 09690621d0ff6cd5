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
    """The service's command could not be started; nothing of it runs. `why` completes "cannot start"."""

    service: str
    why: str
    code: int


class Exited(Record):
    """The process that we started for the service has ended. orphans: others of its tree still live."""

    service: str
    code: int
    orphans: bool = False


class TreeGone(Record):
    """After Exited(orphans=True): now nothing of the service's process tree is left."""

    service: str


class ProbePassed(Record):
    """The service's probe succeeded: it is ready."""

    service: str


class StopRequested(Record):
    """Somebody outside (docker stop, ctrl-C) wants everything to end; `number` is the signal."""

    number: int


class Swept(Record):
    """After a Sweep: no process of anybody is left under us."""


class Broken(Record):
    """Internal errors of ours keep coming; `text` says so."""

    text: str


class Due(Record):
    """The time that deadline() named has come."""


Event = (
    Loaded | LoadFailed | Spawned | SpawnFailed | Exited | TreeGone | ProbePassed | StopRequested | Swept | Broken | Due
)
