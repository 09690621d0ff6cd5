"""`cohabit help`: a command's table as the page that `--help`, `cohabit help COMMAND` and docs/reference/cli.md show.

The layout is that of a manual page, for 80 columns. Loaded only when help is requested.
"""

from __future__ import annotations

import json

from cohabit.cli import load
from cohabit.cli.main import COMMANDS, GROUPS
from cohabit.cli.options import HELP, JSON, Command
from cohabit.errors import UsageError
from cohabit.nearest import did_you_mean
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohabit.reactor.signals import InheritedSignals

WIDTH = 79
_OPTION_COLUMN = 30  # where the help of an option begins
_LEFT_WIDTH_MAX = 22  # of the left column of a table; wider ones get lines of their own

COMMAND = Command(
    "help",
    "[SUBCOMMAND]",
    "List the commands, or print the help of one.",
    (JSON,),
    exit_codes=(("0", "done"), ("64", "wrong usage, or no such command")),
    examples=(("cohabit help logs", "the same as cohabit logs --help"),),
)

# The titles of the groups of commands (main.GROUPS) in `cohabit --help`.
TITLES = {
    "run": "run services",
    "inspect": "inspect a running cohabit",
    "control": "control a running cohabit",
    "files": "files, and help",
}


def main(_inherited: InheritedSignals, arguments: list[str]) -> int:
    """Print the page of a command, or the list of all."""
    values, names = COMMAND.parse(arguments)
    if values["help"]:
        return show(COMMAND)
    for name in names:
        if name not in COMMANDS:
            hint = did_you_mean(name, COMMANDS) or " (cohabit help lists them)"
            raise UsageError(f"cannot help: there is no command {name!r}{hint}")
    if len(names) > 1:
        raise UsageError(f"cannot help: more than one command is named: {names[0]} and {names[1]} (name one)")
    if values["json"]:
        tables = {name: as_json(load(f"cohabit.cli.{name}").COMMAND) for name in names or COMMANDS}
        write(json.dumps(tables[names[0]] if names else {"commands": [*tables.values()]}))
        return 0
    if names:
        return show(load(f"cohabit.cli.{names[0]}").COMMAND)
    write(overview())
    return 0


def as_json(command: Command) -> dict[str, object]:
    """The contents of a page, for programs."""
    options = [
        {"names": option.names, "value": option.metavar, "repeat": option.repeat, "help": option.help}
        for option in (*command.options, HELP)
    ]
    return {
        "name": command.name,
        "usage": f"cohabit {command.name} {command.usage}".rstrip(),
        "summary": command.summary,
        "details": command.details,
        "options": options,
        "exit_codes": [{"code": code, "meaning": meaning} for code, meaning in command.exit_codes],
        "examples": [{"command": line, "purpose": purpose} for line, purpose in command.examples],
    }


def overview() -> str:
    """The list of all commands, by group."""
    lines = ["usage: cohabit COMMAND [options]", "", "Run several services in one container. The commands are:"]
    for group, commands in GROUPS.items():
        lines += ["", f"{TITLES[group]}:"]
        lines += [f"  {name:12}{summary}" for name, summary in commands.items()]
    lines += ["", *fill("`cohabit help COMMAND` prints the help of a command.")]
    return "\n".join(lines)


def page(command: Command) -> str:
    """The help of a command."""
    lines = [*_usage(command), "", *fill(command.summary)]
    if command.details:
        lines.append("")
        lines += _paragraphs(command.details)
    lines += ["options:"] if command.details else ["", "options:"]
    for option in (*command.options, HELP):
        names = ", ".join(option.names) + (f" {option.metavar}" if option.metavar else "")
        lines += _two_columns(names, option.help, _OPTION_COLUMN)
    for title, rows in (("exit codes", command.exit_codes), ("examples", command.examples)):
        if rows:
            lines += ["", f"{title}:", *_table(rows)]
    return "\n".join(lines)


def show(command: Command) -> int:
    """Write the help of a command to stdout; returns the exit code."""
    write(page(command))
    return 0


def write(text: str) -> None:
    """Write text and a newline to stdout; errors are ignored."""
    try:
        os.write(1, f"{text}\n".encode())
    except OSError:
        pass


def fill(text: str, indent: str = "", width: int = WIDTH) -> list[str]:
    """Break text into lines of at most `width` columns; a longer word gets a line of its own."""
    lines: list[str] = []
    line = indent
    for word in text.split():
        if line != indent and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = indent
        line += word if line == indent else f" {word}"
    return [*lines, line]


def _usage(command: Command) -> list[str]:
    first = f"usage: cohabit {command.name}"
    lines = fill(command.usage, " " * (len(first) + 1))
    return [(first + lines[0][len(first) :]).rstrip(), *lines[1:]]


def _paragraphs(text: str) -> Iterator[str]:
    words: list[str] = []
    for line in [*text.split("\n"), ""]:
        if line.startswith(" ") or not line:
            if words:
                yield from fill(" ".join(words))
            words = []
            if line:
                yield line
        else:
            words.append(line)
        if not line:
            yield ""  # after the last one, too


def _table(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Two columns; if the left one is too wide, each right cell gets lines of its own below it."""
    longest = max(len(left) for left, _ in rows)
    column = longest + 4
    for left, right in rows:
        if longest > _LEFT_WIDTH_MAX:
            yield f"  {left}"
            yield from fill(right, " " * 6)
        else:
            yield from _two_columns(left, right, column)


def _two_columns(left: str, right: str, column: int) -> Iterator[str]:
    lines = fill(right, " " * column)
    if len(left) + 4 > column:
        yield f"  {left}"
        yield from lines
    else:
        yield f"  {left}".ljust(column) + lines[0][column:]
        yield from lines[1:]
