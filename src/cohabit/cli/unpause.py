"""`cohabit unpause`: let paused services continue."""

from __future__ import annotations

from cohabit.cli import client, pause
from cohabit.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "unpause",
    "[SERVICE...]",
    "Let paused services continue, without names all of them.",
    client.ALWAYS,
    exit_codes=client.DONE,
    examples=(("cohabit unpause worker", "its processes run again"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    return pause.run(inherited, COMMAND, arguments)
