"""`cohabit stats`: the resource usage of services, as `docker stats` prints that of containers (top.py measures it)."""

from __future__ import annotations

from cohabit.cli import client
from cohabit.cli.options import Command, Option
from cohabit.cli.screen import Screen
from cohabit.cli.top import samples
from cohabit.errors import UsageError
from cohabit.rendering import docker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.cli.top import Usage
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "stats",
    "[-a] [--no-stream] [--format FORMAT] [SERVICE...]",
    "Show the CPU time, the memory and the processes of services every second, until ^C.",
    (
        Option(("-a", "--all"), "also list services that do not run"),
        Option(("--no-stream",), "print one table only"),
        Option(("--format",), "table, json (an object in each line), or a template such as '{{.Name}}'", "FORMAT"),
        Option(("--no-trunc",), "no effect: nothing is shortened"),
        *client.ALWAYS,
    ),
    details=(
        "On a terminal, the table is redrawn in place; elsewhere, a new one is printed every second. `cohabit top` "
        "shows more: open descriptors, threads, totals, and cohabit itself.\n\n"
        "The columns, and the names for --format, are Docker's: Name, CPUPerc, MemUsage, MemPerc, PIDs (processes and "
        "threads). CPU % is the share of one processor. Memory is resident memory; shared pages count for each "
        "process. Without a limit of the container, the limit is the memory of the machine. Network and disk have no "
        "columns: the services share those of the container. Two dashes stand for a service that does not run, and "
        "for what cannot be read.\n\n"
        "--json is --format json."
    ),
    exit_codes=(("0", "done"), *client.EXIT_CODES),
    examples=(
        ("cohabit stats --no-stream", "one table"),
        ("cohabit stats --no-stream --format json web", "an object, in Docker's words"),
    ),
)
_TABLES = (None, "table")


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, sample, print, return the exit code."""
    values, services = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if values["json"] and values["format"] not in (None, "json"):
        raise UsageError("cannot stats: --json and --format exclude each other")
    template = "json" if values["json"] else docker.USAGE_TABLE if values["format"] in _TABLES else values["format"]
    _formatted(template, [])
    inherited.restore()
    screen = Screen() if client.is_terminal() and not values["no_stream"] and template == docker.USAGE_TABLE else None
    for sample in samples(client.connect(COMMAND, values), services):
        shown = "".join(
            f"{line}\n" for line in _formatted(template, _rows(sample, everything=values["all"] or services))
        )
        if screen:
            screen.show(shown)
        else:
            client.write(shown)
        if values["no_stream"]:
            break
    return 0


def _rows(sample: Usage, *, everything: object) -> list[dict[str, Any]]:
    """The fields of each service. everything: also of those that do not run."""
    return [
        docker.usage(row, sample.memory_bytes)
        for row, service in zip(sample.rows, sample.services, strict=True)
        if everything or not service.at_rest
    ]


def _formatted(template: str, rows: list[dict[str, Any]]) -> list[str]:
    try:
        return docker.formatted(rows, docker.USAGE, template)
    except docker.TemplateError as error:
        raise UsageError(f"cannot stats: --format: {error}") from error
