"""`cohabit signal HUP web`: supervisorctl's form of `kill -s HUP web`."""

from __future__ import annotations

from cohabit.cli import client
from cohabit.cli.kill import send
from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "signal",
    "SIGNAL SERVICE...",
    "Send a signal to the main process of services.",
    (Option(("--all",), "all services"), *client.ALWAYS),
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
    signal, *services = positional
    if values["all"] == bool(services):
        why = "--all and service names exclude each other" if services else "no service is named"
        raise UsageError(f"cannot signal: {why} (name some, or all of them: --all)")
    inherited.restore()
    return send(COMMAND, values, signal, services)
