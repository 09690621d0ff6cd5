"""`cohabit stop`: stop services; the container continues without them."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command
from cohabit.cli.start import NO_WAIT, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "stop",
    "[-t SECONDS] [--no-wait | --wait-timeout DURATION] [SERVICE...]",
    "Stop services, without names all: send their stop signal, wait for their grace period, then kill their processes.",
    (waiting.GRACE, NO_WAIT, waiting.TIMEOUT, *client.ALWAYS),
    details=(
        "A stopped service stays down until it is started again or a reload changes it; one with a schedule runs again "
        "at its next time. The container continues, even if the service is essential. Services that depend on a "
        "stopped one keep running. To end the container: `cohabit down`."
    ),
    exit_codes=client.DONE,
    examples=(
        ("cohabit stop -t 30 db", "db has 30 seconds, whatever its stop_grace_period is"),
        ("cohabit stop web", "all replicas of web"),
        ("cohabit stop web-2", "one of them"),
    ),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    return run(inherited, COMMAND, arguments)
