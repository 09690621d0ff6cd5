"""`cohabit version`: ours, and that of the one that is running here, which an upgrade leaves behind."""

from __future__ import annotations

import json

from cohabit import __version__
from cohabit.cli import client
from cohabit.cli.options import Command
from cohabit.errors import EXIT_NO_PERMISSION, EXIT_UNAVAILABLE, CohabitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "version",
    "",
    "Tell the version of this program, and that of the cohabit that is running here, if there is one.",
    client.ALWAYS,
    details=(
        "Both differ after an upgrade of the package, until `cohabit reexec`. A user to whom the running one does not "
        "talk is told so instead of its version."
    ),
    exits=(("0", "always, unless --socket names one that does not answer"), *client.EXITS[:3]),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, print, return the exit code."""
    values = COMMAND.parse_options(words)
    if values["help"]:
        return COMMAND.show_help()
    given.restore()
    running, why = _running(values)
    if values["json"]:
        told = {"version": __version__, "running": running} | ({"text": why} if why else {})
        client.write(json.dumps(told) + "\n")
        return 0
    client.write(f"cohabit {__version__}\n")
    if why:
        client.write(f"running: unknown: {why}\n")
    if running:
        old = "" if running["version"] == __version__ else " (cohabit reexec replaces it by this one)"
        client.write(f"running: {running['version']}, process {running['pid']}{old}\n")
    return 0


def _running(values: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """What the running one says of itself, None if there is none; and why it says nothing to us."""
    try:
        lines = list(client.body(COMMAND, values, "version").lines())
    except CohabitError as error:
        if error.exit_code == EXIT_NO_PERMISSION:
            return None, str(error).removeprefix(f"cannot {COMMAND.name}: ")
        if values["socket"] or error.exit_code != EXIT_UNAVAILABLE:
            raise
        return None, ""
    found: dict[str, Any] = json.loads(lines[0])
    return found, ""
