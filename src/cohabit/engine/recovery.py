"""After an internal error: which events the engine has not processed yet, and which outcomes it still waits for.

The reactor keeps an event in its queue until the engine has processed it. If the error came in between, the event is
either pending or done; and what was carried out may have lost its outcome.
"""

from __future__ import annotations

from cohabit.engine import events, machine
from cohabit.engine.run import PENDING
from cohabit.errors import EXIT_SYSTEM
from cohabit.plan.model import POST_STOP, PRE_START
from cohabit.plan.reason import LOST, Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.events import Event
    from cohabit.engine.supervisor import Supervisor
    from cohabit.engine.unit import Unit


def is_pending(engine: Supervisor, event: Event) -> bool:
    """Whether the engine has not processed this event yet."""
    unit = engine.units.get(getattr(event, "service", ""))
    match event:
        case events.StopRequested():
            return not engine.ending.requested
        case _ if unit is None:
            return not hasattr(event, "service")
        case events.Spawned():
            return unit.run.pid == 0
        case events.SpawnFailed():
            return unit.run.process == PENDING
        case events.Exited():
            return unit.run.main_alive or _ran(unit)
        case events.TreeGone():
            return unit.state == machine.STOPPING and unit.run.hook_stage != POST_STOP
        case events.HookEnded():
            return unit.run.hook_stage != ""
        case events.Loaded() | events.LoadFailed():
            return engine.reading.in_progress
    return True


def lost_outcome(unit: Unit) -> Event | None:
    """Return the event that the engine waits for, of a service without a process; None if it waits for none."""
    if unit.at_rest:
        return None
    lost = Reason(LOST, EXIT_SYSTEM)
    before_start = unit.run.hook_stage == PRE_START and unit.state in (machine.STARTING, machine.STOPPING)
    if before_start or unit.run.hook_stage == POST_STOP:
        return events.HookEnded(unit.name, EXIT_SYSTEM, lost)
    if _ran(unit) or unit.run.main_alive:
        return events.Exited(unit.name, EXIT_SYSTEM)
    if unit.state == machine.STARTING:
        return events.SpawnFailed(unit.name, lost)
    return events.TreeGone(unit.name)


def _ran(unit: Unit) -> bool:
    """Whether its state says that its command was executed, and has not ended."""
    return unit.state == machine.RUNNING or (unit.state == machine.STARTING and unit.run.pid != 0)
