"""The files of one input: each is read and parsed once, and their number and size are limited.

A chain of files may have no end: the limits end the search.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from cohabit.config.text.source import STDIN, UnreadableError, read_text
from cohabit.plan.node import RESET, Line, Node, SyntaxProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.plan.draft import Diagnostic

LIMIT_FILES = 100
LIMIT_CHARACTERS = 4 << 20
LOCAL_ONLY = "a file of another machine is not read (copy it into the image)"
_REMOTE = ("git@", "github.com/")
_TOML, _YAML = "cohabit.config.text.toml_text", "cohabit.config.text.yaml_text"


class Files:
    """Parses files. names: in their order. has_resets: one of them has the tag !reset.

    diagnostics: receives the problems of their texts.
    """

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        self.names: list[str] = []
        self.has_resets = False
        self._diagnostics = diagnostics
        self._characters = 0
        self._texts: dict[str, str] = {}
        self._read: dict[tuple[str, Callable[[str], str | None] | None], list[Node]] = {}

    def parse(self, path: str, name: str, text: str) -> list[Node]:
        """The documents of a text. name: in messages. Raises SyntaxProblemError."""
        self.names.append(name)
        self.has_resets = self.has_resets or RESET in text
        module = import_module(_TOML if path.endswith(".toml") else _YAML)  # by name: an input has one format
        documents: list[Node]
        documents, problems = module.parse(text, name)
        self._diagnostics += problems
        return documents

    def named(self, path: str, line: int, lookup: Callable[[str], str | None] | None) -> list[Node]:
        """The documents of a file that another file names, with its name in their lines.

        line: where it is named. lookup: its variables, None for those of the input.
        Raises UnreadableError, also for a missing file; SyntaxProblemError, with the line to report.
        """
        if (path, lookup) not in self._read:
            if path not in self._texts:
                self._texts[path] = self._text(path, line)
            try:
                documents = self.parse(path, path, self._texts[path])
            except SyntaxProblemError as error:
                raise SyntaxProblemError(str(error), Line(error.line, path)) from error
            place(documents, path, lookup)
            self._read[path, lookup] = documents
        return self._read[path, lookup]

    def _text(self, path: str, line: int) -> str:
        if len(self._texts) >= LIMIT_FILES:
            raise SyntaxProblemError(f"more than {LIMIT_FILES} files are named (join some of them)", line)
        try:
            text = read_text(f"./{path}" if path == STDIN else path)
        except FileNotFoundError:
            raise UnreadableError(path, "no such file", "correct the path") from None
        self._characters += len(text)
        if self._characters > LIMIT_CHARACTERS:
            raise SyntaxProblemError(f"the files are larger than {LIMIT_CHARACTERS >> 20} MiB together", line)
        return text


def place(documents: list[Node], name: str, lookup: Callable[[str], str | None] | None = None) -> None:
    """Write the name of their file into the lines of all Nodes."""
    todo = list(documents)
    while todo:
        node = todo.pop()
        if not isinstance(node.line, Line):  # an alias shares the Nodes below it
            node.line = Line(node.line, name, lookup)
            if isinstance(node.value, (dict, list)):
                todo += node.value.values() if isinstance(node.value, dict) else node.value


def path_of(directory: str, written: str) -> str:
    """The path of a file that is written in a file of this directory."""
    return os.path.normpath(os.path.join(directory, os.path.expanduser(written)))


def is_remote(written: str) -> bool:
    """Whether a path names a file of another machine, which Compose would fetch."""
    return "://" in written or written.startswith(_REMOTE)
