"""`cohabit run`: the wrapper script and the job-control script of Docker's page, without a file."""

from __future__ import annotations

from cohabit.cli.options import Command, Option
from cohabit.cli.up import QUIET, begin
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

LOG_DRIVERS = "prefix|json|logfmt|raw|inherit|file|syslog|none"

COMMAND = Command(
    "run",
    "[--main COMMAND] [--helper COMMAND] ['COMMAND'...]",
    "Run several commands as one: when any of them ends, the others are stopped and its status is the container's.",
    (
        Option(("--main",), "the container lives exactly as long as this command", "COMMAND"),
        Option(
            ("--helper",), "start this once main is started or ready; it may end as it likes", "COMMAND", repeat=True
        ),
        Option(("--ready",), "main is ready when this answers: tcp:PORT, tcp:HOST:PORT or http://...", "PROBE"),
        Option(("--log-driver",), "how output is written (default: prefix)", LOG_DRIVERS),
        Option(("--log-opt",), "an option of it, such as path=/var/log/all.log", "NAME=VALUE", repeat=True),
        QUIET,
    ),
    details=(
        "Each COMMAND is one string, as for a shell; a simple command runs without a shell in between. 'name=command' "
        "names it (otherwise its program does). With --main, other COMMANDs start beside main and may end as they like."
    ),
    exits=(
        ("n", "of the command whose end ended the container (128+n: signal n)"),
        ("0", "a requested stop in which all ended in time"),
        ("137", "a requested stop in which something had to be killed"),
        ("126", "a command cannot be executed"),
        ("127", "a command is not found"),
    ),
    examples=(
        ("cohabit run \"nginx -g 'daemon off;'\" 'gunicorn app:app'", "both; when one ends, so does the other"),
        ("cohabit run --log-driver json './a' './b'", "one JSON object per line, ours too"),
        ("cohabit run --main ./server --ready tcp:8080 --helper ./seed", "a server, and what follows it once"),
    ),
)


def main(given: InheritedSignals, words: list[str]) -> int | bytes:
    """Parse, run, return the exit code."""
    values, commands = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    if not (commands or values["main"] or values["helper"] or values["ready"]):
        raise UsageError("cannot run: no command given (write: cohabit run 'COMMAND' 'COMMAND')")
    request = {
        "verb": "run",
        "main": values["main"],
        "helpers": values["helper"],
        "commands": commands,
        "ready": values["ready"],
        "log_driver": values["log_driver"],
        "log_opts": values["log_opt"],
    }
    return begin(given, request, quiet=values["quiet"])
