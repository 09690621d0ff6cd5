"""Random Plans, their changes at a reload, and random fault profiles.

Everything is drawn from the world's own random.Random, so that a seed is reproducible. The module knows the records of
plan/model.py and nothing of the engine. Numbers come from short lists with difficult values (zero, equal, far apart),
because ties and zeros are where supervision fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.plan.model import (
    COMPLETED,
    EXIT,
    HEALTHY,
    NONE,
    RESTART,
    STARTED,
    Dependency,
    Hook,
    Plan,
    Probe,
    Restart,
    Schedule,
    Service,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random
    from typing import Any

NAMES = ("web", "db", "cache", "queue", "migrate", "worker", "cron", "proxy", "mail", "search")
_GRACES = (0.0, 0.5, 1.0, 3.0, 9.0, 9.0, 10.0, 30.0)
_TOTALS = (0.0, 1.0, 3.0, 9.0, 9.0, 30.0)
_STOP_SIGNALS = (15, 15, 15, 15, 3, 2, 9)
_RESTARTS = (
    Restart(),
    Restart("always"),
    Restart("always", delay_seconds=0.0),
    Restart("always", attempts=2, delay_seconds=0.5, window_seconds=3.0),
    Restart("on-failure"),
    Restart("on-failure", attempts=1),
    Restart("on-failure", attempts=3, delay_seconds=1.0),
)
_PASSIVE_KINDS = ("notify", "notify", "log", "fd")
_CHANGED = 0.2  # of the hooks after the stop, at a change of the file
_HOOKS = tuple(Hook((name,)) for name in ("one", "two", "three"))


class PostStops:
    """The post_stop hooks of one world's services, from a generator of their own: without them it is as it was before.

    A service keeps its hooks when the file changes, or gets others.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._chance = rng.choice((0.0, 0.0, 0.3, 1.0))
        self._hooks: dict[str, tuple[Hook, ...]] = {}

    def added(self, plan: Plan) -> Plan:
        """The Plan with these hooks."""
        for name in plan.services:
            if name not in self._hooks or self._rng.random() < _CHANGED:
                several = self._rng.choice((1, 1, 2, 3)) if self._rng.random() < self._chance else 0
                self._hooks[name] = tuple(self._rng.sample(_HOOKS, several))
        return plan.replace(
            services={name: each.replace(post_stop=self._hooks[name]) for name, each in plan.services.items()}
        )

    @staticmethod
    def removed(plan: Plan) -> Plan:
        """The Plan without them."""
        return plan.replace(services={name: each.replace(post_stop=()) for name, each in plan.services.items()})


class PlanProfile:
    """The chances (0 to 1) that a service of one world's Plans has dependencies, probes, hooks and so on."""

    def __init__(self, rng: Random) -> None:
        draw = rng.choice
        self.density = draw((0.0, 0.2, 0.5, 1.0))  # of dependencies
        self.essential = draw((0.0, 0.0, 0.1, 0.5, 1.0))
        self.restarts = draw((_RESTARTS, _RESTARTS, (Restart(),)))
        self.probes = draw((0.0, 0.4, 0.8))
        self.on_failure = draw((0.0, 0.5, 1.0))  # of the probes
        self.hooks = draw((0.0, 0.0, 0.2, 0.5))
        self.schedules = draw((0.0, 0.0, 0.3))
        self.restarts_along = draw((0.0, 0.3, 1.0))  # restart: true, of the dependencies


def random_plan(rng: Random, profile: PlanProfile) -> Plan:
    """A Plan that plan/build.py accepts: without dependency cycles and unsatisfiable conditions."""
    names = rng.sample(NAMES, rng.choice((1, 2, 3, 3, 4, 4, 5, 6, 10)))
    return _plan(rng, _services(rng, profile, names, {}))


def changed_plan(rng: Random, profile: PlanProfile, old: Plan) -> Plan:
    """The Plan after a change of the file: services are removed, added, changed in any way, or left as they were."""
    gone = rng.choice((0.0, 0.0, 0.2, 0.6))
    changes = rng.choice((0.0, 0.2, 0.6, 1.0))
    names = [name for name in old.services if rng.random() >= gone]
    others = [name for name in NAMES if name not in old.services]
    names += rng.sample(others, min(len(others), rng.choice((0, 0, 1, 2))))
    if not names:
        return old
    kept = {name: service for name, service in old.services.items() if rng.random() >= changes}
    order = names if rng.random() < 0.3 else _ordered(old, names)
    services = _services(rng, profile, order, kept)
    for name, service in services.items():
        before = old.services.get(name)
        if before is not None and service != before and rng.random() < 0.7:
            services[name] = _changed_a_little(rng, before, service)
    _make_satisfiable(services)
    return _plan(rng, services)


def scaled_plan(plan: Plan, scale: Mapping[str, int | None]) -> Plan:
    """The Plan with these numbers of replicas. A dependent of a service depends on all its replicas."""
    names = {
        name: [f"{name}-{number + 1}" for number in range(scale[name] or 0)] if name in scale else [name]
        for name in plan.services
    }
    services = {}
    for name, service in plan.services.items():
        needs = tuple(need.replace(service=one) for need in service.depends_on for one in names[need.service])
        services.update({one: service.replace(name=one, depends_on=needs) for one in names[name]})
    return plan.replace(services=services)


def _ordered(old: Plan, names: list[str]) -> list[str]:
    """The names in dependency order of the old Plan. New ones are last."""
    done: list[str] = []
    waiting = list(names)
    while waiting:
        for name in waiting:
            needs = old.services[name].depends_on if name in old.services else ()
            if not any(needed.service in waiting for needed in needs):
                done.append(name)
                waiting.remove(name)
                break
    return done


def _services(rng: Random, profile: PlanProfile, names: list[str], kept: dict[str, Service]) -> dict[str, Service]:
    """Services that depend on services before them. Those in `kept` stay as they are if their dependencies exist."""
    services: dict[str, Service] = {}
    for name in names:
        if name in kept and all(d.service in services for d in kept[name].depends_on):
            services[name] = kept[name]
            continue
        dependencies = tuple(
            Dependency(
                other,
                rng.choice((STARTED, HEALTHY, COMPLETED)),
                required=rng.random() < 0.9,
                restart=rng.random() < profile.restarts_along,
            )
            for other in services
            if rng.random() < profile.density
        )
        services[name] = _service(rng, profile, name, dependencies)
    _make_satisfiable(services)
    return services


def _service(rng: Random, profile: PlanProfile, name: str, dependencies: tuple[Dependency, ...]) -> Service:
    scheduled = rng.random() < profile.schedules
    restart = rng.choice(profile.restarts)
    hooks: dict[str, Any] = {
        stage: tuple(rng.sample(_HOOKS, rng.choice((1, 1, 2)))) if rng.random() < profile.hooks else ()
        for stage in ("pre_start", "post_start", "pre_stop")
    }
    return Service(
        name,
        (name, str(rng.randrange(1000))),
        depends_on=dependencies,
        restart=Restart() if scheduled and restart.condition == "always" else restart,
        stop_signal=rng.choice(_STOP_SIGNALS),
        stop_grace_seconds=rng.choice(_GRACES),
        essential=rng.random() < profile.essential,
        ends_on_success=rng.random() < 0.5,
        probe=_probe(rng, profile) if rng.random() < profile.probes else None,
        schedule=Schedule("* * * * *") if scheduled else None,
        **hooks,
    )


def _probe(rng: Random, profile: PlanProfile) -> Probe:
    passive = rng.random() < 0.4
    return Probe(
        rng.choice(_PASSIVE_KINDS) if passive else "tcp",
        interval_seconds=rng.choice((1.0, 3.0, 10.0, 30.0)),
        timeout_seconds=rng.choice((1.0, 5.0)),
        retries=rng.choice((1, 1, 2, 3)),
        start_period_seconds=rng.choice((0.0, 0.0, 2.0, 20.0)),
        start_interval_seconds=rng.choice((0.5, 1.0, 5.0)),
        on_failure=rng.choice((RESTART, EXIT)) if rng.random() < profile.on_failure else NONE,
        watchdog_seconds=rng.choice((0.0, 2.0, 10.0)) if passive else 0.0,
    )


def _changed_a_little(rng: Random, before: Service, after: Service) -> Service:
    """The old service with one or two fields of the new one."""
    fields = (
        "command",
        "restart",
        "stop_signal",
        "stop_grace_seconds",
        "essential",
        "ends_on_success",
        "pre_stop",
        "probe",
        "schedule",
    )
    changes: dict[str, Any] = {name: getattr(after, name) for name in rng.sample(fields, rng.choice((0, 1, 1, 2)))}
    if before.probe is not None and rng.random() < 0.3:
        changes["probe"] = before.probe.replace(retries=before.probe.retries + 1, interval_seconds=2.0)
    changed = before.replace(depends_on=after.depends_on, **changes)
    if changed.schedule is not None and changed.restart.condition == "always":
        changed = changed.replace(restart=Restart())
    return changed


def _make_satisfiable(services: dict[str, Service]) -> None:
    """Replace conditions that can never hold with service_started."""
    for name, service in services.items():
        services[name] = service.replace(
            depends_on=tuple(
                dependency
                if dependency.condition in _conditions(services[dependency.service])
                else dependency.replace(condition=STARTED)
                for dependency in service.depends_on
            )
        )


def _conditions(service: Service) -> tuple[str, ...]:
    """The conditions that this service can satisfy."""
    conditions = [STARTED]
    if service.probe is not None:
        conditions.append(HEALTHY)
    if service.restart.condition != "always" and service.schedule is None:
        conditions.append(COMPLETED)
    return tuple(conditions)


def _plan(rng: Random, services: dict[str, Service]) -> Plan:
    """A Plan of these services, in random order and with jobs marked: a file may name a dependent first."""
    awaited = {d.service for service in services.values() for d in service.depends_on if d.condition == COMPLETED}
    names = list(services)
    rng.shuffle(names)
    return Plan(
        {name: services[name].replace(job=name in awaited or services[name].schedule is not None) for name in names},
        rng.choice(_TOTALS),
    )


class FaultProfile:
    """The chance (0 to 1) of each fault in one world.

    Most faults are off in most worlds, because a world with all faults at once hides more than it shows.
    """

    def __init__(self, rng: Random) -> None:
        draw = rng.choice
        off, some, often = 0.0, 0.1, 0.5
        self.fork_fails = draw((off, off, off, some, often, 1.0))
        self.exec_fails = draw((off, off, off, some))
        self.dies_at_once = draw((off, off, some, often))
        self.ends_by_itself = draw((off, some, often, 1.0))
        self.fails = draw((off, some, often, 1.0))  # of the processes that end by themselves: exit code other than 0
        self.ignores_signals = draw((off, off, some, often))
        self.slow_to_die = draw((off, off, some))
        self.unkillable = draw((off, off, off, some, often))  # for some time, as if blocked in the kernel
        self.has_children = draw((off, some, often))
        self.escapes = draw((off, off, some))  # a child that belongs to no service
        self.daemonises = draw((off, off, some, often))
        self.hook_fails = draw((off, off, some, often))
        self.hook_hangs = draw((off, off, some))
        self.probe_fails = draw((off, some, often))  # of the results of a probe
        self.never_healthy = draw((off, off, some))  # of the services
        self.watchdog_stops = draw((off, some, often))  # watchdog messages
        self.broken_file = draw((off, some, often))  # at a reload
        self.wakes_late = draw((off, off, some))  # process 1
        self.shuffles = draw((off, off, 1.0))  # events of one instant arrive in any order
        self.reexecutes = draw((off, off, off, 0.02, some))

    def end_faults(self) -> None:
        """The faults that delay or prevent an end stop: from now on the container has to come to its end."""
        self.fork_fails = self.exec_fails = self.slow_to_die = self.unkillable = self.wakes_late = 0.0
        self.hook_hangs = 0.0
