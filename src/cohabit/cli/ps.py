"""`cohabit ps`: the services and how they are; --watch keeps the table true."""

from __future__ import annotations

import json
import select
import time

from cohabit.cli import client
from cohabit.cli.discovery import ConnectionFailedError
from cohabit.cli.options import Command, Option
from cohabit.cli.screen import Screen
from cohabit.rendering import table
from cohabit.rendering.colours import DONE, FAILED, READY, RUNNING, STARTING, STOPPED, STOPPING, WAITING, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.cli.connection import Answer
    from cohabit.reactor.signals import InheritedSignals

    Status = tuple[dict[str, Any], list[dict[str, Any]]]

WATCH = Option(("--watch",), "show it again whenever something changes, until ^C")

COMMAND = Command(
    "ps",
    "[-q] [--watch] [SERVICE...]",
    "List the services: state, process, since when, restarts, how the last run ended, command.",
    (Option(("-q", "--quiet"), "only the names"), WATCH, *client.ALWAYS),
    details=(
        "On a terminal --watch draws over the last table whenever something happens, and once a second for the times; "
        "where the terminal is too low for all of them, whoever fails or waits comes first. "
        "Elsewhere it prints a new table whenever a state has changed.\n\n"
        'With --json: {"container": {...}, "services": [{...}, ...]}, as docs/reference/control.md has them.'
    ),
    exits=(("0", "done"), *client.EXITS),
    examples=(
        ("cohabit ps --watch", "look on"),
        ("cohabit ps --json | jq -r '.services[] | select(.ready | not) | .name'", "who is not ready"),
    ),
)
ANY_WIDTH = 0  # of a table that goes to a file or a program: nothing shall be missing there
_TICK_SECONDS = 1.0
_CALM_SECONDS = 0.1  # between two pictures: nobody sees more, and process 1 has better things to do
_AROUND = 3  # lines above and below the services
_WORST = (FAILED, WAITING, STARTING, RUNNING, STOPPING, READY, STOPPED, DONE)
_CHANGING = ("name", "state", "want", "ready", "health", "pid", "starts", "hook_stage", "code", "gone")


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, print, return the exit code."""
    values, services = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    given.restore()
    if values["watch"]:
        return _watch(values, services)
    client.write(_shown(values, client.status(COMMAND, values, services)))
    return 0


def _shown(values: dict[str, Any], status: Status) -> str:
    container, services = status
    if values["json"]:
        return json.dumps({"container": container, "services": services}) + "\n"
    if values["quiet"]:
        return "".join(f"{service['name']}\n" for service in services)
    width, _ = client.size(ANY_WIDTH)
    lines = table.ps(container, services, width=width, colour=client.shows_colour())
    return "".join(f"{line}\n" for line in lines)


def _watch(values: dict[str, Any], services: list[str]) -> int:
    """Until somebody interrupts it, or the container has ended."""
    screen = Screen() if client.on_terminal() and not values["json"] else None
    events, before = _events(values), None
    while True:
        try:
            status = client.status(COMMAND, values, services)
        except ConnectionFailedError:
            if before is None:
                raise
            client.write("cohabit: it has ended\n", 2)
            return 0
        told = [status[0]["phase"], *([service[key] for key in _CHANGING] for service in status[1])]
        if screen:
            status = status[0], _worst_first(status[1])
            shown = _shown(values, status)
            header = 0 if values["quiet"] else 1
            screen.show(shown, shown.count("\n") - header - len(status[1]))
        elif told != before:
            client.write(_shown(values, status))
        before = told
        if events.ended:  # its program may have been replaced
            select.select([], [], [], _TICK_SECONDS)
            try:
                events = _events(values)
            except ConnectionFailedError:
                continue
        _until_something_happens(events, None if screen is None else _TICK_SECONDS)


def _worst_first(services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where the terminal is too low for all of them, those that one would look for."""
    _, height = client.size()
    if len(services) + _AROUND < height:
        return services
    return sorted(services, key=lambda service: _WORST.index(state_of(service)))


def _events(values: dict[str, Any]) -> Answer:
    """A stream of what happens from now on."""
    return client.body(COMMAND, values, "events", [f"since={time.time():.6f}", "follow=yes"], streams=True)


def _until_something_happens(events: Answer, seconds: float | None) -> None:
    if select.select([events], [], [], seconds)[0]:
        select.select([], [], [], _CALM_SECONDS)
        events.receive()
        events.forget()
