"""`cohabit events`: what has happened to the services and to the container, and on as it happens."""

from __future__ import annotations

import json

from cohabit.cli import client, load
from cohabit.cli.logs import FOLLOW, parse_since, timestamp
from cohabit.cli.options import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "events",
    "[-f] [--since TIME] [SERVICE...]",
    "Show what has happened: starts, ends, readiness, health, and what happens from now on.",
    (
        FOLLOW,
        Option(("--since",), "only what is younger: 10m, 2024-05-01T12:00:00Z, or Unix seconds", "TIME"),
        *client.ALWAYS,
    ),
    details=(
        "One line for each: when (UTC), whose, what, and why. The last 32 of each service are kept. They are:\n\n"
        "  STARTING, RUNNING, BACKOFF,    the state that was entered\n"
        "  STOPPING, STOPPED, EXITED,\n"
        "  FATAL\n"
        "  wanted                         it shall run, and waits for what it depends on\n"
        "  ready                          those that depend on it may start\n"
        "  healthy, unhealthy             what its healthcheck says, when that changes\n"
        "  up, ready, reloaded,           of the container itself, named `cohabit`\n"
        "  reload failed, stopping        (with --json its service is empty)"
    ),
    exits=(("0", "done, or the container has ended"), *client.EXITS),
    examples=(("cohabit events -f --json web", "one object a line, for programs"),),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, print, return the exit code."""
    values, services = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    request = [*services]
    if values["since"] is not None:
        request.append(f"since={parse_since('events', values['since']):.6f}")
    if values["follow"]:
        request.append("follow=yes")
    given.restore()
    for line in client.body(COMMAND, values, "events", request, streams=True).lines():
        client.write(line + b"\n" if values["json"] else _for_people(json.loads(line)))
    return 0


def _for_people(event: dict[str, Any]) -> str:
    safe = load("cohabit.rendering.text").safe
    moment = timestamp(event["time"])[:-4] + "Z"
    name, what, text = (safe(str(event[key] or "")) for key in ("service", "event", "text"))
    return f"{moment}  {name or 'cohabit':12}  {what:9}  {text}".rstrip() + "\n"
