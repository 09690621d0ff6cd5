"""`cohabit restart`: services go down in order and come up again."""

from __future__ import annotations

from cohabit.cli import patience, talk
from cohabit.cli.options import Verb
from cohabit.cli.start import ALL, NO_WAIT, act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import Given

VERB = Verb(
    "restart",
    "[--no-wait | --timeout DURATION] SERVICE...",
    "Stop services and start them again, and wait until they are ready.",
    (ALL, NO_WAIT, patience.TIMEOUT, *talk.ALWAYS),
    details=(
        "A service that does not run is just started. With a service go those that depend on it with `restart: true`, "
        "as in Compose. The file is not read again: `cohabit reload` does that."
    ),
    exits=talk.DONE,
    examples=(("cohabit restart web", "returns when web is ready again"),),
)


def main(given: Given, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    return act(given, VERB, words)
