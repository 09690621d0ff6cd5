"""Transitions and runs: what a change of state records, and that a start begins with nothing of the run before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cohabit.engine import machine
from cohabit.engine.events import Due, Exited, Loaded, Probed, Requested, ScheduleDue, StopRequested
from cohabit.engine.run import GONE, PENDING, Run, Stop
from cohabit.engine.supervisor import Supervisor
from cohabit.plan import reason as reasons
from cohabit.plan.model import Restart, Schedule
from cohabit.plan.reason import Reason
from unit.engine_story import PROBE, TERM, completed, plan, reexecuted, service, start_failed, up

if TYPE_CHECKING:
    from cohabit.engine.transition import History

ALWAYS = Restart("always")


def _recorded(engine: Supervisor) -> list[tuple[str, str, str, int, bool, str]]:
    """The transitions of the last step: event, before, after, pid, expected, kind of the reason."""
    return [
        (each.event, each.before, each.after, each.pid, each.expected, each.reason.kind if each.reason else "")
        for each in engine.services.transitions
    ]


def _values(run: Run) -> dict[str, object]:
    return {name: getattr(run, name) for name in Run.__slots__}


def test_a_start_makes_a_new_run() -> None:
    """Nothing of the run before is left, whatever it was."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", restart=ALWAYS))), 0.0)
    engine.step(up("web"), 1.0)
    before = engine.units["web"].run
    for name in Run.__slots__:
        setattr(before, name, Stop(asked=False) if name == "stop" else getattr(before, name) or 7)
    before.reason, before.hook_stage = Reason(reasons.UNHEALTHY), ""
    engine.step(Exited("web", 1, out_of_memory=True), 2.0)
    assert engine.units["web"].run is before
    engine.step(Due(), 2.1)
    after = engine.units["web"].run
    assert after is not before
    assert _values(after) == _values(Run(2.1, PENDING))


def test_every_change_of_a_state_is_recorded_with_both_states() -> None:
    """With the main process, and with whether it was a failure."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", restart=ALWAYS))), 0.0)
    assert ("STARTING", "STOPPED", "STARTING", 0, True, "") in _recorded(engine)
    engine.step(up("web"), 1.0)
    assert _recorded(engine)[0] == ("RUNNING", "STARTING", "RUNNING", 100, True, "")
    engine.step(Exited("web", 3), 2.0)
    assert _recorded(engine) == [("BACKOFF", "RUNNING", "BACKOFF", 100, False, "exited")]
    engine.step(Due(), 3.0)
    assert _recorded(engine) == [("STARTING", "BACKOFF", "STARTING", 0, True, "")]
    engine.step(start_failed("web", "no memory", 71), 4.0)
    assert _recorded(engine) == [("BACKOFF", "STARTING", "BACKOFF", 0, False, "cannot-start")]
    engine.step(Due(), 5.0)
    engine.step(up("web"), 6.0)
    engine.step(Exited("web", 0), 7.0)
    assert _recorded(engine) == [("BACKOFF", "RUNNING", "BACKOFF", 100, True, "exited")]


def test_a_kill_and_a_requested_end_are_recorded_too() -> None:
    """A service that was stopped on request did not fail, even if it was killed."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web"), service("db"))), 0.0)
    engine.step(up("web"), 1.0)
    engine.step(Requested("kill", ("web",)), 2.0)
    assert _recorded(engine) == [("STOPPING", "RUNNING", "STOPPING", 100, True, "")]
    engine.step(Exited("web", 137), 3.0)
    assert _recorded(engine) == [("STOPPED", "STOPPING", "STOPPED", 100, True, "killed-on-request")]


@pytest.mark.parametrize("state", machine.STATES)
def test_a_kill_is_for_states_with_processes(state: str) -> None:
    """It leads to STOPPING, and changes nothing at rest."""
    expected = machine.STAY if state in machine.AT_REST else machine.STOPPING
    assert machine.next_state(state, machine.KILL) == expected


def _counters(history: History) -> tuple[int, int, dict[str, int]]:
    return history.starts, history.restarts, history.exits


def test_counters_never_decrease() -> None:
    """Unlike the numbers of the current series of restarts, which a request resets."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", restart=ALWAYS, probe=PROBE))), 0.0)
    engine.step(up("web"), 1.0)
    engine.step(Probed("web", passed=True), 1.5)
    engine.step(Exited("web", 3), 2.0)
    engine.step(Due(), 3.0)
    engine.step(up("web"), 4.0)
    engine.step(Probed("web", passed=False, output="refused"), 4.5)
    engine.step(Exited("web", 139), 5.0)
    engine = reexecuted(engine)
    web = engine.units["web"]
    counted = (2, 1, {"exited": 1, "killed-by-signal": 1})
    assert (_counters(web.history), web.health.passed, web.health.failed) == (counted, 1, 1)
    engine.step(Requested("restart", ("web",)), 5.0)
    assert (web.starts, web.restarts, _counters(web.history)) == (0, 0, counted)
    engine.step(up("web"), 6.0)
    assert _counters(web.history) == (3, 1, counted[2])  # on request: no restart of its policy


def test_a_refused_start_has_nothing_of_the_last_run() -> None:
    """The kernel killed the last run of a job; now a dependency has failed."""
    engine = Supervisor()
    job = service("job", completed("setup"), schedule=Schedule("* * * * *"), essential=False)
    setup = service("setup", essential=False, job=True)
    engine.step(Loaded(plan(setup, job, service("web"))), 0.0)
    engine.step(up("web"), 0.0)
    engine.step(up("setup"), 0.0)
    engine.step(Exited("setup", 0), 1.0)
    engine.step(ScheduleDue("job"), 60.0)
    engine.step(up("job"), 60.0)
    engine.step(Exited("job", 137, out_of_memory=True), 61.0)
    assert engine.units["job"].run.out_of_memory
    engine.step(Requested("restart", ("setup",)), 62.0)
    engine.step(up("setup"), 62.0)
    engine.step(Exited("setup", 3), 63.0)
    engine.step(ScheduleDue("job"), 120.0)
    unit = engine.units["job"]
    assert (unit.state, unit.run.reason and unit.run.reason.kind) == (machine.FATAL, reasons.DEPENDENCY_FAILED)
    assert (unit.run.out_of_memory, unit.run.process, unit.run.started_at) == (False, GONE, 60.0)


@pytest.mark.parametrize("on_failure", ["exit", "none"])
def test_on_failure_exit_is_known_from_the_run(on_failure: str) -> None:
    """And not from its state: an unhealthy service without it does not end the container."""
    engine = Supervisor()
    probe = PROBE.replace(retries=1, on_failure=on_failure)
    engine.step(Loaded(plan(service("web", probe=probe, essential=False), service("db"))), 0.0)
    engine.step(up("db"), 0.0)
    engine.step(up("web"), 0.0)
    engine.step(Probed("web", passed=True), 1.0)
    engine.step(Probed("web", passed=False), 31.0)
    assert engine.units["web"].run.on_failure == ("exit" if on_failure == "exit" else "")
    assert engine.phase == ("stopping" if on_failure == "exit" else "up")


def test_a_run_crosses_a_reexecution_with_every_field() -> None:
    """As plain values."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web"))), 0.0)
    engine.step(up("web"), 1.0)
    engine.step(StopRequested(TERM), 2.0)
    run = engine.units["web"].run
    for number, name in enumerate(Run.__slots__, 1):
        if name not in {"reason", "stop", "process"}:
            setattr(run, name, number)
    run.reason, run.stop = Reason(reasons.UNHEALTHY), Stop(asked=False)
    run.stop.blocked_hook, run.stop.killed, run.stop.share = 2, True, 4.5
    before, after = _values(run), _values(reexecuted(engine).units["web"].run)
    stop = after.pop("stop")
    assert isinstance(stop, Stop)
    assert (stop.asked, stop.blocked_hook, stop.killed, stop.share) == (False, 2, True, 4.5)
    assert after == {name: value for name, value in before.items() if name != "stop"}
