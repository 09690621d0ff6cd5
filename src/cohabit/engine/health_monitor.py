"""Health monitoring of the running services: it requests probes and acts on their results.

health.py has the timing rules. Here a result makes a service ready or unhealthy, and `on_failure` ends an unhealthy
one. services.py handles what follows from that end.
"""

from __future__ import annotations

from cohabit.engine import health, machine
from cohabit.engine.effects import Ask, StopAsking
from cohabit.engine.transition import HEALTHY_AGAIN, READY, UNHEALTHY
from cohabit.engine.unit import HEALTH_TIMER
from cohabit.plan import reason as reasons
from cohabit.plan.model import EXIT, POST_START, RESTART
from cohabit.plan.reason import Reason
from cohabit.plan.reason_text import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.events import Notified
    from cohabit.engine.surroundings import Services
    from cohabit.engine.unit import Unit


class HealthMonitor:
    """The health of all services that run."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def begin(self, unit: Unit, now: float) -> None:
        """The command runs and the post_start hooks have ended; or it counts as started now, too (`startup`)."""
        probe = unit.spec.probe
        if probe is None and unit.state == machine.RUNNING:
            unit.run.ready = True
            if not unit.spec.job:  # others wait for the completion of a job, not for its start
                self._services.note(unit, READY, now)
            self._services.mark_dirty(unit)
        if probe is None:
            return
        if unit.health.status == "":  # else a report came earlier: sd_notify during a hook
            unit.health.begin(probe, now)
        announced = unit.health.status == health.UNHEALTHY  # while a hook was running
        self._changed(unit, health.UNHEALTHY if announced else "", now)

    def end(self, unit: Unit) -> None:
        """The service is not running any more, or has another probe from now on."""
        unit.run.ready = False
        if unit.spec.probe is not None:
            unit.health.end()
            self._services.timers.set((unit.name, HEALTH_TIMER), None)
            self._services.out.append(StopAsking(unit.name))

    def probed(self, unit: Unit, now: float, *, passed: bool, output: str, reason: Reason | None = None) -> None:
        """A result has arrived: the answer to Ask, or a report of the service itself."""
        probe = unit.spec.probe
        if probe is None or not unit.command_runs:
            return
        if unit.health.status == "":
            unit.health.begin(probe, now)
        before = unit.health.status
        unit.health.result(probe, now, passed=passed, output=output, reason=reason)
        self._changed(unit, before, now)

    def notified(self, unit: Unit, message: Notified, now: float) -> None:
        """Handle a message of sd_notify(3)."""
        probe = unit.spec.probe
        if not unit.command_runs or probe is None or probe.kind != "notify":
            return
        if unit.health.status == "":
            unit.health.begin(probe, now)
        if message.extend_seconds:
            unit.health.extend(probe, now, message.extend_seconds)
        if message.watchdog == "trigger":
            self.probed(unit, now, passed=False, output="it reported a failure (WATCHDOG=trigger)")
        elif message.ready or (message.watchdog and unit.health.was_healthy):
            self.probed(unit, now, passed=True, output=unit.run.status)
        else:
            self._set_timer(unit)

    def postpone(self, seconds: float) -> None:
        """Nothing ran for this time (the event Gap): a report that did not come is not missing yet.

        A service may need longer than process 1 to run again, so that this is all that may have been lost.
        """
        for unit in self._services.units.values():
            probe = unit.spec.probe
            if probe is not None and unit.command_runs and unit.health.status and not unit.paused:
                unit.health.postpone(probe, seconds)
                self._set_timer(unit)

    def due(self, unit: Unit, now: float) -> None:
        """The timer of the unit has expired: request a probe, or record that a report is missing."""
        probe = unit.spec.probe
        next_at = unit.health.next_at
        if probe is None or not unit.command_runs or next_at is None or next_at > now:
            return
        before = unit.health.status
        self._services.timers.set((unit.name, HEALTH_TIMER), None)  # it may be due for an earlier result
        if unit.health.due(probe, now):
            self._services.out.append(Ask(unit.spec))
        else:
            self._changed(unit, before, now)

    def _changed(self, unit: Unit, before: str, now: float) -> None:
        self._announce(unit, before, now)
        if not unit.command_runs:
            return
        next_at = unit.health.next_at
        if next_at is not None and next_at <= now and not unit.paused:
            self.due(unit, now)
        else:
            self._set_timer(unit)

    def _set_timer(self, unit: Unit) -> None:
        next_at = None if unit.paused else unit.health.next_at
        self._services.timers.set((unit.name, HEALTH_TIMER), next_at)

    def _announce(self, unit: Unit, before: str, now: float) -> None:
        services, probe, status = self._services, unit.spec.probe, unit.health.status
        complete = unit.state == machine.RUNNING and unit.run.hook_stage != POST_START
        if status == health.HEALTHY and not unit.run.ready and complete:
            unit.run.ready = True
            first = before in ("", health.STARTING)
            services.note(unit, READY if first else HEALTHY_AGAIN, now)
            services.say("info", unit, "ready" if first else "healthy again")
            services.mark_dirty(unit)
        elif status == health.UNHEALTHY and before != health.UNHEALTHY and probe is not None:
            unit.run.ready = False
            services.mark_dirty(unit)
            reason = Reason(reasons.UNHEALTHY, detail=unit.health.last_output, cause=unit.health.results[-1][3])
            services.note(unit, UNHEALTHY, now, reason)
            text = text_of(reason)
            waiting = ", ".join(name for name in unit.dependents if _waits_for(services.units[name], unit))
            services.say("warning", unit, text + (f" ({waiting} cannot start until it is healthy)" if waiting else ""))
            if unit.going_down:
                return
            if probe.on_failure == RESTART:
                unit.run.reason, unit.run.on_failure = reason, RESTART
                services.fact(unit, machine.FAILED, now)
            elif probe.on_failure == EXIT:
                unit.run.reason, unit.run.on_failure, unit.code = reason, EXIT, 1
                services.ended.append(unit)


def _waits_for(unit: Unit, other: Unit) -> bool:
    """Whether it is to start, and its dependency on the other one does not hold yet."""
    dependencies = (dependency for dependency in unit.spec.depends_on if dependency.service == other.name)
    held = all(other.satisfies(dependency) for dependency in dependencies)
    return unit.desired and unit.state == machine.STOPPED and not held
