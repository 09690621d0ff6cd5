"""What somebody may ask of single services: start, stop, restart, kill, signal. What it leads to is services.py's.

The words mean what they mean to `docker compose` and supervisorctl. What was stopped or killed by request stays
down until somebody asks for it again, or until a reload changes it; the container lives on meanwhile, however
essential the service is: an end that was asked for is no failure. A schedule goes on: it asks again at its next time.
Who is in no Plan any more and still lives can be stopped, killed and signalled, and not be started.
"""

from __future__ import annotations

from cohabit.engine import machine
from cohabit.engine.effects import Signal
from cohabit.engine.services import SIGKILL
from cohabit.plan.model import COMPLETED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.engine.services import Services
    from cohabit.engine.unit import Unit

START, STOP, RESTART, KILL, SIGNAL = "start", "stop", "restart", "kill", "signal"


def request(services: Services, action: str, names: Sequence[str], number: int, now: float) -> None:
    """Do what is asked of each of these services. number: of the signal, for SIGNAL."""
    for name in names:
        unit = services.units.get(name)
        if unit is None:
            continue
        if action == SIGNAL:
            if unit.main_alive:
                services.out.append(Signal(name, number))
        elif action == STOP:
            _stop(services, unit)
        elif action == KILL:
            _kill(services, unit, now)
        elif not unit.gone:
            if action == RESTART:
                services.restart(unit, up=True)
            _start(services, unit)


def _start(services: Services, unit: Unit) -> None:
    """Have it run, and of those on whom it depends whoever does not and will not.

    What runs and shall run on is left alone. What is being ended, for whatever reason, runs again when it is down.
    """
    todo, seen = [unit], {unit.name}
    while todo:
        unit = todo.pop()
        if unit.at_rest or unit.state == machine.STOPPING or not unit.want_up:
            services.replace_run(unit, up=True)
        for need in unit.wanted.depends_on:
            other = services.units[need.service]
            if other.name in seen or other.wanted.schedule is not None:
                continue
            done = need.condition == COMPLETED and other.satisfies(need)
            if not done and (other.ended or other.going_down or other.state == machine.STOPPED):
                seen.add(other.name)
                todo.append(other)


def _stop(services: Services, unit: Unit) -> None:
    unit.want_up = unit.restart_pending = False
    services.mark_dirty(unit)


def _kill(services: Services, unit: Unit, now: float) -> None:
    _stop(services, unit)
    if not unit.at_rest:
        unit.why = unit.why or f"killed on request (signal {SIGKILL})"
        services.kill_at_once(unit, now)
