"""What the parts of the engine for the whole container share: its phase, its Plan, its history and its services."""

from __future__ import annotations

from cohabit.engine.effects import Report
from cohabit.engine.services import Services
from cohabit.engine.transition import Transition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.transition import Entry
    from cohabit.plan.model import Plan
    from cohabit.plan.reason import Reason

_HISTORY_KEPT = 64

# Phases of the container.
LOADING, UP, STOPPING, SWEEPING, DONE = "loading", "up", "stopping", "sweeping", "done"


class Container:
    """One container. plan: None before the first read of the file. history: of the container, as History.entries.

    up_at: when the first Plan was taken over, in monotonic seconds.
    """

    def __init__(self) -> None:
        self.services = Services()
        self.phase = LOADING
        self.plan: Plan | None = None
        self.history: list[Entry] = []
        self.up_at = 0.0

    def do(self, effect: Effect) -> None:
        """Add an effect of this step."""
        self.services.out.append(effect)

    def note(self, event: str, now: float, reason: Reason | None = None, code: int | None = None) -> None:
        """Record a transition of the container: in its history, and for subscribers to events."""
        transition = Transition("", now, event, expected=not code, reason=reason, code=code)
        self.history = [*self.history[1 - _HISTORY_KEPT :], transition.entry]
        self.services.transitions.append(transition)

    def say(self, level: str, text: str, *, transition: bool = False) -> None:
        """Log a line about the container. transition: as in Report."""
        self.do(Report(level, "", text, transition))
