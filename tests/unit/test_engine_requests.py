"""engine/requests.py: what somebody may ask of single services, and what is remembered of what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine.effects import Load
from cohabit.engine.events import (
    Due,
    Exited,
    Loaded,
    LoadFailed,
    Probed,
    ReloadRequested,
    Requested,
    ScheduleDue,
    StopRequested,
    TreeGone,
)
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import HEALTHY, Dependency, Hook, Restart, Schedule
from unit.engine_story import PROBE, TERM, checks_of, completed, healthy, plan, service, up

if TYPE_CHECKING:
    from unit.engine_story import Story

ALWAYS = Restart("always")
_DB = service("db", probe=PROBE)
_JOB = service("job", schedule=Schedule("* * * * *"), job=True, essential=False)
_GOES_ALONG = Dependency("db", restart=True)


def stop(*names: str) -> Requested:
    """Somebody wants these down."""
    return Requested("stop", names)


def start(*names: str) -> Requested:
    """Somebody wants these up."""
    return Requested("start", names)


STORIES: dict[str, Story] = {
    "what is stopped by request stays down, and its end is no reason for the container to end": (
        plan(service("web", restart=ALWAYS)),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, Exited("web", 143), ("says web: stopped: ended with SIGTERM",)),
            (60.0, Due(), ()),
        ),
    ),
    "what does not stop in its grace is killed": (
        plan(service("web", stop_grace_seconds=2.0)),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (3.0, Due(), ("kill web", "says not gone after its grace")),
            (3.1, Exited("web", 137), ("says having ignored SIGTERM",)),
        ),
    ),
    "what was stopped starts again when somebody asks for it": (
        plan(service("web")),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, Exited("web", 143), ()),
            (2.0, start("web"), ("spawn web",)),
            (2.1, up("web"), ()),
            (2.2, Exited("web", 3), ("sweep", "says web: ended with exit code 3")),
        ),
    ),
    "who is asked to start while he is being stopped starts when he is down": (
        plan(service("web")),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, start("web"), ()),
            (1.2, Exited("web", 0), ("spawn web",)),
        ),
    ),
    "a start starts what it depends on, too": (
        plan(_DB, service("web", healthy("db"))),
        (
            (0.1, up("db"), ("ask db",)),
            (0.2, Probed("db", passed=True), ("spawn web",)),
            (0.3, up("web"), ("all ready",)),
            (1.0, stop("web", "db"), ("signal web TERM",)),
            (1.1, Exited("web", 143), ("stop asking db", "signal db TERM")),
            (1.2, Exited("db", 0), ()),
            (2.0, start("web"), ("spawn db",)),
            (2.1, up("db"), ("ask db",)),
            (2.2, Probed("db", passed=True), ("spawn web",)),
        ),
    ),
    "a job that was done is not done again for those who waited for it": (
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
            (0.2, Exited("web", 1), ("says starting again in 100ms",)),
            (0.21, start("web"), ("spawn web",)),
            (0.3, up("web"), ()),
            (0.31, Exited("web", 1), ("says starting again in 100ms (restart 1)",)),
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
    "who was given up is started when somebody asks": (
        plan(service("web", restart=Restart("on-failure", attempts=0), essential=False), service("db")),
        (
            (0.1, up("web"), ()),
            (0.1, up("db"), ("all ready",)),
            (0.2, Exited("web", 1), ("says given up after 0 restarts",)),
            (5.0, start("web"), ("spawn web",)),
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
    "a restart of what is down starts it": (
        plan(service("web")),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, Exited("web", 143), ()),
            (2.0, Requested("restart", ("web",)), ("spawn web",)),
        ),
    ),
    "a kill ends the whole tree, and it stays down": (
        plan(service("web", restart=ALWAYS)),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, Requested("kill", ("web",)), ("kill web",)),
            (1.1, Exited("web", 137), ("says web: stopped: killed on request",)),
            (60.0, Due(), ()),
        ),
    ),
    "a signal goes to the main process, and means nothing else": (
        plan(service("web", restart=ALWAYS)),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, Requested("signal", ("web",), 1), ("signal web HUP",)),
            (1.1, Exited("web", 129), ("says starting again",)),
            (1.1, Requested("signal", ("web",), 1), ()),
        ),
    ),
    "a scheduled job runs at once when somebody asks, and at its next time as well": (
        plan(service("web"), _JOB),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, start("job"), ("spawn job",)),
            (1.1, up("job"), ()),
            (1.2, Exited("job", 0), ()),
            (60.0, ScheduleDue("job"), ("spawn job",)),
        ),
    ),
    "what is asked for of somebody unknown, or during the end, leads to nothing": (
        plan(service("web")),
        (
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("nobody"), ()),
            (2.0, StopRequested(TERM), ("signal web TERM",)),
            (2.1, Requested("restart", ("web",)), ()),
            (2.2, Exited("web", 0), ("sweep",)),
        ),
    ),
    "the end comes in order also when somebody is down already": (
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
    "the essential service that ends by itself ends the container, though another one is down by request": (
        plan(service("db"), service("web")),
        (
            (0.1, up("db"), ()),
            (0.1, up("web"), ("all ready",)),
            (1.0, stop("web"), ("signal web TERM",)),
            (1.1, Exited("web", 0), ()),
            (2.0, Exited("db", 4), ("sweep", "says db: ended with exit code 4")),
        ),
    ),
    "a start starts what it depends on first, though that has run before": (
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
    "a start starts also whom those wait for who wait already": (
        plan(service("db", probe=PROBE), service("api", healthy("db"), probe=PROBE), service("web", healthy("api"))),
        (
            (0.1, up("db"), ("ask db",)),
            (0.2, stop("db"), ("stop asking db", "signal db TERM")),
            (0.3, Exited("db", 0), ()),
            (1.0, start("web"), ("spawn db",)),
        ),
    ),
    "who is asked to start while what he left behind is ended starts when that is gone": (
        plan(service("web", essential=False), service("db")),
        (
            (0.1, up("web"), ()),
            (0.1, up("db"), ("all ready",)),
            (1.0, Exited("web", 1, orphans=True), ("ask the rest of web TERM",)),
            (1.1, start("web"), ()),
            (1.2, TreeGone("web"), ("spawn web",)),
            (1.3, up("web"), ()),
            (2.0, Exited("db", 0), ("signal web TERM",)),
        ),
    ),
    "what was stopped in the middle of a reload starts as the newest Plan has it": (
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
    "so does a job, at its next time": (
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
    "who is asked to start before his turn to stop has come runs again when he is down": (
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
    "a start starts again whom it depends on and who is being stopped": (
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
    "a restart brings along who wants that and is not down": (
        plan(service("db"), service("web", _GOES_ALONG), service("api", _GOES_ALONG)),
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
    "so does one of what is down itself": (
        plan(service("db", restart=ALWAYS), service("web", _GOES_ALONG)),
        (
            (0.1, up("db"), ("spawn web",)),
            (0.2, up("web"), ("all ready",)),
            (1.0, Exited("db", 1), ()),
            (1.01, Requested("restart", ("db",)), ("signal web TERM", "spawn db")),
            (1.02, Exited("web", 0), ()),
            (1.03, up("db"), ("spawn web",)),
        ),
    ),
    "a restart starts what it depends on, too": (
        plan(service("web", healthy("db")), _DB),
        (
            (0.1, up("db"), ("ask db",)),
            (0.2, Probed("db", passed=True), ("spawn web",)),
            (0.3, up("web"), ("all ready",)),
            (1.0, stop("db"), ("stop asking db", "signal db TERM")),
            (1.1, Exited("db", 0), ()),
            (2.0, Requested("restart", ("web",)), ("signal web TERM", "spawn db")),
            (2.1, Exited("web", 0), ()),
            (2.2, up("db"), ("ask db",)),
            (2.3, Probed("db", passed=True), ("spawn web",)),
        ),
    ),
    "a scheduled job that runs is restarted at once": (
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
    "a stop ends the run of a scheduled job and not its schedule": (
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
    "who is gone from the file and still lives can be signalled and killed, and not started": (
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
    "an optional dependency that is down by request holds nobody up": (
        plan(_DB, service("web", Dependency("db", HEALTHY, required=False))),
        (
            (0.1, up("db"), ("ask db",)),
            (0.2, stop("db"), ("stop asking db", "signal db TERM")),
            (0.3, Exited("db", 0), ("spawn web",)),
        ),
    ),
    "who was executed while he was being stopped was started, for those who wait for that": (
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
    """What happened to a service is kept, the last of it; of its first start everything until it was ready."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", probe=PROBE, restart=ALWAYS))), 0.0)
    engine.step(up("web"), 1.0)
    engine.step(Probed("web", passed=True), 2.0)
    engine.step(Exited("web", 3), 5.0)
    unit = engine.units["web"]
    assert unit.timeline == [(0.0, "wanted"), (0.0, "STARTING"), (1.0, "RUNNING"), (2.0, "ready")]
    assert unit.history == [
        (0.0, "wanted", "", None),
        (0.0, "STARTING", "", None),
        (1.0, "RUNNING", "", None),
        (2.0, "ready", "", None),
        (5.0, "BACKOFF", "ended with exit code 3 after 4s", 3),
    ]
    assert unit.since == 5.0
    for number in range(1000):
        engine.step(Requested("restart", ("web",)), 6.0 + number)
        engine.step(up("web"), 6.0 + number)
        engine.step(Exited("web", 3), 6.5 + number)
    assert len(unit.history) == 32


def test_the_start_of_a_job_is_over_when_its_work_is_done() -> None:
    """That it runs is what others wait for it to end."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("job", job=True), service("web", completed("job")))), 0.0)
    engine.step(up("job"), 1.0)
    engine.step(Exited("job", 0), 5.0)
    assert engine.units["job"].timeline == [(0.0, "wanted"), (0.0, "STARTING"), (1.0, "RUNNING"), (5.0, "EXITED")]


def test_the_same_state_twice_is_no_news() -> None:
    """A service that leaves others behind goes on stopping: that is told once."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web"))), 0.0)
    engine.step(up("web"), 1.0)
    engine.step(stop("web"), 2.0)
    engine.step(Exited("web", 0, orphans=True), 3.0)
    assert [event for _, event, _, _ in engine.units["web"].history].count("STOPPING") == 1


def test_scale_is_kept_by_good_readings_only() -> None:
    """Numbers of replicas that led to a Plan stay for later readings; those that did not are forgotten."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web"))), 0.0)
    assert engine.step(ReloadRequested({"web": 2}), 1.0)[-1].scale == {"web": 2}  # type: ignore[union-attr]
    engine.step(Loaded(plan(service("web-1"), service("web-2"))), 1.1)
    assert engine.step(ReloadRequested(), 2.0)[-1].scale == {"web": 2}  # type: ignore[union-attr]
    engine.step(Loaded(plan(service("web-1"), service("web-2"))), 2.1)
    engine.step(ReloadRequested({"web": 999_999}), 3.0)
    engine.step(LoadFailed(("too many",), 78), 3.1)
    assert (engine.read_told, engine.read_code, engine.reads) == (("too many",), 78, 4)
    assert engine.step(ReloadRequested(), 4.0)[-1].scale == {"web": 2}  # type: ignore[union-attr]


def test_scale_that_is_asked_for_during_a_reading_stands_and_falls_with_the_next() -> None:
    """Of two scales, one that fails takes nothing away from the other."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web"))), 0.0)
    engine.step(ReloadRequested({"web": 2}), 1.0)
    engine.step(ReloadRequested({"db": 999_999}), 1.1)
    assert Load({"web": 2, "db": 999_999}, ("db",)) in engine.step(
        Loaded(plan(service("web-1"), service("web-2"))), 1.2
    )
    engine.step(ReloadRequested({"api": 3}), 1.3)
    assert Load({"web": 2, "api": 3}, ("api",)) in engine.step(LoadFailed(("too many",), 78), 1.4)
