"""`cohabit stop`: services go down and stay down; the container goes on without them."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command
from cohabit.cli.start import ALL, NO_WAIT, act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "stop",
    "[--no-wait | --timeout DURATION] SERVICE...",
    "Stop services: their own stop signal, their grace period, then SIGKILL to all their processes.",
    (ALL, NO_WAIT, waiting.TIMEOUT, *client.ALWAYS),
    details=(
        "They stay down until somebody starts them, and the container goes on without them, essential or not. Whoever "
        "depends on them keeps running. To end the container: `cohabit down`."
    ),
    exits=client.DONE,
    examples=(("cohabit stop web", "all replicas of web"), ("cohabit stop web-2", "one of them")),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    return act(given, COMMAND, words)
