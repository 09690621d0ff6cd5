"""After an internal error: what the engine has not processed, and what it still waits for."""

from __future__ import annotations

import pytest

from cohabit.engine import events, machine
from cohabit.engine.recovery import is_pending, lost_outcome
from cohabit.engine.run import ALIVE, GONE, PENDING
from cohabit.engine.supervisor import Supervisor
from cohabit.engine.unit import Unit
from cohabit.plan.model import POST_STOP, PRE_START, Service
from cohabit.plan.reason import LOST, Reason


def unit_in(state: str, *, main_alive: bool = False, hook_stage: str = "", pid: int = 0) -> Unit:
    """Return a unit in this state."""
    unit = Unit(Service("web", command=("true",)))
    unit.state = state
    unit.run.process, unit.run.hook_stage = PENDING if state == machine.STARTING else GONE, hook_stage
    unit.run.process = ALIVE if main_alive else unit.run.process
    unit.run.pid = pid
    return unit


def engine_with(unit: Unit) -> Supervisor:
    """Return an engine with one unit."""
    engine = Supervisor()
    engine.services.units[unit.name] = unit
    return engine


@pytest.mark.parametrize(
    ("unit", "outcome"),
    [
        (unit_in(machine.STOPPED), None),
        (unit_in(machine.BACKOFF), None),
        (unit_in(machine.STARTING, hook_stage=PRE_START), "HookEnded"),
        (unit_in(machine.STOPPING, hook_stage=PRE_START), "HookEnded"),
        (unit_in(machine.STARTING), "SpawnFailed"),
        (unit_in(machine.STARTING, main_alive=True, pid=5), "Exited"),
        (unit_in(machine.STARTING, pid=5), "Exited"),
        (unit_in(machine.RUNNING, main_alive=True), "Exited"),
        (unit_in(machine.STOPPING, main_alive=True), "Exited"),
        (unit_in(machine.STOPPING), "TreeGone"),
        (unit_in(machine.STOPPING, hook_stage=POST_STOP), "HookEnded"),
    ],
    ids=lambda value: value.state if isinstance(value, Unit) else str(value),
)
def test_the_outcome_that_was_lost(unit: Unit, outcome: str | None) -> None:
    """By the state, so that the engine can accept it there."""
    event = lost_outcome(unit)
    assert (type(event).__name__ if event else None) == outcome


@pytest.mark.parametrize(
    ("unit", "event", "pending"),
    [
        (unit_in(machine.STARTING), events.Spawned("web", 5), True),
        (unit_in(machine.RUNNING, pid=5), events.Spawned("web", 5), False),
        (unit_in(machine.STARTING, pid=5), events.Spawned("web", 5), False),
        (unit_in(machine.STARTING, pid=5), events.Exited("web", 0), True),
        (unit_in(machine.BACKOFF, pid=5), events.Exited("web", 0), False),
        (unit_in(machine.STARTING), events.SpawnFailed("web", Reason(LOST)), True),
        (unit_in(machine.BACKOFF), events.SpawnFailed("web", Reason(LOST)), False),
        (unit_in(machine.STOPPING, main_alive=True), events.Exited("web", 0), True),
        (unit_in(machine.STOPPING), events.Exited("web", 0), False),
        (unit_in(machine.STOPPING), events.TreeGone("web"), True),
        (unit_in(machine.STOPPED), events.TreeGone("web"), False),
        (unit_in(machine.STOPPING, hook_stage=POST_STOP), events.TreeGone("web"), False),
        (unit_in(machine.STOPPING, hook_stage=POST_STOP), events.SpawnFailed("web", Reason(LOST)), False),
        (unit_in(machine.STOPPING, hook_stage=POST_STOP), events.HookEnded("web", 0), True),
        (unit_in(machine.STARTING, hook_stage=PRE_START), events.HookEnded("web", 0), True),
        (unit_in(machine.STARTING), events.HookEnded("web", 0), False),
        (unit_in(machine.RUNNING), events.Exited("gone", 0), False),
        (unit_in(machine.RUNNING), events.Due(), True),
        (unit_in(machine.RUNNING), events.StopRequested(15), True),
        (unit_in(machine.RUNNING), events.LoadFailed(("x",), 78), True),
    ],
    ids=lambda value: value.state if isinstance(value, Unit) else str(value)[:20],
)
def test_an_event_is_pending_until_its_change_is_seen(unit: Unit, event: events.Event, pending: bool) -> None:
    """A processed one would be impossible in the state after it."""
    assert is_pending(engine_with(unit), event) is pending
