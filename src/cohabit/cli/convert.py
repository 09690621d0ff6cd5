"""`cohabit convert`: a supervisord.conf, printed as a cohabit.yaml."""

from __future__ import annotations

from cohabit.cli.check import become_loader
from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "convert",
    "[-o FILE] [CONF]",
    "Print a supervisord.conf as a cohabit.yaml, with a comment for each thing that has no key there.",
    (Option(("-o", "--output"), "write to this file, if there are no errors", "FILE"),),
    details=(
        "Without CONF, it searches as `cohabit supervisord` does. Sections of our own ([x-cohabit], [x-cohabit:NAME]) "
        "become keys. Expansions such as %(ENV_X)s have the values of this environment. Event listeners and the "
        "servers for supervisorctl are left out; docs/reference/supervisord.md says what else changes. "
        "`cohabit check` examines the result."
    ),
    exit_codes=(
        ("0", "done"),
        ("2", "the file has errors; they are printed"),
        ("64", "wrong usage"),
        ("71", "the system refused"),
    ),
    examples=(
        ("cohabit convert -o cohabit.yaml /etc/supervisor/supervisord.conf", "to move from one file to the other"),
    ),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, then become the loader."""
    values, files = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if len(files) > 1:
        raise UsageError(f"cannot convert: one file at a time, got {len(files)} (other files: [include] of the first)")
    conf = {"configuration": files[0]} if files else {}
    request: dict[str, Any] = {"supervisord": conf, "output": values["output"]}
    return become_loader(inherited, COMMAND.name, request)
