"""The interface of a checker. Each checker verifies one rule of supervision from outside the engine.

A checker sees the events, the effects, the deadline, the simulated processes (world.kernel) and the expected state
(world.model), but not the engine's state. It raises Violation. mutants.py has at least one broken engine for each
checker, which proves that the checker can fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.supervisor import Supervisor
    from sim.world import World

SIGKILL = 9
KILL_WAIT_SECONDS = 2.0
EPSILON = 1e-6


class Violation(Exception):  # noqa: N818 - the field's word
    """A rule is broken. checker: the class that found it."""

    def __init__(self, checker: str, text: str) -> None:
        super().__init__(f"{checker}: {text}")
        self.checker = checker


class Checker:
    """A checker. A subclass overrides the moments that it verifies."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = world.model

    def fail(self, text: str) -> None:
        """Raise Violation with this text."""
        raise Violation(type(self).__name__, text)

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        """The engine has handled an event. The model has it too; none of the resulting effects is carried out yet."""

    def effect(self, effect: Effect, now: float) -> None:
        """An effect is about to be carried out."""

    def idle(self, deadline: float | None, now: float) -> None:
        """The event queue is empty. Process 1 sleeps until the deadline or the next event."""

    def reexecuted(self, before: Supervisor, after: Supervisor) -> None:
        """The engine was replaced, as in a re-execution."""

    def after_exit(self, event: Event, result: list[Effect]) -> None:
        """The engine has handled an event that was in the queue when Exit was carried out."""
