"""Node: one value of a parsed text that remembers its line; the meeting point of YAML and TOML.

Knows no format and no meaning. A scalar keeps its text beside its value, because where text is asked for
people mean what they wrote: 1.10 is not 1.1.
"""

from __future__ import annotations

from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

LIMIT_NODES = 100_000
LIMIT_DEPTH = 64
TOO_DEEP = f"nested more than {LIMIT_DEPTH} deep"
TOO_MANY = f"more than {LIMIT_NODES:,} values, each alias counted as all it stands for (a YAML bomb?)"


class SyntaxProblemError(Exception):
    """The text cannot be parsed any further; `line` is 0 when the whole text is meant."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


class Node:
    """A scalar, a list of Nodes or a map of strings to Nodes.

    line: counted from 1; for a value in a map, the line of its key. text: how a scalar was written. size:
    Nodes from here on down, each alias counted as if it were written out.
    """

    __slots__ = ("line", "size", "text", "value")

    def __init__(self, value: Scalar | list[Node] | dict[str, Node], line: int, text: str = "") -> None:
        self.value = value
        self.line = line
        self.text = text
        self.size = 1

    def __repr__(self) -> str:
        return f"Node({self.value!r}, line {self.line})"

    def add(self, child: Node) -> None:
        """Count a child in; SyntaxProblemError as soon as the whole becomes too large."""
        self.size += child.size
        if self.size > LIMIT_NODES:
            raise SyntaxProblemError(TOO_MANY, child.line)

    def at(self, line: int) -> Node:
        """The same value seen from another line, as an alias is."""
        seen = Node(self.value, line, self.text)
        seen.size = self.size
        return seen

    def describe(self) -> str:
        """What stands here, for "expected …, got …"."""
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
    """Text that fits into a message."""
    return text if len(text) <= width else text[: width - 1] + "…"
