"""`cohabit supervisord`, also under the name `supervisord`: run the programs of a supervisord.conf."""

from __future__ import annotations

from cohabit import __version__
from cohabit.cli.options import Command, Option
from cohabit.cli.up import begin
from cohabit.control import SUPERVISOR_VARIABLE
from cohabit.errors import EXIT_SUPERVISORD, UsageError
from cohabit.reactor import pid1
from cohabit.reactor.linux import environment, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

_VERSION = "4.3.0"  # of supervisord, whose options and files are read
_QUIET = ("warn", "error", "critical")

COMMAND = Command(
    "supervisord",
    "[-c FILE] [-n] [OPTION...]",
    "Run the programs of a supervisord.conf, unchanged. The options are those of supervisord 4.3.",
    (
        Option(
            ("-c", "--configuration"),
            (
                "the file (default: etc/supervisord.conf or supervisord.conf beside the directory of the program, "
                "supervisord.conf or etc/supervisord.conf here, /etc/supervisord.conf, "
                "/etc/supervisor/supervisord.conf)"
            ),
            "FILE",
        ),
        Option(("-n", "--nodaemon"), "stay in the foreground, which cohabit does in any case"),
        Option(("-s", "--silent"), "no own messages on standard output"),
        Option(("-u", "--user"), "the user of programs without one", "USER"),
        Option(("-m", "--umask"), "the umask of programs without one, if the file does not set nodaemon", "UMASK"),
        Option(("-d", "--directory"), "the directory of programs without one, in the same case", "DIR"),
        Option(("-l", "--logfile"), "a file for own messages, in addition to standard output", "FILE"),
        Option(("-y", "--logfile_maxbytes"), "the size at which this file is rotated", "BYTES"),
        Option(("-z", "--logfile_backups"), "the number of its backups", "NUMBER"),
        Option(("-e", "--loglevel"), "warn and higher levels: only warnings and errors as own messages", "LEVEL"),
        Option(("-j", "--pidfile"), "the file for the pid of cohabit", "FILE"),
        Option(("-i", "--identifier"), "a name for this supervisord", "NAME"),
        Option(("-q", "--childlogdir"), "accepted: cohabit writes no files AUTO", "DIR"),
        Option(("-k", "--nocleanup"), "accepted: cohabit writes no files AUTO"),
        Option(("-a", "--minfds"), "the lowest limit of open files for programs", "NUMBER"),
        Option(("-t", "--strip_ansi"), "accepted, not supported yet"),
        Option(("--minprocs",), "the lowest limit of processes for programs", "NUMBER"),
        Option(("--profile_options",), "accepted, and ignored", "OPTIONS"),
        Option(("-v", "--version"), "print the version of supervisord that is meant, and that of cohabit"),
    ),
    details=(
        "A link with the name supervisord that leads to cohabit does the same. The container ends on request only: "
        "TERM, INT or QUIT stop all programs, by priority; HUP reads the file again. docs/reference/supervisord.md "
        "lists what each section and option does here."
    ),
    exit_codes=(
        ("0", "a requested stop, and all processes ended in time"),
        ("137", "a requested stop; a process had to be killed"),
        ("2", "wrong usage, or the file has errors"),
        ("71", "the system refused"),
    ),
    examples=(
        ("cohabit supervisord -c /etc/supervisor/supervisord.conf", "the file of Debian's package"),
        ("ln -s cohabit /usr/local/bin/supervisord", "in a Dockerfile: an image for supervisord runs on cohabit"),
    ),
)


class WrongUsageError(UsageError):
    """The command line is wrong, with supervisord's exit code."""

    exit_code = EXIT_SUPERVISORD


def main(given: InheritedSignals, arguments: list[str]) -> int | bytes:
    """Parse and run. Returns the exit code, or the state for another program (go_on)."""
    try:
        values = COMMAND.parse_options(arguments, "positional arguments are not supported: {!r}")
    except UsageError as error:
        raise WrongUsageError(str(error)) from None
    if values["help"]:
        return COMMAND.show_help()
    if values["version"]:
        os.write(1, f"{_VERSION} (cohabit {__version__})\n".encode())
        return 0
    if pid1.is_taken() and SUPERVISOR_VARIABLE not in environment():
        raise WrongUsageError(
            "cannot supervisord: process 1 is a cohabit already: all programs would run a second time (to start one: "
            "cohabit start NAME; to read a changed file: cohabit reload)"
        )
    request: dict[str, Any] = {"supervisord": {name: value for name, value in values.items() if value}}
    return begin(given, request, quiet=str(values["loglevel"]).lower() in _QUIET)
