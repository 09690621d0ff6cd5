"""Every sequence of a few events in every small Plan.

Each event that is possible next happens in a copy of the world. From there on all processes end when they are stopped,
and the container has to reach its end. The world keeps the contract of docs/howto/drive-the-engine.md, as the
simulator does.
"""

from __future__ import annotations

import marshal
import sys
from itertools import product
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.engine import effects
from cohabit.engine.ending import Ending
from cohabit.engine.events import (
    Daemonised,
    Due,
    Exited,
    HookEnded,
    Loaded,
    LoadFailed,
    Probed,
    ReloadRequested,
    ScheduleDue,
    Spawned,
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.health import Health
from cohabit.engine.reading import Reading
from cohabit.engine.run import Run, Stop
from cohabit.engine.supervisor import Supervisor
from cohabit.engine.unit import Unit
from cohabit.plan.model import (
    COMPLETED,
    HEALTHY,
    PRE_START,
    STARTED,
    Dependency,
    Hook,
    Plan,
    Probe,
    Restart,
    Schedule,
    Service,
)
from unit.engine_story import start_failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event

_PROBE = Probe("tcp", "127.0.0.1", 5432, retries=1, interval_seconds=5.0, start_interval_seconds=1.0)
_HOOKS = (Hook(("one",)),)
_NOTHING, _FORKED, _RUNS, _ORPHANS = "nothing", "forked", "runs", "orphans"
_STEPS_AT_MOST = 100
# `make test-quick` runs the first part only.
_PARTS = (0, *(pytest.param(part, marks=pytest.mark.exhaustive) for part in range(1, 8)))
# The state of the engine, without what is only recorded: texts, and the times and order of past transitions.
_UNIT = attrgetter(
    *(name for name in Unit.__slots__ if name not in ("dependents", "health", "history", "next_spec", "run", "spec"))
)
_RUN = attrgetter(*(name for name in Run.__slots__ if name not in ("reason", "status", "stop")))
_STOP = attrgetter(*Stop.__slots__)
_HEALTH = attrgetter(*(name for name in Health.__slots__ if name not in ("failed", "passed", "results")))
_READING = attrgetter(*(name for name in Reading.__slots__ if name not in ("_container", "messages")))
_ENDING = attrgetter(*(name for name in Ending.__slots__ if name not in ("_container", "drain_until", "reason")))
_BY_VALUE = 2  # a version of marshal: later ones also encode which values are the same object
_RESTARTS = (Restart(), Restart("on-failure", 1, 1.0), Restart("always", delay_seconds=0.0))


@pytest.fixture(autouse=True)
def shared_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let copies of an engine share its records, which are frozen, instead of converting them to plain values."""
    engine = [module for name, module in sys.modules.items() if name.startswith("cohabit.engine.")]
    for module, name in product(engine, ("to_plain", "from_plain", "entries_to_plain", "entries_from_plain")):
        monkeypatch.setattr(module, name, lambda frozen: frozen, raising=False)


class SmallWorld:
    """An engine and the processes of its services. It is copied at each branch of a history."""

    def __init__(self, plan: Plan, later: Plan | None = None) -> None:
        self.later = later  # the Plan in the file from now on
        self.engine = Supervisor()
        self.processes: dict[str, str] = {}
        self.hooks: dict[str, str] = {}  # by service, the stage of the hook that runs
        self.probing: tuple[str, ...] = ()  # services whose probe runs
        self.sweeping = self.reading = False
        self.requests = self.reloads = self.announced = 0
        self.done = False
        self._carry_out(self.engine.step(Loaded(plan), 0.0))

    def copy(self, plain: dict[str, Any]) -> SmallWorld:
        """Another world in the same state. plain: that of the engine."""
        other = SmallWorld.__new__(SmallWorld)
        other.__dict__.update(self.__dict__)
        other.processes, other.hooks = dict(self.processes), dict(self.hooks)
        other.engine = Supervisor()
        other.engine.restore(self.engine.plan, plain)
        for name in self.probing:  # unlike after a re-execution, running probes keep running
            unit = other.engine.units[name]
            unit.health.asking, unit.health.next_at = True, None
            other.engine.services.timers.set((name, "health"), None)
        return other

    @property
    def key(self) -> bytes:
        """The state that determines what can happen next: all but what is only recorded."""
        engine = self.engine
        services = engine.services
        units = [
            (
                _UNIT(unit),
                _RUN(unit.run),
                unit.run.stop and _STOP(unit.run.stop),
                _HEALTH(unit.health),
                id(unit.spec),  # the Plans keep them
                id(unit.next_spec),
            )
            for unit in engine.units.values()
        ]
        container = (engine.phase, engine.announced, engine.settled, engine.container.up_at, services.killed)
        parts = (_READING(engine.reading), _ENDING(engine.ending), services.total_grace.to_plain())
        around = (self.processes, self.hooks, self.probing, self.sweeping, self.reading, self.requests, self.reloads)
        return marshal.dumps((container, parts, sorted(services.timers._times.items()), units, around), _BY_VALUE)

    # --- what can happen -------------------------------------------------------------------------------

    def possible(self) -> Iterator[Event]:
        """All events that are possible next."""
        for name in self.processes:
            yield from self._possible_of(name)
        for name in self.probing:
            yield Probed(name, True)
            yield Probed(name, False)
        if self.sweeping:
            yield Swept()
        if self.engine.deadline() is not None:
            yield Due()
        if self.requests < 2:
            yield StopRequested(15)
        if self.later is not None:
            if self.reading:
                yield Loaded(self.later)
                yield LoadFailed(("f:1: wrong",), 78)
            if self.reloads < 2:
                yield ReloadRequested()

    def _possible_of(self, name: str) -> Iterator[Event]:
        process, hook = self.processes[name], self.hooks.get(name)
        service = self.engine.units[name].spec
        if hook:
            alone = process in (_NOTHING, _ORPHANS)
            yield from (HookEnded(name, code, None, orphans and alone) for code in (0, 3) for orphans in (False, True))
        if process == _FORKED:
            yield Spawned(name, 100)
            yield start_failed(name, "not found", 127)
            if service.pre_start:
                yield start_failed(name, "no room", 71, orphans=True)
        elif process == _RUNS:
            yield Exited(name, 0)
            yield Exited(name, 3)
            yield Exited(name, 3, orphans=True)
            if service.pid_file:
                yield Daemonised(name, 200)
        elif process == _ORPHANS and not hook:
            yield TreeGone(name)
        if service.schedule is not None:
            yield ScheduleDue(name)

    # --- what happens ----------------------------------------------------------------------------------

    def happens(self, event: Event) -> None:
        """Handle one event. The time is always 0, except for Due: it sets the clock to the deadline and back."""
        now = 0.0
        match event:
            case Spawned(name):
                self.processes[name] = _RUNS
            case SpawnFailed(name, _, orphans) | Exited(name, _, orphans):
                self.processes[name] = _ORPHANS if orphans else _NOTHING
            case TreeGone(name):
                self.processes[name] = _NOTHING
            case HookEnded(name, _, _, orphans):
                del self.hooks[name]
                if orphans:
                    self.processes[name] = _ORPHANS
            case Probed(name):
                self.probing = tuple(other for other in self.probing if other != name)
            case StopRequested():
                self.requests += 1
            case ReloadRequested():
                self.reloads += 1
            case Loaded() | LoadFailed():
                self.reading = False
            case Swept():
                self.sweeping = False
            case Due():
                now = self.engine.deadline() or 0.0
        self._carry_out(self.engine.step(event, now))
        if now:
            self._turn_back(now)

    def _carry_out(self, wanted: list[Effect]) -> None:
        for effect in wanted:
            assert not self.done, f"{effect} after the end"
            match effect:
                case effects.Prepare(plan):
                    self.processes = dict.fromkeys(plan.services, _NOTHING) | self.processes
                case effects.Spawn(service):
                    self._is_free(service)
                    self.processes[service.name] = _FORKED
                case effects.RunHook(service, stage):
                    if stage == PRE_START:
                        self._is_free(service)
                        self.processes[service.name] = _NOTHING
                    assert service.name not in self.hooks, f"{service.name} has a running hook"
                    self.hooks[service.name] = stage
                case effects.Ask(service):
                    assert service.name not in self.probing, f"the probe of {service.name} is already running"
                    self.probing = (*self.probing, service.name)
                case effects.StopAsking(name):
                    self.probing = tuple(other for other in self.probing if other != name)
                case effects.Load():
                    assert not self.reading, "the file is already being read"
                    self.reading = True
                case effects.Forget(name):
                    assert self.processes.pop(name) == _NOTHING, f"{name} still has processes"
                case effects.AllReady():
                    self.announced += 1
                    assert self.announced == 1
                case effects.Sweep():
                    self.sweeping = True
                case effects.Exit():
                    self.done = True

    def _is_free(self, service: Service) -> None:
        """Check that no process of a service runs, except those that its pre_start hooks left behind."""
        name, process = service.name, self.processes[service.name]
        left = process == _ORPHANS and service.pre_start and self.engine.units[name].state == "STARTING"
        assert process == _NOTHING or left, f"{name} already has processes"
        assert name not in self.hooks, f"{name} has a running hook"

    def _turn_back(self, seconds: float) -> None:
        """Shift all times so that now is 0 again. States that differ only in time become equal."""
        services = self.engine.services
        _shift(self.engine.ending, ("deadline", "requested_at"), seconds)
        _shift(services.total_grace, ("deadline",), seconds)
        for unit in services.units.values():
            _shift(unit.health, ("next_at", "count_from", "asked_at"), seconds)
            unit.run.started_at = unit.run.ran_seconds = 0.0
        times, services.timers._times, services.timers._heap = services.timers._times, {}, []
        for timer, time in times.items():
            services.timers.set(timer, time - seconds)

    def cooperative_event(self) -> Event:
        """The next event if processes start and end as requested."""
        if self.reading and self.later is not None:
            return Loaded(self.later)
        for name in self.hooks:
            return HookEnded(name, 0)
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


# --- every small Plan ----------------------------------------------------------------------------------


def _plans_of_order() -> Iterator[Plan]:
    """Two services with every condition, restart policy and value of essential; three with every condition."""
    for condition, first, then in product((None, STARTED, HEALTHY, COMPLETED), _RESTARTS, _RESTARTS[:2]):
        for essentials in product((False, True), repeat=2):
            yield _small_plan({"b": {"a": condition} if condition else {}}, (first, then), essentials)
    for to_b, to_c, over in product((None, STARTED, HEALTHY, COMPLETED), repeat=3):
        edges = {"b": {"a": to_b} if to_b else {}, "c": {n: c for n, c in (("b", to_c), ("a", over)) if c}}
        yield _small_plan(edges, _RESTARTS[:1] * 3, (False, False, True))


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


def _plans_of_lifecycles() -> Iterator[Plan]:
    """A service with every set of hooks, every on_failure or a schedule, daemon or not; another one depends on it."""
    hooks = [
        {stage: _HOOKS for stage, has in zip(("pre_start", "post_start", "pre_stop"), row, strict=True) if has}
        for row in product((False, True), repeat=3)
    ]
    hooks += [{"post_stop": _HOOKS}, {"pre_start": _HOOKS, "pre_stop": _HOOKS, "post_stop": _HOOKS}]
    whens = (
        {"probe": None},
        {"schedule": Schedule("* * * * *")},
        *({"probe": _PROBE.replace(on_failure=then)} for then in ("none", "restart", "exit")),
    )
    for row, when, restart, daemon in product(hooks, whens, _RESTARTS[:2], ("", "a.pid")):
        first = Service("a", ("a",), restart=restart, essential=False, pid_file=daemon, **row, **when)
        yield Plan({"a": first, "b": Service("b", ("b",), depends_on=(Dependency("a"),), essential=False)})


def _reloads() -> Iterator[tuple[Plan, Plan]]:
    """Pairs of Plans with two services: other dependencies, or one of the services removed, added or changed."""
    ways = [_pair(a, b) for a in (None, STARTED, COMPLETED) for b in (None, STARTED) if not (a and b)]
    ways += [Plan({"a": Service("a", ("a",))}), Plan({"b": Service("b", ("b",), pre_stop=_HOOKS)})]
    for before, after in product(ways, repeat=2):
        yield before, after
        yield before, Plan({name: s.replace(command=(name, "new")) for name, s in after.services.items()})


def _pair(a: str | None, b: str | None) -> Plan:
    to_b = (Dependency("b", a, restart=True),) if a else ()
    to_a = (Dependency("a", b, restart=True),) if b else ()
    first = Service("a", ("a",), depends_on=to_b, essential=False)
    return Plan({"a": first, "b": Service("b", ("b",), depends_on=to_a, pre_stop=_HOOKS, essential=False)})


def _shift(part: object, names: tuple[str, ...], seconds: float) -> None:
    for name in names:
        time = getattr(part, name)
        if time is not None:
            setattr(part, name, time - seconds)


def _try_every_history(start: SmallWorld, length: int) -> None:
    """Let every sequence of up to `length` events happen. From each world on the way the end has to be reached.

    The next event on the way to the end is one of the possible events, so that it is tried anyway. Only the last worlds
    run to the end, or to a world from which the way is known.
    """
    worlds = {start.key: start}
    seen = set(worlds)
    steps: dict[bytes, bytes | None] = {}  # from a world to the next one on its way to the end, None for the end
    for _ in range(length):
        new: dict[bytes, SmallWorld] = {}
        for before, world in worlds.items():
            towards_the_end = world.cooperative_event()
            events = list(world.possible())
            plain = world.engine.to_plain()
            for event in events:
                after = world.copy(plain) if event is not events[-1] else world
                after.happens(event)
                key = None if after.done else after.key
                if event == towards_the_end:
                    steps[before] = key
                if key is not None and key not in seen:
                    seen.add(key)
                    new[key] = after
            assert before in steps, f"{towards_the_end} is not among the possible events"
        worlds = new
    for key, world in worlds.items():
        _run_to_the_end(key, world, steps)
    for first in steps:
        _check_steps(first, steps)


def _run_to_the_end(key: bytes, world: SmallWorld, steps: dict[bytes, bytes | None]) -> None:
    """From here on processes start and end as requested, until the end or a world from which the steps are known."""
    for _ in range(_STEPS_AT_MOST):
        if key in steps:
            return
        world.happens(world.cooperative_event())
        after = steps[key] = None if world.done else world.key
        if after is None:
            return
        key = after
    raise AssertionError(f"no end after {_STEPS_AT_MOST} events")


def _check_steps(key: bytes, steps: dict[bytes, bytes | None]) -> None:
    """Check that the steps from a world lead to the end."""
    for _ in range(_STEPS_AT_MOST):
        after = steps[key]
        if after is None:
            return
        key = after
    raise AssertionError(f"no end after {_STEPS_AT_MOST} events")


@pytest.mark.parametrize("part", _PARTS)
def test_every_short_history_reaches_the_end(part: int) -> None:
    """In any order of events: no ImpossibleEventError, no service runs twice, and the end is reached."""
    for plan in list(_plans_of_order())[part::8]:
        _try_every_history(SmallWorld(plan), 5)


@pytest.mark.parametrize("part", _PARTS)
def test_every_short_history_with_hooks_health_or_a_schedule_reaches_the_end(part: int) -> None:
    """The same for the lifecycle of one service and a dependent."""
    for plan in list(_plans_of_lifecycles())[part::8]:
        _try_every_history(SmallWorld(plan), 4)


@pytest.mark.parametrize("part", _PARTS)
def test_every_short_history_with_a_reload_reaches_the_end(part: int) -> None:
    """The same with a reload of another Plan, or of an invalid file, at every point."""
    for before, after in list(_reloads())[part::8]:
        _try_every_history(SmallWorld(before, after), 4)
