"""Order: which services come before which, and whether that can be at all. Pure.

A graph maps each name to the names it waits for, in the order in which they were written. Everything here
is iterative: a chain of a thousand services is legal and must not meet Python's recursion limit.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cohabit.plan.model import Plan


def start_order(plan: Plan) -> tuple[str, ...]:
    """Names of all services, each behind those it depends on, otherwise as written."""
    return topological({name: [d.service for d in s.depends_on] for name, s in plan.services.items()})


def topological(graph: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """All names of a graph without circles, each behind those it waits for; names outside it are left out."""
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


def cycles(graph: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Circles of the graph, each as its names in order, the first one repeated at the end.

    Every knot of services that wait for each other gives at least one; those which share a member with a
    circle already found are not told again.
    """
    found: list[tuple[str, ...]] = []
    told: set[str] = set()
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
            elif following not in told:
                names = list(path)
                circle = names[names.index(following) :]
                if told.isdisjoint(circle):
                    told.update(circle)
                    found.append((*circle, following))
    return found
