"""`cohabit init`: the options, made from what tini and dumb-init have between them; the work is reactor/init."""

from __future__ import annotations

from cohabit.cli import load
from cohabit.cli.options import CommandVerb, Option
from cohabit.errors import UsageError
from cohabit.reactor.init import Init, Rules
from cohabit.reactor.signals import KILL, STOP
from cohabit.units import parse_duration, parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = CommandVerb(
    "init",
    "[options] [--] COMMAND [ARG...]",
    "Run COMMAND as the container's main process: reap every orphan, forward every signal, end with its status.",
    (
        Option(("-g", "--group"), "send signals to the command's whole process group (tini -g)"),
        Option(("-c", "--single-child"), "send signals to the command only (the default; dumb-init -c)"),
        Option(("-r", "--rewrite"), "forward a signal as another one, 0 for not at all", "SIGNAL:SIGNAL", repeat=True),
        Option(("-e", "--remap-exit"), "end with 0 when the command ends with this code", "CODE", repeat=True),
        Option(("-p", "--parent-death"), "be sent this signal when our own parent ends", "SIGNAL"),
        Option(("-s", "--subreaper"), "adopt orphans also when not process 1 (the default)"),
        Option(("-S", "--no-subreaper"), "do not adopt orphans when not process 1"),
        Option(("-t", "--stop-grace-period"), "time for what outlives the command (default 9s)", "DURATION"),
        Option(("-w", "--warn-on-reap"), "say so whenever an orphan is reaped"),
        Option(("-v", "--verbose"), "say what is done with each signal"),
    ),
    details=(
        "When COMMAND has ended, every process that still lives is sent SIGTERM, whatever its group or session, and "
        "the container ends as soon as the last of them has gone, at the latest after the grace period, which begins "
        "with the first signal to stop."
    ),
    exits=(
        ("n", "the command's own exit code"),
        ("128+n", "signal n killed the command"),
        ("126", "the command cannot be executed"),
        ("127", "the command is not found"),
    ),
    examples=(
        ("cohabit init -- nginx -g 'daemon off;'", "nginx under an init that reaps and forwards"),
        ("cohabit init -r TERM:QUIT -- nginx", "a TERM of the container engine becomes a QUIT"),
        ("cohabit init -e 143 -- java -jar app.jar", "143 is a fine end for Java"),
    ),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, run, return the exit code."""
    values, command = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    if not command:
        raise UsageError("cannot init: no command given (write: cohabit init -- COMMAND)")
    if not command[0]:
        raise UsageError("cannot init: the command is an empty word (is a variable unset?)")
    rules = _rules(values, Rules(_say))
    init = Init(tuple(command), given, rules)
    code = init.run()
    if not init.alone and load("cohabit.reactor.processes.sweep").sweep_after(init.main, init.grace_left):
        rules.say("some processes did not end within the grace period and were killed")
    return code


def _say(text: str) -> None:
    load("cohabit.reactor.logs.line").write_line(2, f"cohabit: {text}")


def _rules(values: dict[str, Any], rules: Rules) -> Rules:
    if values["group"] and values["single_child"]:
        raise UsageError("cannot init: --group and --single-child exclude each other")
    try:
        for text in values["rewrite"]:
            old, new = _rewriting(text)
            rules.rewrite[old] = new
        for text in values["remap_exit"]:
            rules.success.add(_exit_code(text))
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


def _rewriting(text: str) -> tuple[int, int]:
    old, colon, new = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is no SIGNAL:SIGNAL (write SIGTERM:SIGQUIT, or SIGHUP:0)")
    number = parse_signal(old)
    if number in (KILL, STOP):
        raise ValueError(f"{old} cannot be rewritten: the kernel shows it to nobody (signal(7))")
    return number, 0 if new == "0" else parse_signal(new)


def _exit_code(text: str) -> int:
    if not text.isdecimal() or int(text) > 255:  # noqa: PLR2004 - wait(2) has eight bits
        raise ValueError(f"{text!r} is no exit code (0 to 255)")
    return int(text)
