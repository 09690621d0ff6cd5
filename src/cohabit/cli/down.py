"""`cohabit down`: everything stops, and the container with it."""

from __future__ import annotations

from cohabit.cli import client
from cohabit.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "down",
    "",
    "Stop everything in reverse order of dependencies; then the container ends.",
    client.ALWAYS,
    details="The same as `docker stop` (SIGTERM to the running cohabit). Returns at once; the container ends with 0.",
    exits=(("0", "the stop has begun"), *client.EXITS),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    values = COMMAND.parse_options(words, "it stops everything (to stop one service: cohabit stop {})")
    if values["help"]:
        return COMMAND.show_help()
    given.restore()
    return client.tell(COMMAND, values, client.ask(COMMAND, values, "down"))
