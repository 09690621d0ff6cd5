"""The first seconds of a run, if its service has `startup`: its state stays STARTING until it has run for that time.

The time does not pass while the service is paused, or while nothing runs (the event Gap). runs.py has what follows from
an end before that.
"""

from __future__ import annotations

from cohabit.engine.machine import STARTING
from cohabit.engine.transition import SPAWNED
from cohabit.engine.unit import STATE_TIMER
from cohabit.plan.model import POST_START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.surroundings import Services
    from cohabit.engine.unit import Unit
    from cohabit.plan.model import Startup


def begin(services: Services, unit: Unit, now: float) -> bool:
    """Its command was executed. Returns whether it has to run for some time before it counts as started."""
    startup = unit.spec.startup
    if unit.state != STARTING or startup is None or not startup.seconds:
        return False
    unit.run.startup_ends = now + startup.seconds
    services.timers.set((unit.name, STATE_TIMER), unit.run.startup_ends)
    services.note(unit, SPAWNED, now)
    return True


def over(services: Services, unit: Unit, now: float) -> None:
    """It counts as started, and its failed starts are forgotten."""
    if unit.spec.startup is not None:
        unit.restarts = 0
    if unit.run.startup_ends is not None:
        unit.run.startup_ends = None
        services.say("info", unit, "counts as started: it has run for longer than its startsecs", transition=True)
        # While it goes down, a post_start hook may have failed without a consequence: then it does not become ready.
        hooks_done = unit.run.hook_stage != POST_START and not (unit.spec.post_start and unit.going_down)
        if unit.run.main_alive and hooks_done:
            services.health_monitor.begin(unit, now)


def was_over(unit: Unit, now: float) -> bool:
    """Whether it has run for that time, and its timer is only late."""
    ends = unit.run.startup_ends
    return unit.state == STARTING and ends is not None and ends < now and not unit.paused


def changed(services: Services, unit: Unit, before: Startup | None) -> None:
    """A reload has changed its `startup`, which was `before`."""
    if before is not None:
        after = unit.spec.startup
        extend(services, unit, (after.seconds if after else 0.0) - before.seconds)


def extend(services: Services, unit: Unit, seconds: float) -> None:
    """It has to run for so many seconds more; less if the number is negative."""
    if unit.state == STARTING and unit.run.startup_ends is not None:
        unit.run.startup_ends += seconds
        services.timers.set((unit.name, STATE_TIMER), None if unit.paused else unit.run.startup_ends)
