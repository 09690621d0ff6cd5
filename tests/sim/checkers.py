"""The judges of how services start and stop, and of how the container ends. Two more files have the others."""

# ruff: noqa: ARG002, D102 - a judge's methods are described where they are declared; few use all they are told

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from sim.checker import EPSILON, KILL_PATIENCE_SECONDS, SIGKILL, Checker
from sim.checkers_lifecycle import CHECKERS_OF_LIFE
from sim.checkers_requests import CHECKERS_OF_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Collection

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.supervisor import Supervisor
    from sim.account import Account
    from sim.world import World


class OneLeader(Checker):
    """Never two leaders of one service."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Spawn) and (
            effect.service.name in self.world.reactor.mains or self.ledger.accounts[effect.service.name].pending
        ):
            self.fail(f"{effect.service.name} is started while its leader lives")


class CleanStart(Checker):
    """Nothing of a service lives when it is started again."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, (effects.Spawn, effects.RunHook)) and self.ledger.begins_a_run(effect):
            left = self.world.kernel.members(effect.service.name)
            if left:
                self.fail(f"{effect.service.name} is started while pid {left[0].pid} of its last run lives")


class Conditions(Checker):
    """A service starts when its conditions hold: never before, and at once."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, (effects.Spawn, effects.RunHook)) and self.ledger.begins_a_run(effect):
            account = self.ledger.accounts[effect.service.name]
            if account.waiting and not self.ledger.may_start(account):
                self.fail(f"{effect.service.name} is started before its conditions hold")

    def quiet(self, deadline: float | None, now: float) -> None:
        if self.ledger.ending_at is None:
            for account in self.ledger.accounts.values():
                if account.waiting and self.ledger.may_start(account):
                    self.fail(f"{account.name} waits though its conditions hold")


class Restarts(Checker):
    """What ended is started again if its policy says so, after its delay; nothing is once the end has begun."""

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, (effects.Spawn, effects.RunHook)):
            return
        account = self.ledger.accounts[effect.service.name]
        # When one fact lets this one start and refuses or sickens that one, with which everything ends, the order
        # of the two within the step is the engine's choice: what was started is told to stop at once (StopOrder).
        upwards = not isinstance(effect, effects.RunHook) or effect.stage == "pre_start"
        tie = self.ledger.refused or self.ledger.sickened
        if upwards and self.ledger.ending_at is not None and not tie:
            self.fail(f"{effect.service.name} is started though everything ends")
        if account.over:
            self.fail(f"{effect.service.name} is started though it is over for good")
        if not self.ledger.begins_a_run(effect) or account.waiting:
            return
        if account.restart_at is None or now < account.restart_at - EPSILON:
            self.fail(f"{effect.service.name} is started again at {now:.3f}, due at {account.restart_at}")

    def quiet(self, deadline: float | None, now: float) -> None:
        if self.ledger.ending_at is None:
            for account in self.ledger.accounts.values():
                if account.restart_at is not None and (deadline is None or deadline > account.restart_at + EPSILON):
                    self.fail(f"{account.name} is due again at {account.restart_at:.3f}, nobody will wake")


class StopOrder(Checker):
    """A service that goes down is told to stop when nobody who depends on it and goes down runs: then, and at once.

    One that is no good any more (unhealthy, a hook failed) is told at once; nobody else is ever told.
    """

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        if not isinstance(fact, events.Daemonised):
            return
        account = self.ledger.accounts[fact.service]
        told = effects.Signal(account.name, account.service.stop_signal) in wanted
        if account.signalled and account.killed_at is None and not account.hook and not told:
            self.fail(f"{account.name} is another process now, which nobody told to stop")

    def effect(self, effect: Effect, now: float) -> None:
        account = self._stopped(effect)
        if account is None or account.left_others:
            return  # its leader is gone: nobody can lean on what it left behind
        all_at = self.ledger.kill_all_at
        if account.asked_at is not None or (all_at is not None and now >= all_at - EPSILON):
            return
        if isinstance(effect, effects.SignalTree) or (
            isinstance(effect, effects.Signal) and effect.number != account.service.stop_signal
        ):
            self.fail(f"{account.name} is not told to stop by its own stop_signal")
        if account.no_good:
            return
        if not self.ledger.goes_down(account):
            self.fail(f"{account.name} is told to stop, and nobody wants that")
        for other in self.ledger.in_its_way(account.name):
            # When one reload replaces this one and refuses that one, with which everything ends, it is a tie as well.
            tie = self.ledger.refused and (account.fresh or account.gone) and not (other.fresh or other.gone)
            if not tie:
                self.fail(f"{account.name} is told to stop while {other.name} still runs")

    def _stopped(self, effect: Effect) -> Account | None:
        """Whom it tells to stop, unless somebody asked for just that signal."""
        asked_for = (*self.ledger.to_signal, *self.ledger.to_kill)
        match effect:
            case effects.Signal(name) | effects.SignalTree(name) if name not in asked_for:
                return self.ledger.accounts[name]
            case effects.RunHook(service, "pre_stop"):
                return self.ledger.accounts[service.name]
        return None

    def quiet(self, deadline: float | None, now: float) -> None:
        for name, account in self.ledger.accounts.items():
            if not account.busy or account.asked_at is not None:
                continue
            if account.no_good or account.orphans:
                self.fail(f"nobody told {name} to stop, though it is no good any more")
            if self.ledger.goes_down(account) and not self.ledger.in_its_way(name):
                self.fail(f"nobody told {name} to stop, though nobody depends on it any more")


class Graces(Checker):
    """SIGKILL comes when a grace is used up (its own, the total, a second signal): not before, and then."""

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, (effects.SignalTree, effects.Sweep)) or effect.number != SIGKILL:
            return
        all_at = self.ledger.kill_all_at
        if all_at is not None and now >= all_at - EPSILON:
            return
        if isinstance(effect, effects.SignalTree) and effect.service in self.ledger.to_kill:
            return
        if isinstance(effect, effects.Sweep):
            self.fail("everybody is killed before the total is used up")
        else:
            account = self.ledger.accounts[effect.service]
            due = account.kill_due
            if account.killed_at is None and (due is None or now < due - EPSILON):
                self.fail(f"{effect.service} is killed at {now:.3f}, its grace lasts until {due}")

    def quiet(self, deadline: float | None, now: float) -> None:
        for account in self.ledger.accounts.values():
            due = account.kill_due
            if due is not None and (deadline is None or deadline > due + EPSILON):
                self.fail(f"the grace of {account.name} ends at {due:.3f}, nobody will wake")


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
        if all_at is not None and now > all_at + KILL_PATIENCE_SECONDS + self.world.late_seconds + EPSILON:
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
        return all_at is not None and now >= all_at + KILL_PATIENCE_SECONDS - EPSILON


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
        right = self.ledger.exit_codes
        if effect.code not in right:
            self.fail(f"exit code {effect.code}, and the right one is {' or '.join(map(str, sorted(right)))}")
        if self.ledger.cause and self.ledger.cause not in effect.reason and effect.code:
            self.fail(f"the last word does not name {self.ledger.cause}: {effect.reason!r}")
        culprit = self.ledger.accounts.get(effect.cause)
        if culprit is not None and not culprit.ever and self.ledger.lost(culprit):
            self.fail(f"the culprit {effect.cause} never ran, its output explains nothing")


class Reasons(Checker):
    """Every end of a run, every refusal and every killing is told, with its reason."""

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        reports = [effect for effect in wanted if isinstance(effect, effects.Report)]
        ended = self.ledger.ended
        if ended is not None:
            self._told(reports, ended.name, (self.ledger.reason,))
        # Once the end has begun nobody is refused any more: in which order, is the engine's choice.
        for account in self.ledger.refused if self.ledger.ending_at is None else ():
            self._told(reports, account.name, self.ledger.lost(account))
        warnings = [report for report in reports if report.level == "warning"]
        for effect in wanted:
            if not isinstance(effect, effects.SignalTree) or effect.number != SIGKILL:
                continue
            if self.ledger.accounts[effect.service].killed_at is None and effect.service not in self.ledger.to_kill:
                self._told(warnings, "", (effect.service,))

    def _told(self, reports: list[effects.Report], service: str, reasons: Collection[str]) -> None:
        for report in reports:
            text = f"{report.service}: {report.text}"
            if service in ("", report.service) and any(why in text for why in reasons):
                return
        self.fail(f"no report says {' or '.join(reasons)!r} about {service or 'it'}")


class Forgotten(Checker):
    """Nobody is forgotten: without a deadline, some fact must be able to come by itself."""

    def quiet(self, deadline: float | None, now: float) -> None:
        comes = self.world.reactor.awaits_something
        if self.ledger.ending_at is None:  # who is down by request waits for another request, and may be waited for
            down = any(account.down for account in self.ledger.accounts.values())
            comes = comes or down or bool(self.world.reactor.scheduled)
        if deadline is None and not self.ledger.reading and not self.world.kernel.living and not comes:
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
        plain, lost = before.to_plain(), False
        for unit in plain["units"]:
            health = unit["health"]
            if health["asking"]:  # the answer was lost: it is asked again, at once
                health["asking"], health["next_at"], lost = False, health["asked_at"], True
        if plain != after.to_plain():
            self.fail("the state after the re-execution differs")
        if before.deadline() != after.deadline() and not lost:
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
    Forgotten,
    BusyLoop,
    Continuity,
    *CHECKERS_OF_LIFE,
    *CHECKERS_OF_REQUESTS,
)
