"""`cohabit scale web=3`: change the number of replicas, by a reload with another number."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import FILE_EXIT_CODES, Command
from cohabit.cli.reload import print_outcome
from cohabit.errors import UsageError
from cohabit.units import parse_replicas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "scale",
    "[--wait-timeout DURATION] SERVICE=N...",
    "Set the number of replicas of a service.",
    (waiting.TIMEOUT, *client.ALWAYS),
    details=(
        "New replicas are started, or those with the highest numbers are stopped; the others keep running. A service "
        "without `scale` in the file keeps its name: web, web-2 to web-N. A service behind an inactive profile is "
        "started. The file is "
        "read again, so other changes in it take effect, too. Returns when the file has been read. The number is kept "
        "until the next `cohabit scale` or the end of the container."
    ),
    exit_codes=(
        ("0", "done; the changes are printed"),
        ("1", "the container is starting or stopping, the timeout expired, or an instance cannot be signalled"),
        *FILE_EXIT_CODES,
        *client.EXIT_CODES,
    ),
    examples=(("cohabit scale worker=4", "worker-1 to worker-4"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    values, numbers = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if not numbers:
        raise UsageError("cannot scale: no service is named (write: cohabit scale SERVICE=N)")
    for argument in numbers:
        service, _, number = argument.partition("=")
        if not service or not _is_number(number):
            raise UsageError(
                f"cannot scale: {argument!r} is not of the form SERVICE=N (write: cohabit scale {service or 'web'}=3)"
            )
    inherited.restore()
    answer = waiting.request(COMMAND, values, "scale", numbers, [])
    if answer is None:
        return waiting.print_timeout(COMMAND, values, numbers, "the file to be read", "it continues; see cohabit ps")
    return print_outcome(values, answer)


def _is_number(text: str) -> bool:
    try:
        parse_replicas(text)
    except ValueError:
        return False
    return True
