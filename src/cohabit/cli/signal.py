"""`cohabit signal HUP web`: supervisorctl's word for it."""

from __future__ import annotations

from cohabit.cli import talk
from cohabit.cli.kill import send
from cohabit.cli.options import Verb
from cohabit.cli.start import ALL
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import Given

VERB = Verb(
    "signal",
    "SIGNAL SERVICE...",
    "Send a signal to the main process of services.",
    (ALL, *talk.ALWAYS),
    details="KILL goes to all processes of the services, which stay down then, as with `cohabit kill`.",
    exits=talk.DONE,
    examples=(("cohabit signal HUP nginx", "have nginx read its configuration again"),),
)


def main(given: Given, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    values, arguments = VERB.parse(words)
    if values["help"]:
        return VERB.show_help()
    if not arguments:
        raise UsageError("cannot signal: no signal is named (write: cohabit signal HUP SERVICE)")
    given.restore()
    return send(VERB, values, arguments[0], arguments[1:])
