"""`cohabit graph`: the services, their states and their dependencies, for a terminal, a ticket or a program."""

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
    "Draw the services, their states and their dependencies.",
    (Option(("--mermaid",), "print a Mermaid flowchart, which GitHub and GitLab draw"), SVG, JSON, SOCKET),
    details=(
        "The text form is a tree: below each service are its dependencies, each with its condition and whether that "
        "holds."
    ),
    exit_codes=(("0", "done"), *client.EXIT_CODES),
    examples=(
        ("cohabit graph", "text, for a terminal"),
        ("docker exec CONTAINER cohabit graph --svg > graph.svg", "a picture, from outside"),
    ),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, draw, return the exit code."""
    values, names = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    check_exclusive(COMMAND, values, ("mermaid", "svg", "json"))
    inherited.restore()
    services = client.connect(COMMAND, values).status(*names).services
    if values["json"]:
        client.write(json.dumps(graph.json(services)) + "\n")
    elif values["svg"]:
        client.write(graph.svg(services))
    elif values["mermaid"]:
        client.write(graph.mermaid(services))
    else:
        client.write_lines(graph.text(services, width=client.terminal_size()[0], colour=client.uses_colour()))
    return 0


def check_exclusive(command: Command, values: dict[str, Any], forms: tuple[str, ...]) -> None:
    """Raises UsageError if more than one of these output forms is chosen."""
    chosen = [form for form in forms if values[form]]
    if len(chosen) > 1:
        raise UsageError(f"cannot {command.name}: {' and '.join(f'--{form}' for form in chosen)} exclude each other")
