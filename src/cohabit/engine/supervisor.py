"""The whole container: step(event, now) -> effects, and deadline().

What concerns single services is services.py's; here is how the container starts, changes and ends. When it ends:

  - an essential service ended for good: its code; the first cause wins, later ones do not change it;
  - everything is done: 0, or the first failure's code;
  - somebody asked (docker stop): 0, or 137 if SIGKILL was needed.

The end itself is always the same road: all services stop in reverse order of their dependencies, inside one
total; then whatever is left under us is swept, first asked, then killed; then Exit. A reload is the difference
of two Plans: what is gone stops, what changed is replaced, what is new starts, the rest does not notice. Nothing
here waits, loops over time or touches Linux. `now` is monotonic seconds.
"""

from __future__ import annotations

from cohabit.engine import machine
from cohabit.engine.effects import AllReady, Exit, Forget, Load, Prepare, Report, Sweep
from cohabit.engine.events import (
    Broken,
    Daemonised,
    Due,
    Exited,
    HookEnded,
    Loaded,
    LoadFailed,
    Notified,
    Probed,
    ReloadRequested,
    Requested,
    ScheduleDue,
    Spawned,
    SpawnFailed,
    StopRequested,
    Swept,
    TreeGone,
)
from cohabit.engine.requests import request
from cohabit.engine.services import SIGKILL, SIGTERM, Services
from cohabit.engine.unit import Unit
from cohabit.errors import EXIT_BUG, EXIT_KILLED
from cohabit.plan.diff import diff
from cohabit.units import format_duration, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.plan.diff import Difference
    from cohabit.plan.model import Plan

ECHO_SECONDS = 0.2  # the same signal again so soon is the same request
_HISTORY_KEPT = 64
KILL_PATIENCE_SECONDS = 2.0  # after SIGKILL to everything: Docker waits as long for a process that will not go

# How far the container as a whole is.
LOADING, UP, STOPPING, SWEEPING, DONE = "loading", "up", "stopping", "sweeping", "done"

_KEPT = (
    "phase", "code", "exit_reason", "cause", "failures", "requested", "asked", "asked_at", "forced", "killing",
    "total_deadline", "reading", "read_again", "announced", "scale", "scale_read", "scale_asked", "reads",
    "read_told", "read_code", "history",
)  # fmt: skip


class Supervisor:
    """All services of one Plan. Feed it every fact, carry out its effects, come back at its deadline."""

    def __init__(self) -> None:
        self.services = Services()
        self.phase = LOADING
        self.plan: Plan | None = None
        self.code: int | None = None  # the first cause's; None while there is none, and when the end was asked for
        self.exit_reason = ""
        self.cause = ""
        self.failures = 0  # how many services have failed for good
        self.requested = False  # somebody outside asked for the end
        self.asked, self.asked_at = 0, 0.0  # by which signal, and when first
        self.forced = False  # SIGKILL was needed during the end
        self.killing = False  # SIGKILL to all is out: the last patience runs
        self.total_deadline: float | None = None
        self.drain_until = 0.0  # monotonic seconds to which output may still be written after Exit
        self.reading, self.read_again = True, False  # the file is being read; and has to be once more
        self.announced = False  # that everything is ready
        self.scale: dict[str, int] = {}  # replicas by service, instead of those in the file, as it was last read
        self.scale_read: dict[str, int] = {}  # the same, as the last Plan has it
        self.scale_asked: dict[str, int] = {}  # since then, for the next reading
        self.reads = 0  # how often the file has been read
        self.read_told: tuple[str, ...] = ()  # what the last reading led to, or why to nothing
        self.read_code = 0  # and its exit code
        self.history: list[tuple[float, str, str, int | None]] = []  # of the whole, as Unit.history

    # --- the two doors -------------------------------------------------------------------------------

    def step(self, event: Event, now: float) -> list[Effect]:
        """What has to be done because of this fact, in order."""
        self.services.out, self.services.transitions = [], []
        if self.phase == DONE:
            return self.services.out  # the reactor empties its queue before it leaves
        if not self._of_a_service(event, now):
            self._of_the_whole(event, now)
        self._settle(now)
        return self.services.out

    @property
    def wanted(self) -> list[Effect]:
        """What the last step has asked for, or, if it failed, what it had asked for until then."""
        return self.services.out

    @property
    def units(self) -> dict[str, Unit]:
        """Every service that is in the Plan or still lives."""
        return self.services.units

    def deadline(self) -> float | None:
        """Monotonic seconds at which Due should come, or None: then only a fact can change anything."""
        nearest = self.services.timers.next()
        if self.total_deadline is None:
            return nearest
        return self.total_deadline if nearest is None else min(nearest, self.total_deadline)

    def _of_a_service(self, event: Event, now: float) -> bool:
        services = self.services
        unit = services.units.get(getattr(event, "service", ""))
        if unit is None:
            return hasattr(event, "service")  # one that is forgotten
        match event:
            case Spawned(_, pid):
                services.spawned(unit, pid, now)
            case SpawnFailed(_, why, code, orphans):
                services.spawn_failed(unit, why, code, now, orphans=orphans)
            case Exited(_, code, orphans, out_of_memory):
                unit.out_of_memory = out_of_memory
                services.exited(unit, code, now, orphans=orphans)
            case Daemonised(_, pid):
                services.daemonised(unit, pid)
            case TreeGone():
                services.fact(unit, machine.TREE_GONE, now)
            case HookEnded(_, code, why, orphans):
                services.hook_ended(unit, code, why, now, orphans=orphans)
            case Probed(_, passed, output):
                services.health_monitor.probed(unit, now, passed=passed, output=output)
            case Notified():
                services.notified(unit, event, now)
            case ScheduleDue() if self.phase == UP:
                services.schedule_due(unit, now)
        return True

    def _of_the_whole(self, event: Event, now: float) -> None:
        match event:
            case Due():
                self.services.due(now)
                if self.total_deadline is not None and self.total_deadline <= now:
                    self._total_due(now)
            case StopRequested(number, by):
                self._stop_requested(number, by or signal_name(number), now)
            case Swept():
                self._finish()
            case Broken(text):
                self._broken(text, now)
            case ReloadRequested(scale):
                self._reload_requested(scale)
            case Requested(action, names, number) if self.phase == UP:
                request(self.services, action, names, number, now)
            case Loaded(plan):
                self._loaded(plan, now)
            case LoadFailed(lines, code):
                self._load_failed(lines, code, now)

    def _settle(self, now: float) -> None:
        """See what the end of one means for the container, then for its neighbours, until all have come to rest."""
        services = self.services
        done = False
        while not done:
            for unit in services.ended[:]:
                services.ended.remove(unit)
                self._over(unit, now)
            services.settle(now)
            done = not services.ended
        if self.phase == UP:
            self._look_around(now)
        if self.phase == STOPPING:
            self.forced = self.forced or services.killed
            if not services.active:
                self._sweep()

    def _look_around(self, now: float) -> None:
        services = self.services
        for unit in [unit for unit in services.gone if unit.at_rest]:
            services.forget(unit)
            self._do(Forget(unit.name))
        if not services.active and all(unit.ended for unit in services.units.values()):
            self._all_done(now)
            services.settle(now)
        elif not self.announced and not services.not_ready:
            self.announced = True
            self._note("ready", now)
            self._do(AllReady())

    # --- the file, first and again -------------------------------------------------------------------

    def _loaded(self, plan: Plan, now: float) -> None:
        self.reading, self.scale_read = False, self.scale
        if self.phase == LOADING:
            self.phase, self.plan = UP, plan
            self.services.begin(plan, now)
            self._do(Prepare(plan))
            self._read((), 0)
            self._note("up", now)
        elif self.phase == UP and self.plan is not None:
            difference = diff(self.plan, plan)
            self.plan = plan
            said = len(self.services.out)
            self._tell_difference(difference)
            self._read(tuple(effect.text for effect in self.services.out[said:] if isinstance(effect, Report)), 0)
            self._note("reloaded", now)
            if difference:
                self._do(Prepare(plan))
                self.services.change(plan, difference, now)
            self._read_once_more()

    def _tell_difference(self, difference: Difference) -> None:
        if difference.stop_grace_seconds:
            total = " -> ".join(format_duration(seconds) for seconds in difference.stop_grace_seconds)
            self._say("info", f"reload: stop_grace_period changed: {total}")
        for key in difference.whole:
            self._say("info", f"reload: x-cohabit.{key} changed")
        for name, fields in difference.changed.items():
            how = "restarting" if name in difference.restarting else "no restart needed"
            self._say("info", f"reload: {name} changed ({', '.join(fields)}): {how}")
        for words, names in (("is gone: stopping it", difference.removed), ("is new: starting it", difference.added)):
            for name in names:
                self._say("info", f"reload: {name} {words}")
        if not difference:
            self._say("info", "reload: nothing has changed")

    def _load_failed(self, lines: tuple[str, ...], code: int, now: float) -> None:
        self.reading, self.scale = False, self.scale_read
        self._read(lines, code)
        if self.phase not in (LOADING, UP):
            return
        level = "problem" if self.phase == LOADING else "error"  # a reload's stand among other output, and say whose
        for line in lines:
            self._do(Report(level, "", line))
        if self.phase == LOADING:
            self.phase = DONE
            self._do(Exit(code, ""))
        else:
            self._note("reload failed", now, lines[0] if lines else "", code)
            self._say("error", "cannot reload, for the reasons above (nothing was changed)")
            self._read_once_more()

    def _reload_requested(self, scale: dict[str, int]) -> None:
        if self.phase in (STOPPING, SWEEPING, DONE):
            self._say("warning", "cannot reload: everything is being stopped")
            return
        self.scale_asked = {**self.scale_asked, **scale}
        if self.reading:
            self.read_again = self.phase == UP
        else:
            asked, self.scale_asked = self.scale_asked, {}
            self.reading, self.scale = True, {**self.scale, **asked}
            self._say("info", "reload: reading the file again")
            self._do(Load(self.scale, tuple(asked)))

    def _read_once_more(self) -> None:
        """Somebody asked for a reload while the file was being read: it may have been read too early."""
        if self.read_again:
            self.read_again = False
            self._reload_requested({})

    def _read(self, told: tuple[str, ...], code: int) -> None:
        """The file has been read, with this outcome."""
        self.reads += 1
        self.read_told, self.read_code = told, code

    # --- how it ends ---------------------------------------------------------------------------------

    def _over(self, unit: Unit, now: float) -> None:
        """A service ended for good, or has to take the container along."""
        if unit.code and not unit.failed and unit.service.schedule is None:
            self.failures += 1
            unit.failed = self.failures
        if self.phase != UP or unit.gone:
            return
        unhealthy = unit.state == machine.RUNNING  # and on_failure says exit: nobody else is here who runs
        if unit.service.essential or unhealthy:
            self.cause = self._first_cause(unit)
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
        failures = [unit for unit in self.units.values() if unit.failed]
        if not failures:
            self._begin_stop(0, "all services have ended", now)
        else:
            failed = min(failures, key=lambda unit: unit.failed)
            self.cause = self._first_cause(failed)
            self._begin_stop(failed.code, f"all services have ended; {failed.name} {failed.why}", now)

    def _stop_requested(self, number: int, by: str, now: float) -> None:
        if self.phase == LOADING:
            self.phase = DONE
            self._do(Exit(0, f"stopped by {by} before anything was started"))
        elif self.phase == UP:
            self.requested = True
            self._say("info", f"{by}: stopping")
            self._begin_stop(None, f"stopped by {by}", now)
            self.asked, self.asked_at = number, now
        elif number == self.asked and now - self.asked_at < ECHO_SECONDS:
            return  # timeout(1), npm and some platforms signal us and then our whole group
        elif self.phase in (STOPPING, SWEEPING) and not self.requested:
            self.asked, self.asked_at = number, now
            # Whoever signals a whole process group or platform at once may hit a service before us: then
            # its death looked like the cause, and was in truth the first half of this request.
            self.requested = True
            if self.code == 128 + number:
                self.code, self.cause = None, ""
                self.exit_reason = f"stopped by {by}"
        elif self.phase in (STOPPING, SWEEPING) and not self.killing:
            self._say("warning", f"{by} again: killing what is left")
            self._total_due(now)

    def _broken(self, text: str, now: float) -> None:
        """We cannot trust ourselves any more: everything stops in order, and the code says whose fault it was."""
        self._say("error", text)
        if self.phase == LOADING:
            self.phase = DONE
            self._do(Exit(EXIT_BUG, text))
        elif self.phase == UP:
            self._begin_stop(EXIT_BUG, text, now)
        self.code, self.exit_reason, self.cause = EXIT_BUG, text, ""

    def _begin_stop(self, code: int | None, word: str, now: float) -> None:
        self.phase, self.code, self.exit_reason = STOPPING, code, word
        self._note("stopping", now, word, code)
        grace = self.plan.stop_grace_seconds if self.plan else 0.0
        self.total_deadline = now + grace
        self.services.stop_all()

    def _total_due(self, now: float) -> None:
        """The total is used up: SIGKILL to all, then a last patience, then we go in any case."""
        if self.killing:
            self._say("error", "some processes do not even die of SIGKILL: leaving them to the kernel")
            self._do(Sweep(SIGKILL))  # and those whom no service owns were not asked yet
            self._finish()
            return
        over = self.total_deadline is not None and self.total_deadline <= now
        self.killing = self.forced = True
        self.total_deadline = now + KILL_PATIENCE_SECONDS
        if self.phase == SWEEPING:
            self._say("warning", "time is up for processes that no service owns: killing")
            self._do(Sweep(SIGKILL))
            return
        alive = [unit for unit in self.units.values() if not unit.at_rest]
        names = ", ".join(unit.name for unit in alive)
        total = format_duration(self.plan.stop_grace_seconds if self.plan else 0.0)
        why = f"time is up for {names}: killing (x-cohabit stop_grace_period: {total})" if over else f"killing {names}"
        self._say("warning", why)
        for unit in alive:
            self.services.kill_at_once(unit, now)

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
        self._do(Exit(code, self.exit_reason, self.cause))

    # --- small change --------------------------------------------------------------------------------

    def _do(self, effect: Effect) -> None:
        self.services.out.append(effect)

    def _note(self, event: str, now: float, why: str = "", code: int | None = None) -> None:
        """What happened to the whole, for whoever asks later and for whoever listens now."""
        self.history = [*self.history[1 - _HISTORY_KEPT :], (now, event, why, code)]
        self.services.transitions.append(("", now, event, why, code))

    def _say(self, level: str, text: str) -> None:
        self._do(Report(level, "", text))

    # --- crossing a re-execution ---------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """All that a successor of this very program needs, as plain values (the Plan travels beside it)."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in _KEPT}
        plain["units"] = [unit.to_plain() for unit in self.units.values()]
        return plain

    def restore(self, plan: Plan | None, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called."""
        self.plan = plan
        for name in _KEPT:
            if name in plain:
                setattr(self, name, plain[name])
        self.services.restore([Unit.restored(unit) for unit in plain["units"]])
