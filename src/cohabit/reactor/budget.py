"""A quarter of process 1 at the most for what others can make it do.

Work of t seconds is followed by three times t without such work. Short pieces of work add up until a pause is worth
two system calls; time that passes pays them off, so whoever comes now and then never waits.
"""

from __future__ import annotations

import time

_REST = 3.0
_TURN_SECONDS = 0.000_2  # of the loop's own, for each time that it is woken
_SHORTEST_SECONDS = 0.002


class Budget:
    """What was spent, and when it is paid for."""

    __slots__ = ("_paid_at",)

    def __init__(self) -> None:
        self._paid_at = 0.0  # monotonic seconds

    def spend(self, began: float) -> float:
        """Count the work since then; monotonic seconds until which to pause, 0 for no pause."""
        now = time.monotonic()
        self._paid_at = max(self._paid_at, now) + (now - began + _TURN_SECONDS) * _REST
        return self._paid_at if self._paid_at - now >= _SHORTEST_SECONDS else 0.0
