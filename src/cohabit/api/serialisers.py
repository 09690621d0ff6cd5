"""Writes the engine's state as the records of an answer (status.py). All times in an answer are Unix seconds."""

from __future__ import annotations

from cohabit.api.status import (
    ContainerStatus,
    Counters,
    DependencyStatus,
    Event,
    ProbeResult,
    ProbeStatus,
    ServiceStatus,
    TimelineEntry,
)
from cohabit.engine.transition import UNHEALTHY
from cohabit.engine.unit import STATE_TIMER
from cohabit.plan.reason_text import text_of
from cohabit.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cohabit.engine.supervisor import Supervisor
    from cohabit.engine.transition import Entry
    from cohabit.engine.unit import Unit
    from cohabit.plan.model import Dependency, Probe


class Clock:
    """Converts monotonic seconds to Unix seconds, with the difference between the two clocks at its creation."""

    def __init__(self, unix: float, monotonic: float) -> None:
        self.now = unix
        self._offset = unix - monotonic

    def unix(self, moment: float | None) -> float | None:
        """Return Unix seconds, rounded to a microsecond; None for None."""
        return None if moment is None else round(moment + self._offset, 6)


def container(engine: Supervisor, clock: Clock, *, ready: bool, **details: Any) -> ContainerStatus:
    """Return the container. details: what the engine does not know of it (Backend), version and protocol."""
    return ContainerStatus(
        **details,
        time=clock.now,
        phase=engine.phase,
        exit_reason=text_of(engine.ending.reason),
        reason=engine.ending.reason,
        code=engine.ending.code,
        stop_grace_seconds=engine.plan.stop_grace_seconds if engine.plan else None,
        next=clock.unix(engine.ending.deadline),
        reading=engine.reading.in_progress,
        scale={name: number for name, number in engine.reading.scale.items() if number is not None},
        history=tuple(event("", entry, clock) for entry in engine.history),
        ready=ready,
    )


def service(engine: Supervisor, unit: Unit, clock: Clock, **details: Any) -> ServiceStatus:
    """Return one service instance. details: pids, blocked_output, output, output_before."""
    definition, startup = unit.spec, unit.spec.startup
    reason = unit.run.reason
    if unit.unreachable and unit.signal_refused is not None:
        reason = unit.signal_refused.replace(cause=reason)
    return ServiceStatus(
        name=unit.name,
        service=definition.service or unit.name,
        replica=definition.replica,
        state=unit.state,
        since=clock.unix(unit.history.since),
        want="up" if unit.desired else "down",
        restart_pending=unit.restart_pending,
        gone=unit.gone,
        ready=unit.run.ready,
        paused=unit.paused,
        health=unit.health.status,
        status=unit.run.status,
        pid=unit.run.pid if unit.run.main_alive else 0,
        code=unit.code,
        why=text_of(reason),
        reason=reason,
        out_of_memory=unit.run.out_of_memory,
        starts=unit.starts,
        restarts=unit.restarts,
        attempts=definition.restart.attempts,
        restart=definition.restart.condition,
        started=clock.unix(unit.run.started_at) if unit.starts else None,
        next=clock.unix(engine.services.timers.get((unit.name, STATE_TIMER))),
        hook_stage=unit.run.hook_stage if unit.run.awaits_hook else "",
        hook_index=unit.run.hook_index,
        depends_on=tuple(_dependency(engine, dependency) for dependency in unit.newest_spec.depends_on),
        essential=definition.essential,
        ends_on_success=definition.ends_on_success,
        job=definition.job,
        schedule=definition.schedule.cron if definition.schedule else "",
        autostart=definition.autostart,
        command=definition.command,
        driver=", ".join(entry.driver for entry in definition.logging),
        stop_signal=signal_name(definition.stop_signal),
        stop_grace_seconds=definition.stop_grace_seconds,
        on_failure=definition.probe.on_failure if definition.probe else "none",
        probe=_probe(definition.probe, unit) if definition.probe else None,
        results=tuple(
            ProbeResult(clock.unix(moment), passed, output, why) for moment, passed, output, why in unit.health.results
        ),
        history=tuple(event(unit.name, entry, clock) for entry in unit.history.entries),
        timeline=tuple(TimelineEntry(clock.unix(moment), kind) for moment, kind in unit.history.timeline),
        counters=Counters(
            starts=unit.history.starts,
            restarts=unit.history.restarts,
            exits=unit.history.exits,
            probes_passed=unit.health.passed,
            probes_failed=unit.health.failed,
        ),
        startup_seconds=startup.seconds if startup else None,
        start_retries=startup.retries if startup else None,
        expected_end=unit.succeeded and bool(unit.code),
        exitcodes=definition.restart.expected_codes if startup else (),
        **details,
    )


def event(name: str, entry: Entry, clock: Clock) -> Event:
    """Return one entry of a history as an event. name: the service, "" for the container."""
    moment, kind, reason, code, before, pid, expected, tries = entry
    text = reason.detail if reason is not None and kind == UNHEALTHY else text_of(reason)
    return Event(clock.unix(moment), name, kind, text, code, reason, before, pid, expected, tries)


def events(engine: Supervisor, units: list[Unit], clock: Clock, *, with_container: bool) -> Iterator[Event]:
    """Yield the recorded events of these services, and of the container with with_container, oldest first."""
    found = [(entry, unit.name) for unit in units for entry in unit.history.entries]
    found += [(entry, "") for entry in engine.history] if with_container else []
    for entry, name in sorted(found, key=lambda one: one[0][0]):
        yield event(name, entry, clock)


def _dependency(engine: Supervisor, dependency: Dependency) -> DependencyStatus:
    other = engine.units.get(dependency.service)
    satisfied = other is not None and other.satisfies(dependency)
    return DependencyStatus(dependency.service, dependency.condition, satisfied, dependency.required)


def _probe(probe: Probe, unit: Unit) -> ProbeStatus:
    return ProbeStatus(
        kind=probe.kind,
        text=probe_text(probe),
        interval_seconds=probe.interval_seconds,
        timeout_seconds=probe.timeout_seconds,
        retries=probe.retries,
        start_period_seconds=probe.start_period_seconds,
        failures=unit.health.failures,
    )


def probe_text(probe: Probe) -> str:
    """Return a probe as it is written in a healthcheck, for example `TCP 127.0.0.1:80`."""
    host = f"[{probe.host}]" if ":" in probe.host else probe.host
    target = {
        "tcp": f"{host}:{probe.port}",
        "http": f"{probe.socket or 'http://' + host}{'' if probe.socket else f':{probe.port}'}{probe.path}",
        "unix": probe.socket,
        "exec": " ".join(probe.command),
        "log": probe.pattern,
        "fd": str(probe.fd),
    }
    kind = "CMD" if probe.kind == "exec" else probe.kind.upper()
    return f"{kind} {target.get(probe.kind, '')}".rstrip()
