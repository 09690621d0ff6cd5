"""How it ends, as stories: the stop and its order, graces, second signals, exit codes, internal errors.

Written like those of test_engine_supervisor.py, in the words of engine_story.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine.events import (
    Broken,
    Due,
    Exited,
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.plan.model import Restart
from unit.engine_story import (
    INT,
    PROBE,
    TERM,
    checks_of,
    completed,
    healthy,
    plan,
    service,
    up,
)

if TYPE_CHECKING:
    from unit.engine_story import Story

_WEB_AND_DB = plan(service("web", "db"), service("db"))
_ALONE = plan(service("web"))
_JOB = plan(service("migrate", essential=False), service("web", completed("migrate")))
_ALWAYS = plan(service("web", restart=Restart("always")))
_HELPER = plan(service("main"), service("helper", "main", essential=False))
_CHAINS = plan(service("db"), service("web", "db"), service("queue"), service("worker", "queue"))

HISTORIES: dict[str, Story] = {
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
    "an essential end stops the others at once, while those whom it left behind are still being ended": (
        plan(service("web"), service("worker")),
        (
            (0.0, up("web"), ()),
            (0.0, up("worker"), ()),
            (5.0, Exited("web", 3, orphans=True), ("ask the rest of web TERM", "signal worker TERM")),
            (5.1, Exited("worker", 143), ()),
            (5.2, TreeGone("web"), ("sweep",)),
            (5.2, Swept(), ("exit 3", "says web ended with exit code 3")),
        ),
    ),
    "the same signal again at once is the same request, another one or a later one is not": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal web TERM",)),
            (5.1, StopRequested(TERM), ()),
            (5.1, StopRequested(INT), ("kill web", "says SIGINT again: killing what is left")),
            (5.1, Exited("web", 137), ("kill all",)),
            (5.1, Swept(), ("exit 137",)),
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
            service("d", probe=PROBE, stop_signal=INT),
        ),
        (
            (0.0, up("a"), ()),
            (0.0, up("d"), ("ask d",)),
            (1.0, Exited("a", 1), ()),
            (1.0, StopRequested(TERM), ("signal b TERM", "stop asking d", "signal d INT")),
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
    "internal errors during the end make it ours": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (1.1, Broken("internal errors keep coming"), ()),
            (1.2, Exited("web", 0), ("sweep",)),
            (1.2, Swept(), ("exit 70", "says last word: internal errors keep coming []")),
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

test_story, test_story_with_a_reexecution_before_each_row, test_the_engine_would_be_woken_for_each_due = checks_of(
    HISTORIES
)
