"""The whole container: step(event, now) -> effects, and deadline().

Each fact about a service goes through the one table of engine/machine.py; then the services that it may
concern (itself, who depends on it, on whom it depends) are reconciled: want against is. Nothing here waits,
loops over time or touches Linux. `now` is monotonic seconds. When a container ends:

  - an essential service ended for good: its code; the first cause wins, later ones do not change it;
  - everything is done: 0, or the first failure's code;
  - somebody asked (docker stop): 0, or 137 if SIGKILL was needed.

The end itself is always the same road: all services stop in reverse order of their dependencies, inside one
total; then whatever is left under us is swept, first asked, then killed; then Exit.
"""

from __future__ import annotations

from cohabit.engine import machine
from cohabit.engine.effects import Exit, Prepare, Report, Signal, SignalTree, Spawn, StartProbe, StopProbe, Sweep
from cohabit.engine.events import (
    Broken,
    Due,
    Exited,
    Loaded,
    LoadFailed,
    ProbePassed,
    Spawned,
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.policy import verdict
from cohabit.engine.unit import Unit
from cohabit.errors import EXIT_BUG, EXIT_KILLED
from cohabit.units import describe_exit, format_duration, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.engine.policy import Verdict
    from cohabit.plan.model import Plan

SIGKILL, SIGTERM = 9, 15
ECHO_SECONDS = 0.2  # the same signal again so soon is the same request
KILL_PATIENCE_SECONDS = 2.0  # after SIGKILL to everything: Docker waits as long for a process that will not go

# How far the container as a whole is.
LOADING, UP, STOPPING, SWEEPING, DONE = "loading", "up", "stopping", "sweeping", "done"


class Supervisor:
    """All services of one Plan. Feed it every fact, carry out its effects, come back at its deadline."""

    def __init__(self) -> None:
        self.phase = LOADING
        self.units: dict[str, Unit] = {}
        self.plan: Plan | None = None
        self.code: int | None = None  # the first cause's; None while there is none, and when the end was asked for
        self.word = ""
        self.culprit = ""
        self.failed = ""  # the first service that failed for good
        self.requested = False  # somebody outside asked for the end
        self.asked, self.asked_at = 0, 0.0  # by which signal, and when first
        self.forced = False  # SIGKILL was needed during the end
        self.killing = False  # SIGKILL to all is out: the last patience runs
        self.total_deadline: float | None = None
        self.drain_until = 0.0  # monotonic seconds to which output may still be written after Exit
        self._busy: dict[str, None] = {}  # who has processes
        self._timers: dict[str, float] = {}
        self._out: list[Effect] = []
        self._dirty: dict[str, None] = {}

    # --- the two doors -------------------------------------------------------------------------------

    def step(self, event: Event, now: float) -> list[Effect]:
        """What has to be done because of this fact, in order."""
        self._out = []
        match event:
            case Spawned(name, pid):
                self._spawned(self.units[name], pid, now)
            case SpawnFailed(name, why, code):
                self._spawn_failed(self.units[name], why, code, now)
            case Exited(name, code, orphans):
                self._exited(self.units[name], code, now, orphans=orphans)
            case TreeGone(name):
                self._fact(self.units[name], machine.TREE_GONE, now)
            case ProbePassed(name):
                self._ready(self.units[name])
            case Due():
                self._due(now)
            case StopRequested(number):
                self._stop_requested(number, now)
            case Swept():
                self._finish()
            case Broken(text):
                self._broken(text, now)
            case Loaded(plan):
                self._loaded(plan)
            case LoadFailed(lines, code):
                self._load_failed(lines, code)
        self._settle(now)
        return self._out

    @property
    def wanted(self) -> list[Effect]:
        """What the last step has asked for, or, if it failed, what it had asked for until then."""
        return self._out

    def deadline(self) -> float | None:
        """Monotonic seconds at which Due should come, or None: then only a fact can change anything."""
        moments = list(self._timers.values())
        if self.total_deadline is not None:
            moments.append(self.total_deadline)
        return min(moments, default=None)

    # --- facts about one service ---------------------------------------------------------------------

    def _fact(self, unit: Unit, fact: str, now: float) -> None:
        """One fact through the table, and what entering the new state means."""
        cell = machine.next_state(unit.state, fact)
        if cell == machine.STAY:
            return
        if cell == machine.VERDICT:
            self._verdict(unit, now)
        else:
            self._enter(unit, cell, now)

    def _enter(self, unit: Unit, state: str, now: float) -> None:
        before, unit.state = unit.state, state
        self._concerns(unit)
        self._note_busy(unit)
        if before == machine.RUNNING:
            self._lose_readiness(unit)
        if state != machine.STOPPING:
            self._set_timer(unit, None)
        if state == machine.STARTING:
            unit.started_at = now
            unit.killed = False
            unit.why = ""
            self._do(Spawn(unit.service))
        elif state == machine.STOPPING:
            self._enter_stopping(unit, before, now)
        elif unit.over:
            self._over(unit, now)

    def _enter_stopping(self, unit: Unit, before: str, now: float) -> None:
        if before != machine.STOPPING:
            self._set_timer(unit, now + unit.service.stop_grace_seconds)
        if unit.killed:
            self._do(SignalTree(unit.name, SIGKILL))
        elif unit.leader_lives or before == machine.STARTING:
            self._do(Signal(unit.name, unit.service.stop_signal))
        else:
            self._do(SignalTree(unit.name, SIGTERM))

    def _spawned(self, unit: Unit, pid: int, now: float) -> None:
        unit.pid, unit.leader_lives = pid, True
        unit.starts += 1
        unit.started_at = now
        self._fact(unit, machine.SPAWNED, now)
        self._say("info", unit, f"started, pid {pid}")
        if unit.state != machine.RUNNING:
            return
        if unit.service.probe is None:
            unit.ready = True
        else:
            self._do(StartProbe(unit.service))

    def _spawn_failed(self, unit: Unit, why: str, code: int, now: float) -> None:
        unit.pid, unit.leader_lives, unit.code, unit.ran_seconds = 0, False, code, 0.0
        unit.why = f"cannot start: {why}"
        self._fact(unit, machine.SPAWN_FAILED, now)

    def _exited(self, unit: Unit, code: int, now: float, *, orphans: bool) -> None:
        unit.leader_lives, unit.code = False, code
        unit.ran_seconds = max(0.0, now - unit.started_at)
        unit.why = f"ended with {describe_exit(code)} after {format_duration(unit.ran_seconds)}"
        if unit.state == machine.STOPPING and code == EXIT_KILLED and unit.killed:
            unit.why += f", having ignored {signal_name(unit.service.stop_signal)}"
        if orphans and unit.state == machine.RUNNING:
            hint = "" if code else " (if it put itself in the background: run it in the foreground)"
            self._say("warning", unit, f"{unit.why}; ending the processes that it left behind{hint}")
        self._fact(unit, machine.LEFT_ORPHANS if orphans else machine.ENDED_ALONE, now)
        if orphans and unit.want_up and self._policy(unit).state != machine.BACKOFF:
            self._essential_ended(unit, now)  # at once: the others need not wait for those whom it left

    def _ready(self, unit: Unit) -> None:
        if unit.state == machine.RUNNING and not unit.ready:
            unit.ready = True
            self._say("info", unit, "ready")
            self._concerns(unit)

    def _verdict(self, unit: Unit, now: float) -> None:
        """Its last process is gone: see where it goes from here."""
        code = unit.code or 0
        started = unit.pid != 0
        if not unit.want_up:
            level = "info" if started else "error"
            self._say(level, unit, f"stopped: {unit.why}" if started else unit.why)
            self._enter(unit, machine.STOPPED, now)
            return
        what = self._policy(unit)
        unit.restarts = what.restarts
        if what.state == machine.BACKOFF:
            pause = format_duration(what.delay_seconds)
            self._say("warning", unit, f"{unit.why}; starting again in {pause} (restart {what.restarts})")
        elif what.state == machine.FATAL and started:
            times = "1 restart" if what.restarts == 1 else f"{what.restarts} restarts"
            unit.why += f"; given up after {times}"
            self._say("error", unit, unit.why)
        else:
            self._say("error" if code else "info", unit, unit.why)
        self._enter(unit, what.state, now)
        if what.state == machine.BACKOFF:
            self._set_timer(unit, now + what.delay_seconds)

    def _policy(self, unit: Unit) -> Verdict:
        code = unit.code or 0
        return verdict(unit.service.restart, code, unit.ran_seconds, unit.restarts, started=unit.pid != 0)

    def _due(self, now: float) -> None:
        for name in [name for name, moment in self._timers.items() if moment <= now]:
            unit = self.units[name]
            self._set_timer(unit, None)
            if unit.state == machine.STOPPING:
                self._kill(unit)
            self._fact(unit, machine.DUE, now)
        if self.total_deadline is not None and self.total_deadline <= now:
            self._total_due(now)

    def _kill(self, unit: Unit) -> None:
        unit.killed = True
        self.forced = self.forced or self.phase == STOPPING
        grace = format_duration(unit.service.stop_grace_seconds)
        self._say("warning", unit, f"not gone after its grace (stop_grace_period {grace}): killing it")
        self._do(SignalTree(unit.name, SIGKILL))

    # --- want against is -----------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Reconcile all who may be concerned, until nobody is; then see whether the container is done."""
        while self._dirty:
            unit = self.units[next(iter(self._dirty))]
            del self._dirty[unit.name]
            if unit.want_up and unit.state == machine.STOPPED:
                self._try_start(unit, now)
            elif not unit.want_up and unit.state not in machine.ENDED and self._may_stop(unit):
                self._fact(unit, machine.STOP, now)
        if self.phase == UP and not self._busy and all(unit.over for unit in self.units.values()):
            self._all_done(now)
        if self.phase == STOPPING and not self._busy:
            self._sweep()

    def _try_start(self, unit: Unit, now: float) -> None:
        others = [(self.units[dependency.service], dependency) for dependency in unit.service.depends_on]
        lost = next((other for other, dependency in others if other.disappoints(dependency)), None)
        if lost is not None:
            unit.why = f"cannot start: it waits for {lost.name}, which {_in_past(lost.why)}"
            unit.code = lost.code or 1  # not to be started is a failure, however well the other ended
            self._say("error", unit, unit.why)
            self._fact(unit, machine.REFUSED, now)
        elif all(other.satisfies(dependency) for other, dependency in others):
            self._fact(unit, machine.START, now)

    def _may_stop(self, unit: Unit) -> bool:
        return unit.at_rest or all(self.units[name].at_rest for name in unit.dependents)

    def _concerns(self, unit: Unit) -> None:
        """Note whom a change of this unit may concern. Each change costs its neighbours, not everybody."""
        self._dirty[unit.name] = None
        for name in unit.dependents:
            self._dirty[name] = None
        if not unit.want_up:
            for dependency in unit.service.depends_on:
                self._dirty[dependency.service] = None

    # --- the whole container -------------------------------------------------------------------------

    def _loaded(self, plan: Plan) -> None:
        if self.phase != LOADING:
            return
        self.phase, self.plan = UP, plan
        self.units = {name: Unit(service) for name, service in plan.services.items()}
        for unit in self.units.values():
            for dependency in unit.service.depends_on:
                self.units[dependency.service].dependents.append(unit.name)
        self._dirty = dict.fromkeys(self.units)
        self._do(Prepare(plan))

    def _load_failed(self, lines: tuple[str, ...], code: int) -> None:
        if self.phase != LOADING:
            return
        for line in lines:
            self._do(Report("problem", "", line))
        self.phase = DONE
        self._do(Exit(code, ""))

    def _over(self, unit: Unit, now: float) -> None:
        """A service ended for good."""
        if unit.code and not self.failed:
            self.failed = unit.name
        self._essential_ended(unit, now)

    def _essential_ended(self, unit: Unit, now: float) -> None:
        """An essential service takes the container along."""
        if unit.service.essential and self.phase == UP:
            self.culprit = self._first_cause(unit)
            self._begin_stop(unit.code or 0, f"{unit.name} {unit.why}{self._hint_essential()}", now)

    def _hint_essential(self) -> str:
        """What set it apart, where anything did."""
        return "" if all(unit.service.essential for unit in self.units.values()) else " (essential)"

    def _first_cause(self, unit: Unit) -> str:
        """Whose output explains the end: the service itself, or the one it waited for in vain."""
        while not unit.starts:
            failed = [self.units[d.service] for d in unit.service.depends_on if self.units[d.service].disappoints(d)]
            if not failed:
                break
            unit = failed[0]
        return unit.name

    def _all_done(self, now: float) -> None:
        failed = self.units.get(self.failed)
        if failed is None:
            self._begin_stop(0, "all services have ended", now)
        else:
            self.culprit = self._first_cause(failed)
            self._begin_stop(failed.code, f"all services have ended; {failed.name} {failed.why}", now)

    def _stop_requested(self, number: int, now: float) -> None:
        if self.phase == LOADING:
            self.phase = DONE
            self._do(Exit(0, f"stopped by {signal_name(number)} before anything was started"))
        elif self.phase == UP:
            self.requested = True
            self._say("info", None, f"{signal_name(number)}: stopping")
            self._begin_stop(None, f"stopped by {signal_name(number)}", now)
            self.asked, self.asked_at = number, now
        elif number == self.asked and now - self.asked_at < ECHO_SECONDS:
            return  # timeout(1), npm and some platforms signal us and then our whole group
        elif self.phase in (STOPPING, SWEEPING) and not self.requested:
            self.asked, self.asked_at = number, now
            # Whoever signals a whole process group or platform at once may hit a service before us: then
            # its death looked like the cause, and was in truth the first half of this request.
            self.requested = True
            if self.code == 128 + number:
                self.code, self.culprit = None, ""
                self.word = f"stopped by {signal_name(number)}"
        elif self.phase in (STOPPING, SWEEPING) and not self.killing:
            self._say("warning", None, f"{signal_name(number)} again: killing what is left")
            self._total_due(now)

    def _broken(self, text: str, now: float) -> None:
        """We cannot trust ourselves any more: everything stops in order, and the code says whose fault it was."""
        self._say("error", None, text)
        if self.phase == LOADING:
            self.phase = DONE
            self._do(Exit(EXIT_BUG, text))
        elif self.phase == UP:
            self._begin_stop(EXIT_BUG, text, now)
        self.code, self.word, self.culprit = EXIT_BUG, text, ""

    def _begin_stop(self, code: int | None, word: str, now: float) -> None:
        self.phase, self.code, self.word = STOPPING, code, word
        grace = self.plan.stop_grace_seconds if self.plan else 0.0
        self.total_deadline = now + grace
        for unit in self.units.values():
            unit.want_up = False
            self._dirty[unit.name] = None

    def _total_due(self, now: float) -> None:
        """The total is used up: SIGKILL to all, then a last patience, then we go in any case."""
        if self.killing:
            self._say("error", None, "some processes do not even die of SIGKILL: leaving them to the kernel")
            self._do(Sweep(SIGKILL))  # and those whom no service owns were not asked yet
            self._finish()
            return
        over = self.total_deadline is not None and self.total_deadline <= now
        self.killing = self.forced = True
        self.total_deadline = now + KILL_PATIENCE_SECONDS
        if self.phase == SWEEPING:
            self._say("warning", None, "time is up for processes that no service owns: killing")
            self._do(Sweep(SIGKILL))
            return
        alive = [unit for unit in self.units.values() if not unit.at_rest]
        names = ", ".join(unit.name for unit in alive)
        total = format_duration(self.plan.stop_grace_seconds if self.plan else 0.0)
        why = f"time is up for {names}: killing (x-cohabit stop_grace_period: {total})" if over else f"killing {names}"
        self._say("warning", None, why)
        for unit in alive:
            unit.killed = True
            self._enter(unit, machine.STOPPING, now)
            self._set_timer(unit, None)

    def _sweep(self) -> None:
        self.phase = SWEEPING
        self._do(Sweep(SIGKILL if self.killing else SIGTERM))

    def _finish(self) -> None:
        if self.phase == DONE:
            return
        self.phase = DONE
        self.drain_until = self.total_deadline or 0.0
        self.total_deadline = None
        code = self.code
        if code is None:
            code = EXIT_KILLED if self.forced else 0
        self._do(Exit(code, self.word, self.culprit))

    # --- small change --------------------------------------------------------------------------------

    def _do(self, effect: Effect) -> None:
        self._out.append(effect)

    def _say(self, level: str, unit: Unit | None, text: str) -> None:
        self._do(Report(level, unit.name if unit else "", text))

    def _set_timer(self, unit: Unit, moment: float | None) -> None:
        unit.deadline = moment
        if moment is None:
            self._timers.pop(unit.name, None)
        else:
            self._timers[unit.name] = moment

    def _note_busy(self, unit: Unit) -> None:
        if unit.at_rest:
            self._busy.pop(unit.name, None)
        else:
            self._busy[unit.name] = None

    def _lose_readiness(self, unit: Unit) -> None:
        unit.ready = False
        if unit.service.probe is not None:
            self._do(StopProbe(unit.name))

    # --- crossing a re-execution ---------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """All that a successor of this very program needs, as plain values (the Plan travels beside it)."""
        kept = (
            "phase", "code", "word", "culprit", "failed", "requested", "asked", "asked_at", "forced", "killing",
            "total_deadline",
        )  # fmt: skip
        plain = {name: getattr(self, name) for name in kept}
        plain["units"] = {name: unit.to_plain() for name, unit in self.units.items()}
        return plain

    def restore(self, plan: Plan | None, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called."""
        if plan is not None:
            self._loaded(plan)
        for name, value in plain.items():
            if name != "units":
                setattr(self, name, value)
        for name, unit in self.units.items():
            unit.restore(plain["units"].get(name, {}))
            self._note_busy(unit)
            self._set_timer(unit, unit.deadline)


def _in_past(why: str) -> str:
    """A reason as the end of "it waits for X, which …"."""
    return why.replace("cannot start", "could not start", 1)
