"""`cohabit init`: its options, which cover those of tini and dumb-init; reactor/init does the work."""

from __future__ import annotations

from cohabit import __version__
from cohabit.cli import load
from cohabit.cli.options import Option, WrapperCommand
from cohabit.errors import UsageError
from cohabit.reactor import signals
from cohabit.reactor.init import Init, Rules
from cohabit.reactor.linux import os
from cohabit.reactor.processes.spawn import NotStartedError
from cohabit.units import parse_duration, parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

_KILLED = 137

COMMAND = WrapperCommand(
    "init",
    "[options] [--] COMMAND [ARG...]",
    "Run COMMAND as the container's main process: reap orphans, forward signals, end with its exit code.",
    (
        Option(
            ("-g", "--group"), "send signals to the whole process group of COMMAND (tini -g); also COHABIT_INIT_GROUP=1"
        ),
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
        Option(
            ("-S", "--no-subreaper"),
            "do not adopt orphans if cohabit is not process 1: only the process group of COMMAND is ended after it",
        ),
        Option(
            ("-t", "--stop-grace-period"),
            "time for the processes that outlive COMMAND, and as process 1 for COMMAND itself after a signal to stop "
            "(default: 8s; 0: no limit for COMMAND)",
            "DURATION",
        ),
        Option(("-w", "--warn-on-reap"), "log each orphan that is reaped"),
        Option(("-v", "--verbose"), "log the pid and the exit code of COMMAND, each signal, and all that is reaped"),
        Option(("-q", "--quiet"), "print errors only, no warnings"),
        Option(("-V", "--version"), "print the version"),
    ),
    details=(
        "When COMMAND has ended, the remaining processes are sent SIGTERM, whatever their group or session. The "
        "container ends when the last of them has ended. The grace period starts with the first signal to stop, or "
        "else when COMMAND ends, and leaves the remaining processes at least one second (or all of a shorter period). "
        "After it, they are killed.\n\n"
        "As process 1, COMMAND has the grace period from the first TERM, INT or QUIT. If it has not ended then, all "
        "processes are sent SIGTERM, and are killed one second later. If `docker stop -t` gives more time, give -t one "
        "second less."
    ),
    exit_codes=(
        ("n", "the exit code of COMMAND"),
        ("128+n", "signal n killed COMMAND"),
        ("137", "COMMAND had to be killed"),
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
    if values["version"]:
        os.write(1, f"cohabit {__version__}\n".encode())
        return 0
    if not command:
        raise UsageError("cannot init: no command is given (write: cohabit init -- COMMAND)")
    if not command[0]:
        raise UsageError("cannot init: the command is empty (is a variable unset?)")
    rules = _rules(values, Rules(_be_quiet if values["quiet"] else _log, _has_shell))
    init = Init(tuple(command), inherited, rules)
    try:
        init.run()
    except NotStartedError as error:
        raise load("cohabit.reactor.processes.start_failure").command_error(error) from None
    if init.code is None or not init.alone or not init.adopts:
        load("cohabit.reactor.init_end").end_remaining(init, rules, command[0])
    if init.died_of_interrupt and init.code not in rules.success:
        signals.die_of_interrupt()
    code = _KILLED if init.code is None else init.code
    return 0 if code in rules.success else code


def _has_shell() -> bool:
    return bool(load("cohabit.reactor.processes.job_control").has_shell())


def _log(text: str) -> None:
    load("cohabit.reactor.logs.line").write_line(2, f"cohabit: {text}")


def _be_quiet(_text: str) -> None:
    """For -q."""


def _rules(values: dict[str, Any], rules: Rules) -> Rules:
    for one, other in (("group", "single_child"), ("quiet", "verbose"), ("quiet", "warn_on_reap")):
        if values[one] and values[other]:
            names = " and ".join(f"--{name.replace('_', '-')}" for name in (one, other))
            raise UsageError(f"cannot init: {names} exclude each other")
    try:
        for text in values["rewrite"]:
            old, new = _parse_rewrite(text)
            rules.rewrite[old] = new
        for text in values["remap_exit"]:
            rules.success.add(_parse_exit_code(text))
        if values["parent_death"]:
            rules.parent_death_signal = _parse_forwarded(values["parent_death"], "used")
        if values["stop_grace_period"]:
            rules.grace_seconds = parse_duration(values["stop_grace_period"])
    except ValueError as error:
        raise UsageError(f"cannot init: {error}") from error
    rules.group = values["group"] or (False if values["single_child"] else None)
    rules.subreaper = not values["no_subreaper"]
    rules.warn_on_reap = values["warn_on_reap"]
    rules.verbose = values["verbose"]
    return rules


def _parse_rewrite(text: str) -> tuple[int, int]:
    old, colon, new = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is not of the form SIGNAL:SIGNAL (write SIGTERM:SIGQUIT, or SIGHUP:0)")
    number = _parse_forwarded(old, "rewritten")
    if number in (signals.KILL, signals.STOP):
        raise ValueError(f"{old} cannot be rewritten: no process can catch it (signal(7))")
    return number, 0 if new == "0" else parse_signal(new)


def _parse_forwarded(text: str, use: str) -> int:
    number = parse_signal(text)
    if number == signals.CHLD:
        raise ValueError(f"{text} cannot be {use}: it reports the end of processes to cohabit, and is not forwarded")
    return number


def _parse_exit_code(text: str) -> int:
    if not text.isdecimal() or int(text) > 255:  # noqa: PLR2004 - eight bits: wait(2)
        raise ValueError(f"{text!r} is not an exit code (0 to 255)")
    return int(text)
