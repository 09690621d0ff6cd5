"""How stories about the engine are written: Plans in a few words, effects as short sentences, rows of a story.

A row is (now, event, effects). Effects are written short: "spawn db", "signal db TERM" (the leader only),
"kill db" (SIGKILL to the tree), "exit 3". "says …" asks for words in a report or in the last word; other
reports are not compared.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING

import pytest

from cohabit.engine import effects
from cohabit.engine.events import Due, Loaded, Spawned
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import COMPLETED, HEALTHY, Dependency, Plan, Probe, Service
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


def service(name: str, *needs: Dependency | str, **words: Any) -> Service:
    """A service; what it needs is started, unless the Dependency says otherwise."""
    depends_on = tuple(Dependency(need) if isinstance(need, str) else need for need in needs)
    return Service(name, (name,), depends_on=depends_on, **words)


def healthy(name: str) -> Dependency:
    """It has to be ready first."""
    return Dependency(name, HEALTHY)


def completed(name: str, *, required: bool = True) -> Dependency:
    """It has to end well first."""
    return Dependency(name, COMPLETED, required)


def up(name: str) -> Spawned:
    """Its exec succeeded."""
    return Spawned(name, 100)


def in_short(effect: Effect) -> str:
    """An effect in the words of the stories."""
    match effect:
        case effects.Spawn(service):
            return f"spawn {service.name}"
        case effects.Signal(name, number):
            return f"signal {name} {signal_name(number).removeprefix('SIG')}"
        case effects.SignalTree(name, 9):
            return f"kill {name}"
        case effects.SignalTree(name, number):
            return f"ask the rest of {name} {signal_name(number).removeprefix('SIG')}"
        case effects.RunHook(service, stage, number):
            return f"{stage} {number} {service.name}"
        case effects.Ask(service):
            return f"ask {service.name}"
        case effects.StopAsking(name):
            return f"stop asking {name}"
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
    """Tell the engine one fact and compare what it wants."""
    now, event, expected = row
    wanted = engine.step(event, now)
    done = tuple(in_short(effect) for effect in wanted if not isinstance(effect, effects.Report))
    if "all ready" not in expected:  # which nearly every story passes by
        done = tuple(word for word in done if word != "all ready")
    said = [f"{effect.service}: {effect.text}" for effect in wanted if isinstance(effect, effects.Report)]
    said += [f"last word: {effect.reason} [{effect.cause}]" for effect in wanted if isinstance(effect, effects.Exit)]
    assert done == tuple(word for word in expected if not word.startswith("says ")), f"at {now}: {event}"
    for words in expected:
        if words.startswith("says "):
            assert any(words.removeprefix("says ") in line for line in said), f"{words} is not in {said}"
    return wanted


def reexecuted(engine: Supervisor) -> Supervisor:
    """Another engine that took over by way of bytes, as in reactor/handover.py."""
    plain = marshal.loads(marshal.dumps({"plan": to_plain(engine.plan), "engine": engine.to_plain()}))  # noqa: S302 - our own
    successor = Supervisor()
    successor.restore(from_plain(plain["plan"]), plain["engine"])
    return successor


def rows_of(story: Story) -> list[Row]:
    """The rows with the Plan's arrival before them; what starts then follows from the Plan."""
    first, rows = story
    spawned = [
        f"pre_start 0 {name}" if service.pre_start else f"spawn {name}"
        for name, service in first.services.items()
        if not service.depends_on and service.schedule is None
    ]
    return [(0.0, Loaded(first), ("prepare", *spawned)), *rows]


def tell(story: Story, between: Callable[[Supervisor], Supervisor] = lambda engine: engine) -> None:
    """Tell a story from its start to its end; `between` gives the engine that goes on before each row."""
    engine = Supervisor()
    for row in rows_of(story):
        deadline, asking = engine.deadline(), any(unit.health.asking for unit in engine.units.values())
        engine = between(engine)
        if not asking:  # else a successor asks again, at once: the answer was lost
            assert engine.deadline() == deadline
        check_row(engine, row)


def check_deadlines(story: Story) -> None:
    """Each Due that leads to something comes at the moment that deadline() had named."""
    engine = Supervisor()
    for now, event, expected in rows_of(story):
        deadline = engine.deadline()
        if isinstance(event, Due) and expected:
            assert deadline is not None
            assert abs(deadline - now) < _ROUNDING_SECONDS
        engine.step(event, now)


def checks_of(stories: Mapping[str, Story]) -> tuple[Test, Test, Test]:
    """What is asked of every story: to be given the names of tests in the module that has them."""
    each = pytest.mark.parametrize("title", stories)

    @each
    def test_story(title: str) -> None:
        """Each story goes as it is told."""
        tell(stories[title])

    @each
    def test_reexecution(title: str) -> None:
        """Process 1 may replace itself in the middle of any story: it goes on the same."""
        tell(stories[title], reexecuted)

    @each
    def test_deadlines(title: str) -> None:
        """Each Due of a story comes at the moment that deadline() had named: nobody has to guess."""
        check_deadlines(stories[title])

    return test_story, test_reexecution, test_deadlines
