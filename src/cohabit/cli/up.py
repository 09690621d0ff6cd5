"""`cohabit up`: run the services of a file.

The loader is started first, and reads the file while the loop is imported (cli/supervise.py).
"""

from __future__ import annotations

from cohabit.cli import load
from cohabit.cli.options import Command, Option, whole_seconds
from cohabit.cli.reading import READING, read_request
from cohabit.control import SUPERVISOR_VARIABLE
from cohabit.errors import UsageError
from cohabit.program import packed
from cohabit.reactor import first_loader, pid1
from cohabit.reactor.linux import environment, os
from cohabit.units import parse_replicas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

QUIET = Option(("-q", "--quiet"), "of cohabit's own messages, print only warnings and errors")

COMMAND = Command(
    "up",
    "[-f FILE]... [SERVICE...] [-- COMMAND [ARG...]]",
    "Run the services of cohabit.yaml: all of them, or those named and their dependencies.",
    (
        *READING,
        QUIET,
        Option(("--scale",), "the number of replicas of a service", "SERVICE=N", repeat=True),
        Option(("--no-deps",), "run only the named services, without their dependencies"),
        Option(("--abort-on-container-exit",), "end the container when any service ends that is not a job"),
        Option(("--abort-on-container-failure",), "end it when any service fails, also with essential: false"),
        Option(
            ("--exit-code-from",),
            "return the exit code of this service; implies --abort-on-container-exit",
            "SERVICE",
        ),
        Option(("-t", "--timeout"), "seconds to stop: of each service, and the total for all of them", "SECONDS"),
        Option(
            ("--attach",),
            "print the output of this service only; the others: `cohabit logs`",
            "SERVICE",
            repeat=True,
        ),
        Option(("--no-attach",), "do not print the output of this service", "SERVICE", repeat=True),
        Option(("--no-log-prefix",), "do not print the service's name before each line (driver raw)"),
        Option(("--no-color",), "do not colour the names on a terminal (also: NO_COLOR=1)"),
        Option(("-w", "--watch"), "restart services when their files change: develop.watch in the file"),
        Option(("--timestamps",), "print the time (UTC) before each line (driver prefix)"),
    ),
    details=(
        "COMMAND is an additional service in the foreground: it has the terminal, or else the standard input, and the "
        'container ends when it ends (ENTRYPOINT ["cohabit", "up", "--"], docker run -it IMAGE bash). On a terminal, '
        "the output of the other services is not printed over it, and of cohabit's own messages only warnings and "
        "errors: `cohabit logs -f` shows them (--attach SERVICE prints a service nevertheless).\n\n"
        "HUP reads the files again: services that changed are restarted, new ones started, removed ones stopped. TERM, "
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
        ("cohabit up --no-attach db", "without the output of db"),
        ("cohabit up --watch", "for development: restart services when their files change"),
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
        **read_request(COMMAND, values),
        **{name: values[name] for name in ("no_log_prefix", "no_color", "timestamps", "attach", "no_attach", "watch")},
        **_overrides(values, services),
        "services": services,
        "command": words[end + 1 :],
        "terminal": os.isatty(0),
    }
    return begin(given, request, quiet=values["quiet"] or bool(request["command"] and request["terminal"]))


def _overrides(values: dict[str, Any], services: list[str]) -> dict[str, Any]:
    """The keys of the request that change what the file says (config/overrides.py). Raises UsageError."""
    if values["no_deps"] and not services:
        raise UsageError("cannot up: --no-deps: no service is named (write: cohabit up --no-deps SERVICE)")
    if values["exit_code_from"]:
        values["abort_on_container_exit"] = True
    ends = [kind for kind in ("exit", "failure") if values[f"abort_on_container_{kind}"]]
    if len(ends) > 1:
        raise UsageError("cannot up: --abort-on-container-exit and --abort-on-container-failure exclude each other")
    replicas: dict[str, int] = {}
    for text in values["scale"]:
        service, _, number = text.partition("=")
        try:
            replicas[service] = parse_replicas(number)
        except ValueError:
            raise UsageError(
                f"cannot up: --scale {text!r} is not of the form SERVICE=N (write --scale web=3)"
            ) from None
    found: dict[str, Any] = {"no_deps": values["no_deps"], "end_with": ends[0] if ends else "", "replicas": replicas}
    found["exit_code_from"] = values["exit_code_from"]
    if values["timeout"] is not None:
        found["timeout"] = whole_seconds(COMMAND, values["timeout"])
    return found


def begin(given: InheritedSignals, request: dict[str, Any], *, quiet: bool) -> int | bytes:
    """Have the request read, then run what came of it. Returns the exit code, or the state for another program."""
    pid1.keep_inherited_descriptors()
    pid1.open_missing_stdio()
    text = packed(request)
    loader = first_loader.start(given, text)
    result: int | bytes = load("cohabit.cli.supervise").begin(given, text, loader, quiet=quiet)
    return result
