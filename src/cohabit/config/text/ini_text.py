"""INI text -> sections of Nodes with their lines, by the rules of supervisord's parser.

That parser is Python's RawConfigParser with strict=False and inline_comment_prefixes=(";", "#"), which does not report
the lines of options. Its rules: names of options are in lower case; `=` or `:` separates them from their values; a line
that is indented more than the line of its option continues the value; `;` or `#` at the beginning of a line or after a
space begins a comment, in quotes, too; sections and options may be repeated, and the last value counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cohabit.plan.node import Line, Node

if TYPE_CHECKING:
    from typing import TypeAlias

    Problems: TypeAlias = list[tuple[Line, str]]

DEFAULT = "DEFAULT"  # the section whose options all sections have
_SECTION = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"(.*?)\s*[=:]\s*(.*)$")
_COMMENT = re.compile(r"(?:^|(?<=\s))[;#]")
_NO_SECTION = "File contains no section headers: the first line that is not a comment must be a [section]"
_NO_OPTION = "Source contains parsing errors: this line is neither [section] nor NAME=VALUE"
_HINT = "(indent a line that continues a value)"


class IniSection:
    """One section. line: of its first header, with its file. options: by name, each a text with its line."""

    def __init__(self, name: str, line: Line) -> None:
        self.name = name
        self.line = line
        self.options: dict[str, Node] = {}


def parse(text: str, file: str, sections: dict[str, IniSection]) -> Problems:
    """Add the sections of a text to those of the files before it. Returns the problems of the text.

    file: its name, which the lines keep.
    """
    return _Reader(file, sections).read(text)


class _Reader:
    """What is known at one line of a file: the section, the option that a further line may continue."""

    def __init__(self, file: str, sections: dict[str, IniSection]) -> None:
        self._file = file
        self._sections = sections
        self._section: IniSection | None = None
        self._option = ""
        self._indent = 0
        self._lines: dict[tuple[str, str], list[str]] = {}  # of the values of this file
        self._problems: Problems = []

    def read(self, text: str) -> Problems:
        """Read all lines."""
        for number, written in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
            comment = _COMMENT.search(written, len(written) - len(written.lstrip()))
            value = (written[: comment.start()] if comment else written).strip()
            if value:
                self._read_line(Line(number, self._file), written, value)
            elif comment is None and self._option and self._section is not None:
                self._lines[self._section.name, self._option].append("")
            if self._problems and self._section is None:
                break  # without a section, each further line is the same problem
        for (section, option), lines in self._lines.items():
            node = self._sections[section].options[option]
            node.value = node.text = "\n".join(lines).rstrip()
        return self._problems

    def _read_line(self, line: Line, written: str, value: str) -> None:
        indent = len(written) - len(written.lstrip())
        if self._section is not None and self._option and indent > self._indent:
            self._lines[self._section.name, self._option].append(value)
            return
        self._indent = indent
        header = _SECTION.match(value)
        if header:
            self._section = self._sections.setdefault(header[1], IniSection(header[1], line))
            self._option = ""
        elif self._section is None:
            self._problems.append((line, _NO_SECTION))
        elif (found := _OPTION.match(value)) and found[1]:
            self._option = found[1].rstrip().lower()
            self._lines[self._section.name, self._option] = [found[2].strip()]
            self._section.options[self._option] = Node("", line)
        else:
            self._problems.append((line, f"{_NO_OPTION} {_HINT}"))
