"""The whole life of a service as stories: health, hooks, schedules, daemons, reload. See engine_story.py.

Every story is also told with a re-execution of process 1 before each of its rows.
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
    ScheduleDue,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.plan.model import Dependency, Hook, Probe, Restart, Schedule
from unit.engine_story import TERM, checks_of, completed, healthy, plan, service, up

if TYPE_CHECKING:
    from unit.engine_story import Story

ASKED = Probe("tcp", "127.0.0.1", 5432, interval_seconds=10.0, retries=2, start_interval_seconds=1.0)
NOTIFY = Probe("notify", interval_seconds=30.0, retries=3)
HOOKS = (Hook(("one",)), Hook(("two",)))
ALWAYS = Restart("always")
NIGHTLY = Schedule("0 3 * * *")

_DB = service("db", probe=ASKED)
_WEB = service("web", healthy("db"))

HEALTH: dict[str, Story] = {
    "until the first success it is asked every start interval": (
        plan(_DB, _WEB),
        (
            (0.0, up("db"), ("ask db",)),
            (0.2, Probed("db", False, "refused"), ()),
            (1.0, Due(), ("ask db",)),
            (1.5, Probed("db", True), ("spawn web", "says db: ready")),
            (1.5, up("web"), ("all ready",)),
            (11.5, Due(), ("ask db",)),
        ),
    ),
    "a failure before the first success counts once per interval, and who waits is named": (
        plan(_DB, _WEB),
        (
            (0.0, up("db"), ("ask db",)),
            (9.9, Probed("db", False, "refused"), ("ask db",)),
            (10.0, Probed("db", False, "refused"), ()),
            (10.9, Due(), ("ask db",)),
            (11.0, Probed("db", False, "refused"), ()),
            (11.9, Due(), ("ask db",)),
            (
                20.0,
                Probed("db", False, "refused"),
                ("says db: unhealthy: refused (web cannot start before it is well)",),
            ),
            (30.0, Due(), ("ask db",)),
            (30.1, Probed("db", True), ("spawn web", "says db: healthy again")),
        ),
    ),
    "the start period forgives, and an answer that comes late is still asked for at once": (
        plan(service("db", probe=ASKED.replace(start_period_seconds=60.0, retries=1))),
        (
            (0.0, up("db"), ("ask db",)),
            (59.0, Probed("db", False), ("ask db",)),
            (69.0, Probed("db", False), ("ask db",)),
            (70.0, Probed("db", False), ("says db: unhealthy",)),
        ),
    ),
    "unhealthy with on_failure restart: stopped and started again, whatever its restart policy": (
        plan(service("db", probe=ASKED.replace(on_failure="restart", retries=1))),
        (
            (0.0, up("db"), ("ask db",)),
            (1.0, Probed("db", True), ()),
            (11.0, Due(), ("ask db",)),
            (
                11.0,
                Probed("db", False, "no answer"),
                ("stop asking db", "signal db TERM", "says db: unhealthy: no answer"),
            ),
            (12.0, Exited("db", 0), ("says db: unhealthy: no answer; starting again in 100ms (restart 1)",)),
            (12.1, Due(), ("spawn db",)),
        ),
    ),
    "unhealthy with on_failure exit: the container ends with 1": (
        plan(service("db", probe=ASKED.replace(on_failure="exit", retries=1), essential=False), service("web")),
        (
            (0.0, up("db"), ("ask db",)),
            (0.0, up("web"), ()),
            (1.0, Probed("db", True), ()),
            (11.0, Due(), ("ask db",)),
            (11.0, Probed("db", False), ("stop asking db", "signal db TERM", "signal web TERM")),
            (11.1, Exited("db", 0), ()),
            (11.1, Exited("web", 0), ("sweep",)),
            (11.1, Swept(), ("exit 1", "says db unhealthy")),
        ),
    ),
    "sd_notify: READY=1 is readiness, STATUS its words": (
        plan(service("db", probe=NOTIFY), _WEB),
        (
            (0.0, up("db"), ()),
            (0.5, Notified("db", status="recovering"), ()),
            (2.0, Notified("db", ready=True), ("spawn web", "says db: ready")),
        ),
    ),
    "sd_notify: silence makes it unhealthy in the end, and asking for time puts that off": (
        plan(service("db", probe=NOTIFY.replace(retries=1)), _WEB),
        (
            (0.0, up("db"), ()),
            (20.0, Notified("db", extend_seconds=60.0), ()),
            (
                80.0,
                Due(),
                ("says db: unhealthy: it has not said that it is ready (web cannot start before it is well)",),
            ),
            (81.0, Notified("db", ready=True), ("spawn web",)),
        ),
    ),
    "a watchdog that is silent is restarted": (
        plan(service("db", probe=NOTIFY.replace(watchdog_seconds=5.0, on_failure="restart"))),
        (
            (0.0, up("db"), ()),
            (1.0, Notified("db", ready=True), ()),
            (5.0, Notified("db", watchdog="1"), ()),
            (10.0, Due(), ("stop asking db", "signal db TERM", "says db: unhealthy: silent for 5 s")),
        ),
    ),
    "a watchdog that is triggered counts at once": (
        plan(service("db", probe=NOTIFY.replace(on_failure="restart"))),
        (
            (0.0, up("db"), ()),
            (1.0, Notified("db", ready=True), ()),
            (2.0, Notified("db", watchdog="trigger"), ("stop asking db", "signal db TERM")),
        ),
    ),
}

HOOK: dict[str, Story] = {
    "hooks before the start run one after the other, then the command": (
        plan(service("web", pre_start=HOOKS)),
        (
            (0.0, HookEnded("web", 0), ("pre_start 1 web",)),
            (1.0, HookEnded("web", 0), ("spawn web",)),
            (1.0, up("web"), ()),
        ),
    ),
    "a hook that fails before the start is a start that failed": (
        plan(service("web", pre_start=HOOKS, restart=ALWAYS)),
        (
            (0.0, HookEnded("web", 3), ("says web: pre_start hook 1 ended with exit code 3; starting again in 100ms",)),
            (0.1, Due(), ("pre_start 0 web",)),
        ),
    ),
    "a hook before the start is told to stop like the service": (
        plan(service("web", pre_start=HOOKS)),
        (
            (0.0, StopRequested(TERM), ("signal web TERM",)),
            (0.1, HookEnded("web", 143), ("sweep",)),
            (0.1, Swept(), ("exit 0",)),
        ),
    ),
    "what a failed hook left behind is ended first": (
        plan(service("web", pre_start=HOOKS)),
        (
            (0.0, HookEnded("web", 3, orphans=True), ("ask the rest of web TERM",)),
            (0.5, TreeGone("web"), ("sweep",)),
            (0.5, Swept(), ("exit 3",)),
        ),
    ),
    "hooks after the start come before readiness": (
        plan(service("db", post_start=HOOKS), _WEB),
        (
            (0.0, up("db"), ("post_start 0 db",)),
            (1.0, HookEnded("db", 0), ("post_start 1 db",)),
            (2.0, HookEnded("db", 0), ("spawn web",)),
        ),
    ),
    "a hook that fails after the start ends the run, with its code": (
        plan(service("db", post_start=HOOKS)),
        (
            (0.0, up("db"), ("post_start 0 db",)),
            (1.0, HookEnded("db", 7), ("signal db TERM", "says post_start hook 1 ended with exit code 7: stopping it")),
            (1.5, Exited("db", 0), ("sweep", "says db: post_start hook 1 ended with exit code 7")),
            (1.5, Swept(), ("exit 7", "says last word: db post_start hook 1 ended with exit code 7 [db]")),
        ),
    ),
    "hooks before the stop come before its signal, inside the same grace": (
        plan(service("web", pre_stop=HOOKS)),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web",)),
            (2.0, HookEnded("web", 1), ("pre_stop 1 web", "says web: pre_stop hook 1 ended with exit code 1")),
            (3.0, HookEnded("web", 0), ("signal web TERM",)),
            (4.0, Exited("web", 0), ("sweep",)),
            (4.0, Swept(), ("exit 0",)),
        ),
    ),
    "a hook before the stop that hangs is cut by the grace": (
        plan(service("web", pre_stop=HOOKS, stop_grace_seconds=2.0)),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web",)),
            (3.0, Due(), ("kill web", "says (stop_grace_period 2s), since its pre_stop hook 1 has not ended")),
            (3.1, HookEnded("web", 137), ()),
            (3.1, Exited("web", 137), ("sweep", "says after 3.1s, since its pre_stop hook 1 had not ended")),
            (3.1, Swept(), ("exit 137",)),
        ),
    ),
    "a hook before the stop that hangs until the time of all is up is named, too": (
        plan(service("web", pre_stop=HOOKS), total=5.0),
        (
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("pre_stop 0 web",)),
            (6.0, Due(), ("kill web", "says time is up for web")),
            (6.1, Exited("web", 137), ("kill web",)),
            (6.1, HookEnded("web", 137), ("kill all", "says after 6.1s, since its pre_stop hook 1 had not ended")),
            (6.1, Swept(), ("exit 137",)),
        ),
    ),
    "who dies by itself has no hooks before the stop": (
        plan(service("web", pre_stop=HOOKS)),
        ((0.0, up("web"), ()), (1.0, Exited("web", 4), ("sweep",)), (1.0, Swept(), ("exit 4",))),
    ),
}

LIFE: dict[str, Story] = {
    "a daemon stays its service's, and is the one that is told to stop": (
        plan(service("web", restart=ALWAYS)),
        (
            (0.0, up("web"), ()),
            (0.1, Daemonised("web", 200), ("says web: is in the background now, pid 200",)),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (1.1, Exited("web", 0), ("sweep",)),
            (1.1, Swept(), ("exit 0",)),
        ),
    ),
    "who puts itself in the background while it is told to stop is told again": (
        plan(service("web")),
        (
            (0.0, up("web"), ()),
            (0.1, StopRequested(TERM), ("signal web TERM",)),
            (0.2, Daemonised("web", 200), ("signal web TERM",)),
        ),
    ),
    "a scheduled job runs when its time has come, never beside itself, and keeps the container alive": (
        plan(service("backup", schedule=NIGHTLY, essential=False, job=True), service("once", essential=False)),
        (
            (0.0, ScheduleDue("backup"), ("spawn backup",)),
            (0.0, up("once"), ()),
            (0.1, up("backup"), ("all ready",)),
            (60.0, ScheduleDue("backup"), ("says backup: its schedule says now, but it has not ended yet: skipped",)),
            (61.0, Exited("once", 0), ()),
            (70.0, Exited("backup", 1), ("says backup: ended with exit code 1",)),
            (120.0, ScheduleDue("backup"), ("spawn backup",)),
            (120.0, up("backup"), ()),
            (125.0, StopRequested(TERM), ("signal backup TERM",)),
        ),
    ),
    "an essential scheduled job takes the container along when it fails, not when it is done": (
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
    "what changed is replaced, with those that asked for it, in the order of dependencies": (
        _OLD,
        (
            (0.0, up("db"), ("spawn web", "spawn worker")),
            (0.0, up("web"), ()),
            (0.0, up("worker"), ("all ready",)),
            (5.0, ReloadRequested(), ("load",)),
            (
                5.1,
                Loaded(plan(_NEW_DB, *list(_OLD.services.values())[1:])),
                ("prepare", "signal web TERM", "says reload: db changed (command): restarting"),
            ),
            (5.2, Exited("web", 0), ("signal db TERM",)),
            (5.3, Exited("db", 0), ("spawn db",)),
            (5.4, up("db"), ("spawn web",)),
        ),
    ),
    "what is new starts, what is gone stops and is forgotten": (
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
    "what is gone may come back before it has ended": (
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
    "the grace of all together changes, is told and is obeyed": (
        plan(service("a", stop_grace_seconds=99.0)),
        (
            (0.0, up("a"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (
                1.1,
                Loaded(plan(service("a", stop_grace_seconds=99.0), total=20.0)),
                ("prepare", "says reload: stop_grace_period changed: 9s -> 20s"),
            ),
            (2.0, StopRequested(TERM), ("signal a TERM",)),
            (22.0, Due(), ("kill a", "says time is up for a: killing (x-cohabit stop_grace_period: 20s)")),
        ),
    ),
    "rules that only we obey change without a restart": (
        plan(service("a")),
        (
            (0.0, up("a"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (
                1.1,
                Loaded(plan(service("a", restart=ALWAYS))),
                ("prepare", "says reload: a changed (restart): no restart needed"),
            ),
            (2.0, Exited("a", 3), ("says starting again in 100ms",)),
        ),
    ),
    "a broken file changes nothing": (
        plan(service("a")),
        (
            (0.0, up("a"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (
                1.1,
                LoadFailed(("f:3: unknown key",), 78),
                ("says f:3: unknown key", "says cannot reload, for the reasons above"),
            ),
            (2.0, ReloadRequested(), ("load",)),
        ),
    ),
    "a reload while the file is being read has it read once more": (
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
    "a reload while everything stops is refused": (
        plan(service("a")),
        (
            (0.0, up("a"), ()),
            (1.0, ReloadRequested(), ("load",)),
            (1.1, StopRequested(TERM), ("signal a TERM",)),
            (1.2, Loaded(plan(service("b"))), ()),
            (1.3, ReloadRequested(), ("says cannot reload: everything is being stopped",)),
            (1.4, Exited("a", 0), ("sweep",)),
        ),
    ),
    "a service that had ended for good starts again when it changed": (
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
    "a second change while the first is on its way ends in the newest": (
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

test_story, test_story_with_a_reexecution_before_each_row, test_deadlines_of_story = checks_of(
    {**HEALTH, **HOOK, **LIFE, **RELOAD}
)
