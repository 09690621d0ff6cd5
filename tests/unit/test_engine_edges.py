"""The engine before there is a Plan, after the end, and told what it should not be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cohabit.engine import effects
from cohabit.engine.events import Broken, Due, Loaded, LoadFailed, SpawnFailed, StopRequested, Swept
from cohabit.engine.machine import ImpossibleFactError
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import HEALTHY, STARTED, Dependency
from unit.engine_story import TERM, check_row, plan, service, up

if TYPE_CHECKING:
    from unit.engine_story import Row

_WEB_AND_DB = plan(service("web", "db"), service("db"))
_ALONE = plan(service("web"))
_STARTED: tuple[Row, ...] = ((0.0, Loaded(_ALONE), ("prepare", "spawn web")), (0.1, up("web"), ()))


def test_a_stop_while_the_file_is_read_ends_with_0() -> None:
    """Nothing was started, so nothing has to be stopped; the Plan that comes too late is not taken."""
    engine = Supervisor()
    check_row(engine, (0.0, StopRequested(TERM), ("exit 0", "says stopped by SIGTERM before anything was started")))
    check_row(engine, (0.1, Loaded(_ALONE), ()))
    assert engine.deadline() is None


def test_a_wrong_file_ends_with_its_problems_and_code() -> None:
    """Each problem is shown, and nothing is started."""
    engine = Supervisor()
    problems = ("cohabit.yaml:3: unknown key", "cohabit.yaml:5: no command")
    wanted = check_row(engine, (0.0, LoadFailed(problems, 78), ("exit 78",)))
    assert [effect.text for effect in wanted if isinstance(effect, effects.Report)] == [*problems]
    check_row(engine, (0.1, LoadFailed(problems, 78), ()))


def test_an_internal_error_while_the_file_is_read_ends_with_70() -> None:
    """There is nothing to stop."""
    check_row(Supervisor(), (0.0, Broken("internal errors keep coming"), ("exit 70",)))


def test_the_same_plan_again_changes_nothing() -> None:
    """A reload of a file that is as it was."""
    engine = Supervisor()
    for row in _STARTED:
        check_row(engine, row)
    check_row(engine, (1.0, Loaded(_ALONE), ("says reload: nothing has changed",)))


def test_the_end_comes_once() -> None:
    """After Exit nothing is wanted any more, whatever is told."""
    engine = Supervisor()
    check_row(engine, (0.0, Loaded(_ALONE), ("prepare", "spawn web")))
    check_row(engine, (0.0, SpawnFailed("web", "no room", 71), ("sweep",)))
    check_row(engine, (0.0, Swept(), ("exit 71",)))
    for event in (Swept(), StopRequested(TERM), StopRequested(TERM), Due()):
        check_row(engine, (1.0, event, ()))
    assert engine.deadline() is None


def test_a_due_that_comes_too_early_changes_nothing() -> None:
    """The loop may wake for the probes' sake: only the engine's own deadline counts."""
    engine = Supervisor()
    for row in _STARTED:
        check_row(engine, row)
    assert engine.deadline() is None
    check_row(engine, (5.0, Due(), ()))


def test_what_cannot_happen_is_called_a_bug() -> None:
    """A fact that breaks the reactor's promises raises, so that it is seen."""
    engine = Supervisor()
    for row in _STARTED:
        check_row(engine, row)
    with pytest.raises(ImpossibleFactError, match="spawned"):
        engine.step(up("web"), 1.0)


def test_a_successor_knows_what_an_older_program_did_not_write() -> None:
    """A field that is missing in the handed-over state keeps its first value."""
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
    """Nothing has to be asked of it."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("db"), service("web", Dependency("db", condition)))), 0.0)
    check_row(engine, (0.1, up("db"), ("spawn web",)))
