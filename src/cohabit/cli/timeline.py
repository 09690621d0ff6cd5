"""`cohabit timeline`: the start of the container as a Gantt chart, with its critical path."""

from __future__ import annotations

import json

from cohabit.cli import client
from cohabit.cli.graph import SVG, check_exclusive
from cohabit.cli.options import JSON, SOCKET, Command
from cohabit.rendering import timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "timeline",
    "[--svg | --json]",
    "Draw the start of the container: which service waited for which, and what determined the duration.",
    (SVG, JSON, SOCKET),
    details=(
        "One bar for each service, from the request to start it until it was ready, completed or failed. The critical "
        "path is marked: the start becomes faster only if a service on it does."
    ),
    exit_codes=(("0", "done"), *client.EXIT_CODES),
    examples=(("cohabit timeline --svg > start.svg", "a picture for a ticket"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, draw, return the exit code."""
    values = COMMAND.parse_options(arguments, "it draws the start of all services, not only of {!r}")
    if values["help"]:
        return COMMAND.show_help()
    check_exclusive(COMMAND, values, ("svg", "json"))
    inherited.restore()
    status = client.connect(COMMAND, values).status()
    container, services = status.container, status.services
    if values["json"]:
        client.write(json.dumps(timeline.json(container, services)) + "\n")
    elif values["svg"]:
        client.write(timeline.svg(container, services))
    else:
        lines = timeline.text(container, services, width=client.terminal_size()[0], colour=client.uses_colour())
        client.write_lines(lines)
    return 0
