"""`cohabit scale web=3`: as many replicas as that, by a reload with another number."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command
from cohabit.cli.reload import outcome
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "scale",
    "[--timeout DURATION] SERVICE=N...",
    "Run so many replicas of a service from now on.",
    (waiting.TIMEOUT, *client.ALWAYS),
    details=(
        "New replicas are started, those with the highest numbers stopped; the others are left alone. The file is read "
        "again for it, so what else has changed in it happens, too. The number holds until the container ends, or "
        "somebody scales again."
    ),
    exits=(("0", "done: what changes is printed"), ("78", "something is wrong with the file"), *client.EXITS),
    examples=(("cohabit scale worker=4", "worker-1 to worker-4"),),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    values, numbers = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    if not numbers:
        raise UsageError("cannot scale: no service is named (write: cohabit scale SERVICE=N)")
    for word in numbers:
        service, _, number = word.partition("=")
        if not service or not number.isdecimal():
            raise UsageError(f"cannot scale: {word!r} is no SERVICE=N (write: cohabit scale {service or 'web'}=3)")
    given.restore()
    answer = waiting.ask(COMMAND, values, "scale", numbers, [])
    if answer is None:
        return waiting.time_is_up(COMMAND, values, numbers, "the file is still being read", "it goes on; cohabit ps")
    return outcome(COMMAND, values, answer)
