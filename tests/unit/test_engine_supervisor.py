"""The rules of life as stories: what happens when, and what the engine wants done about it.

A story is a Plan and rows of (now, event, effects), in the words of engine_story.py. Every story is also told
with a re-execution of process 1 before each of its rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine.events import (
    Due,
    Exited,
    Probed,
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.plan.model import Restart
from unit.engine_story import (
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
    "everything whose conditions hold starts at once": (
        plan(service("web", "db"), service("db"), service("cache")),
        (
            (0.0, up("cache"), ()),
            (0.1, up("db"), ("spawn web",)),
        ),
    ),
    "service_healthy waits for the probe, not for the start": (
        plan(service("db", probe=PROBE), service("web", healthy("db"))),
        (
            (0.0, up("db"), ("ask db",)),
            (2.0, Probed("db", True), ("spawn web", "says db: ready")),
        ),
    ),
    "a probe that passed too late is no readiness": (
        plan(service("db", probe=PROBE, restart=Restart("always")), service("web", healthy("db"))),
        (
            (0.0, up("db"), ("ask db",)),
            (1.0, Exited("db", 1), ("stop asking db", "says starting again in 100ms (restart 1)")),
            (1.0, Probed("db", True), ()),
            (1.1, Due(), ("spawn db",)),
            (1.2, up("db"), ("ask db",)),
            (1.3, Probed("db", True), ("spawn web",)),
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
            service("slow", essential=False, probe=PROBE),
            service("migrate", essential=False),
            service("web", healthy("slow"), completed("migrate")),
        ),
        (
            (0.0, up("slow"), ("ask slow",)),
            (0.0, up("migrate"), ()),
            (
                1.0,
                Exited("migrate", 4),
                ("stop asking slow", "signal slow TERM", "says web: cannot start: it waits for migrate"),
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
        plan(service("db", essential=False, probe=PROBE), service("web", healthy("db"))),
        (
            (0.0, up("db"), ("ask db",)),
            (1.0, Exited("db", 0), ("stop asking db", "sweep", "says web: cannot start: it waits for db")),
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
    "a run counts from its exec, not from its fork": (
        _ALWAYS,
        (
            (1.0, up("web"), ()),
            (10.5, Exited("web", 1), ("says (restart 1)",)),
            (10.6, Due(), ("spawn web",)),
            (11.6, up("web"), ()),
            (21.1, Exited("web", 1), ("says (restart 2)",)),
        ),
    ),
    "on-failure:1 gives up after one restart": (
        plan(service("web", restart=Restart("on-failure", 1))),
        (
            (0.0, up("web"), ()),
            (1.0, Exited("web", 2), ("says (restart 1)",)),
            (1.1, Due(), ("spawn web",)),
            (1.1, up("web"), ()),
            (2.0, Exited("web", 2), ("sweep", "says given up after 1 restart")),
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
            (15.3, up("web"), ()),
            (16.3, Exited("web", 1, orphans=True), ("ask the rest of web TERM",)),
            (16.4, StopRequested(TERM), ()),
            (16.5, TreeGone("web"), ("sweep",)),
            (16.5, Swept(), ("exit 0",)),  # what was killed before the stop was asked for does not count
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
            (0.0, Swept(), ("exit 127", "says web cannot start: 'web' is not found in PATH")),
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
}

test_story, test_story_with_a_reexecution_before_each_row, test_the_engine_would_be_woken_for_each_due = checks_of(
    HISTORIES
)
