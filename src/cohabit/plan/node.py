"""Node: one value of a parsed text with its line; the common form of YAML and TOML.

A scalar keeps its text beside its value: where a string is expected, 1.10 is not 1.1.
"""

from __future__ import annotations

from typing import TypeAlias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

Scalar: TypeAlias = str | int | float | bool | None

LIMIT_NODES = 100_000
LIMIT_DEPTH = 64
# Tags of the Compose specification (13-merge.md): remove the value of the files before, or replace it without merging.
RESET, OVERRIDE = "!reset", "!override"
TOO_DEEP = f"nested more than {LIMIT_DEPTH} levels deep"
TOO_MANY = f"more than {LIMIT_NODES:,} values after the expansion of aliases (is it a YAML bomb?)"


class SyntaxProblemError(Exception):
    """The text cannot be parsed. line: 0 for the whole text."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


class Line(int):
    """A line of one of several files that are read together.

    file: its name in messages. lookup: the variables of this file, None for those of the whole input.
    """

    file: str
    lookup: Callable[[str], str | None] | None

    def __new__(cls, number: int, file: str, lookup: Callable[[str], str | None] | None = None) -> Self:
        """The line with this number."""
        made = super().__new__(cls, number)
        made.file = file
        made.lookup = lookup
        return made


class Node:
    """A scalar, a list of Nodes or a map of strings to Nodes.

    line: counted from 1; for a value in a map, the line of its key. It is a Line if several files are read. text: a
    scalar as written. size: the number of Nodes in this subtree, with aliases expanded. tag: "", RESET or OVERRIDE.
    """

    __slots__ = ("line", "size", "tag", "text", "value")

    def __init__(self, value: Scalar | list[Node] | dict[str, Node], line: int, text: str = "", tag: str = "") -> None:
        self.value = value
        self.line = line
        self.text = text
        self.tag = tag
        self.size = 1

    def __repr__(self) -> str:
        return f"Node({self.value!r}, line {self.line})"

    def add(self, child: Node) -> None:
        """Add the size of a child. Raises SyntaxProblemError when the total exceeds the limit."""
        self.size += child.size
        if self.size > LIMIT_NODES:
            raise SyntaxProblemError(TOO_MANY, child.line)

    def with_value(self, value: list[Node] | dict[str, Node]) -> Node:
        """The same place and tag with another list or map. Raises SyntaxProblemError, as add() does."""
        made = Node(value, self.line, "", self.tag)
        for child in value.values() if isinstance(value, dict) else value:
            made.add(child)
        return made

    def at(self, line: int) -> Node:
        """The same value with another line, for an alias."""
        seen = Node(self.value, line, self.text, self.tag)
        seen.size = self.size
        return seen

    def describe(self) -> str:
        """The value as text for "expected …, got …"."""
        if isinstance(self.value, dict):
            return "a map"
        if isinstance(self.value, list):
            return "a list"
        if self.value is None:
            return "nothing"
        if isinstance(self.value, str):
            return repr(shorten(self.value))
        return shorten(self.text)


def shorten(text: str, width: int = 60) -> str:
    """The text, cut to at most `width` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def line_of(written: dict[str, Node], key: str) -> int:
    """The line of a key, or of an entry of its map or list, "depends_on.db"; 0 if the key is not written.

    The line of the key stands for an entry that is not found. Only the first dot separates: names contain dots, too.
    """
    name, _, entry = key.partition(".")
    if name not in written:
        return 0
    node = written[name]
    found = None
    if entry and isinstance(node.value, dict):
        found = node.value.get(entry)
    elif entry and isinstance(node.value, list):
        found = next((one for one in node.value if one.text == entry), None)
    return (found or node).line
