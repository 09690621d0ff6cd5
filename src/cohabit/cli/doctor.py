"""`cohabit doctor`: find faults in this container or in a Dockerfile. A separate program, like the loader."""

from __future__ import annotations

from cohabit.cli.options import JSON, Command, Option
from cohabit.errors import EXIT_SYSTEM, CohabitError, UsageError
from cohabit.program import program
from cohabit.reactor.linux import os, python_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "doctor",
    "[-f FILE] [DOCKERFILE]",
    "Find faults in this container, or in a Dockerfile, that affect several services, and suggest corrections.",
    (
        Option(("-f", "--file"), "the cohabit file (default: that of the running cohabit, or as for up)", "FILE"),
        Option(("--strict",), "exit with 1 for warnings, too"),
        JSON,
    ),
    details=(
        "With a Dockerfile (or its directory, or - for standard input), it examines that and the cohabit file beside "
        "it. Without one, it examines the container in which it runs (process 1, grace period, limits, directories) "
        "and the services of the file (how they are stopped, whether they daemonize, which commands need a shell)."
    ),
    exit_codes=(
        ("0", "no errors; with --strict, no warnings either"),
        ("1", "there is an error; with --strict, or a warning"),
        ("64", "wrong usage, or a file that cannot be read"),
        ("71", "the system refused"),
    ),
    examples=(
        ("cohabit doctor Dockerfile", "before docker build"),
        ("docker exec CONTAINER cohabit doctor", "in a running container"),
    ),
)


class NoDoctorError(CohabitError):
    """The doctor cannot be started."""

    exit_code = EXIT_SYSTEM


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, then become the doctor; returns only for --help."""
    values, dockerfiles = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if len(dockerfiles) > 1:
        raise UsageError(f"cannot examine {dockerfiles[1]!r}: a Dockerfile is already named (name one)")
    request = {
        "dockerfile": dockerfiles[0] if dockerfiles else "",
        "file": values["file"] or "",
        "json": values["json"],
        "strict": values["strict"],
    }
    argv = program("doctor", repr(request))
    inherited.restore()
    try:
        os.execve(argv[0], argv, python_environment())
    except OSError as error:
        why = f"{argv[0]!r}, the interpreter, cannot be executed: {error.strerror}"
        raise NoDoctorError(f"cannot start the doctor: {why} (is it there, and executable for this user?)") from error
