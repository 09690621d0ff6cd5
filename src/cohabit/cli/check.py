"""`cohabit check` and `cohabit config`: the loader, asked for text instead of a Plan."""

from __future__ import annotations

import sys

from cohabit.cli.options import JSON, Command
from cohabit.cli.up import FILE, PROFILE
from cohabit.errors import EXIT_SYSTEM, CohabitError
from cohabit.reactor.linux import PACKAGE, os, python_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "check",
    "[-f FILE] [SERVICE...]",
    "Report everything that is wrong with the file, each with its line, and start nothing.",
    (FILE, PROFILE, JSON),
    exits=(
        ("0", "it is fine"),
        ("78", "something is wrong"),
        ("127", "nothing but a command that is not found"),
        ("126", "nothing but a command that cannot be executed"),
    ),
    examples=(("RUN cohabit check", "in a Dockerfile: a wrong file breaks the build, not the deployment"),),
)


class NoLoaderError(CohabitError):
    """This machine cannot start the loader."""

    exit_code = EXIT_SYSTEM


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, then become the loader."""
    return ask_loader(given, COMMAND, words)


def ask_loader(given: InheritedSignals, verb: Command, words: list[str]) -> int:
    """Replace this process by the loader, which prints and ends with the right code; returns only for --help.

    Raises NoLoaderError.
    """
    values, services = verb.parse(words)
    if values["help"]:
        return verb.show_help()
    request = {"verb": "up", "files": values["file"], "profiles": values["profile"], "services": services}
    request["json"] = values["json"]
    loader = f"{PACKAGE}/config/__main__.py"
    given.restore()
    try:
        os.execve(sys.executable, [sys.executable, "-I", loader, verb.name, repr(request)], python_environment())
    except OSError as error:
        why = f"{sys.executable!r}, the interpreter, cannot be executed: {error.strerror}"
        raise NoLoaderError(f"cannot {verb.name}: {why} (is it there, and executable for this user?)") from error
