"""`cohabit init`: its options, which cover those of tini and dumb-init; reactor/init does the work."""

from __future__ import annotations

from cohabit.cli import load
from cohabit.cli.options import Option, WrapperCommand
from cohabit.errors import UsageError
from cohabit.reactor.init import Init, Rules
from cohabit.reactor.processes.spawn import NotStartedError
from cohabit.reactor.signals import KILL, STOP
from cohabit.units import parse_duration, parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = WrapperCommand(
    "init",
    "[options] [--] COMMAND [ARG...]",
    "Run COMMAND as the container's main process: reap orphans, forward signals, end with its exit code.",
    (
        Option(("-g", "--group"), "send signals to the whole process group of COMMAND (tini -g)"),
        Option(("-c", "--single-child"), "send signals to COMMAND only (the default; dumb-init -c)"),
        Option(
            ("-r", "--rewrite"),
            "forward the first signal as the second one; 0: do not forward it",
            "SIGNAL:SIGNAL",
            repeat=True,
        ),
        Option(("-e", "--remap-exit"), "end with 0 if COMMAND ends with this exit code", "CODE", repeat=True),
        Option(
            ("-p", "--parent-death"),
            "receive and forward this signal when the parent process of cohabit ends",
            "SIGNAL",
        ),
        Option(("-s", "--subreaper"), "adopt orphans even if cohabit is not process 1 (the default)"),
        Option(("-S", "--no-subreaper"), "do not adopt orphans if cohabit is not process 1"),
        Option(("-t", "--stop-grace-period"), "time for the processes that outlive COMMAND (default: 9s)", "DURATION"),
        Option(("-w", "--warn-on-reap"), "log each orphan that is reaped while COMMAND runs"),
        Option(("-v", "--verbose"), "log each signal, and the exit code of COMMAND"),
    ),
    details=(
        "When COMMAND has ended, the remaining processes are sent SIGTERM, whatever their group or session. The "
        "container ends when the last of them has ended. The grace period starts with the first signal to stop, or "
        "else when COMMAND ends, and leaves the remaining processes at least one second (or all of a shorter period). "
        "After it, they are killed."
    ),
    exit_codes=(
        ("n", "the exit code of COMMAND"),
        ("128+n", "signal n killed COMMAND"),
        ("64", "wrong usage"),
        ("126", "COMMAND cannot be executed"),
        ("127", "COMMAND is not found"),
    ),
    examples=(
        ("cohabit init -- nginx -g 'daemon off;'", "run nginx under an init"),
        ("cohabit init -r TERM:QUIT -- nginx", "forward the TERM of the container engine as QUIT"),
        ("cohabit init -e 143 -- java -jar app.jar", "treat Java's exit code after TERM as success"),
    ),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, run, return the exit code."""
    values, command = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if not command:
        raise UsageError("cannot init: no command is given (write: cohabit init -- COMMAND)")
    if not command[0]:
        raise UsageError("cannot init: the command is empty (is a variable unset?)")
    rules = _rules(values, Rules(_log))
    init = Init(tuple(command), inherited, rules)
    try:
        code = init.run()
    except NotStartedError as error:
        raise load("cohabit.reactor.processes.start_failure").command_error(error) from None
    if not init.alone and load("cohabit.reactor.processes.sweep").sweep_after(init.main, init.grace_left):
        rules.say("killed the remaining processes: the grace period expired, or another stop signal came")
    return code


def _log(text: str) -> None:
    load("cohabit.reactor.logs.line").write_line(2, f"cohabit: {text}")


def _rules(values: dict[str, Any], rules: Rules) -> Rules:
    if values["group"] and values["single_child"]:
        raise UsageError("cannot init: --group and --single-child exclude each other")
    try:
        for text in values["rewrite"]:
            old, new = _parse_rewrite(text)
            rules.rewrite[old] = new
        for text in values["remap_exit"]:
            rules.success.add(_parse_exit_code(text))
        if values["parent_death"]:
            rules.parent_death_signal = parse_signal(values["parent_death"])
        if values["stop_grace_period"]:
            rules.grace_seconds = parse_duration(values["stop_grace_period"])
    except ValueError as error:
        raise UsageError(f"cannot init: {error}") from error
    rules.group = values["group"]
    rules.subreaper = not values["no_subreaper"]
    rules.warn_on_reap = values["warn_on_reap"]
    rules.verbose = values["verbose"]
    return rules


def _parse_rewrite(text: str) -> tuple[int, int]:
    old, colon, new = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is not of the form SIGNAL:SIGNAL (write SIGTERM:SIGQUIT, or SIGHUP:0)")
    number = parse_signal(old)
    if number in (KILL, STOP):
        raise ValueError(f"{old} cannot be rewritten: no process can catch it (signal(7))")
    return number, 0 if new == "0" else parse_signal(new)


def _parse_exit_code(text: str) -> int:
    if not text.isdecimal() or int(text) > 255:  # noqa: PLR2004 - eight bits: wait(2)
        raise ValueError(f"{text!r} is not an exit code (0 to 255)")
    return int(text)
