"""engine/requests.py: requests for single services; history, timeline and scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine.effects import Load, Signal, Spawn
from cohabit.engine.events import (
    Due,
    Exited,
    Loaded,
    LoadFailed,
    Probed,
    ReloadRequested,
    Requested,
    ScheduleDue,
    Spawned,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import HEALTHY, Dependency, Hook, Restart, Schedule
from cohabit.plan.reason import EXITED, FILES_CHANGED, Reason
from unit.engine_story import PROBE, TERM, checks_of, completed, healthy, plan, service, up

if TYPE_CHECKING:
    from unit.engine_story import Story

ALWAYS = Restart("always")
_DB = service("db", probe=PROBE)
_JOB = service("job", schedule=Schedule("* * * * *"), job=True, essential=False)
_RESTARTED_WITH_DB = Dependency("db", restart=True)


CHANGED = Reason(FILES_CHANGED, path="/a/x.py")


def stop(*names: str) -> Requested:
    """A stop request for these services."""
    return Requested("stop", names)


def start(*names: str) -> Requested:
    """A start request for these services."""
    return Requested("start", names)


_LAZY_CHANGED = service("lazy", autostart=False, essential=False).replace(command=("x",))
_LAZY = plan(service("web"), service("lazy", autostart=False, essential=False))

STORIES: dict[str, Story] = {
    "a service with autostart: false starts on request only, and again after its end": (
        _LAZY,
        (
            (0.0, up("web"), ()),
            (1.0, start("lazy"), ("spawn lazy",)),
            (1.1, up("lazy"), ()),
            (2.0, stop("lazy"), ("signal lazy TERM",)),
            (2.1, Exited("lazy", 143), ()),
            (3.0, start("lazy"), ("spawn lazy",)),
        ),
    ),
    "the container does not wait for a service that was never started": (
        plan(service("web", essential=False), service("lazy", autostart=False, essential=False)),
        (
            (0.0, up("web"), ()),
            (1.0, Exited("web", 0), ("sweep",)),
            (1.0, Swept(), ("exit 0", "logs all services have ended")),
        ),
    ),
    "a requested grace period replaces that of the file, for one stop": (
        plan(service("web", stop_grace_seconds=10.0)),
        (
            (0.0, up("web"), ()),
            (1.0, Requested("stop", ("web",), grace_seconds=3.0), ("signal web TERM",)),
            (4.0, Due(), ("kill web", "logs not stopped within the requested 3s")),
            (4.1, Exited("web", 137), ()),
            (5.0, start("web"), ("spawn web",)),
            (5.1, up("web"), ()),
            (6.0, stop("web"), ("signal web TERM",)),
            (16.0, Due(), ("kill web", "logs not stopped within its stop_grace_period of 10s")),
        ),
    ),
    "a second stop with another grace period gives the one in progress that time from now": (
        plan(service("web", stop_grace_seconds=60.0)),
        (
            (0.0, up("web"), ()),
            (1.0, stop("web"), ("signal web TERM",)),
            (5.0, Requested("stop", ("web",), grace_seconds=2.0), ()),
            (7.0, Due(), ("kill web", "logs not stopped within the requested 2s")),
        ),
    ),
    "a restart with a grace period": (
        plan(service("web", stop_grace_seconds=10.0)),
        (
            (0.0, up("web"), ()),
            (1.0, Requested("restart", ("web",), grace_seconds=1.0), ("signal web TERM",)),
            (2.0, Due(), ("kill web", "logs not stopped within the requested 1s")),
            (2.1, Exited("web", 137), ("spawn web",)),
        ),
    ),
    "a requested end with a grace period: of each service, and the total": (
        plan(service("web", stop_grace_seconds=2.0), total=9.0),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(15, "cohabit down", 20.0), ("signal web TERM",)),
            (10.0, Due(), ()),
            (21.0, Due(), ("kill web", "kill web", "logs the total of 20s (as requested): killing web")),
        ),
    ),
    "a reload to autostart: true starts it, and another change of a dormant service does not": (
        _LAZY,
        (
            (0.0, up("web"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (1.1, Loaded(plan(service("web"), _LAZY_CHANGED)), ("prepare",)),
            (2.0, ReloadRequested(), ("load",)),
            (2.1, Loaded(plan(service("web"), _LAZY_CHANGED.replace(autostart=True))), ("prepare", "spawn lazy")),
        ),
    ),
    "a service that is stopped on request stays down, and its end does not end the container": (
        plan(service("web", restart=ALWAYS)),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, Exited("web", 143), ("logs web: stopped: ended with SIGTERM",)),
            (60.0, Due(), ()),
        ),
    ),
    "a service that does not stop in its grace period is killed": (
        plan(service("web", stop_grace_seconds=2.0)),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (3.0, Due(), ("kill web", "logs not stopped within its stop_grace_period of 2s")),
            (3.1, Exited("web", 137), ("logs because it did not stop in time",)),
        ),
    ),
    "a stopped service starts again on request": (
        plan(service("web")),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, Exited("web", 143), ()),
            (2.0, start("web"), ("spawn web",)),
            (2.1, up("web"), ()),
            (2.2, Exited("web", 3), ("sweep", "logs web: ended with exit code 3")),
        ),
    ),
    "a start request during a stop starts the service when it is down": (
        plan(service("web")),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, start("web"), ()),
            (1.2, Exited("web", 0), ("spawn web",)),
        ),
    ),
    "a start starts the dependencies as well": (
        plan(_DB, service("web", healthy("db"))),
        (
            (0.1, up("db"), ("probe db",)),
            (0.2, Probed("db", passed=True), ("spawn web",)),
            (0.3, up("web"), ("all ready",)),
            (1.0, stop("web", "db"), ("signal web TERM",)),
            (1.1, Exited("web", 143), ("stop probe db", "signal db TERM")),
            (1.2, Exited("db", 0), ()),
            (2.0, start("web"), ("spawn db",)),
            (2.1, up("db"), ("probe db",)),
            (2.2, Probed("db", passed=True), ("spawn web",)),
        ),
    ),
    "a completed job does not run again when a dependent is started": (
        plan(service("job", job=True, essential=False), service("web", completed("job"))),
        (
            (0.1, up("job"), ()),
            (0.2, Exited("job", 0), ("spawn web",)),
            (0.3, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, Exited("web", 0), ()),
            (2.0, start("web"), ("spawn web",)),
        ),
    ),
    "a start does not wait for the back-off": (
        plan(service("web", restart=ALWAYS)),
        (
            (0.1, up("web"), ("all ready",)),
            (0.2, Exited("web", 1), ("logs starting again in 100ms",)),
            (0.21, start("web"), ("spawn web",)),
            (0.3, up("web"), ()),
            (0.31, Exited("web", 1), ("logs starting again in 100ms (restart 1)",)),
        ),
    ),
    "a stop ends the back-off": (
        plan(service("web", restart=ALWAYS)),
        (
            (0.1, up("web"), ("all ready",)),
            (0.2, Exited("web", 1), ()),
            (0.21, stop("web"), ()),
            (60.0, Due(), ()),
        ),
    ),
    "a service that was given up starts on request": (
        plan(service("web", restart=Restart("on-failure", attempts=0), essential=False), service("db")),
        (
            (0.1, up("web"), ()),
            (0.1, up("db"), ("all ready",)),
            (0.2, Exited("web", 1), ("logs given up after 0 restarts",)),
            (5.0, start("web"), ("spawn web",)),
        ),
    ),
    "changed files restart what runs or was given up, but not what is down on request": (
        plan(service("db", restart=Restart("on-failure", attempts=0), essential=False), service("web"), service("api")),
        (
            (0.1, up("db"), ()),
            (0.1, up("web"), ()),
            (0.1, up("api"), ("all ready",)),
            (0.2, Exited("db", 1), ("logs given up after 0 restarts",)),
            (0.3, stop("api"), ("signal api TERM",)),
            (0.4, Exited("api", 143), ()),
            (
                1.0,
                Requested("restart", ("db", "web", "api"), cause=CHANGED),
                ("spawn db", "signal web TERM", "logs restarting it: files changed: /a/x.py"),
            ),
            (1.1, Exited("web", 143), ("spawn web",)),
        ),
    ),
    "a restart is a stop and a start, in the order of the dependencies": (
        plan(service("db"), service("web", "db")),
        (
            (0.1, up("db"), ("spawn web",)),
            (0.2, up("web"), ("all ready",)),
            (1.0, Requested("restart", ("db", "web")), ("signal web TERM",)),
            (1.1, Exited("web", 143), ("signal db TERM",)),
            (1.2, Exited("db", 0), ("spawn db",)),
            (1.3, up("db"), ("spawn web",)),
        ),
    ),
    "a restart of a service that is down starts it": (
        plan(service("web")),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, Exited("web", 143), ()),
            (2.0, Requested("restart", ("web",)), ("spawn web",)),
        ),
    ),
    "a kill ends the whole process tree, and the service stays down": (
        plan(service("web", restart=ALWAYS)),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, Requested("kill", ("web",)), ("kill web",)),
            (1.1, Exited("web", 137), ("logs web: stopped: killed on request",)),
            (60.0, Due(), ()),
        ),
    ),
    "a signal goes to the main process and has no other effect": (
        plan(service("web", restart=ALWAYS)),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, Requested("signal", ("web",), 1), ("signal web HUP",)),
            (1.1, Exited("web", 129), ("logs starting again",)),
            (1.1, Requested("signal", ("web",), 1), ()),
        ),
    ),
    "a scheduled job runs at once on request, and at its next time as well": (
        plan(service("web"), _JOB),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, start("job"), ("spawn job",)),
            (1.1, up("job"), ()),
            (1.2, Exited("job", 0), ()),
            (60.0, ScheduleDue("job"), ("spawn job",)),
        ),
    ),
    "requests for an unknown service, or during the end, are ignored": (
        plan(service("web")),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("unknown"), ()),
            (2.0, StopRequested(TERM), ("signal web TERM",)),
            (2.1, Requested("restart", ("web",)), ()),
            (2.2, Exited("web", 0), ("sweep",)),
        ),
    ),
    "the container stops in order when a service is down already": (
        plan(service("db"), service("web", "db")),
        (
            (0.1, up("db"), ("spawn web",)),
            (0.2, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, Exited("web", 0), ()),
            (2.0, StopRequested(TERM), ("signal db TERM",)),
            (2.1, Exited("db", 0), ("sweep",)),
        ),
    ),
    "an essential service that ends by itself ends the container while another one is down on request": (
        plan(service("db"), service("web")),
        (
            (0.1, up("db"), ()),
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, Exited("web", 0), ()),
            (2.0, Exited("db", 4), ("sweep", "logs db: ended with exit code 4")),
        ),
    ),
    "a start starts the dependency first, even if that has run before": (
        plan(service("db"), service("web", "db")),
        (
            (0.1, up("db"), ("spawn web",)),
            (0.2, up("web"), ("all ready",)),
            (1.0, stop("web", "db"), ("signal web TERM",)),
            (1.1, Exited("web", 0), ("signal db TERM",)),
            (1.2, Exited("db", 0), ()),
            (2.0, start("web"), ("spawn db",)),
            (2.1, up("db"), ("spawn web",)),
        ),
    ),
    "a start starts the dependencies of waiting dependencies": (
        plan(service("db", probe=PROBE), service("api", healthy("db"), probe=PROBE), service("web", healthy("api"))),
        (
            (0.1, up("db"), ("probe db",)),
            (0.2, stop("db"), ("stop probe db", "signal db TERM")),
            (0.3, Exited("db", 0), ()),
            (1.0, start("web"), ("spawn db",)),
        ),
    ),
    "a start request while leftover processes are terminated starts the service when they are gone": (
        plan(service("web", essential=False), service("db")),
        (
            (0.1, up("web"), ()),
            (0.1, up("db"), ("all ready",)),
            (1.0, Exited("web", 1, orphans=True), ("signal tree web TERM",)),
            (1.1, start("web"), ()),
            (1.2, TreeGone("web"), ("spawn web",)),
            (1.3, up("web"), ()),
            (2.0, Exited("db", 0), ("signal web TERM",)),
        ),
    ),
    "a service that was stopped during a reload starts with the newest Plan": (
        plan(service("web")),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, ReloadRequested(), ("load",)),
            (1.1, Loaded(plan(service("web", stop_signal=2, environment={"A": "b"}))), ("prepare", "signal web TERM")),
            (1.2, stop("web"), ()),
            (1.3, Exited("web", 0), ()),
            (2.0, start("web"), ("spawn web",)),
            (2.1, up("web"), ()),
            (3.0, stop("web"), ("signal web INT",)),
        ),
    ),
    "a job that was stopped during a reload runs with the newest Plan at its next time": (
        plan(service("web"), _JOB),
        (
            (0.1, up("web"), ("all ready",)),
            (60.0, ScheduleDue("job"), ("spawn job",)),
            (60.1, up("job"), ()),
            (61.0, ReloadRequested(), ("load",)),
            (
                61.1,
                Loaded(plan(service("web"), _JOB.replace(environment={"A": "b"}, pre_start=(Hook(("x",)),)))),
                (
                    "prepare",
                    "signal job TERM",
                ),
            ),
            (61.2, stop("job"), ()),
            (61.3, Exited("job", 0), ()),
            (120.0, ScheduleDue("job"), ("pre_start 0 job",)),
        ),
    ),
    "a start request for a service that waits for its turn to stop starts it again when it is down": (
        plan(service("db"), service("web", "db")),
        (
            (0.1, up("db"), ("spawn web",)),
            (0.2, up("web"), ("all ready",)),
            (1.0, stop("web", "db"), ("signal web TERM",)),
            (1.1, start("db"), ()),
            (1.2, Exited("web", 0), ("signal db TERM",)),
            (1.3, Exited("db", 0), ("spawn db",)),
        ),
    ),
    "a start starts a dependency again that is being stopped": (
        plan(service("db"), service("web", "db")),
        (
            (0.1, up("db"), ("spawn web",)),
            (0.2, up("web"), ("all ready",)),
            (1.0, stop("web", "db"), ("signal web TERM",)),
            (1.1, Exited("web", 0), ("signal db TERM",)),
            (1.2, start("web"), ()),
            (1.3, Exited("db", 0), ("spawn db",)),
            (1.4, up("db"), ("spawn web",)),
        ),
    ),
    "a restart includes the dependents with restart: true that are not down on request": (
        plan(service("db"), service("web", _RESTARTED_WITH_DB), service("api", _RESTARTED_WITH_DB)),
        (
            (0.1, up("db"), ("spawn web", "spawn api")),
            (0.2, up("web"), ()),
            (0.2, up("api"), ("all ready",)),
            (1.0, stop("api"), ("signal api TERM",)),
            (1.1, Exited("api", 0), ()),
            (2.0, Requested("restart", ("db",)), ("signal web TERM",)),
            (2.1, Exited("web", 0), ("signal db TERM",)),
            (2.2, Exited("db", 0), ("spawn db",)),
            (2.3, up("db"), ("spawn web",)),
        ),
    ),
    "a restart of a service in back-off includes its dependents with restart: true": (
        plan(service("db", restart=ALWAYS), service("web", _RESTARTED_WITH_DB)),
        (
            (0.1, up("db"), ("spawn web",)),
            (0.2, up("web"), ("all ready",)),
            (1.0, Exited("db", 1), ()),
            (1.01, Requested("restart", ("db",)), ("signal web TERM", "spawn db")),
            (1.02, Exited("web", 0), ()),
            (1.03, up("db"), ("spawn web",)),
        ),
    ),
    "a restart starts a dependency that is down": (
        plan(service("web", healthy("db")), _DB),
        (
            (0.1, up("db"), ("probe db",)),
            (0.2, Probed("db", passed=True), ("spawn web",)),
            (0.3, up("web"), ("all ready",)),
            (1.0, stop("db"), ("stop probe db", "signal db TERM")),
            (1.1, Exited("db", 0), ()),
            (2.0, Requested("restart", ("web",)), ("signal web TERM", "spawn db")),
            (2.1, Exited("web", 0), ()),
            (2.2, up("db"), ("probe db",)),
            (2.3, Probed("db", passed=True), ("spawn web",)),
        ),
    ),
    "a scheduled job that is running restarts at once": (
        plan(service("web"), _JOB),
        (
            (0.1, up("web"), ("all ready",)),
            (60.0, ScheduleDue("job"), ("spawn job",)),
            (60.1, up("job"), ()),
            (61.0, Requested("restart", ("job",)), ("signal job TERM",)),
            (61.1, Exited("job", 143), ("spawn job",)),
            (61.2, up("job"), ()),
            (62.0, stop("job"), ("signal job TERM",)),
            (62.1, start("job"), ()),
            (62.2, Exited("job", 143), ("spawn job",)),
        ),
    ),
    "a stop ends the run of a scheduled job, not its schedule": (
        plan(service("web"), _JOB),
        (
            (0.1, up("web"), ("all ready",)),
            (60.0, ScheduleDue("job"), ("spawn job",)),
            (60.1, up("job"), ()),
            (61.0, stop("job"), ("signal job TERM",)),
            (61.1, Exited("job", 143), ()),
            (120.0, ScheduleDue("job"), ("spawn job",)),
        ),
    ),
    "a removed service that is still running can be signalled and killed, but not started": (
        plan(service("db"), service("web")),
        (
            (0.1, up("db"), ()),
            (0.1, up("web"), ("all ready",)),
            (1.0, ReloadRequested(), ("load",)),
            (1.1, Loaded(plan(service("db"))), ("prepare", "signal web TERM")),
            (1.2, Requested("start", ("web",)), ()),
            (1.2, Requested("signal", ("web",), 1), ("signal web HUP",)),
            (1.3, Requested("kill", ("web",)), ("kill web",)),
            (1.4, Exited("web", 137), ("forget web",)),
        ),
    ),
    "a dependency with required: false that is down on request does not prevent the start": (
        plan(_DB, service("web", Dependency("db", HEALTHY, required=False))),
        (
            (0.1, up("db"), ("probe db",)),
            (0.2, stop("db"), ("stop probe db", "signal db TERM")),
            (0.3, Exited("db", 0), ("spawn web",)),
        ),
    ),
    "a service whose exec succeeds during its stop satisfies service_started": (
        plan(service("db"), service("web", "db")),
        (
            (0.0, stop("db"), ("signal db TERM",)),
            (0.1, up("db"), ("spawn web",)),
            (0.2, Exited("db", 143), ()),
        ),
    ),
}

test_story, test_reexecution, test_deadlines = checks_of(STORIES)


def test_history_and_timeline() -> None:
    """The history has the last 32 events, the timeline the events of the first start."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", probe=PROBE, restart=ALWAYS))), 0.0)
    engine.step(up("web"), 1.0)
    engine.step(Probed("web", passed=True), 2.0)
    engine.step(Exited("web", 3), 5.0)
    unit = engine.units["web"]
    first = [(0.0, "wanted"), (0.0, "STARTING"), (1.0, "RUNNING"), (2.0, "ready"), (5.0, "BACKOFF")]
    assert unit.history.timeline == first
    assert unit.history.entries == [
        (0.0, "wanted", None, None, "STOPPED", 0, True, 0),
        (0.0, "STARTING", None, None, "STOPPED", 0, True, 0),
        (1.0, "RUNNING", None, None, "STARTING", 100, True, 0),
        (2.0, "ready", None, None, "RUNNING", 100, True, 0),
        (5.0, "BACKOFF", Reason(EXITED, 3, seconds=4.0), 3, "RUNNING", 100, False, 0),
    ]
    assert unit.history.since == 5.0
    for number in range(1000):
        engine.step(Requested("restart", ("web",)), 6.0 + number)
        engine.step(up("web"), 6.0 + number)
        engine.step(Exited("web", 3), 6.5 + number)
    assert len(unit.history.entries) == 32
    assert unit.history.timeline == [*first, (6.0, "STOPPED")]


def test_a_long_first_start_keeps_its_first_events_and_the_last_one() -> None:
    """A service that crashes all the time has no start that is complete."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", restart=ALWAYS))), 0.0)
    for _ in range(20):
        now = engine.deadline() or 0.0
        engine.step(Due(), now)
        engine.step(up("web"), now)
        engine.step(Exited("web", 3), now + 0.5)
    history = engine.units["web"].history
    assert len(history.timeline) == 32
    assert history.timeline[:4] == [(0.0, "wanted"), (0.0, "STARTING"), (0.0, "RUNNING"), (0.0, "ready")]
    assert history.timeline[-1] == (now + 0.5, "BACKOFF")


def test_what_happens_after_a_stable_run_is_not_part_of_the_first_start() -> None:
    """However often it crashes and is restarted later."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", restart=ALWAYS))), 0.0)
    engine.step(up("web"), 1.0)
    timeline = [(0.0, "wanted"), (0.0, "STARTING"), (1.0, "RUNNING"), (1.0, "ready")]
    for number in range(20):
        engine.step(Exited("web", 3), 11.0 + number)
        engine.step(Due(), 11.5 + number)
        engine.step(Requested("restart", ("web",)), 11.5 + number)
        engine.step(up("web"), 11.6 + number)
        assert engine.units["web"].history.timeline == timeline


def test_the_timeline_of_a_job_ends_with_its_completion() -> None:
    """Its dependents wait for its completion, so running is not the end of its start."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("job", job=True), service("web", completed("job")))), 0.0)
    engine.step(up("job"), 1.0)
    engine.step(Exited("job", 0), 5.0)
    assert engine.units["job"].history.timeline == [
        (0.0, "wanted"),
        (0.0, "STARTING"),
        (1.0, "RUNNING"),
        (5.0, "EXITED"),
    ]


def test_the_same_state_twice_is_recorded_once() -> None:
    """A service that leaves processes behind stays in STOPPING."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web"))), 0.0)
    engine.step(up("web"), 1.0)
    engine.step(stop("web"), 2.0)
    engine.step(Exited("web", 0, orphans=True), 3.0)
    assert [entry[1] for entry in engine.units["web"].history.entries].count("STOPPING") == 1


def test_scale_is_kept_only_after_a_successful_read() -> None:
    """Numbers of replicas that led to a Plan apply to later reads; others are dropped."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web"))), 0.0)
    assert engine.step(ReloadRequested({"web": 2}), 1.0)[-1].scale == {"web": 2}  # type: ignore[union-attr]
    engine.step(Loaded(plan(service("web-1"), service("web-2"))), 1.1)
    assert engine.step(ReloadRequested(), 2.0)[-1].scale == {"web": 2}  # type: ignore[union-attr]
    engine.step(Loaded(plan(service("web-1"), service("web-2"))), 2.1)
    engine.step(ReloadRequested({"web": 999_999}), 3.0)
    engine.step(LoadFailed(("too many",), 78), 3.1)
    assert (engine.reading.messages, engine.reading.code, engine.reading.count) == (("too many",), 78, 4)
    assert engine.step(ReloadRequested(), 4.0)[-1].scale == {"web": 2}  # type: ignore[union-attr]


def test_a_scale_request_during_a_read_applies_to_the_next_read() -> None:
    """When one of two scale requests fails, the other one still applies."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web"))), 0.0)
    engine.step(ReloadRequested({"web": 2}), 1.0)
    engine.step(ReloadRequested({"db": 999_999}), 1.1)
    assert Load({"web": 2, "db": 999_999}, ("db",)) in engine.step(
        Loaded(plan(service("web-1"), service("web-2"))), 1.2
    )
    engine.step(ReloadRequested({"api": 3}), 1.3)
    assert Load({"web": 2, "api": 3}, ("api",)) in engine.step(LoadFailed(("too many",), 78), 1.4)


def test_a_reload_that_restarts_all() -> None:
    """Each runs anew from the new file, also one that ended or is unchanged; one without autostart stays down."""
    engine = Supervisor()
    web, job, late = (
        service(name, essential=False, ends_on_success=False, autostart=name != "late")
        for name in ("web", "job", "late")
    )
    engine.step(Loaded(plan(web, job, late).replace(stays=True)), 0.0)
    for name in ("web", "job"):
        engine.step(Spawned(name, 7), 0.0)
    engine.step(Exited("job", 0), 1.0)
    engine.step(Requested("start", ("late",)), 1.0)
    engine.step(Spawned("late", 8), 1.0)
    assert Load() in engine.step(ReloadRequested(restart=True), 2.0)
    changed = web.replace(command=("other",))
    found = engine.step(Loaded(plan(changed, job, late).replace(stays=True)), 2.1)
    assert {Signal("web", 15), Spawn(job), Signal("late", 15)} <= set(found)
    assert Spawn(changed) in engine.step(Exited("web", 143), 2.2)
    engine.step(Exited("late", 143), 2.2)
    assert {name: unit.state for name, unit in engine.units.items()} == {
        "web": "STARTING", "job": "STARTING", "late": "STOPPED",
    }  # fmt: skip
    engine.step(ReloadRequested(), 3.0)
    found = engine.step(Loaded(plan(changed, job, late).replace(stays=True)), 3.1)
    assert not any(isinstance(effect, (Spawn, Signal)) for effect in found)


def test_a_restart_of_all_that_is_requested_during_a_read() -> None:
    """It follows the next read; a file with errors changes nothing, and the request is done."""
    engine = Supervisor()
    web = service("web")
    engine.step(Loaded(plan(web)), 0.0)
    engine.step(Spawned("web", 7), 0.0)
    engine.step(ReloadRequested(), 1.0)
    engine.step(ReloadRequested(restart=True), 1.1)
    assert Signal("web", 15) not in engine.step(Loaded(plan(web)), 1.2)
    assert Signal("web", 15) in engine.step(Loaded(plan(web)), 1.3)
    engine.step(Exited("web", 143), 1.4)
    engine.step(Spawned("web", 8), 1.4)
    engine.step(ReloadRequested(restart=True), 2.0)
    engine.step(LoadFailed(("x",), 78), 2.1)
    engine.step(ReloadRequested(), 3.0)
    assert Signal("web", 15) not in engine.step(Loaded(plan(web)), 3.1)
