"""`cohabit config`: the resolved configuration, printed as a file."""

from __future__ import annotations

from cohabit.cli.check import run_loader
from cohabit.cli.options import JSON, Command, Option
from cohabit.cli.up import ENV_FILE, FILE, PROFILE
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "config",
    "[-f FILE]... [-q | --services | --profiles | --hash NAMES] [-o FILE] [SERVICE...]",
    "Print the configuration in canonical form: variables and references resolved, important defaults added.",
    (
        FILE,
        PROFILE,
        ENV_FILE,
        Option(("--services",), "print only the names of the services"),
        Option(("--profiles",), "print only the names of the profiles"),
        Option(("--hash",), "print a hash of the configuration of these services (a,b; '*' for all)", "NAMES"),
        Option(("-q", "--quiet"), "print only the errors"),
        Option(("-o", "--output"), "write to this file, if there are no errors", "FILE"),
        Option(("--format",), "the form of the output: json is the same as --json", "yaml|json"),
        JSON,
    ),
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
    return run_loader(inherited, COMMAND, arguments, _request)


def _request(values: dict[str, Any]) -> dict[str, Any]:
    """The keys of the request that only `config` has. Raises UsageError."""
    given = [name for name in ("quiet", "services", "profiles", "hash") if values[name]]
    if len(given) > 1:
        raise UsageError(f"cannot config: --{given[0]} and --{given[1]} exclude each other")
    show = f"hash {values['hash']}" if values["hash"] else given[0] if given else ""
    return {"show": show, "output": values["output"], "json": values["json"] or values["format"] == "json"}
