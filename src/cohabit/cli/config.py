"""`cohabit config`: the resolved configuration, printed as a file."""

from __future__ import annotations

from cohabit.cli.check import run_loader
from cohabit.cli.options import JSON, Command
from cohabit.cli.up import FILE, PROFILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "config",
    "[-f FILE] [SERVICE...]",
    "Print the configuration in canonical form: variables and references resolved, important defaults added.",
    (FILE, PROFILE, JSON),
    exit_codes=(
        ("0", "done"),
        ("64", "wrong usage, or no such service"),
        ("71", "the system refused"),
        ("78", "the file has errors; they are printed"),
    ),
    examples=(("cohabit config | diff cohabit.yaml -", "compare with the file"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, then become the loader."""
    return run_loader(inherited, COMMAND, arguments)
