"""How services that stop one after the other share the total grace period. Pure.

A service is stopped when those that depend on it, and those with a higher priority (order.stop_levels), have ended. If
the grace periods along such a chain are longer than the total, each service of the chain gets a part of it, in
proportion to its own grace period: so the last one is asked to stop in time, too. A service that ends early leaves its
time to those after it.
"""

from __future__ import annotations

from cohabit.plan.order import stop_levels, topological

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cohabit.plan.model import Plan

KEPT_SECONDS = 2.0  # kept for what follows, at most; Kubernetes adds as much after a hook that is too long


def times_after(
    graph: Mapping[str, Iterable[str]], graces: Mapping[str, float], levels: Mapping[str, int]
) -> dict[str, float]:
    """For each service, the longest sum of grace periods (seconds) of services that can only be stopped after it.

    graph, levels: as in order.py. graces: by name; a service that is missing is not stopped.
    """
    after: dict[str, float] = {}
    longest = lower_levels = 0.0
    level = None
    for name in _last_first(graph, levels):
        if levels.get(name) != level:
            level, lower_levels = levels.get(name), longest
        below = [graces.get(other, 0.0) + after[other] for other in graph[name] if other in after]
        after[name] = max([lower_levels, *below])
        longest = max(longest, graces.get(name, 0.0) + after[name])
    return after


def share(grace: float, after: float, remaining: float) -> float:
    """The time for one service, of the remaining time: its grace period, or its part if the chain does not fit.

    after: as of times_after. The last service of a chain has the rest, whatever its grace period is.
    """
    whole = grace + after
    return grace if whole <= remaining or not after else max(0.0, remaining) * grace / whole


def hooks_part(seconds: float) -> float:
    """The part of a time that leaves some for what follows.

    That is the stop signal after the pre_stop hooks and, while the container stops, the post_stop hooks after SIGKILL.
    """
    return max(0.0, seconds - min(KEPT_SECONDS, seconds / 4))


def divided(plan: Plan) -> tuple[float, dict[str, float]]:
    """What the longest chain of a Plan needs, and the seconds that each service has if that is more than the total.

    Only services with less than their grace period are given, if every one of them uses all its time. Times are in
    seconds.
    """
    graph, graces, levels = _graph(plan), _graces(plan), _levels(plan)
    after = times_after(graph, graces, levels)
    found = shares(plan)
    needed = max((graces[name] + after[name] for name in graph if levels or graph[name]), default=0.0)
    if needed <= plan.stop_grace_seconds:
        return needed, {}
    chained = {name for name in graph if levels or graph[name]} | {other for names in graph.values() for other in names}
    return needed, {name: found[name] for name in graph if name in chained and found[name] < graces[name]}


def shares(plan: Plan) -> dict[str, float]:
    """The seconds that each service of a Plan has to stop, if every one of them uses all its time."""
    graph, graces, levels = _graph(plan), _graces(plan), _levels(plan)
    after = times_after(graph, graces, levels)
    begins = dict.fromkeys(graph, 0.0)
    found: dict[str, float] = {}
    last = higher_levels = 0.0
    level = None
    for name in reversed(_last_first(graph, levels)):
        if levels.get(name) != level:
            level, higher_levels = levels.get(name), last
        begins[name] = max(begins[name], higher_levels)
        remaining = plan.stop_grace_seconds - begins[name]
        found[name] = min(share(graces[name], after[name], remaining), remaining)
        for other in graph[name]:
            begins[other] = max(begins[other], begins[name] + found[name])
        last = max(last, begins[name] + found[name])
    return found


def _last_first(graph: Mapping[str, Iterable[str]], levels: Mapping[str, int]) -> list[str]:
    """All names in an order of their stop, backwards."""
    return sorted(topological(graph), key=lambda name: levels.get(name, 0))


def _levels(plan: Plan) -> dict[str, int]:
    return stop_levels(_graph(plan), {name: service.priority for name, service in plan.services.items()})


def _graph(plan: Plan) -> dict[str, list[str]]:
    return {name: [one.service for one in service.depends_on] for name, service in plan.services.items()}


def _graces(plan: Plan) -> dict[str, float]:
    return {name: service.stop_grace_seconds for name, service in plan.services.items()}
