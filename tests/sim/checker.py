"""What a judge is. Each watches one rule of life from outside the engine, and can fail on its own.

A judge sees the facts, the effects, the deadline, what is true in the world (world.kernel) and what must
follow (world.ledger); never the engine's state. It raises Violation with a sentence. tests/sim/mutants.py
has a broken engine for each one: a judge that cannot fail is a defect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.supervisor import Supervisor
    from sim.world import World

SIGKILL = 9
KILL_PATIENCE_SECONDS = 2.0
EPSILON = 1e-6


class Violation(Exception):  # noqa: N818 - the field's word
    """A rule of life was broken: which judge says so, and how."""

    def __init__(self, checker: str, text: str) -> None:
        super().__init__(f"{checker}: {text}")
        self.checker = checker


class Checker:
    """A judge. What it does not care about it inherits."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger = world.ledger

    def fail(self, text: str) -> None:
        """Say what is wrong."""
        raise Violation(type(self).__name__, text)

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        """The engine took a fact and wants these effects; none was carried out yet, the ledger knows the fact."""

    def effect(self, effect: Effect, now: float) -> None:
        """An effect is about to be carried out."""

    def quiet(self, deadline: float | None, now: float) -> None:
        """No fact is left; process 1 goes to sleep until the deadline or a fact."""

    def reexecuted(self, before: Supervisor, after: Supervisor) -> None:
        """Another engine took over."""

    def after_the_end(self, fact: Event, wanted: list[Effect]) -> None:
        """A fact that lay in the queue when the Exit was carried out."""
