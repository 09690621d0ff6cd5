"""The checkers of starting, stopping and the end of the container, and the list of all checkers."""

# ruff: noqa: ARG002, D102 - class Checker describes the methods; few of them use all their arguments

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from cohabit.plan.reason import DEPENDENCY_FAILED, EXITED_TOO_QUICKLY
from cohabit.plan.reason_text import text_of
from sim.checker import EPSILON, KILL_WAIT_SECONDS, SIGKILL, Checker
from sim.checkers_lifecycle import LIFECYCLE_CHECKERS
from sim.checkers_requests import REQUEST_CHECKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.supervisor import Supervisor
    from cohabit.plan.reason import Reason
    from sim.service_state import ServiceState
    from sim.world import World

_MOMENT = 1e-3


class OneMainProcess(Checker):
    """A service never has two main processes."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Spawn) and (
            effect.service.name in self.world.reactor.mains or self.model.states[effect.service.name].spawn_pending
        ):
            self.fail(f"{effect.service.name} is started while its main process runs")


class CleanStart(Checker):
    """No process of a service is alive when its next run begins, and its post_stop hooks have run."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, (effects.Spawn, effects.RunHook)) and self.model.begins_a_run(effect):
            left = self.world.kernel.members(effect.service.name)
            if self.model.states[effect.service.name].in_post_stop:
                self.fail(f"{effect.service.name} is started before its post_stop hooks have ended")
            if left:
                self.fail(f"{effect.service.name} is started while pid {left[0].pid} of its last run is alive")


class Conditions(Checker):
    """A service starts as soon as its conditions hold, and not before."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, (effects.Spawn, effects.RunHook)) and self.model.begins_a_run(effect):
            state = self.model.states[effect.service.name]
            if state.waiting and not self.model.may_start(state):
                self.fail(f"{effect.service.name} is started before its conditions hold")

    def idle(self, deadline: float | None, now: float) -> None:
        if self.model.ending_at is None:
            for state in self.model.states.values():
                if state.waiting and self.model.may_start(state):
                    self.fail(f"{state.name} waits though its conditions hold")


class Restarts(Checker):
    """An ended service restarts if its policy says so, after the delay. Nothing starts once the container stops."""

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, (effects.Spawn, effects.RunHook)):
            return
        state = self.model.states[effect.service.name]
        # A tie: one event lets this service start and makes another one fail, which stops the container. The engine
        # may handle the two in any order. StopOrder checks that the started service is stopped at once.
        upwards = not isinstance(effect, effects.RunHook) or effect.stage == "pre_start"
        tie = self.model.refused or self.model.became_unhealthy
        if upwards and self.model.ending_at is not None and not tie:
            self.fail(f"{effect.service.name} is started while the container stops")
        if state.ended:
            self.fail(f"{effect.service.name} is started though it has ended for good")
        if not self.model.begins_a_run(effect) or state.waiting:
            return
        if state.restart_at is None or now < state.restart_at - EPSILON:
            self.fail(f"{effect.service.name} is started again at {now:.3f}, due at {state.restart_at}")

    def idle(self, deadline: float | None, now: float) -> None:
        if self.model.ending_at is None:
            for state in self.model.states.values():
                if state.restart_at is not None and (deadline is None or deadline > state.restart_at + EPSILON):
                    self.fail(f"{state.name} is due again at {state.restart_at:.3f}, without a deadline for that")


class StopOrder(Checker):
    """A service that is going down is stopped as soon as no running dependent of it is going down, and not before.

    A service whose run has failed (unhealthy, or a failed hook) is stopped at once. No other service is stopped.
    """

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        if not isinstance(event, events.Daemonised):
            return
        state = self.model.states[event.service]
        stops = effects.Signal(state.name, state.service.stop_signal) in result
        if state.signalled and state.killed_at is None and not state.hook and not stops:
            self.fail(f"{state.name} has another main process now, which gets no stop signal")

    def effect(self, effect: Effect, now: float) -> None:
        state = self._stopped(effect)
        if state is None or state.has_leftovers:
            return  # its main process has ended: no dependent can use what is left
        all_at = self.model.kill_all_at
        if state.stop_requested_at is not None or (all_at is not None and now >= all_at - EPSILON):
            return
        if isinstance(effect, effects.SignalTree) or (
            isinstance(effect, effects.Signal) and effect.number != state.service.stop_signal
        ):
            self.fail(f"{state.name} is not stopped with its own stop_signal")
        if state.must_end:
            return
        if not self.model.is_going_down(state):
            self.fail(f"{state.name} is stopped without a reason")
        for other in self.model.blockers_of_stop(state.name):
            # Also a tie: one reload replaces this service and refuses the other one, which stops the container.
            tie = (
                self.model.refused
                and (state.restart_pending or state.removed)
                and not (other.restart_pending or other.removed)
            )
            if not tie:
                self.fail(f"{state.name} is stopped while {other.name} still runs")

    def _stopped(self, effect: Effect) -> ServiceState | None:
        """The service that this effect begins to stop; None for a signal that a request asked for."""
        requested = (*self.model.to_signal, *self.model.to_kill)
        match effect:
            case effects.Signal(name) | effects.SignalTree(name) if name not in requested:
                return self.model.states[name]
            case effects.RunHook(service, "pre_stop"):
                return self.model.states[service.name]
        return None

    def idle(self, deadline: float | None, now: float) -> None:
        for name, state in self.model.states.items():
            if not state.active or state.stop_requested_at is not None:
                continue
            if state.must_end or state.orphans:
                self.fail(f"{name} is not stopped, though its run has failed")
            if self.model.is_going_down(state) and not self.model.blockers_of_stop(name):
                self.fail(f"{name} is not stopped, though no running service depends on it")


class GracePeriods(Checker):
    """SIGKILL is sent when the grace period, the total or a second stop signal says so, and not before."""

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, (effects.SignalTree, effects.Sweep)) or effect.number != SIGKILL:
            return
        all_at = self.model.kill_all_at
        if all_at is not None and now >= all_at - EPSILON:
            return
        if isinstance(effect, effects.SignalTree) and effect.service in self.model.to_kill:
            return
        if isinstance(effect, effects.Sweep):
            self.fail("all processes are killed before the total grace is used up")
        else:
            state = self.model.states[effect.service]
            due = state.kill_due
            if state.killed_at is None and (due is None or now < due - EPSILON):
                self.fail(f"{effect.service} is killed at {now:.3f}, its grace lasts until {due}")

    def idle(self, deadline: float | None, now: float) -> None:
        for state in self.model.states.values():
            due = state.kill_due
            if due is not None and (deadline is None or deadline > due + EPSILON):
                self.fail(f"the grace of {state.name} ends at {due:.3f}, without a deadline for that")


class Unasked(Checker):
    """No service is killed unasked at the end of the total grace because one that it waits for had too much of it."""

    def effect(self, effect: Effect, now: float) -> None:
        total_at, second_at = self.model.total_at, self.model.second_signal_at
        if not isinstance(effect, effects.SignalTree) or effect.number != SIGKILL or total_at is None:
            return
        if now < total_at - EPSILON or second_at is not None or effect.service in self.model.to_kill:
            return
        state = self.model.states[effect.service]
        ending_at = self.model.ending_at or 0.0
        if state.stop_requested_at is None and state.service.stop_grace_seconds and total_at > ending_at:
            for other in self.model.blockers_of_stop(state.name):
                asked_at = other.stop_requested_at
                if other.killed_at is None and asked_at is not None and asked_at < total_at - _MOMENT:
                    self.fail(f"{state.name} is killed unasked, since {other.name} had the whole total grace")


class TotalGrace(Checker):
    """The Exit comes within the total grace and KILL_WAIT_SECONDS."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Exit):
            self._in_time(now)

    def idle(self, deadline: float | None, now: float) -> None:
        self._in_time(now)
        if self.model.ending_at is not None and deadline is None:
            self.fail("the container stops without a deadline")

    def _in_time(self, now: float) -> None:
        all_at = self.model.kill_all_at
        if all_at is not None and now > all_at + KILL_WAIT_SECONDS + self.world.late_seconds + EPSILON:
            self.fail(f"still not ended at {now:.3f}; the total was used up at {all_at:.3f}")


class SweepOrder(Checker):
    """The sweep begins when no service is active. Exit follows the sweep, or SIGKILL for all processes and a wait."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Sweep):
            active = [name for name, state in self.model.states.items() if state.active]
            if active and not self._wait_is_over(now):
                self.fail(f"the sweep begins while {active[0]} is still being stopped")
        elif isinstance(effect, effects.Exit):
            swept = self.model.swept or not self.model.states
            if not swept and not self._wait_is_over(now):
                self.fail("the Exit comes before the sweep, or before its time is over")

    def _wait_is_over(self, now: float) -> bool:
        all_at = self.model.kill_all_at
        return all_at is not None and now >= all_at + KILL_WAIT_SECONDS - EPSILON


class NoProcessLeft(Checker):
    """At the Exit, every process that is still alive has been sent SIGKILL."""

    def effect(self, effect: Effect, now: float) -> None:
        if isinstance(effect, effects.Exit):
            for process in self.world.kernel.living.values():
                if not process.killed:
                    self.fail(f"pid {process.pid} of {process.service or 'no service'} is left behind")


class ExitCode(Checker):
    """The exit code is that of the first cause, as the model has it, and the exit reason names the cause."""

    def effect(self, effect: Effect, now: float) -> None:
        if not isinstance(effect, effects.Exit):
            return
        right = self.model.exit_codes
        if effect.code not in right:
            self.fail(f"exit code {effect.code}, and the right one is {' or '.join(map(str, sorted(right)))}")
        if self.model.cause and self.model.cause not in _services_in(effect.reason) and effect.code:
            self.fail(f"the exit reason does not name {self.model.cause}: {effect.reason!r}")
        cause = self.model.states.get(effect.cause)
        if cause is not None and not cause.ever_ran and self.model.failed_dependencies(cause):
            self.fail(f"{effect.cause} is named as the cause, and never ran")


class Reasons(Checker):
    """Every end of a run, every refused start and every SIGKILL is reported with its reason."""

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        reports = [effect for effect in result if isinstance(effect, effects.Report)]
        ended = self.model.just_ended
        if ended is not None:
            expected = _compared(self.model.end_reason)
            recorded = [each.reason for each in self.world.engine.services.transitions if each.service == ended.name]
            found = [reason for reason in recorded if reason is not None and _compared(reason) == expected]
            if not found:
                self.fail(f"the end of {ended.name} is recorded with {recorded}, not with {expected}")
            self._require_report(reports, ended.name, found)
        # Once the container stops, no start is refused. The order within one step is the engine's choice.
        for state in self.model.refused if self.model.ending_at is None else ():
            reason = self.world.engine.units[state.name].run.reason
            lost = self.model.failed_dependencies(state)
            if reason is None or reason.kind != DEPENDENCY_FAILED or reason.service not in lost:
                self.fail(f"{state.name} cannot start without {' or '.join(lost)}, and the reason is {reason}")
            else:
                self._require_report(reports, state.name, (reason,))
        for effect in result:
            if not isinstance(effect, effects.SignalTree) or effect.number != SIGKILL:
                continue
            if self.model.states[effect.service].killed_at is None and effect.service not in self.model.to_kill:
                warnings = [f"{report.service}: {report.text}" for report in reports if report.level == "warning"]
                if not any(effect.service in text for text in warnings):
                    self.fail(f"no warning says that {effect.service} is killed")

    def _require_report(self, reports: list[effects.Report], service: str, found: Iterable[Reason]) -> None:
        texts = [text_of(reason.replace(restarts=None)) for reason in found]
        if not any(report.service == service and text in report.text for report in reports for text in texts):
            self.fail(f"no report says {' or '.join(texts)!r} about {service}")


def _compared(reason: Reason | None) -> Reason | None:
    """The part of a reason that the model knows."""
    if reason is None:
        return None
    cause = _compared(reason.cause) if reason.kind == EXITED_TOO_QUICKLY else reason.cause
    return reason.replace(seconds=None, signal=None, detail="", restarts=None, cause=cause)


def _services_in(reason: Reason | None) -> Iterator[str]:
    while reason is not None:
        yield reason.service
        reason = reason.cause


class NoDeadlock(Checker):
    """Without a deadline, another event must be possible."""

    def idle(self, deadline: float | None, now: float) -> None:
        possible = self.world.reactor.awaits_event
        if self.model.ending_at is None:  # a stopped service waits for a request, and dependents wait for it
            down = any(state.down for state in self.model.states.values())
            stays = self.model.plan is not None and self.model.plan.stays
            possible = possible or down or stays or bool(self.world.reactor.scheduled)
        if deadline is None and not self.model.reading and not self.world.kernel.living and not possible:
            self.fail("no deadline, no process and no Exit: only a stop signal could change anything")


class BusyLoop(Checker):
    """The deadline comes at most 12 times at one instant."""

    _AT_MOST = 12

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._instant = 0.0
        self._dues = 0

    def stepped(self, event: Event, result: list[Effect], now: float) -> None:
        if not isinstance(event, events.Due):
            return
        if now != self._instant:
            self._instant, self._dues = now, 0
        self._dues += 1
        if self._dues > self._AT_MOST:
            self.fail(f"the deadline came {self._dues} times at {now:.3f}")


class Reexecution(Checker):
    """A re-execution keeps the whole state."""

    def reexecuted(self, before: Supervisor, after: Supervisor) -> None:
        plain, lost = before.to_plain(), False
        for unit in plain["units"]:
            health = unit["health"]
            if health["asking"]:  # the probe was lost: the next one is due at once
                health["asking"], health["next_at"], lost = False, health["asked_at"], True
        if plain != after.to_plain():
            self.fail("the state after the re-execution differs")
        if before.deadline() != after.deadline() and not lost:
            self.fail(f"the deadline was {before.deadline()}, now it is {after.deadline()}")


CHECKERS: tuple[type[Checker], ...] = (
    OneMainProcess,
    CleanStart,
    Conditions,
    Restarts,
    StopOrder,
    GracePeriods,
    Unasked,
    TotalGrace,
    SweepOrder,
    NoProcessLeft,
    ExitCode,
    Reasons,
    NoDeadlock,
    BusyLoop,
    Reexecution,
    *LIFECYCLE_CHECKERS,
    *REQUEST_CHECKERS,
)
