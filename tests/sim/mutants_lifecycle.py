"""Broken engines for the judges of checkers_life.py: health, hooks, schedules, reload, and what is announced."""

# ruff: noqa: ARG002, D102 - what a method of the engine does, it says itself

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
from cohabit.engine.events import HookEnded, Loaded, LoadFailed, Probed, ReloadRequested, ScheduleDue
from cohabit.engine.health_monitor import HealthMonitor
from cohabit.engine.services import Services
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import EXIT, NONE, POST_START, PRE_START, PRE_STOP, RESTART

if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event, Notified
    from cohabit.engine.unit import Unit
    from cohabit.plan.diff import Difference
    from cohabit.plan.model import Plan


# --- health --------------------------------------------------------------------------------------------


class AsksForEver(Supervisor):
    """Goes on probing a service that is gone."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if not isinstance(effect, StopAsking)]


class AsksTwice(Supervisor):
    """Asks again before there is an answer."""

    def step(self, event: Event, now: float) -> list[Effect]:
        wanted = super().step(event, now)
        return [*wanted, *(effect for effect in wanted if isinstance(effect, Ask))]


class AsksTooEarly(Supervisor):
    """Asks whenever it has an answer."""

    def step(self, event: Event, now: float) -> list[Effect]:
        wanted = super().step(event, now)
        if isinstance(event, Probed) and not event.passed and not wanted and event.service in self.units:
            unit = self.units[event.service]
            if unit.state == machine.RUNNING and unit.health.next_at is not None:
                wanted.append(Ask(unit.service))
        return wanted


class AsksTheDead(HealthMonitor):
    """Asks at a service's birth, whatever hooks there are."""

    def begin(self, unit: Unit, now: float) -> None:
        super().begin(unit, now)
        if unit.service.probe is None:
            self._services.out.append(Ask(unit.service))


class AsksAsBefore(Services):
    """Does not ask in a new way after a reload."""

    def _change_in_place(self, unit: Unit, now: float) -> None:
        before = unit.service
        super()._change_in_place(unit, now)
        self.out[:] = [
            effect.replace(service=before) if isinstance(effect, Ask) and effect.service.name == unit.name else effect
            for effect in self.out
        ]


class NeverAsks(HealthMonitor):
    """Does not ask a service how it is once it was restarted."""

    def begin(self, unit: Unit, now: float) -> None:
        if unit.starts == 1 or unit.service.probe is None:
            super().begin(unit, now)


class TrustsTheSilent(HealthMonitor):
    """Expects no sign of life."""

    def notified(self, unit: Unit, message: Notified, now: float) -> None:
        super().notified(unit, message, now)
        self._services.timers.set((unit.name, "health"), None)


class HidesTheUnwell(HealthMonitor):
    """Does what on_failure says without a word."""

    def _announce(self, unit: Unit, before: str, now: float) -> None:
        super()._announce(unit, before, now)
        services = self._services
        services.out = [e for e in services.out if not isinstance(e, Report) or "unhealthy" not in e.text]


def _with_another_way(unit: Unit, on_failure: str) -> None:
    if unit.service.probe is not None:
        unit.service = unit.service.replace(probe=unit.service.probe.replace(on_failure=on_failure))


class RestartsNobody(HealthMonitor):
    """Takes every on_failure for none."""

    def _announce(self, unit: Unit, before: str, now: float) -> None:
        if unit.service.probe is not None and unit.service.probe.on_failure == RESTART:
            _with_another_way(unit, NONE)
        super()._announce(unit, before, now)


class RestartsEverybody(HealthMonitor):
    """Takes every on_failure for restart."""

    def _announce(self, unit: Unit, before: str, now: float) -> None:
        _with_another_way(unit, RESTART)
        super()._announce(unit, before, now)


class StaysWithTheUnwell(HealthMonitor):
    """Takes exit for none."""

    def _announce(self, unit: Unit, before: str, now: float) -> None:
        if unit.service.probe is not None and unit.service.probe.on_failure == EXIT:
            _with_another_way(unit, NONE)
        super()._announce(unit, before, now)


# --- hooks ---------------------------------------------------------------------------------------------


class HurriesToStop(Services):
    """Runs the hooks before the stop beside one that runs already."""

    def _enter_stopping(self, unit: Unit, before: str, now: float) -> None:
        unit.hook_stage = ""
        super()._enter_stopping(unit, before, now)


class HurriesToStart(Services):
    """Starts the command together with its first hook."""

    def _enter_starting(self, unit: Unit, now: float) -> None:
        super()._enter_starting(unit, now)
        if unit.hook_stage == PRE_START:
            self.out.append(Spawn(unit.service))


class ForgetsToPrepare(Services):
    """Takes the first hook for all."""

    def _pre_start_ended(self, unit: Unit, code: int | None, told: str, now: float, *, orphans: bool) -> None:
        super()._pre_start_ended(unit, code or None, told, now, orphans=orphans)


class RepeatsAHook(Services):
    """Runs each second hook from the first on again."""

    def _run_hook(self, unit: Unit, stage: str, step: int) -> None:
        super()._run_hook(unit, stage, 0)


class ForgetsTheFarewell(Services):
    """Sends the signal and thinks of no hooks."""

    def _enter_stopping(self, unit: Unit, before: str, now: float) -> None:
        service = unit.service
        unit.service = service.replace(pre_stop=())
        super()._enter_stopping(unit, before, now)
        unit.service = service


class LosesAHook(Supervisor):
    """Does not notice that a hook has ended."""

    _stage = ""

    def step(self, event: Event, now: float) -> list[Effect]:
        unit = self.units.get(event.service) if isinstance(event, HookEnded) else None
        if unit is not None and unit.hook_stage == self._stage and unit.main_alive == (unit.hook_stage != PRE_START):
            unit.hook_stage = ""
            return []
        return super().step(event, now)


class NeverStarts(LosesAHook):
    """Stays with the hooks before the start."""

    _stage = PRE_START


class NeverCompletes(LosesAHook):
    """Stays with the hooks after the start."""

    _stage = POST_START


class NeverStops(LosesAHook):
    """Stays with the hooks before the stop."""

    _stage = PRE_STOP


# --- schedules -----------------------------------------------------------------------------------------


class Overlaps(Services):
    """Runs a job whenever it is due."""

    def schedule_due(self, unit: Unit, now: float) -> None:
        super().schedule_due(unit, now)
        if unit.state == machine.RUNNING:
            self._enter_starting(unit, now)


class SkipsInSilence(Supervisor):
    """Tells nobody that a run is left out."""

    def step(self, event: Event, now: float) -> list[Effect]:
        wanted = super().step(event, now)
        return [e for e in wanted if not isinstance(e, Report)] if isinstance(event, ScheduleDue) else wanted


class RunsAtOnce(Services):
    """Takes a scheduled job for any other service."""

    def _add(self, units: list[Unit]) -> None:
        for unit in units:
            unit.want_up = True
        super()._add(units)


# --- reload --------------------------------------------------------------------------------------------


class KeepsTheOld(Services):
    """Restarts what has changed, as it was."""

    def _renewed(self, unit: Unit, now: float) -> None:
        before = unit.service
        super()._renewed(unit, now)
        unit.service = before


class ChangesNothing(Services):
    """Sees no change that needs no restart."""

    def _change_in_place(self, unit: Unit, now: float) -> None:
        unit.next = None


class RevivesTheGone(Services):
    """Starts again who is in no Plan any more."""

    def change(self, plan: Plan, difference: Difference, now: float) -> None:
        super().change(plan, difference, now)
        for unit in self.gone:
            if unit.at_rest:
                self.out.append(Spawn(unit.service))


class ForgetsNobody(Supervisor):
    """Keeps what it knows of services that are gone."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if not isinstance(effect, Forget)]


class ForgetsTooEarly(Services):
    """Forgets who is gone though he still lives."""

    def change(self, plan: Plan, difference: Difference, now: float) -> None:
        super().change(plan, difference, now)
        self.out += [Forget(unit.name) for unit in self.gone if not unit.at_rest]


class PreparesTheOld(Supervisor):
    """Makes room for the Plan that was."""

    def step(self, event: Event, now: float) -> list[Effect]:
        old = self.plan
        wanted = super().step(event, now)
        return [Prepare(old) if old is not None and isinstance(e, Prepare) else e for e in wanted]


class ReadsTwice(Supervisor):
    """Begins to read whenever it is asked to."""

    def _reload_requested(self, scale: dict[str, int]) -> None:
        self._do(Load(scale))


class ReadsOnce(Supervisor):
    """Forgets who asked while it was reading."""

    def _read_once_more(self) -> None:
        self.read_again = False


class HidesTheChanges(Supervisor):
    """Does not tell what a reload does."""

    def _tell_difference(self, difference: Difference) -> None:
        return


class HidesTheProblem(Supervisor):
    """Does not tell what is wrong with a file."""

    def step(self, event: Event, now: float) -> list[Effect]:
        wanted = super().step(event, now)
        return [e for e in wanted if not isinstance(e, Report)] if isinstance(event, LoadFailed) else wanted


class RefusesInSilence(Supervisor):
    """Does not answer to a reload that comes too late."""

    def step(self, event: Event, now: float) -> list[Effect]:
        wanted = super().step(event, now)
        return [e for e in wanted if isinstance(e, Load)] if isinstance(event, ReloadRequested) else wanted


# --- what is announced, and when nothing is ---------------------------------------------------------------


class AnnouncesTwice(Supervisor):
    """Says it at every reload."""

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Loaded):
            self.announced = False
        return super().step(event, now)


class AnnouncesTooEarly(Services):
    """Takes what runs for ready."""

    def _note(self, unit: Unit) -> None:
        super()._note(unit)
        if unit.state == machine.RUNNING:
            self.not_ready.pop(unit.name, None)


class AnnouncesNothing(Supervisor):
    """Keeps it to itself."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect for effect in super().step(event, now) if not isinstance(effect, AllReady)]


class GoesOn(Supervisor):
    """Has wishes after the end."""

    def step(self, event: Event, now: float) -> list[Effect]:
        wanted = super().step(event, now)
        if self.phase == "done" and not any(isinstance(effect, Exit) for effect in wanted):
            wanted.append(Signal("web", 15))
        return wanted


# What is broken, the judge, and words of what the judge says.
PLANTED_IN_LIFE: tuple[tuple[type[Supervisor | Services | HealthMonitor], str, str], ...] = (
    (AsksForEver, "Probes", "is still asked how it is"),
    (AsksTwice, "Probes", "is asked again before it has answered"),
    (AsksTooEarly, "Probes", "which is too early"),
    (AsksTheDead, "Probes", "there is nothing to ask"),
    (AsksAsBefore, "Probes", "its newest definition"),
    (NeverAsks, "Probes", "is to be asked at"),
    (TrustsTheSilent, "Probes", "has to speak by"),
    (HidesTheUnwell, "Unwell", "nobody is told that"),
    (RestartsNobody, "Unwell", "is not restarted"),
    (RestartsEverybody, "Unwell", "which concerns nobody"),
    (StaysWithTheUnwell, "Unwell", "the end does not begin"),
    (HurriesToStop, "Hooks", "runs beside its post_start"),
    (HurriesToStart, "Hooks", "is started beside its pre_start"),
    (ForgetsToPrepare, "Hooks", "before its hooks have prepared it"),
    (RepeatsAHook, "Hooks", "runs at the wrong moment"),
    (ForgetsTheFarewell, "Hooks", "before its hooks have prepared the stop"),
    (NeverStarts, "Hooks", "nobody starts it"),
    (NeverCompletes, "Hooks", "nobody goes on with its hooks"),
    (NeverStops, "Hooks", "nobody stops it"),
    (Overlaps, "Schedules", "overlaps itself"),
    (SkipsInSilence, "Schedules", "is left out"),
    (RunsAtOnce, "Schedules", "its schedule says nothing of that"),
    (KeepsTheOld, "Reloads", "as it is no longer written"),
    (ChangesNothing, "Reloads", "as it is no longer written"),
    (RevivesTheGone, "Reloads", "is in no Plan any more"),
    (ForgetsNobody, "Reloads", "nobody forgot"),
    (ForgetsTooEarly, "Reloads", "is forgotten before its time"),
    (PreparesTheOld, "Reloads", "another Plan than the newest"),
    (ReadsTwice, "Reloads", "the file is read again"),
    (ReadsOnce, "Reloads", "somebody wants a reload"),
    (HidesTheChanges, "Reloads", "nobody is told what the reload does"),
    (HidesTheProblem, "Reloads", "what is wrong with the file"),
    (RefusesInSilence, "Reloads", "there is no reload while everything stops"),
    (AnnouncesTwice, "Announcement", "is told twice"),
    (AnnouncesTooEarly, "Announcement", "which is not true"),
    (AnnouncesNothing, "Announcement", "and nobody is told"),
    (GoesOn, "Silence", "after the Exit"),
)
