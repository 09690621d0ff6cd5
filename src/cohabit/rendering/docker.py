"""Services in Docker's words: the states and fields of `docker compose ps` and `docker stats`, and --format. Pure.

A template has fields in double braces, as `{{.Name}}` or `{{json .}}`; no other parts of Go's templates are supported.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

from cohabit.rendering.formatting import short_duration, size
from cohabit.rendering.status import shown_service
from cohabit.rendering.table import Cell, Column, state_text, table
from cohabit.rendering.text import safe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cohabit.api.status import ServiceStatus

STATES = ("created", "running", "paused", "restarting", "exited")
_FIELDS = (
    *("Name", "Service", "State", "Status", "Health", "ExitCode", "RunningFor", "PID", "Restarts", "Command"),
    "Schedule",
)
FIELDS = {name: name.upper() for name in _FIELDS}  # with the titles of their columns
# The fields of `docker stats`, with the titles of their columns. All are texts, also in JSON.
USAGE = {"Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %", "PIDs": "PIDS"}
USAGE_TABLE = "table " + r"\t".join(f"{{{{.{name}}}}}" for name in USAGE)
_UNKNOWN = "--"
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
        return "paused" if service.paused else "running"
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


def usage(row: Mapping[str, Any], memory_bytes: int | None) -> dict[str, str | int]:
    """Return the fields of one service by their names in USAGE. row: as in `cohabit top --json`.

    PIDs: processes and threads, as the kernel counts them. memory_bytes: the limit, None if it is not known.
    """
    limit, used = size(memory_bytes).replace(" ", "") if memory_bytes else _UNKNOWN, row["rss_bytes"]
    if not row["processes"]:
        values = (_UNKNOWN, f"{_UNKNOWN} / {_UNKNOWN}", _UNKNOWN, _UNKNOWN)
    else:
        share = f"{100.0 * used / memory_bytes:.2f}%" if memory_bytes else _UNKNOWN
        memory = f"{size(used).replace(' ', '')} / {limit}"
        values = (f"{row['cpu_percent']:.2f}%", memory, share, str(row["threads"]))
    return dict(zip(USAGE, (safe(row["name"]), *values), strict=True))


def formatted(rows: Sequence[Mapping[str, str | int]], titles: Mapping[str, str], template: str) -> list[str]:
    """Return the lines for --format: "json", a template, or "table " and a template. Raises TemplateError.

    rows: fields by name. titles: of all fields that there are, for the header of a table.
    """
    if template == "json":
        return [json.dumps(row) for row in rows]
    for escape, character in _ESCAPES.items():
        template = template.replace(escape, character)
    first, _, rest = template.partition(" ")
    if first == _TABLE:
        header, *body = ([Cell(_fill(part, row, titles)) for part in rest.split("\t")] for row in (titles, *rows))
        return table([Column(cell.text) for cell in header], body, width=0, colour=False)
    _fill(template, titles, titles)  # an error in it is reported without services, too
    return [_fill(template, row, titles) for row in rows]


def _fill(template: str, row: Mapping[str, str | int], titles: Mapping[str, str]) -> str:
    """The template with the values of a row."""
    left = _TAG.sub("", template)
    if "{{" in left or "}}" in left:
        tag = left[left.find("{{") :] if "{{" in left else left
        raise TemplateError(f"{tag!r} is not supported (write fields, such as {{{{.Name}}}}, or json)")

    def value(tag: re.Match[str]) -> str:
        as_json, name = tag.groups()
        if not name and as_json:
            return json.dumps(row)
        if name not in titles:
            raise TemplateError(f"there is no field .{name} (there are: {', '.join(titles)})")
        return json.dumps(row[name]) if as_json and row is not titles else str(row[name])

    return _TAG.sub(value, template)
