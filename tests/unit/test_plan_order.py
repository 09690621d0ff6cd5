"""plan/order.py: an order in which everything can start, and circles named in full."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cohabit.plan.model import Dependency, Plan, Service
from cohabit.plan.order import cycles, start_order, topological

NAMES = "abcdefgh"
GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4, unique=True))


def test_each_service_comes_behind_those_it_depends_on() -> None:
    """The order of the file is kept except where a dependency asks for another."""
    services = {
        "web": Service("web", ("x",), depends_on=(Dependency("db"),)),
        "cache": Service("cache", ("x",)),
        "db": Service("db", ("x",)),
    }
    assert start_order(Plan(services)) == ("db", "web", "cache")


def test_a_chain_of_thousands_is_no_problem() -> None:
    """Depth is not bounded by Python's recursion limit, in either direction of writing."""
    names = [f"s{i}" for i in range(5000)]
    graph = {name: [before] if before else [] for name, before in zip(names, ["", *names], strict=False)}
    assert topological(graph) == tuple(names)
    assert topological(dict(reversed(graph.items()))) == tuple(names)
    assert cycles(dict(reversed(graph.items()))) == []
    assert cycles({**graph, "s0": ["s4999"]}) == [("s0", *reversed(names))]


def test_the_whole_circle_is_named() -> None:
    """A circle is told once, closed, and without those who only lead to it."""
    assert cycles({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}) == [("a", "b", "c", "a")]


def test_separate_circles_are_all_named() -> None:
    """Two knots give two circles; a service that waits for itself is a circle of one."""
    assert cycles({"a": ["b"], "b": ["a"], "c": ["c"]}) == [("a", "b", "a"), ("c", "c")]


@given(GRAPHS)
def test_circles_are_real_and_none_is_missed(graph: dict[str, list[str]]) -> None:
    """Every circle told exists; none is told just when an order exists; no service is in two."""
    found = cycles(graph)
    for circle in found:
        assert all(after in graph[before] for before, after in itertools.pairwise(circle))
        assert circle[0] == circle[-1]
        assert len(set(circle)) == len(circle) - 1
    members = [name for circle in found for name in circle[1:]]
    assert len(members) == len(set(members))
    left = dict(graph)
    while free := [name for name, others in left.items() if not any(other in left for other in others)]:
        for name in free:
            del left[name]
    assert bool(left) == bool(found)


@given(GRAPHS)
def test_an_order_has_each_name_once_and_behind_its_needs(graph: dict[str, list[str]]) -> None:
    """Whatever the graph, if it has no circle its order is right."""
    if cycles(graph):
        return
    order = topological(graph)
    assert sorted(order) == sorted(graph)
    assert all(
        order.index(other) < order.index(name) for name, others in graph.items() for other in others if other in graph
    )
