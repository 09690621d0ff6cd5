"""Limits how often process 1 wakes for small pieces of output.

A wake-up costs as much as copying a hundred lines, and fifty services that write a thousand lines a second each cause
50,000 wake-ups a second. So, as network drivers do with interrupts (NAPI), process 1 stops reading for 4 ms when small
reads are too frequent, and then finds several lines in each pipe. Services are not blocked meanwhile, since a pipe
holds 64 KiB. Large reads do not count. Nothing but the reading of output pauses.
"""

from __future__ import annotations

import time

SMALL_BYTES = 4096  # a read of less than this costs more than the copying
_PER_SECOND = 2000.0  # small reads that do not cause a pause
_BURST = 200.0
_PAUSE_SECONDS = 0.004


class RateLimiter:
    """A token bucket. paused_until: monotonic seconds, None while output is read as it comes."""

    __slots__ = ("_tokens", "_updated_at", "paused_until")

    def __init__(self) -> None:
        self.paused_until: float | None = None
        self._tokens = _BURST
        self._updated_at = time.monotonic()

    def read(self, count: int) -> bool:
        """Count so many small reads. Returns True if a pause has begun."""
        now = time.monotonic()
        self._tokens = min(_BURST, self._tokens + (now - self._updated_at) * _PER_SECOND) - count
        self._updated_at = now
        if self._tokens >= 0:
            return False
        self._tokens = 0.0
        self.paused_until = now + _PAUSE_SECONDS
        return True
