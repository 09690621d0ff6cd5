"""Broken engines and broken answers: what requests lead to, what is remembered of them, what is said about them."""

# ruff: noqa: ARG001, ARG002, D102 - what a method of the engine does, it says itself

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.api.conditions import whether_ended, whether_ready
from cohabit.api.protocol import Answer
from cohabit.engine import machine
from cohabit.engine.effects import Load, Signal, SignalTree, StopAsking
from cohabit.engine.events import Requested
from cohabit.engine.services import Services
from cohabit.engine.supervisor import UP, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.unit import Unit

_SIGKILL = 9


class _Misunderstands(Supervisor):
    """Takes one kind of request in its own way."""

    _action = ""

    def step(self, event: Event, now: float) -> list[Effect]:
        wanted = super().step(event, now)
        if isinstance(event, Requested) and event.action == self._action and self.phase == UP:
            for name in event.services:
                if name in self.units:
                    self._misunderstood(self.units[name], wanted, now)
        return wanted

    def _misunderstood(self, unit: Unit, wanted: list[Effect], now: float) -> None:
        """What it does besides."""


class KillsTheNeighbours(_Misunderstands):
    """Kills those who depend on it, too."""

    _action = "kill"

    def _misunderstood(self, unit: Unit, wanted: list[Effect], now: float) -> None:
        wanted += [SignalTree(name, _SIGKILL) for name in unit.dependents]


class KillsTheLeader(_Misunderstands):
    """Kills the main process and spares its tree."""

    _action = "kill"

    def _misunderstood(self, unit: Unit, wanted: list[Effect], now: float) -> None:
        wanted[:] = [Signal(e.service, e.number) if isinstance(e, SignalTree) else e for e in wanted]


class SignalsTheTree(_Misunderstands):
    """Sends a signal to everybody of the service."""

    _action = "signal"

    def _misunderstood(self, unit: Unit, wanted: list[Effect], now: float) -> None:
        wanted[:] = [SignalTree(e.service, e.number) if isinstance(e, Signal) else e for e in wanted]


class TakesASignalForAStop(_Misunderstands):
    """Thinks that who was signalled is on his way out."""

    _action = "signal"

    def _misunderstood(self, unit: Unit, wanted: list[Effect], now: float) -> None:
        wanted.append(StopAsking(unit.name))


class StopsAsNamed(_Misunderstands):
    """Stops whoever is named, in the order of the names."""

    _action = "stop"

    def _misunderstood(self, unit: Unit, wanted: list[Effect], now: float) -> None:
        self.services.fact(unit, machine.STOP, now)


class StartsAlone(Supervisor):
    """Starts whom it is asked for and nobody else."""

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Requested) and event.action == "start" and self.phase == UP:
            self.services.out = []
            for name in event.services:
                if name in self.units and self.units[name].at_rest and not self.units[name].gone:
                    self.services.replace_run(self.units[name], up=True)
            self.services.reconcile(now)
            return self.services.out
        return super().step(event, now)


class StopsInsteadOfRestarting(Services):
    """Forgets the second half of a restart."""

    def restart(self, unit: Unit, *, up: bool) -> None:
        super().restart(unit, up=up)
        if not unit.at_rest:
            unit.want_up = unit.restart_pending = False


class StopsNobody(Supervisor):
    """Has no time for who wants something stopped."""

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Requested) and event.action == "stop":
            return []
        return super().step(event, now)


class RunsWhatIsDown(Services):
    """Starts again whatever ends."""

    def _verdict(self, unit: Unit, now: float) -> None:
        super()._verdict(unit, now)
        if unit.down and not unit.gone:
            unit.want_up = True
            self.mark_dirty(unit)


class EndsWithTheStopped(Services):
    """Takes a stop by request for an end that counts."""

    def _verdict(self, unit: Unit, now: float) -> None:
        super()._verdict(unit, now)
        if unit.down and not unit.gone:
            self.ended.append(unit)


class RunsTheOld(Services):
    """Does not know of a reload what was stopped in the middle of it."""

    def _verdict(self, unit: Unit, now: float) -> None:
        before = unit.service
        super()._verdict(unit, now)
        if not unit.restart_pending:
            unit.service = before


class ForgetsTheScale(Supervisor):
    """Reads the file as if nobody had asked for replicas."""

    def step(self, event: Event, now: float) -> list[Effect]:
        return [effect.replace(scale={}) if isinstance(effect, Load) else effect for effect in super().step(event, now)]


# --- what is remembered ----------------------------------------------------------------------------------


class RemembersBackwards(Services):
    """Puts what happens before what has happened."""

    def note(self, unit: Unit, event: str, now: float, why: str = "", code: int | None = None) -> None:
        super().note(unit, event, now, why, code)
        unit.history = [unit.history[-1], *unit.history[:-1]]


class RemembersEverything(Services):
    """Throws nothing away."""

    def note(self, unit: Unit, event: str, now: float, why: str = "", code: int | None = None) -> None:
        before = unit.history
        super().note(unit, event, now, why, code)
        unit.history = [*before, unit.history[-1]]


class ForgetsTheWish(Services):
    """Begins a start when it is begun."""

    def note(self, unit: Unit, event: str, now: float, why: str = "", code: int | None = None) -> None:
        super().note(unit, event, now, why, code)
        unit.timeline = [entry for entry in unit.timeline if entry[1] != "wanted"]
        if not unit.timeline:
            unit.timeline = [(now, event)]


class ForgetsThatItStops(Services):
    """Remembers the end and not how it came."""

    def note(self, unit: Unit, event: str, now: float, why: str = "", code: int | None = None) -> None:
        if event != machine.STOPPING:
            super().note(unit, event, now, why, code)


class RemembersNothing(Services):
    """Keeps no history."""

    def note(self, unit: Unit, event: str, now: float, why: str = "", code: int | None = None) -> None:
        self.transitions.append((unit.name, now, event, why, code))


class NeverGivesUp(Services):
    """Calls every end an end by itself."""

    def _enter(self, unit: Unit, state: str, now: float) -> None:
        super()._enter(unit, machine.EXITED if state == machine.FATAL else state, now)


# What is broken, the judge, and words of what the judge says.
PLANTED_IN_REQUESTS: tuple[tuple[type[Supervisor | Services], str, str], ...] = (
    (KillsTheNeighbours, "Requests", "are to be killed"),
    (KillsTheLeader, "Requests", "are to be killed"),
    (SignalsTheTree, "Requests", "is not sent to their main processes"),
    (TakesASignalForAStop, "Requests", "leads to something else"),
    (StopsNobody, "Requests", "goes on, which was asked to be down"),
    (RunsWhatIsDown, "Requests", "runs, which was asked to be down"),
    (EndsWithTheStopped, "Requests", "for no reason that counts"),
    (StopsAsNamed, "StopOrder", "is told to stop while"),
    (StartsAlone, "Conditions", "waits though its conditions hold"),
    (StopsInsteadOfRestarting, "Conditions", "waits though its conditions hold"),
    (RunsTheOld, "Reloads", "as it is no longer written"),
    (ForgetsTheScale, "Reloads", "replicas, and it should be"),
    (RemembersBackwards, "Histories", "is out of order"),
    (RemembersEverything, "Histories", "grows"),
    (ForgetsTheWish, "Histories", "does not begin with the wish"),
    (ForgetsThatItStops, "Histories", "the last entry of"),
    (RemembersNothing, "Histories", "no entry says how"),
    (NeverGivesUp, "Histories", "and it should be FATAL"),
)


# --- broken answers --------------------------------------------------------------------------------------


def never(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Leave everybody waiting."""
    return None


def well(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Say that all is well."""
    return Answer(0, "well")


def failed(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Say that all is lost."""
    return Answer(1, "lost")


def impatient(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Take no crash for an answer where one is."""
    return whether_ready(engine, names)


def late(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Have no answer once the container ends."""
    return whether_ended(engine, names) if engine.phase == UP else None


def of_another_code(engine: Supervisor, names: Sequence[str]) -> Answer | None:
    """Take every end for a good one."""
    answer = whether_ended(engine, names, by_itself=True)
    return answer and Answer(0, answer.text)


# The question, as in checkers_requests.KINDS, how it is answered, and words of what the judge Answers says.
BROKEN_ANSWERS: tuple[tuple[str, Callable[..., Answer | None], str], ...] = (
    ("ready", never, "are ready, and nobody says so"),
    ("started", impatient, "will not be ready, and nobody says so"),
    ("started", failed, "are said to have failed"),
    ("ready", well, "are said to be ready"),
    ("ready", well, "everything ends, and who waits"),
    ("down", never, "lives, and nobody says so"),
    ("down", never, "was asked for again, and nobody says so"),
    ("down", failed, "are said to have been started again"),
    ("down", well, "are said to have ended"),
    ("ended", of_another_code, "the answer says 0"),
    ("down", late, "nobody answers whether"),
)
