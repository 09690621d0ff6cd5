"""The judges of what a service does besides starting and stopping: health, hooks, schedules; and of the reload."""

# ruff: noqa: ARG002, D102 - a judge's methods are described where they are declared; few use all they are told

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from sim.checker import EPSILON, Checker

if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from sim.account import Account


class Probes(Checker):
    """Who has a probe is asked when it is his time, one question at a time, and heard when he tells by himself."""

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, effects.Ask):
            return
        account = self.ledger.accounts[effect.service.name]
        wellness = account.wellness
        if not account.complete or wellness is None or wellness.tells:
            self.fail(f"{account.name} is asked how it is, and there is nothing to ask")
        elif wellness.open:
            self.fail(f"{account.name} is asked again before it has answered")
        elif wellness.ask_at is None or now < wellness.ask_at - EPSILON:
            self.fail(f"{account.name} is asked at {now:.3f}, which is too early")
        elif effect.service != account.service:
            self.fail(f"{account.name} is not asked in the way of its newest definition")

    def quiet(self, deadline: float | None, now: float) -> None:
        for name, account in self.ledger.accounts.items():
            wellness = account.wellness
            if wellness is None or not account.runs:
                if name in self.world.reactor.asking:
                    self.fail(f"{name} is still asked how it is")
                continue
            due = wellness.silent_at if wellness.tells else wellness.ask_at
            if due is not None and (deadline is None or deadline > due + EPSILON):
                why = "has to speak by" if wellness.tells else "is to be asked at"
                self.fail(f"{name} {why} {due:.3f}, nobody will wake")


class Unwell(Checker):
    """Unhealthy leads to what on_failure says and to nothing else, and it is told."""

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        for account in self.ledger.sickened:
            name = account.name
            if not any(isinstance(e, effects.Report) and e.service == name and "unhealthy" in e.text for e in wanted):
                self.fail(f"nobody is told that {name} is unhealthy")
            acted_on = any(_ends_a_run(effect) == name for effect in wanted)
            if account.no_good and not acted_on:
                self.fail(f"{name} is unhealthy and is not restarted")
            stops = self.ledger.goes_down(account) or account.no_good
            if acted_on and not stops:
                self.fail(f"{name} is unhealthy, which concerns nobody, and is stopped")
            stopping = any(other.asked_at is not None for other in self.ledger.accounts.values())
            if self.ledger.cause == name and not stopping and not any(_ends_a_run(effect) for effect in wanted):
                self.fail(f"{name} is unhealthy, and the end does not begin")


def _ends_a_run(effect: Effect) -> str:
    """Whose, if this effect is how a run begins to end."""
    match effect:
        case effects.Signal(name) | effects.SignalTree(name):
            return name
        case effects.RunHook(service, "pre_stop"):
            return service.name
    return ""


class Hooks(Checker):
    """A hook runs at its moment and in its turn, never beside another one, and no command before its hooks."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Spawn):
            account = self.ledger.accounts[effect.service.name]
            if account.hook:
                self.fail(f"{account.name} is started beside its {account.hook} hook")
            if account.service.pre_start and account.prepared != len(account.service.pre_start):
                self.fail(f"{account.name} is started before its hooks have prepared it")
        elif isinstance(effect, effects.RunHook):
            self._hook(self.ledger.accounts[effect.service.name], effect)
        elif isinstance(effect, effects.Signal) and effect.service not in self.ledger.to_signal:
            self._signal(self.ledger.accounts[effect.service])

    def _hook(self, account: Account, effect: effects.RunHook) -> None:
        what = f"{effect.stage} hook {effect.number} of {account.name}"
        if account.hook:
            self.fail(f"the {what} runs beside its {account.hook} hook")
        if effect.stage == "pre_start":
            turn, moment = account.prepared, not account.living and not account.pending
            if self.ledger.begins_a_run(effect):
                turn = 0
        elif effect.stage == "post_start":
            turn, moment = account.completed, account.runs and not account.hook_failed
        else:
            turn, moment = account.farewells, account.living and not account.signalled and account.killed_at is None
        if not moment or effect.number != turn:
            self.fail(f"the {what} runs at the wrong moment")

    def _signal(self, account: Account) -> None:
        if account.living and not account.signalled and not account.bare and account.killed_at is None:
            left = len(account.service.pre_stop) - account.farewells
            if left > 0 and (account.asked_at is not None or not account.hook.startswith("post_start")):
                self.fail(f"{account.name} gets its signal before its hooks have prepared the stop")

    def quiet(self, deadline: float | None, now: float) -> None:
        for name, account in self.ledger.accounts.items():
            if account.under_way and not account.busy:
                self.fail(f"{name} was prepared for its start, and nobody starts it")
            if account.hook or account.no_good:
                continue
            if account.runs and not account.complete and not account.hook_failed:
                self.fail(f"{name} runs, and nobody goes on with its hooks")
            saying_farewell = account.living and account.asked_at is not None and account.killed_at is None
            if saying_farewell and not account.signalled:
                self.fail(f"{name} was prepared for its stop, and nobody stops it")


class Schedules(Checker):
    """A scheduled job runs when its schedule says so, never beside itself; what is skipped is told."""

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        skipped = self.ledger.skipped
        reports = (effect for effect in wanted if isinstance(effect, effects.Report))
        if skipped is not None and not any(r.service == skipped.name and "skipped" in r.text for r in reports):
            self.fail(f"nobody is told that a run of {skipped.name} is left out")

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, (effects.Spawn, effects.RunHook)) and effect.service.schedule is not None:
            account = self.ledger.accounts[effect.service.name]
            if not self.ledger.begins_a_run(effect):
                return
            if account.busy:
                self.fail(f"{account.name} overlaps itself")
            elif not account.waiting and account.restart_at is None:
                self.fail(f"{account.name} runs at {now:.3f}, and its schedule says nothing of that")


class Reloads(Checker):
    """A reload ends in the newest Plan; it is begun when asked for, told, and a broken file changes nothing."""

    def stepped(self, fact: Event, wanted: list[Effect], now: float) -> None:
        ledger = self.ledger
        told = " ".join(effect.text for effect in wanted if isinstance(effect, effects.Report))
        refused = "cannot reload" in told
        if isinstance(fact, events.ReloadRequested) and ledger.plan and ledger.ending_at is not None and not refused:
            self.fail("nobody is told that there is no reload while everything stops")
        if isinstance(fact, events.LoadFailed) and ledger.ending_at is None:
            missing = [line for line in fact.lines if line not in told]
            if missing or not refused:
                self.fail("nobody is told what is wrong with the file")
        for account in ledger.touched:
            if account.name not in told:
                self.fail(f"nobody is told what the reload does to {account.name}")

    def effect(self, effect: Effect, now: float) -> None:
        ledger = self.ledger
        if isinstance(effect, effects.Load) and (ledger.reading or not ledger.reload_wanted):
            self.fail("the file is read again though nobody asked for that, or it is being read")
        elif isinstance(effect, effects.Load):
            wanted = effects.Load(ledger.scale_to_try, tuple(ledger.scale_asked))
            if effect != wanted:
                self.fail(f"the file is read with {effect.scale} replicas, and it should be as in {wanted}")
        elif isinstance(effect, effects.Forget):
            account = ledger.accounts.get(effect.service)
            if account is None or not account.gone or account.busy:
                self.fail(f"{effect.service} is forgotten before its time")
        elif isinstance(effect, effects.Prepare) and effect.plan != ledger.plan:
            self.fail("room is made for another Plan than the newest")
        elif isinstance(effect, (effects.Spawn, effects.RunHook)):
            self._definition(effect)

    def _definition(self, effect: effects.Spawn | effects.RunHook) -> None:
        account = self.ledger.accounts.get(effect.service.name)
        if account is None or (account.gone and not account.busy):
            self.fail(f"{effect.service.name} is started though it is in no Plan any more")
        elif effect.service != account.service:
            self.fail(f"{account.name} is started as it is no longer written")

    def quiet(self, deadline: float | None, now: float) -> None:
        ledger = self.ledger
        if ledger.ending_at is not None or ledger.plan is None:
            return
        if ledger.reload_wanted and not ledger.reading:
            self.fail("somebody wants a reload and nobody reads the file")
        for name, account in ledger.accounts.items():
            if account.gone and not account.busy:
                self.fail(f"nobody forgot {name}, which is gone")


class Announcement(Checker):
    """That everything is ready is told once, when it is true and not before."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.AllReady):
            if self.ledger.announced:
                self.fail("that everything is ready is told twice")
            if not self.ledger.everything_is_ready:
                self.fail("it is told that everything is ready, which is not true")

    def quiet(self, deadline: float | None, now: float) -> None:
        ledger = self.ledger
        untouched = all(
            not account.ever and not account.waiting and not account.busy and not account.code
            for account in ledger.accounts.values()
            if account.newest.schedule is not None
        )
        if ledger.plan is not None and not ledger.announced and ledger.everything_is_ready and untouched:
            self.fail("everything is ready, and nobody is told")


class Silence(Checker):
    """After the Exit nothing is wanted any more."""

    def after_the_end(self, fact: Event, wanted: list[Effect]) -> None:
        if wanted:
            self.fail(f"after the Exit {type(fact).__name__} still leads to {type(wanted[0]).__name__}")


CHECKERS_OF_LIFE: tuple[type[Checker], ...] = (
    Probes,
    Unwell,
    Hooks,
    Schedules,
    Reloads,
    Announcement,
    Silence,
)
