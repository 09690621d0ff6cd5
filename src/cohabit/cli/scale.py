"""`cohabit scale web=3`: as many replicas as that, by a reload with another number."""

from __future__ import annotations

from cohabit.cli import patience, talk
from cohabit.cli.options import Verb
from cohabit.cli.reload import outcome
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import Given

VERB = Verb(
    "scale",
    "[--timeout DURATION] SERVICE=N...",
    "Run so many replicas of a service from now on.",
    (patience.TIMEOUT, *talk.ALWAYS),
    details=(
        "New replicas are started, those with the highest numbers stopped; the others are left alone. The file is read "
        "again for it, so what else has changed in it happens, too. The number holds until the container ends, or "
        "somebody scales again."
    ),
    exits=(("0", "done: what changes is printed"), ("78", "something is wrong with the file"), *talk.EXITS),
    examples=(("cohabit scale worker=4", "worker-1 to worker-4"),),
)


def main(given: Given, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    values, numbers = VERB.parse(words)
    if values["help"]:
        return VERB.show_help()
    if not numbers:
        raise UsageError("cannot scale: no service is named (write: cohabit scale SERVICE=N)")
    for word in numbers:
        service, _, number = word.partition("=")
        if not service or not number.isdecimal():
            raise UsageError(f"cannot scale: {word!r} is no SERVICE=N (write: cohabit scale {service or 'web'}=3)")
    given.restore()
    answer = patience.ask(VERB, values, "scale", numbers, [])
    if answer is None:
        return patience.time_is_up(VERB, values, numbers, "the file is still being read", "it goes on; cohabit ps")
    return outcome(VERB, values, answer)
