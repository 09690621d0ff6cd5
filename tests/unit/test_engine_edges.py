"""The engine before it has a Plan, after the end, and with events that cannot occur."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cohabit.engine import effects
from cohabit.engine.events import Broken, Due, Loaded, LoadFailed, SpawnFailed, StopRequested, Swept
from cohabit.engine.machine import ImpossibleEventError
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import HEALTHY, STARTED, Dependency
from unit.engine_story import TERM, check_row, plan, service, up

if TYPE_CHECKING:
    from unit.engine_story import Row

_WEB_AND_DB = plan(service("web", "db"), service("db"))
_ALONE = plan(service("web"))
_STARTED: tuple[Row, ...] = ((0.0, Loaded(_ALONE), ("prepare", "spawn web")), (0.1, up("web"), ()))


def test_a_stop_while_the_file_is_read_ends_with_0() -> None:
    """Nothing was started, so nothing has to be stopped. A Plan that arrives later is ignored."""
    engine = Supervisor()
    check_row(engine, (0.0, StopRequested(TERM), ("exit 0", "logs stopped by SIGTERM before anything was started")))
    check_row(engine, (0.1, Loaded(_ALONE), ()))
    assert engine.deadline() is None


def test_an_invalid_file_ends_with_its_problems_and_code() -> None:
    """Each problem is logged, and nothing is started."""
    engine = Supervisor()
    problems = ("cohabit.yaml:3: unknown key", "cohabit.yaml:5: no command")
    wanted = check_row(engine, (0.0, LoadFailed(problems, 78), ("exit 78",)))
    assert [effect.text for effect in wanted if isinstance(effect, effects.Report)] == [*problems]
    check_row(engine, (0.1, LoadFailed(problems, 78), ()))


def test_an_internal_error_while_the_file_is_read_ends_with_70() -> None:
    """There is nothing to stop."""
    check_row(Supervisor(), (0.0, Broken("internal errors keep coming"), ("exit 70",)))


def test_the_same_plan_again_changes_nothing() -> None:
    """A reload of an unchanged file has no effect."""
    engine = Supervisor()
    for row in _STARTED:
        check_row(engine, row)
    check_row(engine, (1.0, Loaded(_ALONE), ("logs reload: nothing has changed",)))


def test_exit_comes_once() -> None:
    """After Exit the engine gives no effects, for any event."""
    engine = Supervisor()
    check_row(engine, (0.0, Loaded(_ALONE), ("prepare", "spawn web")))
    check_row(engine, (0.0, SpawnFailed("web", "no room", 71), ("sweep",)))
    check_row(engine, (0.0, Swept(), ("exit 71",)))
    for event in (Swept(), StopRequested(TERM), StopRequested(TERM), Due()):
        check_row(engine, (1.0, event, ()))
    assert engine.deadline() is None


def test_a_due_that_comes_too_early_changes_nothing() -> None:
    """The loop may wake up for another reason: only the engine's own deadline counts."""
    engine = Supervisor()
    for row in _STARTED:
        check_row(engine, row)
    assert engine.deadline() is None
    check_row(engine, (5.0, Due(), ()))


def test_an_impossible_event_raises() -> None:
    """An event that breaks the contract with the reactor raises an error."""
    engine = Supervisor()
    for row in _STARTED:
        check_row(engine, row)
    with pytest.raises(ImpossibleEventError, match="spawned"):
        engine.step(up("web"), 1.0)


def test_a_missing_field_in_the_reexecution_state_keeps_its_initial_value() -> None:
    """An older program did not write the field."""
    engine = Supervisor()
    for row in _STARTED:
        check_row(engine, row)
    plain = engine.to_plain()
    del plain["units"][0]["ran_seconds"]
    successor = Supervisor()
    successor.restore(engine.plan, plain)
    assert successor.units["web"].ran_seconds == 0.0
    check_row(successor, (2.0, StopRequested(TERM), ("signal web TERM",)))


@pytest.mark.parametrize("condition", [STARTED, HEALTHY])
def test_a_service_without_a_probe_is_ready_when_it_runs(condition: str) -> None:
    """Its dependents start when its exec has succeeded."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("db"), service("web", Dependency("db", condition)))), 0.0)
    check_row(engine, (0.1, up("db"), ("spawn web",)))
