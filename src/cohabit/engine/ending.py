"""The end of the container.

It ends

  - when an essential service fails for good, with the exit code of that service; later failures do not change it;
  - when a service with `essential: true` ends for good, whatever its exit code is (ECS's meaning of the word);
  - when all services have ended, with 0 or the code of the first failure;
  - on request (docker stop), with 0, or 137 if SIGKILL was needed.

The steps are always the same. All services stop in reverse order of their dependencies, within one total time. Then
the remaining processes get SIGTERM, and SIGKILL when the time is over. Then comes Exit.
"""

from __future__ import annotations

from cohabit.engine.container import DONE, LOADING, STOPPING, SWEEPING, UP
from cohabit.engine.effects import Exit, Sweep
from cohabit.engine.machine import EXITED, FATAL
from cohabit.engine.requests import request_grace
from cohabit.engine.runs import SIGKILL, SIGTERM
from cohabit.errors import EXIT_BUG, EXIT_KILLED
from cohabit.plan import reason as reasons
from cohabit.plan.file_words import word
from cohabit.plan.model import EXIT
from cohabit.plan.reason import Reason
from cohabit.plan.record import from_plain, to_plain
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.engine.container import Container
    from cohabit.engine.unit import Unit

REPEATED_SIGNAL_SECONDS = 0.2  # the same signal again within this time is the same request
_NAMED = 5  # services named in one message
KILL_WAIT_SECONDS = 2.0  # after SIGKILL to all processes; Docker waits as long

_KEPT = (
    "cause", "code", "deadline", "failures", "killing", "reason", "requested", "requested_at", "signal",
    "total_seconds",
)  # fmt: skip


class Ending:
    """How and why the container ends. Times are monotonic seconds.

    code: the exit code of the first cause; None while there is none, and after a request. reason: why it ends.
    cause: the service whose output explains it, or "". failures: services that have failed for good.
    requested: the end was requested. signal, requested_at: of the first stop request.
    killing: SIGKILL was sent to all; KILL_WAIT_SECONDS runs.
    total_seconds: the total grace period, once the stop has begun. deadline: its end, or that of KILL_WAIT_SECONDS.
    drain_until: output may be written after Exit.
    """

    __slots__ = ("_container", "drain_until", *_KEPT)

    def __init__(self, container: Container) -> None:
        self._container = container
        self.code: int | None = None
        self.reason: Reason | None = None
        self.cause = ""
        self.failures = 0
        self.requested = False
        self.signal, self.requested_at = 0, 0.0
        self.killing = False
        self.total_seconds: float | None = None
        self.deadline: float | None = None
        self.drain_until = 0.0

    def service_ended(self, unit: Unit, now: float) -> None:
        """A service ended for good, or is unhealthy with `on_failure: exit`: end the container if it has to."""
        if unit.failure and not unit.failed and unit.spec.schedule is None:
            self.failures += 1
            unit.failed = self.failures
        if self._container.phase != UP or unit.gone or unit.skipped:
            return
        essential = unit.spec.essential and (unit.spec.ends_on_success or unit.failure or unit.state == FATAL)
        if unit.spec.essential and not essential and unit.state == EXITED:
            self._say_what_continues(unit)
        if essential or unit.run.on_failure == EXIT:
            self.cause = self._first_cause(unit)
            said = self._why_it_ends_all(unit)
            reason = Reason(reasons.SERVICE_ENDED, service=unit.name, cause=unit.run.reason, detail=said)
            self._begin_stop(unit.code or int(unit.failure), reason, now)

    def _why_it_ends_all(self, unit: Unit) -> str:
        """The rule that acted, in the words of the file; "" if every service ends the container whatever it does."""
        if not unit.spec.essential:
            return word("exit if unhealthy", supervisord=unit.spec.startup is not None)
        if not unit.spec.ends_on_success:
            return "a failure ends the container, unless essential: false"
        units = self._container.services.units.values()
        every = all(other.spec.essential and other.spec.ends_on_success for other in units)
        return "" if every else word("essential", supervisord=unit.spec.startup is not None)

    def _say_what_continues(self, unit: Unit) -> None:
        """A service has done its work, and others have not."""
        container = self._container
        others = [other.name for other in container.services.units.values() if other.desired and not other.ended]
        if others:
            more = f" and {len(others) - _NAMED}" if len(others) > _NAMED else ""
            text = f"{unit.name} has completed; the container continues with {', '.join(others[:_NAMED])}{more}"
            container.say("info", f"{text} (essential: true would end it)")

    def _first_cause(self, unit: Unit) -> str:
        """The service whose output explains the end: the given one, or the dependency that failed."""
        while not unit.starts:
            others = [
                (self._container.services.units[dependency.service], dependency) for dependency in unit.spec.depends_on
            ]
            failed = [other for other, dependency in others if other.can_never_satisfy(dependency)]
            if not failed:
                break
            unit = failed[0]
        return unit.name

    def all_ended(self, now: float) -> None:
        """No service runs, and none will start again."""
        beside = self._container.plan.beside if self._container.plan else ()
        units = [unit for unit in self._container.services.units.values() if unit.name not in beside]
        failures = [unit for unit in units if unit.failed]
        if not failures:
            took_part = [unit for unit in units if not unit.dormant]
            first = took_part[0] if took_part and all(unit.skipped for unit in took_part) else None
            name, cause = (first.name, first.run.reason) if first else ("", None)
            self._begin_stop(0, Reason(reasons.ALL_ENDED, service=name, cause=cause), now)
        else:
            failed = min(failures, key=lambda unit: unit.failed)
            self.cause = self._first_cause(failed)
            reason = Reason(reasons.ALL_ENDED, service=failed.name, cause=failed.run.reason)
            self._begin_stop(failed.code or 1, reason, now)

    def stop_requested(self, number: int, by: str, now: float, grace_seconds: float | None = None) -> None:
        """Stop everything. number: of the signal; by: who requested it; grace_seconds: None for those of the file."""
        container = self._container
        if container.phase == LOADING:
            container.phase = DONE
            container.do(Exit(0, Reason(reasons.STOPPED_EARLY, detail=by)))
        elif container.phase == UP:
            self.requested = True
            container.say("info", f"{by}: stopping", transition=True)
            if grace_seconds is not None:
                self.total_seconds = grace_seconds
                for unit in container.services.units.values():
                    request_grace(container.services, unit, grace_seconds, now)
            self._begin_stop(None, Reason(reasons.STOP_REQUESTED, detail=by), now)
            self.signal, self.requested_at = number, now
        elif number == self.signal and now - self.requested_at < REPEATED_SIGNAL_SECONDS:
            return  # timeout(1), npm and some platforms signal process 1 and then its whole group
        elif container.phase in (STOPPING, SWEEPING) and not self.requested:
            self.signal, self.requested_at = number, now
            # A signal to a whole process group may reach a service before cohabit. The death of the service then looks
            # like the cause of the end, but is part of this request.
            self.requested = True
            if self.code == 128 + number:
                self.code, self.cause = None, ""
                self.reason = Reason(reasons.STOP_REQUESTED, detail=by)
        elif container.phase in (STOPPING, SWEEPING) and not self.killing:
            container.say("warning", f"{by} again: killing the remaining processes")
            self.due(now)

    def broken(self, text: str, now: float) -> None:
        """Stop everything in order, with the exit code for a bug in cohabit."""
        container = self._container
        container.say("error", text)
        reason = Reason(reasons.INTERNAL_ERROR, detail=text)
        if container.phase == LOADING:
            container.phase = DONE
            container.do(Exit(EXIT_BUG, reason))
        elif container.phase == UP:
            self._begin_stop(EXIT_BUG, reason, now)
        self.code, self.reason, self.cause = EXIT_BUG, reason, ""

    def _begin_stop(self, code: int | None, reason: Reason, now: float) -> None:
        container = self._container
        container.phase, self.code, self.reason = STOPPING, code, reason
        container.note("stopping", now, reason, code)
        if self.total_seconds is None:
            self.total_seconds = container.plan.stop_grace_seconds if container.plan else 0.0
        self.deadline = now + self.total_seconds
        container.services.stop_all(now, self.deadline)

    def due(self, now: float) -> None:
        """The total time is over, or a second request came: send SIGKILL to all. KILL_WAIT_SECONDS later, exit."""
        container = self._container
        if self.killing:
            waited = format_duration(KILL_WAIT_SECONDS)
            container.say("error", f"some processes have not ended {waited} after SIGKILL: exiting without them")
            container.do(Sweep(SIGKILL))  # the processes that belong to no service have had no signal yet
            self.finish()
            return
        over = self.deadline is not None and self.deadline <= now
        self.killing = container.services.killed = container.services.total_grace.over = True
        self.deadline = now + KILL_WAIT_SECONDS
        if container.phase == SWEEPING:
            container.say("warning", "killing the remaining processes that belong to no service")
            container.do(Sweep(SIGKILL))
            return
        running = [unit for unit in container.services.units.values() if not (unit.at_rest or unit.unreachable)]
        names = ", ".join(
            unit.name if unit.run.stop is not None else f"{unit.name} (not asked to stop yet)" for unit in running
        )
        total = format_duration(self.total_seconds or 0.0)
        from_file = container.plan is None or container.plan.stop_grace_seconds == self.total_seconds
        supervisord = any(unit.spec.startup is not None for unit in running)
        source = word("total grace", supervisord=supervisord) if from_file else "as requested"
        late = f"not stopped within the total of {total} ({source}): " if over else ""
        container.say("warning", f"{late}killing {names}")
        for unit in running:
            container.services.runs.kill_at_once(unit, now)

    def postpone(self, seconds: float) -> None:
        """Neither process 1 nor the services ran for this time."""
        if self.deadline is not None:
            self.deadline += seconds

    def sweep(self) -> None:
        """All services have stopped: end the processes that belong to none."""
        self._container.phase = SWEEPING
        self._container.services.total_grace.over = True
        self._container.do(Sweep(SIGKILL if self.killing else SIGTERM))

    def finish(self) -> None:
        """No process is left: exit."""
        container = self._container
        if container.phase == DONE:
            return
        container.phase = DONE
        self.drain_until = self.deadline or 0.0
        self.deadline = None
        code = self.code
        refused = next((unit for unit in container.services.units.values() if unit.unreachable), None)
        if refused is not None:
            self.reason = reasons.with_refusal(self.reason, refused.name, refused.signal_refused)
        if code is not None and code != EXIT_BUG:
            code = self._chosen_code(code)
        if code is None:
            code = EXIT_KILLED if container.services.killed or refused else 0
        container.do(Exit(code, self.reason, self.cause))

    def _chosen_code(self, code: int) -> int:
        """The exit code of the service that `--exit-code-from` names, if it ran; otherwise that of the cause."""
        plan = self._container.plan
        units = self._container.services.units.values()
        wanted = plan.exit_code_from if plan else ""
        chosen = (unit.code for unit in units if (unit.spec.service or unit.name) == wanted)
        found = next((one for one in chosen if one is not None), None)
        if found is None:
            return code
        if self.reason is not None and self.reason.kind == reasons.SERVICE_ENDED and self.reason.service != wanted:
            self.reason = self.reason.replace(detail=f"--exit-code-from {wanted}")
        return found

    def to_plain(self) -> dict[str, Any]:
        """The re-execution state, as plain values."""
        return {name: getattr(self, name) for name in _KEPT} | {"reason": to_plain(self.reason)}

    def restore(self, plain: dict[str, Any]) -> None:
        """The inverse of to_plain. A field that the older program did not write keeps its initial value."""
        for name in _KEPT:
            if name in plain:
                setattr(self, name, plain[name])
        self.reason = from_plain(plain["reason"])
