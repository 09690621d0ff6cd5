"""`cohabit graph`: who needs whom, and how everybody is; for the terminal, a ticket or a program."""

from __future__ import annotations

import json

from cohabit.cli import client
from cohabit.cli.options import JSON, SOCKET, Command, Option
from cohabit.errors import UsageError
from cohabit.rendering import graph

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

SVG = Option(("--svg",), "print an SVG picture")

COMMAND = Command(
    "graph",
    "[--mermaid | --svg | --json] [SERVICE...]",
    "Draw which service needs which, and how each is.",
    (Option(("--mermaid",), "print a Mermaid flowchart, which GitHub and GitLab draw"), SVG, JSON, SOCKET),
    details="As text it is a tree: below each service stands what it needs, and beside that whether it is so.",
    exits=(("0", "done"), *client.EXITS),
    examples=(
        ("cohabit graph", "on the terminal"),
        ("docker exec CONTAINER cohabit graph --svg > graph.svg", "a picture, from outside"),
    ),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, draw, return the exit code."""
    values, names = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    only_one(COMMAND, values, ("mermaid", "svg", "json"))
    given.restore()
    _, services = client.status(COMMAND, values, names)
    if values["json"]:
        client.write(json.dumps(graph.json(services)) + "\n")
    elif values["svg"]:
        client.write(graph.svg(services))
    elif values["mermaid"]:
        client.write(graph.mermaid(services))
    else:
        client.write_lines(graph.text(services, width=client.size()[0], colour=client.shows_colour()))
    return 0


def only_one(verb: Command, values: dict[str, Any], forms: tuple[str, ...]) -> None:
    """Raises UsageError when several forms of the same are asked for."""
    asked = [form for form in forms if values[form]]
    if len(asked) > 1:
        raise UsageError(f"cannot {verb.name}: {' and '.join(f'--{form}' for form in asked)} exclude each other")
