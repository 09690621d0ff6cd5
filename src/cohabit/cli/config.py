"""`cohabit config`: the resolved configuration, printed as a file."""

from __future__ import annotations

from cohabit.cli.check import run_loader
from cohabit.cli.options import JSON, Command, Option
from cohabit.cli.reading import READING
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

# Options of which one is given: the other forms of the output.
_SHOWN = ("quiet", "services", "profiles", "hash", "no_interpolate", "environment", "variables")

COMMAND = Command(
    "config",
    "[-f FILE]... [-q | --services | --profiles | --hash NAMES | --no-interpolate | --environment | --variables] "
    "[-o FILE] [SERVICE...]",
    "Print the configuration in canonical form: variables and references resolved, important defaults added.",
    (
        *READING,
        Option(("--services",), "print only the names of the services"),
        Option(("--profiles",), "print only the names of the profiles"),
        Option(("--hash",), "print a hash of the configuration of these services (a,b; '*' for all)", "NAMES"),
        Option(("--no-interpolate",), "print the merged files as they are written, with their variables"),
        Option(
            ("--environment",),
            "print the variables for interpolation with their values: the whole environment, .env and "
            "COMPOSE_PROJECT_NAME; passwords, too, except those that the file declares as secrets (***)",
        ),
        Option(
            ("--variables",), "print the variables in the file: whether they are required, and their default values"
        ),
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
    details=(
        "With --no-interpolate, --environment and --variables, values are not examined: a variable that is not set is "
        "not an error. `cohabit check` reports what is."
    ),
    examples=(("cohabit config | diff cohabit.yaml -", "compare with the file"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, then become the loader."""
    return run_loader(inherited, COMMAND, arguments, _request)


def _request(values: dict[str, Any]) -> dict[str, Any]:
    """The keys of the request that only `config` has. Raises UsageError."""
    given = [name for name in _SHOWN if values[name]]
    if len(given) > 1:
        first, second = (name.replace("_", "-") for name in given[:2])
        raise UsageError(f"cannot config: --{first} and --{second} exclude each other")
    show = f"hash {values['hash']}" if values["hash"] else given[0] if given else ""
    return {"show": show, "output": values["output"], "json": values["json"] or values["format"] == "json"}
