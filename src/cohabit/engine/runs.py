"""The run of one service, from its start to its end: the command, the hooks, the stop, the restart.

services.py applies the state table, and calls `begin`, `stop` and `verdict` for what a state means. The other methods
handle the events of a run.

A run is a chain: the pre_start hooks, the command, the post_start hooks, the probe; at the stop the pre_stop hooks,
the stop signal, SIGKILL; when the last process has ended, the post_stop hooks. One hook runs at a time; its end
continues the chain (`hook_ended`).
"""

from __future__ import annotations

from cohabit.engine import machine, post_stop, pre_stop, startup
from cohabit.engine.effects import RunHook, SignalTree, Spawn, Unpause
from cohabit.engine.policy import BETWEEN_STARTS_SECONDS, failed_start, verdict
from cohabit.engine.run import ALIVE, DUE, GONE, OUT_OF_MEMORY, OVER, PAUSED, PENDING, SIGNAL, Run, Stop
from cohabit.engine.unit import HOOK_TIMER, STATE_TIMER
from cohabit.errors import EXIT_KILLED
from cohabit.plan.file_words import word
from cohabit.plan.model import POST_START, POST_STOP, PRE_START, PRE_STOP, RESTART
from cohabit.plan.reason import (
    CANNOT_START,
    HOOK_ENDED,
    HOOK_FAILED,
    SKIPPED,
    STOP_TIMED_OUT,
    STOPPED_UNASKED,
    Reason,
    dependency_failed,
    end_of_run,
    exited_too_quickly,
)
from cohabit.plan.reason_text import text_of
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.events import Exited, Notified
    from cohabit.engine.policy import Verdict
    from cohabit.engine.surroundings import Services
    from cohabit.engine.unit import Unit

SIGKILL, SIGTERM = 9, 15


class Runs:
    """The runs of all services. `now` is monotonic seconds."""

    def __init__(self, services: Services) -> None:
        self._services = services

    # --- the start -----------------------------------------------------------------------------------

    def begin(self, unit: Unit, now: float) -> None:
        """Start a new run: its first pre_start hook, or its command."""
        unit.run = Run(now, PENDING)
        self._services.total_grace.requested.pop(unit.name, None)
        unit.failed, unit.signal_refused = 0, None
        if unit.spec.pre_start:
            self._run_hook(unit, PRE_START, 0)
        else:
            self._services.out.append(Spawn(unit.spec))

    def refuse(self, unit: Unit, failed: Unit) -> None:
        """It cannot start, because a dependency has failed: a run without a process has this reason."""
        unit.run = Run(unit.run.started_at)
        unit.run.reason = dependency_failed(failed.name, failed.run.reason)
        unit.code = failed.code or 1  # it counts as a failure even if the other one ended with 0
        self._services.say("error", unit, text_of(unit.run.reason))

    def spawned(self, unit: Unit, pid: int, now: float) -> None:
        """The exec of its command succeeded."""
        services, run = self._services, unit.run
        run.pid, run.process, run.started_at = pid, ALIVE, now
        unit.starts += 1
        if not startup.begin(services, unit, now):
            services.fact(unit, machine.SPAWNED, now)
        services.say("info", unit, f"started, pid {pid}", transition=True)
        services.mark_dirty(unit)  # service_started holds now for its dependents, also if it is being stopped already
        if unit.command_runs and unit.spec.post_start:
            self._run_hook(unit, POST_START, 0)
        elif unit.command_runs:
            services.health_monitor.begin(unit, now)

    def spawn_failed(self, unit: Unit, cause: Reason, now: float, *, orphans: bool) -> None:
        """Its command could not be started, or its conditions do not hold (SKIPPED).

        Processes that its pre_start hooks left behind are terminated.
        """
        reason = cause if cause.kind == SKIPPED else Reason(CANNOT_START, cause.code, cause=cause)
        _has_no_main_process(unit, cause.code, reason)
        self._services.fact(unit, machine.LEFT_ORPHANS if orphans else machine.SPAWN_FAILED, now)

    # --- hooks ---------------------------------------------------------------------------------------

    def _run_hook(self, unit: Unit, stage: str, index: int) -> None:
        unit.run.hook_stage, unit.run.hook_index = stage, index
        variables = post_stop.variables(unit) if stage == POST_STOP else {}
        self._services.out.append(RunHook(unit.spec, stage, index, variables))

    def hook_ended(self, unit: Unit, code: int, cause: Reason | None, now: float, *, orphans: bool) -> None:
        """A hook has ended: run the next one, or continue the start or the stop."""
        run = unit.run
        stage, index, run.hook_stage = run.hook_stage, run.hook_index, ""
        outcome = Reason(HOOK_FAILED if code else HOOK_ENDED, code, hook_stage=stage, hook_index=index, cause=cause)
        more = index + 1 < len(unit.spec.hooks(stage)) if stage else False
        if not more:
            self._services.timers.set((unit.name, HOOK_TIMER), None)
        if stage == POST_STOP:
            if post_stop.next_runs(self._services, unit, outcome, now, orphans=orphans):
                self._run_hook(unit, POST_STOP, index + 1)
        elif stage != PRE_START and not run.main_alive and unit.state == machine.STOPPING:
            run.orphans = run.orphans or orphans
            if not run.orphans:
                self._services.fact(unit, machine.TREE_GONE, now)
        elif stage == PRE_START and cause is not None and cause.kind == SKIPPED:
            self.spawn_failed(unit, cause, now, orphans=orphans)
        elif stage == PRE_START:
            self._pre_start_ended(unit, code if code or more else None, outcome, now, orphans=orphans)
        elif stage == PRE_STOP and unit.state == machine.STOPPING:
            if code:
                self._services.say("warning", unit, text_of(outcome))
            if run.killed or (run.stop is not None and run.stop.hooks_over):
                return
            if more:
                self._run_hook(unit, PRE_STOP, index + 1)
            else:
                self._services.out.append(pre_stop.stop_signal(unit))
        elif stage == POST_START and unit.command_runs:
            if code:
                self._post_start_failed(unit, outcome, now)
            elif more:
                self._run_hook(unit, POST_START, index + 1)
            else:
                self._services.health_monitor.begin(unit, now)

    def _pre_start_ended(self, unit: Unit, code: int | None, outcome: Reason, now: float, *, orphans: bool) -> None:
        """code: None when it was the last hook and it succeeded."""
        if unit.state == machine.STARTING and not code and not unit.going_down:
            if code is None:
                self._services.out.append(Spawn(unit.spec))
            else:
                self._run_hook(unit, PRE_START, unit.run.hook_index + 1)
            return
        _has_no_main_process(unit, code or 0, outcome)
        if unit.state == machine.STARTING:
            self._services.fact(unit, machine.LEFT_ORPHANS if orphans else machine.SPAWN_FAILED, now)
        elif unit.state == machine.STOPPING:
            self._services.fact(unit, machine.LEFT_ORPHANS if orphans else machine.ENDED_ALONE, now)

    def _post_start_failed(self, unit: Unit, outcome: Reason, now: float) -> None:
        self._services.say("error", unit, text_of(outcome) + ("" if unit.going_down else ": stopping it"))
        if not unit.going_down:
            unit.run.reason = outcome
            self._services.fact(unit, machine.FAILED, now)

    # --- while it runs -------------------------------------------------------------------------------

    def daemonised(self, unit: Unit, pid: int) -> None:
        """Its main process is the daemon `pid` from now on."""
        run = unit.run
        run.pid = pid
        if unit.state == machine.STOPPING and not run.awaits_hook:
            self._services.out.append(pre_stop.stop_signal(unit))
        if not run.in_background:  # logged once per run, however often it forks again
            run.in_background = True
            self._services.say("info", unit, f"is in the background now, pid {pid}")

    def notified(self, unit: Unit, message: Notified, now: float) -> None:
        """Handle a message of sd_notify(3), except for what concerns its health."""
        if message.status is not None:
            unit.run.status = message.status
        if message.main_pid:
            unit.run.pid = message.main_pid
        deadline = self._services.timers.get((unit.name, STATE_TIMER))
        if message.extend_seconds and unit.state == machine.STOPPING and deadline is not None:
            latest = self._services.total_grace.latest(unit)
            extended = now + message.extend_seconds
            until = extended if latest is None else min(extended, latest)
            if until > deadline and unit.run.stop is not None:
                unit.run.stop.extended = True
                self._set_deadline(unit, until)
                pre_stop.limit(self._services, unit, now)

    # --- the stop and the end ------------------------------------------------------------------------

    def stop(self, unit: Unit, before: str, now: float) -> None:
        """Signal its processes to end, or run its post_stop hooks if they are due. before: its former state."""
        services, run = self._services, unit.run
        if run.process == PAUSED:
            run.process = ALIVE
            services.out.append(Unpause(unit.name))
        run.stop = run.stop or Stop()
        if before != machine.STOPPING or run.stop.refused or run.post_stop == DUE:
            self._set_grace(unit, now)
        run.stop.refused = False
        if run.post_stop == DUE:
            post_stop.begin(services, unit, run.stop)
            self._run_hook(unit, POST_STOP, 0)
        elif run.killed or run.post_stop == OVER:
            services.out.append(SignalTree(unit.name, SIGKILL))
        elif before in machine.UNDER_WAY and run.main_alive and unit.spec.pre_stop and not run.hook_stage:
            self._run_hook(unit, PRE_STOP, 0)
            pre_stop.limit(self._services, unit, now)
        elif run.process == GONE:
            services.out.append(SignalTree(unit.name, SIGTERM))
        else:
            self._services.out.append(pre_stop.stop_signal(unit))

    def _set_grace(self, unit: Unit, now: float) -> None:
        seconds = self._services.total_grace.seconds(unit, now)
        if unit.run.stop is not None:
            unit.run.stop.share = seconds if seconds < self._services.total_grace.of(unit) else None
            unit.run.stop.extended = False
        self._set_deadline(unit, now + seconds)

    def change_grace(self, unit: Unit, now: float, *, longer: bool = False) -> None:
        """The time for its stop has changed. If it is being stopped already, that time counts from now on.

        longer: the deadline may become later, since that was requested.
        """
        deadline = self._services.timers.get((unit.name, STATE_TIMER)) if unit.state == machine.STOPPING else None
        if deadline is not None and (longer or deadline > now + self._services.total_grace.seconds(unit, now)):
            self._set_grace(unit, now)
        pre_stop.limit(self._services, unit, now)

    def postpone(self, seconds: float) -> None:
        """Nothing ran for this time (the event Gap): it is not part of a grace period, or of the time of a start."""
        for unit in self._services.units.values():
            if not unit.paused:
                startup.extend(self._services, unit, seconds)
            for key in ((unit.name, STATE_TIMER), (unit.name, HOOK_TIMER)):
                deadline = self._services.timers.get(key)
                if unit.state == machine.STOPPING and deadline is not None:
                    self._services.timers.set(key, deadline + seconds)

    def kill(self, unit: Unit) -> None:
        """Its grace period is over, or the time of its post_stop hooks."""
        self._services.killed = True
        unit.run.kill()
        share = unit.run.stop.share if unit.run.stop else None
        supervisord = unit.spec.startup is not None
        requested = unit.name in self._services.total_grace.requested
        kind = "the requested" if requested else f"its {word('grace', supervisord=supervisord)} of"
        kind = "" if unit.run.post_stop else f"{kind} "
        grace = f"{kind}{format_duration(self._services.total_grace.of(unit))}"
        if share is not None:
            grace = f"{format_duration(share)}, its share of the total ({word('total grace', supervisord=supervisord)})"
        longer = (
            " and the time that it asked for (EXTEND_TIMEOUT_USEC)" if unit.run.stop and unit.run.stop.extended else ""
        )
        what = f"its {POST_STOP} hooks have not ended" if unit.run.post_stop else "not stopped"
        it = "them" if unit.run.post_stop else "it"
        self._services.say("warning", unit, f"{what} within {grace}{longer}: killing {it}")
        self._services.out.append(SignalTree(unit.name, SIGKILL))

    def kill_at_once(self, unit: Unit, now: float) -> None:
        """Send SIGKILL to its process tree now, without a grace period."""
        unit.run.kill()
        self._services.fact(unit, machine.KILL, now)
        self._set_deadline(unit, None)
        self._services.timers.set((unit.name, HOOK_TIMER), None)

    def _set_deadline(self, unit: Unit, time: float | None) -> None:
        self._services.timers.set((unit.name, STATE_TIMER), time)

    def exited(self, unit: Unit, event: Exited, now: float) -> None:
        """Its main process has ended."""
        services, run = self._services, unit.run
        code, orphans = event.code, event.orphans
        services.timers.set((unit.name, HOOK_TIMER), None)
        counts_as_started = startup.was_over(unit, now)
        if run.process == PAUSED:  # it had ended before, or was killed: what it left behind has to end as well
            services.out.append(Unpause(unit.name))
        run.process, run.orphans = GONE, orphans
        if counts_as_started:
            services.fact(unit, machine.DUE, now)
        run.ended = (OUT_OF_MEMORY if event.out_of_memory else SIGNAL if event.by_signal else "", code)
        unit.code = run.forced_exit_code or code
        run.ran_seconds = max(0.0, now - run.started_at)
        if run.reason is None:
            run.reason = end_of_run(code, run.ran_seconds, out_of_memory=event.out_of_memory)
            if unit.state == machine.STARTING and unit.spec.startup is not None:
                run.reason = exited_too_quickly(run.reason, unit.spec.startup.seconds)
            if unit.state == machine.STOPPING and code == EXIT_KILLED and run.stop is not None and run.stop.killed:
                run.reason = _stop_timed_out(run.reason, run.stop)
        if orphans and unit.state in machine.UNDER_WAY:
            foreground = word("daemon", supervisord=unit.spec.startup is not None)
            hint = "" if code else f" (if it is a daemon: {foreground})"
            services.say("warning", unit, f"{text_of(run.reason)}; terminating the processes that it left behind{hint}")
        left = orphans or run.hook_stage != ""  # a hook that is still running counts, too
        services.fact(unit, machine.LEFT_ORPHANS if left else machine.ENDED_ALONE, now)
        final = not unit.at_rest and not unit.going_down and _policy(unit).state != machine.BACKOFF
        if final and (unit.failure or unit.spec.schedule is None):
            services.ended.append(unit)  # at once: the others do not wait for its remaining processes and hooks

    def verdict(self, unit: Unit, now: float) -> str:
        """Its last process has ended: return the state that follows, and log it."""
        started = unit.run.pid != 0
        why = text_of(unit.run.reason)
        if unit.run.reason is not None and unit.run.reason.kind == SKIPPED:
            unit.restarts = 0
            self._services.say("info", unit, why)
            return machine.STOPPED if unit.going_down else machine.EXITED
        if unit.going_down:
            level, text = ("info", f"stopped: {why}") if started else ("error", why)
            self._services.say(level, unit, text, transition=True)
            return machine.STOPPED
        what = _policy(unit)
        failed_to_start = unit.spec.startup is not None and not unit.run.started
        unit.restarts = what.restarts if failed_to_start or unit.spec.startup is None else 0
        if what.state == machine.BACKOFF:
            delay = format_duration(what.delay_seconds)
            count = "start retry" if failed_to_start else "restart"
            text = f"{why}; starting again in {delay} ({count} {what.restarts})"
            self._services.say("warning", unit, text, transition=True)
            self._set_deadline(unit, now + what.delay_seconds)
            return what.state
        if what.state == machine.FATAL and (started or failed_to_start) and unit.run.reason is not None:
            unit.run.reason = unit.run.reason.replace(restarts=what.restarts)
        level = "error" if unit.failure or what.state == machine.FATAL else "info"
        self._services.say(level, unit, text_of(unit.run.reason), transition=True)
        return what.state


def _policy(unit: Unit) -> Verdict:
    run = unit.run
    if unit.spec.startup is not None and not run.started:
        return failed_start(unit.spec.startup, unit.restarts)
    what = verdict(
        unit.spec.restart,
        unit.code or 0,
        run.ran_seconds,
        unit.restarts,
        started=run.pid != 0,
        failure=unit.failure,
        restart_requested=run.on_failure == RESTART,
    )
    if unit.spec.startup is None:
        return what
    return what.replace(delay_seconds=max(what.delay_seconds, BETWEEN_STARTS_SECONDS - run.ran_seconds))


def _stop_timed_out(reason: Reason, stop: Stop) -> Reason:
    if stop.blocked_hook is not None:
        return reason.replace(kind=STOPPED_UNASKED, hook_stage=PRE_STOP, hook_index=stop.blocked_hook)
    return reason.replace(kind=STOP_TIMED_OUT if stop.asked else STOPPED_UNASKED)


def _has_no_main_process(unit: Unit, code: int | None, reason: Reason) -> None:
    unit.run.pid, unit.run.process, unit.run.ran_seconds = 0, GONE, 0.0
    unit.code, unit.run.reason = code, reason
