"""`cohabit help`: from a verb's table to the page that `--help`, `cohabit help VERB` and docs/reference/cli.md show.

Laid out like a manual page, for 80 columns. Loaded only when somebody wants help.
"""

from __future__ import annotations

import json

from cohabit.cli import load
from cohabit.cli.main import COMMANDS, GROUPS
from cohabit.cli.options import HELP, JSON, Command
from cohabit.errors import UsageError
from cohabit.plan.nearest import did_you_mean
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohabit.reactor.signals import InheritedSignals

WIDTH = 79
_COLUMN = 30  # where the words about an option begin
_LONGEST_LEFT = 22  # of two columns that are no options

COMMAND = Command(
    "help",
    "[VERB]",
    "Tell what the verbs are, or everything about one of them.",
    (JSON,),
    examples=(("cohabit help logs", "the same as cohabit logs --help"),),
)

# What stands in `cohabit --help` beneath each group of verbs (main.GROUPS).
TITLES = {
    "run": "run services",
    "look": "look at a running cohabit",
    "act": "tell a running cohabit what to do",
    "files": "files, and help",
}


def main(_given: InheritedSignals, words: list[str]) -> int:
    """The page of a verb, or the list of all."""
    values, verbs = COMMAND.parse(words)
    if values["help"]:
        return show(COMMAND)
    for verb in verbs:
        if verb not in COMMANDS:
            hint = did_you_mean(verb, COMMANDS) or " (cohabit help lists them)"
            raise UsageError(f"cannot help: there is no verb {verb!r}{hint}")
    if len(verbs) > 1:
        raise UsageError(f"cannot help: {verbs[0]} and {verbs[1]} at once are too much (name one)")
    if values["json"]:
        tables = {verb: as_json(load(f"cohabit.cli.{verb}").COMMAND) for verb in verbs or COMMANDS}
        write(json.dumps(tables[verbs[0]] if verbs else {"verbs": [*tables.values()]}))
        return 0
    if verbs:
        return show(load(f"cohabit.cli.{verbs[0]}").COMMAND)
    write(overview())
    return 0


def as_json(verb: Command) -> dict[str, object]:
    """What the page has, for programs."""
    options = [
        {"names": option.names, "value": option.metavar, "repeat": option.repeat, "help": option.help}
        for option in (*verb.options, HELP)
    ]
    return {
        "verb": verb.name,
        "usage": f"cohabit {verb.name} {verb.usage}".rstrip(),
        "summary": verb.summary,
        "details": verb.details,
        "options": options,
        "exits": [{"code": code, "when": when} for code, when in verb.exits],
        "examples": [{"command": command, "for": what} for command, what in verb.examples],
    }


def overview() -> str:
    """All verbs, each with its line, by what people want."""
    lines = ["usage: cohabit VERB [options]", "", "Several services in one container. These are the verbs:"]
    for group, verbs in GROUPS.items():
        lines += ["", f"{TITLES[group]}:"]
        lines += [f"  {verb:12}{summary}" for verb, summary in verbs.items()]
    lines += ["", *fill("`cohabit help VERB` tells everything about one of them.")]
    return "\n".join(lines)


def page(verb: Command) -> str:
    """Everything about a verb."""
    lines = [*_usage(verb), "", *fill(verb.summary)]
    if verb.details:
        lines.append("")
        lines += _paragraphs(verb.details)
    lines += ["options:"] if verb.details else ["", "options:"]
    for option in (*verb.options, HELP):
        names = ", ".join(option.names) + (f" {option.metavar}" if option.metavar else "")
        lines += _two_columns(names, option.help, _COLUMN)
    for title, rows in (("exit codes", verb.exits), ("examples", verb.examples)):
        if rows:
            lines += ["", f"{title}:", *_table(rows)]
    return "\n".join(lines)


def show(verb: Command) -> int:
    """Write the page of a verb to stdout; returns the exit code."""
    write(page(verb))
    return 0


def write(text: str) -> None:
    """Text and a newline to stdout, if anybody is there to read it."""
    try:
        os.write(1, f"{text}\n".encode())
    except OSError:
        pass


def fill(text: str, indent: str = "", width: int = WIDTH) -> list[str]:
    """Words in lines of at most that width; a longer word has one of its own."""
    lines: list[str] = []
    line = indent
    for word in text.split():
        if line != indent and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = indent
        line += word if line == indent else f" {word}"
    return [*lines, line]


def _usage(verb: Command) -> list[str]:
    first = f"usage: cohabit {verb.name}"
    lines = fill(verb.usage, " " * (len(first) + 1))
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
            yield ""  # behind the last one, too


def _table(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Two columns; where the left ones are long, the right ones are lines beneath them."""
    longest = max(len(left) for left, _ in rows)
    column = longest + 4
    for left, right in rows:
        if longest > _LONGEST_LEFT:
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
