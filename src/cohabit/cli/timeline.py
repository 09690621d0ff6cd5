"""`cohabit timeline`: the start as a Gantt chart, and what made it take so long."""

from __future__ import annotations

import json

from cohabit.cli import client
from cohabit.cli.graph import SVG, only_one
from cohabit.cli.options import JSON, SOCKET, Command
from cohabit.rendering import timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "timeline",
    "[--svg | --json]",
    "Draw the start of the container: who waited for whom, and what made it take so long.",
    (SVG, JSON, SOCKET),
    details=(
        "One bar for each service, from the moment when it was wanted until it was ready, had done its work, or had "
        "failed. The critical path is marked: only what makes one of its services faster makes the start faster."
    ),
    exits=(("0", "done"), *client.EXITS),
    examples=(("cohabit timeline --svg > start.svg", "a picture for a ticket"),),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, draw, return the exit code."""
    values = COMMAND.parse_options(words, "it draws the start of all services, not only of {!r}")
    if values["help"]:
        return COMMAND.show_help()
    only_one(COMMAND, values, ("svg", "json"))
    given.restore()
    container, services = client.status(COMMAND, values)
    if values["json"]:
        client.write(json.dumps(timeline.json(container, services)) + "\n")
    elif values["svg"]:
        client.write(timeline.svg(container, services))
    else:
        lines = timeline.text(container, services, width=client.size()[0], colour=client.shows_colour())
        client.write_lines(lines)
    return 0
