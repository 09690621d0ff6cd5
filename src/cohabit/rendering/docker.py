"""Services in Docker's words: the states and fields of `docker compose ps`, and its --format. Pure.

A template has fields in double braces, as `{{.Name}}` or `{{json .}}`; no other parts of Go's templates are supported.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

from cohabit.rendering.formatting import short_duration
from cohabit.rendering.status import shown_service
from cohabit.rendering.table import Cell, Column, state_text, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.api.status import ServiceStatus

STATES = ("created", "running", "restarting", "exited")
FIELDS = (
    *("Name", "Service", "State", "Status", "Health", "ExitCode", "RunningFor", "PID", "Restarts", "Command"),
    "Schedule",
)
_TABLE = "table"
_TAG = re.compile(r"\{\{\s*(json\s+)?\.(\w*)\s*\}\}", re.ASCII)
_ESCAPES = {r"\t": "\t", r"\n": "\n"}


class TemplateError(ValueError):
    """The template has a part that is not supported."""


def state(service: ServiceStatus) -> str:
    """Return Docker's word for a state: one of STATES. A service that is being stopped is still running."""
    if service.state == "BACKOFF":
        return "restarting"
    if not service.at_rest:
        return "running"
    return "exited" if service.starts else "created"


def fields(service: ServiceStatus, now: float) -> dict[str, str | int]:
    """Return the fields of one service by their names in FIELDS. ExitCode: of its last run, 0 before the first end."""
    shown = shown_service(service)
    since = shown.started if not shown.at_rest else shown.since
    values = (
        *(shown.name, shown.service, state(shown), state_text(shown, now), shown.health, shown.code or 0),
        "" if since is None else f"{short_duration(now - since)} ago",
        *(0 if shown.at_rest else shown.pid, shown.restarts, shlex.join(shown.command), shown.schedule),
    )
    return dict(zip(FIELDS, values, strict=True))


def formatted(services: Sequence[ServiceStatus], template: str, now: float) -> list[str]:
    """Return the lines for --format: "json", a template, or "table " and a template. Raises TemplateError."""
    rows = [fields(service, now) for service in services]
    if template == "json":
        return [json.dumps(row) for row in rows]
    for escape, character in _ESCAPES.items():
        template = template.replace(escape, character)
    first, _, rest = template.partition(" ")
    if first == _TABLE:
        header, *body = ([Cell(_fill(part, row)) for part in rest.split("\t")] for row in (None, *rows))
        return table([Column(cell.text) for cell in header], body, width=0, colour=False)
    _fill(template, None)  # an error in it is reported without services, too
    return [_fill(template, row) for row in rows]


def _fill(template: str, row: dict[str, str | int] | None) -> str:
    """The template with the values of a row; without one, with the titles of a table."""
    left = _TAG.sub("", template)
    if "{{" in left or "}}" in left:
        tag = left[left.find("{{") :] if "{{" in left else left
        raise TemplateError(f"{tag!r} is not supported (write fields, such as {{{{.Name}}}}, or json)")

    def value(tag: re.Match[str]) -> str:
        as_json, name = tag.groups()
        if not name and as_json:
            return json.dumps(row or {})
        if name not in FIELDS:
            raise TemplateError(f"there is no field .{name} (there are: {', '.join(FIELDS)})")
        if row is None:
            return name.upper()
        return json.dumps(row[name]) if as_json else str(row[name])

    return _TAG.sub(value, template)
