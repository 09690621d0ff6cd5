"""`cohabit check` and `cohabit config`: the loader, asked for text instead of a Plan."""

from __future__ import annotations

import sys

from cohabit.cli.options import Verb
from cohabit.cli.up import FILE, PROFILE
from cohabit.reactor.linux import PACKAGE, environment, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import Given

VERB = Verb(
    "check",
    "[-f FILE] [SERVICE...]",
    "Report everything that is wrong with the file, each with its line, and start nothing.",
    (FILE, PROFILE),
    details="Exit codes: 0 when it is fine, 78 when not; 127 or 126 when only commands are missing.",
)


def main(given: Given, words: list[str]) -> int:
    """Parse, then become the loader."""
    return ask_loader(given, VERB, words)


def ask_loader(given: Given, verb: Verb, words: list[str]) -> int:
    """Replace this process by the loader, which prints and ends with the right code; returns only for --help."""
    values, services = verb.parse(words)
    if values["help"]:
        return verb.show_help()
    request = {"verb": "up", "files": values["file"], "profiles": values["profile"], "services": services}
    loader = f"{PACKAGE}/config/__main__.py"
    given.restore()
    return os.execve(sys.executable, [sys.executable, "-I", loader, verb.name, repr(request)], environment())
