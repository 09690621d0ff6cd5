"""YAML text -> Node, built from the parser's events.

yaml.load and yaml.compose are not used: they recurse (deeply nested text ends the process), lose lines and duplicate
keys, and implement YAML 1.1 (`on` is true, 22:22 is 1342). Plain scalars follow the core schema of YAML 1.2, as in
Compose. Depth and expanded size are limited while reading, so a YAML bomb is rejected early.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

from cohabit.lazy_pattern import lazy_pattern
from cohabit.plan.draft import Diagnostic, SourceLocation
from cohabit.plan.node import (
    LIMIT_DEPTH,
    LIMIT_NODES,
    OVERRIDE,
    RESET,
    TOO_DEEP,
    TOO_MANY,
    Node,
    Scalar,
    SyntaxProblemError,
)

# PyYAML compiles the patterns of its own parser when it is imported. We use libyaml's, so that they are never needed,
# and their compilation would take a quarter of the loader's time.
_compile = re.compile
re.compile = lazy_pattern
try:
    import yaml
finally:
    re.compile = _compile

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's if PyYAML was built with it
# The messages quote neither tag nor alias: an unquoted password may look like one.
UNKNOWN_TAG = "unknown tag (remove it, or quote a text that begins with !)"
NO_ANCHOR = "alias without an anchor above it (define the anchor, or quote a text that begins with *)"
_CORE_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"
_MERGING = (RESET, OVERRIDE)
_CONSTANTS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LONGEST_NUMBER = 400  # a float has at most 309 digits; Python refuses integers of more than 4300
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def parse(text: str, file: str) -> tuple[list[Node], list[Diagnostic]]:
    """The documents, and the diagnostics about single keys. Raises SyntaxProblemError."""
    return _Composer(file).compose(_events(text))


def plain_scalar(text: str) -> Scalar:
    """Value of an unquoted scalar in the core schema of YAML 1.2 (yaml.org/spec/1.2.2, section 10.3)."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "0123456789+-." or len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[1:2] in ("o", "x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan") if text[-1] in "fFnN" else text)
    return text


class _Open:
    """A map or list whose end is still to be read."""

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: Node | None = None
        self.merging = False  # the current key is <<
        self.merges: list[Node] = []


class _Composer:
    """Builds the tree from events, with its own stack."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.diagnostics: list[Diagnostic] = []
        self.anchors: dict[str, Node | None] = {}  # None: still open, so an alias to it would be infinite
        self.stack: list[_Open] = []
        self.documents: list[Node] = []
        self.count = 0

    def compose(self, events: Iterator[yaml.Event]) -> tuple[list[Node], list[Diagnostic]]:
        for event in events:
            line = _line(event)
            if isinstance(event, yaml.ScalarEvent):
                self.scalar(event, line)
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self.open(event, line)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                self.close()
            elif isinstance(event, yaml.AliasEvent):
                self.alias(event.anchor or "", line)
            elif isinstance(event, yaml.DocumentStartEvent):
                self.anchors = {}
        return self.documents, self.diagnostics

    def scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        tag, text = event.tag, event.value
        plain = event.implicit[0] and tag != "!"
        if tag and tag != "!":
            kind = tag.removeprefix(_CORE_TAG)
            plain = kind in ("int", "float", "bool", "null") or (tag in _MERGING and not event.style)
            if kind == "binary":
                text = self.binary(text, line)
            elif tag in _MERGING:
                pass
            elif not plain and kind != "str":
                self.unknown_tag(line)
        node = Node(plain_scalar(text) if plain else text, line, text, tag if tag in _MERGING else "")
        if isinstance(node.value, bool):
            node.text = "true" if node.value else "false"
        merge = plain and text == _MERGE and not event.anchor
        self.finish(node, event.anchor, merge_key=merge)

    def open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int) -> None:
        if len(self.stack) >= LIMIT_DEPTH:
            raise SyntaxProblemError(TOO_DEEP, line)
        is_map = isinstance(event, yaml.MappingStartEvent)
        tag = event.tag if event.tag in _MERGING else ""
        if event.tag and not tag and event.tag not in ("!", _CORE_TAG + ("map" if is_map else "seq")):
            self.unknown_tag(line)
        if event.anchor:
            self.anchors[event.anchor] = None
        self.stack.append(_Open(Node({} if is_map else [], line, "", tag), event.anchor))

    def close(self) -> None:
        top = self.stack.pop()
        if isinstance(top.node.value, dict):
            for source in top.merges:
                self.merge(top.node, source)
        self.finish(top.node, top.anchor)

    def alias(self, anchor: str, line: int) -> None:
        if anchor not in self.anchors:
            raise SyntaxProblemError(NO_ANCHOR, line)
        target = self.anchors[anchor]
        if target is None:
            raise SyntaxProblemError("an alias refers to a value that contains it (remove the alias)", line)
        self.finish(target.at(line), None)

    def finish(self, node: Node, anchor: str | None, *, merge_key: bool = False) -> None:
        """Add a complete value to the map or list that contains it."""
        self.count += 1
        if self.count > LIMIT_NODES:
            raise SyntaxProblemError(TOO_MANY, node.line)
        if anchor:
            self.anchors[anchor] = node
        if not self.stack:
            self.documents.append(node)
            return
        top = self.stack[-1]
        around = top.node.value
        if isinstance(around, list):
            top.node.add(node)
            around.append(node)
        elif top.key is None:
            top.key, top.merging = node, merge_key
        elif isinstance(around, dict):
            key, top.key = top.key, None
            if top.merging:
                self.collect(top, node)
            else:
                self.pair(top.node, around, key, node)

    def collect(self, top: _Open, node: Node) -> None:
        """Keep the value of a merge key, a map or a list of maps, until the map that contains it is complete."""
        for source in node.value if isinstance(node.value, list) else [node]:
            top.merges.append(source)
            if not isinstance(source.value, dict):
                self.report(node.line, f"<<: expected a map, got {source.describe()} (write <<: *anchor)")

    def pair(self, owner: Node, around: dict[str, Node], key: Node, node: Node) -> None:
        if key.tag:
            self.report(key.line, UNKNOWN_TAG)
        name = key.text if isinstance(key.value, (int, float, bool)) else key.value
        if not isinstance(name, str) or key.value is not name:
            self.report(key.line, f"a key must be a string, got {key.describe()} (put it in quotes)")
            if not isinstance(name, str):
                return
        if name in around:
            self.report(key.line, f"duplicate key {name!r}, first in line {around[name].line} (remove one)")
            return
        owner.add(node)
        node.line = key.line
        around[name] = node

    def merge(self, into: Node, source: Node) -> None:
        """YAML's merge key (yaml.org/type/merge.html): own keys take precedence, then earlier sources."""
        if isinstance(into.value, dict) and isinstance(source.value, dict):
            for name, node in source.value.items():
                if name not in into.value:
                    into.add(node)
                    into.value[name] = node

    def binary(self, text: str, line: int) -> str:
        """Text of a value with the tag !!binary: UTF-8 in base64."""
        try:
            return binascii.a2b_base64(text.encode()).decode()
        except ValueError:
            self.report(line, "not valid: the tag !!binary is for UTF-8 text in base64 (remove the tag)")
            return ""

    def unknown_tag(self, line: int) -> None:
        """Report a tag, unless it is below a key of the user."""
        keys = [str(top.key.value) for top in self.stack if top.key]
        if not any(key.startswith("x-") and key != "x-cohabit" for key in keys):
            self.report(line, UNKNOWN_TAG)

    def report(self, line: int, text: str) -> None:
        self.diagnostics.append(Diagnostic(SourceLocation(self.file, line), text))


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        _check_depth(text[: mark.index] if mark else text)
        parts = [part for part in (error.context, error.problem) if part]
        hint = ""
        written = text.split("\n")[line - 1 : line]
        if written and "\t" in written[0][: len(written[0]) - len(written[0].lstrip())]:
            hint = " (indent with spaces: YAML does not allow tabs)"
        raise SyntaxProblemError(f"not valid YAML: {', '.join(parts)}{hint}", line) from error
    except yaml.YAMLError as error:
        raise SyntaxProblemError(f"not valid YAML: {str(error).splitlines()[0]}") from error


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _check_depth(text: str) -> None:
    """Raise SyntaxProblemError if the text before an error is nested too deeply: libyaml 0.2.6 has its own limit.

    The scanner is up to 1,024 characters ahead of the events, so the collections opened before the error were not
    counted. text: the text before the error.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > LIMIT_DEPTH:
                    raise SyntaxProblemError(TOO_DEEP, _line(event))
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        pass  # the text is cut off
