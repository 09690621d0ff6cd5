"""The expected state of a run, computed from events and effects alone.

It is a second implementation of what the engine decides: which services have ended, which restart and when, what a
reload changes, what the exit code is. It follows docs/reference/rules.md and imports nothing that the engine decides
with. Here is what follows for other services and for the container. service_state.py has what follows for a service
itself, requested.py what requests and reloads ask for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from cohabit.plan import reason as reasons
from cohabit.plan.reason import Reason
from sim.requested import RequestedState

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from sim.service_state import ServiceState

SIGKILL = 9
BUG = 70
UNHEALTHY = 1
SAME_REQUEST_SECONDS = 0.2  # within this time the same signal is the same request


class Model(RequestedState):
    """The expected state of the whole container."""

    def __init__(self) -> None:
        super().__init__()
        self.event_count = 0
        self.done = False
        self.ending_at: float | None = None
        self.total_at: float | None = None  # when the total grace is used up
        self.time_after: dict[str, float] = {}  # by service: what those after it need to stop
        self.codes: set[int | None] = {None}  # of the first cause, None for a requested stop; several in a tie
        self.cause = ""  # the service that ended the container, "" for none or for a tie
        self.failures: list[ServiceState] = []  # for good, in order
        self.stop_requests = 0
        self.first_signal, self.first_signal_at = 0, 0.0
        self.second_signal_at: float | None = None
        self.forced = False
        self.time_is_over = False  # no post_stop hook begins any more
        self.swept = False
        self.announced = False  # AllReady
        self.just_ended: ServiceState | None = None  # with the latest event
        self.end_reason: Reason | None = None
        self.refused: list[ServiceState] = []  # with the latest event
        self.became_unhealthy: list[ServiceState] = []  # with the latest event
        self.skipped: ServiceState | None = None  # its schedule was due too early, with the latest event
        self._was_ending = False  # before the latest event
        self._began_with = 0  # the number of the event with which the stop began

    # --- events ---------------------------------------------------------------------------------------

    def take(self, event: Event, now: float) -> None:
        """Take an event, before the engine gets it."""
        self.event_count += 1
        self._was_ending = self.ending_at is not None
        self.just_ended = self.skipped = None
        self.refused, self.became_unhealthy, self.affected_by_reload = [], [], []
        self.to_kill = self.to_signal = ()
        state = self.states.get(getattr(event, "service", ""))
        if state is not None:
            self._take_service_event(state, event, now)
        elif not hasattr(event, "service"):
            self._take_container_event(event, now)
        if self.ending_at is None:
            self._refuse_starts(now)
            self._check_for_end(now)

    def _take_container_event(self, event: Event, now: float) -> None:
        match event:
            case events.Loaded(plan):
                self.reading, self.scale = False, self.scale_being_read
                if self.ending_at is None:
                    self._loaded(plan, now)
            case events.LoadFailed(_, code):
                self.reading = False
                if self.plan is None:
                    self._begin(now, code, "")
            case events.ReloadRequested(scale):
                if self.ending_at is None:
                    self.reload_requested = self.reload_requested or self.plan is not None
                    self.scale_requested = {
                        **self.scale_requested,
                        **{name: number or 0 for name, number in scale.items()},
                    }
            case events.Requested():
                if self.ending_at is None:
                    self._service_request(event, now)
            case events.StopRequested(number):
                self._stop_requested(number, now)
            case events.Broken():
                self._begin(now, BUG, "")
                self.codes, self.cause = {BUG}, ""
            case events.Gap(seconds, at_most):
                self._postpone(seconds, at_most)
            case events.Swept():
                self.swept = True
            case events.Due():
                self.time_is_over = self.time_is_over or (self.total_at is not None and now >= self.total_at)
                for state in self.states.values():
                    if not state.is_silent_first:
                        state.check_startup(now)
                    if state.running and state.health is not None and not state.paused:
                        self._change_health(state, now, state.health.check_silence)
                    state.check_startup(now)

    def _take_service_event(self, state: ServiceState, event: Event, now: float) -> None:
        match event:
            case events.Spawned():
                state.spawn_pending, state.main_alive, state.since = False, True, now
                state.starts += 1
                state.started = True
                state.begin_startup(now)
                state.watch_if_started(now)
            case events.SpawnFailed(_, cause, orphans):
                reason = cause
                if cause.kind != reasons.SKIPPED:
                    reason = Reason(reasons.CANNOT_START, cause.code, cause=cause)
                self._never_ran(state, reason, now, orphans=orphans)
            case events.Exited():
                self._exited(state, event, now)
            case events.TreeGone():
                state.orphans = False
                self._tree_ended(state, now)
            case events.HookEnded(_, code, cause, orphans):
                self._hook_ended(state, code, cause, now, orphans=orphans)
            case events.Probed(_, passed):
                if state.running and state.service.probe is not None:
                    state.watch(now)
                    self._change_health(state, now, lambda at: self._probe_ended(state, at, passed=passed))
            case events.Notified():
                self._notified(state, event, now)
            case events.ScheduleDue():
                self._schedule_due(state)

    # --- one run -------------------------------------------------------------------------------------

    def _exited(self, state: ServiceState, event: events.Exited, now: float) -> None:
        if state.startup_at != now:
            state.check_startup(now)
        state.main_alive, state.orphans, state.exit_code = False, event.orphans, event.code
        state.by_signal = event.by_signal
        state.code, state.ran_seconds = state.forced_exit_code or event.code, now - state.since
        state.reason = state.reason or state.end_of_run(event.code)
        if not event.orphans and not state.hook:
            self._tree_ended(state, now)
        if state.active and not self.is_going_down(state) and state.is_final:
            self._failed(state)
            if self._ends_all(state) and (state.failure or state.service.schedule is None):
                self._begin(
                    now, state.code or int(state.failure), state.name
                )  # at once, not when its other processes have ended

    def _never_ran(self, state: ServiceState, reason: Reason, now: float, *, orphans: bool) -> None:
        state.spawn_pending, state.started, state.orphans = False, False, orphans
        state.code, state.ran_seconds, state.reason = reason.code or 0, 0.0, reason
        state.skipped = reason.kind == reasons.SKIPPED and not (state.down or state.restart_pending)
        if not orphans:
            self._tree_ended(state, now)

    def _hook_ended(self, state: ServiceState, code: int, cause: Reason | None, now: float, *, orphans: bool) -> None:
        (stage, _, number), state.hook = state.hook.partition(" "), ""
        kind = reasons.HOOK_FAILED if code else reasons.HOOK_ENDED
        reason = Reason(kind, code, hook_stage=stage, hook_index=int(number), cause=cause)
        if stage == "post_stop":
            state.post_stop_done += 1
            state.post_stop_over = state.post_stop_done >= len(state.service.post_stop)
            state.orphans = orphans
            if not state.has_post_stop and not orphans:
                self._run_ended(state, now)
        elif cause is not None and cause.kind == reasons.SKIPPED:
            self._never_ran(state, cause, now, orphans=orphans)
        elif stage == "pre_start":
            if code or self.is_going_down(state):
                self._never_ran(state, reason, now, orphans=orphans)
            else:
                state.pre_start_done += 1
        elif not state.main_alive:
            state.orphans = state.orphans or orphans
            if not state.orphans:
                self._tree_ended(state, now)
        elif stage == "pre_stop":
            state.pre_stop_done += 1
        elif state.running and code and not self.is_going_down(state):
            state.must_end, state.hook_failed, state.forced_exit_code, state.reason = True, True, code, reason
        elif state.running:
            state.hook_failed = state.hook_failed or code != 0
            state.post_start_done += 1
            state.watch_if_started(now)
            if state.start_complete and state.health is not None and not state.paused:
                self._change_health(state, now, state.health.check_silence)

    def _tree_ended(self, state: ServiceState, now: float) -> None:
        """Its last process has ended. Its post_stop hooks come before anything else."""
        skipped = state.reason is not None and state.reason.kind == reasons.SKIPPED
        if state.in_post_stop or not state.service.post_stop or skipped or self.time_is_over:
            self._run_ended(state, now)
        else:
            state.in_post_stop = True
            state.kill_at = state.killed_at = state.stop_requested_at = None

    def _run_ended(self, state: ServiceState, now: float) -> None:
        """Its last process has ended, and its post_stop hooks, too."""
        self.just_ended, self.end_reason = state, state.reason
        state.stop_requested_at, state.run_begun, state.in_post_stop = None, False, False
        if self.ending_at is not None or state.removed:
            return
        if state.restart_pending:
            state.reset()
        elif state.down:
            state.service = state.newest
        elif not state.is_final:
            state.schedule_restart(now)
        else:
            state.given_up = not state.skipped and (state.cannot_restart or not state.started)
            self._run_was_final(state, now)

    def _run_was_final(self, state: ServiceState, now: float) -> None:
        """The run was the last one, or the last one until the schedule is due."""
        state.ended = state.service.schedule is None
        self._failed(state)
        if self._ends_all(state) and (state.failure or state.ended):
            self._begin(now, state.code or int(state.failure), self.just_ended.name if self.just_ended else "")

    @staticmethod
    def _ends_all(state: ServiceState) -> bool:
        """Whether the end of its last run ends the container."""
        failed = state.failure or state.given_up
        return not state.skipped and state.service.essential and bool(failed or state.service.ends_on_success)

    def _failed(self, state: ServiceState) -> None:
        if state.failure and not state.failed_at and state.service.schedule is None:
            state.failed_at = self.event_count

    def _refuse_starts(self, now: float) -> None:
        """Refuse services whose conditions can no longer hold, and then the services that depend on them."""
        while lost := [state for state in self.states.values() if state.waiting and self.failed_dependencies(state)]:
            for state in lost:
                state.waiting = False
                state.given_up = True
                state.code = self.states[self.failed_dependencies(state)[0]].code or 1  # a refused start is a failure
                self.refused.append(state)
                self._run_was_final(state, now)

    def _postpone(self, seconds: float, at_most: float) -> None:
        """Nothing ran: no grace period and no time for a report has passed."""
        if self.total_at is not None:
            self.total_at += seconds
        for state in self.states.values():
            if state.kill_due is not None:
                state.kill_at = state.kill_due + seconds
            if state.hooks_until is not None:
                state.hooks_until += seconds
            if state.running and state.startup_at is not None and not state.paused:
                state.startup_at += seconds
            if state.running and state.health is not None and not state.paused:
                state.health.postpone(at_most)

    # --- health, schedules ---------------------------------------------------------------------------

    @staticmethod
    def _probe_ended(state: ServiceState, now: float, *, passed: bool) -> None:
        if state.health is not None:
            state.health.probe_ended(now, passed=passed)

    def _notified(self, state: ServiceState, message: events.Notified, now: float) -> None:
        seconds = message.extend_seconds
        if seconds and state.kill_due is not None:
            after = self.time_after.get(state.name, 0.0)
            if state.service.post_stop and not state.in_post_stop:
                after += 2.0
            latest = self.total_at - after if self.total_at is not None and after else now + seconds
            before = state.kill_due
            state.kill_at = max(before, min(now + seconds, latest))
            if state.kill_at > before:
                self._limit_hooks(state, now)
        probe = state.service.probe
        if not state.running or probe is None or probe.kind != "notify":
            return
        state.watch(now)
        health = state.health
        if health is None:
            return
        if seconds:
            health.extend(now, seconds)
        alive = message.ready or (bool(message.watchdog) and health.was_healthy)
        if message.watchdog == "trigger" or alive:
            passed = message.watchdog != "trigger"
            self._change_health(state, now, lambda at: health.probe_ended(at, passed=passed))

    def _change_health(self, state: ServiceState, now: float, change: Callable[[float], None]) -> None:
        health = state.health
        if health is None:
            return
        was = health.unhealthy
        change(now)
        if was or not health.unhealthy:
            return
        self.became_unhealthy.append(state)
        if self._was_ending or state.removed or state.restart_pending or state.down:
            return
        what = health.probe.on_failure
        if what == "restart":
            state.must_end = state.restart_requested = True
            state.forced_exit_code, state.reason = UNHEALTHY, Reason(reasons.UNHEALTHY)
        elif what == "exit":
            state.reason = Reason(reasons.UNHEALTHY)
            self._begin(now, UNHEALTHY, state.name)

    def _schedule_due(self, state: ServiceState) -> None:
        if self.ending_at is not None or state.service.schedule is None or state.removed or state.restart_pending:
            return
        if state.active or state.waiting or state.restart_at is not None:
            self.skipped = state
        else:
            state.waiting, state.restarts, state.down = True, 0, False

    # --- end of the container ------------------------------------------------------------------------

    def _stop_requested(self, number: int, now: float) -> None:
        if number == self.first_signal and now - self.first_signal_at < SAME_REQUEST_SECONDS:
            return
        self.stop_requests += 1
        if self.stop_requests == 1:
            self.first_signal, self.first_signal_at = number, now
        if self.ending_at is None:
            self._begin(now, None, "")
        elif self.stop_requests == 1 and 128 + number in self.codes:
            self.codes = (self.codes - {128 + number}) | {None}
            self.cause = ""
        if self.stop_requests > 1 and self.second_signal_at is None:
            self.second_signal_at, self.time_is_over = now, True

    def _check_for_end(self, now: float) -> None:
        states = self.states.values()
        if (
            self.plan is None
            or self.plan.stays
            or self.ending_at is not None
            or not all(a.ended for a in states if not self._will_be_forgotten(a))
        ):
            return
        failed = [state for state in states if state.failed_at and not self._will_be_forgotten(state)]
        failed.sort(key=lambda state: state.failed_at)
        first = [state for state in failed if state.failed_at == failed[0].failed_at]
        if self.just_ended in first:
            first = [self.just_ended]
        for state in first:
            self._begin(now, state.code or 1, state.name)
        if not first:
            self._begin(now, 0, "")

    @staticmethod
    def _will_be_forgotten(state: ServiceState) -> bool:
        """It is not in the Plan, and no process of it exists."""
        return state.removed and not state.active

    def _begin(self, now: float, code: int | None, cause: str) -> None:
        """The container begins to stop. Several causes with one event are a tie: the engine may choose either."""
        if self.ending_at is None:
            self.ending_at, self.codes, self.cause = now, {code}, cause
            self.total_at = now + self.plan.stop_grace_seconds if self.plan else None
            self._began_with = self.event_count
            self._divide_total(now)
        elif self._began_with == self.event_count and code not in (None, BUG) and None not in self.codes:
            self.codes.add(code)
            self.cause = self.cause if self.cause == cause else ""

    # --- effects -------------------------------------------------------------------------------------

    def apply(self, effect: Effect, now: float) -> None:
        """Take an effect of the engine, after the checkers have seen it."""
        match effect:
            case effects.Spawn() | effects.RunHook() if self.begins_a_run(effect):
                state = self.states[effect.service.name]
                state.begin_run()
                state.run_begun = True
                state.waiting, state.restart_at, state.failed_at = False, None, 0
        match effect:
            case effects.Spawn(service):
                self.states[service.name].spawn_pending = self.states[service.name].ever_ran = True
            case effects.RunHook(service, stage, number):
                self.states[service.name].hook = f"{stage} {number}"
                self.states[service.name].ever_ran = True
                if stage == "post_stop":
                    self._stop_begins(self.states[service.name], now)
                if stage == "pre_stop":
                    self._stop_begins(self.states[service.name], now)
                    if self.states[service.name].hooks_until is None:
                        self._limit_hooks(self.states[service.name], now)
            case effects.Signal(name) if name not in self.to_signal:
                self._stop_begins(self.states[name], now)
                self.states[name].signalled = True
            case effects.SignalTree(name, number):
                if number == SIGKILL and self.states[name].stop_requested_at is None:
                    self.states[name].killed_unasked = True
                self._stop_begins(self.states[name], now)
                if number == SIGKILL:
                    self._killed(self.states[name], now)
            case effects.Ask(service):
                health = self.states[service.name].health
                if health is not None:
                    health.probe_sent(now)
            case effects.Load():
                self._begin_to_read()
            case effects.Forget(name):
                del self.states[name]
            case effects.AllReady():
                self.announced = True
            case effects.Sweep(number):
                self.forced = self.forced or number == SIGKILL
            case effects.Exit():
                self.done = True

    @staticmethod
    def begins_a_run(effect: effects.Spawn | effects.RunHook) -> bool:
        """Whether an effect is the first one of a run."""
        if isinstance(effect, effects.Spawn):
            return not effect.service.pre_start
        return effect.stage == "pre_start" and effect.number == 0

    def _stop_begins(self, state: ServiceState, now: float) -> None:
        if state.stop_requested_at is None:
            state.stop_requested_at = now
            state.paused_at = None
            state.kill_at = now + self._time_to_stop(state, now)
            state.skips_pre_stop = state.hook.startswith("post_start")

    def _limit_hooks(self, state: ServiceState, now: float) -> None:
        """A running pre_stop hook leaves a quarter of the time that is left for the stop signal, 2 s at most."""
        if state.kill_due is not None and state.hook.startswith("pre_stop") and not state.signalled:
            left = min(state.kill_due, self.total_at or state.kill_due) - now
            state.hooks_until = now + max(0.0, left * 0.75, left - 2.0)

    def _time_to_stop(self, state: ServiceState, now: float) -> float:
        """Its grace period; less if the services after it would have no time left."""
        grace, after = state.grace_seconds, self.time_after.get(state.name, 0.0)
        if self.total_at is None:
            return grace
        left = self.total_at - now
        if after and grace + after > left:
            grace = max(0.0, left) * grace / (grace + after)
        if state.service.post_stop and not state.in_post_stop:
            grace = max(0.0, min(grace, left) * 0.75, min(grace, left) - 2.0)
        return grace

    def _divide_total(self, now: float) -> None:
        """The container begins to stop: services that are being stopped already may have less time from now on."""
        self.time_after = {}
        for name in self.states:
            self._time_after(name)
        for state in self.states.values():
            if state.active and state.kill_at is not None and state.killed_at is None:
                state.kill_at = min(state.kill_at, now + self._time_to_stop(state, now))
                self._limit_hooks(state, now)

    def _time_after(self, name: str) -> float:
        """The longest time that the services which are stopped after it need to stop one after the other."""
        if name not in self.time_after:
            found = [0.0]
            for dependency in self.states[name].newest.depends_on:
                other = self.states.get(dependency.service)
                if other is not None:
                    own = other.grace_seconds if other.active else 0.0
                    found.append(own + self._time_after(other.name))
            for other in self.states.values():
                if self.level(other) < self.level(self.states[name]):
                    own = other.grace_seconds if other.active else 0.0
                    found.append(own + self._time_after(other.name))
            self.time_after[name] = max(found)
        return self.time_after[name]

    def _killed(self, state: ServiceState, now: float) -> None:
        if state.killed_at is None:
            state.killed_at, state.killed_in = now, "" if state.signalled else state.hook
            self.forced = self.forced or self.ending_at is not None

    def reexecuted(self) -> None:
        """Process 1 re-executed itself: running probes are lost."""
        for state in self.states.values():
            if state.health is not None:
                state.health.probe_lost()

    # --- conclusions ---------------------------------------------------------------------------------

    def is_going_down(self, state: ServiceState) -> bool:
        """Whether its current run is to be stopped."""
        return self.ending_at is not None or state.removed or state.restart_pending or state.down

    @property
    def kill_all_at(self) -> float | None:
        """When SIGKILL for all processes is due: at the end of the total grace, or at the second stop signal."""
        if self.total_at is None:
            return None
        return self.total_at if self.second_signal_at is None else min(self.total_at, self.second_signal_at)

    def failed_dependencies(self, state: ServiceState) -> list[str]:
        """The dependencies that have ended without satisfying their condition."""
        return [
            dependency.service
            for dependency in state.service.depends_on
            if self.states[dependency.service].ended and not self.states[dependency.service].satisfies(dependency)
        ]

    def may_start(self, state: ServiceState) -> bool:
        """Whether all its dependencies are satisfied."""
        return all(self.states[needed.service].satisfies(needed) for needed in state.service.depends_on)

    def blockers_of_stop(self, name: str) -> list[ServiceState]:
        """The services that must end before this one is stopped: active dependents that are going down, too.

        When the container stops, also those of a higher level.
        """
        level = self.level(self.states[name])
        return [
            state
            for state in self.states.values()
            if state.active
            and self.is_going_down(state)
            and (self._reaches(state, name) or (self.ending_at is not None and self.level(state) > level))
        ]

    def level(self, state: ServiceState) -> int:
        """Its priority, or the highest one of all that it depends on."""
        found = [
            one.priority for one in (other.newest for other in self.states.values()) if self._reaches(state, one.name)
        ]
        return max([state.newest.priority, *found])

    def _reaches(self, state: ServiceState, name: str) -> bool:
        """Whether a service depends on another one, directly or through others."""
        return any(
            dependency.service == name or self._reaches(self.states[dependency.service], name)
            for dependency in state.newest.depends_on
            if dependency.service in self.states
        )

    @property
    def all_are_ready(self) -> bool:
        """Whether all services are ready or completed. Stopped and scheduled services do not count."""
        return self.ending_at is None and all(
            (state.ready or state.succeeded or state.down) and not state.restart_pending
            for state in self.states.values()
            if not state.removed and state.newest.schedule is None
        )

    @property
    def exit_codes(self) -> set[int]:
        """The expected exit code; several in a tie."""
        requested = 128 + SIGKILL if self.forced else 0
        return {requested if code is None else code for code in self.codes}
