"""The rules of life as stories: what happens when, and what the engine wants done about it.

A story is a Plan and rows of (now, event, effects), in the words of engine_story.py. Every story is also told
with a re-execution of process 1 before each of its rows.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING

import pytest

from cohabit.engine import effects
from cohabit.engine.events import (
    Broken,
    Due,
    Exited,
    Loaded,
    LoadFailed,
    ProbePassed,
    Spawned,
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.machine import ImpossibleFactError
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import COMPLETED, HEALTHY, STARTED, Dependency, Plan, Probe, Restart, Service
from cohabit.plan.record import from_plain, to_plain
from cohabit.units import signal_name

if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event

    Row = tuple[float, Event, tuple[str, ...]]
    Story = tuple[Plan, tuple[Row, ...]]

from unit.engine_story import *
# --- the stories -------------------------------------------------------------------------------------

_WEB_AND_DB = plan(service("web", "db"), service("db"))
_ALONE = plan(service("web"))
_JOB = plan(service("migrate", essential=False), service("web", completed("migrate")))
_ALWAYS = plan(service("web", restart=Restart("always")))
_HELPER = plan(service("main"), service("helper", "main", essential=False))
_CHAINS = plan(service("db"), service("web", "db"), service("queue"), service("worker", "queue"))

_STARTED: tuple[Row, ...] = ((0.0, Loaded(_ALONE), ("prepare", "spawn web")), (0.1, up("web"), ()))

HISTORIES: dict[str, Story] = {
    "everything whose conditions hold starts at once": (
        plan(service("web", "db"), service("db"), service("cache")),
        (
            (0.0, up("cache"), ()),
            (0.1, up("db"), ("spawn web",)),
        ),
    ),
    "service_healthy waits for the probe, not for the start": (
        plan(service("db", probe=_PROBE), service("web", healthy("db"))),
        (
            (0.0, up("db"), ("probe db",)),
            (2.0, ProbePassed("db"), ("spawn web", "says db: ready")),
        ),
    ),
    "a probe that passed too late is no readiness": (
        plan(service("db", probe=_PROBE, restart=Restart("always")), service("web", healthy("db"))),
        (
            (0.0, up("db"), ("probe db",)),
            (1.0, Exited("db", 1), ("no probe db", "says starting again in 100ms (restart 1)")),
            (1.0, ProbePassed("db"), ()),
            (1.1, Due(), ("spawn db",)),
            (1.2, up("db"), ("probe db",)),
            (1.3, ProbePassed("db"), ("spawn web",)),
        ),
    ),
    "service_completed_successfully waits for a good end": (
        _JOB,
        (
            (0.0, up("migrate"), ()),
            (5.0, Exited("migrate", 0), ("spawn web",)),
        ),
    ),
    "the failure of a job reaches its dependents at once, with the reason and its own code": (
        _JOB,
        (
            (0.0, up("migrate"), ()),
            (
                5.0,
                Exited("migrate", 3),
                (
                    "sweep",
                    "says migrate: ended with exit code 3",
                    "says web: cannot start: it waits for migrate, which ended with exit code 3 after 5s",
                ),
            ),
            (5.0, Swept(), ("exit 3", "says web cannot start: it waits for migrate", "says [migrate]")),
        ),
    ),
    "a job that fails is tried again before its dependents hear of it": (
        plan(
            service("migrate", essential=False, restart=Restart("on-failure", 1)), service("web", completed("migrate"))
        ),
        (
            (0.0, up("migrate"), ()),
            (1.0, Exited("migrate", 3), ("says (restart 1)",)),
            (1.1, Due(), ("spawn migrate",)),
            (1.1, up("migrate"), ()),
            (2.0, Exited("migrate", 0), ("spawn web",)),
        ),
    ),
    "a lost dependency is noticed behind another one that may still come": (
        plan(
            service("slow", essential=False, probe=_PROBE),
            service("migrate", essential=False),
            service("web", healthy("slow"), completed("migrate")),
        ),
        (
            (0.0, up("slow"), ("probe slow",)),
            (0.0, up("migrate"), ()),
            (
                1.0,
                Exited("migrate", 4),
                ("no probe slow", "signal slow TERM", "says web: cannot start: it waits for migrate"),
            ),
            (1.1, Exited("slow", 0), ("sweep",)),
            (1.1, Swept(), ("exit 4",)),
        ),
    ),
    "an optional dependency that failed keeps nobody from starting": (
        plan(service("warm", essential=False), service("web", completed("warm", required=False))),
        (
            (0.0, up("warm"), ()),
            (1.0, Exited("warm", 1), ("spawn web",)),
        ),
    ),
    "what can never start is a failure, even if what it waits for ended well": (
        plan(service("db", essential=False, probe=_PROBE), service("web", healthy("db"))),
        (
            (0.0, up("db"), ("probe db",)),
            (1.0, Exited("db", 0), ("no probe db", "sweep", "says web: cannot start: it waits for db")),
            (1.0, Swept(), ("exit 1", "says [db]")),
        ),
    ),
    "an essential service that ends takes the container along, with its own code": (
        _HELPER,
        (
            (0.0, up("main"), ("spawn helper",)),
            (0.1, up("helper"), ()),
            (4.0, Exited("main", 3), ("signal helper TERM", "says main: ended with exit code 3 after 4s")),
            (4.1, Exited("helper", 143), ("sweep",)),
            (4.1, Swept(), ("exit 3", "says main ended with exit code 3 after 4s (essential) [main]")),
        ),
    ),
    "the first cause wins": (
        plan(service("web"), service("db")),
        (
            (0.0, up("web"), ()),
            (0.0, up("db"), ()),
            (1.0, Exited("db", 139), ("signal web TERM",)),
            (1.1, Exited("web", 1), ("sweep",)),
            (1.1, Swept(), ("exit 139", "says db ended with SIGSEGV (segmentation fault)")),
        ),
    ),
    "a service that is not essential ends alone": (
        _HELPER,
        (
            (0.0, up("main"), ("spawn helper",)),
            (0.1, up("helper"), ()),
            (1.0, Exited("helper", 5), ("says helper: ended with exit code 5",)),
            (2.0, Exited("main", 0), ("sweep",)),
            (2.0, Swept(), ("exit 0",)),
        ),
    ),
    "when all are done the container ends with 0": (
        plan(service("a", essential=False), service("b", essential=False)),
        (
            (0.0, up("a"), ()),
            (0.0, up("b"), ()),
            (1.0, Exited("a", 0), ()),
            (2.0, Exited("b", 0), ("sweep",)),
            (2.0, Swept(), ("exit 0", "says all services have ended")),
        ),
    ),
    "when all are done the first failure in time gives the code, not the first in the file": (
        plan(service("a", essential=False), service("b", essential=False)),
        (
            (0.0, up("a"), ()),
            (0.0, up("b"), ()),
            (1.0, Exited("b", 4), ()),
            (2.0, Exited("a", 3), ("sweep",)),
            (2.0, Swept(), ("exit 4", "says all services have ended; b ended with exit code 4 after 1s [b]")),
        ),
    ),
    "the back-off doubles, and a run of ten seconds forgives": (
        _ALWAYS,
        (
            (0.0, up("web"), ()),
            (1.0, Exited("web", 1), ("says starting again in 100ms (restart 1)",)),
            (1.05, Due(), ()),
            (1.1, Due(), ("spawn web",)),
            (1.2, up("web"), ()),
            (2.0, Exited("web", 0), ("says starting again in 200ms (restart 2)",)),
            (2.2, Due(), ("spawn web",)),
            (3.0, up("web"), ()),
            (13.0, Exited("web", 1), ("says starting again in 100ms (restart 1)",)),
        ),
    ),
    "on-failure:1 gives up after one restart": (
        plan(service("web", restart=Restart("on-failure", 1))),
        (
            (0.0, up("web"), ()),
            (1.0, Exited("web", 2), ("says (restart 1)",)),
            (1.1, Due(), ("spawn web",)),
            (1.1, up("web"), ()),
            (2.0, Exited("web", 2), ("sweep", "says given up after 1 restarts")),
            (2.0, Swept(), ("exit 2",)),
        ),
    ),
    "what a leader left behind is gone before its restart": (
        _ALWAYS,
        (
            (0.0, up("web"), ()),
            (
                5.0,
                Exited("web", 1, orphans=True),
                ("ask the rest of web TERM", "says ending the processes that it left behind"),
            ),
            (15.0, Due(), ("kill web", "says web: not gone after its grace")),
            (15.1, TreeGone("web"), ("says starting again in 100ms (restart 1)",)),
            (15.2, Due(), ("spawn web",)),
        ),
    ),
    "a daemon that puts itself in the background is told what to do": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (
                1.0,
                Exited("web", 0, orphans=True),
                ("ask the rest of web TERM", "says if it put itself in the background: run it in the foreground"),
            ),
            (1.5, TreeGone("web"), ("sweep",)),
            (1.5, Swept(), ("exit 0",)),
        ),
    ),
    "a command that is not there is final, with its code and its reason": (
        _ALWAYS,
        (
            (0.0, SpawnFailed("web", "'web' is not found in PATH", 127), ("sweep", "says web: cannot start: 'web' is")),
            (0.0, Swept(), ("exit 127", "says web cannot start: 'web' is not found in PATH (essential)")),
        ),
    ),
    "a fork that fails is tried again": (
        _ALWAYS,
        (
            (0.0, SpawnFailed("web", "no room", 71), ("says cannot start: no room; starting again in 100ms",)),
            (0.1, Due(), ("spawn web",)),
            (0.1, SpawnFailed("web", "no room", 71), ("says starting again in 200ms (restart 2)",)),
            (0.1 + 0.2, Due(), ("spawn web",)),
            (0.4, up("web"), ()),
        ),
    ),
    "a requested stop in which all end in time gives 0, whatever their codes": (
        _WEB_AND_DB,
        (
            (0.0, up("db"), ("spawn web",)),
            (0.1, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal web TERM",)),
            (5.2, Exited("web", 1), ("signal db TERM", "says web: stopped: ended with exit code 1")),
            (5.4, Exited("db", 143), ("sweep",)),
            (5.4, Swept(), ("exit 0", "says stopped by SIGTERM")),
        ),
    ),
    "the stop is in reverse order, independent branches in parallel": (
        _CHAINS,
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("queue"), ("spawn worker",)),
            (0.0, up("web"), ()),
            (0.0, up("worker"), ()),
            (5.0, StopRequested(INT), ("signal web TERM", "signal worker TERM")),
            (6.0, Exited("worker", 0), ("signal queue TERM",)),
            (7.0, Exited("web", 0), ("signal db TERM",)),
            (7.0, Exited("db", 0), ()),
            (8.0, Exited("queue", 0), ("sweep",)),
            (8.0, Swept(), ("exit 0",)),
        ),
    ),
    "a stop comes through everything: waiting, starting and backing off": (
        plan(
            service("a", restart=Restart("always")),
            service("b"),
            service("c", healthy("d")),
            service("d", probe=_PROBE, stop_signal=INT),
        ),
        (
            (0.0, up("a"), ()),
            (0.0, up("d"), ("probe d",)),
            (1.0, Exited("a", 1), ()),
            (1.0, StopRequested(TERM), ("signal b TERM", "no probe d", "signal d INT")),
            (1.1, up("b"), ()),
            (1.2, Exited("b", 143), ()),
            (1.3, Exited("d", 130), ("sweep",)),
            (1.3, Swept(), ("exit 0",)),
        ),
    ),
    "a start that fails during the stop is no restart": (
        _ALWAYS,
        (
            (0.0, StopRequested(TERM), ("signal web TERM",)),
            (0.1, SpawnFailed("web", "no room", 71), ("sweep", "says web: cannot start: no room")),
            (0.1, Swept(), ("exit 0",)),
        ),
    ),
    "who ignores the stop signal is killed after its own grace, and the container says 137": (
        plan(service("deaf", stop_grace_seconds=2.0), service("web")),
        (
            (0.0, up("deaf"), ()),
            (0.0, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal deaf TERM", "signal web TERM")),
            (5.1, Exited("web", 0), ()),
            (7.0, Due(), ("kill deaf", "says deaf: not gone after its grace (stop_grace_period 2s): killing it")),
            (7.0, Exited("deaf", 137), ("sweep", "says having ignored SIGTERM")),
            (7.0, Swept(), ("exit 137", "says stopped by SIGTERM")),
        ),
    ),
    "deaf processes that a leader left behind in the stop are killed when its grace is over": (
        plan(service("web", stop_grace_seconds=2.0)),
        (
            (0.0, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal web TERM",)),
            (6.0, Exited("web", 0, orphans=True), ("ask the rest of web TERM",)),
            (7.0, Due(), ("kill web",)),
            (7.0, TreeGone("web"), ("sweep",)),
            (7.0, Swept(), ("exit 137",)),
        ),
    ),
    "the total bounds all graces together": (
        plan(service("web", "db", stop_grace_seconds=8.0), service("db", stop_grace_seconds=8.0), total=9.0),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (9.0, Due(), ("kill web",)),
            (9.1, Exited("web", 137), ("signal db TERM",)),
            (10.0, Due(), ("kill db", "says time is up for db: killing")),
            (10.1, Exited("db", 137), ("kill all",)),
            (10.1, Swept(), ("exit 137",)),
        ),
    ),
    "whoever is killed has time to die, even if its grace and the total end at the same moment": (
        plan(service("web", stop_grace_seconds=9.0), total=9.0),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (10.0, Due(), ("kill web", "kill web")),
            (10.1, Exited("web", 137), ("kill all",)),
            (10.1, Swept(), ("exit 137",)),
        ),
    ),
    "a second signal kills at once": (
        _WEB_AND_DB,
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, StopRequested(INT), ("signal web TERM",)),
            (1.5, StopRequested(INT), ("kill web", "kill db", "says SIGINT again: killing what is left")),
            (1.6, Exited("web", 137), ()),
            (1.6, Exited("db", 137), ("kill all",)),
            (1.6, Swept(), ("exit 137",)),
        ),
    ),
    "a third signal cannot make it quicker": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(INT), ("signal web TERM",)),
            (1.5, StopRequested(INT), ("kill web",)),
            (1.5, StopRequested(INT), ()),
            (1.6, Exited("web", 137), ("kill all",)),
            (1.6, Swept(), ("exit 137",)),
        ),
    ),
    "the first signal after an end of its own is no second one": (
        plan(service("main"), service("web")),
        (
            (0.0, up("main"), ()),
            (0.0, up("web"), ()),
            (1.0, Exited("main", 3), ("signal web TERM",)),
            (1.1, StopRequested(TERM), ()),
            (1.2, Exited("web", 0), ("sweep",)),
            (1.2, Swept(), ("exit 3",)),
        ),
    ),
    "what had to be killed does not change the code of an end of its own": (
        plan(service("main"), service("deaf", stop_grace_seconds=1.0)),
        (
            (0.0, up("main"), ()),
            (0.0, up("deaf"), ()),
            (1.0, Exited("main", 0), ("signal deaf TERM",)),
            (1.5, StopRequested(TERM), ()),
            (2.0, Due(), ("kill deaf",)),
            (2.0, Exited("deaf", 137), ("sweep",)),
            (2.0, Swept(), ("exit 0", "says main ended with exit code 0")),
        ),
    ),
    "a child that dies of the same signal just before the request has not crashed": (
        plan(service("web"), service("db")),
        (
            (0.0, up("web"), ()),
            (0.0, up("db"), ()),
            (5.0, Exited("web", 143), ("signal db TERM",)),
            (5.001, StopRequested(TERM), ()),
            (5.1, Exited("db", 143), ("sweep",)),
            (5.1, Swept(), ("exit 0", "says stopped by SIGTERM []")),
        ),
    ),
    "a child that died of another signal before the request is the cause": (
        plan(service("web"), service("db")),
        (
            (0.0, up("web"), ()),
            (0.0, up("db"), ()),
            (5.0, Exited("web", 137), ("signal db TERM",)),
            (5.001, StopRequested(TERM), ()),
            (5.1, Exited("db", 143), ("sweep",)),
            (5.1, Swept(), ("exit 137", "says web ended with SIGKILL (killed)")),
        ),
    ),
    "who belongs to no service is asked, then killed": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (2.0, Exited("web", 0), ("sweep",)),
            (10.0, Due(), ("kill all", "says time is up for processes that no service owns: killing")),
            (10.1, Swept(), ("exit 137",)),
        ),
    ),
    "who does not even die of SIGKILL is left to the kernel, with everybody else": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (10.0, Due(), ("kill web",)),
            (12.0, Due(), ("kill all", "exit 137", "says do not even die of SIGKILL: leaving them to the kernel")),
        ),
    ),
    "internal errors that keep coming stop everything in order, and the fault is ours": (
        _WEB_AND_DB,
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, Broken("internal errors keep coming"), ("signal web TERM", "says internal errors keep coming")),
            (1.1, Exited("web", 0), ("signal db TERM",)),
            (1.2, Exited("db", 0), ("sweep",)),
            (1.2, Swept(), ("exit 70", "says last word: internal errors keep coming []")),
        ),
    ),
}


def _all_rows(story: Story) -> list[Row]:
    """The rows with the Plan's arrival before them; what starts then follows from the Plan."""
    first, rows = story
    spawned = [f"spawn {name}" for name, service in first.services.items() if not service.depends_on]
    return [(0.0, Loaded(first), ("prepare", *spawned)), *rows]


@pytest.mark.parametrize("title", HISTORIES)
def test_story(title: str) -> None:
    """Each story goes as it is told."""
    engine = Supervisor()
    for row in _all_rows(HISTORIES[title]):
        check_row(engine, row)


@pytest.mark.parametrize("title", HISTORIES)
def test_story_with_a_reexecution_before_each_row(title: str) -> None:
    """Process 1 may replace itself in the middle of any story: it goes on the same."""
    engine = Supervisor()
    for row in _all_rows(HISTORIES[title]):
        deadline = engine.deadline()
        engine = reexecuted(engine)
        assert engine.deadline() == deadline
        check_row(engine, row)


@pytest.mark.parametrize("title", HISTORIES)
def test_the_engine_would_be_woken_for_each_due(title: str) -> None:
    """Each Due of a story comes at a moment that deadline() had named, or earlier: nobody has to guess."""
    engine = Supervisor()
    for now, event, expected in _all_rows(HISTORIES[title]):
        deadline = engine.deadline()
        if isinstance(event, Due) and expected:
            assert deadline is not None
            assert deadline == pytest.approx(now)
        engine.step(event, now)
