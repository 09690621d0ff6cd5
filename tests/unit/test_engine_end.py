"""Stories about the end of the container: stop order, grace periods, second signals, exit codes, internal errors.

engine_story.py describes the format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine.events import (
    Broken,
    Due,
    Exited,
    Gap,
    HookEnded,
    Notified,
    Requested,
    SignalRefused,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.plan.model import Hook, Restart
from cohabit.plan.reason import SIGNAL_REFUSED, Reason
from unit.engine_story import (
    INT,
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
_ALWAYS = plan(service("web", restart=Restart("always")))
_HELPER = plan(service("main"), service("helper", "main", essential=False))
_CHAINS = plan(service("db"), service("web", "db"), service("queue"), service("worker", "queue"))

_REFUSED = Reason(SIGNAL_REFUSED, signal=TERM, detail="process 7 (web) of user 33")

STORIES: dict[str, Story] = {
    "the exit code is that of the chosen service, whichever ended first": (
        plan(service("db"), service("tests")).replace(exit_code_from="tests"),
        (
            (0.0, up("db"), ()),
            (0.0, up("tests"), ()),
            (5.0, Exited("db", 1), ("signal tests TERM",)),
            (5.1, Exited("tests", 3), ("sweep",)),
            (5.2, Swept(), ("exit 3", "logs db ended with exit code 1 after 5s (--exit-code-from tests)")),
        ),
    ),
    "the chosen service never ran: the exit code is that of the cause": (
        plan(service("db", probe=PROBE), service("tests", healthy("db"))).replace(exit_code_from="tests"),
        (
            (0.0, up("db"), ("probe db",)),
            (5.0, Exited("db", 1), ("stop probe db", "sweep")),
            (5.2, Swept(), ("exit 1",)),
        ),
    ),
    "a requested stop keeps its exit code": (
        plan(service("tests")).replace(exit_code_from="tests"),
        (
            (0.0, up("tests"), ()),
            (5.0, StopRequested(TERM), ("signal tests TERM",)),
            (5.1, Exited("tests", 143), ("sweep",)),
            (5.2, Swept(), ("exit 0",)),
        ),
    ),
    "a service whose stop signal is refused is not waited for, and the exit reason names it": (
        _WEB_AND_DB,
        (
            (0.0, up("db"), ("spawn web",)),
            (0.1, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal web TERM",)),
            (
                5.0,
                SignalRefused("web", _REFUSED),
                ("signal db TERM", "logs web: SIGTERM could not be sent to process 7"),
            ),
            (5.2, Exited("db", 0), ("sweep",)),
            (5.2, Swept(), ("exit 137", "logs stopped by SIGTERM; web: SIGTERM could not be sent to process 7 (web)")),
        ),
    ),
    "a refused SIGKILL ends the wait": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal web TERM",)),
            (14.0, Due(), ("kill web",)),
            (14.0, SignalRefused("web", _REFUSED), ("kill all",)),
            (14.0, Swept(), ("exit 137",)),
        ),
    ),
    "what its main process left behind gets its own time": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (5.0, Requested("stop", ("web",)), ("signal web TERM",)),
            (5.0, SignalRefused("web", _REFUSED), ()),
            (6.0, Exited("web", 0, orphans=True), ("signal tree web TERM",)),
            (16.0, Due(), ("kill web", "logs not stopped within its stop_grace_period")),
            (16.0, TreeGone("web"), ()),
        ),
    ),
    "a later request tries again, with a time of its own": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (5.0, Requested("stop", ("web",)), ("signal web TERM",)),
            (5.0, SignalRefused("web", _REFUSED), ()),
            (7.0, Requested("stop", ("web",)), ("signal web TERM",)),
            (17.0, Due(), ("kill web",)),
            (17.1, Exited("web", 137), ()),
        ),
    ),
    "kill_mode: control-group sends the stop signal to all processes": (
        plan(service("web", kill_mode="control-group", stop_signal=3)),
        (
            (0.0, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal tree web QUIT",)),
            (5.1, Exited("web", 0), ("sweep",)),
            (5.1, Swept(), ("exit 0",)),
        ),
    ),
    "a requested stop in which all services end in time gives 0, whatever their exit codes": (
        _WEB_AND_DB,
        (
            (0.0, up("db"), ("spawn web",)),
            (0.1, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal web TERM",)),
            (5.2, Exited("web", 1), ("signal db TERM", "logs web: stopped: ended with exit code 1")),
            (5.4, Exited("db", 143), ("sweep",)),
            (5.4, Swept(), ("exit 0", "logs stopped by SIGTERM")),
        ),
    ),
    "the end of an essential service stops the others at once, before the processes that it left behind are gone": (
        plan(service("web"), service("worker")),
        (
            (0.0, up("web"), ()),
            (0.0, up("worker"), ()),
            (5.0, Exited("web", 3, orphans=True), ("signal tree web TERM", "signal worker TERM")),
            (5.1, Exited("worker", 143), ()),
            (5.2, TreeGone("web"), ("sweep",)),
            (5.2, Swept(), ("exit 3", "logs web ended with exit code 3")),
        ),
    ),
    "the same signal within 200 ms is the same request, another signal is a second request": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal web TERM",)),
            (5.1, StopRequested(TERM), ()),
            (5.1, StopRequested(INT), ("kill web", "logs SIGINT again: killing the remaining processes")),
            (5.1, Exited("web", 137), ("kill all",)),
            (5.1, Swept(), ("exit 137",)),
        ),
    ),
    "services stop in reverse order of dependencies, independent branches in parallel": (
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
    "a stop works for services that wait, start or back off": (
        plan(
            service("a", restart=Restart("always")),
            service("b"),
            service("c", healthy("d")),
            service("d", probe=PROBE, stop_signal=INT),
        ),
        (
            (0.0, up("a"), ()),
            (0.0, up("d"), ("probe d",)),
            (1.0, Exited("a", 1), ()),
            (1.0, StopRequested(TERM), ("signal b TERM", "stop probe d", "signal d INT")),
            (1.1, up("b"), ()),
            (1.2, Exited("b", 143), ()),
            (1.3, Exited("d", 130), ("sweep",)),
            (1.3, Swept(), ("exit 0",)),
        ),
    ),
    "a start that fails during the stop is not retried": (
        _ALWAYS,
        (
            (0.0, StopRequested(TERM), ("signal web TERM",)),
            (0.1, start_failed("web", "no room", 71), ("sweep", "logs web: cannot start: no room")),
            (0.1, Swept(), ("exit 0",)),
        ),
    ),
    "a service that does not stop is killed after its grace period, and the container exits with 137": (
        plan(service("stubborn", stop_grace_seconds=2.0), service("web")),
        (
            (0.0, up("stubborn"), ()),
            (0.0, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal stubborn TERM", "signal web TERM")),
            (5.1, Exited("web", 0), ()),
            (
                7.0,
                Due(),
                ("kill stubborn", "logs stubborn: not stopped within its stop_grace_period of 2s: killing it"),
            ),
            (7.0, Exited("stubborn", 137), ("sweep", "logs because it did not stop in time")),
            (7.0, Swept(), ("exit 137", "logs stopped by SIGTERM")),
        ),
    ),
    "processes that the main process left behind in the stop are killed at the end of its grace period": (
        plan(service("web", stop_grace_seconds=2.0)),
        (
            (0.0, up("web"), ()),
            (5.0, StopRequested(TERM), ("signal web TERM",)),
            (6.0, Exited("web", 0, orphans=True), ("signal tree web TERM",)),
            (7.0, Due(), ("kill web",)),
            (7.0, TreeGone("web"), ("sweep",)),
            (7.0, Swept(), ("exit 137",)),
        ),
    ),
    "the total limits all grace periods together": (
        plan(service("web", "db", stop_grace_seconds=8.0), service("db", stop_grace_seconds=8.0), total=9.0),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (
                5.5,
                Due(),
                (
                    "kill web",
                    "logs web: not stopped within 4.5s, its share of the total (x-cohabit: stop_grace_period)",
                ),
            ),
            (5.6, Exited("web", 137), ("signal db TERM",)),
            (
                10.0,
                Due(),
                ("kill db", "logs not stopped within the total of 9s (x-cohabit: stop_grace_period): killing db"),
            ),
            (10.1, Exited("db", 137), ("kill all", "logs because it did not stop in time")),
            (10.1, Swept(), ("exit 137",)),
        ),
    ),
    "a chain shares the total in proportion, and one that ends early leaves its time to the next": (
        plan(
            service("web", "api", stop_grace_seconds=5.0),
            service("api", "db", stop_grace_seconds=10.0),
            service("db", stop_grace_seconds=5.0),
            total=10.0,
        ),
        (
            (0.0, up("db"), ("spawn api",)),
            (0.0, up("api"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (3.5, Due(), ("kill web",)),  # 5 of 20, of 10
            (4.5, Exited("web", 137), ("signal api TERM",)),
            (4.5 + 6.5 * 10 / 15, Due(), ("kill api",)),
            (9.0, Exited("api", 137), ("signal db TERM",)),
            (9.1, Exited("db", 0), ("sweep",)),
            (9.1, Swept(), ("exit 137",)),
        ),
    ),
    "a service that is being stopped already leaves time to those after it": (
        plan(service("web", "db"), service("db")),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, Requested("stop", ("web",)), ("signal web TERM",)),
            (2.0, StopRequested(TERM), ()),
            (6.5, Due(), ("kill web",)),
            (6.5, Exited("web", 137), ("signal db TERM",)),
            (6.6, Exited("db", 0), ("sweep",)),
            (6.6, Swept(), ("exit 137",)),
        ),
    ),
    "a longer time that a service asks for is not taken from those after it": (
        plan(service("web", "db", stop_grace_seconds=2.0), service("db", stop_grace_seconds=3.0)),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (2.0, Notified("web", extend_seconds=60.0), ()),
            (7.0, Due(), ("kill web",)),  # 10 - 3
            (7.0, Exited("web", 137), ("signal db TERM",)),
            (7.1, Exited("db", 0), ("sweep",)),
            (7.1, Swept(), ("exit 137",)),
        ),
    ),
    "the share of a service with pre_stop hooks includes its stop signal": (
        plan(service("web", "db", pre_stop=(Hook(("drain",)),)), service("db")),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web",)),
            (1.0 + 4.5 * 0.75, Due(), ("signal web TERM",)),
            (5.5, Due(), ("kill web", "logs not stopped within 4.5s, its share of the total")),
            (5.5, HookEnded("web", 137), ()),
            (5.6, Exited("web", 137), ("signal db TERM",)),
        ),
    ),
    "a stop that has begun leaves time for the stop signal in the total": (
        plan(service("web", pre_stop=(Hook(("drain",)),), stop_grace_seconds=60.0)),
        (
            (0.0, up("web"), ()),
            (1.0, Requested("stop", ("web",)), ("pre_stop 0 web",)),
            (5.0, StopRequested(TERM), ()),
            (6.0, Gap(3.0, 4.0), ()),
            (15.0, Due(), ("signal web TERM",)),  # 5 + 9 + 3 - 2
            (15.1, Exited("web", 0), ("signal tree web TERM",)),
        ),
    ),
    "a longer time that a service asks for also counts for its pre_stop hook": (
        plan(service("web", pre_stop=(Hook(("drain",)),), stop_grace_seconds=4.0)),
        (
            (0.0, up("web"), ()),
            (1.0, Requested("stop", ("web",)), ("pre_stop 0 web",)),
            (3.0, Notified("web", extend_seconds=10.0), ()),
            (11.0, Due(), ("signal web TERM",)),
            (13.0, Due(), ("kill web", "logs period of 4s and the time that it asked for (EXTEND_TIMEOUT_USEC)")),
        ),
    ),
    "a longer time that a service has asked for before ends with its share": (
        plan(service("web", "db"), service("db")),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, Requested("stop", ("web",)), ("signal web TERM",)),
            (2.0, Notified("web", extend_seconds=600.0), ()),
            (3.0, StopRequested(TERM), ()),
            (4.0, Notified("web", extend_seconds=600.0), ()),  # db would have no time left
            (7.5, Due(), ("kill web", "logs not stopped within 4.5s, its share of the total (x-cohabit: stop_g")),
            (7.5, Exited("web", 137), ("signal db TERM",)),
            (8.0, Notified("db", extend_seconds=600.0), ()),  # the total ends all
            (12.0, Due(), ("kill db",)),
        ),
    ),
    "a second stop signal in a divided total kills all, in a hook, unasked and asked": (
        plan(
            service("web", "db", pre_stop=(Hook(("drain",)),)),
            service("api", "db"),
            service("db"),
        ),
        (
            (0.0, up("db"), ("spawn web", "spawn api")),
            (0.0, up("web"), ()),
            (0.0, up("api"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web", "signal api TERM")),
            (1.1, StopRequested(TERM), ()),  # the same request
            (2.0, StopRequested(TERM), ("kill web", "kill api", "kill db")),
            (
                2.1,
                Exited("db", 137),
                ("logs db: stopped: ended with SIGKILL (killed) after 2.1s, before it was asked",),
            ),
            (2.1, Exited("api", 137), ("logs because it did not stop in time",)),
            (2.1, HookEnded("web", 137), ()),
            (
                2.1,
                Exited("web", 137),
                ("kill all", "logs before it was asked to stop (its pre_stop hook 1 was running)"),
            ),
            (2.2, StopRequested(TERM), ()),
            (2.3, Swept(), ("exit 137",)),
        ),
    ),
    "a service that was killed before it was asked to stop did not ignore anything": (
        plan(service("web", "db"), service("db")),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, StopRequested(INT), ("signal web TERM",)),
            (
                2.0,
                StopRequested(INT),
                ("kill web", "kill db", "logs SIGINT again: killing the remaining processes"),
            ),
            (
                2.1,
                Exited("db", 137),
                ("logs db: stopped: ended with SIGKILL (killed) after 2.1s, before it was asked to stop",),
            ),
            (2.1, Exited("web", 137), ("kill all", "logs because it did not stop in time")),
            (2.1, Swept(), ("exit 137",)),
        ),
    ),
    "a completed job between two services does not hide the order of their stop": (
        plan(service("db"), service("migrate", "db", essential=False), service("app", completed("migrate"))),
        (
            (0.0, up("db"), ("spawn migrate",)),
            (0.0, up("migrate"), ()),
            (1.0, Exited("migrate", 0), ("spawn app",)),
            (1.0, up("app"), ()),
            (5.0, StopRequested(TERM), ("signal app TERM",)),
            (5.5, Exited("app", 0), ("signal db TERM",)),
            (5.6, Exited("db", 0), ("sweep",)),
            (5.6, Swept(), ("exit 0",)),
        ),
    ),
    "neither does a service that waits to be restarted": (
        plan(service("db"), service("cache", "db", restart=Restart("always")), service("app", "cache")),
        (
            (0.0, up("db"), ("spawn cache",)),
            (0.0, up("cache"), ("spawn app",)),
            (0.0, up("app"), ()),
            (1.0, Exited("cache", 1), ()),
            (1.05, StopRequested(TERM), ("signal app TERM",)),
            (1.5, Exited("app", 0), ("signal db TERM",)),
            (1.6, Exited("db", 0), ("sweep",)),
            (1.6, Swept(), ("exit 0",)),
        ),
    ),
    "nor services at rest in a row, in a stop of some services on request": (
        plan(
            service("db"),
            service("migrate", "db", essential=False),
            service("seed", completed("migrate"), essential=False),
            service("app", completed("seed")),
        ),
        (
            (0.0, up("db"), ("spawn migrate",)),
            (0.0, up("migrate"), ()),
            (1.0, Exited("migrate", 0), ("spawn seed",)),
            (1.0, up("seed"), ()),
            (2.0, Exited("seed", 0), ("spawn app",)),
            (2.0, up("app"), ()),
            (5.0, Requested("stop", ("db", "app")), ("signal app TERM",)),
            (5.5, Exited("app", 0), ("signal db TERM",)),
        ),
    ),
    "a killed service has time to end, even if its grace period and the total end at the same time": (
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
            (1.5, StopRequested(INT), ("kill web", "kill db", "logs SIGINT again: killing the remaining processes")),
            (1.6, Exited("web", 137), ()),
            (1.6, Exited("db", 137), ("kill all",)),
            (1.6, Swept(), ("exit 137",)),
        ),
    ),
    "a third signal changes nothing": (
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
    "the first signal after a service ended the container is not a second request": (
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
    "a kill does not change the exit code when a service ended the container": (
        plan(service("main"), service("stubborn", stop_grace_seconds=1.0)),
        (
            (0.0, up("main"), ()),
            (0.0, up("stubborn"), ()),
            (1.0, Exited("main", 0), ("signal stubborn TERM",)),
            (1.5, StopRequested(TERM), ()),
            (2.0, Due(), ("kill stubborn",)),
            (2.0, Exited("stubborn", 137), ("sweep",)),
            (2.0, Swept(), ("exit 0", "logs main ended with exit code 0")),
        ),
    ),
    "a service that dies of the same signal just before the request was stopped, and did not crash": (
        plan(service("web"), service("db")),
        (
            (0.0, up("web"), ()),
            (0.0, up("db"), ()),
            (5.0, Exited("web", 143), ("signal db TERM",)),
            (5.001, StopRequested(TERM), ()),
            (5.1, Exited("db", 143), ("sweep",)),
            (5.1, Swept(), ("exit 0", "logs stopped by SIGTERM []")),
        ),
    ),
    "a service that died of another signal before the request is the cause": (
        plan(service("web"), service("db")),
        (
            (0.0, up("web"), ()),
            (0.0, up("db"), ()),
            (5.0, Exited("web", 137), ("signal db TERM",)),
            (5.001, StopRequested(TERM), ()),
            (5.1, Exited("db", 143), ("sweep",)),
            (5.1, Swept(), ("exit 137", "logs web ended with SIGKILL (killed)")),
        ),
    ),
    "processes that belong to no service get SIGTERM, then SIGKILL": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (2.0, Exited("web", 0), ("sweep",)),
            (10.0, Due(), ("kill all", "logs killing the remaining processes that belong to no service")),
            (10.1, Swept(), ("exit 137",)),
        ),
    ),
    "cohabit exits without the processes that survive SIGKILL": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (10.0, Due(), ("kill web",)),
            (12.0, Due(), ("kill all", "exit 137", "logs have not ended 2s after SIGKILL: exiting without them")),
        ),
    ),
    "internal errors during the end give exit code 70": (
        _ALONE,
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (1.1, Broken("internal errors keep coming"), ()),
            (1.2, Exited("web", 0), ("sweep",)),
            (1.2, Swept(), ("exit 70", "logs exit reason: internal errors keep coming []")),
        ),
    ),
    "repeated internal errors stop everything in order, with exit code 70": (
        _WEB_AND_DB,
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, Broken("internal errors keep coming"), ("signal web TERM", "logs internal errors keep coming")),
            (1.1, Exited("web", 0), ("signal db TERM",)),
            (1.2, Exited("db", 0), ("sweep",)),
            (1.2, Swept(), ("exit 70", "logs exit reason: internal errors keep coming []")),
        ),
    ),
}

test_story, test_reexecution, test_deadlines = checks_of(STORIES)
