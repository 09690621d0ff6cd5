"""The judges' own account of a run, kept from facts and effects alone: what must follow by the rules of life.

A second, independent computation of what the engine decides (who is over, who starts again and when, what a reload
makes of whom, what the exit code is), written from the rules and not from the engine: it imports none of its
decisions. Here is what follows for others and for the container; what follows for a service itself is account.py's,
what somebody outside wants is effects.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from cohabit.units import describe_exit
from sim.effects import Wishes

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from sim.account import Account

SIGKILL = 9
BUG = 70
UNHEALTHY = 1
ECHO_SECONDS = 0.2  # the same signal again so soon is the same request


class Ledger(Wishes):
    """The whole container's account."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = 0
        self.done = False
        self.ending_at: float | None = None
        self.total_at: float | None = None  # when the total is used up
        self.codes: set[int | None] = {None}  # the first cause's; None: it was asked for. One, but for a tie
        self.cause = ""  # the service whose run ended first of all, "" if several came at once
        self.failures: list[Account] = []  # for good, in their order
        self.requests = 0
        self.asked, self.asked_at = 0, 0.0  # the first request
        self.hurried_at: float | None = None  # the second signal
        self.forced = False
        self.swept = False
        self.announced = False  # that everything is ready
        self.ended: Account | None = None  # whose run ended with the latest fact
        self.reason = ""  # why
        self.refused: list[Account] = []  # with the latest fact
        self.sickened: list[Account] = []  # became unhealthy with the latest fact
        self.skipped: Account | None = None  # whose schedule came too early, with the latest fact
        self._was_ending = False  # before the latest fact
        self._began_with = 0  # the fact with which the end began

    # --- facts ---------------------------------------------------------------------------------------

    def take(self, fact: Event, now: float) -> None:
        """A fact as it is fed to the engine."""
        self.facts += 1
        self._was_ending = self.ending_at is not None
        self.ended = self.skipped = None
        self.refused, self.sickened, self.touched = [], [], []
        self.to_kill = self.to_signal = ()
        account = self.accounts.get(getattr(fact, "service", ""))
        if account is not None:
            self._take_of_a_service(account, fact, now)
        elif not hasattr(fact, "service"):
            self._take_of_the_whole(fact, now)
        if self.ending_at is None:
            self._refuse_the_lost(now)
            self._see_the_end(now)

    def _take_of_the_whole(self, fact: Event, now: float) -> None:
        match fact:
            case events.Loaded(plan):
                self.reading, self.scale = False, self.scale_tried
                if self.ending_at is None:
                    self._loaded(plan, now)
            case events.LoadFailed(_, code):
                self.reading = False
                if self.plan is None:
                    self._begin(now, code, "")
            case events.ReloadRequested(scale):
                if self.ending_at is None:
                    self.reload_wanted = self.reload_wanted or self.plan is not None
                    self.scale_asked = {**self.scale_asked, **scale}
            case events.Requested():
                if self.ending_at is None:
                    self._asked_of_services(fact)
            case events.StopRequested(number):
                self._requested(number, now)
            case events.Broken():
                self._begin(now, BUG, "")
                self.codes, self.cause = {BUG}, ""
            case events.Swept():
                self.swept = True
            case events.Due():
                for account in self.accounts.values():
                    if account.runs and account.wellness is not None:
                        self._health_changes(account, now, account.wellness.silence)

    def _take_of_a_service(self, account: Account, fact: Event, now: float) -> None:
        match fact:
            case events.Spawned():
                account.pending, account.living, account.since = False, True, now
                account.starts += 1
                account.started = True
                account.watched_if_complete(now)
            case events.SpawnFailed(_, why, code, orphans):
                self._never_ran(account, code, why, now, orphans=orphans)
            case events.Exited(_, code, orphans):
                self._exited(account, code, now, orphans=orphans)
            case events.TreeGone():
                account.orphans = False
                self._run_ended(account, now)
            case events.HookEnded(_, code, why, orphans):
                self._hook_ended(account, code, why, now, orphans=orphans)
            case events.Probed(_, passed):
                if account.runs and account.service.probe is not None:
                    account.watched(now)
                    self._health_changes(account, now, lambda at: self._answer(account, at, passed=passed))
            case events.Notified():
                self._notified(account, fact, now)
            case events.ScheduleDue():
                self._schedule_due(account)

    # --- one run -------------------------------------------------------------------------------------

    def _exited(self, account: Account, code: int, now: float, *, orphans: bool) -> None:
        account.living, account.orphans = False, orphans
        account.code, account.ran_seconds = account.blame or code, now - account.since
        account.reason = account.reason or describe_exit(code)
        if not orphans and not account.hook:
            self._run_ended(account, now)
        elif not self.goes_down(account) and account.is_final:
            self._failed(account)
            if account.service.essential and (account.code or account.service.schedule is None):
                self._begin(now, account.code, account.name)  # not only when those whom it left are gone

    def _never_ran(self, account: Account, code: int, why: str, now: float, *, orphans: bool) -> None:
        account.pending, account.started, account.orphans = False, False, orphans
        account.code, account.ran_seconds, account.reason = code, 0.0, why
        if not orphans:
            self._run_ended(account, now)

    def _hook_ended(self, account: Account, code: int, why: str, now: float, *, orphans: bool) -> None:
        stage, account.hook = account.hook.partition(" ")[0], ""
        why = why or describe_exit(code)
        if stage == "pre_start":
            if code or self.goes_down(account):
                self._never_ran(account, code, why, now, orphans=orphans)
            else:
                account.prepared += 1
        elif not account.living:
            account.orphans = account.orphans or orphans
            if not account.orphans:
                self._run_ended(account, now)
        elif stage == "pre_stop":
            account.farewells += 1
        elif account.runs and code and not self.goes_down(account):
            account.no_good, account.hook_failed, account.blame, account.reason = True, True, code, why
        elif account.runs:
            account.hook_failed = account.hook_failed or code != 0
            account.completed += 1
            account.watched_if_complete(now)
            if account.complete and account.wellness is not None:
                self._health_changes(account, now, account.wellness.silence)

    def _run_ended(self, account: Account, now: float) -> None:
        """Its last process is gone."""
        self.ended, self.reason = account, account.reason
        account.asked_at, account.under_way = None, False
        if self.ending_at is not None or account.gone:
            return
        if account.fresh:
            account.born_again()
        elif account.down:
            account.service = account.newest
        elif not account.is_final:
            account.to_be_restarted(now)
        else:
            account.given_up = account.is_hopeless or not account.started
            self._over(account, now)

    def _over(self, account: Account, now: float) -> None:
        """For good, or until its schedule says so."""
        account.over = account.service.schedule is None
        self._failed(account)
        if account.service.essential and (account.code or account.over):
            self._begin(now, account.code, self.ended.name if self.ended else "")

    def _failed(self, account: Account) -> None:
        if account.code and not account.failed_at and account.service.schedule is None:
            account.failed_at = self.facts

    def _refuse_the_lost(self, now: float) -> None:
        """Whoever waits in vain is told so at once, and so is who waits for him."""
        while lost := [account for account in self.accounts.values() if account.waiting and self.lost(account)]:
            for account in lost:
                account.waiting = False
                account.given_up = True
                account.code = self.accounts[self.lost(account)[0]].code or 1  # not to be started is a failure
                self.refused.append(account)
                self._over(account, now)

    # --- health, schedules ---------------------------------------------------------------------------

    @staticmethod
    def _answer(account: Account, now: float, *, passed: bool) -> None:
        if account.wellness is not None:
            account.wellness.answered(now, passed=passed)

    def _notified(self, account: Account, message: events.Notified, now: float) -> None:
        seconds = message.extend_seconds
        if seconds and account.kill_due is not None:
            account.kill_at = max(account.kill_due, now + seconds)
        probe = account.service.probe
        if not account.runs or probe is None or probe.kind != "notify":
            return
        account.watched(now)
        wellness = account.wellness
        if wellness is None:
            return
        if seconds:
            wellness.wants_time(now, seconds)
        alive = message.ready or (bool(message.watchdog) and wellness.was_well)
        if message.watchdog == "trigger" or alive:
            passed = message.watchdog != "trigger"
            self._health_changes(account, now, lambda at: wellness.answered(at, passed=passed))

    def _health_changes(self, account: Account, now: float, change: Callable[[float], None]) -> None:
        wellness = account.wellness
        if wellness is None:
            return
        was = wellness.unwell
        change(now)
        if was or not wellness.unwell:
            return
        self.sickened.append(account)
        if self._was_ending or account.gone or account.fresh or account.down:
            return
        what = wellness.probe.on_failure
        if what == "restart":
            account.no_good = account.again = True
            account.blame, account.reason = UNHEALTHY, "unhealthy"
        elif what == "exit":
            account.reason = "unhealthy"
            self._begin(now, UNHEALTHY, account.name)

    def _schedule_due(self, account: Account) -> None:
        if self.ending_at is not None or account.service.schedule is None or account.gone or account.fresh:
            return
        if account.busy or account.waiting or account.restart_at is not None:
            self.skipped = account
        else:
            account.waiting, account.restarts, account.down = True, 0, False

    # --- the end -------------------------------------------------------------------------------------

    def _requested(self, number: int, now: float) -> None:
        if number == self.asked and now - self.asked_at < ECHO_SECONDS:
            return
        self.requests += 1
        if self.requests == 1:
            self.asked, self.asked_at = number, now
        if self.ending_at is None:
            self._begin(now, None, "")
        elif self.requests == 1 and 128 + number in self.codes:
            self.codes = (self.codes - {128 + number}) | {None}
            self.cause = ""
        if self.requests > 1 and self.hurried_at is None:
            self.hurried_at = now

    def _see_the_end(self, now: float) -> None:
        accounts = self.accounts.values()
        if self.plan is None or self.ending_at is not None or not all(a.over for a in accounts if not self._is_left(a)):
            return
        failed = [account for account in accounts if account.failed_at and not self._is_left(account)]
        failed.sort(key=lambda account: account.failed_at)
        first = [account for account in failed if account.failed_at == failed[0].failed_at]
        if self.ended in first:
            first = [self.ended]
        for account in first:
            self._begin(now, account.code, account.name)
        if not first:
            self._begin(now, 0, "")

    @staticmethod
    def _is_left(account: Account) -> bool:
        """In no Plan any more, nothing of it lives: it is about to be forgotten."""
        return account.gone and not account.busy

    def _begin(self, now: float, code: int | None, cause: str) -> None:
        """The end begins. What else happens with the same fact is a tie: its order is the engine's choice."""
        if self.ending_at is None:
            self.ending_at, self.codes, self.cause = now, {code}, cause
            self.total_at = now + self.plan.stop_grace_seconds if self.plan else None
            self._began_with = self.facts
        elif self._began_with == self.facts and code not in (None, BUG) and None not in self.codes:
            self.codes.add(code)
            self.cause = self.cause if self.cause == cause else ""

    # --- effects -------------------------------------------------------------------------------------

    def note(self, effect: Effect, now: float) -> None:
        """An effect that the engine asked for, after the judges have seen it."""
        match effect:
            case effects.Spawn() | effects.RunHook() if self.begins_a_run(effect):
                account = self.accounts[effect.service.name]
                account.begins()
                account.under_way = True
                account.waiting, account.restart_at, account.failed_at = False, None, 0
        match effect:
            case effects.Spawn(service):
                self.accounts[service.name].pending = self.accounts[service.name].ever = True
            case effects.RunHook(service, stage, number):
                self.accounts[service.name].hook = f"{stage} {number}"
                self.accounts[service.name].ever = True
                if stage == "pre_stop":
                    self._asked(self.accounts[service.name], now)
            case effects.Signal(name) if name not in self.to_signal:
                self._asked(self.accounts[name], now)
                self.accounts[name].signalled = True
            case effects.SignalTree(name, number):
                self._asked(self.accounts[name], now)
                if number == SIGKILL:
                    self._killed(self.accounts[name], now)
            case effects.Ask(service):
                wellness = self.accounts[service.name].wellness
                if wellness is not None:
                    wellness.asked(now)
            case effects.Load():
                self._begins_to_read()
            case effects.Forget(name):
                del self.accounts[name]
            case effects.AllReady():
                self.announced = True
            case effects.Sweep(number):
                self.forced = self.forced or number == SIGKILL
            case effects.Exit():
                self.done = True

    @staticmethod
    def begins_a_run(effect: effects.Spawn | effects.RunHook) -> bool:
        """Whether an effect is the first of a run."""
        if isinstance(effect, effects.Spawn):
            return not effect.service.pre_start
        return effect.stage == "pre_start" and effect.number == 0

    @staticmethod
    def _asked(account: Account, now: float) -> None:
        if account.asked_at is None:
            account.asked_at = now
            account.kill_at = now + account.service.stop_grace_seconds
            account.bare = account.hook.startswith("post_start")

    def _killed(self, account: Account, now: float) -> None:
        if account.killed_at is None:
            account.killed_at = now
            self.forced = self.forced or self.ending_at is not None

    def reexecuted(self) -> None:
        """Process 1 replaced itself: what it had asked is lost, and what it was reading."""
        for account in self.accounts.values():
            if account.wellness is not None:
                account.wellness.question_lost()

    # --- conclusions ---------------------------------------------------------------------------------

    def goes_down(self, account: Account) -> bool:
        """Whether this run of it is not wanted any more."""
        return self.ending_at is not None or account.gone or account.fresh or account.down

    @property
    def kill_all_at(self) -> float | None:
        """When SIGKILL for everybody is due: at the end of the total, or with the second signal."""
        if self.total_at is None:
            return None
        return self.total_at if self.hurried_at is None else min(self.total_at, self.hurried_at)

    def lost(self, account: Account) -> list[str]:
        """The services for which this one waits in vain."""
        return [
            dependency.service
            for dependency in account.service.depends_on
            if self.accounts[dependency.service].over and not self.accounts[dependency.service].meets(dependency)
        ]

    def may_start(self, account: Account) -> bool:
        """Whether its conditions hold."""
        return all(self.accounts[needed.service].meets(needed) for needed in account.service.depends_on)

    def in_its_way(self, name: str) -> list[Account]:
        """Who has to be gone before a service is told to stop: who depends on it, and goes down, too."""
        return [
            account
            for account in self.accounts.values()
            if account.busy
            and self.goes_down(account)
            and any(dependency.service == name for dependency in account.newest.depends_on)
        ]

    @property
    def everything_is_ready(self) -> bool:
        """Whatever was to be started is; who was asked to be down, and what a schedule starts, is not asked after."""
        return self.ending_at is None and all(
            (account.ready or account.done_well or account.down) and not account.fresh
            for account in self.accounts.values()
            if not account.gone and account.newest.schedule is None
        )

    @property
    def exit_codes(self) -> set[int]:
        """The right one; several, if several causes came at once."""
        asked = 128 + SIGKILL if self.forced else 0
        return {asked if code is None else code for code in self.codes}
