"""Start and stop order for every dependency graph of up to four services.

test_engine_short_histories.py tests every short sequence of events.
"""

from __future__ import annotations

from itertools import combinations, permutations, product
from typing import TYPE_CHECKING

import pytest

from cohabit.engine import effects
from cohabit.engine.events import Exited, Loaded, Spawned, StopRequested, Swept
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import COMPLETED, STARTED, Dependency, Plan, Service
from unit.engine_story import start_failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event

    Graph = dict[str, frozenset[str]]


# --- every graph of up to four services ----------------------------------------------------------------


def all_graphs(size: int) -> Iterator[Graph]:
    """Every acyclic graph of services a, b, c...: each name with its dependencies; each graph once."""
    names = "abcd"[:size]
    seen: set[tuple[tuple[str, str], ...]] = set()
    for order in permutations(names):
        pairs = list(combinations(order, 2))
        for chosen in product((False, True), repeat=len(pairs)):
            edges = tuple(sorted(pair for pair, included in zip(pairs, chosen, strict=True) if included))
            if edges not in seen:
                seen.add(edges)
                yield {name: frozenset(first for first, second in edges if second == name) for name in names}


GRAPHS = [graph for size in range(1, 5) for graph in all_graphs(size)]


def plan_of(graph: Graph, condition: str = STARTED, *, essential: bool = True) -> Plan:
    """A Plan in which all dependencies of the graph have the same condition."""
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
    """The number of services in the longest chain."""
    levels: dict[str, int] = {}
    while len(levels) < len(graph):
        for name, needed in graph.items():
            if needed <= levels.keys():
                levels[name] = 1 + max((levels[other] for other in needed), default=0)
    return max(levels.values())


def dependents_of(graph: Graph, name: str) -> set[str]:
    """The services that depend on this one, directly or not."""
    dependents: set[str] = set()
    while fresh := {other for other, needed in graph.items() if needed & (dependents | {name})} - dependents:
        dependents |= fresh
    return dependents


def spawned(wanted: list[Effect]) -> list[str]:
    """Names of the services that are started."""
    return [effect.service.name for effect in wanted if isinstance(effect, effects.Spawn)]


def signalled(wanted: list[Effect]) -> list[str]:
    """Names of the services that get their stop signal."""
    return [effect.service for effect in wanted if isinstance(effect, effects.Signal)]


def exit_codes(wanted: list[Effect]) -> list[int]:
    """The codes of the Exit effects."""
    return [effect.code for effect in wanted if isinstance(effect, effects.Exit)]


def start_all(engine: Supervisor, plan: Plan) -> list[list[str]]:
    """Start all services of a Plan; every exec succeeds. Returns the names in waves."""
    waves = [spawned(engine.step(Loaded(plan), 0.0))]
    while waves[-1]:
        waves.append([name for started in waves[-1] for name in spawned(engine.step(Spawned(started, 100), 1.0))])
    return waves[:-1]


def test_all_graphs_are_generated() -> None:
    """1, 3, 25 and 543 acyclic graphs (OEIS A003024)."""
    assert [sum(1 for _ in all_graphs(size)) for size in range(1, 5)] == [1, 3, 25, 543]


def test_every_graph_starts_in_order_with_maximal_parallelism() -> None:
    """No service starts before its dependencies, in no more waves than the longest chain has services."""
    for graph in GRAPHS:
        waves = start_all(Supervisor(), plan_of(graph))
        assert len(waves) == depth(graph), graph
        ready: set[str] = set()
        for wave in waves:
            assert all(graph[name] <= ready for name in wave), graph
            ready.update(wave)
        assert ready == set(graph)


def test_every_graph_stops_in_reverse_order_with_maximal_parallelism() -> None:
    """No service is stopped before its dependents are down, in as many waves as the longest chain has services."""
    for graph in GRAPHS:
        engine = Supervisor()
        start_all(engine, plan_of(graph))
        gone: set[str] = set()
        wanted = engine.step(StopRequested(15), 2.0)
        waves = 0
        while wave := signalled(wanted):
            waves += 1
            assert all(dependents_of(graph, name) <= gone for name in wave), graph
            wanted = [effect for name in wave for effect in engine.step(Exited(name, 143), 3.0)]
            gone.update(wave)
        assert gone == set(graph)
        assert waves == depth(graph), graph
        assert exit_codes(engine.step(Swept(), 3.0)) == [0]


@pytest.mark.parametrize("failure", ["its start", "its end"])
def test_in_every_graph_a_failed_job_fails_exactly_its_dependents(failure: str) -> None:
    """The services that wait for its completion, directly or not, fail at once with its code; the others run."""
    for graph in GRAPHS:
        plan = plan_of(graph, COMPLETED, essential=False)
        for failed in graph:
            engine = Supervisor()
            waiting = spawned(engine.step(Loaded(plan), 0.0))
            ran: set[str] = set()
            codes: list[int] = []
            while waiting:
                name = waiting.pop(0)
                if name == failed and failure == "its start":
                    events: list[Event] = [start_failed(name, "not found", 127)]
                else:
                    events = [Spawned(name, 100), Exited(name, 127 if name == failed else 0)]
                for event in events:
                    waiting += spawned(engine.step(event, 1.0))
                ran.add(name)
            codes += exit_codes(engine.step(Swept(), 1.0))
            assert ran == set(graph) - dependents_of(graph, failed), graph
            assert codes == [127], graph


def test_in_every_graph_the_end_of_an_essential_service_ends_all_with_its_code() -> None:
    """The exit codes of the other services do not matter."""
    for graph in GRAPHS:
        plan = plan_of(graph)
        for failed in graph:
            engine = Supervisor()
            start_all(engine, plan)
            waiting = signalled(engine.step(Exited(failed, 3), 2.0))
            gone = {failed}
            while waiting:
                name = waiting.pop(0)
                gone.add(name)
                waiting += signalled(engine.step(Exited(name, 4), 2.0))
            assert gone == set(graph), graph
            assert exit_codes(engine.step(Swept(), 2.0)) == [3], graph
