"""Stories that the simulator found: rare combinations of hooks, daemons, health and reload.

engine_story.py describes the format, docs/explanation/simulator.md the simulator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cohabit.engine.events import (
    Daemonised,
    Due,
    Exited,
    HookEnded,
    Loaded,
    Notified,
    Probed,
    ReloadRequested,
    ScheduleDue,
    Spawned,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Dependency, Hook, Probe, Restart, Schedule
from unit.engine_story import TERM, checks_of, completed, plan, service, start_failed, up

if TYPE_CHECKING:
    from unit.engine_story import Story

ACTIVE = Probe("tcp", "127.0.0.1", 5432, interval_seconds=10.0, retries=1, start_interval_seconds=1.0)
NOTIFY = Probe("notify", interval_seconds=30.0, retries=1)
HOOKS = (Hook(("one",)), Hook(("two",)))
ALWAYS = Restart("always")
NIGHTLY = Schedule("0 3 * * *")

HOOK: dict[str, Story] = {
    "a service that is stopped during a post_start hook runs no pre_stop hooks": (
        plan(service("web", post_start=HOOKS, pre_stop=HOOKS)),
        (
            (0.0, up("web"), ("post_start 0 web",)),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (1.1, HookEnded("web", 0), ()),
            (1.2, Exited("web", 0), ("sweep",)),
        ),
    ),
    "a service whose main process ends during a hook is down after that hook": (
        plan(service("web", pre_stop=HOOKS, restart=ALWAYS), service("db")),
        (
            (0.0, up("web"), ()),
            (0.0, up("db"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web", "signal db TERM")),
            (1.0, Exited("db", 0), ()),
            (1.0, Exited("web", 0), ("signal tree web TERM",)),
            (1.1, HookEnded("web", 143), ("sweep",)),
        ),
    ),
    "a service is down after the processes that its hook left behind": (
        plan(service("web", pre_stop=HOOKS)),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web",)),
            (1.0, Exited("web", 0), ("signal tree web TERM",)),
            (1.1, HookEnded("web", 143, orphans=True), ()),
            (1.2, TreeGone("web"), ("sweep",)),
        ),
    ),
    "processes that hooks left behind are terminated after a failed start": (
        plan(service("web", pre_start=HOOKS[:1], restart=ALWAYS)),
        (
            (0.0, HookEnded("web", 0, orphans=True), ("spawn web",)),
            (0.0, start_failed("web", "no room", 71, orphans=True), ("signal tree web TERM",)),
            (0.5, TreeGone("web"), ("logs web: cannot start: no room; starting again in 100ms",)),
        ),
    ),
    "a hook that fails during the stop changes nothing": (
        plan(service("db", post_start=HOOKS), service("web", "db")),
        (
            (0.0, up("db"), ("post_start 0 db", "spawn web")),
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (1.1, HookEnded("db", 3), ("logs db: post_start hook 1 ended with exit code 3",)),
            (1.2, Exited("web", 0), ("signal db TERM",)),
            (1.3, Exited("db", 0), ("sweep",)),
            (1.3, Swept(), ("exit 0",)),
        ),
    ),
    "a service in its pre_start hooks does not start during the stop": (
        plan(service("db", pre_start=HOOKS[:1], restart=ALWAYS), service("web", "db")),
        (
            (0.0, HookEnded("db", 0), ("spawn db",)),
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, Exited("db", 1), ()),
            (1.1, Due(), ("pre_start 0 db",)),
            (1.2, StopRequested(TERM), ("signal web TERM",)),
            (1.3, HookEnded("db", 0), ()),
            (1.4, Exited("web", 0), ("sweep",)),
        ),
    ),
    "a daemon that appears during pre_stop hooks gets the stop signal after them": (
        plan(service("web", pre_stop=HOOKS[:1])),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web",)),
            (1.1, Daemonised("web", 200), ()),
            (1.2, HookEnded("web", 0), ("signal web TERM",)),
        ),
    ),
}

HEALTH: dict[str, Story] = {
    "unhealthy during the stop: logged only": (
        plan(service("db", probe=ACTIVE.replace(on_failure="restart")), service("web", "db")),
        (
            (0.0, up("db"), ("probe db", "spawn web")),
            (0.0, up("web"), ()),
            (1.0, Probed("db", True), ("all ready",)),
            (11.0, Due(), ("probe db",)),
            (11.1, StopRequested(TERM), ("signal web TERM",)),
            (11.2, Probed("db", False, "refused"), ("logs db: unhealthy: refused",)),
            (11.3, Exited("web", 0), ("stop probe db", "signal db TERM")),
        ),
    ),
    "a service is healthy again after its next watchdog message": (
        plan(service("db", probe=NOTIFY.replace(watchdog_seconds=5.0))),
        (
            (0.0, up("db"), ()),
            (0.5, Notified("db", watchdog="1"), ()),
            (1.0, Notified("db", ready=True), ("all ready",)),
            (6.0, Due(), ("logs db: unhealthy: no watchdog message for 5 s",)),
            (9.0, Notified("db", watchdog="1"), ("logs db: healthy again",)),
            (14.0, Due(), ("logs db: unhealthy: no watchdog message for 5 s",)),
        ),
    ),
    "EXTEND_TIMEOUT_USEC= during a post_start hook counts": (
        plan(service("db", probe=NOTIFY, post_start=HOOKS[:1])),
        (
            (0.0, up("db"), ("post_start 0 db",)),
            (1.0, Notified("db", extend_seconds=90.0), ()),
            (2.0, HookEnded("db", 0), ()),
            (91.0, Due(), ("logs db: unhealthy: it has not reported that it is ready",)),
        ),
    ),
    "on_failure does not apply to a service that ends and leaves processes behind": (
        plan(service("db", probe=NOTIFY.replace(on_failure="exit"), essential=False), service("web")),
        (
            (0.0, up("db"), ()),
            (0.0, up("web"), ()),
            (1.0, Exited("db", 3, orphans=True), ("stop probe db", "signal tree db TERM")),
            (1.1, TreeGone("db"), ()),
        ),
    ),
    "AllReady waits for a service that is restarting": (
        plan(service("db", restart=ALWAYS), service("web", probe=ACTIVE)),
        (
            (0.0, up("db"), ()),
            (0.0, up("web"), ("probe web",)),
            (0.5, Exited("db", 1), ()),
            (0.55, Probed("web", True), ("logs web: ready",)),
            (0.6, Due(), ("spawn db",)),
            (0.6, up("db"), ("all ready",)),
        ),
    ),
}

END: dict[str, Story] = {
    "no service starts because an essential service has ended": (
        plan(service("db"), service("web", completed("db", required=False))),
        (
            (0.0, up("db"), ()),
            (1.0, Exited("db", 3), ("sweep",)),
            (1.0, Swept(), ("exit 3",)),
        ),
    ),
    "an essential scheduled job that succeeds may leave processes behind": (
        plan(service("backup", schedule=NIGHTLY, job=True)),
        (
            (0.0, ScheduleDue("backup"), ("spawn backup",)),
            (0.0, up("backup"), ()),
            (1.0, Exited("backup", 0, orphans=True), ("signal tree backup TERM",)),
            (1.1, TreeGone("backup"), ()),
            (60.0, ScheduleDue("backup"), ("spawn backup",)),
        ),
    ),
}

_JOB = service("job", essential=False)
_WORK = service("work", essential=False)
_WEB = service("web", completed("job", required=False), essential=False)
_DEPENDENT = service("dependent", completed("job"), essential=False)
_BETTER = _JOB.replace(command=("better",))

RELOAD: dict[str, Story] = {
    "a failure does not count after a reload that corrects it": (
        plan(_JOB, _WORK),
        (
            (0.0, up("job"), ()),
            (0.0, up("work"), ()),
            (1.0, Exited("job", 3), ()),
            (2.0, ReloadRequested(), ("load",)),
            (2.1, Loaded(plan(_BETTER, _WORK)), ("prepare", "spawn job")),
            (2.1, up("job"), ()),
            (3.0, Exited("job", 0), ()),
            (4.0, Exited("work", 5), ("sweep",)),
            (4.0, Swept(), ("exit 5", "logs all services have ended; work ended with exit code 5")),
        ),
    ),
    "a service that fails again after a reload counts as the last failure": (
        plan(_JOB, _DEPENDENT, _WORK),
        (
            (0.0, up("job"), ()),
            (0.0, up("work"), ()),
            (1.0, Exited("job", 3), ("logs dependent: cannot start: it waits for job",)),
            (2.0, ReloadRequested(), ("load",)),
            (
                2.1,
                Loaded(plan(_BETTER, _DEPENDENT.replace(command=("new",)), _WORK)),
                ("prepare", "spawn job"),
            ),
            (2.1, up("job"), ()),
            (3.0, Exited("work", 5), ()),
            (4.0, Exited("job", 7), ("sweep",)),
            (4.0, Swept(), ("exit 5", "logs all services have ended; work ended with exit code 5")),
        ),
    ),
    "the order of a stop is that of the newest Plan": (
        plan(service("db"), service("web")),
        (
            (0.0, up("db"), ()),
            (0.0, up("web"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (
                1.1,
                Loaded(plan(service("db").replace(command=("new",)), service("web", "db").replace(command=("new",)))),
                ("prepare", "signal web TERM"),
            ),
            (1.2, Exited("web", 0), ("signal db TERM",)),
            (1.3, Exited("db", 0), ("spawn db",)),
            (1.4, up("db"), ("spawn web",)),
        ),
    ),
    "a service that is about to restart is waited for, even if it failed before": (
        plan(_WEB, _JOB, _WORK),
        (
            (0.0, up("job"), ()),
            (0.0, up("work"), ()),
            (1.0, Exited("job", 3), ("spawn web",)),
            (1.0, up("web"), ()),
            (1.5, Exited("web", 0), ()),
            (2.0, ReloadRequested(), ("load",)),
            (2.1, Loaded(plan(_WEB.replace(command=("new",)), _BETTER, _WORK)), ("prepare", "spawn job")),
            (2.1, up("job"), ()),
            (3.0, Exited("job", 3), ("spawn web",)),
        ),
    ),
    "AllReady waits for a pending restart": (
        plan(service("db"), service("web", Dependency("db", restart=True), probe=ACTIVE)),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ("probe web",)),
            (1.0, ReloadRequested(), ("load",)),
            (
                1.1,
                Loaded(plan(service("db").replace(command=("new",)), service("web", probe=ACTIVE))),
                ("prepare", "signal db TERM"),
            ),
            (1.2, Probed("web", True), ()),
            (1.3, Exited("db", 0), ("spawn db",)),
            (1.3, up("db"), ("all ready",)),
        ),
    ),
}

test_story, test_reexecution, test_deadlines = checks_of({**HOOK, **HEALTH, **END, **RELOAD})


@pytest.mark.parametrize("late", [ReloadRequested(), StopRequested(TERM), ScheduleDue("web"), Spawned("web", 1), Due()])
def test_events_after_exit_have_no_effects(
    late: ReloadRequested | StopRequested | ScheduleDue | Spawned | Due,
) -> None:
    """The reactor empties its queue before it exits; the engine gives no effects for it."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web"))), 0.0)
    engine.step(start_failed("web", "not found", 127), 0.0)
    engine.step(Swept(), 0.0)
    assert engine.step(late, 1.0) == []
    assert engine.deadline() is None


def test_a_due_schedule_that_was_removed_is_ignored() -> None:
    """The event may be in the queue behind a reload that removed the schedule."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("job", schedule=NIGHTLY, job=True))), 0.0)
    engine.step(ReloadRequested(), 1.0)
    engine.step(Loaded(plan(service("job"))), 1.1)
    assert engine.step(ScheduleDue("job"), 1.1) == []


def test_a_long_chain_with_restart_true_restarts_together() -> None:
    """2000 services in a row exceed Python's recursion limit."""
    chain = [
        service(f"s{number}", *([Dependency(f"s{number - 1}", restart=True)] if number else []))
        for number in range(2000)
    ]
    engine = Supervisor()
    engine.step(Loaded(plan(*chain)), 0.0)
    for number in range(2000):
        engine.step(up(f"s{number}"), 0.0)
    engine.step(ReloadRequested(), 1.0)
    engine.step(Loaded(plan(chain[0].replace(command=("new",)), *chain[1:])), 1.0)
    assert all(unit.restart_pending for unit in engine.units.values())
