"""Deadlines of many things, the nearest first: O(log n) to set one, nothing to look at the nearest.

With a probe each second for 500 services, looking at all of them at each step would cost more than the probes.
A heap cannot forget, so what was changed or cleared stays in it and is passed over when it comes up; when that is
most of it, it is built anew, which costs no more than all the changes since the last time.
"""

from __future__ import annotations

import _heapq as heap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Key = tuple[str, str]


_SLACK = 64  # entries that mean nothing any more and are not worth the work


class Timers:
    """At most one moment (monotonic seconds) for each key."""

    def __init__(self) -> None:
        self._moments: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def set(self, key: Key, moment: float | None) -> None:
        """Name the key's moment; None for none."""
        if moment is None:
            self._moments.pop(key, None)
        elif self._moments.get(key) != moment:
            self._moments[key] = moment
            heap.heappush(self._heap, (moment, key))
        if len(self._heap) > _SLACK + 2 * len(self._moments):
            self._heap = [(moment, key) for key, moment in self._moments.items()]
            heap.heapify(self._heap)

    def next(self) -> float | None:
        """The nearest moment of all."""
        while self._heap:
            moment, key = self._heap[0]
            if self._moments.get(key) == moment:
                return moment
            heap.heappop(self._heap)
        return None

    def due(self, now: float) -> Iterator[Key]:
        """The keys whose moment has come, in its order; each is cleared as it is given."""
        while (moment := self.next()) is not None and moment <= now:
            _, key = heap.heappop(self._heap)
            del self._moments[key]
            yield key
