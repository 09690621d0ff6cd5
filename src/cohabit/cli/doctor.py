"""`cohabit doctor`: find faults in this container or in a Dockerfile. A separate program, like the loader."""

from __future__ import annotations

from cohabit.cli.options import JSON, Command, Option
from cohabit.doctor.rules import RULES
from cohabit.errors import EXIT_SYSTEM, CohabitError, UsageError
from cohabit.nearest import nearest
from cohabit.program import program
from cohabit.reactor.linux import os, python_environment

FORMATS = "text|json|sarif|github"
THRESHOLDS = "error|warning|hint|none"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "doctor",
    "[-f FILE] [--context DIR] [--format FORMAT] [DOCKERFILE]",
    "Find faults in this container, or in a Dockerfile, that affect several services, and suggest corrections.",
    (
        Option(("-f", "--file"), "the cohabit file (default: that of the running cohabit, or as for up)", "FILE"),
        Option(("--context",), "the build context (default: the directory of the Dockerfile)", "DIR"),
        Option(("--format",), "text, json (an object in each line), sarif (2.1.0) or github (annotations)", FORMATS),
        Option(("--failure-threshold",), "exit with 1 from this level on (default: error); none: never", THRESHOLDS),
        Option(("--ignore",), "leave out the findings of this rule", "RULE", repeat=True),
        JSON,
    ),
    details=(
        "With a Dockerfile (or its directory, or - for standard input), it examines that, the shell scripts of the "
        "build context that ENTRYPOINT and CMD start, and the cohabit file beside it. Without one, it examines the "
        "container in which it runs (process 1, grace period, limits, directories) and the services of the file (how "
        "they are stopped, whether they daemonize, which commands need a shell).\n\n"
        "docs/reference/doctor.md has the rules. --failure-threshold and --ignore are those of hadolint."
    ),
    exit_codes=(
        ("0", "no finding of the level of --failure-threshold, or of a more severe one"),
        ("1", "there is such a finding"),
        ("64", "wrong usage, or a file that cannot be read"),
        ("71", "the system refused"),
    ),
    examples=(
        ("cohabit doctor Dockerfile", "before docker build"),
        ("cohabit doctor --format github --failure-threshold warning .", "in CI"),
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
    if values["context"] and not dockerfiles:
        raise UsageError("cannot doctor: --context belongs to a Dockerfile (name one)")
    if values["json"] and values["format"] not in (None, "json"):
        raise UsageError(f"cannot doctor: --json and --format {values['format']} exclude each other (leave out one)")
    request = {
        "dockerfile": dockerfiles[0] if dockerfiles else "",
        "file": values["file"] or "",
        "context": values["context"] or "",
        "format": values["format"] or ("json" if values["json"] else "text"),
        "threshold": values["failure_threshold"] or "error",
        "ignore": [_rule(name) for name in values["ignore"]],
    }
    argv = program("doctor", repr(request))
    inherited.restore()
    try:
        os.execve(argv[0], argv, python_environment())
    except OSError as error:
        why = f"{argv[0]!r}, the interpreter, cannot be executed: {error.strerror}"
        raise NoDoctorError(f"cannot start the doctor: {why} (is it there, and executable for this user?)") from error


def _rule(name: str) -> str:
    """The rule of --ignore. Raises UsageError if there is none of that name."""
    if name in RULES:
        return name
    near = nearest(name, RULES)
    advice = f"did you mean {near}?" if near else "docs/reference/doctor.md has their names"
    raise UsageError(f"cannot doctor: --ignore: there is no rule {name!r} ({advice})")
