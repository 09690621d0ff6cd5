"""`cohabit restart`: stop services in order and start them again."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command
from cohabit.cli.start import NO_WAIT, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "restart",
    "[-t SECONDS] [--no-wait | --wait-timeout DURATION] [SERVICE...]",
    "Stop services, start them again, and wait until they are ready; without names, all of them.",
    (waiting.GRACE, NO_WAIT, waiting.TIMEOUT, *client.ALWAYS),
    details=(
        "A service that is not running is only started. Without names, services with a schedule are left out, and "
        "those with `autostart: false` that do not run. "
        "Services that depend on a restarted one with `restart: true` "
        "are restarted with it, as in Compose, unless they were stopped on request. The file is not read again: "
        "`cohabit reload` does that."
    ),
    exit_codes=client.DONE,
    examples=(("cohabit restart web", "return when web is ready again"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    return run(inherited, COMMAND, arguments)
