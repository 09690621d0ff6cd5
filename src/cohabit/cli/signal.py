"""`cohabit signal HUP web`: supervisorctl's form of `kill -s HUP web`."""

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
    details="KILL goes to all processes of the services, which then stay down, as with `cohabit kill`.",
    exit_codes=client.DONE,
    examples=(("cohabit signal HUP nginx", "make nginx read its configuration again"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    values, positional = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if not positional:
        raise UsageError("cannot signal: no signal is given (write: cohabit signal HUP SERVICE)")
    inherited.restore()
    return send(COMMAND, values, positional[0], positional[1:])
