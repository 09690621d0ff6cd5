"""Limit the work that clients and services can cause in process 1.

Budget: clients cost at most a quarter of its time. Work of t seconds is followed by a pause of three times t. Short
pieces of work add up until the pause is worth two system calls. The time that passes reduces the debt, so a client with
occasional requests never waits.

RateLimiter: how often it wakes up for small pieces of output. A wake-up costs as much as copying a hundred lines, and
fifty services that write a thousand lines a second each cause 50,000 wake-ups a second. So, as network drivers do with
interrupts (NAPI), process 1 stops reading for 4 ms when small reads are too frequent, and then finds several lines in
each pipe. Services are not blocked meanwhile, since a pipe holds 64 KiB. Large reads do not count. Nothing but the
reading of output pauses.
"""

from __future__ import annotations

import time

_PAUSE_FACTOR = 3.0
_TURN_SECONDS = 0.000_2  # the loop's own work for each wake-up
_SHORTEST_SECONDS = 0.002

SMALL_BYTES = 4096  # a read of less than this costs more than the copying
_PER_SECOND = 2000.0  # small reads that do not cause a pause
_BURST = 200.0
_READING_PAUSE_SECONDS = 0.004


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


class RateLimiter:
    """A token bucket."""

    __slots__ = ("_tokens", "_updated_at")

    def __init__(self) -> None:
        self._tokens = _BURST
        self._updated_at = time.monotonic()

    def read(self, count: int) -> float | None:
        """Count so many small reads. Returns the end of the pause that follows, in monotonic seconds, or None."""
        now = time.monotonic()
        self._tokens = min(_BURST, self._tokens + (now - self._updated_at) * _PER_SECOND) - count
        self._updated_at = now
        if self._tokens >= 0:
            return None
        self._tokens = 0.0
        return now + _READING_PAUSE_SECONDS
