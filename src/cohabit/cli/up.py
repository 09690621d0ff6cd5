"""`cohabit up`: run the services of a file, from the command line to the loop that runs until the container ends."""

from __future__ import annotations

from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError
from cohabit.reactor import pid1, reexecution
from cohabit.reactor.linux import environment, os
from cohabit.reactor.loop import Loop
from cohabit.reactor.processes.tree import SUPERVISOR_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

FILE = Option(
    ("-f", "--file"),
    "the file (default: COHABIT_FILE, otherwise cohabit.yaml, .yml or .toml here, then in /etc/cohabit)",
    "FILE",
    repeat=True,
)
PROFILE = Option(
    ("--profile",), "also use the services of this profile (default: COHABIT_PROFILES)", "NAME", repeat=True
)
QUIET = Option(("-q", "--quiet"), "of cohabit's own messages, print only warnings and errors")

COMMAND = Command(
    "up",
    "[-f FILE] [SERVICE...] [-- COMMAND [ARG...]]",
    "Run the services of cohabit.yaml: all of them, or those named and their dependencies.",
    (FILE, PROFILE, QUIET),
    details=(
        "COMMAND is an additional service in the foreground: it has the terminal, or else the standard input, and the "
        'container ends when it ends (ENTRYPOINT ["cohabit", "up", "--"], docker run -it IMAGE bash).\n\n'
        "HUP reads the file again: services that changed are restarted, new ones started, removed ones stopped. TERM, "
        "INT, QUIT, PWR and RTMIN+3 stop all services in reverse order of their dependencies; a second such signal "
        "kills them. COMMAND gets other signals (USR1, USR2…), as with `cohabit init`."
    ),
    exit_codes=(
        ("n", "the exit code of the service that ended the container (128+n: signal n)"),
        ("0", "a requested stop, and all processes ended in time; or all services completed"),
        ("137", "a requested stop; a process had to be killed"),
        ("64", "wrong usage, or no such service"),
        ("71", "the system refused"),
        ("78", "the file has errors"),
        ("126", "a command cannot be executed"),
        ("127", "a command is not found"),
    ),
    examples=(
        ("cohabit up", "all services of cohabit.yaml"),
        ("cohabit up web", "web and its dependencies"),
        ("cohabit up -- bash", "all services, and a shell in the foreground"),
    ),
)


def main(given: InheritedSignals, words: list[str]) -> int | bytes:
    """Parse and run. Returns the exit code, or the state for another program (go_on)."""
    end = words.index("--") if "--" in words else len(words)
    values, services = COMMAND.parse(words[:end])
    if values["help"]:
        return COMMAND.show_help()
    if pid1.is_taken() and SUPERVISOR_VARIABLE not in environment():
        raise UsageError(
            "cannot up: process 1 is a cohabit already: all services would run a second time (to start a service: "
            "cohabit start NAME; to read a changed file: cohabit reload)"
        )
    request = {
        "files": values["file"],
        "profiles": values["profile"],
        "services": services,
        "command": words[end + 1 :],
        "terminal": os.isatty(0),
    }
    return begin(given, request, quiet=values["quiet"])


def begin(given: InheritedSignals, request: dict[str, Any], *, quiet: bool) -> int | bytes:
    """Start the loop: have the request read, then run what came of it."""
    pid1.keep_inherited_descriptors()
    pid1.open_missing_stdio()
    loop = Loop(given, repr(request), quiet=quiet)
    loop.start()
    return reexecution.run(loop)


def takes_over(versions: str) -> int:
    """Whether this program can go on where one with that version of the state stops, as an exit code."""
    return reexecution.takes_over(versions)


def resume(given: InheritedSignals, fd: int) -> int | bytes:
    """Go on after an exec. fd: has the state of the former program."""
    return reexecution.resume(given, fd)


def go_on(state: bytes, programs: int, why_not: str) -> int | bytes:
    """Go on without an exec. programs: earlier ones in this process; why_not: why this is the former program."""
    return reexecution.go_on(state, programs, why_not)
