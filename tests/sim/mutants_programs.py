"""Mutants for what programs of a supervisord.conf have: startup, expected codes, priorities, a container that stays."""

# ruff: noqa: D102 - the overridden methods are documented in the engine

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import machine
from cohabit.engine.runs import Runs
from cohabit.engine.services import Services
from cohabit.engine.supervisor import Supervisor
from cohabit.engine.unit import STATE_TIMER

if TYPE_CHECKING:
    from cohabit.engine.events import Exited
    from cohabit.engine.unit import Unit
    from cohabit.plan.model import Plan
    from sim.mutants_lifecycle import Broken


class CountsAsStartedAtOnce(Runs):
    """Is RUNNING as soon as the command runs."""

    def spawned(self, unit: Unit, pid: int, now: float) -> None:
        super().spawned(unit, pid, now)
        if unit.state == machine.STARTING and not unit.paused:
            self._services.fact(unit, machine.DUE, now)


class LosesStartupTimer(Runs):
    """Has no deadline for the time at which a run counts as started."""

    def spawned(self, unit: Unit, pid: int, now: float) -> None:
        super().spawned(unit, pid, now)
        if unit.state == machine.STARTING:
            self._services.timers.set((unit.name, STATE_TIMER), None)


class StartupPassesInPause(Runs):
    """The time in which nothing ran counts."""

    def postpone(self, seconds: float) -> None:
        starting = [unit for unit in self._services.units.values() if unit.state == machine.STARTING]
        kept = [(unit, unit.run.startup_ends) for unit in starting]
        super().postpone(seconds)
        for unit, ends in kept:
            unit.run.startup_ends = ends
            if ends is not None and not unit.paused:
                self._services.timers.set((unit.name, STATE_TIMER), ends)


class RetriesAfterTheSameTime(Runs):
    """Starts again after one second each time, and never gives up."""

    def begin(self, unit: Unit, now: float) -> None:
        super().begin(unit, now)
        if unit.spec.startup is not None:
            unit.restarts = 0


class CountsRestartsAsRetries(Runs):
    """A restart by the policy counts as a failed start."""

    def verdict(self, unit: Unit, now: float) -> str:
        found = super().verdict(unit, now)
        if found == machine.BACKOFF and unit.spec.startup is not None and unit.run.started:
            unit.restarts = 1
        return found


class GivesUpAtOnce(Runs):
    """Does not retry a failed start if the restart policy does not say so."""

    def verdict(self, unit: Unit, now: float) -> str:
        found = super().verdict(unit, now)
        if found == machine.BACKOFF and unit.spec.startup is not None and unit.spec.restart.condition == "no":
            return machine.FATAL
        return found


class ExpectsSignals(Runs):
    """A death by a signal counts as an exit with that code."""

    def exited(self, unit: Unit, event: Exited, now: float) -> None:
        super().exited(unit, event.replace(by_signal=False), now)


class ExpectsZeroOnly(Runs):
    """Only 0 is an expected code."""

    def exited(self, unit: Unit, event: Exited, now: float) -> None:
        unit.spec = unit.spec.replace(restart=unit.spec.restart.replace(expected_codes=(0,)))
        super().exited(unit, event, now)


class StopsAllLevels(Services):
    """Stops all services at once, whatever their priorities."""

    def _may_stop(self, unit: Unit) -> bool:
        self.total_grace.levels = {}
        return super()._may_stop(unit)


class StopsTheFirstLevel(Services):
    """Does not go on to the next level."""

    def mark_dirty(self, unit: Unit) -> None:
        levels, self.total_grace.levels = self.total_grace.levels, {}
        super().mark_dirty(unit)
        self.total_grace.levels = levels


class LevelsHaveAllTime(Services):
    """The services of one level have their whole grace periods."""

    def stop_all(self, now: float, deadline: float) -> None:
        super().stop_all(now, deadline)
        if self.total_grace.levels:
            self.total_grace._after = dict.fromkeys(self.units, 0.0)


class EndsThoughItStays(Supervisor):
    """Ends the container when no service is left."""

    @property
    def plan(self) -> Plan | None:
        return self.container.plan and self.container.plan.replace(stays=False)


PROGRAM_MUTANTS: tuple[tuple[Broken, str, str], ...] = (
    (CountsAsStartedAtOnce, "Startups", "before it has run for its startup"),
    (LosesStartupTimer, "Startups", "without a deadline for that"),
    (StartupPassesInPause, "Startups", "before it has run for its startup"),
    (RetriesAfterTheSameTime, "Restarts", "is started again at"),
    (CountsRestartsAsRetries, "Restarts", "without a deadline for that"),
    (GivesUpAtOnce, "Restarts", "without a deadline for that"),
    (ExpectsSignals, "Restarts", "without a deadline for that"),
    (ExpectsZeroOnly, "Restarts", "though it has ended for good"),
    (StopsAllLevels, "StopOrder", "still runs"),
    (StopsTheFirstLevel, "StopOrder", "is not stopped, though"),
    (LevelsHaveAllTime, "Unasked", "is killed unasked"),
    (EndsThoughItStays, "ExitCode", "exit code"),
)
