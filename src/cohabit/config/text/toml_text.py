"""TOML text -> Node: tomllib parses the values, a scanner finds their lines, which tomllib does not report.

The scanner runs only on text that tomllib has accepted. A value inside an inline table or a list has the line of its
statement.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from cohabit.plan.node import LIMIT_DEPTH, TOO_DEEP, Node, SyntaxProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cohabit.plan.draft import Diagnostic

_Path: TypeAlias = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]\]?")
_STATEMENT = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")
_PARTS = re.compile(_PART)
# The tokens of a value: strings of four kinds, comments, brackets, line ends.
_VALUE_TOKEN = re.compile(
    r'"{3}(?:[^\\]|\\.)*?"{3,5}'
    r"|'{3}.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*|[\[\]{}\n]",
    re.DOTALL,
)
# A key with more parts than a tree may have levels: tomllib needs quadratic time for it. The other alternatives skip
# strings, comments and words. They are possessive, so the search needs linear time.
_DEEP_KEY = re.compile(
    rf"(?P<deep>{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{LIMIT_DEPTH}}})"
    r'|"{3}(?:[^\\]|\\.)*?"{3,5}'
    r"|'{3}.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"?'
    r"|'[^'\n]*+'?"
    r"|\#[^\n]*+|[A-Za-z0-9_-]++",
    re.DOTALL,
)
_INTEGERS = range(-(2**63), 2**63)
_TOO_LARGE = "not valid TOML: an integer does not fit into 64 bits"
_LINE_IN_ERROR = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")


class _Float(float):
    """A float that keeps its text."""

    text: str

    def __new__(cls, text: str) -> Self:
        """The value of a text."""
        made = super().__new__(cls, text)
        made.text = text
        return made


def parse(text: str, _file: str) -> tuple[list[Node], list[Diagnostic]]:
    """The text as a list of one map of Nodes, and no diagnostics. Raises SyntaxProblemError."""
    for token in _DEEP_KEY.finditer(text):
        if token["deep"]:
            raise SyntaxProblemError(TOO_DEEP, text.count("\n", 0, token.start()) + 1)
    try:
        values = tomllib.loads(text, parse_float=_Float)
    except tomllib.TOMLDecodeError as error:
        found = _LINE_IN_ERROR.search(str(error))
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        raise SyntaxProblemError(f"not valid TOML: {_LINE_IN_ERROR.sub('', str(error))}", line) from error
    except RecursionError as error:
        raise SyntaxProblemError(TOO_DEEP) from error
    except ValueError as error:  # more digits than Python converts
        raise SyntaxProblemError(_TOO_LARGE) from error
    return [_node(values, (), _lines(text), 1)], []


def _node(value: Any, path: _Path, lines: dict[_Path, int], above: int) -> Node:
    if len(path) > LIMIT_DEPTH:
        raise SyntaxProblemError(TOO_DEEP, above)
    line = lines.get(path, above)
    if isinstance(value, dict):
        children = {key: _node(item, (*path, key), lines, line) for key, item in value.items()}
        return _counted(Node(children, line), children.values())
    if isinstance(value, list):
        items = [_node(item, (*path, i), lines, line) for i, item in enumerate(value)]
        return _counted(Node(items, line), items)
    if isinstance(value, bool):
        return Node(value, line, "true" if value else "false")
    if isinstance(value, int) and value not in _INTEGERS:
        raise SyntaxProblemError(_TOO_LARGE, line)
    if isinstance(value, (_Float, int, str)):
        return Node(value, line, value.text if isinstance(value, _Float) else str(value))
    return Node(str(value), line, str(value))  # dates and times: no key accepts one


def _counted(node: Node, children: Iterable[Node]) -> Node:
    for child in children:
        node.add(child)
    return node


def _lines(text: str) -> dict[_Path, int]:
    """The line of every header and statement, by path."""
    lines: dict[_Path, int] = {}
    tables: dict[_Path, int] = {}  # number of entries of each [[array of tables]] so far
    header: _Path = ()
    at, line = 0, 1
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        if found := _HEADER.match(text, at, end):
            path = _inside(_split(found[2]), tables)
            if found[1] == "[[":
                tables[path] = tables.get(path, 0) + 1
                path = (*path, tables[path] - 1)
            header = path
            _remember(lines, path, 0, line)
        elif found := _STATEMENT.match(text, at, end):
            _remember(lines, (*header, *_split(found[1])), len(header), line)
            end = _value_end(text, found.end())
        line += text.count("\n", at, end + 1)
        at = end + 1
    return lines


def _remember(lines: dict[_Path, int], path: _Path, known: int, line: int) -> None:
    """Set the line of the path and of the tables that a dotted key creates."""
    for length in range(known + 1, len(path) + 1):
        lines.setdefault(path[:length], line)


def _inside(path: _Path, tables: dict[_Path, int]) -> _Path:
    """A header's path with the current index after each array of tables."""
    full: _Path = ()
    for position, part in enumerate(path):
        full = (*full, part)
        if full in tables and position < len(path) - 1:
            full = (*full, tables[full] - 1)
    return full


def _split(dotted: str) -> _Path:
    parts = _PARTS.findall(dotted)
    return tuple(tomllib.loads(f"x = {part}")["x"] if part[0] in "\"'" else part for part in parts)


def _value_end(text: str, at: int) -> int:
    """Offset of the line end after the value that begins at `at`."""
    depth = 0
    for token in _VALUE_TOKEN.finditer(text, at):
        if token[0] == "\n" and depth <= 0:
            return token.start()
        depth += (token[0] in "[{") - (token[0] in "]}")
    return len(text)
