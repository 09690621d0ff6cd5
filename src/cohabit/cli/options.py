"""Command lines: one table per verb gives its parsing, its help and, later, its page and its completion.

argparse would do all this, and costs process 1 as much time as the whole rest of its start (re, gettext and
more: 10 ms); `init` has 5 ms for everything.
"""

from __future__ import annotations

from cohabit.errors import UsageError
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HELP_COLUMN = 30


class Option:
    """One option: its names, short one first; a metavar if it takes a value; `repeat` if it may come again."""

    def __init__(self, names: tuple[str, ...], help: str, metavar: str = "", *, repeat: bool = False) -> None:  # noqa: A002
        self.names = names
        self.help = help
        self.metavar = metavar
        self.repeat = repeat

    @property
    def key(self) -> str:
        """The longest name without dashes: what the parsed values are called."""
        return max(self.names, key=len).lstrip("-").replace("-", "_")


HELP = Option(("-h", "--help"), "show this help")


class Verb:
    """One verb: how it is used, what it does, its options.

    intermixed: options may come after arguments (not for verbs that run somebody else's command line).
    """

    def __init__(
        self,
        name: str,
        usage: str,
        summary: str,
        options: tuple[Option, ...],
        *,
        details: str = "",
        intermixed: bool = True,
    ) -> None:
        self.name = name
        self.usage = usage
        self.summary = summary
        self.options = options
        self.details = details
        self.intermixed = intermixed

    def help(self) -> str:
        """The text of --help."""
        lines = [f"usage: cohabit {self.name} {self.usage}", "", self.summary]
        if self.details:
            lines += ["", self.details]
        lines += ["", "options:"]
        for option in (*self.options, HELP):
            names = ", ".join(option.names) + (f" {option.metavar}" if option.metavar else "")
            if len(names) + 4 > _HELP_COLUMN:
                lines += [f"  {names}", f"{'':{_HELP_COLUMN}}{option.help}"]
            else:
                lines.append(f"  {names:{_HELP_COLUMN - 2}}{option.help}")
        return "\n".join(lines)

    def show_help(self) -> int:
        """Write the text of --help to stdout, if anybody is there to read it; returns the exit code."""
        try:
            os.write(1, f"{self.help()}\n".encode())
        except OSError:
            pass
        return 0

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
        if option.repeat:
            values[option.key].append(value)
        elif values[option.key] is None:
            values[option.key] = value
        else:
            raise self._wrong(f"{name} is given twice")

    def _wrong(self, why: str) -> UsageError:
        return UsageError(f"cannot {self.name}: {why}")


def _hint(name: str, known: list[str]) -> str:
    """A known option that begins the same way, if there is just one."""
    close = [other for other in known if other.startswith(name) or (len(name) > 3 and name[:4] == other[:4])]  # noqa: PLR2004
    return f" (did you mean {close[0]}?)" if len(close) == 1 else " (see --help)"
