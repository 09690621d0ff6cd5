"""`cohabit ps`: the services and their states; --watch updates the table."""

from __future__ import annotations

import json
import select
import time

from cohabit.cli import client
from cohabit.cli.options import Command, Option
from cohabit.cli.screen import Screen
from cohabit.client import ConnectionFailedError
from cohabit.rendering import table
from cohabit.rendering.colours import DONE, FAILED, READY, RUNNING, STARTING, STOPPED, STOPPING, WAITING, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.client import Answer, Client, ServiceStatus, Status
    from cohabit.reactor.signals import InheritedSignals

WATCH = Option(("--watch",), "update the output until ^C")

COMMAND = Command(
    "ps",
    "[-q] [--watch] [SERVICE...]",
    "List the services: state, pid, time in that state, restarts, last exit, command.",
    (Option(("-q", "--quiet"), "print only the names"), WATCH, *client.ALWAYS),
    details=(
        "On a terminal, --watch redraws the table in place at every event, and once a second for the times. If the "
        "terminal has too few lines, failed and waiting services come first. Elsewhere, --watch prints a new table at "
        "every change.\n\n"
        'With --json: {"container": {...}, "services": [{...}, ...]}, as in docs/reference/status.md.'
    ),
    exit_codes=(("0", "done; with --watch, also when the container has ended"), *client.EXIT_CODES),
    examples=(
        ("cohabit ps --watch", "watch the services"),
        ("cohabit ps --json | jq -r '.services[] | select(.ready | not) | .name'", "services that are not ready"),
    ),
)
UNLIMITED_WIDTH = 0  # of a table that goes to a file or a program: nothing is cut there
_TICK_SECONDS = 1.0
_REDRAW_INTERVAL_SECONDS = 0.1  # between two requests: more cannot be seen, and cost process 1 time
_MARGIN_LINES = 3  # header and footer
_WORST_FIRST = (FAILED, WAITING, STARTING, RUNNING, STOPPING, READY, STOPPED, DONE)
_COMPARED = ("name", "state", "want", "ready", "health", "pid", "starts", "hook_stage", "code", "gone")


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, print, return the exit code."""
    values, services = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    inherited.restore()
    if values["watch"]:
        return _watch(values, services)
    client.write(_format(values, client.connect(COMMAND, values).status(*services)))
    return 0


def _format(values: dict[str, Any], status: Status) -> str:
    if values["json"]:
        return json.dumps(status.to_json()) + "\n"
    if values["quiet"]:
        return "".join(f"{service.name}\n" for service in status.services)
    width, _ = client.terminal_size(UNLIMITED_WIDTH)
    lines = table.ps(status.container, status.services, width=width, colour=client.uses_colour())
    return "".join(f"{line}\n" for line in lines)


def _watch(values: dict[str, Any], services: list[str]) -> int:
    """Print until the container has ended, or a signal ends this process."""
    screen = Screen() if client.is_terminal() and not values["json"] else None
    cohabit, before = client.connect(COMMAND, values), None
    events = _events(cohabit)
    while True:
        try:
            status = cohabit.status(*services)
        except ConnectionFailedError:
            if before is None:
                raise
            client.write("cohabit: the running cohabit no longer answers (has the container ended?)\n", 2)
            return 0
        compared = [status.container.phase, *([getattr(each, name) for name in _COMPARED] for each in status.services)]
        if screen:
            status = status.replace(services=_worst_first(status.services))
            text = _format(values, status)
            header = 0 if values["quiet"] else 1
            screen.show(text, text.count("\n") - header - len(status.services))
        elif compared != before:
            client.write(_format(values, status))
        before = compared
        if events.ended:  # the container may have ended, or cohabit replaced its program
            select.select([], [], [], _TICK_SECONDS)
            try:
                events = _events(cohabit)
            except ConnectionFailedError:
                continue
        _wait_for_event(events, None if screen is None else _TICK_SECONDS)


def _worst_first(services: tuple[ServiceStatus, ...]) -> tuple[ServiceStatus, ...]:
    """The services in order; failed and waiting ones first if the terminal has too few lines."""
    _, height = client.terminal_size()
    if len(services) + _MARGIN_LINES < height:
        return services
    return tuple(sorted(services, key=lambda service: _WORST_FIRST.index(state_of(service))))


def _events(cohabit: Client) -> Answer:
    """A stream of the events from now on."""
    arguments = [f"since={time.time():.6f}", "follow=yes"]
    return cohabit.checked("events", arguments, streaming=True)


def _wait_for_event(events: Answer, seconds: float | None) -> None:
    if events.has_data or select.select([events], [], [], seconds)[0]:
        select.select([], [], [], _REDRAW_INTERVAL_SECONDS)
        if not events.has_data:
            events.receive()
        events.discard()
