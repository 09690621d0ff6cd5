"""`cohabit restart`: services go down in order and come up again."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command
from cohabit.cli.start import ALL, NO_WAIT, act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "restart",
    "[--no-wait | --timeout DURATION] SERVICE...",
    "Stop services and start them again, and wait until they are ready.",
    (ALL, NO_WAIT, waiting.TIMEOUT, *client.ALWAYS),
    details=(
        "A service that does not run is just started. With a service go those that depend on it with `restart: true`, "
        "as in Compose. The file is not read again: `cohabit reload` does that."
    ),
    exits=client.DONE,
    examples=(("cohabit restart web", "returns when web is ready again"),),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    return act(given, COMMAND, words)
