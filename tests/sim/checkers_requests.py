"""The checkers of requests about single services, of the answers to them, and of what is recorded."""

# ruff: noqa: ARG002, D102 - class Checker describes the methods; few of them use all their arguments

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.api.conditions import affected, started, whether_ended, whether_ready
from cohabit.engine import effects, events, machine
from cohabit.engine.container import DONE
from sim.checker import EPSILON, SIGKILL, Checker

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.api.protocol import Answer
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.unit import Unit
    from sim.service_state import ServiceState
    from sim.world import World


class Requests(Checker):
    """A stopped service stays down. A kill goes to the named trees, a signal to the named main processes.

    A pause ends with the stop.
    """

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        if not isinstance(event, events.Requested) or self.model.ending_at is not None:
            return
        trees = [effect for effect in result if isinstance(effect, effects.SignalTree)]
        killed = [tree.service for tree in trees if tree.number == SIGKILL]
        if sorted(killed) != sorted(self.model.to_kill):
            self.fail(f"{event.services} are to be killed, and {killed} are")
        if event.action != "signal":
            return
        sent = [(effect.service, effect.number) for effect in result if isinstance(effect, effects.Signal)]
        if sorted(sent) != [(name, event.number) for name in sorted(self.model.to_signal)]:
            self.fail(f"a signal for {event.services} is not sent to their main processes, each once: {sent}")
        if len(sent) != len(result):
            self.fail(f"a signal for {event.services} leads to something else")

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, (effects.Spawn, effects.RunHook)) and self.model.begins_a_run(effect):
            state = self.model.states[effect.service.name]
            if state.down:
                self.fail(f"{state.name} is started, though it was stopped by request")
        elif isinstance(effect, (effects.Sweep, effects.Exit)) and self.model.ending_at is None:
            self.fail("the container ends without a valid reason")

    def idle(self, deadline: float | None, now: float) -> None:
        for name in self.world.kernel.paused:
            if self.world.kernel.members(name) and not self.model.states[name].paused:
                self.fail(f"{name} is still paused")
        if self.model.ending_at is not None:
            return
        for state in self.model.states.values():
            if state.down and state.running and not self.model.blockers_of_stop(state.name):
                self.fail(f"{state.name} still runs, though a stop was requested")


# What a client can wait for: the functions of api/conditions.py.
KINDS: dict[str, Callable[..., Answer | None]] = {
    "started": started,
    "ready": whether_ready,
    "down": whether_ended,
    "ended": lambda engine, names: whether_ended(engine, names, by_itself=True),
}
_SOME = 3  # services that are waited for from the beginning
# What is waited for after a request: by its own client, or by another one.
_AFTER: dict[str, tuple[str, ...]] = {
    "start": ("started",),
    "restart": ("started",),
    "stop": ("down",),
    "kill": ("down",),
    "signal": ("ready", "ended"),
    "pause": ("ready", "ended"),
    "unpause": ("ready", "ended"),
}


class Answers(Checker):
    """A waiting client is answered when the state is reached or cannot be reached, and the answer is true."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._open: list[tuple[str, tuple[str, ...]]] = []  # what clients wait for
        self._unanswered: list[tuple[str, tuple[str, ...]]] = []  # those of them without an answer yet

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        self._check_affected(event)
        if isinstance(event, events.Requested) and self.model.plan is not None:
            names = tuple(name for name in event.services if name in self.model.states)
            self._open += [(kind, names) for kind in _AFTER[event.action] if names]
        elif isinstance(event, events.Loaded) and not self._open:
            names = tuple(name for name, state in self.model.states.items() if state.waiting)
            self._open += [("ready", names[:_SOME]), ("ended", names[:1])]

    def _check_affected(self, event: Event) -> None:
        """What answers a client also causes its evaluation. At the end of the container, all are evaluated."""
        engine = self.world.engine
        services = affected(engine)
        waiting = {
            (kind, names) for kind, names in {*self._unanswered, *self._open} if KINDS[kind](engine, names) is None
        }
        for kind, names in self._unanswered:
            concerned = services is None or not services.isdisjoint(names)
            if not concerned and engine.phase != DONE and (kind, names) not in waiting:
                self.fail(f"{event} answers the client that waits for {names} to be {kind}, which is not evaluated")
        self._unanswered = [waiter for waiter in self._open if waiter in waiting]

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, effects.Exit):
            return
        for kind, names in self._open:
            if KINDS[kind](self.world.engine, names) is None:
                self.fail(f"the container ends, and the client that waits for {names} to be {kind} gets no answer")

    def idle(self, deadline: float | None, now: float) -> None:
        """Check one of them at a time. A state at rest does not change before its turn."""
        if not self._open:
            return
        kind, names = self._open.pop(0)
        answer = KINDS[kind](self.world.engine, names)
        if answer is None:
            self._open.append((kind, names))
        if kind in ("started", "ready"):
            self._check_start(answer, names, until_ready=kind == "ready")
        else:
            self._check_end(answer, names, by_itself=kind == "ended")

    # --- ready ---------------------------------------------------------------------------------------

    def _check_start(self, answer: Answer | None, names: tuple[str, ...], *, until_ready: bool) -> None:
        verdicts = {name: self._start_verdict(name, until_ready=until_ready) for name in names}
        never = [name for name in names if verdicts[name] == "no"]
        if self.model.ending_at is not None:
            if answer is None or not answer.code:
                self.fail(f"the container stops, and the client that waits for {names} gets {answer}")
        elif answer is None:
            if never:
                self.fail(f"{never[0]} will not be ready, and there is no answer")
            if all(verdict == "yes" for verdict in verdicts.values()):
                self.fail(f"{names} are ready, and there is no answer")
        elif answer.code and not never and "either" not in verdicts.values():
            self.fail(f"{verdicts} did not fail, and the answer is a failure: {answer.text}")
        elif not answer.code and not {"yes", "either"}.issuperset(verdicts.values()):
            self.fail(f"{verdicts} are not ready, and the answer says that they are: {answer.text}")

    def _start_verdict(self, name: str, *, until_ready: bool) -> str:
        """yes: ready or completed; no: it will not be without a request; soon: it can still be; either: any answer."""
        state = self.model.states.get(name)
        if state is None:
            return "no"
        if not state.restart_pending and (state.ready or (state.ended and state.succeeded)):
            return "yes"
        at_rest = not (state.active or state.waiting or state.restart_at)
        if state.service.schedule is not None and at_rest and not state.restart_pending:
            if state.down:
                return "either"  # stopped by request, with or without a completed run before
            return "yes" if state.succeeded else "no"
        being_ended = state.stop_requested_at is not None or state.has_leftovers
        if state.restart_pending or (state.active and being_ended):
            return "soon"
        unwell = state.health is not None and state.health.unhealthy
        failed = state.ended or state.down or (state.waiting and self._waits_for_stopped(state))
        crashed = state.restart_at is not None or (state.running and unwell)
        return "no" if failed or (crashed and not until_ready) else "soon"

    def _waits_for_stopped(self, state: ServiceState) -> bool:
        """Whether it waits, directly or not, for a service that was stopped by request."""
        for need in state.service.depends_on:
            other = self.model.states[need.service]
            if other.restart_pending or other.satisfies(need):
                continue
            if other.down and not other.active and other.service.schedule is None:
                return True
            if other.waiting and self._waits_for_stopped(other):
                return True
        return False

    # --- ended ---------------------------------------------------------------------------------------

    def _check_end(self, answer: Answer | None, names: tuple[str, ...], *, by_itself: bool) -> None:
        states = [self.model.states[name] for name in names if name in self.model.states]
        busy = [state.name for state in states if state.active or self.world.kernel.members(state.name)]
        continuing = [a.name for a in states if a.waiting or a.restart_pending or a.restart_at is not None]
        if self.model.ending_at is not None:
            continuing = []
        requested_again = [a.name for a in states if not (a.down or a.removed or a.ended)]
        if answer is None:
            if not busy and not continuing:
                self.fail(f"{names} have ended, and there is no answer")
            for_good = [name for name in requested_again if self.model.states[name].newest.schedule is None]
            if for_good and not by_itself and self.model.ending_at is None:
                self.fail(f"{for_good[0]} was requested again, and there is no answer")
            return
        if answer.code and not by_itself:
            if not requested_again:
                self.fail(f"{names} were not started again, and the answer says that they were: {answer.text}")
        elif busy or continuing:
            self.fail(f"{busy or continuing} have not ended, and the answer says that they have: {answer.text}")
        elif by_itself and len(states) == 1 and states[0].ended and answer.code != _code_of(states[0]):
            self.fail(f"{names} ended with {_code_of(states[0])}, the answer says {answer.code}")


def _code_of(state: ServiceState) -> int:
    """What `wait` answers when it has ended."""
    return state.code or 1 if state.failure else 0


_VERDICTS = {machine.STOPPED, machine.BACKOFF, machine.EXITED, machine.FATAL}


def _next_states(state: str) -> set[str]:
    cells = set(machine.TABLE[state].values())
    return (cells | _VERDICTS if machine.VERDICT in cells else cells) & set(machine.STATES)


class Transitions(Checker):
    """Each transition begins where the last one of its service ended, follows from the table, and is counted once."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._states: dict[str, str] = {}
        self._starts: dict[str, int] = {}
        self._changed: set[str] = set()  # services with a change of their state since the last idle moment

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        for each in self.world.engine.services.transitions:
            name, before = each.service, self._states.get(each.service, machine.STOPPED)
            if name and each.before != before:
                self.fail(f"{name} changes from {each.before}, and it was {before}")
            if name and each.after != before:
                if each.after not in _next_states(before):
                    self.fail(f"{each.after} of {name} cannot follow {before}")
                self._states[name] = each.after
                self._changed.add(name)
                ran = before == machine.STARTING and each.pid != 0
                self._starts[name] = self._starts.get(name, 0) + ran
        for effect in result:
            if isinstance(effect, effects.Forget):
                self._states.pop(effect.service, None)
                self._starts.pop(effect.service, None)

    def idle(self, deadline: float | None, now: float) -> None:
        for name in sorted(self._changed & self._starts.keys()):
            counted = self.world.engine.units[name].history.starts
            if counted != self._starts[name]:
                self.fail(f"{counted} starts of {name} are counted, and it had {self._starts[name]}")
        self._changed.clear()


class Histories(Checker):
    """The history of a service is in order, has at most 32 entries, and ends with the current state."""

    _ENTRIES_MAX = 32

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._changed: set[str] = set()  # services that may have changed since the last idle moment

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        self._changed.update(each.service for each in self.world.engine.services.transitions)
        if isinstance(event, events.Requested):
            self._changed.update(event.services)
        else:
            self._changed.add(getattr(event, "service", ""))

    def _in_order(self, unit: Unit, now: float) -> None:
        for what, moments in (
            ("history", [entry[0] for entry in unit.history.entries]),
            ("timeline", [entry[0] for entry in unit.history.timeline]),
        ):
            if moments != sorted(moments) or (moments and moments[-1] > now + EPSILON):
                self.fail(f"the {what} of {unit.name} is out of order: {moments}")
            if len(moments) > self._ENTRIES_MAX:
                self.fail(f"the {what} of {unit.name} grows: {len(moments)} entries")
        if unit.history.timeline and unit.history.timeline[0][1] != "wanted":
            self.fail(f"the timeline of {unit.name} does not begin with the request")

    def idle(self, deadline: float | None, now: float) -> None:
        for name in sorted(self._changed & self.model.states.keys()):
            unit = self.world.engine.units[name]
            self._in_order(unit, now)
            for moment, recorded, *_ in reversed(unit.history.entries):
                if recorded in machine.TABLE:
                    self._check_state(self.model.states[name], recorded)
                    if recorded != unit.state or moment != unit.history.since:
                        self.fail(f"the last entry of {name} is {recorded} at {moment}, it is {unit.state}")
                    break
            else:
                if unit.state != machine.STOPPED and len(unit.history.entries) < self._ENTRIES_MAX:
                    self.fail(f"no entry says how {name} came to be {unit.state}")
        self._changed.clear()

    def _check_state(self, state: ServiceState, recorded: str) -> None:
        right: tuple[str, ...] = ("STOPPED",)
        if state.active and (state.stop_requested_at is not None or state.orphans):
            right = ("STOPPING",)
        elif state.active:
            under_way = "RUNNING" if state.startup_at is None else "STARTING"
            right = (under_way,) if state.main_alive else ("STARTING", "STOPPING")
        elif state.restart_at is not None:
            right = ("BACKOFF",)
        elif state.ended:
            right = ("FATAL",) if state.given_up else ("EXITED",)
        elif state.service.schedule is not None:
            right = ("STOPPED", "EXITED", "FATAL")
        if self.model.ending_at is None and recorded not in right:
            self.fail(f"the last entry of {state.name} is {recorded}, and it should be {' or '.join(right)}")


REQUEST_CHECKERS: tuple[type[Checker], ...] = (Requests, Answers, Transitions, Histories)
