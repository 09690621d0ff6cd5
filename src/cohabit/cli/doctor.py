"""`cohabit doctor`: what is wrong with this container or with a Dockerfile. A program of its own, like the loader."""

from __future__ import annotations

import sys

from cohabit.cli.options import JSON, Command, Option
from cohabit.errors import EXIT_SYSTEM, CohabitError, UsageError
from cohabit.reactor.linux import PACKAGE, os, python_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "doctor",
    "[-f FILE] [DOCKERFILE]",
    "Tell what is wrong with this container, or with a Dockerfile, for several services, and what to write instead.",
    (
        Option(("-f", "--file"), "the cohabit file (default: that of the running cohabit, or as for up)", "FILE"),
        Option(("--strict",), "end with 1 for warnings, too"),
        JSON,
    ),
    details=(
        "With a Dockerfile (or its directory, or - for standard input) it examines that, and the cohabit file beside "
        "it. Without one it examines the container in which it runs: process 1, grace, limits, places; and the "
        "services of the file: how they are stopped, whether they go into the background, what would need a shell."
    ),
    exits=(("0", "nothing is wrong, or only warnings and hints"), ("1", "there is an error"), ("64", "bad usage")),
    examples=(
        ("cohabit doctor Dockerfile", "before docker build"),
        ("docker exec CONTAINER cohabit doctor", "in a container that runs"),
    ),
)


class NoDoctorError(CohabitError):
    """This machine cannot start the doctor."""

    exit_code = EXIT_SYSTEM


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, then become the doctor; returns only for --help."""
    values, places = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    if len(places) > 1:
        raise UsageError(f"cannot examine {places[1]!r}, too: one Dockerfile at a time")
    request = {
        "dockerfile": places[0] if places else "",
        "file": values["file"] or "",
        "json": values["json"],
        "strict": values["strict"],
    }
    given.restore()
    try:
        os.execve(
            sys.executable,
            [sys.executable, "-I", f"{PACKAGE}/doctor/__main__.py", repr(request)],
            python_environment(),
        )
    except OSError as error:
        why = f"{sys.executable!r}, the interpreter, cannot be executed: {error.strerror}"
        raise NoDoctorError(f"cannot examine anything: {why} (is it there, and executable for this user?)") from error
