"""`cohabit run`: several commands without a file; replaces a wrapper script or shell job control."""

from __future__ import annotations

from cohabit.cli.options import Command, Option
from cohabit.cli.up import QUIET, begin
from cohabit.errors import UsageError
from cohabit.reactor.linux import environment, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

LOG_DRIVERS = "prefix|json|logfmt|raw|inherit|file|syslog|none"

COMMAND = Command(
    "run",
    "[--main COMMAND] [--helper COMMAND] ['COMMAND'...]",
    "Run several commands: when one of them ends, stop the others and end with its exit code.",
    (
        Option(("--main",), "the main command: the container ends when it ends", "COMMAND"),
        Option(
            ("--helper",),
            "start this when the main command has started, or, with --ready, is ready; its end has no effect",
            "COMMAND",
            repeat=True,
        ),
        Option(("--ready",), "readiness probe of the main command: tcp:PORT, tcp:HOST:PORT or http://...", "PROBE"),
        Option(("--log-driver",), "how output is written (default: prefix)", LOG_DRIVERS),
        Option(("--log-opt",), "an option of the log driver, such as path=/var/log/all.log", "NAME=VALUE", repeat=True),
        QUIET,
    ),
    details=(
        "Each COMMAND is one string, as for a shell; a simple command is executed without one. 'name=command' sets the "
        "name of its service, which is otherwise the name of the program, and NAME for `service NAME start`. With "
        "--main, the other COMMANDs start at the same time as the main command, and their end has no effect.\n\n"
        "TERM, INT, QUIT, PWR and RTMIN+3 stop all commands in order; a second such signal kills them. The main "
        "command, or the only one, gets other signals (HUP, USR1, USR2…), as with `cohabit init`."
    ),
    exit_codes=(
        ("n", "the exit code of the command that ended the container (128+n: signal n)"),
        ("0", "a requested stop; all processes ended in time"),
        ("137", "a requested stop; a process had to be killed"),
        ("64", "wrong usage"),
        ("71", "the system refused"),
        ("126", "a command cannot be executed"),
        ("127", "a command is not found"),
    ),
    examples=(
        (
            "cohabit run \"nginx -g 'daemon off;'\" 'gunicorn app:app'",
            "two services; when one ends, the other is stopped",
        ),
        ("cohabit run --log-driver json './a' './b'", "output as one JSON object per line"),
        ("cohabit run --main ./server --ready tcp:8080 --helper ./seed", "run seed once, when the server is ready"),
    ),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int | bytes:
    """Parse, run, return the exit code."""
    values, commands = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if not (commands or values["main"] or values["helper"] or values["ready"]):
        raise UsageError("cannot run: no command is given (write: cohabit run 'COMMAND' 'COMMAND')")
    _check_words(commands)
    request = {
        "main": values["main"],
        "helpers": values["helper"],
        "commands": commands,
        "ready": values["ready"],
        "log_driver": values["log_driver"],
        "log_opts": values["log_opt"],
    }
    return begin(inherited, request, quiet=values["quiet"])


def _check_words(commands: list[str]) -> None:
    """Refuse `run web echo hi`, which in `docker compose` runs a command in a service. Raises UsageError."""
    service, *command = commands or [""]
    if not command or not service.isidentifier() or _is_program(service):
        return
    line = " ".join(command)
    raise UsageError(
        f"cannot run: there is no program {service!r} (to run a command with a service's environment: cohabit exec "
        f"{service} -- {line}; each COMMAND is one string: cohabit run '{service} {line}')"
    )


def _is_program(name: str) -> bool:
    path = environment().get("PATH") or os.defpath
    return any(os.access(f"{directory or '.'}/{name}", os.X_OK) for directory in path.split(":"))
