"""`cohabit reexec`: replace the program of the running cohabit in place, after an upgrade of the package."""

from __future__ import annotations

from cohabit.cli import client
from cohabit.cli.options import Command
from cohabit.cli.reload import ask_or_signal
from cohabit.reactor import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "reexec",
    "",
    "Replace the running cohabit by the program that is installed now: same pid, same services, same output.",
    client.ALWAYS,
    details=(
        "No service notices. A program that cannot take over what the running one holds is not started; returns when "
        "that has been checked. The same as SIGRTMIN+25 to the running cohabit, as with systemd, which is what is "
        "done where there is no socket: then the outcome is in the container's log."
    ),
    exits=(
        ("0", "done"),
        ("71", "the new program cannot take over; the old one goes on"),
        *client.EXITS[:2],
        client.EXITS[3],
    ),
    examples=(("pip install --upgrade cohabit && cohabit reexec", "a new version, and nobody notices"),),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    instead = "it replaces cohabit itself, not {!r} (to start a service anew: cohabit restart SERVICE)"
    values = COMMAND.parse_options(words, instead)
    if values["help"]:
        return COMMAND.show_help()
    given.restore()
    return ask_or_signal(COMMAND, values, signals.REEXECUTE)
