"""Limit the work that clients can cause to a quarter of process 1's time.

Work of t seconds is followed by a pause of three times t. Short pieces of work add up until the pause is worth two
system calls. The time that passes reduces the debt, so a client with occasional requests never waits.
"""

from __future__ import annotations

import time

_PAUSE_FACTOR = 3.0
_TURN_SECONDS = 0.000_2  # the loop's own work for each wake-up
_SHORTEST_SECONDS = 0.002


class Budget:
    """The time until which the work done so far is paid for."""

    __slots__ = ("_paid_at",)

    def __init__(self) -> None:
        self._paid_at = 0.0  # monotonic seconds

    def spend(self, began: float) -> float:
        """Count the work since `began`; returns the monotonic seconds until which to pause, 0 for no pause."""
        now = time.monotonic()
        self._paid_at = max(self._paid_at, now) + (now - began + _TURN_SECONDS) * _PAUSE_FACTOR
        return self._paid_at if self._paid_at - now >= _SHORTEST_SECONDS else 0.0
