"""Draft -> Plan: select the services, check how they fit together, and fill in the defaults that depend on this.

Pure. All problems are found in one pass, each with its place in the file. Problems inside one file (a wrong type, an
unknown key) were found by its reader and are in the Draft.
"""

from __future__ import annotations

from itertools import islice

from cohabit.errors import EXIT_USAGE
from cohabit.nearest import did_you_mean
from cohabit.plan.draft import Diagnostic, Draft, DraftService
from cohabit.plan.model import COMPLETED, HEALTHY, Plan
from cohabit.plan.order import cycles
from cohabit.plan.outputs import console_of, torn_files, unseen
from cohabit.plan.replicas import clashes, expand, misfits, too_many
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_FILES = (".yaml", ".yml", ".toml")
ALL_PROFILES = "*"
_PROBLEMS_MAX = 100  # of one kind: a hundred thousand searches for the nearest name would take minutes


def build(
    draft: Draft, wanted: Sequence[str] = (), profiles: Collection[str] = (), added: Collection[str] = ()
) -> tuple[Plan | None, tuple[Diagnostic, ...]]:
    """The Plan of a Draft, and all problems and warnings, those of the Draft first. None if there is a problem.

    wanted: services named by the user; empty for all. profiles: active ones, "*" for all. added: services that were
    started or scaled by name since: they take part with their dependencies, whatever their profiles.
    """
    enabled = _enabled(draft, wanted, profiles)
    chosen = _with_dependencies(enabled, wanted) if wanted else enabled
    own = {*chosen, *added}
    if added:
        enabled = {**enabled, **_enabled(draft, (*wanted, *added), profiles)}
        more = _with_dependencies(enabled, added)
        chosen = {name: item for name, item in draft.services.items() if name in chosen or name in more}
    problems = [
        *draft.problems,
        *islice(_unknown_names(draft, wanted), _PROBLEMS_MAX),
        *_nothing_to_start(draft, chosen, wanted),
        *islice(_bad_dependencies(draft, enabled, chosen), _PROBLEMS_MAX),
        *_dependency_cycles(draft),
        *_impossible_waits(chosen),
        *misfits(chosen),
        *unseen(draft, chosen),
        *(one.replace(warning=draft.stays) for one in torn_files(draft, chosen)),
        *islice(clashes(draft), _PROBLEMS_MAX),
        *too_many(draft, chosen),
        *_shortened_graces(draft, chosen),
    ]
    if any(not problem.warning for problem in problems):
        return None, tuple(problems)
    joined = tuple(name for name in chosen if name not in own)
    return _plan(draft, chosen, {*wanted, *added}).replace(joined=joined), tuple(problems)


def _enabled(draft: Draft, wanted: Collection[str], profiles: Collection[str]) -> dict[str, DraftService]:
    """The services that may take part. Naming one activates its profiles, as in Compose."""
    active = {*profiles}.union(*(draft.services[name].profiles for name in wanted if name in draft.services))
    return {
        name: service
        for name, service in draft.services.items()
        if name in wanted or not service.profiles or ALL_PROFILES in active or not active.isdisjoint(service.profiles)
    }


def _plan(draft: Draft, chosen: dict[str, DraftService], requested: Collection[str]) -> Plan:
    """The chosen services, with the defaults that depend on other services."""
    jobs = {
        dependency.service
        for item in chosen.values()
        for dependency in item.service.depends_on
        if dependency.condition == COMPLETED
    } | {name for name, item in chosen.items() if item.service.schedule}
    started = _started(chosen, requested)
    console = "" if draft.stays and not draft.main else console_of(chosen)
    services = {
        name: item.service.replace(
            console=name == console,
            depends_on=tuple(d for d in item.service.depends_on if d.service in chosen),
            essential=name in started - jobs if item.essential is None else item.essential,
            ends_on_success=item.essential is True,
            job=name in jobs,
            autostart=name in started,
        )
        for name, item in chosen.items()
    }
    replicas = {name: item.replicas for name, item in chosen.items()}
    return Plan(
        expand(services, replicas, {name for name, item in chosen.items() if item.keeps_name}),
        draft.stop_grace_seconds,
        draft.secrets,
        draft.configs,
        draft.control_gid,
        draft.logging,
        draft.mask,
        draft.main,
        draft.reloads,
        tuple(name for name in draft.services if name not in chosen),
        draft.exit_code_from,
        stays=draft.stays and not draft.exit_when_all_ended,
        beside=draft.beside,
    )


def _started(chosen: dict[str, DraftService], requested: Collection[str]) -> set[str]:
    """The services that start: without `autostart: false`, requested by name, or with a dependent that starts."""
    todo = [name for name, item in chosen.items() if item.service.autostart or name in requested]
    started: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in started:
            started.add(name)
            todo += [d.service for d in chosen[name].service.depends_on if d.required and d.service in chosen]
    return started


def _with_dependencies(enabled: dict[str, DraftService], wanted: Collection[str]) -> dict[str, DraftService]:
    """The wanted services and all their dependencies, in the order of the file."""
    needed: set[str] = set()
    waiting = [name for name in wanted if name in enabled]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [d.service for d in enabled[name].service.depends_on if d.service in enabled]
    return {name: service for name, service in enabled.items() if name in needed}


def _unknown_names(draft: Draft, wanted: Sequence[str]) -> Iterator[Diagnostic]:
    for name in wanted:
        if name not in draft.services:
            known = f" (there are: {', '.join(draft.services)})" if draft.services else ""
            hint = did_you_mean(name, draft.services) or known
            if name.endswith(_FILES):
                hint = f" (to use a file, write -f {name})"
            yield Diagnostic(draft.where, f"cannot start {name!r}: no such service{hint}", exit_code=EXIT_USAGE)


def _nothing_to_start(draft: Draft, chosen: dict[str, DraftService], wanted: Sequence[str]) -> Iterator[Diagnostic]:
    """All services belong to inactive profiles, or have 0 replicas. A file without services is the reader's problem."""
    if draft.services and not chosen and not wanted:
        inactive = sorted({one for service in draft.services.values() for one in service.profiles if one})
        yield Diagnostic(
            draft.where,
            "nothing to start: every service belongs to a profile "
            f"({' or '.join(f'--profile {profile}' for profile in inactive)}, or name a service)",
        )
    if chosen and all(item.replicas == 0 for item in chosen.values()):
        yield Diagnostic(draft.where, f"nothing to start: 0 replicas of {', '.join(chosen)} (write scale: 1)")


def _bad_dependencies(
    draft: Draft, enabled: dict[str, DraftService], chosen: dict[str, DraftService]
) -> Iterator[Diagnostic]:
    """Dependencies on an unknown service, on the service itself, or on one of an inactive profile."""
    node = draft.written.get("services")
    written = node.value if node and isinstance(node.value, dict) else {}
    for name, item in draft.services.items():
        for dependency in item.service.depends_on:
            other = dependency.service
            where = item.place(item.dependency(other))
            key = f"services.{name}.{item.implied.get(other, 'depends_on')}"
            if other == name:
                yield Diagnostic(where, f"{key}: {name} cannot depend on itself (remove this line)")
            elif other not in draft.services:
                if other in written:
                    continue  # its error is reported
                hint = did_you_mean(other, draft.services) or " (add it, or remove this line)"
                text = f"{key}: there is no service {other!r}{hint}"
                yield Diagnostic(where, text, warning=not dependency.required)
            elif other in draft.services and other not in enabled and name in chosen and dependency.required:
                profiles = " or ".join(filter(None, draft.services[other].profiles))
                yield Diagnostic(
                    where,
                    f"{key}: {other} is not active (write --profile {profiles}, or required: false)",
                )


def _dependency_cycles(draft: Draft) -> Iterator[Diagnostic]:
    graph = {
        name: [d.service for d in item.service.depends_on if d.service != name] for name, item in draft.services.items()
    }
    for cycle in cycles(graph):
        first = draft.services[cycle[0]]
        where = first.place(first.dependency(cycle[1]))
        yield Diagnostic(
            where,
            f"depends_on has a cycle: {' -> '.join(cycle)} (none of these services could start; remove one dependency)",
        )


def _impossible_waits(chosen: dict[str, DraftService]) -> Iterator[Diagnostic]:
    """Conditions that can never hold."""
    for name, item in chosen.items():
        for dependency in item.service.depends_on:
            if dependency.service not in chosen or dependency.service == name:
                continue
            if chosen[dependency.service].replicas == 0:
                continue  # without instances there is nothing to wait for
            other = chosen[dependency.service].service
            where = item.place(item.dependency(other.name))
            if dependency.condition == HEALTHY and other.probe is None and not chosen[dependency.service].probe_unread:
                yield Diagnostic(
                    where,
                    f"services.{name}.depends_on.{other.name}: waits for {HEALTHY}, but {other.name} has no "
                    f"active healthcheck (add one, such as test: [TCP, 127.0.0.1:5432], or wait for service_started)",
                )
            if dependency.condition == COMPLETED and other.restart.condition == "always":
                yield Diagnostic(
                    where,
                    f"services.{name}.depends_on.{other.name}: waits for its completion, but {other.name} is "
                    "always restarted (write restart: on-failure or no)",
                )
            elif other.schedule and dependency.condition != COMPLETED:
                yield Diagnostic(
                    where,
                    f"services.{name}.depends_on.{other.name}: waits for {other.name}, which has a schedule and "
                    "is not always running (remove this line)",
                )
            elif dependency.condition == COMPLETED and other.schedule:
                yield Diagnostic(
                    where,
                    f"services.{name}.depends_on.{other.name}: waits for its completion, but {other.name} runs on a "
                    "schedule, repeatedly (wait for a job without a schedule)",
                )


def _shortened_graces(draft: Draft, chosen: dict[str, DraftService]) -> Iterator[Diagnostic]:
    """Grace periods that are longer than the total for all services."""
    total = draft.stop_grace_seconds
    for name, item in chosen.items():
        grace = item.service.stop_grace_seconds
        if "stop_grace_period" in item.written and grace > total:
            text = f"may take {format_duration(grace)}, but the total for all services is {format_duration(total)}"
            where = item.place("stop_grace_period")
            key = f"services.{name}.stop_grace_period"
            yield Diagnostic(where, f"{key}: {text} (raise x-cohabit: stop_grace_period)", warning=True)
