"""`cohabit events`: the events of the services and of the container, recorded and new ones."""

from __future__ import annotations

import json

from cohabit.cli import client, load
from cohabit.cli.logs import FOLLOW, SINCE, UNTIL, parse_times, timestamp
from cohabit.cli.options import Command
from cohabit.client.client import stream_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "events",
    "[-f] [--since TIME] [--until TIME] [SERVICE...]",
    "Show the events of services and of the container: starts, ends, readiness, health.",
    (
        FOLLOW,
        SINCE,
        UNTIL,
        *client.ALWAYS,
    ),
    details=(
        "One line for each event: time (UTC), service, event, reason. The last 32 of each service and the last 64 of "
        "the container are kept. The events are:\n\n"
        "  STARTING, RUNNING, BACKOFF,    the state that the service entered\n"
        "  STOPPING, STOPPED, EXITED,\n"
        "  FATAL\n"
        "  wanted                         it is to run as soon as its dependencies allow\n"
        "  spawned                        its command runs, for less than its startsecs\n"
        "  ready                          services that depend on it may start\n"
        "  unhealthy, healthy             it became unhealthy, or healthy again\n"
        "  paused, unpaused               it was paused, or continues\n"
        "  changed                        files changed: restarted (up --watch)\n"
        "  up, ready, reloaded,           of the container, shown as `cohabit`\n"
        "  reload failed, stopping        (with --json, its `service` is empty)"
    ),
    exit_codes=(("0", "done, or the container has ended"), *client.EXIT_CODES),
    examples=(("cohabit events -f --json web", "one JSON object per line"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, print, return the exit code."""
    values, services = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    since, until = parse_times("events", values)
    request = [*services, *stream_options(since, None, follow=values["follow"])]
    inherited.restore()
    for line in client.connect(COMMAND, values).checked("events", request, streaming=True).lines():
        if values["json"] and until is None:
            client.write(line + b"\n")
            continue
        event = json.loads(line)
        if until is not None and (event.get("time") or 0.0) > until:
            continue
        if values["json"]:
            client.write(line + b"\n")
        elif "dropped" in event:
            client.print_dropped(event["dropped"])
        else:
            client.write(_as_text(event, client.terminal_size(0)[0]))
    return 0


def _as_text(event: dict[str, Any], width: int) -> str:
    """One line, wrapped at words to this width below its text; 0: not wrapped."""
    text_module = load("cohabit.rendering.text")
    safe = text_module.safe
    moment = timestamp(event["time"])[:-4] + "Z"
    name, kind, text = (safe(str(event[key] or "")) for key in ("service", "event", "text"))
    before = f"{moment}  {name or 'cohabit':12}  {kind:9}  "
    lines = text_module.wrap((before + text).rstrip(), width, hanging=" " * len(before))
    return "".join(f"{line}\n" for line in lines)
