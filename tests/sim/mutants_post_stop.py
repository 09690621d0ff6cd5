"""Mutants of the post_stop hooks."""

# ruff: noqa: D102 - the overridden methods are documented in the engine

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import machine
from cohabit.engine.effects import RunHook
from cohabit.engine.events import HookEnded
from cohabit.engine.run import DUE, RUN, Stop
from cohabit.engine.runs import Runs
from cohabit.engine.services import Services
from cohabit.engine.supervisor import Supervisor
from cohabit.engine.unit import STATE_TIMER
from cohabit.plan.model import POST_STOP

if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.unit import Unit
    from cohabit.plan.reason import Reason


class SkipsPostStop(Services):
    """Runs no post_stop hooks."""

    def fact(self, unit: Unit, fact: str, now: float) -> None:
        service = unit.spec
        unit.spec = service.replace(post_stop=())
        super().fact(unit, fact, now)
        if unit.spec == service.replace(post_stop=()):
            unit.spec = service


class RunsPostStopBesideTree(Runs):
    """Runs the post_stop hooks when the main process has ended, beside what it left behind."""

    def stop(self, unit: Unit, before: str, now: float) -> None:
        if before == machine.RUNNING and not unit.run.main_alive and unit.spec.post_stop:
            unit.run.stop = unit.run.stop or Stop()
            unit.run.stop.post_stop = DUE
        super().stop(unit, before, now)


class RunsOnePostStopHook(Runs):
    """Runs the first post_stop hook only."""

    def hook_ended(self, unit: Unit, code: int, cause: Reason | None, now: float, *, orphans: bool) -> None:
        service = unit.spec
        unit.spec = cut = service.replace(post_stop=service.post_stop[:1])
        super().hook_ended(unit, code, cause, now, orphans=orphans)
        if unit.spec is cut:
            unit.spec = service


class RepeatsPostStop(Runs):
    """Runs the first post_stop hook in place of each later one."""

    def _run_hook(self, unit: Unit, stage: str, index: int) -> None:
        super()._run_hook(unit, stage, 0 if stage == POST_STOP else index)


class StartsBesidePostStop(Services):
    """Does not wait for the post_stop hooks."""

    def _enter(self, unit: Unit, state: str, now: float) -> None:
        super()._enter(unit, state, now)
        if state == machine.STOPPING and unit.run.post_stop == RUN and not unit.going_down:
            super()._enter(unit, self.runs.verdict(unit, now), now)


class StopsDependenciesBeforePostStop(Services):
    """Stops a service beside the post_stop hooks of those that depend on it."""

    def _may_stop(self, unit: Unit) -> bool:
        hooked = [name for name in unit.dependents if self.units[name].run.post_stop]
        return len(hooked) == len(unit.dependents) > 0 or super()._may_stop(unit)


class HasNoTimeForPostStop(Runs):
    """Sets no limit of time for the post_stop hooks."""

    def stop(self, unit: Unit, before: str, now: float) -> None:
        super().stop(unit, before, now)
        if unit.run.post_stop:
            self._set_deadline(unit, None)


class KeepsNoTimeForPostStop(Runs):
    """Sends SIGKILL at the end of the whole time, while the container stops: the hooks have none left."""

    def _set_grace(self, unit: Unit, now: float) -> None:
        super()._set_grace(unit, now)
        deadline = self._services.timers.get((unit.name, STATE_TIMER))
        if deadline is not None and unit.spec.post_stop and not unit.run.post_stop:
            self._set_deadline(unit, now + self._services.total_grace.of(unit))


class LosesPostStopEnd(Supervisor):
    """Ignores the end of post_stop hooks."""

    def step(self, event: Event, now: float) -> list[Effect]:
        unit = self.units.get(event.service) if isinstance(event, HookEnded) else None
        if unit is not None and unit.run.hook_stage == POST_STOP:
            unit.run.hook_stage = ""
            return []
        return super().step(event, now)


class HidesExitStatus(Supervisor):
    """Does not say how the main process has ended."""

    def step(self, event: Event, now: float) -> list[Effect]:
        effects = super().step(event, now)
        return [each.replace(variables={}) if isinstance(each, RunHook) else each for each in effects]


# Mutant, checker, part of the text of its violation.
POST_STOP_MUTANTS: tuple[tuple[type[Supervisor | Services | Runs], str, str], ...] = (
    (SkipsPostStop, "Hooks", "its next post_stop hook does not run"),
    (RunsPostStopBesideTree, "Hooks", "of its run is alive"),
    (RunsOnePostStopHook, "Hooks", "its next post_stop hook does not run"),
    (RepeatsPostStop, "Hooks", "runs at the wrong moment"),
    (StartsBesidePostStop, "CleanStart", "before its post_stop hooks have ended"),
    (StopsDependenciesBeforePostStop, "StopOrder", "still runs"),
    (HasNoTimeForPostStop, "GracePeriods", "without a deadline for that"),
    (KeepsNoTimeForPostStop, "GracePeriods", "without a deadline for that"),
    (LosesPostStopEnd, "Hooks", "its next post_stop hook does not run"),
    (HidesExitStatus, "Hooks", "and its post_stop hook gets"),
)
