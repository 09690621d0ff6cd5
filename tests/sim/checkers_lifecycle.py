"""The checkers of health, hooks, schedules, reloads and the announcement that all services are ready."""

# ruff: noqa: ARG002, D102 - class Checker describes the methods; few of them use all their arguments

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import effects, events, transition
from cohabit.plan.reason import UNHEALTHY
from cohabit.plan.reason_text import text_of
from sim.checker import EPSILON, Checker

if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from sim.service_state import ServiceState


class Probes(Checker):
    """A probe runs when it is due, one at a time. A passive probe fails when its message is late."""

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, effects.Ask):
            return
        state = self.model.states[effect.service.name]
        health = state.health
        if state.paused:
            self.fail(f"{state.name} is probed while it is paused")
        elif not state.start_complete or health is None or health.passive:
            self.fail(f"{state.name} is probed without an active probe")
        elif health.in_flight:
            self.fail(f"{state.name} is probed again before the probe has ended")
        elif health.next_probe_at is None or now < health.next_probe_at - EPSILON:
            self.fail(f"{state.name} is probed at {now:.3f}, which is too early")
        elif effect.service != state.service:
            self.fail(f"{state.name} is not probed with its newest definition")

    def idle(self, deadline: float | None, now: float) -> None:
        for name, state in self.model.states.items():
            health = state.health
            if health is None or not state.running:
                if name in self.world.reactor.probing:
                    self.fail(f"{name} is still probed")
                continue
            if state.paused:
                if name in self.world.reactor.probing:
                    self.fail(f"{name} is paused and still probed")
                continue
            due = health.silence_deadline if health.passive else health.next_probe_at
            if due is not None and (deadline is None or deadline > due + EPSILON):
                why = "must send a message by" if health.passive else "must be probed at"
                self.fail(f"{name} {why} {due:.3f}, without a deadline for that")


class Unhealthy(Checker):
    """An unhealthy service causes what on_failure says and nothing else, and is reported."""

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        expected = [state.name for state in self.model.became_unhealthy]
        for each in self.world.engine.services.transitions:
            if each.event == transition.UNHEALTHY and each.service not in expected:
                self.fail(f"{each.service} is called unhealthy, and nothing has failed")
        for state in self.model.became_unhealthy:
            name = state.name
            recorded = [each.reason for each in self.world.engine.services.transitions if each.service == name]
            texts = [text_of(reason) for reason in recorded if reason is not None and reason.kind == UNHEALTHY]
            reports = [e.text for e in result if isinstance(e, effects.Report) and e.service == name]
            if not any(text in report for text in texts for report in reports):
                self.fail(f"no report says that {name} is unhealthy")
            acted_on = any(_ends_a_run(effect) == name for effect in result)
            if state.must_end and not acted_on:
                self.fail(f"{name} is unhealthy and is not restarted")
            stops = self.model.is_going_down(state) or state.must_end
            if acted_on and not stops:
                self.fail(f"{name} is unhealthy, and is stopped without on_failure")
            stopping = any(other.stop_requested_at is not None for other in self.model.states.values())
            if self.model.cause == name and not stopping and not any(_ends_a_run(effect) for effect in result):
                self.fail(f"{name} is unhealthy, and the container does not stop")


def _ends_a_run(effect: Effect) -> str:
    """The service whose run begins to end with this effect, "" for none."""
    match effect:
        case effects.Signal(name) | effects.SignalTree(name):
            return name
        case effects.RunHook(service, "pre_stop"):
            return service.name
    return ""


class Hooks(Checker):
    """Hooks run one at a time, at their stage and in their order. The command and the stop signal wait for them."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Spawn):
            state = self.model.states[effect.service.name]
            if state.hook:
                self.fail(f"{state.name} is started beside its {state.hook} hook")
            if state.service.pre_start and state.pre_start_done != len(state.service.pre_start):
                self.fail(f"{state.name} is started before its pre_start hooks have ended")
        elif isinstance(effect, effects.RunHook):
            self._hook(self.model.states[effect.service.name], effect)
        elif isinstance(effect, effects.Signal) and effect.service not in self.model.to_signal:
            self._signal(self.model.states[effect.service], now)

    def _hook(self, state: ServiceState, effect: effects.RunHook) -> None:
        what = f"{effect.stage} hook {effect.number} of {state.name}"
        if state.hook:
            self.fail(f"the {what} runs beside its {state.hook} hook")
        if effect.stage == "pre_start":
            number, allowed = state.pre_start_done, not state.main_alive and not state.spawn_pending
            if self.model.begins_a_run(effect):
                number = 0
        elif effect.stage == "post_start":
            number, allowed = state.post_start_done, state.running and not state.hook_failed
        elif effect.stage == "post_stop":
            number, allowed = state.post_stop_done, state.has_post_stop
            left = self.world.kernel.members(state.name)
            if not number and left:
                self.fail(f"the {what} runs while pid {left[0].pid} of its run is alive")
            self._variables(state, effect)
        else:
            number, allowed = state.pre_stop_done, state.main_alive and not state.signalled and state.killed_at is None
        if not allowed or effect.number != number:
            self.fail(f"the {what} runs at the wrong moment")

    def _variables(self, state: ServiceState, effect: effects.RunHook) -> None:
        code, status = state.exit_code, effect.variables.get("EXIT_STATUS", "")
        if (code is None) != (status == "") or (status.isdigit() and int(status) != code):
            self.fail(f"{state.name} ended with {code}, and its post_stop hook gets {status!r}")

    def _signal(self, state: ServiceState, now: float) -> None:
        if state.main_alive and not state.signalled and not state.skips_pre_stop and state.killed_at is None:
            left = len(state.service.pre_stop) - state.pre_stop_done
            over = state.hooks_until is not None and now >= state.hooks_until - EPSILON
            if (
                left > 0
                and not over
                and (state.stop_requested_at is not None or not state.hook.startswith("post_start"))
            ):
                self.fail(f"{state.name} gets its stop signal before its pre_stop hooks have ended")

    def idle(self, deadline: float | None, now: float) -> None:
        for name, state in self.model.states.items():
            hooked = state.main_alive and state.killed_at is None and state.hook and not state.signalled
            until = state.hooks_until if hooked else None
            if until is not None and (deadline is None or deadline > until + EPSILON):
                self.fail(f"{name} must get its stop signal at {until:.3f}, without a deadline for that")
            if state.has_post_stop and not state.hook:
                self.fail(f"{name} has ended, and its next post_stop hook does not run")
            if state.run_begun and not state.active:
                self.fail(f"{name} is not started after its pre_start hooks")
            if state.hook or state.must_end:
                continue
            if state.running and not state.start_complete and not state.hook_failed:
                self.fail(f"{name} runs, and its next post_start hook does not")
            stopping = state.main_alive and state.stop_requested_at is not None and state.killed_at is None
            if stopping and not state.signalled:
                self.fail(f"{name} is not stopped after its pre_stop hooks")


class Startups(Checker):
    """A service is RUNNING when it has run for the time of its `startup`, and not before. Then it is announced."""

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        early = {state.name for state in self.model.states.values() if state.running and state.startup_at is not None}
        for each in self.world.engine.services.transitions:
            if each.after == "RUNNING" and each.before == "STARTING" and each.service in early:
                self.fail(f"{each.service} counts as started before it has run for its startup")

    def idle(self, deadline: float | None, now: float) -> None:
        for name, state in self.model.states.items():
            due = None if state.paused or not state.running else state.startup_at
            if due is not None and (deadline is None or deadline > due + EPSILON):
                self.fail(f"{name} counts as started at {due:.3f}, without a deadline for that")


class Schedules(Checker):
    """A scheduled job runs when it is due and never twice at once. A skipped run is reported."""

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        skipped = self.model.skipped
        reports = (effect for effect in result if isinstance(effect, effects.Report))
        if skipped is not None and not any(r.service == skipped.name and "skipped" in r.text for r in reports):
            self.fail(f"no report says that a run of {skipped.name} is skipped")

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, (effects.Spawn, effects.RunHook)) and effect.service.schedule is not None:
            state = self.model.states[effect.service.name]
            if not self.model.begins_a_run(effect):
                return
            if state.active:
                self.fail(f"{state.name} overlaps itself")
            elif not state.waiting and state.restart_at is None:
                self.fail(f"{state.name} runs at {now:.3f}, without its schedule being due")


class Reloads(Checker):
    """A reload is done when requested, leads to the newest Plan and is reported. A broken file changes nothing."""

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        model = self.model
        reported = " ".join(effect.text for effect in result if isinstance(effect, effects.Report))
        refused = "cannot reload" in reported
        if isinstance(event, events.ReloadRequested) and model.plan and model.ending_at is not None and not refused:
            self.fail("no report says that there is no reload while the container stops")
        if isinstance(event, events.LoadFailed) and model.ending_at is None:
            missing = [line for line in event.lines if line not in reported]
            if missing or not refused:
                self.fail("no report says what is wrong with the file")
        for state in model.affected_by_reload:
            if state.name not in reported:
                self.fail(f"no report says what the reload does to {state.name}")

    def effect(self, effect: Effect, now: float) -> None:
        model = self.model
        if isinstance(effect, effects.Load) and (model.reading or not model.reload_requested):
            self.fail("the file is read again without a request, or during a reading")
        elif isinstance(effect, effects.Load):
            result = effects.Load(model.next_scale, tuple(model.scale_requested))
            if effect != result:
                self.fail(f"the file is read with {effect.scale} replicas, and it should be as in {result}")
        elif isinstance(effect, effects.Forget):
            state = model.states.get(effect.service)
            if state is None or not state.removed or state.active:
                self.fail(f"{effect.service} is forgotten too early")
        elif isinstance(effect, effects.Prepare) and effect.plan != model.plan:
            self.fail("Prepare has a Plan that is not the newest")
        elif isinstance(effect, (effects.Spawn, effects.RunHook)):
            self._definition(effect)

    def _definition(self, effect: effects.Spawn | effects.RunHook) -> None:
        state = self.model.states.get(effect.service.name)
        if state is None or (state.removed and not state.active):
            self.fail(f"{effect.service.name} is started though it is not in the Plan")
        elif effect.service != state.service:
            self.fail(f"{state.name} is started with an old definition")

    def idle(self, deadline: float | None, now: float) -> None:
        model = self.model
        if model.ending_at is not None or model.plan is None:
            return
        if model.reload_requested and not model.reading:
            self.fail("a reload was requested, and the file is not read")
        for name, state in model.states.items():
            others = [other for other in model.states.values() if other.removed]
            holds = any(each.service == name for other in others for each in other.newest.depends_on)
            if state.removed and not state.active and not holds:  # it keeps the stop order of removed dependents
                self.fail(f"{name} is removed, and not forgotten")


class ReadyAnnouncement(Checker):
    """AllReady is announced once, when all services are ready. The log says so, or that some will not be ready."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.AllReady):
            if self.model.announced:
                self.fail("AllReady is announced twice")
            if not self.model.all_are_ready:
                self.fail("AllReady is announced before all are ready")
        elif isinstance(effect, effects.Report) and not effect.service and "ready after" in effect.text:
            self._logged(effect.text)

    def _logged(self, text: str) -> None:
        states = [state for state in self.model.states.values() if not state.removed]
        late = [state for state in states if not (state.ready or state.succeeded or state.down or state.ended)]
        if text.startswith("not everything"):
            if self.model.all_are_ready or [state for state in late if state.newest.schedule is None]:
                self.fail(f"the log says {text!r}, and the start goes on")
        elif not self.model.all_are_ready:
            self.fail(f"the log says {text!r}, and not all are ready")
        elif text.startswith("everything") and any(state.skipped and state.ended for state in states):
            self.fail(f"the log says {text!r}, and a service was skipped")

    def idle(self, deadline: float | None, now: float) -> None:
        model = self.model
        untouched = all(
            not state.ever_ran and not state.waiting and not state.active and not state.code
            for state in model.states.values()
            if state.newest.schedule is not None
        )
        if model.plan is not None and not model.announced and model.all_are_ready and untouched:
            self.fail("all are ready, and AllReady is not announced")


class NoEffectAfterExit(Checker):
    """After Exit the engine has no effects."""

    def after_exit(self, event: Event, result: list[Effect]) -> None:
        if result:
            self.fail(f"after the Exit {type(event).__name__} still leads to {type(result[0]).__name__}")


LIFECYCLE_CHECKERS: tuple[type[Checker], ...] = (
    Probes,
    Unhealthy,
    Hooks,
    Startups,
    Schedules,
    Reloads,
    ReadyAnnouncement,
    NoEffectAfterExit,
)
