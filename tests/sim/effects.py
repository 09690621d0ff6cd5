"""What somebody outside wants, in the judges' account: another Plan, so many replicas, this or that of services.

Written from docs/reference/rules.md, not from the engine. What follows from the facts of life is ledger.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.plan.model import COMPLETED
from sim.account import Account, Wellness, needs_a_fresh_run

if TYPE_CHECKING:
    from cohabit.engine import events
    from cohabit.plan.model import Plan


class Wishes:
    """The accounts, and what is wanted of them."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}  # until they are forgotten
        self.plan: Plan | None = None
        self.reading = True  # the file
        self.reload_wanted = False  # and nobody has begun to read since
        self.scale: dict[str, int] = {}  # with which the newest Plan was read
        self.scale_tried: dict[str, int] = {}  # with which it is being read
        self.scale_asked: dict[str, int] = {}  # for the next reading
        self.touched: list[Account] = []  # by a reload, with the latest fact
        self.to_kill: tuple[str, ...] = ()  # by request, with the latest fact
        self.to_signal: tuple[str, ...] = ()  # the same

    # --- requests ------------------------------------------------------------------------------------

    def _asked_of_services(self, request: events.Requested) -> None:
        accounts = [self.accounts[name] for name in request.services if name in self.accounts]
        if request.action == "signal":
            self.to_signal = tuple(account.name for account in accounts if account.living)
            return
        if request.action == "kill":  # whoever is gone from the file and still lives, too
            self.to_kill = tuple(account.name for account in accounts if account.busy)
        for account in accounts:
            if request.action == "kill" and account.busy:
                account.reason = account.reason or "killed on request"
            if request.action in ("stop", "kill"):
                account.wants_rest()
            elif not account.gone:
                if request.action == "restart":
                    self._replace(account)
                    account.asked_for = True
                self._start(account)
        self._bear_again()

    def _start(self, account: Account) -> None:
        """Have it run, and of those on whom it depends whoever does not and will not."""
        todo, seen = [account], {account.name}
        while todo:
            account = todo.pop()
            ended = not account.busy or account.asked_at is not None or account.left_others
            if ended or account.down or account.fresh:
                account.wants_a_run()
            for needed in account.newest.depends_on:
                other = self.accounts[needed.service]
                if other.name in seen or other.gone or other.newest.schedule is not None:
                    continue
                done = needed.condition == COMPLETED and other.meets(needed)
                if not done and (other.over or other.down or other.fresh or other.waiting):
                    seen.add(other.name)
                    todo.append(other)

    # --- reload --------------------------------------------------------------------------------------

    def _begins_to_read(self) -> None:
        self.reading, self.reload_wanted = True, False
        self.scale_tried, self.scale_asked = self.scale_to_try, {}

    @property
    def scale_to_try(self) -> dict[str, int]:
        """The numbers of replicas with which the file is to be read next."""
        return {**self.scale, **self.scale_asked}

    def _loaded(self, plan: Plan, now: float) -> None:
        before, self.plan = self.plan, plan
        if before is None:
            self.accounts = {name: Account(service) for name, service in plan.services.items()}
            return
        for name, account in self.accounts.items():
            if name not in plan.services and not account.gone:
                self.touched.append(account)
                account.wants_rest()
                account.gone = True
        self._take_new_definitions(plan, before, now)
        self._bear_again()

    def _take_new_definitions(self, plan: Plan, before: Plan, now: float) -> None:
        changed: list[Account] = []
        for name, service in plan.services.items():
            account = self.accounts.get(name)
            if account is None:
                account = self.accounts[name] = Account(service)
                self.touched.append(account)
                continue
            account.newest = service
            if account.gone:  # it is back before it was forgotten
                account.gone, account.down, account.fresh = False, False, True
            elif before.services[name] != service:
                changed.append(account)
        self.touched += changed
        for account in changed:
            if needs_a_fresh_run(before.services[account.name], account.newest):
                self._replace(account)
        for account in changed:
            if not account.fresh:
                self._change_in_place(account, now)

    def _replace(self, account: Account) -> None:
        """A fresh run of it, whatever was asked before, and of those who go along and are not down."""
        account.fresh, account.down, account.asked_for = True, False, False
        todo = [account]
        while todo:
            account = todo.pop()
            for other in self.accounts.values():
                along = any(d.service == account.name and d.restart for d in other.newest.depends_on)
                down = other.down and other.newest.schedule is None
                if along and not (other.fresh or other.gone or down):
                    other.fresh = True
                    todo.append(other)

    def _bear_again(self) -> None:
        for account in self.accounts.values():
            if account.fresh and not account.busy:
                account.born_again()

    @staticmethod
    def _change_in_place(account: Account, now: float) -> None:
        probe, account.service = account.service.probe, account.newest
        if probe != account.service.probe and account.complete and account.service.probe is not None:
            account.wellness = Wellness(account.service.probe, now)
