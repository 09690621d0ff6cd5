"""Stories that the simulator found: hooks, daemons, health and reload at moments that nobody thinks of.

See engine_story.py for how they are written, and docs/explanation/simulator.md for where they come from.
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
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Dependency, Hook, Probe, Restart, Schedule
from unit.engine_story import TERM, checks_of, completed, plan, service, up

if TYPE_CHECKING:
    from unit.engine_story import Story

ASKED = Probe("tcp", "127.0.0.1", 5432, interval_seconds=10.0, retries=1, start_interval_seconds=1.0)
NOTIFY = Probe("notify", interval_seconds=30.0, retries=1)
HOOKS = (Hook(("one",)), Hook(("two",)))
ALWAYS = Restart("always")
NIGHTLY = Schedule("0 3 * * *")

HOOK: dict[str, Story] = {
    "told to stop in the middle of a hook after its start, it has no hooks before the stop": (
        plan(service("web", post_start=HOOKS, pre_stop=HOOKS)),
        (
            (0.0, up("web"), ("post_start 0 web",)),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (1.1, HookEnded("web", 0), ()),
            (1.2, Exited("web", 0), ("sweep",)),
        ),
    ),
    "who dies while a hook of it runs is not gone before that hook": (
        plan(service("web", pre_stop=HOOKS, restart=ALWAYS), service("db")),
        (
            (0.0, up("web"), ()),
            (0.0, up("db"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web", "signal db TERM")),
            (1.0, Exited("db", 0), ()),
            (1.0, Exited("web", 0), ("ask the rest of web TERM",)),
            (1.1, HookEnded("web", 143), ("sweep",)),
        ),
    ),
    "and a hook that leaves somebody behind is not the last one": (
        plan(service("web", pre_stop=HOOKS)),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web",)),
            (1.0, Exited("web", 0), ("ask the rest of web TERM",)),
            (1.1, HookEnded("web", 143, orphans=True), ()),
            (1.2, TreeGone("web"), ("sweep",)),
        ),
    ),
    "what the hooks left behind does not outlive a start that failed": (
        plan(service("web", pre_start=HOOKS[:1], restart=ALWAYS)),
        (
            (0.0, HookEnded("web", 0, orphans=True), ("spawn web",)),
            (0.0, SpawnFailed("web", "no room", 71, orphans=True), ("ask the rest of web TERM",)),
            (0.5, TreeGone("web"), ("says web: cannot start: no room; starting again in 100ms",)),
        ),
    ),
    "a hook that fails while everything ends changes nothing": (
        plan(service("db", post_start=HOOKS), service("web", "db")),
        (
            (0.0, up("db"), ("post_start 0 db", "spawn web")),
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (1.1, HookEnded("db", 3), ("says db: post_start hook 1 ended with exit code 3",)),
            (1.2, Exited("web", 0), ("signal db TERM",)),
            (1.3, Exited("db", 0), ("sweep",)),
            (1.3, Swept(), ("exit 0",)),
        ),
    ),
    "what is prepared for its start while everything ends does not start": (
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
    "a daemon that shows itself between the hooks before the stop is told when they are through": (
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
    "unhealthy while everything ends: nothing but words": (
        plan(service("db", probe=ASKED.replace(on_failure="restart")), service("web", "db")),
        (
            (0.0, up("db"), ("ask db", "spawn web")),
            (0.0, up("web"), ()),
            (1.0, Probed("db", True), ("all ready",)),
            (11.0, Due(), ("ask db",)),
            (11.1, StopRequested(TERM), ("signal web TERM",)),
            (11.2, Probed("db", False, "refused"), ("says db: unhealthy: refused",)),
            (11.3, Exited("web", 0), ("stop asking db", "signal db TERM")),
        ),
    ),
    "a watchdog that is fed again is well again": (
        plan(service("db", probe=NOTIFY.replace(watchdog_seconds=5.0))),
        (
            (0.0, up("db"), ()),
            (0.5, Notified("db", watchdog="1"), ()),
            (1.0, Notified("db", ready=True), ("all ready",)),
            (6.0, Due(), ("says db: unhealthy: silent for 5 s",)),
            (9.0, Notified("db", watchdog="1"), ("says db: healthy again",)),
            (14.0, Due(), ("says db: unhealthy: silent for 5 s",)),
        ),
    ),
    "time that is asked for in the middle of the start is given": (
        plan(service("db", probe=NOTIFY, post_start=HOOKS[:1])),
        (
            (0.0, up("db"), ("post_start 0 db",)),
            (1.0, Notified("db", extend_seconds=90.0), ()),
            (2.0, HookEnded("db", 0), ()),
            (91.0, Due(), ("says db: unhealthy: it has not said that it is ready",)),
        ),
    ),
    "on_failure is about health: who ends and leaves somebody behind is not unhealthy": (
        plan(service("db", probe=NOTIFY.replace(on_failure="exit"), essential=False), service("web")),
        (
            (0.0, up("db"), ()),
            (0.0, up("web"), ()),
            (1.0, Exited("db", 3, orphans=True), ("stop asking db", "ask the rest of db TERM")),
            (1.1, TreeGone("db"), ()),
        ),
    ),
    "not everything is ready while one is on its way up again": (
        plan(service("db", restart=ALWAYS), service("web", probe=ASKED)),
        (
            (0.0, up("db"), ()),
            (0.0, up("web"), ("ask web",)),
            (0.5, Exited("db", 1), ()),
            (0.55, Probed("web", True), ("says web: ready",)),
            (0.6, Due(), ("spawn db",)),
            (0.6, up("db"), ("all ready",)),
        ),
    ),
}

END: dict[str, Story] = {
    "nobody is started for whom the end of an essential service would make room": (
        plan(service("db"), service("web", completed("db", required=False))),
        (
            (0.0, up("db"), ()),
            (1.0, Exited("db", 3), ("sweep",)),
            (1.0, Swept(), ("exit 3",)),
        ),
    ),
    "an essential job on a schedule that is done may leave somebody behind": (
        plan(service("backup", schedule=NIGHTLY, job=True)),
        (
            (0.0, ScheduleDue("backup"), ("spawn backup",)),
            (0.0, up("backup"), ()),
            (1.0, Exited("backup", 0, orphans=True), ("ask the rest of backup TERM",)),
            (1.1, TreeGone("backup"), ()),
            (60.0, ScheduleDue("backup"), ("spawn backup",)),
        ),
    ),
}

_JOB = service("job", essential=False)
_WORK = service("work", essential=False)
_WEB = service("web", completed("job", required=False), essential=False)
_NEEDY = service("needy", completed("job"), essential=False)
_BETTER = _JOB.replace(command=("better",))

RELOAD: dict[str, Story] = {
    "a failure that a reload has made good is no failure any more": (
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
            (4.0, Swept(), ("exit 5", "says all services have ended; work ended with exit code 5")),
        ),
    ),
    "what failed before a reload and fails again failed last": (
        plan(_JOB, _NEEDY, _WORK),
        (
            (0.0, up("job"), ()),
            (0.0, up("work"), ()),
            (1.0, Exited("job", 3), ("says needy: cannot start: it waits for job",)),
            (2.0, ReloadRequested(), ("load",)),
            (
                2.1,
                Loaded(plan(_BETTER, _NEEDY.replace(command=("new",)), _WORK)),
                ("prepare", "spawn job"),
            ),
            (2.1, up("job"), ()),
            (3.0, Exited("work", 5), ()),
            (4.0, Exited("job", 7), ("sweep",)),
            (4.0, Swept(), ("exit 5", "says all services have ended; work ended with exit code 5")),
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
    "who is about to be started anew is waited for, however it had ended": (
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
    "not everything is ready while one waits for its restart": (
        plan(service("db"), service("web", Dependency("db", restart=True), probe=ASKED)),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ("ask web",)),
            (1.0, ReloadRequested(), ("load",)),
            (
                1.1,
                Loaded(plan(service("db").replace(command=("new",)), service("web", probe=ASKED))),
                ("prepare", "signal db TERM"),
            ),
            (1.2, Probed("web", True), ()),
            (1.3, Exited("db", 0), ("spawn db",)),
            (1.3, up("db"), ("all ready",)),
        ),
    ),
}

test_story, test_story_with_a_reexecution_before_each_row, test_deadlines_of_story = checks_of(
    {**HOOK, **HEALTH, **END, **RELOAD}
)


@pytest.mark.parametrize("late", [ReloadRequested(), StopRequested(TERM), ScheduleDue("web"), Spawned("web", 1), Due()])
def test_what_lay_in_the_queue_at_the_end_leads_to_nothing(
    late: ReloadRequested | StopRequested | ScheduleDue | Spawned | Due,
) -> None:
    """The reactor empties its queue before it leaves; nothing may be wanted any more."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web"))), 0.0)
    engine.step(SpawnFailed("web", "not found", 127), 0.0)
    engine.step(Swept(), 0.0)
    assert engine.step(late, 1.0) == []
    assert engine.deadline() is None


def test_the_time_of_a_schedule_that_is_no_more_means_nothing() -> None:
    """It may have lain in the queue behind the reload that made a job an ordinary service."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("job", schedule=NIGHTLY, job=True))), 0.0)
    engine.step(ReloadRequested(), 1.0)
    engine.step(Loaded(plan(service("job"))), 1.1)
    assert engine.step(ScheduleDue("job"), 1.1) == []


def test_a_long_chain_is_restarted_together() -> None:
    """A thousand services that are to be restarted with each other are more than Python's recursion bears."""
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
