"""`cohabit check`, and what `cohabit config` shares with it: the loader, which prints text instead of a Plan."""

from __future__ import annotations

from cohabit.cli import load
from cohabit.cli.options import FILE_EXIT_CODES, JSON, Command, Option
from cohabit.cli.reading import READING, read_request
from cohabit.reactor import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "check",
    "[-f FILE]... [SERVICE...]",
    "Report all errors and warnings of the file with their lines, and start nothing.",
    (
        *READING,
        Option(
            ("--build",),
            "for a Dockerfile: missing variables, secrets, mounted files and permissions are notes, not errors",
        ),
        JSON,
    ),
    exit_codes=(
        ("0", "no errors"),
        ("64", "wrong usage, or no such service"),
        ("71", "the system refused"),
        *FILE_EXIT_CODES,
    ),
    examples=(("RUN cohabit check --build", "in a Dockerfile: errors are found at build time"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, then become the loader."""
    return run_loader(inherited, COMMAND, arguments, lambda values: {"build": values["build"]})


def run_loader(
    inherited: InheritedSignals,
    command: Command,
    arguments: list[str],
    more: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> int:
    """Become the loader, which prints, and ends this process with its exit code; returns only for --help.

    more: further keys of the request, from the values of the options.
    """
    values, services = command.parse(arguments)
    if values["help"]:
        return command.show_help()
    request = {**read_request(command, values), "services": services, "json": values["json"]}
    request |= more(values) if more else {}
    return become_loader(inherited, command.name, request)


def become_loader(inherited: InheritedSignals, name: str, request: dict[str, Any]) -> int:
    """Be the loader from now on, in this process. name: of the command. Returns the exit code."""
    signals.set_mask(inherited.mask)
    run: Callable[[str, dict[str, Any]], int] = load("cohabit.config.loader").run
    return run(name, request)
