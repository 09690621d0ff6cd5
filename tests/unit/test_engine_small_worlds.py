"""Small worlds, enumerated instead of sampled: every graph of up to four services.

What goes wrong in a big world goes wrong in a small one, and small ones can be counted to the last. Every short
history of a few services is in test_engine_short_histories.py.
"""

from __future__ import annotations

from itertools import combinations, permutations, product
from typing import TYPE_CHECKING

import pytest

from cohabit.engine import effects
from cohabit.engine.events import Exited, Loaded, Spawned, SpawnFailed, StopRequested, Swept
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import COMPLETED, STARTED, Dependency, Plan, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event

    Graph = dict[str, frozenset[str]]


# --- every graph of up to four services ----------------------------------------------------------------


def all_graphs(size: int) -> Iterator[Graph]:
    """Every graph without circles of services a, b, c…: each name with those it depends on, each graph once."""
    names = "abcd"[:size]
    seen: set[tuple[tuple[str, str], ...]] = set()
    for order in permutations(names):
        pairs = list(combinations(order, 2))
        for chosen in product((False, True), repeat=len(pairs)):
            edges = tuple(sorted(pair for pair, wanted in zip(pairs, chosen, strict=True) if wanted))
            if edges not in seen:
                seen.add(edges)
                yield {name: frozenset(first for first, then in edges if then == name) for name in names}


GRAPHS = [graph for size in range(1, 5) for graph in all_graphs(size)]


def plan_of(graph: Graph, condition: str = STARTED, *, essential: bool = True) -> Plan:
    """Each service of the graph depends on its neighbours in the same way."""
    return Plan(
        {
            name: Service(
                name,
                (name,),
                depends_on=tuple(Dependency(other, condition) for other in sorted(needed)),
                essential=essential,
            )
            for name, needed in graph.items()
        }
    )


def depth(graph: Graph) -> int:
    """How many services stand in the longest row."""
    levels: dict[str, int] = {}
    while len(levels) < len(graph):
        for name, needed in graph.items():
            if needed <= levels.keys():
                levels[name] = 1 + max((levels[other] for other in needed), default=0)
    return max(levels.values())


def everybody_behind(graph: Graph, name: str) -> set[str]:
    """Who depends on a service, directly or not."""
    behind: set[str] = set()
    while fresh := {other for other, needed in graph.items() if needed & (behind | {name})} - behind:
        behind |= fresh
    return behind


def spawned(wanted: list[Effect]) -> list[str]:
    """Names of those who are started."""
    return [effect.service.name for effect in wanted if isinstance(effect, effects.Spawn)]


def told_to_stop(wanted: list[Effect]) -> list[str]:
    """Names of those who get their stop signal."""
    return [effect.service for effect in wanted if isinstance(effect, effects.Signal)]


def exit_codes(wanted: list[Effect]) -> list[int]:
    """The code of the Exit, if there is one."""
    return [effect.code for effect in wanted if isinstance(effect, effects.Exit)]


def start_all(engine: Supervisor, plan: Plan) -> list[list[str]]:
    """Start a Plan whose every exec succeeds: the names by waves."""
    waves = [spawned(engine.step(Loaded(plan), 0.0))]
    while waves[-1]:
        waves.append([name for started in waves[-1] for name in spawned(engine.step(Spawned(started, 100), 1.0))])
    return waves[:-1]


def test_the_graphs_are_all_there() -> None:
    """1, 3, 25 and 543 graphs without circles (OEIS A003024)."""
    assert [sum(1 for _ in all_graphs(size)) for size in range(1, 5)] == [1, 3, 25, 543]


def test_every_graph_starts_in_order_and_as_parallel_as_can_be() -> None:
    """Nobody is started before those it depends on, and there are no more waves than the longest row is long."""
    for graph in GRAPHS:
        waves = start_all(Supervisor(), plan_of(graph))
        assert len(waves) == depth(graph), graph
        ready: set[str] = set()
        for wave in waves:
            assert all(graph[name] <= ready for name in wave), graph
            ready.update(wave)
        assert ready == set(graph)


def test_every_graph_stops_in_reverse_order_and_as_parallel_as_can_be() -> None:
    """Nobody is told to stop before those who depend on it are gone, in as few waves as the longest row is long."""
    for graph in GRAPHS:
        engine = Supervisor()
        start_all(engine, plan_of(graph))
        gone: set[str] = set()
        wanted = engine.step(StopRequested(15), 2.0)
        waves = 0
        while wave := told_to_stop(wanted):
            waves += 1
            assert all(everybody_behind(graph, name) <= gone for name in wave), graph
            wanted = [effect for name in wave for effect in engine.step(Exited(name, 143), 3.0)]
            gone.update(wave)
        assert gone == set(graph)
        assert waves == depth(graph), graph
        assert exit_codes(engine.step(Swept(), 3.0)) == [0]


@pytest.mark.parametrize("failure", ["its start", "its end"])
def test_in_every_graph_a_failed_job_reaches_exactly_those_behind_it(failure: str) -> None:
    """Whoever waits for its completion, directly or not, is refused at once with its code; nobody else is."""
    for graph in GRAPHS:
        for culprit in graph:
            engine = Supervisor()
            waiting = spawned(engine.step(Loaded(plan_of(graph, COMPLETED, essential=False)), 0.0))
            ran: set[str] = set()
            codes: list[int] = []
            while waiting:
                name = waiting.pop(0)
                if name == culprit and failure == "its start":
                    facts: list[Event] = [SpawnFailed(name, "not found", 127)]
                else:
                    facts = [Spawned(name, 100), Exited(name, 127 if name == culprit else 0)]
                for fact in facts:
                    waiting += spawned(engine.step(fact, 1.0))
                ran.add(name)
            codes += exit_codes(engine.step(Swept(), 1.0))
            assert ran == set(graph) - everybody_behind(graph, culprit), graph
            assert codes == [127], graph


def test_in_every_graph_the_end_of_one_ends_all_with_its_code() -> None:
    """An essential service that ends takes everybody along, whatever the others' codes."""
    for graph in GRAPHS:
        for culprit in graph:
            engine = Supervisor()
            start_all(engine, plan_of(graph))
            waiting = told_to_stop(engine.step(Exited(culprit, 3), 2.0))
            gone = {culprit}
            while waiting:
                name = waiting.pop(0)
                gone.add(name)
                waiting += told_to_stop(engine.step(Exited(name, 4), 2.0))
            assert gone == set(graph), graph
            assert exit_codes(engine.step(Swept(), 2.0)) == [3], graph
