"""`cohabit timeline`: the start as a Gantt chart, and what made it take so long."""

from __future__ import annotations

import json

from cohabit.cli import talk
from cohabit.cli.graph import SVG, only_one
from cohabit.cli.options import JSON, SOCKET, Verb
from cohabit.views import timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import Given

VERB = Verb(
    "timeline",
    "[--svg | --json]",
    "Draw the start of the container: who waited for whom, and what made it take so long.",
    (SVG, JSON, SOCKET),
    details=(
        "One bar for each service, from the moment when it was wanted until it was ready, had done its work, or had "
        "failed. The critical path is marked: only what makes one of its services faster makes the start faster."
    ),
    exits=(("0", "done"), *talk.EXITS),
    examples=(("cohabit timeline --svg > start.svg", "a picture for a ticket"),),
)


def main(given: Given, words: list[str]) -> int:
    """Parse, ask, draw, return the exit code."""
    values = VERB.parse_options(words, "it draws the start of all services, not only of {!r}")
    if values["help"]:
        return VERB.show_help()
    only_one(VERB, values, ("svg", "json"))
    given.restore()
    container, services = talk.status(VERB, values)
    if values["json"]:
        talk.write(json.dumps(timeline.json(container, services)) + "\n")
    elif values["svg"]:
        talk.write(timeline.svg(container, services))
    else:
        lines = timeline.text(container, services, width=talk.size()[0], colour=talk.shows_colour())
        talk.write_lines(lines)
    return 0
