"""What the parts of services.Services use of it: an interface for type checkers, so that no import is circular."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from cohabit.engine.effects import Effect
    from cohabit.engine.timers import Timers
    from cohabit.engine.total_grace import TotalGrace
    from cohabit.engine.transition import Transition
    from cohabit.engine.unit import Unit
    from cohabit.plan.reason import Reason

    class Monitor(Protocol):
        """health_monitor.HealthMonitor."""

        def begin(self, unit: Unit, now: float) -> None:
            """The command runs and the post_start hooks have ended."""

        def end(self, unit: Unit) -> None:
            """The service is not running any more, or has another probe from now on."""

    class Services(Protocol):
        """services.Services."""

        units: dict[str, Unit]
        out: list[Effect]
        ended: list[Unit]
        transitions: list[Transition]
        timers: Timers
        total_grace: TotalGrace
        killed: bool

        @property
        def health_monitor(self) -> Monitor:
            """The probes of all services."""

        def fact(self, unit: Unit, fact: str, now: float) -> None:
            """Apply one event to the state machine of the unit."""

        def mark_dirty(self, unit: Unit) -> None:
            """Have this unit, its dependents and its dependencies reconciled."""

        def mark_all_dirty(self) -> None:
            """Have all units reconciled."""

        def drop(self, unit: Unit) -> None:
            """Remove all traces of a unit."""

        def replace_run(self, unit: Unit, *, up: bool) -> None:
            """End the current run, and start again if `up`."""

        def restart(self, unit: Unit, *, up: bool) -> None:
            """The same, with the dependents that restart with it."""

        def note(self, unit: Unit, event: str, now: float, reason: Reason | None = None) -> None:
            """Record an event that is not a state."""

        def say(self, level: str, unit: Unit, text: str, *, transition: bool = False) -> None:
            """Log a line."""
