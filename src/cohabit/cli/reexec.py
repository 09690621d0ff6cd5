"""`cohabit reexec`: replace the program of the running cohabit in place, after an upgrade of the package."""

from __future__ import annotations

from cohabit.cli.options import Verb
from cohabit.cli.reload import signal_supervisor
from cohabit.reactor import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import Given

VERB = Verb(
    "reexec",
    "",
    "Replace the running cohabit by the program that is installed now: same pid, same services, same output.",
    (),
    details=(
        "No service notices. A program that cannot take over what the running one holds is not started, and the\n"
        "container's log says so. The same as SIGRTMIN+25 to the running cohabit, as with systemd."
    ),
)


def main(_given: Given, words: list[str]) -> int:
    """Parse, signal, return the exit code."""
    return signal_supervisor(VERB, signals.REEXECUTE, words)
