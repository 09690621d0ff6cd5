"""`cohabit version`: ours, and that of the one that is running here, which an upgrade leaves behind."""

from __future__ import annotations

import json

from cohabit import __version__
from cohabit.cli import talk
from cohabit.cli.connection import ConnectionFailedError
from cohabit.cli.options import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import Given

VERB = Verb(
    "version",
    "",
    "Tell the version of this program, and that of the cohabit that is running here, if there is one.",
    talk.ALWAYS,
    details="Both differ after an upgrade of the package, until `cohabit reexec`.",
    exits=(("0", "always, unless --socket names one that does not answer"), *talk.EXITS),
)


def main(given: Given, words: list[str]) -> int:
    """Parse, ask, print, return the exit code."""
    values, _ = VERB.parse(words)
    if values["help"]:
        return VERB.show_help()
    given.restore()
    running = _running(values)
    if values["json"]:
        talk.write(json.dumps({"version": __version__, "running": running}) + "\n")
        return 0
    talk.write(f"cohabit {__version__}\n")
    if running:
        old = "" if running["version"] == __version__ else " (cohabit reexec replaces it by this one)"
        talk.write(f"running: {running['version']}, process {running['pid']}{old}\n")
    return 0


def _running(values: dict[str, Any]) -> dict[str, Any] | None:
    """What the running one says of itself; None if there is none."""
    try:
        lines = list(talk.body(VERB, values, "version").lines())
    except ConnectionFailedError:
        if values["socket"]:
            raise
        return None
    found: dict[str, Any] = json.loads(lines[0])
    return found
