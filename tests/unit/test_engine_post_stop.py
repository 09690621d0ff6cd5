"""The post_stop hooks in the engine: when they run, how long they may take, and what they learn of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cohabit.engine import effects
from cohabit.engine.events import (
    Due,
    Exited,
    HookEnded,
    Loaded,
    Notified,
    Requested,
    ScheduleDue,
    SignalRefused,
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Hook, Restart, Schedule
from cohabit.plan.reason import LOST, NO_ROOM, SIGNAL_REFUSED, SKIPPED, Reason
from unit.engine_story import checks_of, plan, service, start_failed, up

if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.events import Event
    from unit.engine_story import Story

ONE, TWO = (Hook(("one",)),), (Hook(("one",)), Hook(("two",)))
STOP = StopRequested(15)


def web(*dependencies: str, hooks: tuple[Hook, ...] = ONE, **fields: Any) -> Any:
    """A service with post_stop hooks."""
    return service("web", *dependencies, post_stop=hooks, **fields)


STORIES: dict[str, Story] = {
    "they follow the stop, one after the other, before the sweep": (
        plan(web(hooks=TWO)),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, STOP, ("signal web TERM",)),
            (1.1, Exited("web", 0), ("post_stop 0 web", "logs web: ended with exit code 0 after 1.1s; running its")),
            (1.2, HookEnded("web", 0), ("post_stop 1 web",)),
            (1.3, HookEnded("web", 0), ("sweep", "logs web: stopped: ended with exit code 0")),
            (1.4, Swept(), ("exit 0",)),
        ),
    ),
    "what the service depends on is stopped after them": (
        plan(service("db"), web("db")),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ("all ready",)),
            (1.0, STOP, ("signal web TERM",)),
            (1.1, Exited("web", 143), ("post_stop 0 web",)),
            (1.2, HookEnded("web", 0), ("signal db TERM",)),
        ),
    ),
    "they wait for what the main process left behind": (
        plan(web()),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, STOP, ("signal web TERM",)),
            (1.1, Exited("web", 0, orphans=True), ("signal tree web TERM",)),
            (1.2, TreeGone("web"), ("post_stop 0 web",)),
            (1.3, HookEnded("web", 0), ("sweep",)),
        ),
    ),
    "a restart and its back-off follow them": (
        plan(web(restart=Restart("always"))),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 3), ("post_stop 0 web",)),
            (5.0, HookEnded("web", 0), ("logs web: ended with exit code 3 after 1s; starting again in 100ms",)),
            (5.05, Due(), ()),
            (5.1, Due(), ("spawn web",)),
        ),
    ),
    "a failure is reported and changes nothing": (
        plan(web(hooks=TWO)),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 0), ("post_stop 0 web",)),
            (1.1, HookEnded("web", 5), ("post_stop 1 web", "logs web: post_stop hook 1 ended with exit code 5")),
            (1.2, HookEnded("web", 0), ("sweep",)),
            (1.3, Swept(), ("exit 0",)),
        ),
    ),
    "they run after a failed start": (
        plan(web(restart=Restart("always"))),
        (
            (0.0, start_failed("web", "x", 1), ("post_stop 0 web",)),
            (0.1, HookEnded("web", 0), ("logs web: cannot start: x; starting again",)),
        ),
    ),
    "they run after a pre_start hook that failed": (
        plan(web(pre_start=ONE)),
        (
            (0.0, HookEnded("web", 3), ("post_stop 0 web",)),
            (0.1, HookEnded("web", 0), ("sweep", "logs web: pre_start hook 1 ended with exit code 3")),
        ),
    ),
    "they do not run for a service that was skipped": (
        plan(web()),
        ((0.0, SpawnFailed("web", Reason(SKIPPED, detail="no X")), ("sweep",)),),
    ),
    "they run once for each run of a job": (
        plan(web(schedule=Schedule("* * * * *"), job=True), service("other")),
        (
            (0.0, up("other"), ("all ready",)),
            (1.0, ScheduleDue("web"), ("spawn web",)),
            (1.0, up("web"), ()),
            (2.0, Exited("web", 0), ("post_stop 0 web",)),
            (3.0, ScheduleDue("web"), ("logs web: its schedule is due, but the previous run is not finished",)),
            (4.0, HookEnded("web", 0), ()),
            (5.0, ScheduleDue("web"), ("spawn web",)),
        ),
    ),
    "the container stops at the end of an essential service, and waits for them": (
        plan(web(), service("other")),
        (
            (0.0, up("web"), ()),
            (0.0, up("other"), ("all ready",)),
            (1.0, Exited("web", 3), ("post_stop 0 web", "signal other TERM")),
            (1.1, Exited("other", 0), ()),
            (1.2, HookEnded("web", 0), ("sweep",)),
            (1.3, Swept(), ("exit 3", "logs exit reason: web ended with exit code 3 after 1s")),
        ),
    ),
    "a stop during them keeps the service down": (
        plan(web(restart=Restart("always"))),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 3), ("post_stop 0 web",)),
            (1.1, Requested("stop", ("web",)), ()),
            (1.2, HookEnded("web", 0), ("logs web: stopped",)),
        ),
    ),
    "a start and a restart during them wait for their end": (
        plan(web(restart=Restart("always"))),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 3), ("post_stop 0 web",)),
            (1.1, Requested("start", ("web",)), ()),
            (1.2, Requested("restart", ("web",)), ()),
            (1.3, HookEnded("web", 0), ("spawn web",)),
        ),
    ),
    "a kill ends the run, and they follow; a second one ends them": (
        plan(web(hooks=TWO)),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Requested("kill", ("web",)), ("kill web",)),
            (1.1, Exited("web", 137), ("post_stop 0 web",)),
            (1.2, Requested("kill", ("web",)), ("kill web",)),
            (1.3, HookEnded("web", 137), ("logs web: stopped: killed on request",)),
        ),
    ),
    "a signal and a pause find no main process": (
        plan(web(restart=Restart("always"))),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 3), ("post_stop 0 web",)),
            (1.1, Requested("signal", ("web",), 1), ()),
            (1.2, Requested("pause", ("web",)), ()),
        ),
    ),
    "a service that was removed is forgotten after them": (
        plan(web(), service("other")),
        (
            (0.0, up("web"), ()),
            (0.0, up("other"), ("all ready",)),
            (1.0, Loaded(plan(service("other"))), ("prepare", "signal web TERM")),
            (1.1, Exited("web", 0), ("post_stop 0 web",)),
            (1.2, HookEnded("web", 0), ("forget web",)),
        ),
    ),
    "they have the grace period, then they are killed with all that they started": (
        plan(web(hooks=TWO, restart=Restart("always"), stop_grace_seconds=4.0)),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 3), ("post_stop 0 web",)),
            (4.9, Due(), ()),
            (5.0, Due(), ("kill web", "logs web: its post_stop hooks have not ended within 4s: killing them")),
            (5.1, HookEnded("web", 137, orphans=True), ()),
            (5.2, TreeGone("web"), ("logs web: ended with exit code 3 after 1s; starting again",)),
        ),
    ),
    "what they leave behind is ended": (
        plan(web(restart=Restart("always"))),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 3), ("post_stop 0 web",)),
            (1.1, HookEnded("web", 0, orphans=True), ("signal tree web TERM",)),
            (11.0, Due(), ("kill web",)),
            (11.1, TreeGone("web"), ("logs web: ended with exit code 3",)),
        ),
    ),
    "they have 2 s without a grace period": (
        plan(web(stop_grace_seconds=0.0, restart=Restart("always"))),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 3), ("post_stop 0 web",)),
            (2.9, Due(), ()),
            (3.0, Due(), ("kill web", "logs web: its post_stop hooks have not ended within 2s: killing them")),
        ),
    ),
    "while the container stops, SIGKILL leaves them 2 s of its time": (
        plan(web()),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, STOP, ("signal web TERM",)),
            (7.9, Due(), ()),
            (8.0, Due(), ("kill web", "logs web: not stopped within 7s, its share of the total")),
            (8.1, Exited("web", 137), ("post_stop 0 web",)),
            (9.9, Due(), ()),
            (10.0, Due(), ("kill web", "logs not stopped within the total of 9s")),
            (10.1, HookEnded("web", 137), ("kill all",)),
            (10.2, Swept(), ("exit 137",)),
        ),
    ),
    "a service that asks for more time leaves them theirs": (
        plan(web()),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, STOP, ("signal web TERM",)),
            (5.0, Notified("web", extend_seconds=60.0), ()),
            (7.9, Due(), ()),
            (8.0, Due(), ("kill web",)),
        ),
    ),
    "a stop of one service alone has its whole grace period before them": (
        plan(web()),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Requested("stop", ("web",)), ("signal web TERM",)),
            (10.9, Due(), ()),
            (11.0, Due(), ("kill web",)),
        ),
    ),
    "after a second stop signal no hook is started": (
        plan(web()),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, STOP, ("signal web TERM",)),
            (2.0, STOP, ("kill web",)),
            (2.1, Exited("web", 137), ("kill all", "logs web: its post_stop hooks do not run")),
            (2.2, Swept(), ("exit 137",)),
        ),
    ),
    "a stop of the container takes time from a hook that is running": (
        plan(service("db", stop_grace_seconds=6.0), web("db", essential=False, stop_grace_seconds=30.0)),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ("all ready",)),
            (1.0, Requested("stop", ("web",)), ("signal web TERM",)),
            (1.1, Exited("web", 0), ("post_stop 0 web",)),
            (2.0, STOP, ()),
            (9.4, Due(), ()),
            (9.5, Due(), ("kill web", "logs web: its post_stop hooks have not ended within 7.5s, its share")),
            (9.6, HookEnded("web", 137), ("signal db TERM",)),
        ),
    ),
    "a hook that was lost does not keep the service from its next start": (
        plan(web(restart=Restart("always"))),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 3), ("post_stop 0 web",)),
            (1.5, HookEnded("web", 71, Reason(LOST, 71)), ("logs web: post_stop hook 1 was lost in an internal",)),
            (1.6, Due(), ("spawn web",)),
        ),
    ),
    "they are waited for, although the service could not be signalled": (
        plan(web(), service("other")),
        (
            (0.0, up("web"), ()),
            (0.0, up("other"), ("all ready",)),
            (1.0, Requested("stop", ("web",)), ("signal web TERM",)),
            (1.0, SignalRefused("web", Reason(SIGNAL_REFUSED, signal=15)), ()),
            (1.5, Exited("web", 0), ("post_stop 0 web",)),
            (2.0, STOP, ("signal other TERM",)),
            (2.1, Exited("other", 0), ()),
            (2.2, HookEnded("web", 0), ("sweep",)),
        ),
    ),
    "a service that could not be signalled and ends during the sweep has no hooks": (
        plan(web()),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, STOP, ("signal web TERM",)),
            (1.0, SignalRefused("web", Reason(SIGNAL_REFUSED, signal=15)), ("sweep",)),
            (1.5, Exited("web", 0), ("logs web: its post_stop hooks do not run",)),
        ),
    ),
    "the end of what one of them left behind comes during the next one": (
        plan(web(hooks=TWO, restart=Restart("always"))),
        (
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 3), ("post_stop 0 web",)),
            (1.1, HookEnded("web", 0, orphans=True), ("post_stop 1 web",)),
            (1.2, TreeGone("web"), ()),
            (1.3, HookEnded("web", 0), ("logs web: ended with exit code 3",)),
        ),
    ),
}
test_story, test_reexecution, test_deadlines = checks_of(STORIES)


def _hook_after(*events: Event, **fields: Any) -> dict[str, str]:
    """The variables of the post_stop hook that runs after these events."""
    engine = Supervisor()
    engine.step(Loaded(plan(web(**fields))), 0.0)
    found: list[effects.Effect] = []
    for number, event in enumerate(events):
        found = engine.step(event, 1.0 + number)
    (hook,) = (effect for effect in found if isinstance(effect, effects.RunHook))
    return dict(hook.variables)


@pytest.mark.parametrize(
    ("events", "result", "code", "status"),
    [
        ((up("web"), Exited("web", 0)), "success", "exited", "0"),
        ((up("web"), Exited("web", 3)), "exit-code", "exited", "3"),
        ((up("web"), Exited("web", 139)), "signal", "killed", "SEGV"),
        ((up("web"), Exited("web", 137, out_of_memory=True)), "oom-kill", "killed", "KILL"),
        ((up("web"), STOP, Exited("web", 143)), "success", "killed", "TERM"),
        ((up("web"), Requested("stop", ("web",)), Exited("web", 3)), "exit-code", "exited", "3"),
        ((up("web"), Requested("kill", ("web",)), Exited("web", 137)), "signal", "killed", "KILL"),
        ((SpawnFailed("web", Reason(NO_ROOM, 71)),), "resources", None, None),
        ((start_failed("web", "x", 127),), "resources", None, None),
        ((SpawnFailed("web", Reason("not-found", 127)),), "exit-code", None, None),
    ],
)
def test_the_hook_learns_how_the_run_has_ended(
    events: tuple[Event, ...], result: str, code: str | None, status: str | None
) -> None:
    """In the variables of systemd.exec(5), which are not set for a main process that did not run."""
    expected = {"SERVICE_RESULT": result, "EXIT_CODE": code, "EXIT_STATUS": status}
    assert _hook_after(*events) == {name: value for name, value in expected.items() if value is not None}


def test_a_stop_that_timed_out() -> None:
    """SIGKILL was needed."""
    ended = (up("web"), Requested("stop", ("web",)), Due(), Exited("web", 137))
    found = _hook_after(*ended, stop_grace_seconds=0.0)
    assert found == {"SERVICE_RESULT": "timeout", "EXIT_CODE": "killed", "EXIT_STATUS": "KILL"}


def test_a_failed_hook_before_it() -> None:
    """The code of the main process is its own, not that of the hook."""
    ended = (up("web"), HookEnded("web", 4), Exited("web", 143))
    found = _hook_after(*ended, post_start=ONE)
    assert found == {"SERVICE_RESULT": "exit-code", "EXIT_CODE": "killed", "EXIT_STATUS": "TERM"}
    assert _hook_after(HookEnded("web", 143), pre_start=ONE) == {"SERVICE_RESULT": "signal"}
    stopped = _hook_after(STOP, HookEnded("web", 0), pre_start=ONE)
    assert stopped == {"SERVICE_RESULT": "success"}
