"""engine/timers.py: the earliest of many timers, and no leak of stale entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cohabit.engine.timers import Timers

NAMES = st.integers(0, 20).map(str)
CHANGES = st.lists(st.tuples(NAMES, st.one_of(st.none(), st.integers(0, 50).map(float))), max_size=400)


@given(CHANGES)
def test_the_earliest_timer_that_is_set_comes_first(changes: list[tuple[str, float | None]]) -> None:
    """After any changes, each key has at most its last time, and keys come in the order of time."""
    timers = Timers()
    left: dict[str, float] = {}
    for name, time in changes:
        timers.set((name, "state"), time)
        left.pop(name, None)
        if time is not None:
            left[name] = time
        assert timers.next() == min(left.values(), default=None)
    due = [(left[name], purpose) for name, purpose in timers.due(100.0)]
    assert due == [(time, "state") for time in sorted(left.values())]
    assert timers.next() is None


def test_stale_entries_are_removed() -> None:
    """A timer that is changed often behind an earlier one does not use more memory, nor do cleared timers."""
    timers = Timers()
    timers.set(("db", "state"), 1.0)
    for count in range(10_000):
        timers.set(("web", "health"), 2.0 + count)
        assert len(timers._heap) <= 64 + 2 * 2
    for count in range(1_000):
        timers.set((f"web-{count}", "state"), 5.0)
    for count in range(1_000):
        timers.set((f"web-{count}", "state"), None)
    assert len(timers._heap) <= 64 + 2 * 2
    assert list(timers.due(1e9)) == [("db", "state"), ("web", "health")]
