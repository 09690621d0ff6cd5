"""plan/order.py: the start order, and cycles in full."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cohabit.plan.model import Dependency, Plan, Service
from cohabit.plan.order import cycles, start_order, topological

NAMES = "abcdefgh"
GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4, unique=True))


def test_each_service_comes_after_its_dependencies() -> None:
    """The order of the file is kept except where a dependency requires another one."""
    services = {
        "web": Service("web", ("x",), depends_on=(Dependency("db"),)),
        "cache": Service("cache", ("x",)),
        "db": Service("db", ("x",)),
    }
    assert start_order(Plan(services)) == ("db", "web", "cache")


def test_a_chain_of_thousands_is_supported() -> None:
    """Python's recursion limit does not apply, in either order of writing."""
    names = [f"s{i}" for i in range(5000)]
    graph = {name: [before] if before else [] for name, before in zip(names, ["", *names], strict=False)}
    assert topological(graph) == tuple(names)
    assert topological(dict(reversed(graph.items()))) == tuple(names)
    assert cycles(dict(reversed(graph.items()))) == []
    assert cycles({**graph, "s0": ["s4999"]}) == [("s0", *reversed(names))]


def test_a_cycle_is_reported_in_full() -> None:
    """A cycle is reported once, closed, and without services that only lead to it."""
    assert cycles({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}) == [("a", "b", "c", "a")]


def test_separate_cycles_are_all_reported() -> None:
    """A service that depends on itself is a cycle of one."""
    assert cycles({"a": ["b"], "b": ["a"], "c": ["c"]}) == [("a", "b", "a"), ("c", "c")]


@given(GRAPHS)
def test_cycles_exist_and_none_is_missed(graph: dict[str, list[str]]) -> None:
    """Every reported cycle exists; there is one unless an order exists; no service is in two."""
    found = cycles(graph)
    for cycle in found:
        assert all(after in graph[before] for before, after in itertools.pairwise(cycle))
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
    members = [name for cycle in found for name in cycle[1:]]
    assert len(members) == len(set(members))
    left = dict(graph)
    while free := [name for name, others in left.items() if not any(other in left for other in others)]:
        for name in free:
            del left[name]
    assert bool(left) == bool(found)


@given(GRAPHS)
def test_an_order_has_each_name_once_and_after_its_dependencies(graph: dict[str, list[str]]) -> None:
    """For every acyclic graph."""
    if cycles(graph):
        return
    order = topological(graph)
    assert sorted(order) == sorted(graph)
    assert all(
        order.index(other) < order.index(name) for name, others in graph.items() for other in others if other in graph
    )
