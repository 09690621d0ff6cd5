"""The engine before it has a Plan, after the end, and with events that cannot occur."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cohabit.engine import effects, machine
from cohabit.engine.events import (
    Broken,
    Due,
    Exited,
    HookEnded,
    Loaded,
    LoadFailed,
    Probed,
    StopRequested,
    Swept,
)
from cohabit.engine.machine import ImpossibleEventError
from cohabit.engine.supervisor import Supervisor
from cohabit.plan import reason as reasons
from cohabit.plan.model import HEALTHY, STARTED, Dependency, Hook, Probe, Restart
from cohabit.plan.reason import Reason
from cohabit.plan.reason_text import text_of
from unit.engine_story import PROBE, TERM, check_row, completed, in_short, plan, reexecuted, service, start_failed, up

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
    check_row(engine, (0.0, start_failed("web", "no room", 71), ("sweep",)))
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
    del plain["units"][0]["run"]["ran_seconds"]
    successor = Supervisor()
    successor.restore(engine.plan, plain)
    assert successor.units["web"].run.ran_seconds == 0.0
    check_row(successor, (2.0, StopRequested(TERM), ("signal web TERM",)))


@pytest.mark.parametrize("condition", [STARTED, HEALTHY])
def test_a_service_without_a_probe_is_ready_when_it_runs(condition: str) -> None:
    """Its dependents start when its exec has succeeded."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("db"), service("web", Dependency("db", condition)))), 0.0)
    check_row(engine, (0.1, up("db"), ("spawn web",)))


_UNWELL = "not ready, it waits for the cache"
_RESTARTED = Probe("exec", command=("check",), interval_seconds=0.1, retries=1, on_failure="restart")
_LIKE_A_REFUSAL = service("web", probe=_RESTARTED, restart=Restart("on-failure", 1), essential=False)


def test_a_reason_says_what_happened_and_not_what_a_probe_printed() -> None:
    """The probe of a service prints what reads like a refused start. The service was started twice, and given up."""
    engine = Supervisor()
    engine.step(Loaded(plan(_LIKE_A_REFUSAL, service("db"), service("api", "web"))), 0.0)
    engine.step(up("db"), 0.0)
    for now in (1.0, 2.0):
        engine.step(up("web"), now)
        engine.step(Probed("web", False, _UNWELL), now + 0.2)
        assert engine.units["web"].run.reason == Reason(reasons.UNHEALTHY, detail=_UNWELL)
        engine.step(Exited("web", 143), now + 0.3)
        engine = reexecuted(engine)
        engine.step(Due(), now + 0.5)
    web = engine.units["web"]
    assert (web.state, web.starts, web.run.reason) == (
        machine.FATAL, 2, Reason(reasons.UNHEALTHY, detail=_UNWELL, restarts=1),
    )  # fmt: skip
    ends = [entry[2] for entry in web.history.entries if entry[3] is not None]
    assert [reason and reason.kind for reason in ends] == [reasons.UNHEALTHY] * 2


def test_the_exit_reason_of_on_failure_exit_does_not_call_the_service_essential() -> None:
    """It is not; that it is unhealthy ends the container."""
    engine = Supervisor()
    web = _LIKE_A_REFUSAL.replace(probe=_RESTARTED.replace(on_failure="exit"))
    engine.step(Loaded(plan(web, service("db"))), 0.0)
    engine.step(up("web"), 0.0)
    engine.step(Probed("web", False, "refused"), 1.0)
    assert engine.ending.reason == Reason(
        reasons.SERVICE_ENDED,
        service="web",
        detail="on_failure: exit",
        cause=Reason(reasons.UNHEALTHY, detail="refused"),
    )
    assert text_of(engine.ending.reason) == "web unhealthy: refused (on_failure: exit)"


def test_a_chain_of_refused_services_has_the_reason_of_each() -> None:
    """Each has the reason of the one that it waits for."""
    engine = Supervisor()
    engine.step(
        Loaded(
            plan(
                service("a", job=True, essential=False),
                service("b", completed("a"), essential=False),
                service("c", "b", essential=False),
                service("d"),
            )
        ),
        0.0,
    )
    engine.step(up("a"), 0.0)
    engine.step(up("d"), 0.0)
    engine.step(Exited("a", 3), 2.0)
    ended = Reason(reasons.EXITED, 3, seconds=2.0)
    refused = Reason(reasons.DEPENDENCY_FAILED, service="a", cause=ended)
    assert [engine.units[name].run.reason for name in "abc"] == [
        ended, refused, Reason(reasons.DEPENDENCY_FAILED, service="b", cause=refused),
    ]  # fmt: skip


def test_a_stop_that_was_cut_short_in_a_hook_names_the_hook() -> None:
    """The reason has the hook that was still running when SIGKILL was sent, and does not say that it was too slow."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", pre_stop=(Hook(("one",)), Hook(("two",)))))), 0.0)
    engine.step(up("web"), 0.0)
    engine.step(StopRequested(TERM), 1.0)
    engine.step(HookEnded("web", 0), 1.5)
    check_row(engine, (2.0, StopRequested(TERM), ("kill web", "logs SIGTERM again: killing")))
    engine.step(Exited("web", 137), 2.1)
    assert engine.units["web"].run.reason == Reason(reasons.STOPPED_UNASKED, 137, 9, 2.1, "pre_stop", 1)


def test_a_result_at_the_time_of_the_next_probe_asks_once() -> None:
    """A late result, for example of a probe that a reload replaced, and the timer do not both ask."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", probe=PROBE.replace(start_interval_seconds=1.0)))), 0.0)
    assert "probe web" in [in_short(effect) for effect in engine.step(up("web"), 0.0)]
    engine.step(Probed("web", False), 0.2)
    assert "probe web" in [in_short(effect) for effect in engine.step(Probed("web", False), 1.0)]
    assert engine.step(Due(), 1.0) == []
