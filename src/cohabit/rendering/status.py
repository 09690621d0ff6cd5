"""What may be shown of the answer to `status` (api/status.py). Everything that is shown passes through here. Pure.

Every text is `safe` for a terminal, and no name is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cohabit.plan.record import Record
from cohabit.rendering.text import safe, shorten

if TYPE_CHECKING:
    from cohabit.api.status import ContainerStatus, ServiceStatus

_ANSWER_MAX = 200  # columns


def shown_container(container: ContainerStatus) -> ContainerStatus:
    """Return the container with safe texts."""
    shown: ContainerStatus = _safe(container)
    return shown


def shown_service(service: ServiceStatus) -> ServiceStatus:
    """Return the service with safe texts. The output of a result of its probe is the last line that is not empty."""
    results = tuple(result.replace(output=_last_line(result.output)) for result in service.results)
    shown: ServiceStatus = _safe(service.replace(results=results))
    name = shown.name or "?"
    needs = tuple(need.replace(service=need.service or "?") for need in shown.depends_on)
    probe = shown.probe and shown.probe.replace(text=shown.probe.text or shown.probe.kind or "a probe")
    return shown.replace(name=name, service=shown.service or name, depends_on=needs, probe=probe)


def _last_line(output: str) -> str:
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "")
    return shorten(safe(last.strip()), _ANSWER_MAX)


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, tuple):
        return tuple(map(_safe, value))
    if isinstance(value, Record):
        return value.replace(**{name: _safe(getattr(value, name)) for name in value._fields})
    return value
