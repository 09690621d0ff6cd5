"""The start order of services, and cycles in their dependencies. Pure.

A graph maps each name to the names it waits for, in the order in which they were written. The functions are
iterative: a chain of a thousand services is valid and must not exceed Python's recursion limit.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cohabit.plan.model import Plan


def start_order(plan: Plan) -> tuple[str, ...]:
    """Names of all services, each after its dependencies, otherwise in the order of the Plan."""
    return topological({name: [d.service for d in s.depends_on] for name, s in plan.services.items()})


def topological(graph: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """All names of an acyclic graph, each after those it waits for. Names that are not keys are left out."""
    done: dict[str, None] = {}
    for root in graph:
        path = [(root, iter(graph[root]))]
        while path:
            name, rest = path[-1]
            following = next((other for other in rest if other in graph and other not in done), None)
            if following is None:
                done.setdefault(name)
                path.pop()
            else:
                path.append((following, iter(graph[following])))
    return tuple(done)


def stop_levels(graph: Mapping[str, Iterable[str]], priorities: Mapping[str, int]) -> dict[str, int]:
    """The level of each service at the stop of the container: the highest is stopped first. Empty if all are equal.

    It is the priority of the service, or a higher one of a service that it depends on: that one is stopped after it.
    """
    levels: dict[str, int] = {}
    for name in topological(graph):
        levels[name] = max([priorities[name], *(levels[other] for other in graph[name] if other in levels)])
    return levels if len(set(levels.values())) > 1 else {}


def cycles(graph: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Cycles of the graph, each as its names in order, with the first one repeated at the end.

    Each set of services that wait for each other gives at least one cycle. A cycle that shares a service with one
    already found is left out.
    """
    found: list[tuple[str, ...]] = []
    reported: set[str] = set()
    finished: set[str] = set()
    for root in graph:
        path = {root: iter(graph[root])} if root not in finished else {}
        while path:
            name = next(reversed(path))
            following = next((other for other in path[name] if other in graph and other not in finished), None)
            if following is None:
                finished.add(name)
                path.pop(name)
            elif following not in path:
                path[following] = iter(graph[following])
            elif following not in reported:
                names = list(path)
                cycle = names[names.index(following) :]
                if reported.isdisjoint(cycle):
                    reported.update(cycle)
                    found.append((*cycle, following))
    return found
