"""Stories about the lifecycle of a service: health, hooks, schedules, daemons, reload.

engine_story.py describes the format. Every story also runs with a re-execution before each of its rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine.events import (
    Daemonised,
    Due,
    Exited,
    HookEnded,
    Loaded,
    LoadFailed,
    Notified,
    Probed,
    ReloadRequested,
    Requested,
    ScheduleDue,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.plan.model import Dependency, Hook, Probe, Restart, Schedule
from unit.engine_story import TERM, checks_of, completed, healthy, plan, service, up

if TYPE_CHECKING:
    from unit.engine_story import Story

ACTIVE = Probe("tcp", "127.0.0.1", 5432, interval_seconds=10.0, retries=2, start_interval_seconds=1.0)
NOTIFY = Probe("notify", interval_seconds=30.0, retries=3)
HOOKS = (Hook(("one",)), Hook(("two",)))
ALWAYS = Restart("always")
NIGHTLY = Schedule("0 3 * * *")

_DB = service("db", probe=ACTIVE)
_WEB = service("web", healthy("db"))

HEALTH: dict[str, Story] = {
    "until its first success the probe runs every start interval": (
        plan(_DB, _WEB),
        (
            (0.0, up("db"), ("probe db",)),
            (0.2, Probed("db", False, "refused"), ()),
            (1.0, Due(), ("probe db",)),
            (1.5, Probed("db", True), ("spawn web", "logs db: ready")),
            (1.5, up("web"), ("all ready",)),
            (11.5, Due(), ("probe db",)),
        ),
    ),
    "failures before the first success count once per interval, and the waiting services are named": (
        plan(_DB, _WEB),
        (
            (0.0, up("db"), ("probe db",)),
            (9.9, Probed("db", False, "refused"), ("probe db",)),
            (10.0, Probed("db", False, "refused"), ()),
            (10.9, Due(), ("probe db",)),
            (11.0, Probed("db", False, "refused"), ()),
            (11.9, Due(), ("probe db",)),
            (
                20.0,
                Probed("db", False, "refused"),
                ("logs db: unhealthy: refused (web cannot start until it is healthy)",),
            ),
            (30.0, Due(), ("probe db",)),
            (30.1, Probed("db", True), ("spawn web", "logs db: healthy again")),
        ),
    ),
    "failures in the start period do not count, and after a late result the probe runs again at once": (
        plan(service("db", probe=ACTIVE.replace(start_period_seconds=60.0, retries=1))),
        (
            (0.0, up("db"), ("probe db",)),
            (59.0, Probed("db", False), ("probe db",)),
            (69.0, Probed("db", False), ("probe db",)),
            (70.0, Probed("db", False), ("logs db: unhealthy",)),
        ),
    ),
    "unhealthy with on_failure restart: stopped and started again, whatever its restart policy": (
        plan(service("db", probe=ACTIVE.replace(on_failure="restart", retries=1))),
        (
            (0.0, up("db"), ("probe db",)),
            (1.0, Probed("db", True), ()),
            (11.0, Due(), ("probe db",)),
            (
                11.0,
                Probed("db", False, "no answer"),
                ("stop probe db", "signal db TERM", "logs db: unhealthy: no answer"),
            ),
            (12.0, Exited("db", 0), ("logs db: unhealthy: no answer; starting again in 100ms (restart 1)",)),
            (12.1, Due(), ("spawn db",)),
        ),
    ),
    "a dependent names the health of a dependency that was given up": (
        plan(
            service(
                "db",
                probe=ACTIVE.replace(on_failure="restart", retries=1),
                restart=Restart("on-failure", 0),
                essential=False,
            ),
            _WEB,
        ),
        (
            (0.0, up("db"), ("probe db",)),
            (10.0, Probed("db", False, "refused"), ("stop probe db", "signal db TERM")),
            (
                11.0,
                Exited("db", 0),
                ("sweep", "logs web: cannot start: it waits for db, which was unhealthy: refused; given up after 0"),
            ),
            (11.0, Swept(), ("exit 1",)),
        ),
    ),
    "unhealthy with on_failure exit: the container ends with 1": (
        plan(service("db", probe=ACTIVE.replace(on_failure="exit", retries=1), essential=False), service("web")),
        (
            (0.0, up("db"), ("probe db",)),
            (0.0, up("web"), ()),
            (1.0, Probed("db", True), ()),
            (11.0, Due(), ("probe db",)),
            (11.0, Probed("db", False), ("stop probe db", "signal db TERM", "signal web TERM")),
            (11.1, Exited("db", 0), ()),
            (11.1, Exited("web", 0), ("sweep",)),
            (11.1, Swept(), ("exit 1", "logs db unhealthy")),
        ),
    ),
    "sd_notify: READY=1 makes the service ready, STATUS= does not": (
        plan(service("db", probe=NOTIFY), _WEB),
        (
            (0.0, up("db"), ()),
            (0.5, Notified("db", status="recovering"), ()),
            (2.0, Notified("db", ready=True), ("spawn web", "logs db: ready")),
        ),
    ),
    "sd_notify: without READY=1 the service becomes unhealthy, and EXTEND_TIMEOUT_USEC= delays that": (
        plan(service("db", probe=NOTIFY.replace(retries=1)), _WEB),
        (
            (0.0, up("db"), ()),
            (20.0, Notified("db", extend_seconds=60.0), ()),
            (
                80.0,
                Due(),
                ("logs db: unhealthy: it has not reported that it is ready (web cannot start until it is healthy)",),
            ),
            (81.0, Notified("db", ready=True), ("spawn web",)),
        ),
    ),
    "a service without watchdog messages is restarted": (
        plan(service("db", probe=NOTIFY.replace(watchdog_seconds=5.0, on_failure="restart"))),
        (
            (0.0, up("db"), ()),
            (1.0, Notified("db", ready=True), ()),
            (5.0, Notified("db", watchdog="1"), ()),
            (10.0, Due(), ("stop probe db", "signal db TERM", "logs db: unhealthy: no watchdog message for 5 s")),
        ),
    ),
    "WATCHDOG=trigger makes the service unhealthy at once": (
        plan(service("db", probe=NOTIFY.replace(on_failure="restart"))),
        (
            (0.0, up("db"), ()),
            (1.0, Notified("db", ready=True), ()),
            (2.0, Notified("db", watchdog="trigger"), ("stop probe db", "signal db TERM")),
        ),
    ),
}

HOOK: dict[str, Story] = {
    "pre_start hooks run one after the other, then the command": (
        plan(service("web", pre_start=HOOKS)),
        (
            (0.0, HookEnded("web", 0), ("pre_start 1 web",)),
            (1.0, HookEnded("web", 0), ("spawn web",)),
            (1.0, up("web"), ()),
        ),
    ),
    "a pre_start hook that fails is a failed start": (
        plan(service("web", pre_start=HOOKS, restart=ALWAYS)),
        (
            (0.0, HookEnded("web", 3), ("logs web: pre_start hook 1 ended with exit code 3; starting again in 100ms",)),
            (0.1, Due(), ("pre_start 0 web",)),
        ),
    ),
    "a stop during a pre_start hook signals the hook": (
        plan(service("web", pre_start=HOOKS)),
        (
            (0.0, StopRequested(TERM), ("signal web TERM",)),
            (0.1, HookEnded("web", 143), ("sweep",)),
            (0.1, Swept(), ("exit 0",)),
        ),
    ),
    "processes that a failed hook left behind are terminated first": (
        plan(service("web", pre_start=HOOKS)),
        (
            (0.0, HookEnded("web", 3, orphans=True), ("signal tree web TERM",)),
            (0.5, TreeGone("web"), ("sweep",)),
            (0.5, Swept(), ("exit 3",)),
        ),
    ),
    "post_start hooks run before the service is ready": (
        plan(service("db", post_start=HOOKS), _WEB),
        (
            (0.0, up("db"), ("post_start 0 db",)),
            (1.0, HookEnded("db", 0), ("post_start 1 db",)),
            (2.0, HookEnded("db", 0), ("spawn web",)),
        ),
    ),
    "a post_start hook that fails ends the run with its exit code": (
        plan(service("db", post_start=HOOKS)),
        (
            (0.0, up("db"), ("post_start 0 db",)),
            (1.0, HookEnded("db", 7), ("signal db TERM", "logs post_start hook 1 ended with exit code 7: stopping it")),
            (1.5, Exited("db", 0), ("sweep", "logs db: post_start hook 1 ended with exit code 7")),
            (1.5, Swept(), ("exit 7", "logs exit reason: db post_start hook 1 ended with exit code 7 [db]")),
        ),
    ),
    "pre_stop hooks run before the stop signal, inside the same grace period": (
        plan(service("web", pre_stop=HOOKS)),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web",)),
            (2.0, HookEnded("web", 1), ("pre_stop 1 web", "logs web: pre_stop hook 1 ended with exit code 1")),
            (3.0, HookEnded("web", 0), ("signal web TERM",)),
            (4.0, Exited("web", 0), ("sweep",)),
            (4.0, Swept(), ("exit 0",)),
        ),
    ),
    "a pre_stop hook that hangs leaves a quarter of the grace period for the stop signal": (
        plan(service("web", pre_stop=HOOKS, stop_grace_seconds=2.0)),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web",)),
            (
                2.5,
                Due(),
                ("signal web TERM", "logs web: its pre_stop hook 1 is still running: sending the stop signal"),
            ),
            (2.6, Exited("web", 0), ("signal tree web TERM",)),
            (2.7, HookEnded("web", 143), ("sweep", "logs web: stopped: ended with exit code 0 after 2.6s")),
            (2.7, Swept(), ("exit 0",)),
        ),
    ),
    "pre_stop hooks leave 2 s of the total, and no further hook runs after the stop signal": (
        plan(service("web", pre_stop=HOOKS, stop_grace_seconds=60.0), total=20.0),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web",)),
            (19.0, Due(), ("signal web TERM",)),
            (19.5, HookEnded("web", 0), ()),
            (21.0, Due(), ("kill web", "logs (x-cohabit: stop_grace_period): killing web")),
            (21.1, Exited("web", 137), ("kill all", "logs after 21.1s, because it did not stop in time")),
            (21.1, Swept(), ("exit 137",)),
        ),
    ),
    "pre_stop hooks share their part, and the service has what they leave": (
        plan(service("web", pre_stop=HOOKS)),
        (
            (0.0, up("web"), ()),
            (1.0, Requested("stop", ("web",)), ("pre_stop 0 web",)),
            (8.0, HookEnded("web", 0), ("pre_stop 1 web",)),
            (9.0, Due(), ("signal web TERM", "logs its pre_stop hook 2 is still running")),
            (11.0, Due(), ("kill web", "logs not stopped within its stop_grace_period of 10s: killing it")),
            (11.1, HookEnded("web", 137), ()),
            (11.1, Exited("web", 137), ("logs because it did not stop in time",)),
        ),
    ),
    "a daemon that appears beside a late pre_stop hook gets the stop signal": (
        plan(service("web", pre_stop=HOOKS, stop_grace_seconds=2.0)),
        (
            (0.0, up("web"), ()),
            (1.0, Requested("stop", ("web",)), ("pre_stop 0 web",)),
            (2.5, Due(), ("signal web TERM",)),
            (2.6, Daemonised("web", 200), ("signal web TERM",)),
        ),
    ),
    "a service that ends during a pre_stop hook needs no stop signal": (
        plan(service("web", pre_stop=HOOKS, stop_grace_seconds=2.0)),
        (
            (0.0, up("web"), ()),
            (1.0, Requested("stop", ("web",)), ("pre_stop 0 web",)),
            (2.0, Exited("web", 0), ("signal tree web TERM",)),
            (3.0, Due(), ("kill web",)),
            (3.0, HookEnded("web", 137), ()),
        ),
    ),
    "a service that ends by itself runs no pre_stop hooks": (
        plan(service("web", pre_stop=HOOKS)),
        ((0.0, up("web"), ()), (1.0, Exited("web", 4), ("sweep",)), (1.0, Swept(), ("exit 4",))),
    ),
}

OTHER: dict[str, Story] = {
    "a daemon is the main process of its service and gets the stop signal": (
        plan(service("web", restart=ALWAYS)),
        (
            (0.0, up("web"), ()),
            (0.1, Daemonised("web", 200), ("logs web: is in the background now, pid 200",)),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (1.1, Exited("web", 0), ("sweep",)),
            (1.1, Swept(), ("exit 0",)),
        ),
    ),
    "a service that goes into the background during its stop gets the stop signal again": (
        plan(service("web")),
        (
            (0.0, up("web"), ()),
            (0.1, StopRequested(TERM), ("signal web TERM",)),
            (0.2, Daemonised("web", 200), ("signal web TERM",)),
        ),
    ),
    "a scheduled job runs when it is due, never overlaps itself, and keeps the container running": (
        plan(service("backup", schedule=NIGHTLY, essential=False, job=True), service("once", essential=False)),
        (
            (0.0, ScheduleDue("backup"), ("spawn backup",)),
            (0.0, up("once"), ()),
            (0.1, up("backup"), ("all ready",)),
            (
                60.0,
                ScheduleDue("backup"),
                ("logs backup: its schedule is due, but the previous run is not finished: skipped",),
            ),
            (61.0, Exited("once", 0), ()),
            (70.0, Exited("backup", 1), ("logs backup: ended with exit code 1",)),
            (120.0, ScheduleDue("backup"), ("spawn backup",)),
            (120.0, up("backup"), ()),
            (125.0, StopRequested(TERM), ("signal backup TERM",)),
        ),
    ),
    "an essential scheduled job ends the container when it fails, not when it succeeds": (
        plan(service("backup", schedule=NIGHTLY, job=True)),
        (
            (0.0, ScheduleDue("backup"), ("spawn backup",)),
            (0.1, up("backup"), ()),
            (1.0, Exited("backup", 0), ()),
            (60.0, ScheduleDue("backup"), ("spawn backup",)),
            (60.0, up("backup"), ()),
            (61.0, Exited("backup", 5), ("sweep",)),
            (61.0, Swept(), ("exit 5",)),
        ),
    ),
}

_OLD = plan(service("db"), service("web", Dependency("db", restart=True)), service("worker", "db"))
_NEW_DB = service("db").replace(command=("db", "--new"))

RELOAD: dict[str, Story] = {
    "a changed service is restarted in dependency order, with its dependents that have restart: true": (
        _OLD,
        (
            (0.0, up("db"), ("spawn web", "spawn worker")),
            (0.0, up("web"), ()),
            (0.0, up("worker"), ("all ready",)),
            (5.0, ReloadRequested(), ("load",)),
            (
                5.1,
                Loaded(plan(_NEW_DB, *list(_OLD.services.values())[1:])),
                ("prepare", "signal web TERM", "logs reload: db changed (command): restarting"),
            ),
            (5.2, Exited("web", 0), ("signal db TERM",)),
            (5.3, Exited("db", 0), ("spawn db",)),
            (5.4, up("db"), ("spawn web",)),
        ),
    ),
    "removed services stop in reverse order, although one between them has completed": (
        plan(
            service("db"),
            service("migrate", "db", essential=False),
            service("app", completed("migrate")),
            service("other"),
        ),
        (
            (0.0, up("db"), ("spawn migrate",)),
            (0.0, up("other"), ()),
            (0.0, up("migrate"), ()),
            (1.0, Exited("migrate", 0), ("spawn app",)),
            (1.0, up("app"), ("all ready",)),
            (2.0, ReloadRequested(), ("load",)),
            (2.1, Loaded(plan(service("other"))), ("prepare", "signal app TERM")),
            (2.5, Exited("app", 0), ("signal db TERM", "forget app", "forget migrate")),
            (2.6, Exited("db", 0), ("forget db",)),
        ),
    ),
    "an added service starts, a removed one stops and is forgotten": (
        plan(service("a"), service("b")),
        (
            (0.0, up("a"), ()),
            (0.0, up("b"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (1.1, Loaded(plan(service("b"), service("c"))), ("prepare", "signal a TERM", "spawn c")),
            (1.2, Exited("a", 0), ("forget a",)),
            (1.2, up("c"), ()),
            (2.0, Exited("b", 3), ("signal c TERM",)),
        ),
    ),
    "a removed service may be added again before it has ended": (
        plan(service("a"), service("b")),
        (
            (0.0, up("a"), ()),
            (0.0, up("b"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (1.1, Loaded(plan(service("b"))), ("prepare", "signal a TERM")),
            (1.2, ReloadRequested(), ("load",)),
            (1.3, Loaded(plan(service("a"), service("b"))), ("prepare",)),
            (1.4, Exited("a", 0), ("spawn a",)),
        ),
    ),
    "a changed total grace period is logged and applied": (
        plan(service("a", stop_grace_seconds=99.0)),
        (
            (0.0, up("a"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (
                1.1,
                Loaded(plan(service("a", stop_grace_seconds=99.0), total=20.0)),
                ("prepare", "logs reload: stop_grace_period changed: 9s -> 20s"),
            ),
            (2.0, StopRequested(TERM), ("signal a TERM",)),
            (
                22.0,
                Due(),
                ("kill a", "logs not stopped within the total of 20s (x-cohabit: stop_grace_period): killing a"),
            ),
        ),
    ),
    "a change that does not affect the process needs no restart": (
        plan(service("a")),
        (
            (0.0, up("a"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (
                1.1,
                Loaded(plan(service("a", restart=ALWAYS))),
                ("prepare", "logs reload: a changed (restart): no restart needed"),
            ),
            (2.0, Exited("a", 3), ("logs starting again in 100ms",)),
        ),
    ),
    "a reload of an invalid file changes nothing": (
        plan(service("a")),
        (
            (0.0, up("a"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (
                1.1,
                LoadFailed(("f:3: unknown key",), 78),
                ("logs f:3: unknown key", "logs cannot reload: see the messages above"),
            ),
            (2.0, ReloadRequested(), ("load",)),
        ),
    ),
    "after a reload request during a read the file is read once more": (
        plan(service("a")),
        (
            (0.0, up("a"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (1.1, ReloadRequested(), ()),
            (1.1, ReloadRequested(), ()),
            (1.2, Loaded(plan(service("a"))), ("load",)),
            (1.3, Loaded(plan(service("a"))), ()),
        ),
    ),
    "a reload during the stop is refused": (
        plan(service("a")),
        (
            (0.0, up("a"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (1.1, StopRequested(TERM), ("signal a TERM",)),
            (1.2, Loaded(plan(service("b"))), ()),
            (1.3, ReloadRequested(), ("logs cannot reload: everything is being stopped",)),
            (1.4, Exited("a", 0), ("sweep",)),
        ),
    ),
    "a service that ended for good starts again when it is changed": (
        plan(service("job", essential=False), service("web", completed("job", required=False))),
        (
            (0.0, up("job"), ()),
            (1.0, Exited("job", 3), ("spawn web",)),
            (1.0, up("web"), ()),
            (2.0, ReloadRequested(), ("load",)),
            (
                2.1,
                Loaded(
                    plan(
                        service("job", essential=False).replace(command=("better",)),
                        service("web", completed("job", required=False)),
                    )
                ),
                ("prepare", "spawn job"),
            ),
        ),
    ),
    "of two changes in succession the newest is applied": (
        plan(service("a")),
        (
            (0.0, up("a"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (1.1, Loaded(plan(service("a").replace(command=("two",)))), ("prepare", "signal a TERM")),
            (1.2, ReloadRequested(), ("load",)),
            (1.3, Loaded(plan(service("a").replace(command=("three",)))), ("prepare",)),
            (1.4, Exited("a", 0), ("spawn a",)),
        ),
    ),
}

test_story, test_reexecution, test_deadlines = checks_of({**HEALTH, **HOOK, **OTHER, **RELOAD})
