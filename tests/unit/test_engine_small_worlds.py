"""Small worlds, enumerated instead of sampled: every graph of up to four services, every short history.

What goes wrong in a big world goes wrong in a small one, and small ones can be counted to the last.
"""

from __future__ import annotations

import marshal
from itertools import combinations, permutations, product
from typing import TYPE_CHECKING

import pytest

from cohabit.engine import effects
from cohabit.engine.events import (
    Due,
    Exited,
    Loaded,
    ProbePassed,
    Spawned,
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import COMPLETED, HEALTHY, STARTED, Dependency, Plan, Probe, Restart, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event

    Graph = dict[str, frozenset[str]]

_PROBE = Probe("tcp", "127.0.0.1", 5432)
_NOTHING, _FORKED, _RUNS, _ORPHANS = "nothing", "forked", "runs", "orphans"
_STEPS_AT_MOST = 100
_HISTORY_LENGTH = 5


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


# --- every short history -------------------------------------------------------------------------------


class SmallWorld:
    """An engine and what is true of its services' processes; copied as often as histories part."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.engine = Supervisor()
        self.processes = dict.fromkeys(plan.services, _NOTHING)
        self.asked: tuple[str, ...] = ()  # whether they are ready
        self.sweeping = False
        self.requests = 0
        self.done = False
        self._carry_out(self.engine.step(Loaded(plan), 0.0))

    def copy(self) -> SmallWorld:
        """Another world with the same past."""
        other = SmallWorld.__new__(SmallWorld)
        other.__dict__.update(self.__dict__)
        other.processes = dict(self.processes)
        other.engine = Supervisor()
        other.engine.restore(self.plan, self.engine.to_plain())
        return other

    @property
    def key(self) -> bytes:
        """What its future depends on: words for people do not belong to it."""
        plain = self.engine.to_plain()
        plain["word"] = ""
        for unit in plain["units"].values():
            unit["why"] = ""
        return marshal.dumps((plain, self.processes, self.asked, self.sweeping, self.requests))

    def possible(self) -> Iterator[Event]:
        """Everything that could happen next."""
        for name, process in self.processes.items():
            if process == _FORKED:
                yield Spawned(name, 100)
                yield SpawnFailed(name, "not found", 127)
            elif process == _RUNS:
                yield Exited(name, 0)
                yield Exited(name, 3)
                yield Exited(name, 3, orphans=True)
            elif process == _ORPHANS:
                yield TreeGone(name)
        for name in self.asked:
            yield ProbePassed(name)
        if self.sweeping:
            yield Swept()
        if self.engine.deadline() is not None:
            yield Due()
        if self.requests < 2:
            yield StopRequested(15)

    def happens(self, fact: Event) -> None:
        """One fact. All happens in no time but for Due, which lets the clock jump to the deadline and back."""
        now = 0.0
        match fact:
            case Spawned(name):
                self.processes[name] = _RUNS
            case SpawnFailed(name) | TreeGone(name):
                self.processes[name] = _NOTHING
            case Exited(name, _, orphans):
                self.processes[name] = _ORPHANS if orphans else _NOTHING
            case ProbePassed(name):
                self.asked = tuple(other for other in self.asked if other != name)
            case StopRequested():
                self.requests += 1
            case Swept():
                self.sweeping = False
            case Due():
                now = self.engine.deadline() or 0.0
        self._carry_out(self.engine.step(fact, now))
        if now:
            self._turn_back(now)

    def _carry_out(self, wanted: list[Effect]) -> None:
        for effect in wanted:
            assert not self.done, f"{effect} after the end"
            match effect:
                case effects.Spawn(service):
                    assert self.processes[service.name] == _NOTHING, f"{service.name} is there already"
                    self.processes[service.name] = _FORKED
                case effects.StartProbe(service):
                    self.asked = (*self.asked, service.name)
                case effects.StopProbe(name):
                    self.asked = tuple(other for other in self.asked if other != name)
                case effects.Sweep():
                    self.sweeping = True
                case effects.Exit():
                    self.done = True

    def _turn_back(self, seconds: float) -> None:
        """Let now be zero again, so that states that differ in nothing but the hour are the same."""
        plain = self.engine.to_plain()
        if plain["total_deadline"] is not None:
            plain["total_deadline"] -= seconds
        for unit in plain["units"].values():
            unit["started_at"] = unit["ran_seconds"] = 0.0
            if unit["deadline"] is not None:
                unit["deadline"] -= seconds
        self.engine = Supervisor()
        self.engine.restore(self.plan, plain)

    def go_on_kindly(self) -> None:
        """Whatever happened, from here on everybody does as he is told: it must come to an end."""
        for _ in range(_STEPS_AT_MOST):
            if self.done:
                return
            self.happens(self._kind_fact())
        raise AssertionError("no end in sight")

    def _kind_fact(self) -> Event:
        for name, process in self.processes.items():
            if process == _FORKED:
                return Spawned(name, 100)
            if process == _RUNS:
                return Exited(name, 0)
            if process == _ORPHANS:
                return TreeGone(name)
        if self.sweeping:
            return Swept()
        return StopRequested(15) if not self.requests else Due()


def _small_plans() -> Iterator[Plan]:
    """Two services in every way of depending, being essential and restarting; three in every way of depending."""
    restarts = (Restart(), Restart("on-failure", 1, 1.0), Restart("always", delay_seconds=0.0))
    for condition, first, then in product((None, STARTED, HEALTHY, COMPLETED), restarts, restarts[:2]):
        for essentials in product((False, True), repeat=2):
            yield _small_plan({"b": {"a": condition} if condition else {}}, (first, then), essentials)
    for to_b, to_c, over in product((None, STARTED, HEALTHY, COMPLETED), repeat=3):
        edges = {"b": {"a": to_b} if to_b else {}, "c": {n: c for n, c in (("b", to_c), ("a", over)) if c}}
        yield _small_plan(edges, restarts[:1] * 3, (False, False, True))


def _small_plan(edges: dict[str, dict[str, str]], restarts: tuple[Restart, ...], essentials: tuple[bool, ...]) -> Plan:
    probed = {name for needs in edges.values() for name, condition in needs.items() if condition == HEALTHY}
    return Plan(
        {
            name: Service(
                name,
                (name,),
                depends_on=tuple(Dependency(other, condition) for other, condition in edges.get(name, {}).items()),
                restart=restart,
                essential=essential,
                probe=_PROBE if name in probed else None,
            )
            for name, restart, essential in zip("abc", restarts, essentials, strict=False)
        }
    )


def test_every_short_history_is_possible_and_has_an_end() -> None:
    """Whatever happens in whatever order: no fact is called impossible, nobody runs twice, and the end is reached."""
    for plan in _small_plans():
        worlds = [SmallWorld(plan)]
        seen: set[bytes] = set()
        for _ in range(_HISTORY_LENGTH):
            worlds = [after for world in worlds for after in _all_that_follow(world, seen)]
            assert worlds


def _all_that_follow(world: SmallWorld, seen: set[bytes]) -> Iterator[SmallWorld]:
    """The worlds after each possible fact, those aside that were met before."""
    for fact in world.possible():
        after = world.copy()
        after.happens(fact)
        key = after.key
        if after.done or key in seen:
            continue
        seen.add(key)
        after.copy().go_on_kindly()
        yield after
