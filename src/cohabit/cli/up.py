"""`cohabit up`: the services of a file. From the words typed to a loop that runs until the container ends."""

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
    ("-f", "--file"), "the file (default: cohabit.yaml, .yml or .toml here, then in /etc/cohabit)", "FILE", repeat=True
)
PROFILE = Option(("--profile",), "also run the services of this profile", "NAME", repeat=True)
QUIET = Option(("-q", "--quiet"), "of our own messages, only warnings and errors")

COMMAND = Command(
    "up",
    "[-f FILE] [SERVICE...] [-- COMMAND [ARG...]]",
    "Run the services of cohabit.yaml: all of them, or those named and what they depend on.",
    (FILE, PROFILE, QUIET),
    details=(
        "COMMAND is one service more, in the foreground: it has the terminal and the standard input, and the container "
        'lives exactly as long as it does (ENTRYPOINT ["cohabit", "up", "--"], docker run -it IMAGE bash).\n\n'
        "HUP reads the file again: what changed is restarted, what is new started, what is gone stopped. TERM, INT, "
        "QUIT, PWR and RTMIN+3 stop everything in reverse order of dependencies; a second one kills."
    ),
    exits=(
        ("n", "of the essential service whose end ended the container (128+n: signal n)"),
        ("0", "a requested stop in which all ended in time"),
        ("137", "a requested stop in which something had to be killed"),
        ("78", "something is wrong with the file"),
        ("126", "a command cannot be executed"),
        ("127", "a command is not found"),
    ),
    examples=(
        ("cohabit up", "everything in cohabit.yaml"),
        ("cohabit up web", "web, and what it depends on"),
        ("cohabit up -- bash", "everything, and a shell in the foreground"),
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
            "cannot up: cohabit is process 1 here already, and would run everything a second time (to start a service: "
            "cohabit start NAME; to have a changed file read: cohabit reload)"
        )
    request = {
        "verb": "up",
        "files": values["file"],
        "profiles": values["profile"],
        "services": services,
        "command": words[end + 1 :],
        "terminal": os.isatty(0),
    }
    return begin(given, request, quiet=values["quiet"])


def begin(given: InheritedSignals, request: dict[str, Any], *, quiet: bool) -> int | bytes:
    """Start the loop: have the request read, then run what came of it."""
    pid1.open_missing_stdio()
    loop = Loop(given, repr(request), quiet=quiet)
    loop.start()
    return reexecution.run(loop)


def takes_over(version: int) -> int:
    """Whether this program can go on where one with that version of the state stops, as an exit code."""
    return reexecution.takes_over(version)


def resume(given: InheritedSignals, fd: int) -> int | bytes:
    """Go on after an exec. fd: has the state of the former program."""
    return reexecution.resume(given, fd)


def go_on(state: bytes, programs: int, why_not: str) -> int | bytes:
    """Go on without an exec. programs: how many there were before in this process; why_not: why this is no new one."""
    return reexecution.go_on(state, programs, why_not)
