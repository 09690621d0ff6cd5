"""engine/pausing.py: the processes of a service stop running, and continue later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine.events import Due, Exited, Loaded, Notified, Probed, Requested, SignalRefused
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Probe
from cohabit.plan.reason import SIGNAL_REFUSED, Reason
from unit.engine_story import PROBE, checks_of, in_short, plan, reexecuted, service, up

if TYPE_CHECKING:
    from unit.engine_story import Story

PAUSE, UNPAUSE = Requested("pause", ("web",)), Requested("unpause", ("web",))
_WEB = plan(service("web", probe=PROBE))
_WATCHED = Probe("notify", watchdog_seconds=2.0)

STORIES: dict[str, Story] = {
    "the next probe runs after the pause": (
        _WEB,
        (
            (0.0, up("web"), ("probe web",)),
            (0.1, Probed("web", True), ("all ready",)),
            (0.5, PAUSE, ("pause web",)),
            (99.0, UNPAUSE, ("unpause web",)),
            (99.0, Due(), ("probe web",)),
        ),
    ),
    "a second pause and a second unpause change nothing": (
        _WEB,
        (
            (0.0, up("web"), ("probe web",)),
            (0.1, Probed("web", True), ("all ready",)),
            (0.5, PAUSE, ("pause web",)),
            (0.6, PAUSE, ()),
            (0.7, UNPAUSE, ("unpause web",)),
            (0.8, UNPAUSE, ()),
        ),
    ),
    "a stop continues its processes first": (
        _WEB,
        (
            (0.0, up("web"), ("probe web",)),
            (0.1, Probed("web", True), ("all ready",)),
            (0.5, PAUSE, ("pause web",)),
            (0.6, Requested("stop", ("web",)), ("stop probe web", "unpause web", "signal web TERM")),
            (0.7, UNPAUSE, ()),
            (0.8, Exited("web", 143), ()),
            (0.9, PAUSE, ()),
        ),
    ),
    "a killed run leaves its pause behind": (
        _WEB,
        (
            (0.0, up("web"), ("probe web",)),
            (0.1, Probed("web", True), ("all ready",)),
            (0.5, PAUSE, ("pause web",)),
            (0.6, Requested("restart", ("web",)), ("stop probe web", "unpause web", "signal web TERM")),
            (0.7, Exited("web", 143), ("spawn web",)),
            (0.8, up("web"), ("probe web",)),
        ),
    ),
    "what a killed run leaves behind continues, and ends": (
        _WEB,
        (
            (0.0, up("web"), ("probe web",)),
            (0.1, Probed("web", True), ("all ready",)),
            (0.5, PAUSE, ("pause web",)),
            (0.6, Exited("web", 137, orphans=True), ("unpause web", "stop probe web", "signal tree web TERM")),
        ),
    ),
    "no watchdog message is missing, neither meanwhile nor at once afterwards": (
        plan(service("web", probe=_WATCHED)),
        (
            (0.0, up("web"), ()),
            (0.1, Notified("web", ready=True), ("all ready",)),
            (1.1, PAUSE, ("pause web",)),
            (50.0, Due(), ()),
            (51.1, UNPAUSE, ("unpause web",)),
            (52.0, Due(), ()),
        ),
    ),
}

test_story, test_story_with_re_executions, test_deadlines = checks_of(STORIES)


def _running() -> Supervisor:
    engine = Supervisor()
    for moment, event in ((0.0, Loaded(_WEB)), (0.0, up("web")), (0.1, Probed("web", True))):
        engine.step(event, moment)
    return engine


def test_a_running_probe_is_cancelled_and_repeated_after_the_pause() -> None:
    """It could not be answered."""
    engine = Supervisor()
    for event in (Loaded(_WEB), up("web")):
        engine.step(event, 0.0)
    assert [in_short(effect) for effect in engine.step(PAUSE, 0.5)][:2] == ["stop probe web", "pause web"]
    engine.step(UNPAUSE, 7.0)
    assert engine.deadline() == 7.0


def test_a_paused_service_stays_ready_and_needs_no_wake_up() -> None:
    engine = _running()
    engine.step(PAUSE, 0.5)
    assert engine.units["web"].paused
    assert engine.units["web"].run.ready
    assert engine.deadline() is None
    assert [entry[1] for entry in engine.units["web"].history.entries][-1] == "paused"
    assert reexecuted(engine).deadline() is None


def test_a_refused_pause_is_none() -> None:
    """Its processes run on, and so does its probe."""
    engine = _running()
    due = engine.deadline()
    engine.step(PAUSE, 0.5)
    engine.step(SignalRefused("web", Reason(SIGNAL_REFUSED, signal=19, detail="process 7 (x) of user 0")), 0.5)
    assert not engine.units["web"].paused
    assert engine.deadline() == due
    assert [entry[1] for entry in engine.units["web"].history.entries][-2:] == ["paused", "unpaused"]


def test_another_refused_signal_leaves_it_paused() -> None:
    """A cgroup can be frozen without CAP_KILL: then a refused HUP says nothing about the pause."""
    engine = _running()
    engine.step(PAUSE, 0.5)
    engine.step(SignalRefused("web", Reason(SIGNAL_REFUSED, signal=1, detail="process 7 (x) of user 0")), 0.6)
    assert engine.units["web"].paused
    assert in_short(next(iter(engine.step(UNPAUSE, 0.7)))) == "unpause web"
    assert engine.units["web"].signal_refused is None
