"""Draft -> Plan: which services take part, whether they fit together, and the defaults that follow from it.

Pure, and complete: every problem of the whole is found in one go, each with the place where it was written.
Problems of one text by itself (a wrong type, an unknown key) were found by its reader and lie in the Draft.
"""

from __future__ import annotations

from itertools import islice

from cohabit.errors import EXIT_USAGE
from cohabit.plan.draft import Diagnostic, Draft, DraftService
from cohabit.plan.model import COMPLETED, HEALTHY, Plan
from cohabit.plan.nearest import did_you_mean
from cohabit.plan.order import cycles
from cohabit.plan.outputs import torn_files, unseen
from cohabit.plan.replicas import clashes, expand, misfits, too_many
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_FILES = (".yaml", ".yml", ".toml")
ALL_PROFILES = "*"
_MOST_OF_A_KIND = 100  # looking for the right word a hundred thousand times would take minutes


def build(
    draft: Draft, wanted: Sequence[str] = (), profiles: Collection[str] = ()
) -> tuple[Plan | None, tuple[Diagnostic, ...]]:
    """The Plan of a Draft, and every problem and warning, the Draft's own first; no Plan if there is a problem.

    wanted: services named by the user; empty for all. profiles: active ones, "*" for all.
    """
    active = {*profiles}.union(*(draft.services[name].profiles for name in wanted if name in draft.services))
    enabled = {
        name: service
        for name, service in draft.services.items()
        if name in wanted or not service.profiles or ALL_PROFILES in active or not active.isdisjoint(service.profiles)
    }
    chosen = _with_dependencies(enabled, wanted) if wanted else enabled
    problems = [
        *draft.problems,
        *islice(_unknown_names(draft, wanted), _MOST_OF_A_KIND),
        *_nothing_to_start(draft, chosen, wanted),
        *islice(_bad_dependencies(draft, enabled, chosen), _MOST_OF_A_KIND),
        *_circles(draft),
        *_impossible_waits(chosen),
        *_terminals(chosen),
        *misfits(chosen),
        *unseen(draft, chosen),
        *torn_files(draft, chosen),
        *islice(clashes(draft), _MOST_OF_A_KIND),
        *too_many(draft, chosen),
        *_cut_graces(draft, chosen),
    ]
    if any(not problem.warning for problem in problems):
        return None, tuple(problems)
    return _plan(draft, chosen), tuple(problems)


def _plan(draft: Draft, chosen: dict[str, DraftService]) -> Plan:
    """The chosen services with the defaults that only the whole can tell."""
    jobs = {
        dependency.service
        for item in chosen.values()
        for dependency in item.service.depends_on
        if dependency.condition == COMPLETED
    } | {name for name, item in chosen.items() if item.service.schedule}
    services = {
        name: item.service.replace(
            depends_on=tuple(d for d in item.service.depends_on if d.service in chosen),
            essential=name not in jobs if item.essential is None else item.essential,
            job=name in jobs,
        )
        for name, item in chosen.items()
    }
    replicas = {name: item.replicas for name, item in chosen.items()}
    return Plan(
        expand(services, replicas),
        draft.stop_grace_seconds,
        draft.secrets,
        draft.configs,
        draft.control_gid,
        draft.logging,
        draft.mask,
    )


def _with_dependencies(enabled: dict[str, DraftService], wanted: Sequence[str]) -> dict[str, DraftService]:
    """The wanted services and all that they need, in the order of the file."""
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
                hint = f" (to name the file: -f {name})"
            yield Diagnostic(draft.where, f"cannot start {name!r}: no such service{hint}", exit_code=EXIT_USAGE)


def _nothing_to_start(draft: Draft, chosen: dict[str, DraftService], wanted: Sequence[str]) -> Iterator[Diagnostic]:
    """Services that all sleep behind profiles, or have no instance; no service at all was the reader's to tell."""
    if draft.services and not chosen and not wanted:
        asleep = sorted({profile for service in draft.services.values() for profile in service.profiles})
        yield Diagnostic(
            draft.where,
            "nothing to start: every service belongs to a profile "
            f"({' or '.join(f'--profile {profile}' for profile in asleep)}, or name a service)",
        )
    if chosen and all(item.replicas == 0 for item in chosen.values()):
        yield Diagnostic(draft.where, f"nothing to start: {', '.join(chosen)} is to have 0 replicas (write scale: 1)")


def _bad_dependencies(
    draft: Draft, enabled: dict[str, DraftService], chosen: dict[str, DraftService]
) -> Iterator[Diagnostic]:
    """Dependencies that are nowhere in the text, on oneself, or asleep behind a profile."""
    for name, item in draft.services.items():
        for dependency in item.service.depends_on:
            other = dependency.service
            where = item.place(f"depends_on.{other}")
            key = f"services.{name}.depends_on"
            if other == name:
                yield Diagnostic(where, f"{key}: {name} cannot depend on itself (remove this line)")
            elif other not in draft.services:
                hint = did_you_mean(other, draft.services) or " (write it, or remove this line)"
                text = f"{key}: there is no service {other!r}{hint}"
                yield Diagnostic(where, text, warning=not dependency.required)
            elif other in draft.services and other not in enabled and name in chosen and dependency.required:
                sleeping = " or ".join(draft.services[other].profiles)
                yield Diagnostic(
                    where,
                    f"{key}: {other} is not active (write --profile {sleeping}, or required: false)",
                )


def _circles(draft: Draft) -> Iterator[Diagnostic]:
    graph = {
        name: [d.service for d in item.service.depends_on if d.service != name] for name, item in draft.services.items()
    }
    for circle in cycles(graph):
        where = draft.services[circle[0]].place(f"depends_on.{circle[1]}")
        yield Diagnostic(
            where,
            f"depends_on goes in a circle: {' -> '.join(circle)} (none of them could ever start; cut one)",
        )


def _impossible_waits(chosen: dict[str, DraftService]) -> Iterator[Diagnostic]:
    """Conditions that can never come true."""
    for name, item in chosen.items():
        for dependency in item.service.depends_on:
            if dependency.service not in chosen or dependency.service == name:
                continue
            if chosen[dependency.service].replicas == 0:
                continue  # nobody waits for nobody
            other = chosen[dependency.service].service
            where = item.place(f"depends_on.{other.name}")
            if dependency.condition == HEALTHY and other.probe is None:
                yield Diagnostic(
                    where,
                    f"services.{name}.depends_on.{other.name}: waits for {HEALTHY}, but {other.name} has no "
                    f"healthcheck that is acted on (give it one, such as test: [TCP, 127.0.0.1:5432], or wait "
                    "for service_started)",
                )
            if dependency.condition == COMPLETED and other.restart.condition == "always":
                yield Diagnostic(
                    where,
                    f"services.{name}.depends_on.{other.name}: waits for its completion, but {other.name} is "
                    "restarted whenever it ends (give it restart: on-failure or no)",
                )
            elif other.schedule and dependency.condition != COMPLETED:
                yield Diagnostic(
                    where,
                    f"services.{name}.depends_on.{other.name}: waits for {other.name}, which has a schedule and "
                    "may not run for long (remove this line)",
                )
            elif dependency.condition == COMPLETED and other.schedule:
                yield Diagnostic(
                    where,
                    f"services.{name}.depends_on.{other.name}: waits for its completion, but {other.name} runs on a "
                    "schedule, again and again (wait for a job without one)",
                )


def _terminals(chosen: dict[str, DraftService]) -> Iterator[Diagnostic]:
    """More than one service that wants the container's one terminal or input."""
    wanting = [item for item in chosen.values() if item.service.tty or item.service.stdin]
    for item in wanting[1:]:
        key = "tty" if item.service.tty else "stdin_open"
        first = wanting[0].service.name
        text = f"{first} has the container's terminal or input already (only one service can: remove it from one)"
        yield Diagnostic(item.place(key), f"services.{item.service.name}.{key}: {text}")


def _cut_graces(draft: Draft, chosen: dict[str, DraftService]) -> Iterator[Diagnostic]:
    """Graces that the total for everything together cuts short."""
    total = draft.stop_grace_seconds
    for name, item in chosen.items():
        grace = item.service.stop_grace_seconds
        if "stop_grace_period" in item.places and grace > total:
            text = f"may take {format_duration(grace)}, but everything together has {format_duration(total)}"
            where = item.place("stop_grace_period")
            key = f"services.{name}.stop_grace_period"
            yield Diagnostic(where, f"{key}: {text} (raise x-cohabit: stop_grace_period)", warning=True)
