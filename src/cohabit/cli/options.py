"""Command lines: one table per command defines its parsing, its help (help.py), its page and its completion.

argparse is not used: importing it (with re, gettext and others) takes 10 ms, as long as the rest of process 1's start,
and `init` has 5 ms in total. Code that only the help needs is in help.py and is loaded on demand.
"""

from __future__ import annotations

from cohabit.cli import load
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_SECONDS_DIGITS_MAX = 6
_BOOLEANS = {"true": True, "false": False}  # values of flags, as in Docker


class Option:
    """One option of a command.

    names: the short name first. metavar: the kind of the value, "" for a flag. repeat: the option may be given more
    than once. A metavar with bars lists all allowed values ("ready|exit"); completion uses the others (FILE, DIR,
    SIGNAL, USER, SERVICE). on: a flag that is set unless it is given as --name=false.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        help: str,  # noqa: A002
        metavar: str = "",
        *,
        repeat: bool = False,
        on: bool = False,
    ) -> None:
        self.names = names
        self.help = help
        self.metavar = metavar
        self.repeat = repeat
        self.on = on

    @property
    def key(self) -> str:
        """The key of the parsed value: the longest name, without leading dashes, with underscores."""
        return max(self.names, key=len).lstrip("-").replace("-", "_")

    @property
    def choices(self) -> list[str]:
        """All allowed values, [] for any."""
        return self.metavar.split("|") if "|" in self.metavar else []


def whole_seconds(command: Command, text: str) -> float:
    """Seconds of -t, whole ones as in Docker. Raises UsageError."""
    if not text.isdecimal() or len(text) > _SECONDS_DIGITS_MAX:
        raise UsageError(f"cannot {command.name}: --timeout: {text!r} is not a number of whole seconds (write -t 10)")
    return float(text)


HELP = Option(("-h", "--help"), "show this help")
JSON = Option(("--json",), "print JSON, for programs")
SOCKET = Option(("--socket",), "the control socket to connect to (default: the one of this container)", "PATH")
# Exit codes of every command that reads the file, in the order of precedence.
FILE_EXIT_CODES = (
    ("78", "the file has errors"),
    ("127", "its only errors: commands that are not found, or not executable"),
    ("126", "its only errors: commands that are not executable"),
)


class Command:
    """One command: its usage, its description, its options.

    details: paragraphs separated by an empty line. They are filled to the width of the page; a line that begins with
    a space is kept as it is. exit_codes: (code, meaning). examples: (command line, purpose). Completion derives the
    kinds of the arguments from the words in capitals in `usage`.
    """

    intermixed = True  # options may follow arguments

    def __init__(
        self,
        name: str,
        usage: str,
        summary: str,
        options: tuple[Option, ...],
        *,
        details: str = "",
        exit_codes: tuple[tuple[str, str], ...] = (),
        examples: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.name = name
        self.usage = usage
        self.summary = summary
        self.options = options
        self.details = details
        self.exit_codes = exit_codes
        self.examples = examples

    def show_help(self) -> int:
        """Write the text of --help to stdout; returns the exit code."""
        return int(load("cohabit.cli.help").show(self))

    def parse(self, arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
        """Returns (option values by key, positional arguments). Raises UsageError.

        Options that are not given: a flag is `on`, an option with a value None, a repeatable one [].
        """
        by_name = {name: option for option in (*self.options, HELP) for name in option.names}
        values: dict[str, Any] = {
            option.key: [] if option.repeat and option.metavar else None if option.metavar else option.on
            for option in by_name.values()
        }
        positional: list[str] = []
        queue = list(arguments)
        while queue:
            argument = queue.pop(0)
            if argument == "--":
                positional += queue
                break
            if not argument.startswith("-") or argument == "-":
                positional.append(argument)
                if not self.intermixed:
                    positional += queue
                    break
                continue
            self._parse_option(argument, queue, by_name, values)
        return values, positional

    def parse_options(
        self, arguments: list[str], refusal: str = "it does not accept arguments (what is {!r}?)"
    ) -> dict[str, Any]:
        """The option values of a command that accepts no positional arguments.

        refusal: the reason and what to write instead; its braces stand for the first argument. Raises UsageError.
        """
        values, positional = self.parse(arguments)
        if positional and not values["help"]:
            raise self._wrong(refusal.format(positional[0]))
        return values

    def _parse_option(
        self, argument: str, queue: list[str], by_name: dict[str, Option], values: dict[str, Any]
    ) -> None:
        """Parse one argument that is an option: --name, --name=value, -n, -nvalue, -n=value, -abc."""
        name, equals, value = argument.partition("=")
        joined = not argument.startswith("--") and argument[2:3] not in ("", "=")
        if joined:
            name, value = argument[:2], argument[2:]
        option = by_name.get(name)
        if option is None:
            hint = load("cohabit.cli.compose").option_hint(self.name, name)
            if hint:
                raise self._wrong(f"{name}: {hint}")
            raise self._wrong(f"unknown option {name}{_hint(name, list(by_name))}")
        if not option.metavar:
            if joined:
                queue.insert(0, f"-{value}")
            elif equals and value not in _BOOLEANS:
                raise self._wrong(f"{name} is true or false, without a value true (not {value!r})")
            values[option.key] = joined or _BOOLEANS.get(value, True)
            return
        if not (equals or joined):
            if not queue:
                raise self._wrong(f"{name} needs a value ({option.metavar})")
            value = queue.pop(0)
        if option.choices and value not in option.choices:
            raise self._wrong(f"{name} must be {' or '.join(option.choices)}, not {value!r}")
        if option.repeat:
            values[option.key].append(value)
        elif values[option.key] is None:
            values[option.key] = value
        else:
            raise self._wrong(f"{name} is given twice")

    def _wrong(self, why: str) -> UsageError:
        return UsageError(f"cannot {self.name}: {why}")


class WrapperCommand(Command):
    """A command that runs another command line: options after the first argument belong to that one."""

    intermixed = False


def _hint(name: str, known: list[str]) -> str:
    """A known option that begins with this, if there is exactly one; else the nearest one."""
    begun = [other for other in known if other.startswith(name)]
    near = begun[0] if len(begun) == 1 else load("cohabit.nearest").nearest(name, [n for n in known if n[:2] == "--"])
    return f" (did you mean {near}?)" if near else " (see --help)"
