"""Random Plans and random climates: what one simulated world runs, and how hostile it is.

Everything is drawn from the world's own random.Random, so a seed is the whole story. Knows the nouns of
plan/model.py and nothing of the engine. Numbers are drawn from short lists with the awkward values in them
(zero, equal to each other, far apart) because ties and zeros are where supervision goes wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.plan.model import COMPLETED, HEALTHY, STARTED, Dependency, Plan, Probe, Restart, Service

if TYPE_CHECKING:
    from random import Random

_NAMES = ("web", "db", "cache", "queue", "migrate", "worker", "cron", "proxy", "mail", "search")
_GRACES = (0.0, 0.5, 1.0, 3.0, 9.0, 9.0, 10.0, 30.0)
_TOTALS = (0.0, 1.0, 3.0, 9.0, 9.0, 30.0)
_STOP_SIGNALS = (15, 15, 15, 15, 3, 2, 9)
_PROBE = Probe("tcp", "127.0.0.1", 5432)
_RESTARTS = (
    Restart(),
    Restart("always"),
    Restart("always", delay_seconds=0.0),
    Restart("always", attempts=2, delay_seconds=0.5, window_seconds=3.0),
    Restart("on-failure"),
    Restart("on-failure", attempts=1),
    Restart("on-failure", attempts=3, delay_seconds=1.0),
)


def random_plan(rng: Random) -> Plan:
    """A Plan that plan/build.py would let pass: no circle, nobody waits for what can never come."""
    names = rng.sample(_NAMES, rng.choice((1, 2, 3, 3, 4, 4, 5, 6, 10)))
    density = rng.choice((0.0, 0.2, 0.5, 1.0))
    essential = rng.choice((0.0, 0.0, 0.1, 0.5, 1.0))
    restarts = rng.choice((_RESTARTS, _RESTARTS, (Restart(),)))
    services: dict[str, Service] = {}
    for name in names:
        dependencies = tuple(
            Dependency(other.name, rng.choice(_conditions(other)), required=rng.random() < 0.9)
            for other in services.values()
            if rng.random() < density
        )
        services[name] = _service(rng, name, dependencies).replace(
            restart=rng.choice(restarts), essential=rng.random() < essential
        )
    rng.shuffle(names)  # a file may name a service before the one that it depends on
    return Plan({name: services[name] for name in names}, rng.choice(_TOTALS))


def _service(rng: Random, name: str, dependencies: tuple[Dependency, ...]) -> Service:
    return Service(
        name,
        (name,),
        depends_on=dependencies,
        stop_signal=rng.choice(_STOP_SIGNALS),
        stop_grace_seconds=rng.choice(_GRACES),
        probe=_PROBE if rng.random() < 0.4 else None,
    )


def _conditions(service: Service) -> tuple[str, ...]:
    """The conditions that somebody may wait for on this service."""
    conditions = [STARTED]
    if service.probe is not None:
        conditions.append(HEALTHY)
    if service.restart.condition != "always":
        conditions.append(COMPLETED)
    return tuple(conditions)


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
        self.probe_never_passes = draw((off, off, some))
        self.late = draw((off, off, some))  # process 1 gets the CPU late
        self.shuffles = draw((off, off, 1.0))  # facts of one instant come in any order
        self.reexecutes = draw((off, off, off, 0.02, some))

    def heal(self) -> None:
        """The faults end: from now on the world is kind, and everything has to come to its end."""
        self.fork_fails = self.exec_fails = self.slow_to_die = self.unkillable = self.late = 0.0
