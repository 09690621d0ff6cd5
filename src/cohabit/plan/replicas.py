"""Replicas: one service of the file becomes instances, web-1 to web-n, and whoever waits for it waits for all.

Pure. A service for which nobody wrote a number keeps its own name; 0 is Compose's: not started, and nobody
waits for it.
"""

from __future__ import annotations

from cohabit.errors import EXIT_USAGE
from cohabit.plan.draft import Diagnostic
from cohabit.plan.nearest import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from cohabit.plan.draft import Draft, DraftService
    from cohabit.plan.model import Dependency, Service

REPLICA_VARIABLE = "COHABIT_REPLICA"  # an instance finds its number in it
_MOST = 100_000  # instances and dependencies between them: more would take minutes and gigabytes


def expand(services: Mapping[str, Service], replicas: Mapping[str, int | None]) -> dict[str, Service]:
    """All instances by their names, in the order of the services.

    replicas: a number by the service's name; None or nothing for a service that has none.
    """
    names = {name: instances(name, replicas.get(name)) for name in services}
    expanded: dict[str, Service] = {}
    for name, service in services.items():
        needs = tuple(need for one in service.depends_on for need in _each(one, names))
        for instance in names[name]:
            if replicas.get(name) is None:
                expanded[name] = service.replace(service=name, depends_on=needs)
            else:
                number = instance.rpartition("-")[2]
                expanded[instance] = service.replace(
                    name=instance,
                    service=name,
                    replica=int(number),
                    depends_on=needs,
                    environment={**service.environment, REPLICA_VARIABLE: number},
                )
    return expanded


def scaled(draft: Draft, scale: Mapping[str, int], asked: Collection[str]) -> Draft:
    """The draft with other numbers of replicas. That one of `asked` is not in it is a problem; others may be gone."""
    services = dict(draft.services)
    problems = []
    for name, number in scale.items():
        if name in services:
            services[name] = services[name].replace(replicas=number)
        elif name in asked:
            text = f"cannot scale {name!r}: no such service{did_you_mean(name, services)}"
            problems.append(Diagnostic(draft.where, text, exit_code=EXIT_USAGE))
    return draft.replace(services=services, problems=(*draft.problems, *problems))


def instances(name: str, replicas: int | None) -> tuple[str, ...]:
    """Names of the instances of a service."""
    return (name,) if replicas is None else tuple(f"{name}-{number}" for number in range(1, replicas + 1))


def _each(dependency: Dependency, names: Mapping[str, tuple[str, ...]]) -> Iterator[Dependency]:
    """A dependency on a service as one on each of its instances."""
    for instance in names.get(dependency.service, (dependency.service,)):
        yield dependency if instance == dependency.service else dependency.replace(service=instance)


def clashes(draft: Draft) -> Iterator[Diagnostic]:
    """Services that have the name of another one's instance."""
    for name, other in draft.services.items():
        key, _, number = name.rpartition("-")
        item = draft.services.get(key)
        if item and item.replicas and _is_between(number, item.replicas):
            yield Diagnostic(
                other.where,
                f"services.{name}: one of the {item.replicas} replicas of {key} has this name, too (choose another)",
            )


def _is_between(number: str, replicas: int) -> bool:
    """Whether "3" is the number of one of so many replicas, as it would be written."""
    return number in map(str, range(1, replicas + 1))


def misfits(chosen: Mapping[str, DraftService]) -> Iterator[Diagnostic]:
    """Services that there cannot be several of."""
    for name, item in chosen.items():
        if (item.replicas or 0) > 1:
            for there_is, key, why in (
                (item.service.tty, "tty", "there is one terminal"),
                (item.service.stdin, "stdin_open", "there is one standard input"),
                (item.service.schedule, "schedule", "a job on a schedule never runs twice at a time"),
            ):
                if there_is:
                    text = f"services.{name}.{key}: {why}, but {name} has {item.replicas} replicas (remove one of both)"
                    yield Diagnostic(item.place(key), text)


def too_many(draft: Draft, chosen: Mapping[str, DraftService]) -> Iterator[Diagnostic]:
    """More than process 1 should be asked to know."""
    counts = {name: 1 if item.replicas is None else item.replicas for name, item in chosen.items()}
    total = sum(
        counts[name] * (1 + sum(counts.get(need.service, 0) for need in item.service.depends_on))
        for name, item in chosen.items()
    )
    if total > _MOST:
        text = f"the replicas and what they depend on come to {total:,} (at most {_MOST:,}; use fewer replicas)"
        yield Diagnostic(draft.where, text)
