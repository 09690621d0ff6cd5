"""Pausing a service: none of its processes runs until it continues, as with `docker pause`.

Its state stays RUNNING, and it stays ready: a pause is not a failure. Meanwhile it cannot answer, so its probe does not
run, no report of its own is missing, and its times for the start and for a watchdog do not pass. A stop, a restart or a
kill ends the pause.
"""

from __future__ import annotations

from cohabit.engine.effects import Pause, StopAsking, Unpause
from cohabit.engine.run import ALIVE, PAUSED
from cohabit.engine.transition import IS_PAUSED, UNPAUSED
from cohabit.engine.unit import HEALTH_TIMER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.surroundings import Services
    from cohabit.engine.unit import Unit


def pause(services: Services, unit: Unit, now: float) -> None:
    """Stop the processes of a service that runs."""
    if not unit.may_pause:
        return
    unit.signal_refused = None
    unit.run.process = PAUSED
    if unit.health.asking:
        unit.health.asking, unit.health.next_at = False, now
        services.out.append(StopAsking(unit.name))
    services.timers.set((unit.name, HEALTH_TIMER), None)
    services.out.append(Pause(unit.name))
    services.note(unit, IS_PAUSED, now)
    services.say("info", unit, "paused")


def unpause(services: Services, unit: Unit, now: float) -> None:
    """Let the processes of a paused service run again."""
    if not unit.paused:
        return
    services.out.append(Unpause(unit.name))
    end(services, unit, now)
    services.note(unit, UNPAUSED, now)
    services.say("info", unit, "continues after a pause")


def end(services: Services, unit: Unit, now: float) -> None:
    """The pause is over, or its processes could not be stopped."""
    if not unit.paused:
        return
    unit.run.process = ALIVE
    if unit.spec.probe is not None and unit.health.status:
        began = next((entry[0] for entry in reversed(unit.history.entries) if entry[1] == IS_PAUSED), now)
        unit.health.postpone(unit.spec.probe, now - began)
        if unit.health.next_at is not None:
            unit.health.next_at = max(unit.health.next_at, now)
        services.timers.set((unit.name, HEALTH_TIMER), unit.health.next_at)
