"""Stories about supervision: start order, dependencies, exit codes, restarts.

engine_story.py describes the format. Every story also runs with a re-execution before each of its rows.
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
from cohabit.plan.reason import NOT_IN_PATH, Reason
from unit.engine_story import (
    PROBE,
    TERM,
    checks_of,
    completed,
    healthy,
    plan,
    service,
    start_failed,
    up,
)

if TYPE_CHECKING:
    from unit.engine_story import Story

_WEB_AND_DB = plan(service("web", "db"), service("db"))
_ALONE = plan(service("web"))
_JOB = plan(service("migrate", essential=False), service("web", completed("migrate")))
_NOT_FOUND = Reason(NOT_IN_PATH, 127, path="web")
_ALWAYS = plan(service("web", restart=Restart("always")))
_HELPER = plan(service("main"), service("helper", "main", essential=False))
_CHAINS = plan(service("db"), service("web", "db"), service("queue"), service("worker", "queue"))

STORIES: dict[str, Story] = {
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
            (0.0, up("db"), ("probe db",)),
            (2.0, Probed("db", True), ("spawn web", "logs db: ready")),
        ),
    ),
    "a probe result that arrives after the end of the run is ignored": (
        plan(service("db", probe=PROBE, restart=Restart("always")), service("web", healthy("db"))),
        (
            (0.0, up("db"), ("probe db",)),
            (1.0, Exited("db", 1), ("stop probe db", "logs starting again in 100ms (restart 1)")),
            (1.0, Probed("db", True), ()),
            (1.1, Due(), ("spawn db",)),
            (1.2, up("db"), ("probe db",)),
            (1.3, Probed("db", True), ("spawn web",)),
        ),
    ),
    "service_completed_successfully waits for an end with 0": (
        _JOB,
        (
            (0.0, up("migrate"), ()),
            (5.0, Exited("migrate", 0), ("spawn web",)),
        ),
    ),
    "when a job fails its dependents fail at once, with its reason and exit code": (
        _JOB,
        (
            (0.0, up("migrate"), ()),
            (
                5.0,
                Exited("migrate", 3),
                (
                    "sweep",
                    "logs migrate: ended with exit code 3",
                    "logs web: cannot start: it waits for migrate, which ended with exit code 3 after 5s",
                ),
            ),
            (5.0, Swept(), ("exit 3", "logs web cannot start: it waits for migrate", "logs [migrate]")),
        ),
    ),
    "a failed job is restarted before its dependents fail": (
        plan(
            service("migrate", essential=False, restart=Restart("on-failure", 1)), service("web", completed("migrate"))
        ),
        (
            (0.0, up("migrate"), ()),
            (1.0, Exited("migrate", 3), ("logs (restart 1)",)),
            (1.1, Due(), ("spawn migrate",)),
            (1.1, up("migrate"), ()),
            (2.0, Exited("migrate", 0), ("spawn web",)),
        ),
    ),
    "a failed dependency counts even while another one is still starting": (
        plan(
            service("slow", essential=False, probe=PROBE),
            service("migrate", essential=False),
            service("web", healthy("slow"), completed("migrate")),
        ),
        (
            (0.0, up("slow"), ("probe slow",)),
            (0.0, up("migrate"), ()),
            (
                1.0,
                Exited("migrate", 4),
                ("stop probe slow", "signal slow TERM", "logs web: cannot start: it waits for migrate"),
            ),
            (1.1, Exited("slow", 0), ("sweep",)),
            (1.1, Swept(), ("exit 4",)),
        ),
    ),
    "a failed dependency with required: false does not prevent the start": (
        plan(service("warm", essential=False), service("web", completed("warm", required=False))),
        (
            (0.0, up("warm"), ()),
            (1.0, Exited("warm", 1), ("spawn web",)),
        ),
    ),
    "a service that can never start has failed, even if its dependency ended with 0": (
        plan(service("db", essential=False, probe=PROBE), service("web", healthy("db"))),
        (
            (0.0, up("db"), ("probe db",)),
            (1.0, Exited("db", 0), ("stop probe db", "sweep", "logs web: cannot start: it waits for db")),
            (1.0, Swept(), ("exit 1", "logs [db]")),
        ),
    ),
    "an essential service that ends ends the container with its exit code": (
        _HELPER,
        (
            (0.0, up("main"), ("spawn helper",)),
            (0.1, up("helper"), ()),
            (4.0, Exited("main", 3), ("signal helper TERM", "logs main: ended with exit code 3 after 4s")),
            (4.1, Exited("helper", 143), ("sweep",)),
            (4.1, Swept(), ("exit 3", "logs main ended with exit code 3 after 4s (essential: true) [main]")),
        ),
    ),
    "the first cause wins": (
        plan(service("web"), service("db")),
        (
            (0.0, up("web"), ()),
            (0.0, up("db"), ()),
            (1.0, Exited("db", 139), ("signal web TERM",)),
            (1.1, Exited("web", 1), ("sweep",)),
            (1.1, Swept(), ("exit 139", "logs db ended with SIGSEGV (segmentation fault)")),
        ),
    ),
    "the end of a service that is not essential does not affect the others": (
        _HELPER,
        (
            (0.0, up("main"), ("spawn helper",)),
            (0.1, up("helper"), ()),
            (1.0, Exited("helper", 5), ("logs helper: ended with exit code 5",)),
            (2.0, Exited("main", 0), ("sweep",)),
            (2.0, Swept(), ("exit 0",)),
        ),
    ),
    "when all services have ended with 0 the container ends with 0": (
        plan(service("a", essential=False), service("b", essential=False)),
        (
            (0.0, up("a"), ()),
            (0.0, up("b"), ()),
            (1.0, Exited("a", 0), ()),
            (2.0, Exited("b", 0), ("sweep",)),
            (2.0, Swept(), ("exit 0", "logs all services have ended")),
        ),
    ),
    "when all services have ended the first failure in time gives the exit code, not the first in the file": (
        plan(service("a", essential=False), service("b", essential=False)),
        (
            (0.0, up("a"), ()),
            (0.0, up("b"), ()),
            (1.0, Exited("b", 4), ()),
            (2.0, Exited("a", 3), ("sweep",)),
            (2.0, Swept(), ("exit 4", "logs all services have ended; b ended with exit code 4 after 1s [b]")),
        ),
    ),
    "the back-off doubles, and a run of ten seconds resets it": (
        _ALWAYS,
        (
            (0.0, up("web"), ()),
            (1.0, Exited("web", 1), ("logs starting again in 100ms (restart 1)",)),
            (1.05, Due(), ()),
            (1.1, Due(), ("spawn web",)),
            (1.2, up("web"), ()),
            (2.0, Exited("web", 0), ("logs starting again in 200ms (restart 2)",)),
            (2.2, Due(), ("spawn web",)),
            (3.0, up("web"), ()),
            (13.0, Exited("web", 1), ("logs starting again in 100ms (restart 1)",)),
        ),
    ),
    "a run counts from its exec, not from its fork": (
        _ALWAYS,
        (
            (1.0, up("web"), ()),
            (10.5, Exited("web", 1), ("logs (restart 1)",)),
            (10.6, Due(), ("spawn web",)),
            (11.6, up("web"), ()),
            (21.1, Exited("web", 1), ("logs (restart 2)",)),
        ),
    ),
    "on-failure:1 gives up after one restart": (
        plan(service("web", restart=Restart("on-failure", 1))),
        (
            (0.0, up("web"), ()),
            (1.0, Exited("web", 2), ("logs (restart 1)",)),
            (1.1, Due(), ("spawn web",)),
            (1.1, up("web"), ()),
            (2.0, Exited("web", 2), ("sweep", "logs given up after 1 restart")),
            (2.0, Swept(), ("exit 2",)),
        ),
    ),
    "processes that the main process left behind are gone before the restart": (
        _ALWAYS,
        (
            (0.0, up("web"), ()),
            (
                5.0,
                Exited("web", 1, orphans=True),
                ("signal tree web TERM", "logs terminating the processes that it left behind"),
            ),
            (15.0, Due(), ("kill web", "logs web: not stopped within its stop_grace_period")),
            (15.1, TreeGone("web"), ("logs starting again in 100ms (restart 1)",)),
            (15.2, Due(), ("spawn web",)),
            (15.3, up("web"), ()),
            (16.3, Exited("web", 1, orphans=True), ("signal tree web TERM",)),
            (16.4, StopRequested(TERM), ()),
            (16.5, TreeGone("web"), ("sweep",)),
            (16.5, Swept(), ("exit 0",)),  # a kill before the stop request does not count
        ),
    ),
    "for a daemon that goes into the background a warning says what to do": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (
                1.0,
                Exited("web", 0, orphans=True),
                ("signal tree web TERM", "logs if it is a daemon: run it in the foreground"),
            ),
            (1.5, TreeGone("web"), ("sweep",)),
            (1.5, Swept(), ("exit 0",)),
        ),
    ),
    "a command that is not found is final, with its exit code and reason": (
        _ALWAYS,
        (
            (0.0, SpawnFailed("web", _NOT_FOUND), ("sweep", "logs web: cannot start: 'web' is")),
            (0.0, Swept(), ("exit 127", "logs web cannot start: 'web' is not found in PATH")),
        ),
    ),
    "a fork that fails is retried": (
        _ALWAYS,
        (
            (0.0, start_failed("web", "no room", 71), ("logs cannot start: no room; starting again in 100ms",)),
            (0.1, Due(), ("spawn web",)),
            (0.1, start_failed("web", "no room", 71), ("logs starting again in 200ms (restart 2)",)),
            (0.1 + 0.2, Due(), ("spawn web",)),
            (0.4, up("web"), ()),
        ),
    ),
}

test_story, test_reexecution, test_deadlines = checks_of(STORIES)
