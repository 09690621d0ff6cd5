"""Objects of the answer to `status` for tests of the renderers, and the renderers for such objects.

`service` and `container` return an object with every field of docs/reference/control.md; a call names the fields that
matter to the test. The other functions return common situations. All times are near NOW, the container's `time`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cohabit.api.status import ContainerStatus, ServiceStatus, reason_to_json
from cohabit.plan.reason import Reason, end_of_run
from cohabit.plan.reason_text import text_of
from cohabit.rendering import colours, table
from cohabit.rendering import graph as rendering_graph
from cohabit.rendering import timeline as rendering_timeline
from cohabit.rendering import why as rendering_why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NOW = 1_770_000_000.0  # 2026-02-02 02:40:00 UTC
BEGAN = NOW - 3600.0

Status = dict[str, Any]


def container(**fields: Any) -> Status:
    """Return the container's object: up for an hour and ready."""
    return {
        "version": "0.4.0",
        "protocol": 2,
        "pid": 1,
        "time": NOW,
        "started": BEGAN,
        "phase": "up",
        "ready": True,
        "exit_reason": "",
        "reason": None,
        "code": None,
        "stop_grace_seconds": 9.0,
        "reading": False,
        "memory_limit": None,
    } | checked(fields, _CONTAINER)


def service(name: str = "web", **fields: Any) -> Status:
    """Return a service's object: running since the container's start, ready, without a probe.

    A field `reason` is a Reason; its text is `why`.
    """
    reason = fields.get("reason")
    if isinstance(reason, Reason):
        fields |= {"reason": reason_to_json(reason), "why": text_of(reason)}
    return {
        "name": name,
        "service": name,
        "replica": 0,
        "state": "RUNNING",
        "since": BEGAN,
        "want": "up",
        "restart_pending": False,
        "gone": False,
        "ready": True,
        "health": "",
        "status": "",
        "pid": 7,
        "pids": [7],
        "code": None,
        "why": "",
        "reason": None,
        "out_of_memory": False,
        "starts": 1,
        "restarts": 0,
        "attempts": None,
        "restart": "no",
        "started": BEGAN,
        "next": None,
        "hook_stage": "",
        "hook_index": 0,
        "depends_on": [],
        "essential": True,
        "ends_on_success": True,
        "job": False,
        "schedule": "",
        "autostart": True,
        "command": [f"./{name}"],
        "driver": "prefix",
        "stop_signal": "SIGTERM",
        "stop_grace_seconds": 10.0,
        "on_failure": "none",
        "probe": None,
        "results": [],
        "history": [],
        "timeline": [],
        "blocked_output": [],
        "output": [],
    } | checked(fields, _SERVICE)


def needs(other: str, condition: str = "service_started", *, required: bool = True, satisfied: bool = False) -> Status:
    """Return one entry of depends_on, not satisfied by default."""
    return {"service": other, "condition": condition, "required": required, "satisfied": satisfied}


def probe(text: str = "TCP 127.0.0.1:5432", **fields: Any) -> Status:
    """Return a probe with Docker's defaults; its kind is the first word of the text."""
    return {
        "kind": text.partition(" ")[0].lower(),
        "text": text,
        "interval_seconds": 30.0,
        "timeout_seconds": 5.0,
        "retries": 3,
        "start_period_seconds": 0.0,
        "failures": 0,
    } | fields


def answer(output: str | Reason = "", *, passed: bool = False, ago: float = 1.0) -> Status:
    """Return one result of a probe; output: also the reason of its failure."""
    reason = output if isinstance(output, Reason) else None
    plain = reason and reason_to_json(reason)
    return {"time": NOW - ago, "passed": passed, "output": text_of(reason) or output, "reason": plain}


def blocked(destination: str = "stdout", why: str = "", *, stream: str = "stdout", ago: float = 5.0) -> Status:
    """Return output that waits."""
    return {"stream": stream, "destination": destination, "since": NOW - ago, "why": why}


def happened(event: str, ago: float, reason: Reason | None = None, code: int | None = None) -> Status:
    """Return one entry of the history."""
    plain = reason and reason_to_json(reason)
    return {"time": NOW - ago, "event": event, "text": text_of(reason), "code": code, "reason": plain}


def healthy(name: str = "web", **fields: Any) -> Status:
    """Return a running service whose probe passes."""
    defaults = {"health": "healthy", "probe": probe(), "results": [answer(passed=True)]}
    return service(name, **(defaults | fields))


def waiting(name: str, *others: Status, **fields: Any) -> Status:
    """Return a service that was never started, because it waits for others (made by `needs`)."""
    defaults = {
        "state": "STOPPED", "since": None, "ready": False, "pid": 0, "pids": [], "starts": 0, "started": None,
        "depends_on": list(others),
    }  # fmt: skip
    return service(name, **(defaults | fields))


def crashing(name: str = "web", code: int = 1, *, ago: float = 1.0, **fields: Any) -> Status:
    """Return a service in BACKOFF: its third run ended, the next one begins 1.6 s after that end."""
    reason = end_of_run(code, 2.0)
    defaults = {
        "state": "BACKOFF", "since": NOW - ago, "ready": False, "pid": 0, "pids": [], "code": code, "reason": reason,
        "starts": 3, "restarts": 3, "restart": "always", "started": NOW - ago - 2, "next": NOW - ago + 1.6,
        "history": [
            happened("RUNNING", ago + 2.0),
            happened("BACKOFF", ago, reason, code),
        ],
    }  # fmt: skip
    return service(name, **(defaults | fields))


def ended(
    name: str = "web", code: int = 1, *, ago: float = 12.0, reason: Reason | None = None, **fields: Any
) -> Status:
    """Return a service that ended and is not restarted: EXITED unless a field says FATAL."""
    reason = reason or end_of_run(code, 2.0)
    defaults = {
        "state": "EXITED", "since": NOW - ago, "ready": False, "pid": 0, "pids": [], "code": code, "reason": reason,
        "started": NOW - ago - 2, "history": [happened("RUNNING", ago + 2), happened("EXITED", ago, reason, code)],
    }  # fmt: skip
    return service(name, **(defaults | fields))


def stopped(name: str = "web", *, ago: float = 60.0, **fields: Any) -> Status:
    """Return a service that was stopped manually."""
    defaults = {
        "state": "STOPPED", "since": NOW - ago, "want": "down", "ready": False, "pid": 0, "pids": [], "code": 143,
        "reason": end_of_run(143, 59 * 60.0),
        "history": [happened("STOPPING", ago + 0.1), happened("STOPPED", ago, None, 143)],
    }  # fmt: skip
    return service(name, **(defaults | fields))


def checked(fields: Status, known: Sequence[str]) -> Status:
    """Return the fields; a name that control.md does not have is an error in the test."""
    assert set(fields) <= set(known), set(fields) - set(known)
    return fields


_CONTAINER: tuple[str, ...] = (
    "version", "protocol", "pid", "time", "started", "phase", "ready", "exit_reason", "reason", "code",
    "stop_grace_seconds",
    "reading", "memory_limit",
)  # fmt: skip
_SERVICE: tuple[str, ...] = (
    "name", "service", "replica", "state", "since", "want", "restart_pending", "gone", "ready", "health", "status",
    "pid", "pids", "code", "why", "reason", "out_of_memory", "starts", "restarts", "attempts", "restart", "started",
    "next", "hook_stage", "hook_index", "depends_on", "essential", "ends_on_success", "job", "schedule", "autostart",
    "command", "driver",
    "stop_signal", "stop_grace_seconds", "on_failure", "probe", "results", "history", "timeline", "output",
    "blocked_output", "output_before", "next_run", "startup_seconds", "start_retries", "expected_end", "exitcodes",
)  # fmt: skip


def _of_services(render: Callable[..., Any]) -> Callable[..., Any]:
    def from_objects(services: Iterable[Status], *rest: Any, **named: Any) -> Any:
        return render([ServiceStatus.from_json(one) for one in services], *rest, **named)

    return from_objects


def _of_all(render: Callable[..., Any]) -> Callable[..., Any]:
    def from_objects(around: Status, services: Iterable[Status], *rest: Any, **named: Any) -> Any:
        records = [ServiceStatus.from_json(one) for one in services]
        return render(ContainerStatus.from_json(around), records, *rest, **named)

    return from_objects


def state_of(one: Status) -> str:
    """Return the display state of a service's object."""
    return colours.state_of(ServiceStatus.from_json(one))


ps = _of_all(table.ps)
why = _of_all(rendering_why.why)
why_json = _of_all(rendering_why.why_json)
_GRAPHS = ("json", "text", "mermaid", "svg")
graph = SimpleNamespace(**{name: _of_services(getattr(rendering_graph, name)) for name in _GRAPHS})
timeline = SimpleNamespace(
    **{
        "ticks": rendering_timeline.ticks,
        **{name: _of_all(getattr(rendering_timeline, name)) for name in ("json", "text", "svg")},
    }
)
