"""`cohabit ps`: the services and their states; --watch updates the table."""

from __future__ import annotations

import json
import select
import time

from cohabit.cli import client
from cohabit.cli.options import Command, Option
from cohabit.cli.screen import Screen
from cohabit.client import ConnectionFailedError
from cohabit.errors import UsageError
from cohabit.rendering import docker, table
from cohabit.rendering.colours import DONE, FAILED, READY, RUNNING, STARTING, STOPPED, STOPPING, WAITING, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.client import Answer, Client, ServiceStatus, Status
    from cohabit.reactor.signals import InheritedSignals

WATCH = Option(("--watch",), "update the output until ^C")

COMMAND = Command(
    "ps",
    "[-q | --services | --format FORMAT] [--status STATE] [--watch] [SERVICE...]",
    "List the services: state, pid, time in that state, restarts, last exit, command.",
    (
        Option(("-a", "--all"), "no effect: services that do not run are always listed"),
        Option(("-q", "--quiet"), "print only the names of the instances"),
        Option(("--services",), "print only the names of the services"),
        Option(("--format",), "table, json (an object in each line), or a template such as '{{.Name}}'", "FORMAT"),
        Option(
            ("--status",), "list only services in this state (Docker's words)", "|".join(docker.STATES), repeat=True
        ),
        Option(
            ("-f", "--filter"), "list only what matches: status=, health=, service= or name=", "NAME=VALUE", repeat=True
        ),
        Option(("--no-trunc",), "do not shorten to the width of the terminal"),
        WATCH,
        *client.ALWAYS,
    ),
    details=(
        "On a terminal, --watch redraws the table in place at every event, and once a second for the times. If the "
        "terminal has too few lines, failed and waiting services come first. Elsewhere, --watch prints a new table at "
        "every change.\n\n"
        "--format has Docker's names and words: Name, Service, State (created, running, paused, restarting, exited), "
        "Status, Health, ExitCode, RunningFor, Command; and PID, Restarts, Schedule. '{{json .}}' is one object; "
        "'table TEMPLATE' has a header.\n\n"
        'With --json: {"container": {...}, "services": [{...}, ...]}, as in docs/reference/status.md.'
    ),
    exit_codes=(("0", "done; with --watch, also when the container has ended"), *client.EXIT_CODES),
    examples=(
        ("cohabit ps --watch", "watch the services"),
        ("cohabit ps --format '{{.Name}} {{.State}}'", "one line for each, in Docker's words"),
        ("cohabit ps --json | jq -r '.services[] | select(.ready | not) | .name'", "services that are not ready"),
    ),
)
UNLIMITED_WIDTH = 0  # of a table that goes to a file or a program: nothing is cut there
_TICK_SECONDS = 1.0
_REDRAW_INTERVAL_SECONDS = 0.1  # between two requests: more cannot be seen, and cost process 1 time
_MARGIN_LINES = 3  # header and footer
_WORST_FIRST = (FAILED, WAITING, STARTING, RUNNING, STOPPING, READY, STOPPED, DONE)
_TABLES = (None, "table", "pretty")  # values of --format for the usual table
_FILTERS: dict[str, Callable[[ServiceStatus], str]] = {
    "status": docker.state,
    "health": lambda service: service.health or "none",
    "service": lambda service: service.service,
    "name": lambda service: service.name,
}
_COMPARED = ("name", "state", "want", "ready", "health", "pid", "starts", "hook_stage", "code", "gone")


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, print, return the exit code."""
    values, services = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    exclusive = [name for name in ("json", "quiet", "services", "format") if values[name]]
    if len(exclusive) > 1:
        raise UsageError(f"cannot ps: --{exclusive[0]} and --{exclusive[1]} exclude each other")
    _parse_filters(values)
    if values["format"] not in _TABLES:
        _formatted(values["format"], (), 0.0)
    inherited.restore()
    if values["watch"]:
        return _watch(values, services)
    client.write(_format(values, client.connect(COMMAND, values).status(*services)))
    return 0


def _parse_filters(values: dict[str, Any]) -> None:
    """Replace --filter by (field, value), and add those of --status. Raises UsageError."""
    pairs = [("status", one) for one in values["status"]]
    for text in values["filter"]:
        name, equals, value = text.partition("=")
        if not equals or name not in _FILTERS:
            raise UsageError(f"cannot ps: --filter {text!r} is not known (write {'=, '.join(_FILTERS)}=VALUE)")
        if name == "status" and value not in docker.STATES:
            raise UsageError(f"cannot ps: --filter {text!r}: the states are {', '.join(docker.STATES)}")
        pairs.append((name, value))
    values["filter"] = pairs


def _filtered(values: dict[str, Any], status: Status) -> Status:
    """The services that match one value of each kind of filter."""
    wanted: dict[str, set[str]] = {}
    for name, value in values["filter"]:
        wanted.setdefault(name, set()).add(value)
    kept = [one for one in status.services if all(_FILTERS[name](one) in allowed for name, allowed in wanted.items())]
    return status.replace(services=tuple(kept))


def _formatted(template: str, services: tuple[ServiceStatus, ...], now: float) -> list[str]:
    try:
        return docker.formatted([docker.fields(one, now) for one in services], docker.FIELDS, template)
    except docker.TemplateError as error:
        raise UsageError(f"cannot ps: --format: {error}") from error


def _format(values: dict[str, Any], status: Status) -> str:
    status = _filtered(values, status)
    if values["json"]:
        return json.dumps(status.to_json()) + "\n"
    if values["quiet"]:
        return "".join(f"{service.name}\n" for service in status.services)
    if values["services"]:
        return "".join(f"{name}\n" for name in dict.fromkeys(service.service for service in status.services))
    if values["format"] not in _TABLES:
        return "".join(f"{line}\n" for line in _formatted(values["format"], status.services, status.container.now))
    width, _ = (UNLIMITED_WIDTH, 0) if values["no_trunc"] else client.terminal_size(UNLIMITED_WIDTH)
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
