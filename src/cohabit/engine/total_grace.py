"""Grace periods: how long each service may take to stop, as requested, and while the container stops.

plan/grace.py has the rule for the total.
"""

from __future__ import annotations

from cohabit.plan.grace import KEPT_SECONDS, hooks_part, share, times_after
from cohabit.plan.order import stop_levels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from cohabit.engine.unit import Unit


class TotalGrace:
    """deadline: when it is over, in monotonic seconds; None as long as the container is not stopping.

    requested: by service, grace periods that were requested for the run that there is, instead of those in the file.
    over: the total is used up, or all services have stopped: no post_stop hook is started any more.
    levels: by service, when it is stopped with the container, the highest first; empty if no priority decides.
    """

    __slots__ = ("_after", "deadline", "levels", "over", "requested")

    def __init__(self) -> None:
        self.deadline: float | None = None
        self._after: dict[str, float] = {}
        self.requested: dict[str, float] = {}
        self.over = False
        self.levels: dict[str, int] = {}

    def begin(self, units: Iterable[Unit], deadline: float) -> None:
        """The container stops, and has time until the deadline. The services at rest need none of it."""
        self.deadline = deadline
        units = list(units)
        graph = {unit.name: [dependency.service for dependency in unit.newest_spec.depends_on] for unit in units}
        graces = {unit.name: self.of(unit) for unit in units if not (unit.at_rest or unit.unreachable)}
        self.levels = stop_levels(graph, {unit.name: unit.newest_spec.priority for unit in units})
        self._after = times_after(graph, graces, self.levels)

    def of(self, unit: Unit) -> float:
        """The grace period of its run, as requested, otherwise as in the file. Its post_stop hooks have as long."""
        grace = self.requested.get(unit.name, unit.spec.stop_grace_seconds)
        return max(grace, KEPT_SECONDS) if unit.run.post_stop else grace

    def seconds(self, unit: Unit, now: float) -> float:
        """How long this service may take to stop, from now on; or its post_stop hooks, once they are due."""
        grace = self.of(unit)
        if self.deadline is None:
            return grace
        remaining = self.deadline - now
        seconds = share(grace, self._after.get(unit.name, 0.0), remaining)
        kept = unit.spec.post_stop and not unit.run.post_stop
        return hooks_part(min(seconds, remaining)) if kept else seconds

    def hooks_until(self, kill_at: float, now: float) -> float:
        """When the pre_stop hooks of a service have used their part of the time until SIGKILL."""
        until = kill_at if self.deadline is None else min(kill_at, self.deadline)
        return now + hooks_part(until - now)

    def latest(self, unit: Unit) -> float | None:
        """The latest time at which those after it and its post_stop hooks still have their time; None for no limit."""
        after = self._after.get(unit.name, 0.0)
        if unit.spec.post_stop and not unit.run.post_stop:
            after += KEPT_SECONDS
        return self.deadline - after if self.deadline is not None and after else None

    def postpone(self, seconds: float) -> None:
        """Nothing ran for this time."""
        if self.deadline is not None:
            self.deadline += seconds

    def to_plain(self) -> tuple[Any, ...]:
        """The re-execution state, as plain values."""
        return self.deadline, self._after, self.requested, self.over, self.levels

    def restore(self, plain: tuple[Any, ...]) -> None:
        """The inverse of to_plain."""
        self.deadline, self._after, self.requested, self.over, self.levels = plain
