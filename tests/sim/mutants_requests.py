"""Mutants for checkers_requests.py: requests, history, and wrong answers to waiting clients."""

# ruff: noqa: ARG001, ARG002, D102 - the overridden methods are documented in the engine

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.api.conditions import affected, whether_ended, whether_ready
from cohabit.api.protocol import Answer
from cohabit.engine import machine
from cohabit.engine.container import UP
from cohabit.engine.effects import Load, Signal, SignalTree, StopAsking, Unpause
from cohabit.engine.events import Requested
from cohabit.engine.services import Services
from cohabit.engine.supervisor import Supervisor
from cohabit.engine.unit import HEALTH_TIMER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.transition import Transition
    from cohabit.engine.unit import Unit

_SIGKILL = 9


class _WrongRequest(Supervisor):
    """Does something wrong with one kind of request."""

    _action = ""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        if isinstance(event, Requested) and event.action == self._action and self.phase == UP:
            for name in event.services:
                if name in self.units:
                    self._act_wrongly(self.units[name], result, now)
        return result

    def _act_wrongly(self, unit: Unit, result: list[Effect], now: float) -> None:
        """Change the effects of the request about one service."""


class KillsDependents(_WrongRequest):
    """Kills the dependents of a service, too."""

    _action = "kill"

    def _act_wrongly(self, unit: Unit, result: list[Effect], now: float) -> None:
        result += [SignalTree(name, _SIGKILL) for name in unit.dependents]


class KillsMainProcessOnly(_WrongRequest):
    """Kills the main process only, not its tree."""

    _action = "kill"

    def _act_wrongly(self, unit: Unit, result: list[Effect], now: float) -> None:
        result[:] = [Signal(e.service, e.number) if isinstance(e, SignalTree) else e for e in result]


class SignalsWholeTree(_WrongRequest):
    """Sends a signal to the whole tree."""

    _action = "signal"

    def _act_wrongly(self, unit: Unit, result: list[Effect], now: float) -> None:
        result[:] = [SignalTree(e.service, e.number) if isinstance(e, Signal) else e for e in result]


class StopsProbesAtSignal(_WrongRequest):
    """Stops the probes of a service that gets a signal."""

    _action = "signal"

    def _act_wrongly(self, unit: Unit, result: list[Effect], now: float) -> None:
        result.append(StopAsking(unit.name))


class ProbesWhilePaused(_WrongRequest):
    """Lets the next probe of a paused service be due."""

    _action = "pause"

    def _act_wrongly(self, unit: Unit, result: list[Effect], now: float) -> None:
        if unit.paused and unit.health.next_at is not None:
            self.services.timers.set((unit.name, HEALTH_TIMER), now)


class StaysPaused(Supervisor):
    """Leaves a service paused at its stop."""

    def step(self, event: Event, now: float) -> list[Effect]:
        result = super().step(event, now)
        asked = isinstance(event, Requested) and event.action == "unpause"
        return [effect for effect in result if asked or not isinstance(effect, Unpause)]


class StartsForChangedFiles(Supervisor):
    """Starts what is down when its files change."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return super().step(event.replace(cause=None) if isinstance(event, Requested) else event, now)


class StopsInNamedOrder(_WrongRequest):
    """Stops the named services in the order of the request."""

    _action = "stop"

    def _act_wrongly(self, unit: Unit, result: list[Effect], now: float) -> None:
        self.services.fact(unit, machine.STOP, now)


class StartsWithoutDependencies(Supervisor):
    """Starts the named services without their dependencies."""

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Requested) and event.action == "start" and self.phase == UP:
            self.services.out = []
            for name in event.services:
                if name in self.units and self.units[name].at_rest and not self.units[name].gone:
                    self.services.replace_run(self.units[name], up=True)
            self.services.reconcile(now)
            return self.services.out
        return super().step(event, now)


class DoesNotStartAfterRestart(Services):
    """Does not start a service after the stop of a restart."""

    def restart(self, unit: Unit, *, up: bool) -> None:
        super().restart(unit, up=up)
        if not unit.at_rest:
            unit.desired = unit.restart_pending = False


class IgnoresServiceStop(Supervisor):
    """Ignores requests to stop services."""

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Requested) and event.action == "stop":
            return []
        return super().step(event, now)


class RestartsStoppedServices(Services):
    """Restarts a service that was stopped by request."""

    def _enter(self, unit: Unit, state: str, now: float) -> None:
        super()._enter(unit, state, now)
        if unit.down and not unit.gone:
            unit.desired = True
            self.mark_dirty(unit)


class CountsStopAsEnd(Services):
    """Counts a stop by request as an end of the service."""

    def _enter(self, unit: Unit, state: str, now: float) -> None:
        super()._enter(unit, state, now)
        if unit.down and not unit.gone:
            self.ended.append(unit)


class KeepsDefinitionAfterStop(Services):
    """Does not take the new definition of a service that is stopped during a reload."""

    def _enter(self, unit: Unit, state: str, now: float) -> None:
        before = unit.spec
        super()._enter(unit, state, now)
        if state == machine.STOPPED and not unit.restart_pending:
            unit.spec = before


class IgnoresScale(Supervisor):
    """Reads the file without the requested replicas."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect.replace(scale={}) if isinstance(effect, Load) else effect for effect in super().step(event, now)]


# --- history ---------------------------------------------------------------------------------------------


class ReversesHistory(Services):
    """Records new entries before old ones."""

    def record(self, unit: Unit, transition: Transition) -> None:
        super().record(unit, transition)
        entries = unit.history.entries
        unit.history.entries = [entries[-1], *entries[:-1]]


class NeverTrimsHistory(Services):
    """Keeps all entries."""

    def record(self, unit: Unit, transition: Transition) -> None:
        before = unit.history.entries
        super().record(unit, transition)
        unit.history.entries = [*before, unit.history.entries[-1]]


class OmitsRequestFromTimeline(Services):
    """Begins the timeline with the start, not with its request."""

    def record(self, unit: Unit, transition: Transition) -> None:
        super().record(unit, transition)
        unit.history.timeline = [entry for entry in unit.history.timeline if entry[1] != "wanted"]
        if not unit.history.timeline:
            unit.history.timeline = [(transition.time, transition.event)]


class OmitsStoppingFromHistory(Services):
    """Does not record STOPPING."""

    def record(self, unit: Unit, transition: Transition) -> None:
        if transition.event != machine.STOPPING:
            super().record(unit, transition)


class KeepsNoHistory(Services):
    """Records no history."""

    def record(self, unit: Unit, transition: Transition) -> None:
        self.transitions.append(transition)


class ReportsExitedForFatal(Services):
    """Enters EXITED in place of FATAL."""

    def _enter(self, unit: Unit, state: str, now: float) -> None:
        super()._enter(unit, machine.EXITED if state == machine.FATAL else state, now)


class StartsWithoutTable(Services):
    """Starts a service again in place of BACKOFF."""

    def _enter(self, unit: Unit, state: str, now: float) -> None:
        super()._enter(unit, machine.STARTING if state == machine.BACKOFF else state, now)


class RecordsWrongState(Services):
    """Records every change as one from STOPPED."""

    def record(self, unit: Unit, transition: Transition) -> None:
        super().record(unit, transition.replace(before=machine.STOPPED))


class CountsStartsTwice(Services):
    """Counts each start twice."""

    def record(self, unit: Unit, transition: Transition) -> None:
        super().record(unit, transition)
        unit.history.starts += transition.event == machine.RUNNING


# Mutant, checker, part of the text of its violation.
REQUEST_MUTANTS: tuple[tuple[type[Supervisor | Services], str, str], ...] = (
    (KillsDependents, "Requests", "are to be killed"),
    (KillsMainProcessOnly, "Requests", "are to be killed"),
    (SignalsWholeTree, "Requests", "is not sent to their main processes"),
    (ProbesWhilePaused, "Probes", "is probed while it is paused"),
    (StaysPaused, "Requests", "is still paused"),
    (StartsForChangedFiles, "Requests", "is started, though it was stopped by request"),
    (StopsProbesAtSignal, "Requests", "leads to something else"),
    (IgnoresServiceStop, "Requests", "still runs, though a stop was requested"),
    (RestartsStoppedServices, "Requests", "is started, though it was stopped by request"),
    (CountsStopAsEnd, "Requests", "without a valid reason"),
    (StopsInNamedOrder, "StopOrder", "is stopped while"),
    (StartsWithoutDependencies, "Conditions", "waits though its conditions hold"),
    (DoesNotStartAfterRestart, "Conditions", "waits though its conditions hold"),
    (KeepsDefinitionAfterStop, "Reloads", "with an old definition"),
    (IgnoresScale, "Reloads", "replicas, and it should be"),
    (ReversesHistory, "Histories", "is out of order"),
    (NeverTrimsHistory, "Histories", "grows"),
    (OmitsRequestFromTimeline, "Histories", "does not begin with the request"),
    (OmitsStoppingFromHistory, "Histories", "the last entry of"),
    (KeepsNoHistory, "Histories", "no entry says how"),
    (ReportsExitedForFatal, "Histories", "and it should be FATAL"),
    (StartsWithoutTable, "Transitions", "cannot follow"),
    (RecordsWrongState, "Transitions", "and it was"),
    (CountsStartsTwice, "Transitions", "are counted, and it had"),
)


# --- wrong answers ---------------------------------------------------------------------------------------


def never(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Give no answer."""
    return None


def succeeded(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Report success."""
    return Answer(0, "succeeded")


def failed(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Report a failure."""
    return Answer(1, "failed")


def ignores_crash(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Wait on where a crash is the answer."""
    return whether_ready(engine, names)


def not_at_end(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Give no answer once the container stops."""
    return whether_ended(engine, names) if engine.phase == UP else None


def always_zero(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Answer with 0 for every exit code."""
    answer = whether_ended(engine, names, by_itself=True)
    return answer and Answer(0, answer.text)


# Kind, as in checkers_requests.KINDS, the wrong answer, part of the text of the violation.
WRONG_ANSWERS: tuple[tuple[str, Callable[..., Answer | None], str], ...] = (
    ("ready", never, "are ready, and there is no answer"),
    ("started", ignores_crash, "will not be ready, and there is no answer"),
    ("started", failed, "did not fail, and the answer is a failure"),
    ("ready", succeeded, "are not ready, and the answer says that they are"),
    ("ready", succeeded, "the container stops, and the client that waits"),
    ("down", never, "have ended, and there is no answer"),
    ("down", never, "was requested again, and there is no answer"),
    ("down", failed, "were not started again, and the answer says that they were"),
    ("down", succeeded, "have not ended, and the answer says that they have"),
    ("ended", always_zero, "the answer says 0"),
    ("down", not_at_end, "gets no answer"),
)


# --- waiters that are not evaluated ----------------------------------------------------------------------


def without_dependents(engine: Supervisor) -> set[str] | None:
    """Leave out the services that depend on those that changed."""
    names = affected(engine)
    return names and names & (engine.services.changed | {each.service for each in engine.services.transitions})


def without_changes(engine: Supervisor) -> set[str] | None:
    """Leave out what a step changes without a transition: what is requested, a job that is ready, a removed service."""
    names = affected(engine)
    return names and names & {each.service for each in engine.services.transitions}


WRONG_AFFECTED = (without_dependents, without_changes)
