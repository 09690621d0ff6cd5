"""`cohabit down`: stop everything, and the container with it."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command, Option
from cohabit.reactor import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "down",
    "[-t SECONDS]",
    "Stop all services in reverse order of their dependencies, then end the container.",
    (
        Option(
            ("-t", "--timeout"),
            "the grace period of each service, and the total, in whole seconds, instead of those in the file",
            "SECONDS",
        ),
        *client.ALWAYS,
    ),
    details=(
        "The same as `docker stop`, which sends SIGTERM to the running cohabit. Returns at once. The exit code of the "
        "container is 0, or 137 if a process had to be killed."
    ),
    exit_codes=(("0", "the stop has begun"), *client.EXIT_CODES),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    values = COMMAND.parse_options(arguments, "it stops everything (to stop one service: cohabit stop {})")
    if values["help"]:
        return COMMAND.show_help()
    grace = waiting.grace(COMMAND, values)
    inherited.restore()
    # The stop also terminates processes of no service, such as this one: that is not a failure of the request.
    signals.set_mask(inherited.mask | {signals.TERM})
    return client.print_result(values, client.connect(COMMAND, values).request("down", grace))
