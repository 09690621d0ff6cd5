"""Pausing a service: none of its processes runs until it continues, as with `docker pause`.

Its state stays the same, and it stays ready: a pause is not a failure. Meanwhile it cannot answer, so its probe does
not run, no report of its own is missing, and its times for the start and for a watchdog do not pass. A stop, a restart
or a kill ends the pause.
"""

from __future__ import annotations

from cohabit.engine import startup
from cohabit.engine.effects import Pause, StopAsking, Unpause
from cohabit.engine.run import ALIVE, PAUSED
from cohabit.engine.transition import IS_PAUSED, UNPAUSED
from cohabit.engine.unit import HEALTH_TIMER, STATE_TIMER
from cohabit.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.surroundings import Services
    from cohabit.engine.unit import Unit
    from cohabit.plan.reason import Reason


def pause(services: Services, unit: Unit, now: float) -> None:
    """Stop the processes of a service that runs."""
    if unit.paused or not unit.command_runs:
        return
    unit.signal_refused = None
    unit.run.process = PAUSED
    if unit.health.asking:
        unit.health.asking, unit.health.next_at = False, now
        services.out.append(StopAsking(unit.name))
    services.timers.set((unit.name, HEALTH_TIMER), None)
    services.timers.set((unit.name, STATE_TIMER), None)
    services.out.append(Pause(unit.name))
    services.note(unit, IS_PAUSED, now)
    services.say("info", unit, "paused")


def unpause(services: Services, unit: Unit, now: float) -> None:
    """Let the processes of a paused service run again."""
    if not unit.paused:
        return
    unit.signal_refused = None
    services.out.append(Unpause(unit.name))
    _end(services, unit, now)
    services.say("info", unit, "continues after a pause")


def refused(services: Services, unit: Unit, cause: Reason, now: float) -> None:
    """A signal was not sent. If it was that of the pause, its processes run on; any other leaves it paused."""
    if unit.paused and cause.signal and signal_name(cause.signal) == "SIGSTOP":
        _end(services, unit, now)


def _end(services: Services, unit: Unit, now: float) -> None:
    unit.run.process = ALIVE
    began = next((entry[0] for entry in reversed(unit.history.entries) if entry[1] == IS_PAUSED), now)
    startup.extend(services, unit, now - began)
    if unit.spec.probe is not None and unit.health.status:
        unit.health.postpone(unit.spec.probe, now - began)
        if unit.health.next_at is not None:
            unit.health.next_at = max(unit.health.next_at, now)
        services.timers.set((unit.name, HEALTH_TIMER), unit.health.next_at)
    services.note(unit, UNPAUSED, now)
