"""The account of one service: what is known of it from facts and effects alone, and what follows for itself.

Written from docs/reference/rules.md and health.md, not from the engine: it imports none of its decisions. It is dull
on purpose: no table, no effects, no order of work. What follows for others and for the container is ledger.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.plan.model import COMPLETED, HEALTHY

if TYPE_CHECKING:
    from cohabit.plan.model import Dependency, Probe, Service

_TELL_BY_THEMSELVES = ("notify", "log", "fd")
# What a change of does not touch the process: all else needs a fresh run.
_ONLY_OURS = ("restart", "stop_signal", "stop_grace_seconds", "essential", "job", "depends_on", "pre_stop")
_ONLY_WHEN = ("interval_seconds", "timeout_seconds", "retries", "start_period_seconds", "start_interval_seconds")


class Wellness:
    """How well one run is, from when it is watched. Moments are monotonic seconds, None for "never"."""

    def __init__(self, probe: Probe, now: float) -> None:
        self.probe = probe
        self.tells = probe.kind in _TELL_BY_THEMSELVES
        self.well = False
        self.unwell = False  # neither: still starting
        self.was_well = False
        self.strikes = 0
        self.strikes_from = now + probe.start_period_seconds + probe.interval_seconds
        self.ask_at = None if self.tells else now
        self.open = False  # a question is
        self.asked_at = now
        self.silent_at = self.strikes_from if self.tells else None  # until then it has to have said something

    def asked(self, now: float) -> None:
        """It is asked."""
        self.open, self.asked_at, self.ask_at = True, now, None

    def answered(self, now: float, *, passed: bool) -> None:
        """An answer, or a word of its own."""
        if passed:
            self.well, self.unwell, self.was_well, self.strikes = True, False, True, 0
        elif self.tells:
            self.well, self.unwell = False, True
        else:
            self._strike(now)
        if self.tells:
            watchdog = self.probe.watchdog_seconds
            self.silent_at = now + watchdog if passed and watchdog else None
            return
        self.open = False
        starting = not self.well and not self.unwell
        again = max(now, self.asked_at + self.probe.start_interval_seconds)
        self.ask_at = again if starting else now + self.probe.interval_seconds

    def silence(self, now: float) -> None:
        """Time has passed: silence that has lasted too long is a failure."""
        if self.silent_at is None or self.silent_at > now:
            return
        if self.well:
            self.well, self.unwell, self.silent_at = False, True, None
        else:
            self._strike(now)
            self.silent_at = None if self.unwell else self.strikes_from

    def wants_time(self, now: float, seconds: float) -> None:
        """It asks to be waited for."""
        self.strikes_from = max(self.strikes_from, now + seconds)
        if self.silent_at is not None:
            self.silent_at = max(self.silent_at, now + seconds)

    def question_lost(self) -> None:
        """A re-execution came before the answer: to be asked again, at once."""
        if self.open:
            self.open, self.ask_at = False, self.asked_at

    def _strike(self, now: float) -> None:
        starting = not self.well and not self.unwell
        if starting and now < self.strikes_from:
            return
        self.strikes += 1
        if starting:
            self.strikes_from = now + self.probe.interval_seconds
        if self.strikes >= self.probe.retries:
            self.well, self.unwell = False, True


class Account:
    """One service as far as process 1 was told. Moments are monotonic seconds, None for "not (yet)"."""

    def __init__(self, service: Service) -> None:
        self.service = service  # as it runs, or will run next
        self.newest = service  # as the newest Plan has it
        self.gone = False  # in no Plan any more
        self.down = False  # somebody asked for that, and nobody for another run since
        self.asked_for = False  # the run to come is: also one of a job, whatever its schedule says
        self.ever = False  # it, or a hook of it, was run at least once
        self.born_again()

    def born_again(self) -> None:
        """Somebody asked for it: it waits for its conditions, and nothing is held against it."""
        self.service = self.newest
        self.fresh = False  # a fresh run is wanted in place of what there is
        self.waiting = self.service.schedule is None or self.asked_for
        self.asked_for = False
        self.over = False  # for good
        self.given_up = False  # which is not the same as done
        self.failed_at = 0  # the number of the fact with which it failed for good
        self.starts = 0  # Spawned facts
        self.restarts = 0  # in a row
        self.restart_at: float | None = None
        self.code = 0
        self.begins()

    def begins(self) -> None:
        """A run is wanted, from its first hook on."""
        self.under_way = False  # it has begun and not ended
        self.pending = False  # a Spawn has no answer yet
        self.living = False  # its main process
        self.orphans = False
        self.hook = ""  # which runs, as "stage number"
        self.prepared = 0  # hooks before the start that went well
        self.completed = 0  # hooks after the start that went well
        self.farewells = 0  # hooks before the stop that are over
        self.hook_failed = False  # after the start
        self.wellness: Wellness | None = None
        self.since = 0.0  # of the run
        self.ran_seconds = 0.0
        self.started = False  # its command ran
        self.reason = ""  # of its end
        self.no_good = False  # it lives and has to be ended: unhealthy, or a hook after its start failed
        self.again = False  # and to be started again, whatever its policy
        self.blame = 0  # the code that its end counts as
        self.asked_at: float | None = None  # to stop, in this run
        self.bare = False  # a hook ran in that moment: no hooks before its stop
        self.signalled = False
        self.kill_at: float | None = None  # its grace is over
        self.killed_at: float | None = None

    # --- what is true of it --------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Of the service."""
        return self.service.name

    @property
    def busy(self) -> bool:
        """A process of it exists, or may."""
        return self.pending or self.living or self.orphans or bool(self.hook)

    @property
    def is_down(self) -> bool:
        """Nothing of it lives, as somebody asked."""
        return self.down and not self.busy and not self.over

    @property
    def left_others(self) -> bool:
        """Its main process is gone, and others of it live."""
        return (self.busy and self.started and not self.living) or self.orphans

    @property
    def runs(self) -> bool:
        """Its command does, and nobody has told it to stop."""
        return self.living and self.asked_at is None

    @property
    def complete(self) -> bool:
        """So is its start."""
        return self.runs and not self.hook_failed and self.completed == len(self.service.post_start)

    @property
    def ready(self) -> bool:
        """And it is well, as far as anybody can know."""
        return self.complete and (self.service.probe is None or bool(self.wellness and self.wellness.well))

    @property
    def done_well(self) -> bool:
        """It did what it was for."""
        at_rest = not self.busy and not self.waiting and self.restart_at is None
        return at_rest and self.starts > 0 and self.code == 0 and not self.given_up

    @property
    def kill_due(self) -> float | None:
        """When its grace is used up."""
        return self.kill_at if self.busy and self.asked_at is not None and self.killed_at is None else None

    def meets(self, dependency: Dependency) -> bool:
        """Whether who depends on it in this way may start."""
        if self.fresh:
            return False
        if dependency.condition == COMPLETED:
            done = self.over and self.done_well
        elif dependency.condition == HEALTHY:
            done = self.ready
        else:
            done = self.starts > 0
        stays_away = self.over or (self.is_down and self.service.schedule is None)
        return done or (stays_away and not dependency.required)

    # --- its health ----------------------------------------------------------------------------------

    def watched(self, now: float) -> None:
        """From now on, unless it is already."""
        if self.service.probe is not None and self.wellness is None:
            self.wellness = Wellness(self.service.probe, now)

    def watched_if_complete(self, now: float) -> None:
        """Questions begin when the start is complete."""
        if self.complete:
            self.watched(now)

    # --- what is asked of it -------------------------------------------------------------------------

    def wants_a_run(self) -> None:
        """Somebody wants a fresh run of it, as soon as nothing of the old one is left."""
        self.fresh, self.down, self.asked_for = True, False, True

    def wants_rest(self) -> None:
        """Somebody wants it down."""
        self.fresh, self.down, self.asked_for = False, True, False
        self.waiting, self.restart_at = False, None

    # --- its end -------------------------------------------------------------------------------------

    def in_a_row(self) -> int:
        """How many restarts count against it."""
        forgiven = self.started and self.ran_seconds >= self.service.restart.window_seconds
        return 0 if forgiven else self.restarts

    @property
    def is_hopeless(self) -> bool:
        """Whether it would be started again if there were any point in it."""
        attempts = self.service.restart.attempts
        used_up = attempts is not None and self.in_a_row() >= attempts
        return self._is_wanted_again and (used_up or (not self.started and self.code in (126, 127)))

    @property
    def is_final(self) -> bool:
        """Whether this end of a run is for good."""
        return self.is_hopeless or not self._is_wanted_again

    @property
    def _is_wanted_again(self) -> bool:
        condition = self.service.restart.condition
        return self.again or condition == "always" or (condition == "on-failure" and self.code != 0)

    def to_be_restarted(self, now: float) -> None:
        """Its policy says so: when."""
        row = self.in_a_row()
        delay = self.service.restart.delay_seconds
        if delay is None or not self.started:
            delay = min(60.0, 0.1 * 2.0 ** min(row, 20))
        self.restarts = row + 1
        self.restart_at = now + delay


def needs_a_fresh_run(before: Service, after: Service) -> bool:
    """Whether a change concerns what the process itself has, rather than how we treat it."""
    for name in before._fields:
        old, new = getattr(before, name), getattr(after, name)
        if old == new or name in _ONLY_OURS:
            continue
        if name == "schedule" and old is not None and new is not None:
            continue  # other times
        if name == "probe" and _asks_the_same(old, new):
            continue
        return True
    return False


def _asks_the_same(old: Probe | None, new: Probe | None) -> bool:
    if old is None or new is None or old.kind in _TELL_BY_THEMSELVES:
        return False
    others = (name for name in old._fields if name not in (*_ONLY_WHEN, "on_failure"))
    return all(getattr(old, name) == getattr(new, name) for name in others)
