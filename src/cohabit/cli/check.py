"""`cohabit check`, and what `cohabit config` shares with it: the loader, which prints text instead of a Plan."""

from __future__ import annotations

from cohabit.cli.options import FILE_EXIT_CODES, JSON, Command, Option
from cohabit.cli.up import READING, read_request
from cohabit.errors import EXIT_SYSTEM, CohabitError
from cohabit.program import program
from cohabit.reactor.linux import os, python_environment

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


class NoLoaderError(CohabitError):
    """The loader cannot be started."""

    exit_code = EXIT_SYSTEM


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, then become the loader."""
    return run_loader(inherited, COMMAND, arguments, lambda values: {"build": values["build"]})


def run_loader(
    inherited: InheritedSignals,
    command: Command,
    arguments: list[str],
    more: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> int:
    """Replace this process by the loader, which prints and sets the exit code; returns only for --help.

    more: further keys of the request, from the values of the options. Raises NoLoaderError.
    """
    values, services = command.parse(arguments)
    if values["help"]:
        return command.show_help()
    request = {**read_request(command, values), "services": services, "json": values["json"]}
    request |= more(values) if more else {}
    argv = program("loader", command.name, repr(request))
    inherited.restore()
    try:
        os.execve(argv[0], argv, python_environment())
    except OSError as error:
        why = f"{argv[0]!r}, the interpreter, cannot be executed: {error.strerror}"
        raise NoLoaderError(f"cannot {command.name}: {why} (is it there, and executable for this user?)") from error
