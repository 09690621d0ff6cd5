"""Mutants: engines with one defect each, which prove that the checkers can fail.

Each is the real Supervisor, or one of its parts, with a defect that is easily made. There is at least one
for each violation that a checker can report. test_mutants.py runs each one under its checker alone and expects its
violation. Here are the mutants of starting, stopping and the end; mutants_lifecycle.py, mutants_post_stop.py and
mutants_requests.py have the others.
"""

# ruff: noqa: ARG002, D102 - the overridden methods are documented in the engine

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import machine
from cohabit.engine.effects import Exit, Report, Signal, Spawn, Sweep
from cohabit.engine.ending import Ending
from cohabit.engine.events import Exited, Gap, Probed, StopRequested, TreeGone
from cohabit.engine.membership import Membership
from cohabit.engine.reading import Reading
from cohabit.engine.runs import Runs
from cohabit.engine.services import Services
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.reason import ALL_ENDED, DEPENDENCY_FAILED, KILLED_BY_SIGNAL, Reason
from sim.mutants_lifecycle import LIFECYCLE_MUTANTS
from sim.mutants_post_stop import POST_STOP_MUTANTS
from sim.mutants_programs import PROGRAM_MUTANTS
from sim.mutants_requests import REQUEST_MUTANTS

if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.health_monitor import HealthMonitor
    from cohabit.engine.transition import Transition
    from cohabit.engine.unit import Unit
    from cohabit.plan.model import Plan

    Broken = type[Supervisor | Reading | Ending | Services | Runs | Membership | HealthMonitor]

_SIGKILL = 9


class StartsTwice(Supervisor):
    """Starts a ready service a second time."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        if isinstance(event, Probed) and self.units[event.service].state == machine.RUNNING:
            result.append(Spawn(self.units[event.service].spec))
        return result


class IgnoresOrphans(Supervisor):
    """Takes a service as ended when its main process has ended."""

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, TreeGone):
            return []
        return super().step(Exited(event.service, event.code) if isinstance(event, Exited) else event, now)


class StartsTooEarly(Services):
    """Treats every condition as service_started."""

    def _try_start(self, unit: Unit, now: float) -> None:
        if all(self.units[needed.service].starts for needed in unit.spec.depends_on):
            self.fact(unit, machine.START, now)
        else:
            super()._try_start(unit, now)


class ReloadSkipsEndedServices(Services):
    """Does not start changed services at a reload if they have ended."""

    def restart(self, unit: Unit, *, up: bool) -> None:
        if not unit.at_rest:
            super().restart(unit, up=up)


class StartsOneAtATime(Services):
    """Starts one service after the other instead of in parallel."""

    def _try_start(self, unit: Unit, now: float) -> None:
        if not any(other.state == machine.STARTING for other in self.units.values()):
            super()._try_start(unit, now)


class SkipsBackOff(Runs):
    """Restarts without a back-off."""

    def verdict(self, unit: Unit, now: float) -> str:
        state = super().verdict(unit, now)
        if state == machine.BACKOFF:
            self._set_deadline(unit, now)
        return state


class LosesRestartTimer(Runs):
    """Loses the timer of a service in BACKOFF."""

    def verdict(self, unit: Unit, now: float) -> str:
        state = super().verdict(unit, now)
        if state == machine.BACKOFF:
            self._set_deadline(unit, None)
        return state


class IgnoresRestartLimit(Runs):
    """Does not count restarts."""

    def verdict(self, unit: Unit, now: float) -> str:
        unit.restarts = 0
        return super().verdict(unit, now)


class RestartsDuringShutdown(Services):
    """Restarts a service while the container stops."""

    def stop_all(self, now: float, deadline: float) -> None:
        waiting = [unit for unit in self.units.values() if unit.state == machine.BACKOFF]
        super().stop_all(now, deadline)
        for unit in waiting:
            self._enter(unit, machine.STARTING, 0.0)


class RetriesFailedExec(Runs):
    """Restarts a command that cannot be executed."""

    def spawn_failed(self, unit: Unit, cause: Reason, now: float, *, orphans: bool) -> None:
        super().spawn_failed(unit, cause.replace(code=1), now, orphans=orphans)


class StopsInAnyOrder(Services):
    """Stops all services at the same time."""

    def _may_stop(self, unit: Unit) -> bool:
        return True


class StopsWithoutReason(Services):
    """Stops a service when a timer of it is due, whatever the timer is for."""

    def due(self, now: float) -> None:
        super().due(now)
        for unit in self.units.values():
            if unit.state == machine.RUNNING and not unit.dependents and unit.health.results:
                self._enter(unit, machine.STOPPING, now)


class IgnoresFailedRun(Services):
    """Does not end a run that has failed."""

    def fact(self, unit: Unit, fact: str, now: float) -> None:
        if fact != machine.FAILED:
            super().fact(unit, fact, now)


class ReloadSkipsRunningServices(Services):
    """Does not restart changed services at a reload if they run."""

    def restart(self, unit: Unit, *, up: bool) -> None:
        if unit.at_rest:
            super().restart(unit, up=up)


class IgnoresStopSignal(Supervisor):
    """Sends SIGTERM to every service."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [
            effect.replace(number=15) if isinstance(effect, Signal) else effect for effect in super().step(event, now)
        ]


class DoesNotStopDependencies(Services):
    """Does not reconsider the dependencies of a service that has ended."""

    def mark_dirty(self, unit: Unit) -> None:
        self._classify(unit)
        self._dirty[unit.name] = None
        for name in unit.dependents:
            self._dirty[name] = None


class DoesNotStopDaemon(Runs):
    """Does not stop a daemon when its parent got the stop signal."""

    def daemonised(self, unit: Unit, pid: int) -> None:
        unit.run.pid = pid


class LosesGraceTimer(Runs):
    """Sets no timer for the grace period."""

    def stop(self, unit: Unit, before: str, now: float) -> None:
        super().stop(unit, before, now)
        self._set_deadline(unit, None)


class HalvesGracePeriod(Runs):
    """Waits for half of the grace period."""

    def stop(self, unit: Unit, before: str, now: float) -> None:
        super().stop(unit, before, now)
        if self._services.timers.get((unit.name, "state")) is not None:
            self._set_deadline(unit, now + unit.spec.stop_grace_seconds / 2)


class DoesNotDivideTotal(Runs):
    """Gives each service its whole grace period, also when the total is too short for all."""

    def _set_grace(self, unit: Unit, now: float) -> None:
        self._set_deadline(unit, now + unit.spec.stop_grace_seconds)


class StopsBehindJobs(Services):
    """Looks at direct dependents only: those behind a service at rest lose what they depend on."""

    def _may_stop(self, unit: Unit) -> bool:
        return unit.at_rest or all(
            self.units[name].at_rest or not self.units[name].going_down for name in unit.dependents
        )


class CountsGapsAsGrace(Supervisor):
    """Counts a time in which nothing ran as grace period."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return super().step(event.replace(seconds=0.0) if isinstance(event, Gap) else event, now)


class CountsGapsAsSilence(Supervisor):
    """Misses a report that could not come because nothing ran."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return super().step(event.replace(at_most=0.0) if isinstance(event, Gap) else event, now)


class SweepsWithSigkill(Ending):
    """Sweeps with SIGKILL at once."""

    def sweep(self) -> None:
        self.killing = True
        super().sweep()


class HasNoTotalGrace(Supervisor):
    """Has no total grace: each service uses its own."""

    def deadline(self) -> float | None:
        self.ending.deadline = None
        return super().deadline()


class ExtendsTotalGrace(Supervisor):
    """Restarts the total grace when a service has ended."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        if isinstance(event, Exited) and self.ending.deadline is not None and self.plan is not None:
            self.ending.deadline = now + self.plan.stop_grace_seconds
        return result


class SweepsTooEarly(Ending):
    """Sweeps as soon as the container stops."""

    def _begin_stop(self, code: int | None, reason: Reason, now: float) -> None:
        super()._begin_stop(code, reason, now)
        self._container.do(Sweep(15))


class ExitsWithoutSweep(Ending):
    """Exits when the services have ended, without a sweep."""

    def sweep(self) -> None:
        self.finish()


class ExitsBeforeKilledEnd(Ending):
    """Does not wait for killed processes."""

    def due(self, now: float) -> None:
        super().due(now)
        self.finish()


class DoesNotKillUnassigned(Supervisor):
    """Sends no SIGKILL to processes that belong to no service."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if effect != Sweep(_SIGKILL)]


class LastExitCodeWins(Supervisor):
    """Exits with the code of the last cause."""

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Exited) and self.ending.code is not None and self.units[event.service].spec.essential:
            self.ending.code = event.code
        return super().step(event, now)


class HidesForcedKill(Ending):
    """Exits with 0 though a process had to be killed."""

    def finish(self) -> None:
        self._container.services.killed = False
        super().finish()


class OmitsCauseFromReason(Ending):
    """Has an exit reason without a service."""

    def _begin_stop(self, code: int | None, reason: Reason, now: float) -> None:
        super()._begin_stop(code, Reason(ALL_ENDED), now)


class NamesWaitingServiceAsCause(Ending):
    """Names the service that waited as the cause."""

    def _first_cause(self, unit: Unit) -> str:
        return unit.name


class ReportsNothing(Supervisor):
    """Reports nothing."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if not isinstance(effect, Report)]


class RecordsNoReason(Services):
    """Records the end of a run without its reason."""

    def record(self, unit: Unit, transition: Transition) -> None:
        super().record(unit, transition.replace(reason=None))


class HidesStopTimeout(Runs):
    """Has the reason of a kill from outside for a service that did not stop in time."""

    def exited(self, unit: Unit, event: Exited, now: float) -> None:
        unit.run.reason = unit.run.reason or Reason(KILLED_BY_SIGNAL, event.code)
        super().exited(unit, event, now)


class BlamesWaitingService(Services):
    """Names the refused service as its own dependency."""

    def _try_start(self, unit: Unit, now: float) -> None:
        super()._try_start(unit, now)
        if unit.run.reason is not None and unit.run.reason.kind == DEPENDENCY_FAILED:
            unit.run.reason = unit.run.reason.replace(service=unit.name)


class KillsSilently(Runs):
    """Does not report that a service is killed."""

    def kill(self, unit: Unit) -> None:
        before = self._services.out[:]
        super().kill(unit)
        after = self._services.out[len(before) :]
        self._services.out = [*before, *(effect for effect in after if not isinstance(effect, Report))]


class LeavesDependentsWaiting(Services):
    """Does not reconsider the dependents of a failed service."""

    def mark_dirty(self, unit: Unit) -> None:
        if not unit.ended:
            super().mark_dirty(unit)


class KeepsExpiredTimer(Runs):
    """Leaves an expired timer set."""

    def kill(self, unit: Unit) -> None:
        super().kill(unit)
        self._set_deadline(unit, 0.0)


class LosesTimersInReexecution(Services):
    """Loses the timers in a re-execution."""

    def restore(self, units: list[Unit], deadlines: dict[str, dict[str, float | None]]) -> None:
        super().restore(units, deadlines)
        for unit in units:
            self.timers.set((unit.name, "health"), None)


class LosesStopRequestInReexecution(Supervisor):
    """Loses a stop request in a re-execution."""

    def restore(self, plan: Plan | None, plain: dict[str, Any]) -> None:
        super().restore(plan, plain)
        self.ending.requested = False


class NeverExits(Supervisor):
    """Never exits."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if not isinstance(effect, Exit)]


class IgnoresStopRequests(Supervisor):
    """Ignores stop signals."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [] if isinstance(event, StopRequested) else super().step(event, now)


# Mutant, checker, part of the text of its violation. The world itself checks Liveness.
MUTANTS: tuple[tuple[Broken, str, str], ...] = (
    (StartsTwice, "OneMainProcess", "while its main process runs"),
    (IgnoresOrphans, "CleanStart", "of its last run is alive"),
    (StartsTooEarly, "Conditions", "before its conditions hold"),
    (ReloadSkipsEndedServices, "Conditions", "waits though its conditions hold"),
    (StartsOneAtATime, "Conditions", "waits though its conditions hold"),
    (RestartsDuringShutdown, "Restarts", "while the container stops"),
    (RetriesFailedExec, "Restarts", "though it has ended for good"),
    (IgnoresRestartLimit, "Restarts", "though it has ended for good"),
    (SkipsBackOff, "Restarts", "is started again at"),
    (LosesRestartTimer, "Restarts", "without a deadline for that"),
    (StopsInAnyOrder, "StopOrder", "still runs"),
    (StopsWithoutReason, "StopOrder", "is stopped without a reason"),
    (IgnoresFailedRun, "StopOrder", "its run has failed"),
    (ReloadSkipsRunningServices, "StopOrder", "no running service depends on it"),
    (IgnoresStopSignal, "StopOrder", "with its own stop_signal"),
    (DoesNotStopDependencies, "StopOrder", "no running service depends on it"),
    (DoesNotStopDaemon, "StopOrder", "has another main process now"),
    (LosesGraceTimer, "GracePeriods", "without a deadline for that"),
    (HalvesGracePeriod, "GracePeriods", "is killed at"),
    (DoesNotDivideTotal, "Unasked", "had the whole total grace"),
    (StopsBehindJobs, "StopOrder", "still runs"),
    (CountsGapsAsGrace, "GracePeriods", "its grace lasts until"),
    (CountsGapsAsSilence, "Unhealthy", "nothing has failed"),
    (SweepsWithSigkill, "GracePeriods", "all processes are killed before the total grace is used up"),
    (HasNoTotalGrace, "TotalGrace", "the container stops without a deadline"),
    (ExtendsTotalGrace, "TotalGrace", "still not ended"),
    (SweepsTooEarly, "SweepOrder", "the sweep begins while"),
    (ExitsBeforeKilledEnd, "SweepOrder", "the Exit comes before the sweep"),
    (ExitsWithoutSweep, "NoProcessLeft", "is left behind"),
    (DoesNotKillUnassigned, "NoProcessLeft", "of no service is left behind"),
    (LastExitCodeWins, "ExitCode", "the right one is"),
    (HidesForcedKill, "ExitCode", "exit code 0, and the right one is 137"),
    (OmitsCauseFromReason, "ExitCode", "the exit reason does not name"),
    (NamesWaitingServiceAsCause, "ExitCode", "and never ran"),
    (ReportsNothing, "Reasons", "no report says"),
    (RecordsNoReason, "Reasons", "is recorded with"),
    (HidesStopTimeout, "Reasons", "is recorded with"),
    (BlamesWaitingService, "Reasons", "and the reason is"),
    (KillsSilently, "Reasons", "no warning says"),
    (LeavesDependentsWaiting, "NoDeadlock", "only a stop signal could change anything"),
    (KeepsExpiredTimer, "BusyLoop", "the deadline came"),
    (LosesTimersInReexecution, "Reexecution", "the deadline was"),
    (LosesStopRequestInReexecution, "Reexecution", "the state after the re-execution differs"),
    (NeverExits, "Liveness", "nothing is left to happen"),
    (IgnoresStopRequests, "Liveness", "no Exit after"),
    *LIFECYCLE_MUTANTS,
    *POST_STOP_MUTANTS,
    *PROGRAM_MUTANTS,
    *REQUEST_MUTANTS,
)


def supervisor_with(broken: Broken) -> Supervisor:
    """A Supervisor with this defect."""
    if issubclass(broken, Supervisor):
        return broken()
    supervisor = Supervisor()
    services = supervisor.services
    if issubclass(broken, Services):
        supervisor.container.services = broken()
    elif issubclass(broken, Ending):
        supervisor.ending = broken(supervisor.container)
    elif issubclass(broken, Reading):
        supervisor.reading = broken(supervisor.container)
    elif issubclass(broken, Runs):
        services.runs = broken(services)
    elif issubclass(broken, Membership):
        services.membership = broken(services)
    else:
        services.health_monitor = broken(services)
    return supervisor
