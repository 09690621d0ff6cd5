"""`cohabit config`: what was understood of the file, printed as a file again."""

from __future__ import annotations

from cohabit.cli.check import ask_loader
from cohabit.cli.options import JSON, Command
from cohabit.cli.up import FILE, PROFILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "config",
    "[-f FILE] [SERVICE...]",
    "Print what was understood of the file: everything resolved, with the defaults that matter.",
    (FILE, PROFILE, JSON),
    exits=(("0", "it could be understood"), ("78", "it could not; what is wrong is printed")),
    examples=(("cohabit config | diff cohabit.yaml -", "what the defaults add"),),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, then become the loader."""
    return ask_loader(given, COMMAND, words)
