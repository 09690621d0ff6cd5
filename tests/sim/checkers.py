"""The judges. Each watches one rule of life from outside the engine, and can fail on its own.

A judge sees the facts, the effects, the deadline, what is true in the world (world.kernel) and what must
follow (world.ledger); never the engine's state. It raises Violation with a sentence. tests/sim/planted.py
has a broken engine for each one: a judge that cannot fail is a defect.
"""

# ruff: noqa: ARG002, D102 - a judge's methods are described where they are declared; few use all they are told

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from cohabit.units import describe_exit

if TYPE_CHECKING:
    from collections.abc import Collection

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.supervisor import Supervisor
    from sim.ledger import Account
    from sim.world import World

SIGKILL = 9
KILL_PATIENCE_SECONDS = 2.0
_EPSILON = 1e-6


class Violation(Exception):  # noqa: N818 - the field's word
    """A rule of life was broken: which judge says so, and how."""

    def __init__(self, checker: str, text: str) -> None:
        super().__init__(f"{checker}: {text}")
        self.checker = checker


class Checker:
    """A judge. What it does not care about it inherits."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger = world.ledger

    def fail(self, text: str) -> None:
        """Say what is wrong."""
        raise Violation(type(self).__name__, text)

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        """The engine took a fact and wants these effects; none was carried out yet, the ledger knows the fact."""

    def effect(self, effect: Effect, now: float) -> None:
        """An effect is about to be carried out."""

    def quiet(self, deadline: float | None, now: float) -> None:
        """No fact is left; process 1 goes to sleep until the deadline or a fact."""

    def reexecuted(self, before: Supervisor, after: Supervisor) -> None:
        """Another engine took over."""


class OneLeader(Checker):
    """Never two leaders of one service."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Spawn) and (
            effect.service.name in self.world.leaders or self.ledger.accounts[effect.service.name].pending
        ):
            self.fail(f"{effect.service.name} is started while its leader lives")


class CleanStart(Checker):
    """Nothing of a service lives when it is started again."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Spawn):
            left = self.world.kernel.members(effect.service.name)
            if left:
                self.fail(f"{effect.service.name} is started while pid {left[0].pid} of its last run lives")


class Conditions(Checker):
    """A service starts when its conditions hold: never before, and at once."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Spawn):
            account = self.ledger.accounts[effect.service.name]
            if not account.spawns and not self._may_start(account):
                self.fail(f"{effect.service.name} is started before its conditions hold")

    def quiet(self, deadline: float | None, now: float) -> None:
        if self.ledger.ending_at is None:
            for account in self.ledger.accounts.values():
                if account.waiting and self._may_start(account):
                    self.fail(f"{account.service.name} waits though its conditions hold")

    def _may_start(self, account: Account) -> bool:
        accounts = self.ledger.accounts
        return all(accounts[dependency.service].meets(dependency) for dependency in account.service.depends_on)


class Restarts(Checker):
    """What ended is started again if its policy says so, after its delay; nothing is once the end has begun."""

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, effects.Spawn):
            return
        account = self.ledger.accounts[effect.service.name]
        # When one end lets this one start and refuses that one, and that one is essential, the order of the
        # two within the step is the engine's choice: what was started is told to stop at once (StopOrder).
        if self.ledger.ending_at is not None and not self.ledger.refused:
            self.fail(f"{effect.service.name} is started though everything ends")
        if account.over:
            self.fail(f"{effect.service.name} is started though it is over for good")
        if account.spawns and (account.restart_at is None or now < account.restart_at - _EPSILON):
            self.fail(f"{effect.service.name} is started again at {now:.3f}, due at {account.restart_at}")

    def quiet(self, deadline: float | None, now: float) -> None:
        if self.ledger.ending_at is None:
            for account in self.ledger.accounts.values():
                if account.restart_at is not None and (deadline is None or deadline > account.restart_at + _EPSILON):
                    self.fail(f"{account.service.name} is due again at {account.restart_at:.3f}, nobody will wake")


class StopOrder(Checker):
    """At the end a service is told to stop when nobody who depends on it runs any more: then, and at once."""

    def effect(self, effect: Effect, now: float) -> None:
        if self.ledger.ending_at is None or not isinstance(effect, (effects.Signal, effects.SignalTree)):
            return
        account = self.ledger.accounts[effect.service]
        if account.orphans:
            return  # its leader is gone: nobody can lean on what it left behind
        all_at = self.ledger.kill_all_at
        late = all_at is not None and now >= all_at - _EPSILON
        if account.asked_at is None and not late:
            if effect.number != account.service.stop_signal or not isinstance(effect, effects.Signal):
                self.fail(f"{effect.service} is not told to stop by its own stop_signal")
            for other in self.ledger.dependents(effect.service):
                if other.busy:
                    self.fail(f"{effect.service} is told to stop while {other.service.name} still runs")

    def quiet(self, deadline: float | None, now: float) -> None:
        if self.ledger.ending_at is None:
            return
        for name, account in self.ledger.accounts.items():
            overlooked = account.busy and account.asked_at is None
            if overlooked and not any(other.busy for other in self.ledger.dependents(name)):
                self.fail(f"nobody told {name} to stop, though nobody depends on it any more")


class Graces(Checker):
    """SIGKILL comes when a grace is used up (its own, the total, a second signal): not before, and then."""

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, (effects.SignalTree, effects.Sweep)) or effect.number != SIGKILL:
            return
        all_at = self.ledger.kill_all_at
        if all_at is not None and now >= all_at - _EPSILON:
            return
        if isinstance(effect, effects.Sweep):
            self.fail("everybody is killed before the total is used up")
        else:
            account = self.ledger.accounts[effect.service]
            due = account.kill_due
            if account.killed_at is None and (due is None or now < due - _EPSILON):
                self.fail(f"{effect.service} is killed at {now:.3f}, its grace lasts until {due}")

    def quiet(self, deadline: float | None, now: float) -> None:
        for account in self.ledger.accounts.values():
            due = account.kill_due
            if due is not None and (deadline is None or deadline > due + _EPSILON):
                self.fail(f"the grace of {account.service.name} ends at {due:.3f}, nobody will wake")


class Total(Checker):
    """The end is there within the total, or a last patience after it."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Exit):
            self._in_time(now)

    def quiet(self, deadline: float | None, now: float) -> None:
        self._in_time(now)
        if self.ledger.ending_at is not None and deadline is None:
            self.fail("everything ends and nobody watches the clock")

    def _in_time(self, now: float) -> None:
        all_at = self.ledger.kill_all_at
        if all_at is not None and now > all_at + KILL_PATIENCE_SECONDS + self.world.late_seconds + _EPSILON:
            self.fail(f"still not ended at {now:.3f}; the total was used up at {all_at:.3f}")


class Sweeping(Checker):
    """Whoever is left is swept, asked first, when no service runs; Exit comes after that or after SIGKILL to all."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Sweep):
            busy = [name for name, account in self.ledger.accounts.items() if account.busy]
            if busy and not self._patience_is_over(now):
                self.fail(f"everybody is swept while {busy[0]} still has its own stop")
        elif isinstance(effect, effects.Exit):
            swept = self.ledger.swept or not self.ledger.accounts
            if not swept and not self._patience_is_over(now):
                self.fail("the end comes before anybody was swept or had the time to die")

    def _patience_is_over(self, now: float) -> bool:
        all_at = self.ledger.kill_all_at
        return all_at is not None and now >= all_at + KILL_PATIENCE_SECONDS - _EPSILON


class NobodyLeft(Checker):
    """At the Exit nobody lives who was not sent SIGKILL."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Exit):
            for process in self.world.kernel.living.values():
                if not process.killed:
                    self.fail(f"pid {process.pid} of {process.service or 'nobody'} is left behind")


class ExitCode(Checker):
    """The container's code is the first cause's own, computed here from the history; the word names it."""

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, effects.Exit):
            return
        if effect.code != self.ledger.exit_code:
            self.fail(f"exit code {effect.code}, and the right one is {self.ledger.exit_code}")
        if self.ledger.cause and self.ledger.cause not in effect.word and effect.code:
            self.fail(f"the last word does not name {self.ledger.cause}: {effect.word!r}")
        if effect.culprit and not self.ledger.accounts[effect.culprit].spawns:
            self.fail(f"the culprit {effect.culprit} never ran, its output explains nothing")


class Reasons(Checker):
    """Every end of a run, every refusal and every killing is told, with its reason."""

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        reports = [effect for effect in wanted if isinstance(effect, effects.Report)]
        ended = self.ledger.ended
        if ended is not None:
            why = fact.why if isinstance(fact, events.SpawnFailed) else describe_exit(ended.code)
            self._told(reports, ended.service.name, (why,))
        # Once the end has begun nobody is refused any more: in which order, is the engine's choice.
        for account in self.ledger.refused if self.ledger.ending_at is None else ():
            self._told(reports, account.service.name, self.ledger.lost(account))
        warnings = [report for report in reports if report.level == "warning"]
        for effect in wanted:
            if not isinstance(effect, effects.SignalTree) or effect.number != SIGKILL:
                continue
            if self.ledger.accounts[effect.service].killed_at is None:
                self._told(warnings, "", (effect.service,))

    def _told(self, reports: list[effects.Report], service: str, reasons: Collection[str]) -> None:
        for report in reports:
            text = f"{report.service}: {report.text}"
            if service in ("", report.service) and any(why in text for why in reasons):
                return
        self.fail(f"no report says {' or '.join(reasons)!r} about {service or 'it'}")


class Probes(Checker):
    """Exactly those are asked whether they are ready who run, have a probe and are not ready yet."""

    def quiet(self, deadline: float | None, now: float) -> None:
        for name, account in self.ledger.accounts.items():
            waits = account.living and account.service.probe is not None and not account.ready
            if (waits and account.asked_at is None) != (name in self.world.probing):
                self.fail(f"{name} is {'' if name in self.world.probing else 'not '}asked whether it is ready")


class Forgotten(Checker):
    """Nobody is forgotten: without a deadline, some fact must be able to come by itself."""

    def quiet(self, deadline: float | None, now: float) -> None:
        if deadline is None and not self.world.loading and not self.world.kernel.living:
            self.fail("no deadline, nobody lives, and no end: only a stop signal could change anything")


class BusyLoop(Checker):
    """Process 1 does not spin: at one instant the deadline comes only so often."""

    _AT_MOST = 12

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._instant = 0.0
        self._dues = 0

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        if not isinstance(fact, events.Due):
            return
        if now != self._instant:
            self._instant, self._dues = now, 0
        self._dues += 1
        if self._dues > self._AT_MOST:
            self.fail(f"the deadline came {self._dues} times at {now:.3f}")


class Continuity(Checker):
    """Who takes over after a re-execution knows all that was known before."""

    def reexecuted(self, before: Supervisor, after: Supervisor) -> None:
        if before.to_plain() != after.to_plain():
            self.fail("the state after the re-execution differs")
        if before.deadline() != after.deadline():
            self.fail(f"the deadline was {before.deadline()}, now it is {after.deadline()}")


CHECKERS: tuple[type[Checker], ...] = (
    OneLeader,
    CleanStart,
    Conditions,
    Restarts,
    StopOrder,
    Graces,
    Total,
    Sweeping,
    NobodyLeft,
    ExitCode,
    Reasons,
    Probes,
    Forgotten,
    BusyLoop,
    Continuity,
)
