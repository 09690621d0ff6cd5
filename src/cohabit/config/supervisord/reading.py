"""The files of a supervisord.conf -> its sections as texts, and the access to their options.

Errors have supervisord's own words after "Error: ", and its exit code 2. supervisord ends at its first error; here
reading continues with the default of the option, so that all errors are reported, the first one first.
"""

from __future__ import annotations

import glob
import os
import re
from typing import TYPE_CHECKING, TypeVar

from cohabit.config.supervisord.conversions import MissingVariableError, expand
from cohabit.config.text.ini_text import DEFAULT, IniSection, parse
from cohabit.config.text.source import UnreadableError, read_text
from cohabit.errors import EXIT_SUPERVISORD
from cohabit.plan.draft import Diagnostic, SourceLocation, located
from cohabit.plan.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Value = TypeVar("Value")

_PIECE = 4  # characters of a value that no message has in sequence
_HERE = "%(here)s"
_LIMIT_FILES = 1000
_LIMIT_CHARACTERS = 4 << 20
_TOO_MUCH = f"the files are more than {_LIMIT_FILES:,}, or larger than {_LIMIT_CHARACTERS >> 20} MiB together"


class Reading:
    """All files of one input, and what was found in them.

    name: of the main file, as written. variables: the names of the environment for expansions, %(ENV_X)s.
    here: the directory of the main file. files: the names of all files that were read.
    """

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self.name = name
        self.here = os.path.abspath(os.path.dirname(name))
        self.node_name = os.uname().nodename
        self.variables: dict[str, object] = {f"ENV_{key}": value for key, value in environ.items()}
        self.sections: dict[str, IniSection] = {}
        self.problems: list[Diagnostic] = []
        self.ignored: list[str] = []  # what has no effect: one notice has all of it
        self.files: list[str] = []
        self._reported: set[tuple[str, str]] = set()

    @property
    def section_names(self) -> list[str]:
        """The names of all sections in their order, without DEFAULT."""
        return [name for name in self.sections if name != DEFAULT]

    def options(self, section: str, suffix: str = "") -> Options:
        """The options of a section. suffix: of its errors."""
        return Options(self, section, suffix)

    def error(self, text: str, line: int = 0, key: tuple[str, str] = ("", ""), *, at_run_time: bool = False) -> None:
        """Add an error. key: section and option, for which one error is enough."""
        if not key[0] or key not in self._reported:
            where = located(self.name, line)
            self.problems.append(
                Diagnostic(where, f"Error: {text}", exit_code=EXIT_SUPERVISORD, at_run_time=at_run_time)
            )
        self._reported.add(key)

    def warn(self, text: str, line: int = 0) -> None:
        """Add a warning, once."""
        warning = Diagnostic(located(self.name, line), text, warning=True)
        if warning not in self.problems:
            self.problems.append(warning)

    def read(self, text: str) -> None:
        """Read the main file and those that it includes."""
        self._parse(text, self.name)
        include = self.sections.get("include")
        if include is None or any(not problem.warning for problem in self.problems):
            return
        _expand_here(self.sections, self.here)
        node = include.options.get("files") or self.sections.get(DEFAULT, include).options.get("files")
        if node is None:
            self.error(".ini file has [include] section, but no files setting", include.line)
            return
        names = {"here": self.here, "host_node_name": self.node_name, **self.variables}
        try:
            patterns = expand(node.text, names, "include.files").split()
        except ValueError as error:
            self.error(str(error), node.line, at_run_time=isinstance(error, MissingVariableError))
            return
        characters = len(text)
        for pattern in patterns:
            path = os.path.join(self.here, pattern)
            found = sorted(glob.glob(path))
            if not found:
                self.warn(f'No file matches via include "{path}"', node.line)
            for one in found:
                characters += self._include(one)
                if len(self.files) > _LIMIT_FILES or characters > _LIMIT_CHARACTERS:
                    self.error(_TOO_MUCH, node.line)
                    return

    def _include(self, path: str) -> int:
        """Read one included file; the number of its characters. What cannot be opened is ignored, as by supervisord."""
        try:
            text = read_text(path)
        except (FileNotFoundError, UnreadableError) as error:
            why = str(error) if isinstance(error, UnreadableError) else f"cannot read {path}: no such file"
            self.problems.append(Diagnostic(SourceLocation(path), f"{why}; it is ignored", warning=True))
            return 0
        before = {name: dict(section.options) for name, section in self.sections.items() if name == "include"}
        self._parse(text, path)
        if self.sections["include"].options != before["include"]:
            self.ignored.append(f"[include] of {path}")
        _expand_here(self.sections, os.path.abspath(os.path.dirname(path)))
        return len(text)

    def _parse(self, text: str, name: str) -> None:
        self.files.append(name)
        for line, why in parse(text, name, self.sections):
            self.error(why, line)


def _expand_here(sections: Mapping[str, IniSection], directory: str) -> None:
    """Replace %(here)s in the values of the file that was read last: those of the other files have none left."""
    defaults = sections[DEFAULT].options if DEFAULT in sections else {}
    for section in sections.values():
        if section.name == DEFAULT:
            continue
        for option, node in {**defaults, **section.options}.items():
            if _HERE in node.text:
                text = node.text.replace(_HERE, directory)
                section.options[option] = Node(text, node.line, text)


class Options:
    """The options of one section. names: for expansions, beside the variables."""

    def __init__(self, reading: Reading, section: str, suffix: str) -> None:
        self.section = section
        self.line = reading.sections[section].line
        self.names: dict[str, object] = {"here": reading.here}
        self.failed = False
        self._reading = reading
        self._suffix = suffix
        own, shared = reading.sections[section], reading.sections.get(DEFAULT)
        self._options = {**(shared.options if shared else {}), **own.options}

    def node(self, option: str) -> Node | None:
        """An option as it is written, with its line."""
        return self._options.get(option)

    def raw(self, option: str, default: str = "") -> str:
        """An option without expansions."""
        node = self._options.get(option)
        return default if node is None else node.text

    def get(
        self,
        option: str,
        default: str | None,
        convert: Callable[[str], Value],
        more: Callable[[str], str] | None = None,
    ) -> Value:
        """The value of an option, or of its default, which is also used after an error. more: a second expansion."""
        found = self.get_or_none(option, convert, more, default=default)
        return convert(default or "") if found is None else found

    def get_or_none(
        self,
        option: str,
        convert: Callable[[str], Value],
        more: Callable[[str], str] | None = None,
        *,
        default: str | None = None,
    ) -> Value | None:
        """The value of an option; None if it and its default are not set, or after an error, which is reported."""
        node = self._options.get(option)
        if node is None and default is None:
            return None
        written = default or "" if node is None else node.text
        try:
            text = self.expanded(written, f"{self.section}.{option}")
            text = text if more is None else more(text)
        except ValueError as error:
            self.report(error, option)
            return None
        try:
            return convert(text)
        except ValueError as error:
            self.report(_unquoted(str(error), written, text), option)
            return None

    def expanded(self, text: str, option: str) -> str:
        """A text with its expansions. Raises ValueError."""
        return expand(text, {**self._reading.variables, **self.names}, option)

    def report(self, error: ValueError | str, option: str = "") -> None:
        """Add an error of this section, at the line of an option."""
        self.failed = True
        node = self._options.get(option)
        line = self.line if node is None else node.line
        at_run_time = isinstance(error, MissingVariableError)
        key = (self.section, option) if option else ("", "")
        self._reading.error(f"{error}{self._suffix}", line, key, at_run_time=at_run_time)

    def warn(self, text: str, option: str = "") -> None:
        """Add a warning at the line of an option."""
        node = self._options.get(option)
        self._reading.warn(text, self.line if node is None else node.line)


def _unquoted(error: str, written: str, text: str) -> str:
    """The error without the value of a variable, which may be a secret. text: the value of what is written."""
    if "%(ENV_" not in written:
        return error
    hidden = re.sub(re.escape(text), lambda _: written, error, flags=re.IGNORECASE) if text else error
    rest = hidden.replace(written, "").lower()
    if any(text[i : i + _PIECE].lower() in rest for i in range(max(1, len(text) - _PIECE + 1))):
        return f"the value of {written} is not valid"
    return hidden


def text_of(text: str) -> str:
    """The conversion of an option that is a text."""
    return text


def worded(convert: Callable[[str], Value], words: str) -> Callable[[str], Value]:
    """The conversion with one text for all errors."""

    def converted(text: str) -> Value:
        try:
            return convert(text)
        except ValueError:
            raise ValueError(f"{words} {text}") from None

    return converted
