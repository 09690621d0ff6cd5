"""Mutants for checkers_lifecycle.py: health, hooks, schedules, reload, and what is announced."""

# ruff: noqa: ARG002, D102 - the overridden methods are documented in the engine

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import machine
from cohabit.engine.effects import (
    AllReady,
    Ask,
    Exit,
    Forget,
    Load,
    Prepare,
    Report,
    Signal,
    Spawn,
    StopAsking,
)
from cohabit.engine.ending import Ending
from cohabit.engine.events import HookEnded, Loaded, LoadFailed, Probed, ReloadRequested, ScheduleDue
from cohabit.engine.health_monitor import HealthMonitor
from cohabit.engine.membership import Membership
from cohabit.engine.reading import Reading
from cohabit.engine.runs import Runs
from cohabit.engine.services import Services
from cohabit.engine.supervisor import Supervisor
from cohabit.engine.unit import HOOK_TIMER
from cohabit.plan.model import EXIT, NONE, POST_START, PRE_START, PRE_STOP, RESTART
from cohabit.plan.reason import CANNOT_START, SKIPPED, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event, Notified
    from cohabit.engine.unit import Unit
    from cohabit.plan.diff import Difference
    from cohabit.plan.model import Plan

    Broken = type[Supervisor | Reading | Ending | Services | Runs | Membership | HealthMonitor]


# --- health --------------------------------------------------------------------------------------------


class ProbesEndedServices(Supervisor):
    """Does not stop the probes of a service that has ended."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if not isinstance(effect, StopAsking)]


class ProbesTwice(Supervisor):
    """Starts a second probe before the first one has ended."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        return [*result, *(effect for effect in result if isinstance(effect, Ask))]


class ProbesTooEarly(Supervisor):
    """Probes again as soon as a probe has failed."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        if isinstance(event, Probed) and not event.passed and not result and event.service in self.units:
            unit = self.units[event.service]
            if unit.state == machine.RUNNING and unit.health.next_at is not None:
                result.append(Ask(unit.spec))
        return result


class ProbesWithoutProbe(HealthMonitor):
    """Probes a service that has no probe."""

    def begin(self, unit: Unit, now: float) -> None:
        super().begin(unit, now)
        if unit.spec.probe is None:
            self._services.out.append(Ask(unit.spec))


class KeepsOldProbe(Membership):
    """Probes with the old definition after a reload."""

    def _change_in_place(self, unit: Unit, now: float) -> None:
        before = unit.spec
        super()._change_in_place(unit, now)
        self._services.out[:] = [
            effect.replace(service=before) if isinstance(effect, Ask) and effect.service.name == unit.name else effect
            for effect in self._services.out
        ]


class DoesNotProbeAfterRestart(HealthMonitor):
    """Does not probe a service after a restart."""

    def begin(self, unit: Unit, now: float) -> None:
        if unit.starts == 1 or unit.spec.probe is None:
            super().begin(unit, now)


class HasNoWatchdog(HealthMonitor):
    """Has no deadline for the messages of a passive probe."""

    def notified(self, unit: Unit, message: Notified, now: float) -> None:
        super().notified(unit, message, now)
        self._services.timers.set((unit.name, "health"), None)


class HidesUnhealthy(HealthMonitor):
    """Does not report an unhealthy service."""

    def _announce(self, unit: Unit, before: str, now: float) -> None:
        super()._announce(unit, before, now)
        services = self._services
        services.out = [e for e in services.out if not isinstance(e, Report) or e.level != "warning"]


def _with_another_way(unit: Unit, on_failure: str) -> None:
    if unit.spec.probe is not None:
        unit.spec = unit.spec.replace(probe=unit.spec.probe.replace(on_failure=on_failure))


class IgnoresOnFailureRestart(HealthMonitor):
    """Treats on_failure: restart as none."""

    def _announce(self, unit: Unit, before: str, now: float) -> None:
        if unit.spec.probe is not None and unit.spec.probe.on_failure == RESTART:
            _with_another_way(unit, NONE)
        super()._announce(unit, before, now)


class AlwaysRestartsUnhealthy(HealthMonitor):
    """Treats every on_failure as restart."""

    def _announce(self, unit: Unit, before: str, now: float) -> None:
        _with_another_way(unit, RESTART)
        super()._announce(unit, before, now)


class IgnoresOnFailureExit(HealthMonitor):
    """Treats on_failure: exit as none."""

    def _announce(self, unit: Unit, before: str, now: float) -> None:
        if unit.spec.probe is not None and unit.spec.probe.on_failure == EXIT:
            _with_another_way(unit, NONE)
        super()._announce(unit, before, now)


# --- hooks ---------------------------------------------------------------------------------------------


class RunsPreStopBesideHook(Runs):
    """Runs a pre_stop hook beside a running hook."""

    def stop(self, unit: Unit, before: str, now: float) -> None:
        unit.run.hook_stage = ""
        super().stop(unit, before, now)


class StartsBesidePreStart(Runs):
    """Starts the command together with the first pre_start hook."""

    def begin(self, unit: Unit, now: float) -> None:
        super().begin(unit, now)
        if unit.run.hook_stage == PRE_START:
            self._services.out.append(Spawn(unit.spec))


class RunsOnePreStartHook(Runs):
    """Starts the command after the first pre_start hook."""

    def _pre_start_ended(self, unit: Unit, code: int | None, outcome: Reason, now: float, *, orphans: bool) -> None:
        super()._pre_start_ended(unit, code or None, outcome, now, orphans=orphans)


class RepeatsFirstHook(Runs):
    """Runs the first hook in place of each later one."""

    def _run_hook(self, unit: Unit, stage: str, step: int) -> None:
        super()._run_hook(unit, stage, 0)


class SkipsPreStop(Runs):
    """Runs no pre_stop hooks."""

    def stop(self, unit: Unit, before: str, now: float) -> None:
        service = unit.spec
        unit.spec = service.replace(pre_stop=())
        super().stop(unit, before, now)
        unit.spec = service


class LeavesNoTimeAfterHooks(Supervisor):
    """Lets pre_stop hooks use the whole time of their service."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        for name in self.units:
            self.services.timers.set((name, HOOK_TIMER), None)
        return result


class CutsHooksShort(Supervisor):
    """Sends the stop signal before the time of the pre_stop hooks is over."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        for name in self.units:
            until = self.services.timers.get((name, HOOK_TIMER))
            if until is not None:
                self.services.timers.set((name, HOOK_TIMER), (now + until) / 2)
        return result


class _LosesHookEnd(Supervisor):
    """Ignores the end of a hook of one stage."""

    _stage = ""

    def step(self, event: Event, now: float) -> list[Effect]:
        unit = self.units.get(event.service) if isinstance(event, HookEnded) else None
        if (
            unit is not None
            and unit.run.hook_stage == self._stage
            and unit.run.main_alive == (unit.run.hook_stage != PRE_START)
        ):
            unit.run.hook_stage = ""
            return []
        return super().step(event, now)


class LosesPreStartEnd(_LosesHookEnd):
    """Ignores the end of pre_start hooks."""

    _stage = PRE_START


class LosesPostStartEnd(_LosesHookEnd):
    """Ignores the end of post_start hooks."""

    _stage = POST_START


class LosesPreStopEnd(_LosesHookEnd):
    """Ignores the end of pre_stop hooks."""

    _stage = PRE_STOP


# --- schedules -----------------------------------------------------------------------------------------


class OverlapsJobs(Supervisor):
    """Starts a job that still runs when it is due."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        if isinstance(event, ScheduleDue) and event.service in self.units:
            unit = self.units[event.service]
            if unit.state == machine.RUNNING:
                self.services.runs.begin(unit, now)
        return result


class HidesSkippedJobs(Supervisor):
    """Does not report a skipped run."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        return [e for e in result if not isinstance(e, Report)] if isinstance(event, ScheduleDue) else result


class RunsJobsAtStart(Membership):
    """Starts scheduled jobs like other services."""

    def add(self, units: list[Unit]) -> None:
        for unit in units:
            unit.desired = True
        super().add(units)


# --- reload --------------------------------------------------------------------------------------------


class RestartsOldDefinition(Services):
    """Restarts changed services with the old definition."""

    def _renewed(self, unit: Unit, now: float) -> None:
        before = unit.spec
        super()._renewed(unit, now)
        unit.spec = before


class IgnoresChangeInPlace(Membership):
    """Ignores changes that need no restart."""

    def _change_in_place(self, unit: Unit, now: float) -> None:
        unit.next_spec = None


class RestartsRemovedServices(Membership):
    """Starts services that were removed from the Plan."""

    def change(self, plan: Plan, difference: Difference, now: float) -> None:
        super().change(plan, difference, now)
        for unit in self.gone:
            if unit.at_rest:
                self._services.out.append(Spawn(unit.spec))


class KeepsRemovedServices(Supervisor):
    """Does not forget removed services."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if not isinstance(effect, Forget)]


class ForgetsTooEarly(Membership):
    """Forgets removed services that are still active."""

    def change(self, plan: Plan, difference: Difference, now: float) -> None:
        super().change(plan, difference, now)
        self._services.out += [Forget(unit.name) for unit in self.gone if not unit.at_rest]


class PreparesOldPlan(Supervisor):
    """Prepares for the old Plan."""

    def step(self, event: Event, now: float) -> list[Effect]:
        old = self.plan
        result = super().step(event, now)
        return [Prepare(old) if old is not None and isinstance(e, Prepare) else e for e in result]


class ReadsFileTwice(Reading):
    """Begins to read at every request, also during a reading."""

    def request(self, scale: Mapping[str, int | None], *, restart: bool = False) -> None:
        del restart
        self._container.do(Load(scale))


class LosesSecondReload(Reading):
    """Ignores a request that comes during a reading."""

    def _repeat(self) -> None:
        self.again = False


class HidesReloadChanges(Reading):
    """Does not report what a reload changes."""

    def _report_difference(self, difference: Difference) -> None:
        return


class HidesFileErrors(Supervisor):
    """Does not report what is wrong with the file."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        return [e for e in result if not isinstance(e, Report)] if isinstance(event, LoadFailed) else result


class HidesRefusedReload(Supervisor):
    """Does not report that a reload comes too late."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        return [e for e in result if isinstance(e, Load)] if isinstance(event, ReloadRequested) else result


# --- what is announced, and when nothing is ---------------------------------------------------------------


class AnnouncesTwice(Supervisor):
    """Announces AllReady again after a reload."""

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Loaded):
            self.announced = False
        return super().step(event, now)


class AnnouncesTooEarly(Services):
    """Treats running services as ready."""

    def _classify(self, unit: Unit) -> None:
        super()._classify(unit)
        if unit.state == machine.RUNNING:
            self.not_ready.pop(unit.name, None)


class ClaimsTooMuch(Supervisor):
    """Says that everything is ready when a service was skipped."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [
            effect.replace(text=f"everything is {effect.text}")
            if isinstance(effect, Report) and effect.text.startswith("ready after")
            else effect
            for effect in super().step(event, now)
        ]


class GivesUpTooEarly(Services):
    """Says that a service will not be ready while it waits for its restart."""

    def _classify(self, unit: Unit) -> None:
        super()._classify(unit)
        if unit.state == machine.BACKOFF:
            self.not_ready.pop(unit.name, None)


class AnnouncesNothing(Supervisor):
    """Does not announce AllReady."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if not isinstance(effect, AllReady)]


class ActsAfterExit(Supervisor):
    """Has effects after Exit."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        if self.phase == "done" and not any(isinstance(effect, Exit) for effect in result):
            result.append(Signal("web", 15))
        return result


# --- services whose conditions do not hold ------------------------------------------------------------------


class RestartsSkipped(Runs):
    """Applies the restart policy to a service that was skipped."""

    def verdict(self, unit: Unit, now: float) -> str:
        if unit.run.reason is not None and unit.run.reason.kind == SKIPPED:
            unit.run.reason = unit.run.reason.replace(kind=CANNOT_START, cause=unit.run.reason)
        return super().verdict(unit, now)


class SkippedFails(Ending):
    """Treats a service that was skipped as one that has failed."""

    def all_ended(self, now: float) -> None:
        for unit in self._container.services.units.values():
            unit.failed = unit.failed or int(unit.skipped)
        super().all_ended(now)


class SkippedEndsContainer(Ending):
    """Ends the container when a service with `essential: true` was skipped."""

    def service_ended(self, unit: Unit, now: float) -> None:
        if unit.skipped and unit.spec.essential and unit.spec.ends_on_success and self._container.phase == "up":
            self._begin_stop(3, unit.run.reason or Reason(SKIPPED), now)
        super().service_ended(unit, now)


# Mutant, checker, part of the text of its violation.
LIFECYCLE_MUTANTS: tuple[tuple[Broken, str, str], ...] = (
    (ProbesEndedServices, "Probes", "is still probed"),
    (ProbesTwice, "Probes", "is probed again before the probe has ended"),
    (ProbesTooEarly, "Probes", "which is too early"),
    (ProbesWithoutProbe, "Probes", "is probed without an active probe"),
    (KeepsOldProbe, "Probes", "its newest definition"),
    (DoesNotProbeAfterRestart, "Probes", "must be probed at"),
    (HasNoWatchdog, "Probes", "must send a message by"),
    (HidesUnhealthy, "Unhealthy", "no report says that"),
    (IgnoresOnFailureRestart, "Unhealthy", "is not restarted"),
    (AlwaysRestartsUnhealthy, "Unhealthy", "is stopped without on_failure"),
    (IgnoresOnFailureExit, "Unhealthy", "the container does not stop"),
    (RunsPreStopBesideHook, "Hooks", "runs beside its post_start"),
    (StartsBesidePreStart, "Hooks", "is started beside its pre_start"),
    (RunsOnePreStartHook, "Hooks", "before its pre_start hooks have ended"),
    (RepeatsFirstHook, "Hooks", "runs at the wrong moment"),
    (SkipsPreStop, "Hooks", "before its pre_stop hooks have ended"),
    (LosesPreStartEnd, "Hooks", "is not started after its pre_start hooks"),
    (LosesPostStartEnd, "Hooks", "its next post_start hook does not"),
    (LeavesNoTimeAfterHooks, "Hooks", "must get its stop signal"),
    (CutsHooksShort, "Hooks", "before its pre_stop hooks have ended"),
    (LosesPreStopEnd, "Hooks", "is not stopped after its pre_stop hooks"),
    (OverlapsJobs, "Schedules", "overlaps itself"),
    (HidesSkippedJobs, "Schedules", "is skipped"),
    (RunsJobsAtStart, "Schedules", "without its schedule being due"),
    (RestartsOldDefinition, "Reloads", "with an old definition"),
    (IgnoresChangeInPlace, "Reloads", "with an old definition"),
    (RestartsRemovedServices, "Reloads", "is not in the Plan"),
    (KeepsRemovedServices, "Reloads", "and not forgotten"),
    (ForgetsTooEarly, "Reloads", "is forgotten too early"),
    (PreparesOldPlan, "Reloads", "a Plan that is not the newest"),
    (ReadsFileTwice, "Reloads", "the file is read again"),
    (LosesSecondReload, "Reloads", "a reload was requested"),
    (HidesReloadChanges, "Reloads", "no report says what the reload does"),
    (HidesFileErrors, "Reloads", "what is wrong with the file"),
    (HidesRefusedReload, "Reloads", "there is no reload while the container stops"),
    (AnnouncesTwice, "ReadyAnnouncement", "is announced twice"),
    (AnnouncesTooEarly, "ReadyAnnouncement", "before all are ready"),
    (ClaimsTooMuch, "ReadyAnnouncement", "and a service was skipped"),
    (GivesUpTooEarly, "ReadyAnnouncement", "and "),
    (AnnouncesNothing, "ReadyAnnouncement", "and AllReady is not announced"),
    (RestartsSkipped, "Restarts", "though it has ended for good"),
    (SkippedFails, "ExitCode", "the right one is 0"),
    (SkippedEndsContainer, "ExitCode", "exit code 3"),
    (ActsAfterExit, "NoEffectAfterExit", "after the Exit"),
)
