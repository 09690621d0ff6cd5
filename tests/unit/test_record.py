"""plan/record.py: records are frozen, compare by value, and convert to plain values and back."""

from __future__ import annotations

import marshal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.plan.model import Credentials, Dependency, Plan, Probe, Restart, Service
from cohabit.plan.record import Record, from_plain, to_plain


class Point(Record):
    """Two numbers, one of them with a default."""

    x: int
    y: int = 2


def test_values_by_position_by_name_and_by_default() -> None:
    """A record takes its fields in order, by name, and by default."""
    assert (Point(1).x, Point(1).y, Point(y=3, x=4), Point(4, 3)) == (1, 2, Point(4, 3), Point(x=4, y=3))


@pytest.mark.parametrize(("args", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 2}), ((1,), {"z": 2})])
def test_wrong_values_are_errors(args: tuple[int, ...], named: dict[str, int]) -> None:
    """Too few values, too many, a field given twice, an unknown field: TypeError, as for any class."""
    anything: Any = Point
    with pytest.raises(TypeError):
        anything(*args, **named)


def test_frozen() -> None:
    """A field cannot be set."""
    point: Any = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 5


def test_compared_by_value_and_type() -> None:
    """Equal values of one type are equal, and hash the same."""

    class Other(Record):
        x: int
        y: int

    assert Point(1, 2) == Point(1, 2)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != Other(1, 2)


def test_a_default_is_not_shared() -> None:
    """To change a dict of one record changes no other one."""
    changed = Service("a", ("x",))
    changed.environment["X"] = "1"
    assert (Service("b", ("x",)).environment, Service.environment) == ({}, {})


def test_records_with_dicts_can_be_hashed() -> None:
    """Equal ones hash the same, whatever the order of their keys."""
    first = Service("a", ("x",), environment={"A": "1", "B": None})
    second = Service("a", ("x",), environment={"B": None, "A": "1"})
    assert hash(first) == hash(second)
    assert len({first, second, first.replace(name="b")}) == 2
    plan = Plan({"a": first})
    assert hash(plan) == hash(Plan({"a": second}))


def test_replace_makes_a_copy() -> None:
    """replace() changes a copy."""
    point = Point(1)
    assert (point.replace(x=5), point) == (Point(5, 2), Point(1, 2))


def test_match_by_position() -> None:
    """A record can be matched by position."""
    match Point(1, 7):
        case Point(x, y):
            assert (x, y) == (1, 7)
        case _:
            pytest.fail("it did not match")


def test_repr_names_the_fields() -> None:
    """repr() is an expression for the same record."""
    assert repr(Point(1)) == "Point(x=1, y=2)"


_names = st.text(min_size=1, max_size=5)
_services = st.builds(
    Service,
    name=_names,
    command=st.lists(st.text(), min_size=1).map(tuple),
    environment=st.dictionaries(_names, st.none() | st.text()),
    working_dir=st.none() | st.text(),
    user=st.none()
    | st.builds(Credentials, uid=st.integers(0, 2**32), gid=st.integers(0), groups=st.lists(st.integers(0)).map(tuple)),
    depends_on=st.lists(st.builds(Dependency, service=_names, required=st.booleans())).map(tuple),
    restart=st.builds(Restart, attempts=st.none() | st.integers(0), delay_seconds=st.none() | st.floats(0, 100)),
    essential=st.booleans(),
    probe=st.none() | st.builds(Probe, kind=st.just("tcp"), host=_names, port=st.integers(1, 65535)),
)
_plans = st.builds(Plan, services=st.dictionaries(_names, _services, max_size=3))


@given(_plans)
def test_a_plan_survives_the_conversion(plan: Plan) -> None:
    """To plain values, through marshal, and back: the same Plan."""
    assert from_plain(marshal.loads(marshal.dumps(to_plain(plan)))) == plan  # noqa: S302 - our own bytes


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
        max_leaves=8,
    )
)
def test_plain_values_are_unchanged(value: Any) -> None:
    """Only lists change: they become tuples."""
    assert from_plain(to_plain(value)) == _with_tuples(value)


def _with_tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    return {key: _with_tuples(item) for key, item in value.items()} if isinstance(value, dict) else value
