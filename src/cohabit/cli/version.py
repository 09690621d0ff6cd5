"""`cohabit version`: the version of this program, and that of the running cohabit, which may be older."""

from __future__ import annotations

import json

from cohabit import __version__
from cohabit.cli import client
from cohabit.cli.options import Command, Option
from cohabit.errors import EXIT_NO_PERMISSION, EXIT_UNAVAILABLE, CohabitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "version",
    "[--short]",
    "Print the version of this program, and that of the running cohabit, if one is found.",
    (Option(("--short",), "print only the version of this program"), *client.ALWAYS),
    details=(
        "The two differ after an upgrade of the package, until `cohabit reexec`. If this user may not send requests to "
        "the running cohabit, the reason is printed in place of its version."
    ),
    exit_codes=(
        ("0", "done, also if no running cohabit is found"),
        ("64", "wrong usage"),
        ("69", "no cohabit answers at --socket PATH"),
        client.EXIT_CODES[2],
    ),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, print, return the exit code."""
    values = COMMAND.parse_options(arguments)
    if values["help"]:
        return COMMAND.show_help()
    inherited.restore()
    if values["short"]:
        client.write(f"{__version__}\n")
        return 0
    running, why = _running_version(values)
    if values["json"]:
        versions = {"version": __version__, "running": running} | ({"text": why} if why else {})
        client.write(json.dumps(versions) + "\n")
        return 0
    client.write(f"cohabit {__version__}\n")
    if why:
        client.write(f"running: unknown: {why}\n")
    if running:
        hint = "" if running["version"] == __version__ else " (to replace it by this version: cohabit reexec)"
        client.write(f"running: {running['version']}, process {running['pid']}{hint}\n")
    return 0


def _running_version(values: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """(the running cohabit's answer, None without one; the reason if it refuses this user)."""
    try:
        found = client.connect(COMMAND, values).version()
    except CohabitError as error:
        if error.exit_code == EXIT_NO_PERMISSION:
            return None, str(error).removeprefix(f"cannot {COMMAND.name}: ")
        if values["socket"] or error.exit_code != EXIT_UNAVAILABLE:
            raise
        return None, ""
    return found.to_json(), ""
