"""`cohabit reexec`: replace the program of the running cohabit in place, after an upgrade of the package."""

from __future__ import annotations

from cohabit.cli import client
from cohabit.cli.options import Command
from cohabit.cli.reload import request_or_signal
from cohabit.reactor import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "reexec",
    "",
    "Replace the running cohabit by the installed program: same pid, same services, same output.",
    client.ALWAYS,
    details=(
        "The services are not interrupted. If the installed program cannot take over the state of the running one, "
        "nothing changes. Returns when this is known. If cohabit cannot be reached through its control socket, and "
        "--socket is not given, SIGRTMIN+25 is sent to it instead, as with systemd; the outcome is then in the "
        "container's log."
    ),
    exit_codes=(
        ("0", "the installed program takes over"),
        ("71", "it cannot take over; the running one continues"),
        *client.EXIT_CODES[:2],
        client.EXIT_CODES[3],
    ),
    examples=(("pip install --upgrade cohabit && cohabit reexec", "upgrade without interruption"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    refusal = "it replaces cohabit itself, not {!r} (to restart a service: cohabit restart SERVICE)"
    values = COMMAND.parse_options(arguments, refusal)
    if values["help"]:
        return COMMAND.show_help()
    inherited.restore()
    return request_or_signal(COMMAND, values, signals.REEXECUTE)
