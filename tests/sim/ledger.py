"""The judges' own account of a run, kept from facts and effects alone: what must follow by the rules of life.

A second, independent computation of what the engine decides (who is over, who starts again and when, what
the exit code is), written from the rules and not from the engine: it imports none of its decisions. It is
dull on purpose: no table, no effects, no order of work, only what is true after each fact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from cohabit.plan.model import COMPLETED, HEALTHY

if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.plan.model import Dependency, Plan, Service

SIGKILL = 9
BUG = 70
ECHO_SECONDS = 0.2  # the same signal again so soon is the same request


class Account:
    """One service as far as process 1 was told. Moments are monotonic seconds, None for "not (yet)"."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.spawns = 0  # Spawn effects
        self.starts = 0  # Spawned facts
        self.pending = False  # a Spawn has no answer yet
        self.living = False
        self.orphans = False
        self.ready = False
        self.since = 0.0  # of the run
        self.ran_seconds = 0.0
        self.code = 0
        self.restarts = 0  # in a row
        self.restart_at: float | None = None
        self.over = False  # for good
        self.asked_at: float | None = None  # to stop, in this run
        self.killed_at: float | None = None

    @property
    def busy(self) -> bool:
        """A process of it exists, or may."""
        return self.pending or self.living or self.orphans

    @property
    def waiting(self) -> bool:
        """It was never started and may still be."""
        return not self.spawns and not self.over

    def meets(self, dependency: Dependency) -> bool:
        """Whether who depends on it in this way may start."""
        if dependency.condition == COMPLETED:
            done = self.over and self.starts > 0 and self.code == 0
        elif dependency.condition == HEALTHY:
            done = self.ready
        else:
            done = self.starts > 0
        return done or (self.over and not dependency.required)

    @property
    def kill_due(self) -> float | None:
        """When its grace is used up."""
        if not self.busy or self.asked_at is None or self.killed_at is not None:
            return None
        return self.asked_at + self.service.stop_grace_seconds


class Ledger:
    """The whole container's account."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.plan: Plan | None = None
        self.done = False
        self.ending_at: float | None = None
        self.code: int | None = None  # the first cause's; None: it was asked for
        self.cause = ""  # the service whose run ended first of all
        self.first_failure: Account | None = None
        self.requests = 0
        self.asked, self.asked_at = 0, 0.0  # the first request
        self.hurried_at: float | None = None  # the second signal
        self.forced = False
        self.swept = False
        self.ended: Account | None = None  # whose run ended with the latest fact
        self.refused: list[Account] = []  # with the latest fact

    # --- facts ---------------------------------------------------------------------------------------

    def take(self, fact: Event, now: float) -> None:
        """A fact as it is fed to the engine."""
        self.ended = None
        self.refused = []
        match fact:
            case events.Loaded(plan):
                self.plan = plan
                self.accounts = {name: Account(service) for name, service in plan.services.items()}
            case events.LoadFailed(_, code):
                self._begin(now, code, "")
            case events.Spawned(name):
                account = self.accounts[name]
                account.pending, account.living, account.since = False, True, now
                account.starts += 1
                account.ready = account.service.probe is None
            case events.SpawnFailed(name, _, code):
                account = self.accounts[name]
                account.pending, account.code, account.ran_seconds = False, code, 0.0
                self._run_ended(account, now, started=False)
            case events.Exited(name, code, orphans):
                account = self.accounts[name]
                account.living, account.ready, account.orphans = False, False, orphans
                account.code, account.ran_seconds = code, now - account.since
                if not orphans:
                    self._run_ended(account, now, started=True)
                elif account.service.essential and self._is_final(account, started=True):
                    self._begin(now, code, name)  # at once: not only when those whom it left are gone
            case events.TreeGone(name):
                self.accounts[name].orphans = False
                self._run_ended(self.accounts[name], now, started=True)
            case events.ProbePassed(name):
                self.accounts[name].ready = self.accounts[name].living
            case events.StopRequested(number):
                self._requested(number, now)
            case events.Broken():
                self._begin(now, BUG, "")
                self.code, self.cause = BUG, ""
            case events.Swept():
                self.swept = True
        self._see_the_end(now)

    def _run_ended(self, account: Account, now: float, *, started: bool) -> None:
        self.ended = account
        account.asked_at = account.killed_at = None
        if self.ending_at is not None:
            return
        restart = account.service.restart
        if self._is_final(account, started=started):
            self._over(account, now)
            return
        account.restarts = self._in_a_row(account, started=started)
        delay = restart.delay_seconds
        if delay is None or not started:
            delay = min(60.0, 0.1 * 2.0 ** min(account.restarts, 20))
        account.restarts += 1
        account.restart_at = now + delay

    @staticmethod
    def _in_a_row(account: Account, *, started: bool) -> int:
        forgiven = started and account.ran_seconds >= account.service.restart.window_seconds
        return 0 if forgiven else account.restarts

    def _is_final(self, account: Account, *, started: bool) -> bool:
        restart = account.service.restart
        hopeless = not started and account.code in (126, 127)
        wanted = restart.condition == "always" or (restart.condition == "on-failure" and account.code != 0)
        used_up = restart.attempts is not None and self._in_a_row(account, started=started) >= restart.attempts
        return hopeless or not wanted or used_up

    def _over(self, account: Account, now: float) -> None:
        account.over = True
        if account.code and self.first_failure is None:
            self.first_failure = account
        if account.service.essential:
            self._begin(now, account.code, self.ended.service.name if self.ended else "")
        for other in self.accounts.values():
            if other.waiting:
                self._refuse(other, now)

    def _refuse(self, account: Account, now: float) -> None:
        lost = self.lost(account)
        if lost:
            account.code = self.accounts[lost[0]].code or 1  # not to be started is a failure, whatever the reason
            self.refused.append(account)
            self._over(account, now)

    def _requested(self, number: int, now: float) -> None:
        if number == self.asked and now - self.asked_at < ECHO_SECONDS:
            return
        self.requests += 1
        if self.requests == 1:
            self.asked, self.asked_at = number, now
        if self.ending_at is None:
            self._begin(now, None, "")
        elif self.requests == 1 and self.cause and self.code == 128 + number:
            self.code, self.cause = None, ""
        if self.requests > 1 and self.hurried_at is None:
            self.hurried_at = now

    def _see_the_end(self, now: float) -> None:
        if self.plan and self.ending_at is None and all(account.over for account in self.accounts.values()):
            failed = self.first_failure
            self._begin(now, failed.code if failed else 0, failed.service.name if failed else "")

    def _begin(self, now: float, code: int | None, cause: str) -> None:
        if self.ending_at is None:
            self.ending_at, self.code, self.cause = now, code, cause

    # --- effects -------------------------------------------------------------------------------------

    def note(self, effect: Effect, now: float) -> None:
        """An effect that the engine asked for, after the judges have seen it."""
        match effect:
            case effects.Spawn(service):
                account = self.accounts[service.name]
                account.pending, account.restart_at = True, None
                account.spawns += 1
            case effects.Signal(name):
                self._asked(self.accounts[name], now)
            case effects.SignalTree(name, number):
                account = self.accounts[name]
                self._asked(account, now)
                if number == SIGKILL:
                    account.killed_at = account.killed_at or now
                    self.forced = self.forced or self.ending_at is not None
            case effects.Sweep(number):
                self.forced = self.forced or number == SIGKILL
            case effects.Exit():
                self.done = True

    @staticmethod
    def _asked(account: Account, now: float) -> None:
        if account.asked_at is None:
            account.asked_at = now

    # --- conclusions ---------------------------------------------------------------------------------

    @property
    def kill_all_at(self) -> float | None:
        """When SIGKILL for everybody is due: at the end of the total, or with the second signal."""
        if self.ending_at is None or self.plan is None:
            return None
        total = self.ending_at + self.plan.stop_grace_seconds
        return total if self.hurried_at is None else min(total, self.hurried_at)

    def lost(self, account: Account) -> list[str]:
        """The services for which this one waits in vain."""
        return [
            dependency.service
            for dependency in account.service.depends_on
            if self.accounts[dependency.service].over and not self.accounts[dependency.service].meets(dependency)
        ]

    def dependents(self, name: str) -> list[Account]:
        """Who depends on a service."""
        return [
            account
            for account in self.accounts.values()
            if any(dependency.service == name for dependency in account.service.depends_on)
        ]

    @property
    def exit_code(self) -> int:
        """The right one."""
        if self.code is not None:
            return self.code
        return 128 + SIGKILL if self.forced else 0
