"""What the engine knows of itself, as plain values for an answer. Times leave the house as Unix seconds."""

from __future__ import annotations

from cohabit.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cohabit.engine.supervisor import Supervisor
    from cohabit.engine.unit import Unit
    from cohabit.plan.model import Dependency, Probe

    Entry = tuple[float, str, str, int | None]


class Clock:
    """Unix seconds of monotonic ones, as the two stand now."""

    def __init__(self, unix: float, monotonic: float) -> None:
        self.now = unix
        self._between = unix - monotonic

    def unix(self, moment: float | None) -> float | None:
        """To the microsecond, None for never."""
        return None if moment is None else round(moment + self._between, 6)


def container(engine: Supervisor, clock: Clock) -> dict[str, Any]:
    """The whole."""
    return {
        "time": clock.now,
        "phase": engine.phase,
        "exit_reason": engine.exit_reason,
        "code": engine.code,
        "stop_grace_seconds": engine.plan.stop_grace_seconds if engine.plan else None,
        "next": clock.unix(engine.total_deadline),
        "reading": engine.reading,
        "scale": engine.scale,
        "history": [event("", entry, clock) for entry in engine.history],
    }


def service(engine: Supervisor, unit: Unit, clock: Clock) -> dict[str, Any]:
    """One service: what it is, what it shall be, and how it came to that."""
    shown = unit.service
    return {
        "name": unit.name,
        "service": shown.service or unit.name,
        "replica": shown.replica,
        "state": unit.state,
        "since": clock.unix(unit.since),
        "want": "up" if unit.want_up else "down",
        "restart_pending": unit.restart_pending,
        "gone": unit.gone,
        "ready": unit.ready,
        "health": unit.health.status,
        "status": unit.status,
        "pid": unit.pid if unit.main_alive else 0,
        "code": unit.code,
        "why": unit.why,
        "out_of_memory": unit.out_of_memory,
        "starts": unit.starts,
        "restarts": unit.restarts,
        "attempts": shown.restart.attempts,
        "restart": shown.restart.condition,
        "started": clock.unix(unit.started_at) if unit.starts else None,
        "next": clock.unix(unit.deadline),
        "hook_stage": unit.hook_stage,
        "hook_index": unit.hook_index,
        "depends_on": [_dependency(engine, need) for need in unit.wanted.depends_on],
        "essential": shown.essential,
        "job": shown.job,
        "schedule": shown.schedule.cron if shown.schedule else "",
        "command": list(shown.command),
        "driver": ", ".join(entry.driver for entry in shown.logging),
        "stop_signal": signal_name(shown.stop_signal),
        "stop_grace_seconds": shown.stop_grace_seconds,
        "on_failure": shown.probe.on_failure if shown.probe else "none",
        "probe": _probe(shown.probe, unit) if shown.probe else None,
        "results": [
            {"time": clock.unix(moment), "passed": passed, "output": output}
            for moment, passed, output in unit.health.results
        ],
        "history": [event(unit.name, entry, clock) for entry in unit.history],
        "timeline": [{"time": clock.unix(moment), "event": what} for moment, what in unit.timeline],
    }


def event(name: str, entry: Entry, clock: Clock) -> dict[str, Any]:
    """Something that happened."""
    moment, what, text, code = entry
    return {"time": clock.unix(moment), "service": name, "event": what, "text": text, "code": code}


def events(engine: Supervisor, units: list[Unit], clock: Clock, *, whole: bool) -> Iterator[dict[str, Any]]:
    """All that is remembered of these services, and of the whole if it is wanted, in its order."""
    found = [(entry, unit.name) for unit in units for entry in unit.history]
    found += [(entry, "") for entry in engine.history] if whole else []
    for entry, name in sorted(found, key=lambda one: one[0][0]):
        yield event(name, entry, clock)


def _dependency(engine: Supervisor, need: Dependency) -> dict[str, Any]:
    other = engine.units.get(need.service)
    return {
        "service": need.service,
        "condition": need.condition,
        "required": need.required,
        "satisfied": other is not None and other.satisfies(need),
    }


def _probe(probe: Probe, unit: Unit) -> dict[str, Any]:
    return {
        "kind": probe.kind,
        "text": probe_text(probe),
        "interval_seconds": probe.interval_seconds,
        "timeout_seconds": probe.timeout_seconds,
        "retries": probe.retries,
        "start_period_seconds": probe.start_period_seconds,
        "failures": unit.health.failures,
    }


def probe_text(probe: Probe) -> str:
    """A probe as people write it in a healthcheck."""
    host = f"[{probe.host}]" if ":" in probe.host else probe.host
    what = {
        "tcp": f"{host}:{probe.port}",
        "http": f"{probe.socket or 'http://' + host}{'' if probe.socket else f':{probe.port}'}{probe.path}",
        "unix": probe.socket,
        "exec": " ".join(probe.command),
        "log": probe.pattern,
        "fd": str(probe.fd),
    }
    kind = "CMD" if probe.kind == "exec" else probe.kind.upper()
    return f"{kind} {what.get(probe.kind, '')}".rstrip()
