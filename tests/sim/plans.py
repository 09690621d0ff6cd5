"""Random Plans, what becomes of them at a reload, and random climates: what one world runs, and how hostile it is.

Everything is drawn from the world's own random.Random, so a seed is the whole story. Knows the nouns of
plan/model.py and nothing of the engine. Numbers are drawn from short lists with the awkward values in them
(zero, equal to each other, far apart) because ties and zeros are where supervision goes wrong.
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
_TELLING = ("notify", "notify", "log", "fd")
_HOOKS = tuple(Hook((word,)) for word in ("one", "two", "three"))


class Temper:
    """What the Plans of one world are like: how often a service has which of the things it may have."""

    def __init__(self, rng: Random) -> None:
        draw = rng.choice
        self.density = draw((0.0, 0.2, 0.5, 1.0))  # of dependencies
        self.essential = draw((0.0, 0.0, 0.1, 0.5, 1.0))
        self.restarts = draw((_RESTARTS, _RESTARTS, (Restart(),)))
        self.probes = draw((0.0, 0.4, 0.8))
        self.acts = draw((0.0, 0.5, 1.0))  # on_failure, of the probes
        self.hooks = draw((0.0, 0.0, 0.2, 0.5))
        self.schedules = draw((0.0, 0.0, 0.3))
        self.goes_along = draw((0.0, 0.3, 1.0))  # depends_on: restart, of the dependencies


def random_plan(rng: Random, temper: Temper) -> Plan:
    """A Plan that plan/build.py would let pass: no circle, nobody waits for what can never come."""
    names = rng.sample(NAMES, rng.choice((1, 2, 3, 3, 4, 4, 5, 6, 10)))
    return _finished(rng, _grown(rng, temper, names, {}))


def changed_plan(rng: Random, temper: Temper, old: Plan) -> Plan:
    """What a file may have become: services gone, new, and changed in every way; often, most are as they were."""
    gone = rng.choice((0.0, 0.0, 0.2, 0.6))
    changes = rng.choice((0.0, 0.2, 0.6, 1.0))
    names = [name for name in old.services if rng.random() >= gone]
    others = [name for name in NAMES if name not in old.services]
    names += rng.sample(others, min(len(others), rng.choice((0, 0, 1, 2))))
    if not names:
        return old
    kept = {name: service for name, service in old.services.items() if rng.random() >= changes}
    order = names if rng.random() < 0.3 else _in_order(old, names)
    services = _grown(rng, temper, order, kept)
    for name, service in services.items():
        before = old.services.get(name)
        if before is not None and service != before and rng.random() < 0.7:
            services[name] = _changed_a_little(rng, before, service)
    _make_possible(services)
    return _finished(rng, services)


def scaled_plan(plan: Plan, scale: dict[str, int]) -> Plan:
    """The Plan with so many replicas of these services; who depends on one of them depends on all its replicas."""
    names = {
        name: [f"{name}-{number + 1}" for number in range(scale[name])] if name in scale else [name]
        for name in plan.services
    }
    services = {}
    for name, service in plan.services.items():
        needs = tuple(need.replace(service=one) for need in service.depends_on for one in names[need.service])
        services.update({one: service.replace(name=one, depends_on=needs) for one in names[name]})
    return plan.replace(services=services)


def _in_order(old: Plan, names: list[str]) -> list[str]:
    """Names so that each comes behind those it depended on in the old Plan; new ones come last."""
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


def _grown(rng: Random, temper: Temper, names: list[str], kept: dict[str, Service]) -> dict[str, Service]:
    """Services that depend on those before them; those in `kept` stay as they are as far as that is possible."""
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
                restart=rng.random() < temper.goes_along,
            )
            for other in services
            if rng.random() < temper.density
        )
        services[name] = _service(rng, temper, name, dependencies)
    _make_possible(services)
    return services


def _service(rng: Random, temper: Temper, name: str, dependencies: tuple[Dependency, ...]) -> Service:
    scheduled = rng.random() < temper.schedules
    restart = rng.choice(temper.restarts)
    hooks: dict[str, Any] = {
        stage: tuple(rng.sample(_HOOKS, rng.choice((1, 1, 2)))) if rng.random() < temper.hooks else ()
        for stage in ("pre_start", "post_start", "pre_stop")
    }
    return Service(
        name,
        (name, str(rng.randrange(1000))),
        depends_on=dependencies,
        restart=Restart() if scheduled and restart.condition == "always" else restart,
        stop_signal=rng.choice(_STOP_SIGNALS),
        stop_grace_seconds=rng.choice(_GRACES),
        essential=rng.random() < temper.essential,
        probe=_probe(rng, temper) if rng.random() < temper.probes else None,
        schedule=Schedule("* * * * *") if scheduled else None,
        **hooks,
    )


def _probe(rng: Random, temper: Temper) -> Probe:
    telling = rng.random() < 0.4
    return Probe(
        rng.choice(_TELLING) if telling else "tcp",
        interval_seconds=rng.choice((1.0, 3.0, 10.0, 30.0)),
        timeout_seconds=rng.choice((1.0, 5.0)),
        retries=rng.choice((1, 1, 2, 3)),
        start_period_seconds=rng.choice((0.0, 0.0, 2.0, 20.0)),
        start_interval_seconds=rng.choice((0.5, 1.0, 5.0)),
        on_failure=rng.choice((RESTART, EXIT)) if rng.random() < temper.acts else NONE,
        watchdog_seconds=rng.choice((0.0, 2.0, 10.0)) if telling else 0.0,
    )


def _changed_a_little(rng: Random, before: Service, after: Service) -> Service:
    """The old service with one thing or two of the new one."""
    fields = ("command", "restart", "stop_signal", "stop_grace_seconds", "essential", "pre_stop", "probe", "schedule")
    changes: dict[str, Any] = {name: getattr(after, name) for name in rng.sample(fields, rng.choice((0, 1, 1, 2)))}
    if before.probe is not None and rng.random() < 0.3:
        changes["probe"] = before.probe.replace(retries=before.probe.retries + 1, interval_seconds=2.0)
    changed = before.replace(depends_on=after.depends_on, **changes)
    if changed.schedule is not None and changed.restart.condition == "always":
        changed = changed.replace(restart=Restart())
    return changed


def _make_possible(services: dict[str, Service]) -> None:
    """Whoever waits for what can never come waits for its start instead."""
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
    """The conditions that somebody may wait for on this service."""
    conditions = [STARTED]
    if service.probe is not None:
        conditions.append(HEALTHY)
    if service.restart.condition != "always" and service.schedule is None:
        conditions.append(COMPLETED)
    return tuple(conditions)


def _finished(rng: Random, services: dict[str, Service]) -> Plan:
    """The jobs among them marked, in any order: a file may name a service before the one that it depends on."""
    awaited = {d.service for service in services.values() for d in service.depends_on if d.condition == COMPLETED}
    names = list(services)
    rng.shuffle(names)
    return Plan(
        {name: services[name].replace(job=name in awaited or services[name].schedule is not None) for name in names},
        rng.choice(_TOTALS),
    )


class Climate:
    """How hostile one world is: the chance (0 to 1) of each fault, drawn once, so that worlds differ.

    A world with every fault at once hides more than it shows; most faults are therefore off in most worlds.
    """

    def __init__(self, rng: Random) -> None:
        draw = rng.choice
        off, some, often = 0.0, 0.1, 0.5
        self.fork_fails = draw((off, off, off, some, often, 1.0))
        self.exec_fails = draw((off, off, off, some))
        self.dies_at_once = draw((off, off, some, often))
        self.ends_by_itself = draw((off, some, often, 1.0))
        self.fails = draw((off, some, often, 1.0))  # of those who end: with a code other than 0
        self.deaf = draw((off, off, some, often))
        self.slow_to_die = draw((off, off, some))
        self.unkillable = draw((off, off, off, some, often))  # for a while: stuck in the kernel
        self.has_children = draw((off, some, often))
        self.escapes = draw((off, off, some))  # a process that belongs to no service any more
        self.daemonises = draw((off, off, some, often))
        self.hook_fails = draw((off, off, some, often))
        self.hook_hangs = draw((off, off, some))
        self.unwell = draw((off, some, often))  # of the answers of a probe
        self.never_well = draw((off, off, some))  # of the services
        self.silent = draw((off, some, often))  # a watchdog that is not fed any more
        self.broken_file = draw((off, some, often))  # of the files at a reload
        self.late = draw((off, off, some))  # process 1 gets the CPU late
        self.shuffles = draw((off, off, 1.0))  # facts of one instant come in any order
        self.reexecutes = draw((off, off, off, 0.02, some))

    def heal(self) -> None:
        """The faults end: from now on the world is kind, and everything has to come to its end."""
        self.fork_fails = self.exec_fails = self.slow_to_die = self.unkillable = self.late = 0.0
        self.hook_hangs = 0.0
