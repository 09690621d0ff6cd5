"""The judges of what somebody asks of single services, of the answers he gets, and of what is remembered for him."""

# ruff: noqa: ARG002, D102 - a judge's methods are described where they are declared; few use all they are told

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.api.conditions import started, whether_ended, whether_ready
from cohabit.engine import effects, events, machine
from sim.checker import EPSILON, SIGKILL, Checker

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.api.protocol import Answer
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.unit import Unit
    from sim.account import Account
    from sim.world import World


class Requests(Checker):
    """What was asked to be down stays down; a kill is for those who are named, a signal for their main processes."""

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        if not isinstance(fact, events.Requested) or self.ledger.ending_at is not None:
            return
        trees = [effect for effect in wanted if isinstance(effect, effects.SignalTree)]
        killed = [tree.service for tree in trees if tree.number == SIGKILL]
        if sorted(killed) != sorted(self.ledger.to_kill):
            self.fail(f"{fact.services} are to be killed, and it is {killed}")
        if fact.action != "signal":
            return
        told = [(effect.service, effect.number) for effect in wanted if isinstance(effect, effects.Signal)]
        if sorted(told) != [(name, fact.number) for name in sorted(self.ledger.to_signal)]:
            self.fail(f"a signal for {fact.services} is not sent to their main processes, each once: {told}")
        if len(told) != len(wanted):
            self.fail(f"a signal for {fact.services} leads to something else")

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, (effects.Spawn, effects.RunHook)) and self.ledger.begins_a_run(effect):
            account = self.ledger.accounts[effect.service.name]
            if account.down:
                self.fail(f"{account.name} runs, which was asked to be down")
        elif isinstance(effect, (effects.Sweep, effects.Exit)) and self.ledger.ending_at is None:
            self.fail("the container ends, for no reason that counts")

    def quiet(self, deadline: float | None, now: float) -> None:
        if self.ledger.ending_at is not None:
            return
        for account in self.ledger.accounts.values():
            if account.down and account.runs and not self.ledger.in_its_way(account.name):
                self.fail(f"{account.name} goes on, which was asked to be down")


# What can be asked of doors/states.py.
KINDS: dict[str, Callable[..., Answer | None]] = {
    "started": started,
    "ready": whether_ready,
    "down": whether_ended,
    "ended": lambda engine, names: whether_ended(engine, names, by_itself=True),
}
_SOME = 3  # who are waited for from the beginning
# What is asked about after which request: what the request itself waits for, or somebody beside it.
_AFTER: dict[str, tuple[str, ...]] = {
    "start": ("started",),
    "restart": ("started",),
    "stop": ("down",),
    "kill": ("down",),
    "signal": ("ready", "ended"),
}


class Answers(Checker):
    """Who waits for what he asked for is answered when it has come, or cannot come any more; and the answer is true."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._open: list[tuple[str, tuple[str, ...]]] = []  # what somebody waits for

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        if isinstance(fact, events.Requested) and self.ledger.plan is not None:
            names = tuple(name for name in fact.services if name in self.ledger.accounts)
            self._open += [(kind, names) for kind in _AFTER[fact.action] if names]
        elif isinstance(fact, events.Loaded) and not self._open:
            names = tuple(name for name, account in self.ledger.accounts.items() if account.waiting)
            self._open += [("ready", names[:_SOME]), ("ended", names[:1])]

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, effects.Exit):
            return
        for kind, names in self._open:
            if KINDS[kind](self.world.engine, names) is None:
                self.fail(f"the container ends, and nobody answers whether {names} are {kind}")

    def quiet(self, deadline: float | None, now: float) -> None:
        """One of them each time: what has come to rest is still there when its turn comes."""
        if not self._open:
            return
        kind, names = self._open.pop(0)
        answer = KINDS[kind](self.world.engine, names)
        if answer is None:
            self._open.append((kind, names))
        if kind in ("started", "ready"):
            self._start_is_judged(answer, names, patient=kind == "ready")
        else:
            self._end_is_judged(answer, names, by_itself=kind == "ended")

    # --- whether they are ready ----------------------------------------------------------------------

    def _start_is_judged(self, answer: Answer | None, names: tuple[str, ...], *, patient: bool) -> None:
        verdicts = {name: self._how_it_goes(name, patient=patient) for name in names}
        never = [name for name in names if verdicts[name] == "no"]
        if self.ledger.ending_at is not None:
            if answer is None or not answer.code:
                self.fail(f"everything ends, and who waits for {names} is told {answer}")
        elif answer is None:
            if never:
                self.fail(f"{never[0]} will not be ready, and nobody says so")
            if all(verdict == "yes" for verdict in verdicts.values()):
                self.fail(f"{names} are ready, and nobody says so")
        elif answer.code and not never and "either" not in verdicts.values():
            self.fail(f"{verdicts} are said to have failed: {answer.text}")
        elif not answer.code and not {"yes", "either"}.issuperset(verdicts.values()):
            self.fail(f"{verdicts} are said to be ready: {answer.text}")

    def _how_it_goes(self, name: str, *, patient: bool) -> str:
        """yes: it is ready, or has done its work; no: it will not be, by itself; soon: it is on its way."""
        account = self.ledger.accounts.get(name)
        if account is None:
            return "no"
        if not account.fresh and (account.ready or (account.over and account.done_well)):
            return "yes"
        at_rest = not (account.busy or account.waiting or account.restart_at)
        if account.service.schedule is not None and at_rest and not account.fresh:
            if account.down:
                return "either"  # whether it was stopped or has done its work before makes no difference here
            return "yes" if account.done_well else "no"
        being_ended = account.asked_at is not None or account.left_others
        if account.fresh or (account.busy and being_ended):
            return "soon"
        unwell = account.wellness is not None and account.wellness.unwell
        failed = account.over or account.down or (account.waiting and self._held_up(account))
        crashed = account.restart_at is not None or (account.runs and unwell)
        return "no" if failed or (crashed and not patient) else "soon"

    def _held_up(self, account: Account) -> bool:
        """Whether it waits, in the end, for somebody who is down by request."""
        for need in account.service.depends_on:
            other = self.ledger.accounts[need.service]
            if other.fresh or other.meets(need):
                continue
            if other.down and not other.busy and other.service.schedule is None:
                return True
            if other.waiting and self._held_up(other):
                return True
        return False

    # --- whether they have ended ---------------------------------------------------------------------

    def _end_is_judged(self, answer: Answer | None, names: tuple[str, ...], *, by_itself: bool) -> None:
        accounts = [self.ledger.accounts[name] for name in names if name in self.ledger.accounts]
        busy = [account.name for account in accounts if account.busy or self.world.kernel.members(account.name)]
        going_on = [a.name for a in accounts if a.waiting or a.fresh or a.restart_at is not None]
        if self.ledger.ending_at is not None:
            going_on = []
        wanted_again = [a.name for a in accounts if not (a.down or a.gone or a.over)]
        if answer is None:
            if not busy and not going_on:
                self.fail(f"nothing of {names} lives, and nobody says so")
            for_good = [name for name in wanted_again if self.ledger.accounts[name].newest.schedule is None]
            if for_good and not by_itself and self.ledger.ending_at is None:
                self.fail(f"{for_good[0]} was asked for again, and nobody says so")
            return
        if answer.code and not by_itself:
            if not wanted_again:
                self.fail(f"{names} are said to have been started again: {answer.text}")
        elif busy or going_on:
            self.fail(f"{busy or going_on} are said to have ended: {answer.text}")
        elif by_itself and len(accounts) == 1 and accounts[0].over and answer.code != accounts[0].code:
            self.fail(f"{names} ended with {accounts[0].code}, the answer says {answer.code}")


class Histories(Checker):
    """What is remembered of a service is what happened: in its order, not too much, and to its latest state."""

    _KEPT = 32

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._concerned: set[str] = set()  # who may be another one than when process 1 last slept

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        self._concerned.update(entry[0] for entry in self.world.engine.services.transitions)
        if isinstance(fact, events.Requested):
            self._concerned.update(fact.services)
        else:
            self._concerned.add(getattr(fact, "service", ""))

    def _in_order(self, unit: Unit, now: float) -> None:
        for what, moments in (
            ("history", [entry[0] for entry in unit.history]),
            ("timeline", [entry[0] for entry in unit.timeline]),
        ):
            if moments != sorted(moments) or (moments and moments[-1] > now + EPSILON):
                self.fail(f"the {what} of {unit.name} is out of order: {moments}")
            if len(moments) > self._KEPT:
                self.fail(f"the {what} of {unit.name} grows: {len(moments)} entries")
        if unit.timeline and unit.timeline[0][1] != "wanted":
            self.fail(f"the timeline of {unit.name} does not begin with the wish")

    def quiet(self, deadline: float | None, now: float) -> None:
        for name in sorted(self._concerned & self.ledger.accounts.keys()):
            unit = self.world.engine.units[name]
            self._in_order(unit, now)
            for moment, state, _, _ in reversed(unit.history):
                if state in machine.TABLE:
                    self._is_true(self.ledger.accounts[name], state)
                    if state != unit.state or moment != unit.since:
                        self.fail(f"the last entry of {name} is {state} at {moment}, it is {unit.state}")
                    break
            else:
                if unit.state != machine.STOPPED and len(unit.history) < self._KEPT:
                    self.fail(f"no entry says how {name} came to be {unit.state}")
        self._concerned.clear()

    def _is_true(self, account: Account, state: str) -> None:
        right: tuple[str, ...] = ("STOPPED",)
        if account.busy and (account.asked_at is not None or account.orphans):
            right = ("STOPPING",)
        elif account.busy:
            right = ("RUNNING",) if account.living else ("STARTING", "STOPPING")
        elif account.restart_at is not None:
            right = ("BACKOFF",)
        elif account.over:
            right = ("FATAL",) if account.given_up else ("EXITED",)
        elif account.service.schedule is not None:
            right = ("STOPPED", "EXITED", "FATAL")
        if self.ledger.ending_at is None and state not in right:
            self.fail(f"the last entry of {account.name} is {state}, and it should be {' or '.join(right)}")


CHECKERS_OF_REQUESTS: tuple[type[Checker], ...] = (Requests, Answers, Histories)
