"""Command lines: one table per verb gives its parsing, its help (help.py), its page and its completion.

argparse would do all this, and costs process 1 as much time as the whole rest of its start (re, gettext and
more: 10 ms); `init` has 5 ms for everything. So this file parses, and what only help needs is loaded for help.
"""

from __future__ import annotations

from cohabit.cli import load
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Option:
    """One option: its names, short one first; a metavar if it takes a value; `repeat` if it may come again.

    The metavar says what the value is: words between bars are all that it can be ("ready|exit"), other ones are
    what completion goes by (FILE, DIR, SIGNAL, USER, SERVICE).
    """

    def __init__(self, names: tuple[str, ...], help: str, metavar: str = "", *, repeat: bool = False) -> None:  # noqa: A002
        self.names = names
        self.help = help
        self.metavar = metavar
        self.repeat = repeat

    @property
    def key(self) -> str:
        """The longest name without dashes: what the parsed values are called."""
        return max(self.names, key=len).lstrip("-").replace("-", "_")

    @property
    def choices(self) -> list[str]:
        """All that the value can be, [] for anything."""
        return self.metavar.split("|") if "|" in self.metavar else []


HELP = Option(("-h", "--help"), "show this help")
JSON = Option(("--json",), "print JSON, for programs")
SOCKET = Option(("--socket",), "the socket of the cohabit to talk to (default: the one of this container)", "PATH")


class Command:
    """One verb: how it is used, what it does, its options.

    details: paragraphs with an empty line in between, filled to the width of the page; a line that begins with a
    space stays as it is. exits: (exit code, when). examples: (command line, what it is for). Capitals in the usage
    say what the arguments are, which completion goes by.
    """

    intermixed = True  # options may come after arguments

    def __init__(
        self,
        name: str,
        usage: str,
        summary: str,
        options: tuple[Option, ...],
        *,
        details: str = "",
        exits: tuple[tuple[str, str], ...] = (),
        examples: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.name = name
        self.usage = usage
        self.summary = summary
        self.options = options
        self.details = details
        self.exits = exits
        self.examples = examples

    def show_help(self) -> int:
        """Write the text of --help to stdout; returns the exit code."""
        return int(load("cohabit.cli.help").show(self))

    def parse(self, words: list[str]) -> tuple[dict[str, Any], list[str]]:
        """(values by key, arguments). Absent flags are False, options None, repeated ones []."""
        by_name = {name: option for option in (*self.options, HELP) for name in option.names}
        values: dict[str, Any] = {
            option.key: [] if option.repeat and option.metavar else None if option.metavar else False
            for option in by_name.values()
        }
        arguments: list[str] = []
        queue = list(words)
        while queue:
            word = queue.pop(0)
            if word == "--":
                arguments += queue
                break
            if not word.startswith("-") or word == "-":
                arguments.append(word)
                if not self.intermixed:
                    arguments += queue
                    break
                continue
            self._take(word, queue, by_name, values)
        return values, arguments

    def parse_options(self, words: list[str], instead: str = "it takes no arguments (what is {!r}?)") -> dict[str, Any]:
        """The values, for a verb without arguments: one that is typed all the same is meant for something else.

        instead: why that cannot be and what to write, with braces for what was typed. Raises UsageError.
        """
        values, arguments = self.parse(words)
        if arguments and not values["help"]:
            raise self._wrong(instead.format(arguments[0]))
        return values

    def _take(self, word: str, queue: list[str], by_name: dict[str, Option], values: dict[str, Any]) -> None:
        """One word of options: --name, --name=value, -n, -nvalue, -abc."""
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            name, equals, value = word[:2], word[2:], word[2:]
        option = by_name.get(name)
        if option is None:
            raise self._wrong(f"unknown option {name}{_hint(name, list(by_name))}")
        if not option.metavar:
            if equals and word.startswith("--"):
                raise self._wrong(f"{name} takes no value")
            values[option.key] = True
            if equals:
                queue.insert(0, f"-{value}")
            return
        if not equals:
            if not queue:
                raise self._wrong(f"{name} needs a value ({option.metavar})")
            value = queue.pop(0)
        if option.choices and value not in option.choices:
            raise self._wrong(f"{name} is {' or '.join(option.choices)}, not {value!r}")
        if option.repeat:
            values[option.key].append(value)
        elif values[option.key] is None:
            values[option.key] = value
        else:
            raise self._wrong(f"{name} is given twice")

    def _wrong(self, why: str) -> UsageError:
        return UsageError(f"cannot {self.name}: {why}")


class CommandVerb(Command):
    """A verb that runs somebody else's command line: behind the first argument nothing is an option of ours."""

    intermixed = False


def _hint(name: str, known: list[str]) -> str:
    """A known option that begins the same way, if there is just one."""
    close = [other for other in known if other.startswith(name) or (len(name) > 3 and name[:4] == other[:4])]  # noqa: PLR2004
    return f" (did you mean {close[0]}?)" if len(close) == 1 else " (see --help)"
