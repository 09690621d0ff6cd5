"""The expected state of one service, computed from events and effects alone.

It follows docs/reference/rules.md and health.md and imports nothing that the engine decides with. It is simple on
purpose: no state table and no order of work. model.py has what follows for other services and for the container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.plan import reason as reasons
from cohabit.plan.model import COMPLETED, HEALTHY
from cohabit.plan.reason import Reason

if TYPE_CHECKING:
    from cohabit.plan.model import Dependency, Probe, Service

_KILLED = 128 + 9
_BY_SIGNAL = range(128 + 1, 128 + 32)
_PASSIVE_KINDS = ("notify", "log", "fd")
# Fields whose change needs no restart.
_CHANGED_IN_PLACE = (
    "restart",
    "stop_signal",
    "stop_grace_seconds",
    "essential",
    "ends_on_success",
    "job",
    "depends_on",
    "pre_stop",
    "post_stop",
    "startup",
    "priority",
)
_PROBE_TIMES = ("interval_seconds", "timeout_seconds", "retries", "start_period_seconds", "start_interval_seconds")


class HealthModel:
    """The health of one run, from its first probe on. Times are monotonic seconds, None for never.

    While neither healthy nor unhealthy, the run is starting.
    """

    def __init__(self, probe: Probe, now: float) -> None:
        self.probe = probe
        self.passive = probe.kind in _PASSIVE_KINDS
        self.healthy = False
        self.unhealthy = False
        self.was_healthy = False
        self.failures = 0
        self.failures_count_from = now + probe.start_period_seconds + probe.interval_seconds
        self.next_probe_at = None if self.passive else now
        self.in_flight = False  # a probe is
        self.probed_at = now
        self.silence_deadline = self.failures_count_from if self.passive else None  # of the next message

    def probe_sent(self, now: float) -> None:
        """A probe begins."""
        self.in_flight, self.probed_at, self.next_probe_at = True, now, None

    def probe_ended(self, now: float, *, passed: bool) -> None:
        """A probe has a result, or a passive probe a message."""
        if passed:
            self.healthy, self.unhealthy, self.was_healthy, self.failures = True, False, True, 0
        elif self.passive:
            self.healthy, self.unhealthy = False, True
        else:
            self._count_failure(now)
        if self.passive:
            watchdog = self.probe.watchdog_seconds
            self.silence_deadline = now + watchdog if passed and watchdog else None
            return
        self.in_flight = False
        starting = not self.healthy and not self.unhealthy
        soon = max(now, self.probed_at + self.probe.start_interval_seconds)
        self.next_probe_at = soon if starting else now + self.probe.interval_seconds

    def check_silence(self, now: float) -> None:
        """Time has passed: a missing message is a failure of a passive probe."""
        if self.silence_deadline is None or self.silence_deadline > now:
            return
        if self.healthy:
            self.healthy, self.unhealthy, self.silence_deadline = False, True, None
        else:
            self._count_failure(now)
            self.silence_deadline = None if self.unhealthy else self.failures_count_from

    def extend(self, now: float, seconds: float) -> None:
        """The service asks for more time (EXTEND_TIMEOUT_USEC)."""
        self.failures_count_from = max(self.failures_count_from, now + seconds)
        if self.silence_deadline is not None:
            self.silence_deadline = max(self.silence_deadline, now + seconds)

    def postpone(self, seconds: float) -> None:
        """Nothing ran for this time."""
        self.failures_count_from += seconds
        if self.silence_deadline is not None:
            self.silence_deadline += seconds

    def paused(self, now: float) -> None:
        """Its service is paused: the probe that runs is cancelled, and the next one follows the pause."""
        if self.in_flight:
            self.in_flight, self.next_probe_at = False, now

    def probe_lost(self) -> None:
        """A re-execution has lost the probe: the next one is due at once."""
        if self.in_flight:
            self.in_flight, self.next_probe_at = False, self.probed_at

    def _count_failure(self, now: float) -> None:
        starting = not self.healthy and not self.unhealthy
        if starting and now < self.failures_count_from:
            return
        self.failures += 1
        if starting:
            self.failures_count_from = now + self.probe.interval_seconds
        if self.failures >= self.probe.retries:
            self.healthy, self.unhealthy = False, True


class ServiceState:
    """One service as the events and effects describe it. Times are monotonic seconds, None for "not (yet)"."""

    def __init__(self, service: Service) -> None:
        self.service = service  # the definition of this run, or of the next one
        self.newest = service  # the definition in the newest Plan
        self.removed = False  # not in the newest Plan
        self.down = False  # stopped by request, and no run was requested since
        self.run_requested = False  # the next run; a job then runs without its schedule
        self.ever_ran = False  # the command or a hook ran at least once
        self.reset()

    def reset(self) -> None:
        """A run was requested: it waits for its conditions, and earlier failures do not count."""
        self.service = self.newest
        self.restart_pending = False  # a new run is to replace the current one
        self.waiting = self.service.schedule is None or self.run_requested
        self.run_requested = False
        self.ended = False  # for good
        self.given_up = False  # by failure
        self.failed_at = 0  # the number of the event with which it failed for good
        self.starts = 0  # number of Spawned events
        self.restarts = 0  # consecutive
        self.restart_at: float | None = None
        self.code = 0
        self.begin_run()

    def begin_run(self) -> None:
        """A run begins, with its first hook or its command."""
        self.run_begun = False  # and not ended
        self.spawn_pending = False  # a Spawn without Spawned or SpawnFailed
        self.main_alive = False
        self.orphans = False
        self.hook = ""  # the running one, as "stage number"
        self.pre_start_done = 0  # hooks that succeeded
        self.post_start_done = 0  # hooks that succeeded
        self.pre_stop_done = 0  # hooks that ended
        self.hook_failed = False  # a post_start hook
        self.health: HealthModel | None = None
        self.since = 0.0  # start of the main process
        self.ran_seconds = 0.0
        self.started = False  # the command was executed
        self.reason: Reason | None = None  # of the end of the run
        self.skipped = False  # one of its conditions did not hold
        self.by_signal = False  # a signal has ended it
        self.startup_at: float | None = None  # it counts as started then; None if it does
        self.must_end = False  # unhealthy with on_failure restart, or a post_start hook failed
        self.restart_requested = False  # also against its restart policy
        self.forced_exit_code = 0  # replaces the exit code of the run
        self.stop_requested_at: float | None = None  # of this run
        self.in_post_stop = False  # its last process has ended, and its post_stop hooks are to run or run
        self.post_stop_done = 0  # hooks that ended
        self.post_stop_over = False  # the last one has ended; a reload may add others, which do not run
        self.exit_code: int | None = None  # of its main process
        self.skips_pre_stop = False  # a post_start hook ran when the stop began
        self.signalled = False
        self.paused_at: float | None = None
        self.kill_at: float | None = None  # end of its grace period
        self.hooks_until: float | None = None  # the stop signal is sent then, although a pre_stop hook is running
        self.killed_at: float | None = None
        self.killed_in = ""  # the hook that ran then
        self.killed_unasked = False  # nothing had asked it to stop before that

    def end_of_run(self, code: int) -> Reason:
        """The reason of a run that ends with this code, if nothing else was the reason."""
        if code == _KILLED and self.killed_at is not None and self.stop_requested_at is not None:
            if self.killed_unasked:
                return Reason(reasons.STOPPED_UNASKED, code)
            stage, _, number = self.killed_in.partition(" ")
            if stage == "pre_stop":
                return Reason(reasons.STOPPED_UNASKED, code, hook_stage=stage, hook_index=int(number))
            return Reason(reasons.STOP_TIMED_OUT, code)
        end = Reason(reasons.KILLED_BY_SIGNAL if code in _BY_SIGNAL else reasons.EXITED, code)
        if self.startup_at is not None and self.stop_requested_at is None:
            return Reason(reasons.EXITED_TOO_QUICKLY, code, cause=end)
        return end

    # --- properties ----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the service."""
        return self.service.name

    @property
    def active(self) -> bool:
        """A process of it may exist."""
        return self.spawn_pending or self.main_alive or self.orphans or bool(self.hook) or self.in_post_stop

    @property
    def is_down(self) -> bool:
        """It was stopped by request, and no process of it exists."""
        return self.down and not self.active and not self.ended

    @property
    def has_leftovers(self) -> bool:
        """Its main process has ended, and other processes of it are alive."""
        return (self.active and self.started and not self.main_alive) or self.orphans

    @property
    def has_post_stop(self) -> bool:
        """Whether another post_stop hook is to run."""
        if self.post_stop_over or self.killed_at is not None:
            return False
        return self.in_post_stop and self.post_stop_done < len(self.service.post_stop)

    @property
    def running(self) -> bool:
        """Its main process is alive, and its stop has not begun."""
        return self.main_alive and self.stop_requested_at is None

    @property
    def paused(self) -> bool:
        """Whether it is paused by a request."""
        return self.paused_at is not None and self.running

    @property
    def start_complete(self) -> bool:
        """It runs, and its post_start hooks have succeeded."""
        return self.running and not self.hook_failed and self.post_start_done == len(self.service.post_start)

    @property
    def ready(self) -> bool:
        """Its start is complete, it counts as started, and it is healthy or has no probe."""
        return (
            self.start_complete
            and self.startup_at is None
            and (self.service.probe is None or bool(self.health and self.health.healthy))
        )

    @property
    def succeeded(self) -> bool:
        """It has completed: its last run ended as expected or was skipped, and no other run is due."""
        at_rest = not self.active and not self.waiting and self.restart_at is None
        return at_rest and (self.skipped or (self.starts > 0 and not self.failure)) and not self.given_up

    @property
    def start_failed(self) -> bool:
        """Its last run has ended, and did not count as started, in a service with `startup`."""
        done = self.skipped or (self.started and self.startup_at is None)
        return self.service.startup is not None and not done

    @property
    def failure(self) -> bool:
        """The end of its last run, or its refused start, is a failure."""
        if self.skipped:
            return False
        if not self.started:
            return self.code != 0 or self.start_failed
        expected = self.code in self.service.restart.expected_codes
        return self.start_failed or self.by_signal or self.forced_exit_code != 0 or not expected

    @property
    def kill_due(self) -> float | None:
        """When SIGKILL is due, None if it is not."""
        return self.kill_at if self.active and self.stop_requested_at is not None and self.killed_at is None else None

    @property
    def grace_seconds(self) -> float:
        """How long its stop may take, or its post_stop hooks."""
        grace = self.service.stop_grace_seconds
        return max(2.0, grace) if self.in_post_stop else grace

    def satisfies(self, dependency: Dependency) -> bool:
        """Whether this dependency on it is satisfied."""
        if self.restart_pending:
            return False
        if self.skipped and self.succeeded:
            done = True  # also with a schedule: the dependents do not wait for its next run
        elif dependency.condition == COMPLETED:
            done = self.ended and self.succeeded
        elif dependency.condition == HEALTHY:
            done = self.ready
        else:
            done = self.starts > 0
        will_not_run = self.ended or (self.is_down and self.service.schedule is None)
        return done or (will_not_run and not dependency.required)

    # --- health --------------------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Begin to watch the health, unless that has begun."""
        if self.service.probe is not None and self.health is None:
            self.health = HealthModel(self.service.probe, now)

    def begin_startup(self, now: float) -> None:
        """Its command runs: from now on it has to run for some time, if it has `startup`."""
        startup = self.service.startup
        if startup is not None and startup.seconds > 0 and self.stop_requested_at is None:
            self.startup_at = now + startup.seconds
        elif startup is not None and self.stop_requested_at is None:
            self.restarts = 0

    @property
    def is_silent_first(self) -> bool:
        """Whether its message is missing before it counts as started, or in the same moment."""
        silent_at = self.health.silence_deadline if self.health is not None else None
        return silent_at is not None and self.startup_at is not None and silent_at <= self.startup_at

    def check_startup(self, now: float) -> bool:
        """Time has passed: returns whether it counts as started from now on."""
        due = self.startup_at is not None and self.startup_at <= now
        over = due and self.running and not self.paused and not self.must_end
        if over:
            self.startup_at, self.restarts = None, 0
            self.watch_if_started(now)
        return over

    def watch_if_started(self, now: float) -> None:
        """Begin to watch the health if the start is complete."""
        if self.start_complete:
            self.watch(now)

    # --- requests ------------------------------------------------------------------------------------

    def unpause(self, now: float) -> None:
        """The pause is over: it does not count for the start period or for the next message."""
        if self.paused_at is not None and self.startup_at is not None:
            self.startup_at += now - self.paused_at
        if self.paused_at is not None and self.health is not None:
            self.health.postpone(now - self.paused_at)
            if self.health.next_probe_at is not None:
                self.health.next_probe_at = max(self.health.next_probe_at, now)
            if self.health.silence_deadline is not None:  # it may have been over before the pause began
                self.health.silence_deadline = max(self.health.silence_deadline, now)
        self.paused_at = None

    def request_run(self) -> None:
        """A new run is requested, to begin when no process of the old one is left."""
        self.restart_pending, self.down, self.run_requested = True, False, True

    def request_down(self) -> None:
        """A stop is requested."""
        self.restart_pending, self.down, self.run_requested = False, True, False
        self.waiting, self.restart_at = False, None

    # --- end of a run --------------------------------------------------------------------------------

    def consecutive_restarts(self) -> int:
        """The number of restarts that count for the back-off and the limit."""
        lasted = self.started and self.ran_seconds >= self.service.restart.window_seconds
        return 0 if lasted else self.restarts

    @property
    def cannot_restart(self) -> bool:
        """Whether its policy asks for a restart, and the limit or a failed exec forbids it."""
        if self.start_failed:
            return self.service.startup is not None and self.restarts >= self.service.startup.retries
        attempts = self.service.restart.attempts
        used_up = attempts is not None and self.consecutive_restarts() >= attempts
        return self._should_restart and (used_up or (not self.started and self.code in (126, 127)))

    @property
    def is_final(self) -> bool:
        """Whether the service ends for good with this run."""
        return self.skipped or self.cannot_restart or not self._should_restart

    @property
    def _should_restart(self) -> bool:
        condition = self.service.restart.condition
        by_policy = condition == "always" or (condition == "on-failure" and self.failure)
        return self.start_failed or self.restart_requested or by_policy

    def schedule_restart(self, now: float) -> None:
        """Set the time of the restart."""
        if self.start_failed:  # supervisord: after 1, 2, 3 seconds
            self.restarts += 1
            self.restart_at = now + self.restarts
            return
        count = self.consecutive_restarts()
        delay = self.service.restart.delay_seconds
        if delay is None or not self.started:
            delay = min(60.0, 0.1 * 2.0 ** min(count, 20))
        if self.service.startup is not None:
            delay = max(delay, 1.0 - self.ran_seconds)  # at most one start each second
        self.restarts = 0 if self.service.startup is not None else count + 1
        self.restart_at = now + delay


def needs_restart(before: Service, after: Service) -> bool:
    """Whether a change of definition needs a new process."""
    for name in before._fields:
        old, new = getattr(before, name), getattr(after, name)
        if old == new or name in _CHANGED_IN_PLACE:
            continue
        if name == "schedule" and old is not None and new is not None:
            continue  # only the times differ
        if name == "probe" and _is_same_probe(old, new):
            continue
        return True
    return False


def _is_same_probe(old: Probe | None, new: Probe | None) -> bool:
    if old is None or new is None or old.kind in _PASSIVE_KINDS:
        return False
    others = (name for name in old._fields if name not in (*_PROBE_TIMES, "on_failure"))
    return all(getattr(old, name) == getattr(new, name) for name in others)
