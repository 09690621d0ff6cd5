"""Broken engines, one for each sentence that a judge can say: proof that the judges can fail.

Each is the real Supervisor, or the Services or the Watch in it, with one defect of the kind that a tired person
writes. tests/sim/test_judges.py runs each under the one judge that has to find it, and waits for its sentence. Here
are those about starting, stopping and ending; planted_life.py and planted_requests.py have the others.
"""

# ruff: noqa: ARG002, D102 - what a method of the engine does, it says itself

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import machine
from cohabit.engine.effects import Exit, Report, Signal, Spawn, Sweep
from cohabit.engine.events import Exited, Probed, StopRequested, TreeGone
from cohabit.engine.services import Services
from cohabit.engine.supervisor import Supervisor
from sim.mutants_lifecycle import PLANTED_IN_LIFE
from sim.mutants_requests import PLANTED_IN_REQUESTS

if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.health_monitor import HealthMonitor
    from cohabit.engine.unit import Unit
    from cohabit.plan.model import Plan

_SIGKILL = 9


class SpawnsTwice(Supervisor):
    """Starts a service once more when it is ready."""

    def step(self, event: Event, now: float) -> list[Effect]:
        wanted = super().step(event, now)
        if isinstance(event, Probed) and self.units[event.service].state == machine.RUNNING:
            wanted.append(Spawn(self.units[event.service].service))
        return wanted


class IgnoresOrphans(Supervisor):
    """Takes a service for gone when its leader is."""

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, TreeGone):
            return []
        return super().step(Exited(event.service, event.code) if isinstance(event, Exited) else event, now)


class StartsTooEarly(Services):
    """Takes every condition for service_started."""

    def _try_start(self, unit: Unit, now: float) -> None:
        if all(self.units[needed.service].starts for needed in unit.service.depends_on):
            self.fact(unit, machine.START, now)
        else:
            super()._try_start(unit, now)


class ForgetsTheChanged(Services):
    """At a reload leaves those as they are who have ended."""

    def restart(self, unit: Unit, *, up: bool) -> None:
        if not unit.at_rest:
            super().restart(unit, up=up)


class StartsInTurn(Services):
    """Starts one service after the other, without need."""

    def _try_start(self, unit: Unit, now: float) -> None:
        if not any(other.state == machine.STARTING for other in self.units.values()):
            super()._try_start(unit, now)


class RestartsAtOnce(Services):
    """Forgets the back-off."""

    def _verdict(self, unit: Unit, now: float) -> None:
        super()._verdict(unit, now)
        if unit.state == machine.BACKOFF:
            self._set_deadline(unit, now)


class ForgetsTheRestart(Services):
    """Loses the timer of a service in BACKOFF."""

    def _verdict(self, unit: Unit, now: float) -> None:
        super()._verdict(unit, now)
        if unit.state == machine.BACKOFF:
            self._set_deadline(unit, None)


class RestartsForEver(Services):
    """Does not count the restarts."""

    def _verdict(self, unit: Unit, now: float) -> None:
        unit.restarts = 0
        super()._verdict(unit, now)


class StartsDuringTheEnd(Services):
    """Lets a restart happen though everything ends."""

    def stop_all(self) -> None:
        waiting = [unit for unit in self.units.values() if unit.state == machine.BACKOFF]
        super().stop_all()
        for unit in waiting:
            self._enter(unit, machine.STARTING, 0.0)


class ForgetsThatItIsFinal(Services):
    """Tries again what cannot be started at all."""

    def spawn_failed(self, unit: Unit, why: str, code: int, now: float, *, orphans: bool) -> None:
        super().spawn_failed(unit, why, min(code, 1), now, orphans=orphans)


class StopsInWrongOrder(Services):
    """Tells everybody to stop at the same time."""

    def _may_stop(self, unit: Unit) -> bool:
        return True


class StopsOutOfTheBlue(Services):
    """Stops a service when it is told that its time has come, whatever that time was for."""

    def due(self, now: float) -> None:
        super().due(now)
        for unit in self.units.values():
            if unit.state == machine.RUNNING and not unit.dependents and unit.health.results:
                self._enter(unit, machine.STOPPING, now)


class ToleratesTheUnwell(Services):
    """Does not end what is no good."""

    def fact(self, unit: Unit, fact: str, now: float) -> None:
        if fact != machine.FAILED:
            super().fact(unit, fact, now)


class KeepsTheChanged(Services):
    """At a reload leaves those as they are who run."""

    def restart(self, unit: Unit, *, up: bool) -> None:
        if unit.at_rest:
            super().restart(unit, up=up)


class KnowsOneSignal(Supervisor):
    """Sends TERM to everybody."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [
            effect.replace(number=15) if isinstance(effect, Signal) else effect for effect in super().step(event, now)
        ]


class ForgetsToStop(Services):
    """Does not look at those on whom somebody depended, when that one is gone."""

    def mark_dirty(self, unit: Unit) -> None:
        self._note(unit)
        self._dirty[unit.name] = None
        for name in unit.dependents:
            self._dirty[name] = None


class ForgetsTheDaemon(Services):
    """Does not tell the daemon to stop whose parent was told."""

    def daemonised(self, unit: Unit, pid: int) -> None:
        unit.pid = pid


class ForgetsTheGrace(Services):
    """Sets no timer for a service that is told to stop."""

    def _enter_stopping(self, unit: Unit, before: str, now: float) -> None:
        super()._enter_stopping(unit, before, now)
        self._set_deadline(unit, None)


class KillsTooEarly(Services):
    """Gives half of the grace only."""

    def _enter_stopping(self, unit: Unit, before: str, now: float) -> None:
        super()._enter_stopping(unit, before, now)
        if unit.deadline is not None:
            self._set_deadline(unit, now + unit.service.stop_grace_seconds / 2)


class KillsInsteadOfAsking(Supervisor):
    """Sweeps with SIGKILL at once."""

    def _sweep(self) -> None:
        self.killing = True
        super()._sweep()


class ForgetsTheTotal(Supervisor):
    """Has no total: each service takes its own grace."""

    def deadline(self) -> float | None:
        self.total_deadline = None
        return super().deadline()


class ProlongsTheTotal(Supervisor):
    """Begins the total anew whenever a service is gone."""

    def step(self, event: Event, now: float) -> list[Effect]:
        wanted = super().step(event, now)
        if isinstance(event, Exited) and self.total_deadline is not None and self.plan is not None:
            self.total_deadline = now + self.plan.stop_grace_seconds
        return wanted


class SweepsTooEarly(Supervisor):
    """Sweeps as soon as the end begins."""

    def _begin_stop(self, code: int | None, word: str, now: float) -> None:
        super()._begin_stop(code, word, now)
        self._do(Sweep(15))


class LeavesBeforeTheSweep(Supervisor):
    """Ends as soon as the services are gone, without looking at anybody else."""

    def _sweep(self) -> None:
        self._finish()


class GivesUpTooEarly(Supervisor):
    """Does not wait for those whom it killed."""

    def _total_due(self, now: float) -> None:
        super()._total_due(now)
        self._finish()


class LeavesSomebodyBehind(Supervisor):
    """At the end of its patience forgets those who belong to no service."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if effect != Sweep(_SIGKILL)]


class WrongExitCode(Supervisor):
    """The last cause wins."""

    def _over(self, unit: Unit, now: float) -> None:
        super()._over(unit, now)
        if unit.service.essential:
            self.code = unit.code

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Exited) and self.code is not None and self.units[event.service].service.essential:
            self.code = event.code
        return super().step(event, now)


class NeverSaysKilled(Supervisor):
    """Ends with 0 though somebody had to be killed."""

    def _finish(self) -> None:
        self.forced = False
        super()._finish()


class NamesNobody(Supervisor):
    """Has a last word that could be anybody's."""

    def _begin_stop(self, code: int | None, word: str, now: float) -> None:
        super()._begin_stop(code, "the end", now)


class BlamesTheWaiting(Supervisor):
    """Takes the service that waited in vain for the culprit."""

    def _first_cause(self, unit: Unit) -> str:
        return unit.name


class SaysNothing(Supervisor):
    """Tells no reason."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if not isinstance(effect, Report)]


class ForgetsTheDependents(Services):
    """Does not tell the dependents of a failure: they wait for ever."""

    def mark_dirty(self, unit: Unit) -> None:
        if not unit.ended:
            super().mark_dirty(unit)


class KeepsItsTimer(Services):
    """Leaves a timer set that was dealt with."""

    def _kill(self, unit: Unit) -> None:
        super()._kill(unit)
        self.timers.set((unit.name, "state"), 0.0)


class ForgetsTheTimers(Services):
    """Does not carry the timers over a re-execution."""

    def restore(self, units: list[Unit]) -> None:
        super().restore(units)
        for unit in units:
            self.timers.set((unit.name, "state"), None)


class ForgetsWhoAsked(Supervisor):
    """Does not carry it over a re-execution that a stop was requested."""

    def restore(self, plan: Plan | None, plain: dict[str, Any]) -> None:
        super().restore(plan, plain)
        self.requested = False


class NeverEnds(Supervisor):
    """Does everything but the last step."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if not isinstance(effect, Exit)]


class IgnoresRequests(Supervisor):
    """Has an end of its own only."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [] if isinstance(event, StopRequested) else super().step(event, now)


# What is broken, the judge, and words of what the judge says. Liveness is judged by the world itself.
PLANTED: tuple[tuple[type[Supervisor | Services | HealthMonitor], str, str], ...] = (
    (SpawnsTwice, "OneLeader", "while its leader lives"),
    (IgnoresOrphans, "CleanStart", "of its last run lives"),
    (StartsTooEarly, "Conditions", "before its conditions hold"),
    (ForgetsTheChanged, "Conditions", "waits though its conditions hold"),
    (StartsInTurn, "Conditions", "waits though its conditions hold"),
    (StartsDuringTheEnd, "Restarts", "though everything ends"),
    (ForgetsThatItIsFinal, "Restarts", "though it is over for good"),
    (RestartsForEver, "Restarts", "though it is over for good"),
    (RestartsAtOnce, "Restarts", "is started again at"),
    (ForgetsTheRestart, "Restarts", "nobody will wake"),
    (StopsInWrongOrder, "StopOrder", "still runs"),
    (StopsOutOfTheBlue, "StopOrder", "nobody wants that"),
    (ToleratesTheUnwell, "StopOrder", "it is no good any more"),
    (KeepsTheChanged, "StopOrder", "nobody depends on it any more"),
    (KnowsOneSignal, "StopOrder", "by its own stop_signal"),
    (ForgetsToStop, "StopOrder", "nobody depends on it any more"),
    (ForgetsTheDaemon, "StopOrder", "is another process now"),
    (ForgetsTheGrace, "Graces", "nobody will wake"),
    (KillsTooEarly, "Graces", "is killed at"),
    (KillsInsteadOfAsking, "Graces", "everybody is killed before the total is used up"),
    (ForgetsTheTotal, "Total", "nobody watches the clock"),
    (ProlongsTheTotal, "Total", "still not ended"),
    (SweepsTooEarly, "Sweeping", "everybody is swept while"),
    (GivesUpTooEarly, "Sweeping", "had the time to die"),
    (LeavesBeforeTheSweep, "NobodyLeft", "is left behind"),
    (LeavesSomebodyBehind, "NobodyLeft", "of nobody is left behind"),
    (WrongExitCode, "ExitCode", "the right one is"),
    (NeverSaysKilled, "ExitCode", "exit code 0, and the right one is 137"),
    (NamesNobody, "ExitCode", "the last word does not name"),
    (BlamesTheWaiting, "ExitCode", "never ran"),
    (SaysNothing, "Reasons", "no report says"),
    (ForgetsTheDependents, "Forgotten", "only a stop signal could change anything"),
    (KeepsItsTimer, "BusyLoop", "the deadline came"),
    (ForgetsTheTimers, "Continuity", "the deadline was"),
    (ForgetsWhoAsked, "Continuity", "the state after the re-execution differs"),
    (NeverEnds, "Liveness", "nothing will ever happen again"),
    (IgnoresRequests, "Liveness", "it goes on and on"),
    *PLANTED_IN_LIFE,
    *PLANTED_IN_REQUESTS,
)


def supervisor_with(broken: type[Supervisor | Services | HealthMonitor]) -> Supervisor:
    """A Supervisor that is broken in this way."""
    if issubclass(broken, Supervisor):
        return broken()
    supervisor = Supervisor()
    if issubclass(broken, Services):
        supervisor.services = broken()
    else:
        supervisor.services.health_monitor = broken(supervisor.services)
    return supervisor
