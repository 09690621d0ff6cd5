"""Programs of supervisord in the engine: startsecs, startretries, exitcodes, priority, and a container that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cohabit.api.conditions import liveness, readiness
from cohabit.engine import machine
from cohabit.engine.events import (
    Due,
    Exited,
    Gap,
    HookEnded,
    Loaded,
    Probed,
    Requested,
    SignalRefused,
    Spawned,
    StopRequested,
    TreeGone,
)
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Hook, Probe, Restart, Startup
from cohabit.plan.reason import (
    CANNOT_START,
    EXITED_TOO_QUICKLY,
    KILLED_BY_SIGNAL,
    SIGNAL_REFUSED,
    STOP_TIMED_OUT,
    Reason,
    end_of_run,
    exited_too_quickly,
)
from unit.engine_story import (
    PROBE,
    checks_of,
    healthy,
    plan,
    reexecuted,
    service,
    start_failed,
    up,
)

if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Plan, Service
    from unit.engine_story import Story

_ALWAYS = Restart("always", delay_seconds=0.0)
_UNEXPECTED = Restart("on-failure", delay_seconds=0.0)
_ONE_SECOND = Startup(1.0, 3)


def program(name: str = "web", *dependencies: Any, startup: Startup | None = _ONE_SECOND, **fields: Any) -> Service:
    """A program as supervisord has it by default: it does not end the container."""
    fields = {"restart": _UNEXPECTED, "essential": False, "ends_on_success": False, **fields}
    return service(name, *dependencies, startup=startup, **fields)


def staying(*services: Service) -> Plan:
    """The Plan of a supervisord.conf."""
    return plan(*services).replace(stays=True)


_STARTED = (
    (0.1, up("web"), ()),
    (1.1, Due(), ("logs web: counts as started",)),
)
_HOOK = (Hook(("x",)),)
_REPORTS = Probe("notify", retries=1, interval_seconds=5.0, on_failure="restart")
_STRICT = PROBE.replace(retries=1, interval_seconds=0.0, on_failure="restart")

STORIES: dict[str, Story] = {
    "three retries after 1, 2 and 3 seconds, then FATAL, whatever the policy and the code": (
        staying(program(restart=Restart("no"))),
        (
            (0.0, up("web"), ()),
            (0.0, Exited("web", 0), ("logs web: exited too quickly (process log may have details)",)),
            (1.0, Due(), ("spawn web",)),
            (1.0, up("web"), ()),
            (1.0, Exited("web", 0), ("logs starting again in 2s (start retry 2)",)),
            (3.0, Due(), ("spawn web",)),
            (3.0, up("web"), ()),
            (3.0, Exited("web", 1), ()),
            (6.0, Due(), ("spawn web",)),
            (6.0, up("web"), ()),
            (6.0, Exited("web", 1), ("logs given up after 3 start retries (startretries)",)),
            (60.0, Due(), ()),
        ),
    ),
    "a command that cannot be started is retried, too": (
        staying(program(startup=Startup(1.0, 1))),
        (
            (0.0, start_failed("web", "not found", 127), ("logs web: cannot start: not found",)),
            (1.0, Due(), ("spawn web",)),
            (1.0, start_failed("web", "not found", 127), ("logs given up after 1 start retry (startretries)",)),
            (60.0, Due(), ()),
        ),
    ),
    "without retries it is FATAL after the first": (
        staying(program(startup=Startup(1.0, 0))),
        ((0.0, up("web"), ()), (0.5, Exited("web", 0), ("logs given up after 0 start retries",)), (60.0, Due(), ())),
    ),
    "after its startsecs, the policy decides, and a restart is immediate": (
        staying(program(restart=_ALWAYS)),
        (*_STARTED, (1.2, Exited("web", 0), ()), (1.2, Due(), ("spawn web",)), (1.3, up("web"), ())),
    ),
    "an expected code is not restarted": (
        staying(program(restart=_UNEXPECTED.replace(expected_codes=(0, 2)))),
        (*_STARTED, (1.2, Exited("web", 2), ()), (60.0, Due(), ())),
    ),
    "a code that is not expected is": (
        staying(program(restart=_UNEXPECTED.replace(expected_codes=(2,)))),
        (*_STARTED, (1.2, Exited("web", 0), ()), (1.2, Due(), ("spawn web",))),
    ),
    "a signal death is never expected": (
        staying(program(restart=_UNEXPECTED.replace(expected_codes=(0, 143)))),
        (
            *_STARTED,
            (1.2, Exited("web", 143, by_signal=True), ()),
            (1.2, Due(), ("spawn web",)),
            (1.3, up("web"), ()),
            (2.3, Due(), ()),
            (9.0, Exited("web", 143), ()),
            (60.0, Due(), ()),
        ),
    ),
    "a run that counts as started resets the retries": (
        staying(program(startup=Startup(1.0, 1), restart=_ALWAYS)),
        (
            (0.0, up("web"), ()),
            (0.5, Exited("web", 0), ()),
            (1.5, Due(), ("spawn web",)),
            (1.5, up("web"), ()),
            (2.5, Due(), ()),
            (3.0, Exited("web", 0), ()),
            (3.0, Due(), ("spawn web",)),
            (3.0, up("web"), ()),
            (3.5, Exited("web", 0), ("logs starting again in 1s (start retry 1)",)),
            (4.5, Due(), ("spawn web",)),
        ),
    ),
    "a stop during the startsecs, and during BACKOFF": (
        staying(program()),
        (
            (0.0, up("web"), ()),
            (0.5, Requested("stop", ("web",)), ("signal web TERM",)),
            (2.0, Exited("web", 0), ("logs web: stopped: ended with exit code 0",)),
            (3.0, Requested("start", ("web",)), ("spawn web",)),
            (3.0, up("web"), ()),
            (3.5, Exited("web", 0), ("logs start retry 1",)),
            (4.0, Requested("stop", ("web",)), ()),
            (60.0, Due(), ()),
            (61.0, Requested("start", ("web",)), ("spawn web",)),
            (61.0, up("web"), ()),
            (61.5, Exited("web", 0), ("logs start retry 1",)),
            (61.6, Requested("start", ("web",)), ("spawn web",)),
            (61.6, up("web"), ()),
            (61.7, Exited("web", 0), ("logs start retry 1",)),
        ),
    ),
    "what a short run left behind is terminated first": (
        staying(program()),
        (
            (0.0, up("web"), ()),
            (0.5, Exited("web", 0, orphans=True), ("signal tree web TERM",)),
            (0.6, TreeGone("web"), ("logs start retry 1",)),
            (1.6, Due(), ("spawn web",)),
        ),
    ),
    "a post_start hook runs at once, and its failure is a failed start": (
        staying(program(post_start=_HOOK)),
        (
            (0.0, up("web"), ("post_start 0 web",)),
            (0.5, HookEnded("web", 3), ("signal web TERM",)),
            (0.6, Exited("web", 143, by_signal=True), ("logs start retry 1",)),
            (1.6, Due(), ("spawn web",)),
        ),
    ),
    "a pre_stop hook runs in the startsecs, too": (
        staying(program(pre_stop=_HOOK)),
        ((0.0, up("web"), ()), (0.5, Requested("stop", ("web",)), ("pre_stop 0 web",))),
    ),
    "service_started holds from the exec on, service_healthy only when it counts as started": (
        staying(program(probe=PROBE), service("api", "web"), service("app", healthy("web"))),
        (
            (0.0, up("web"), ("probe web", "spawn api")),
            (0.2, Probed("web", passed=True), ()),
            (1.0, Due(), ("logs web: ready", "spawn app")),
        ),
    ),
    "an unhealthy service is a failed start": (
        staying(program(startup=Startup(9.0, 3), probe=_STRICT)),
        (
            (0.0, up("web"), ("probe web",)),
            (1.0, Probed("web", passed=False), ("stop probe web", "signal web TERM")),
            (1.1, Exited("web", 0), ("logs web: unhealthy", "logs start retry 1")),
        ),
    ),
    "it is unhealthy in the moment in which it counts as started": (
        staying(program(startup=Startup(5.0, 3), probe=_REPORTS, stop_grace_seconds=3.0)),
        (
            (0.0, up("web"), ()),
            (5.0, Due(), ("stop probe web", "signal web TERM")),
            (8.0, Due(), ("kill web",)),
        ),
    ),
    "an end that is reported late counts by its time": (
        staying(program(restart=_ALWAYS)),
        ((0.0, up("web"), ()), (1.5, Exited("web", 0), ("logs web: counts as started",)), (1.5, Due(), ("spawn web",))),
    ),
    "a pause does not count": (
        staying(program()),
        (
            (0.0, up("web"), ()),
            (0.5, Requested("pause", ("web",)), ("pause web",)),
            (5.0, Due(), ()),
            (5.5, Requested("unpause", ("web",)), ("unpause web",)),
            (6.0, Due(), ("logs web: counts as started",)),
        ),
    ),
    "a time in which nothing ran does not count": (
        staying(program()),
        ((0.0, up("web"), ()), (3.0, Gap(2.0, 3.0), ()), (3.0, Due(), ("logs web: counts as started",))),
    ),
    "a reload changes the time of a start that is under way": (
        staying(program(startup=Startup(5.0, 3))),
        (
            (0.0, up("web"), ()),
            (1.0, Loaded(staying(program(startup=Startup(2.0, 3)))), ("prepare",)),
            (2.0, Due(), ("logs web: counts as started",)),
        ),
    ),
    "it is no longer a part of the file": (
        staying(program(startup=Startup(5.0, 3))),
        (
            (0.0, up("web"), ()),
            (0.0, Loaded(staying(program(startup=None))), ("prepare",)),
            (0.0, Due(), ("logs web: counts as started",)),
        ),
    ),
    "the container stays when no service is left, and ends on request": (
        staying(program(restart=Restart("no")), program("gone", startup=Startup(1.0, 0), restart=Restart("no"))),
        (
            (0.1, up("web"), ()),
            (0.1, up("gone"), ()),
            (0.2, Exited("gone", 1), ()),
            (1.1, Due(), ()),
            (2.0, Exited("web", 0), ()),
            (3.0, StopRequested(15), ("sweep",)),
        ),
    ),
    "the container stays without any service": (staying(), ((5.0, Due(), ()), (6.0, StopRequested(15), ("sweep",)))),
    "an essential program that is FATAL ends it, with a code that is not 0": (
        staying(program(essential=True, startup=Startup(1.0, 0)), program("other", startup=Startup(0.0))),
        (
            (0.0, up("other"), ()),
            (0.0, up("web"), ()),
            (0.5, Exited("web", 0), ("signal other TERM",)),
            (0.6, Exited("other", 0), ("sweep",)),
        ),
    ),
    "one that may end does so when only what does not count is left": (
        plan(program(restart=Restart("no")), program("gateway", startup=None, restart=_ALWAYS)).replace(
            beside=("gateway",)
        ),
        (
            (0.0, up("gateway"), ()),
            (0.0, up("web"), ()),
            (1.0, Due(), ()),
            (2.0, Exited("web", 3), ("signal gateway TERM",)),
            (2.1, Exited("gateway", 0), ("sweep",)),
        ),
    ),
    "a program that was stopped on request has not ended": (
        plan(program("web"), program("gateway", startup=None)).replace(beside=("gateway",)),
        (
            (0.0, up("gateway"), ()),
            (0.0, up("web"), ()),
            (1.0, Due(), ()),
            (2.0, Requested("stop", ("web",)), ("signal web TERM",)),
            (2.1, Exited("web", 0), ()),
        ),
    ),
    "the highest priority stops first, equal ones at once, and the next level when it is down": (
        staying(*(program(name, startup=Startup(0.0), priority=level) for name, level in
                  (("db", 1), ("web", 999), ("api", 999), ("listener", -1)))),
        (
            *((0.0, up(name), ()) for name in ("db", "web", "api", "listener")),
            (1.0, StopRequested(15), ("signal web TERM", "signal api TERM")),
            (1.1, Exited("api", 0), ()),
            (1.2, Exited("web", 0), ("signal db TERM",)),
            (1.3, Exited("db", 0), ("signal listener TERM",)),
            (1.4, Exited("listener", 0), ("sweep",)),
        ),
    ),
    "the order of the dependencies comes first": (
        staying(
            program("web", "db", startup=Startup(0.0), priority=1),
            program("db", startup=Startup(0.0), priority=3),
            program("other", startup=Startup(0.0), priority=2),
        ),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (0.0, up("other"), ()),
            (1.0, StopRequested(15), ("signal web TERM",)),
            (1.1, Exited("web", 0), ("signal db TERM",)),
            (1.2, Exited("db", 0), ("signal other TERM",)),
        ),
    ),
    "a level that does not stop has its share of the total": (
        staying(*(program(name, startup=Startup(0.0), priority=level) for name, level in (("db", 1), ("web", 2)))),
        (
            (0.0, up("db"), ()),
            (0.0, up("web"), ()),
            (1.0, StopRequested(15), ("signal web TERM",)),
            (5.5, Due(), ("kill web",)),
            (5.6, Exited("web", 137, by_signal=True), ("signal db TERM",)),
        ),
    ),
    "one that cannot be signalled does not hold up the others": (
        staying(*(program(name, startup=Startup(0.0), priority=level) for name, level in (("db", 1), ("web", 2)))),
        (
            (0.0, up("db"), ()),
            (0.0, up("web"), ()),
            (1.0, StopRequested(15), ("signal web TERM",)),
            (1.1, SignalRefused("web", Reason(SIGNAL_REFUSED, signal=15)), ("signal db TERM",)),
        ),
    ),
    "a level at rest is left out": (
        staying(program("db", startup=Startup(0.0), priority=1), program("web", priority=2)),
        (
            (0.0, up("db"), ()),
            (0.0, up("web"), ()),
            (0.5, Exited("web", 1), ()),
            (1.0, StopRequested(15), ("signal db TERM",)),
        ),
    ),
    "a stop of single services has no levels": (
        staying(*(program(name, startup=Startup(0.0), priority=level) for name, level in (("db", 1), ("web", 2)))),
        (
            (0.0, up("db"), ()),
            (0.0, up("web"), ()),
            (1.0, Requested("stop", ("db", "web")), ("signal db TERM", "signal web TERM")),
        ),
    ),
}  # fmt: skip

test_story, test_reexecution, test_deadlines = checks_of(STORIES)


def test_the_transitions_have_what_a_process_event_has() -> None:
    """The state before, the failed starts in a row, the pid, and whether the end was expected."""
    engine = Supervisor()
    engine.step(Loaded(staying(program(restart=_UNEXPECTED.replace(expected_codes=(2,))))), 0.0)
    rows = (
        Spawned("web", 7), Exited("web", 1), Due(),
        Spawned("web", 8), Due(), Exited("web", 0), Due(),
        Spawned("web", 9), Due(), Exited("web", 2),
    )  # fmt: skip
    found: list[tuple[str, str, int, int, bool]] = []
    now = 0.0
    for event in rows:
        now = engine.deadline() or now if isinstance(event, Due) else now
        engine = reexecuted(engine)
        engine.step(event, now)
        found += [
            (one.before, one.event, one.pid, one.tries, one.expected)
            for one in engine.services.transitions
            if one.service
        ]
    assert found == [
        ("STARTING", "spawned", 7, 0, True),
        ("STARTING", "BACKOFF", 7, 1, False),
        ("BACKOFF", "STARTING", 0, 1, True),
        ("STARTING", "spawned", 8, 0, True),
        ("STARTING", "RUNNING", 8, 0, True),
        ("RUNNING", "ready", 8, 0, True),
        ("RUNNING", "BACKOFF", 8, 0, False),
        ("BACKOFF", "STARTING", 0, 0, True),
        ("STARTING", "spawned", 9, 0, True),
        ("STARTING", "RUNNING", 9, 0, True),
        ("RUNNING", "ready", 9, 0, True),
        ("RUNNING", "EXITED", 9, 0, True),
    ]
    history = engine.units["web"].history
    assert (history.starts, history.restarts) == (3, 2)
    assert history.exits == {"exited-too-quickly": 1, "exited": 2}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Exited("web", 0), exited_too_quickly(end_of_run(0, 0.5), 1.0)),
        (Exited("web", 137, out_of_memory=True), exited_too_quickly(end_of_run(137, 0.5, out_of_memory=True), 1.0)),
        (start_failed("web", "no", 127), Reason(CANNOT_START, 127, cause=start_failed("web", "no", 127).cause)),
    ],
)
def test_the_reason_of_a_failed_start(event: Exited, reason: Reason) -> None:
    """It says how the run ended, and that it was too early; FATAL has the number of retries."""
    engine = Supervisor()
    engine.step(Loaded(staying(program(startup=Startup(1.0, 0)))), 0.0)
    if isinstance(event, Exited):
        engine.step(up("web"), 0.0)
    engine.step(event, 0.5)
    unit = engine.units["web"]
    assert (unit.state, unit.run.reason) == (machine.FATAL, reason.replace(restarts=0))
    assert unit.failure


def test_it_is_not_ready_before_it_counts_as_started() -> None:
    """All are ready when the last one counts as started. `start` waits for that."""
    engine = Supervisor()
    engine.step(Loaded(staying(program())), 0.0)
    engine.step(up("web"), 0.0)
    unit = engine.units["web"]
    assert (unit.state, unit.run.ready, unit.command_runs) == (machine.STARTING, False, True)
    assert not engine.announced
    engine.step(Due(), 1.0)
    assert (unit.state, unit.run.ready, engine.announced) == (machine.RUNNING, True, True)


def test_the_exit_code_is_that_of_the_first_failure() -> None:
    """Of the programs: a listener that failed before does not count."""
    engine = Supervisor()
    names = ("listener", "web", "app")
    services = (program(name, startup=Startup(0.0), restart=Restart("no")) for name in names)
    engine.step(Loaded(plan(*services).replace(beside=("listener",))), 0.0)
    for name in names:
        engine.step(up(name), 0.0)
    for name, code in (("listener", 9), ("app", 3), ("web", 4)):
        engine = reexecuted(engine)
        engine.step(Exited(name, code), 1.0)
    assert (engine.phase, engine.ending.code) == ("sweeping", 3)


def test_health_says_that_all_have_failed() -> None:
    """Of what counts, nothing runs, and nothing will; one that was stopped on request or not started may run."""
    engine = Supervisor()
    programs = [program(name, startup=Startup(1.0, 0)) for name in ("web", "app")]
    programs += [program("later", autostart=False), program("listener")]
    engine.step(Loaded(staying(*programs).replace(beside=("listener",))), 0.0)
    units = list(engine.units.values())

    def health() -> tuple[str, int, int]:
        ready = readiness(engine, units, {}, 0.0, named=False)
        return ready.text, ready.code, liveness(engine, units).code

    engine.step(start_failed("web", "no", 127), 0.0)
    engine.step(up("app"), 0.0)
    assert health() == ("ready: 0 services", 0, 0)
    engine.step(Exited("app", 1), 0.5)
    text = "all have failed: web cannot start: no; given up after 0 start retries (startretries) (and 1 more)"
    assert health() == (text, 1, 1)
    engine.step(Requested("start", ("app",)), 1.0)
    engine.step(up("app"), 1.0)
    engine.step(Due(), 2.0)
    assert health()[1:] == (0, 0)
    engine.step(Exited("app", 0), 3.0)
    text = "all have failed or ended: web cannot start: no; given up after 0 start retries (startretries)"
    assert health() == (text, 1, 1)


def test_a_kill_in_its_startsecs_is_a_stop() -> None:
    """A stop that times out has its own reason, not that of a failed start."""
    engine = Supervisor()
    engine.step(Loaded(staying(program(stop_grace_seconds=1.0, startup=Startup(9.0)))), 0.0)
    engine.step(up("web"), 0.0)
    engine.step(Requested("stop", ("web",)), 0.5)
    engine.step(Due(), 1.5)
    engine.step(Exited("web", 137, by_signal=True), 1.6)
    reason = engine.units["web"].run.reason
    assert reason is not None
    assert (engine.units["web"].state, reason.kind) == (machine.STOPPED, STOP_TIMED_OUT)


def test_a_signal_death_in_an_expected_code_is_a_failure() -> None:
    """A shell that exits with 143 was not killed by SIGTERM."""
    engine = Supervisor()
    engine.step(Loaded(staying(program(restart=Restart("no", expected_codes=(143,)), startup=Startup(0.0)))), 0.0)
    engine.step(up("web"), 0.0)
    engine.step(Exited("web", 143, by_signal=True), 1.0)
    unit = engine.units["web"]
    assert unit.run.reason is not None
    assert (unit.state, unit.failure, unit.succeeded, unit.run.reason.kind) == (
        machine.EXITED, True, False, KILLED_BY_SIGNAL,
    )  # fmt: skip
    assert unit.run.reason.kind != EXITED_TOO_QUICKLY


def test_a_program_without_startsecs_starts_once_a_second_at_most() -> None:
    """One that ends at once would otherwise keep process 1 busy; one that has run for a second starts again at once."""
    engine = Supervisor()
    engine.step(Loaded(plan(program(startup=Startup(0.0, 3), restart=_ALWAYS)).replace(stays=True)), 0.0)
    engine.step(Spawned("web", 7), 0.0)
    engine.step(Exited("web", 0), 0.25)
    assert engine.deadline() == 1.0
    engine.step(Due(), 1.0)
    engine.step(Spawned("web", 8), 1.0)
    engine.step(Exited("web", 0), 2.5)
    assert engine.deadline() == 2.5
