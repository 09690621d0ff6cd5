"""How services that stop one after the other share the total grace period."""

from __future__ import annotations

import pytest

from cohabit.plan.grace import divided, hooks_part, share, times_after
from unit.engine_story import plan, service


@pytest.mark.parametrize(
    ("grace", "after", "remaining", "seconds"),
    [
        (10.0, 0.0, 9.0, 10.0),  # the total limits the last one
        (10.0, 10.0, 9.0, 4.5),
        (10.0, 10.0, 20.0, 10.0),
        (5.0, 15.0, 10.0, 2.5),
        (0.0, 10.0, 9.0, 0.0),
        (10.0, 10.0, 0.0, 0.0),
        (10.0, 10.0, -1.0, 0.0),
    ],
)
def test_share(grace: float, after: float, remaining: float, seconds: float) -> None:
    """In proportion, if the chain does not fit."""
    assert share(grace, after, remaining) == seconds


def test_times_after() -> None:
    """The longest chain counts; a service that is not stopped takes no time, but the order goes through it."""
    graph = {"app": ["job", "cache"], "job": ["db"], "cache": ["db"], "db": []}
    graces = {"app": 1.0, "cache": 2.0, "db": 4.0}
    assert times_after(graph, graces, {}) == {"db": 0.0, "job": 4.0, "cache": 4.0, "app": 6.0}


def test_divided() -> None:
    """Each has what is left when all above it used their time. Services outside of a chain are not named."""
    chain = (
        service("web", "api", stop_grace_seconds=5.0),
        service("api", "db", stop_grace_seconds=5.0),
        service("db", stop_grace_seconds=5.0),
        service("alone", stop_grace_seconds=60.0),
    )
    needed, found = divided(plan(*chain))
    assert needed == 15.0
    assert found == pytest.approx({"web": 3.0, "api": 3.0, "db": 3.0})
    assert divided(plan(*chain, total=15.0)) == (15.0, {})
    assert divided(plan(service("alone", stop_grace_seconds=60.0))) == (0.0, {})


@pytest.mark.parametrize(
    ("seconds", "part"), [(10.0, 8.0), (8.0, 6.0), (4.0, 3.0), (60.0, 58.0), (0.0, 0.0), (-1.0, 0.0)]
)
def test_hooks_part(seconds: float, part: float) -> None:
    """A quarter of the time is kept for the stop signal, 2 s at most."""
    assert hooks_part(seconds) == part


def test_several_dependents() -> None:
    """The slower one decides when their dependency is asked."""
    _, found = divided(plan(service("a", "db", stop_grace_seconds=8.0), service("b", "db"), service("db")))
    assert found["b"] == pytest.approx(4.5)
    assert found["a"] == pytest.approx(9 * 8 / 18)
    assert found["db"] == pytest.approx(4.5)
