"""Timers in a heap, the earliest first: O(log n) to set one, O(1) to read the earliest.

With one probe per second for 500 services, a search through all of them at each step would cost more than the probes.

An entry cannot be removed from the middle of a heap. The entry of a timer that was changed or cleared stays there, and
is skipped when it comes to the top. When most entries are stale the heap is rebuilt; this costs no more than the
changes since the last rebuild.
"""

from __future__ import annotations

import _heapq as heap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Key = tuple[str, str]


_STALE_ENTRIES_MIN = 64  # up to so many stale entries there is no rebuild


class Timers:
    """At most one time (monotonic seconds) for each key."""

    def __init__(self) -> None:
        self._times: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def set(self, key: Key, time: float | None) -> None:
        """Set the time of a key; None clears it."""
        if time is None:
            self._times.pop(key, None)
        elif self._times.get(key) != time:
            self._times[key] = time
            heap.heappush(self._heap, (time, key))
        if len(self._heap) > _STALE_ENTRIES_MIN + 2 * len(self._times):
            self._heap = [(time, key) for key, time in self._times.items()]
            heap.heapify(self._heap)

    def get(self, key: Key) -> float | None:
        """The time of a key, None when it has none."""
        return self._times.get(key)

    def first(self) -> Key | None:
        """The key with the earliest time, None when there is no timer."""
        return None if self.next() is None else self._heap[0][1]

    def next(self) -> float | None:
        """The earliest time of all keys, None when there is no timer."""
        while self._heap:
            time, key = self._heap[0]
            if self._times.get(key) == time:
                return time
            heap.heappop(self._heap)
        return None

    def due(self, now: float) -> Iterator[Key]:
        """The keys whose time has come, in the order of time; each is cleared when it is yielded."""
        while (time := self.next()) is not None and time <= now:
            _, key = heap.heappop(self._heap)
            del self._times[key]
            yield key
