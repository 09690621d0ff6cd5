"""A seed's verdict in one line, its story in many, and the seeds that are kept because they failed once."""

from __future__ import annotations

import os

from cohabit.plan.model import POST_START, PRE_START, PRE_STOP
from sim.checker import Violation
from sim.ownership_world import World as OwnershipWorld
from sim.world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Service

_KEPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kept_seeds.txt")


def verdict(seed: int) -> str:
    """What is wrong with the engine in this world, "" for nothing. Any exception is a failure."""
    try:
        World(seed).run()
    except Violation as violation:
        return str(violation)
    except Exception as error:  # noqa: BLE001 - an engine that raises is a failure like any other
        return f"{type(error).__name__}: {error}"
    return ""


def story(seed: int) -> str:
    """Everything that happens in this world, a line each, and how it ends."""
    lines: list[str] = []
    world = World(seed, tell=lambda now, text: lines.append(f"{now:9.3f}  {text}"))
    try:
        world.run()
        end = "all judges are content"
    except Exception as error:  # noqa: BLE001 - the story is told to its end, whatever it is
        end = f"FAILED  {type(error).__name__}: {error}"
    plan = [f"           {_told(service)}" for service in world.plan.services.values()]
    return "\n".join([f"Plan, total grace {world.plan.stop_grace_seconds:g} s:", *plan, *lines, end])


def ownership_verdict(seed: int) -> str:
    """What is wrong with the attribution of processes in this world, "" for nothing."""
    try:
        OwnershipWorld(seed).run()
    except Violation as violation:
        return str(violation)
    except Exception as error:  # noqa: BLE001 - code that raises is a failure like any other
        return f"{type(error).__name__}: {error}"
    return ""


def ownership_story(seed: int) -> str:
    """Everything that process 1 does in this world, a line each, and how it ends."""
    lines: list[str] = []
    world = OwnershipWorld(seed, tell=lambda text: lines.append(f"{world.kernel.now:9.3f}  {text}"))
    try:
        world.run()
        end = "no checker has anything to say"
    except Exception as error:  # noqa: BLE001 - the story is told to its end, whatever it is
        end = f"FAILED  {type(error).__name__}: {error}"
    return "\n".join([*lines, end])


def _told(service: Service) -> str:
    """A service of the Plan as one line: only what matters for supervision."""
    restart = service.restart
    words = [service.name, f"grace {service.stop_grace_seconds:g} s", f"restart {restart.condition}"]
    if restart.condition != "no":
        words[-1] += f" (attempts {restart.attempts}, delay {restart.delay_seconds})"
    words += ["essential"] * service.essential + ["scheduled"] * (service.schedule is not None)
    words += [
        f"{len(service.hooks(stage))} {stage}" for stage in (PRE_START, POST_START, PRE_STOP) if service.hooks(stage)
    ]
    if service.probe is not None:
        probe = service.probe
        words.append(f"{probe.kind} (on_failure {probe.on_failure}, retries {probe.retries}")
        words[-1] += f", every {probe.interval_seconds:g} s, watchdog {probe.watchdog_seconds:g} s)"
    words += [
        f"after {'' if needed.required else 'optional '}{needed.service} {needed.condition}"
        for needed in service.depends_on
    ]
    return ", ".join(words)


def kept_seeds() -> list[int]:
    """Seeds that failed once, each a line with a word about why."""
    with open(_KEPT, encoding="utf-8") as file:
        return [int(line.split()[0]) for line in file if line.strip() and not line.startswith("#")]
