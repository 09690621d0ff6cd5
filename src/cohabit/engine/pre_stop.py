"""The stop signal, and the time limit of the pre_stop hooks before it (plan/grace.py has the rule)."""

from __future__ import annotations

from cohabit.engine.effects import Signal, SignalTree
from cohabit.engine.unit import HOOK_TIMER, STATE_TIMER
from cohabit.plan.model import CONTROL_GROUP, PRE_STOP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.surroundings import Services
    from cohabit.engine.unit import Unit


def limit(services: Services, unit: Unit, now: float) -> None:
    """Set the time at which its pre_stop hooks have used their part of the time until SIGKILL."""
    kill_at = services.timers.get((unit.name, STATE_TIMER))
    if kill_at is not None and unit.run.hook_stage == PRE_STOP and unit.run.awaits_hook:
        services.timers.set((unit.name, HOOK_TIMER), services.total_grace.hooks_until(kill_at, now))


def over(services: Services, unit: Unit) -> None:
    """The time for its pre_stop hooks is over: send the stop signal. The hook is ended after the main process."""
    if unit.run.stop is not None:
        unit.run.stop.hooks_over = True
    text = f"its {PRE_STOP} hook {unit.run.hook_index + 1} is still running: sending the stop signal"
    services.say("warning", unit, f"{text}, in the time that is kept for it (raise stop_grace_period)")
    services.out.append(stop_signal(unit))


def stop_signal(unit: Unit) -> Signal | SignalTree:
    """Its stop signal, for the processes that its kill_mode says."""
    send = SignalTree if unit.spec.kill_mode == CONTROL_GROUP else Signal
    return send(unit.name, unit.spec.stop_signal)
