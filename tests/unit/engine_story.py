"""Stories for tests of the engine: a Plan and rows of (now, event, effects).

Effects are written in short form: "spawn db", "signal db TERM" (the main process only), "signal tree db TERM",
"kill db" (SIGKILL to the tree), "probe db", "exit 3". "logs TEXT" expects TEXT in a report or in the exit reason;
other reports are not compared.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING

import pytest

from cohabit.engine import effects
from cohabit.engine.events import Due, Loaded, Spawned, SpawnFailed
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import COMPLETED, HEALTHY, Dependency, Plan, Probe, Service
from cohabit.plan.reason import SYSTEM_ERROR, Reason
from cohabit.plan.reason_text import text_of
from cohabit.plan.record import from_plain, to_plain
from cohabit.units import signal_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event

    Row = tuple[float, Event, tuple[str, ...]]
    Story = tuple[Plan, tuple[Row, ...]]
    Test: TypeAlias = Callable[[str], None]

TERM, INT = 15, 2
PROBE = Probe("tcp", "127.0.0.1", 5432)
_ROUNDING_SECONDS = 1e-6


def plan(*services: Service, total: float = 9.0) -> Plan:
    """A Plan of these services."""
    return Plan({service.name: service for service in services}, total)


def service(name: str, *dependencies: Dependency | str, **fields: Any) -> Service:
    """A service. A dependency given by its name has the condition service_started."""
    depends_on = tuple(Dependency(one) if isinstance(one, str) else one for one in dependencies)
    return Service(name, (name,), depends_on=depends_on, **fields)


def healthy(name: str) -> Dependency:
    """A dependency with the condition service_healthy."""
    return Dependency(name, HEALTHY)


def completed(name: str, *, required: bool = True) -> Dependency:
    """A dependency with the condition service_completed_successfully."""
    return Dependency(name, COMPLETED, required)


def up(name: str) -> Spawned:
    """The event for a successful exec."""
    return Spawned(name, 100)


def start_failed(name: str, text: str, code: int, *, orphans: bool = False) -> SpawnFailed:
    """The event for a failed start, for a reason with this text."""
    return SpawnFailed(name, Reason(SYSTEM_ERROR, code, detail=text), orphans)


def in_short(effect: Effect) -> str:
    """An effect in short form."""
    match effect:
        case effects.Spawn(service):
            return f"spawn {service.name}"
        case effects.Signal(name, number):
            return f"signal {name} {signal_name(number).removeprefix('SIG')}"
        case effects.SignalTree(name, 9):
            return f"kill {name}"
        case effects.SignalTree(name, number):
            return f"signal tree {name} {signal_name(number).removeprefix('SIG')}"
        case effects.Pause(name):
            return f"pause {name}"
        case effects.Unpause(name):
            return f"unpause {name}"
        case effects.RunHook(service, stage, number):
            return f"{stage} {number} {service.name}"
        case effects.Ask(service):
            return f"probe {service.name}"
        case effects.StopAsking(name):
            return f"stop probe {name}"
        case effects.Load():
            return "load"
        case effects.Forget(name):
            return f"forget {name}"
        case effects.AllReady():
            return "all ready"
        case effects.Sweep(number):
            return "kill all" if number == 9 else "sweep"
        case effects.Exit(code):
            return f"exit {code}"
        case effects.Prepare():
            return "prepare"
        case effects.Report():
            return "report"


def check_row(engine: Supervisor, row: Row) -> list[Effect]:
    """Pass one event to the engine and compare the effects. Returns them."""
    now, event, expected = row
    wanted = engine.step(event, now)
    done = tuple(in_short(effect) for effect in wanted if not isinstance(effect, effects.Report))
    if "all ready" not in expected:  # part of nearly every story
        done = tuple(item for item in done if item != "all ready")
    logged = [f"{effect.service}: {effect.text}" for effect in wanted if isinstance(effect, effects.Report)]
    logged += [
        f"exit reason: {text_of(effect.reason)} [{effect.cause}]"
        for effect in wanted
        if isinstance(effect, effects.Exit)
    ]
    assert done == tuple(item for item in expected if not item.startswith("logs ")), f"at {now}: {event}"
    for item in expected:
        if item.startswith("logs "):
            assert any(item.removeprefix("logs ") in line for line in logged), f"{item} is not in {logged}"
    return wanted


def reexecuted(engine: Supervisor) -> Supervisor:
    """A new engine with the state of the given one, passed as bytes, as in reactor/reexecution.py."""
    plain = marshal.loads(marshal.dumps({"plan": to_plain(engine.plan), "engine": engine.to_plain()}))  # noqa: S302 - our own
    successor = Supervisor()
    successor.restore(from_plain(plain["plan"]), plain["engine"])
    return successor


def rows_of(story: Story) -> list[Row]:
    """The rows, after a first one in which the Plan is loaded; its effects follow from the Plan."""
    first, rows = story
    spawned = [
        f"pre_start 0 {name}" if service.pre_start else f"spawn {name}"
        for name, service in first.services.items()
        if not service.depends_on and service.schedule is None and service.autostart
    ]
    return [(0.0, Loaded(first), ("prepare", *spawned)), *rows]


def play(story: Story, between: Callable[[Supervisor], Supervisor] = lambda engine: engine) -> None:
    """Check all rows of a story. Before each row, `between` returns the engine to go on with."""
    engine = Supervisor()
    for row in rows_of(story):
        deadline, asking = engine.deadline(), any(unit.health.asking for unit in engine.units.values())
        engine = between(engine)
        if not asking:  # else a new engine probes again at once, because the result was lost
            assert engine.deadline() == deadline
        check_row(engine, row)


def check_deadlines(story: Story) -> None:
    """Check that each Due with effects comes at the time that deadline() returned before it."""
    engine = Supervisor()
    for now, event, expected in rows_of(story):
        deadline = engine.deadline()
        if isinstance(event, Due) and expected:
            assert deadline is not None
            assert abs(deadline - now) < _ROUNDING_SECONDS
        engine.step(event, now)


def checks_of(stories: Mapping[str, Story]) -> tuple[Test, Test, Test]:
    """Three tests for a set of stories; the calling module assigns them to names that begin with test_."""
    each = pytest.mark.parametrize("title", stories)

    @each
    def test_story(title: str) -> None:
        """Each row leads to the effects that the story expects."""
        play(stories[title])

    @each
    def test_reexecution(title: str) -> None:
        """A re-execution before each row changes nothing."""
        play(stories[title], reexecuted)

    @each
    def test_deadlines(title: str) -> None:
        """Each Due with effects comes at the time that deadline() returned."""
        check_deadlines(stories[title])

    return test_story, test_reexecution, test_deadlines
