"""How often process 1 reads small pieces: at once while there are few, gathered for a few milliseconds while many.

Fifty services that write a thousand lines a second each wake their supervisor fifty thousand times, and a wake-up costs
as much as copying a hundred lines. So, as network drivers do with interrupts (NAPI), whoever is woken too often looks
away for a moment and then finds several lines in each pipe. Meanwhile the writers write on: a pipe holds 64 KiB, and as
soon as reads are large they are counted no more. Nothing else of process 1 waits for it.
"""

from __future__ import annotations

import time

SMALL_BYTES = 4096  # a read of less is hardly worth its price
_PER_SECOND = 2000.0  # so many of them a second are welcome at any time
_AT_ONCE = 200.0
_REST_SECONDS = 0.004


class RateLimiter:
    """rest_until: monotonic seconds, None while everything is read as it comes."""

    __slots__ = ("_credit", "_seen_at", "rest_until")

    def __init__(self) -> None:
        self.rest_until: float | None = None
        self._credit = _AT_ONCE
        self._seen_at = time.monotonic()

    def read(self, small: int) -> bool:
        """So many small reads there were just now; True if it is time for a rest, which has begun."""
        now = time.monotonic()
        self._credit = min(_AT_ONCE, self._credit + (now - self._seen_at) * _PER_SECOND) - small
        self._seen_at = now
        if self._credit >= 0:
            return False
        self._credit = 0.0
        self.rest_until = now + _REST_SECONDS
        return True
