"""`cohabit signal HUP web`: supervisorctl's word for it."""

from __future__ import annotations

from cohabit.cli import client
from cohabit.cli.kill import send
from cohabit.cli.options import Command
from cohabit.cli.start import ALL
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "signal",
    "SIGNAL SERVICE...",
    "Send a signal to the main process of services.",
    (ALL, *client.ALWAYS),
    details="KILL goes to all processes of the services, which stay down then, as with `cohabit kill`.",
    exits=client.DONE,
    examples=(("cohabit signal HUP nginx", "have nginx read its configuration again"),),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    values, arguments = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    if not arguments:
        raise UsageError("cannot signal: no signal is named (write: cohabit signal HUP SERVICE)")
    given.restore()
    return send(COMMAND, values, arguments[0], arguments[1:])
