"""engine/timers.py: the nearest of many deadlines, and no memory of those that are no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cohabit.engine.timers import Timers

NAMES = st.integers(0, 20).map(str)
CHANGES = st.lists(st.tuples(NAMES, st.one_of(st.none(), st.integers(0, 50).map(float))), max_size=400)


@given(CHANGES)
def test_nearest_of_all_that_were_named_and_not_cleared(changes: list[tuple[str, float | None]]) -> None:
    """Whatever was set, changed and cleared before, each key has at most its last moment, and they come in order."""
    timers = Timers()
    left: dict[str, float] = {}
    for name, moment in changes:
        timers.set((name, "state"), moment)
        left.pop(name, None)
        if moment is not None:
            left[name] = moment
        assert timers.next() == min(left.values(), default=None)
    come = [(left[name], purpose) for name, purpose in timers.due(100.0)]
    assert come == [(moment, "state") for moment in sorted(left.values())]
    assert timers.next() is None


def test_what_was_changed_is_forgotten() -> None:
    """A probe that is put off again and again behind a nearer deadline costs no memory, and neither do those who go."""
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
