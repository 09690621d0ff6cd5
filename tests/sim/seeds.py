"""The result of a seed as one line, its trace, and the list of seeds that failed once."""

from __future__ import annotations

import os
import warnings

from cohabit.plan.model import HOOK_STAGES
from sim.checker import Violation
from sim.ownership_world import World as OwnershipWorld
from sim.world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.plan.model import Service

_LATE = 40
_KEPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kept_seeds.txt")


def verdict(seed: int) -> str:
    """The violation in this world, "" for none. Any exception of the engine is one."""
    try:
        World(seed).run()
    except Violation as violation:
        return str(violation)
    except Exception as error:  # noqa: BLE001 - an engine that raises is a failure like any other
        return f"{type(error).__name__}: {error}"
    return ""


def trace(seed: int) -> str:
    """The Plan, every event and effect of this world as one line each, and the result."""
    lines: list[str] = []
    world = World(seed, log=lambda now, text: lines.append(f"{now:9.3f}  {text}"))
    try:
        world.run()
        end = "no violation"
    except Exception as error:  # noqa: BLE001 - the trace shows any exception as its result
        end = f"FAILED  {type(error).__name__}: {error}"
    plan = [f"           {_described(service)}" for service in world.plan.services.values()]
    return "\n".join([f"Plan, total grace {world.plan.stop_grace_seconds:g} s:", *plan, *lines, end])


def ownership_verdict(seed: int) -> str:
    """The violation in this world of processes, "" for none. Any exception is one."""
    try:
        OwnershipWorld(seed).run()
    except Violation as violation:
        return str(violation)
    except Exception as error:  # noqa: BLE001 - code that raises is a failure like any other
        return f"{type(error).__name__}: {error}"
    return ""


def ownership_trace(seed: int) -> str:
    """Everything that process 1 does in this world as one line each, and the result."""
    lines: list[str] = []
    world = OwnershipWorld(seed, log=lambda text: lines.append(f"{world.kernel.now:9.3f}  {text}"))
    try:
        world.run()
        end = "no violation"
    except Exception as error:  # noqa: BLE001 - the trace shows any exception as its result
        end = f"FAILED  {type(error).__name__}: {error}"
    return "\n".join([*lines, end])


def _described(service: Service) -> str:
    """The fields of a service that matter for supervision, as one line."""
    restart = service.restart
    parts = [service.name, f"grace {service.stop_grace_seconds:g} s", f"restart {restart.condition}"]
    if restart.condition != "no":
        parts[-1] += f" (attempts {restart.attempts}, delay {restart.delay_seconds})"
    if service.startup is not None:
        expected = " ".join(map(str, restart.expected_codes))
        parts.append(f"startup {service.startup.seconds:g} s, {service.startup.retries} retries, expects {expected}")
    parts += [f"priority {service.priority}"] * (service.priority != 0)
    parts += ["essential"] * service.essential + ["scheduled"] * (service.schedule is not None)
    parts += [f"{len(service.hooks(stage))} {stage}" for stage in HOOK_STAGES if service.hooks(stage)]
    if service.probe is not None:
        probe = service.probe
        parts.append(f"{probe.kind} (on_failure {probe.on_failure}, retries {probe.retries}")
        parts[-1] += f", every {probe.interval_seconds:g} s, watchdog {probe.watchdog_seconds:g} s)"
    parts += [
        f"after {'' if needed.required else 'optional '}{needed.service} {needed.condition}"
        for needed in service.depends_on
    ]
    return ", ".join(parts)


def kept_seeds() -> list[int]:
    """The seeds in kept_seeds.txt: the first field of each line, without comments."""
    with open(_KEPT, encoding="utf-8") as file:
        return [int(line.split()[0]) for line in file if line.strip() and not line.startswith("#")]


def warn_of_late(seed: int, mutant: str, shown_by: Mapping[str, int]) -> None:
    """Warn of a mutant that many worlds do not show: a test is quick if it knows the first world that does."""
    if seed > _LATE and shown_by.get(mutant) != seed:
        warnings.warn(f"seed {seed} is the first to show {mutant}: write it to _SHOWN_BY", stacklevel=2)
