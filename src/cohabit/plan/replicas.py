"""Replicas: a service with n replicas becomes the instances web-1 to web-n; its dependents wait for all of them. Pure.

A service without a number of replicas keeps its name. Scaled, its first instance keeps that name and goes on, and the
others are web-2 to web-n. With 0 replicas, as in Compose, it is not started and its
dependents do not wait for it.
"""

from __future__ import annotations

from cohabit.errors import EXIT_USAGE
from cohabit.nearest import did_you_mean
from cohabit.plan.draft import Diagnostic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from cohabit.plan.draft import Draft, DraftService
    from cohabit.plan.model import Dependency, Service

REPLICA_VARIABLE = "COHABIT_REPLICA"  # the number of the instance, in its environment
_ENTRIES_MAX = 100_000  # instances and dependencies between them: more would take minutes and gigabytes


def expand(
    services: Mapping[str, Service], replicas: Mapping[str, int | None], keeping: Collection[str] = ()
) -> dict[str, Service]:
    """All instances by name, in the order of the services.

    replicas: the number by service; None, or no entry, for a service without replicas. keeping: services whose first
    instance has the name of the service.
    """
    names = {name: instances(name, replicas.get(name), keeps_name=name in keeping) for name in services}
    expanded: dict[str, Service] = {}
    for name, service in services.items():
        depends_on = tuple(each for one in service.depends_on for each in _each(one, names))
        for instance in names[name]:
            if instance == name:
                expanded[name] = service.replace(service=name, depends_on=depends_on)
            else:
                number = instance.rpartition("-")[2]
                expanded[instance] = service.replace(
                    name=instance,
                    service=name,
                    replica=int(number),
                    depends_on=depends_on,
                    environment={**service.environment, REPLICA_VARIABLE: number},
                )
    return expanded


def scaled(draft: Draft, scale: Mapping[str, int | None], asked: Collection[str]) -> Draft:
    """The Draft with other numbers of replicas. A service in `asked` must exist; others may have been removed.

    None stands for the number in the file: the service was started by name.
    """
    services = dict(draft.services)
    problems = []
    for name, number in scale.items():
        item = services.get(name)
        if item is not None and number is not None:
            services[name] = item.replace(replicas=number, keeps_name=item.replicas is None)
        elif item is None and name in asked:
            command = "start" if number is None else "scale"
            text = f"cannot {command} {name!r}: no such service{did_you_mean(name, services)}"
            problems.append(Diagnostic(draft.where, text, exit_code=EXIT_USAGE))
    return draft.replace(services=services, problems=(*draft.problems, *problems))


def instances(name: str, replicas: int | None, *, keeps_name: bool = False) -> tuple[str, ...]:
    """Names of the instances of a service."""
    if replicas is None:
        return (name,)
    return tuple(name if keeps_name and number == 1 else f"{name}-{number}" for number in range(1, replicas + 1))


def _each(dependency: Dependency, names: Mapping[str, tuple[str, ...]]) -> Iterator[Dependency]:
    """A dependency on a service as one on each of its instances."""
    for instance in names.get(dependency.service, (dependency.service,)):
        yield dependency if instance == dependency.service else dependency.replace(service=instance)


def clashes(draft: Draft) -> Iterator[Diagnostic]:
    """Services whose name is also that of an instance of another service."""
    for name, other in draft.services.items():
        key, _, number = name.rpartition("-")
        item = draft.services.get(key)
        if item and item.replicas and _is_between(number, item.replicas) and not (item.keeps_name and number == "1"):
            text = f"one of the {item.replicas} replicas of {key} has the same name (choose another name)"
            yield Diagnostic(other.where, f"services.{name}: {text}")


def _is_between(number: str, replicas: int) -> bool:
    """Whether a text is the number of one of the replicas, in its usual form."""
    return number in map(str, range(1, replicas + 1))


def misfits(chosen: Mapping[str, DraftService]) -> Iterator[Diagnostic]:
    """Services that cannot have several replicas."""
    for name, item in chosen.items():
        if (item.replicas or 0) > 1:
            for there_is, key, why in (
                (item.service.schedule, "schedule", "a scheduled job never overlaps itself"),
                (item.service.log_files, "log_files", "each instance would show the lines of all of them"),
            ):
                if there_is:
                    text = f"{why}, but {name} has {item.replicas} replicas (remove one of the two)"
                    yield Diagnostic(item.place(key), f"services.{name}.{key}: {text}")


def too_many(draft: Draft, chosen: Mapping[str, DraftService]) -> Iterator[Diagnostic]:
    """More instances and dependencies than process 1 can handle in reasonable time."""
    counts = {name: 1 if item.replicas is None else item.replicas for name, item in chosen.items()}
    total = sum(
        counts[name] * (1 + sum(counts.get(each.service, 0) for each in item.service.depends_on))
        for name, item in chosen.items()
    )
    if total > _ENTRIES_MAX:
        text = f"there are {total:,} replicas and dependencies between them"
        yield Diagnostic(draft.where, f"{text} (at most {_ENTRIES_MAX:,}; use fewer replicas)")
