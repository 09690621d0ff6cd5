"""Node -> values of the types in the tables of keys, with a diagnostic and its line for each error.

The converter walks the Nodes along the msgspec types, interpolates variables and lets msgspec convert each scalar
separately: msgspec alone stops at the first error. The keys themselves are in fields.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import UNSET, inspect

from cohabit.config.text.node import Node, shorten
from cohabit.config.values.interpolate import InterpolationError, MissingVariableError, expand
from cohabit.config.values.unquotable import Unquotable
from cohabit.plan.draft import Diagnostic, SourceLocation
from cohabit.plan.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_KEYS: frozenset[str] = frozenset()
_SHORT_LIST = 8  # a message lists at most so many keys
# What Compose accepts as a boolean in the value of a variable.
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "y", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "0"), False),
}
_MOST_HINTS = 100
_NO_EFFECT = ("", "1", "false", "none")
_LEAVES: dict[type, tuple[type, str]] = {
    inspect.StrType: (str, "a string"),
    inspect.BoolType: (bool, "true or false"),
}


class Converter:
    """Converts the Nodes of one file and appends each error to `diagnostics`."""

    def __init__(self, file: str, lookup: Callable[[str], str | None], diagnostics: list[Diagnostic]) -> None:
        self.file = file
        self.lookup = lookup
        self.diagnostics = diagnostics
        self._types: dict[type, inspect.Type] = {}
        self._reported_unset: set[str] = set()
        self._interpolated = Unquotable()

    def report(self, line: int, text: str, *, warning: bool = False) -> None:
        """Add a diagnostic. Values of variables that the text quotes are replaced by …."""
        self.diagnostics.append(Diagnostic(SourceLocation(self.file, line), self._interpolated.hide(text), warning))

    def _look_up(self, name: str) -> str | None:
        value = self.lookup(name)
        self._interpolated.add(value or "")
        return value

    def convert(self, node: Node, kind: type, path: str) -> Any:
        """The Node as a value of a Struct type; UNSET if it cannot be converted, which is reported."""
        if kind not in self._types:
            self._types[kind] = inspect.type_info(kind)
        return self._any(node, self._types[kind], path)

    def _text(self, node: Node, path: str) -> str | None:
        """Text of a scalar after interpolation; None if that fails, which is reported."""
        if not isinstance(node.value, str):
            return node.text
        unset: list[str] = []
        try:
            text = expand(node.value, self._look_up, unset)
        except MissingVariableError as error:
            self.report(node.line, f"{path}: {error.anonymous if _is_confidential(path) else error}")
            return None
        except InterpolationError as error:
            self.report(node.line, f"{path}: {error}")
            return None
        if unset and _is_confidential(path):
            message = f"{path}: a variable in it is not set: replaced by an empty string (write $$ for a literal $)"
            self.report(node.line, message, warning=True)
            return text
        for name in unset:
            if name not in self._reported_unset:
                self._reported_unset.add(name)
                self.report(node.line, f"the variable {name} is not set: replaced by an empty string", warning=True)
        return text

    def _may_hint(self) -> bool:
        """Whether to search for "did you mean": after 100 errors the search would take minutes."""
        return len(self.diagnostics) < _MOST_HINTS

    def _any(self, node: Node, kind: inspect.Type, path: str) -> Any:
        """Convert to the alternative of the type that has the shape of the Node."""
        choices = _choices(kind)
        if any(isinstance(choice, inspect.CustomType) and choice.cls is Node for choice in choices):
            return None if node.value is None else node  # its type depends on another key; its reader converts it
        shape = _shape(node)
        fitting = [choice for choice in choices if shape in _SHAPES.get(type(choice), ("scalar",))]
        if not fitting:
            got = "a string" if isinstance(node.value, str) and _is_confidential(path) else node.describe()
            self.report(node.line, f"{path}: expected {_expected(choices)}, got {got}")
            return UNSET
        if shape == "nothing":
            return None
        chosen = fitting[0]
        if isinstance(chosen, inspect.StructType):
            return self._struct(node, chosen, path)
        if isinstance(chosen, inspect.DictType):
            return self._dict(node, chosen, path)
        if isinstance(chosen, inspect.ListType):
            return self._list(node, chosen, path)
        return self._leaf(node, chosen, choices, path)

    def _struct(self, node: Node, kind: inspect.StructType, path: str) -> Any:
        assert isinstance(node.value, dict)  # noqa: S101 - chosen by its shape
        cls = kind.cls
        fields = {item.encode_name: item for item in kind.fields}
        values: dict[str, Any] = {}
        for key, child in node.value.items():
            below = f"{path}.{key}" if path else key
            if key in fields:
                value = self._any(child, fields[key].type, below)
                if value is not UNSET:
                    values[fields[key].name] = value
            elif key in getattr(cls, "unsupported", _NO_KEYS):
                if _has_effect(child):
                    self.report(child.line, f"{below}: ignored: not supported yet", warning=True)
            elif key not in getattr(cls, "ignored", _NO_KEYS) and not key.startswith("x-"):
                hint = _hint(key, cls, list(fields)) if self._may_hint() else ""
                self.report(child.line, f"{below}: unknown key{hint}")
        missing = [item for name, item in fields.items() if item.required and name not in node.value]
        for item in missing:
            text = f"{path}: {item.encode_name} is missing (write {item.encode_name}: {_expected(_choices(item.type))})"
            self.report(node.line, text)
        if any(item.required and item.name not in values for item in kind.fields):
            return UNSET
        return cls(**values)

    def _dict(self, node: Node, kind: inspect.DictType, path: str) -> Any:
        assert isinstance(node.value, dict)  # noqa: S101 - chosen by its shape
        items = {
            key: self._any(child, kind.value_type, f"{path}.{key}" if path else key)
            for key, child in node.value.items()
        }
        return {key: item for key, item in items.items() if item is not UNSET}

    def _list(self, node: Node, kind: inspect.ListType, path: str) -> Any:
        assert isinstance(node.value, list)  # noqa: S101 - chosen by its shape
        items = [self._any(child, kind.item_type, f"{path}[{i}]") for i, child in enumerate(node.value)]
        return [item for item in items if item is not UNSET]

    def _leaf(self, node: Node, kind: inspect.Type, choices: list[inspect.Type], path: str) -> Any:
        text = self._text(node, path)
        if text is None:
            return UNSET
        if "\0" in text:
            self.report(node.line, f"{path}: contains a NUL character (remove it)")
            return UNSET
        cls = _leaf_type(kind)
        try:
            if cls is bool:
                return msgspec.convert(_BOOLEANS.get(text.lower(), text), bool)
            return msgspec.convert(text, cls, dec_hook=_parse)
        except msgspec.ValidationError as error:
            got = repr(shorten(text)) if isinstance(node.value, str) else shorten(text)
            got = "another value" if _is_confidential(path) else got
            if isinstance(error.__cause__, ValueError):
                self.report(node.line, f"{path}: {error.__cause__}")
            else:
                known = kind.values if isinstance(kind, inspect.LiteralType) else ()
                hint = did_you_mean(text, [str(value) for value in known]) if self._may_hint() else ""
                self.report(node.line, f"{path}: expected {_expected(choices)}, got {got}{hint}")
            return UNSET


_SHAPES: dict[type, tuple[str, ...]] = {
    inspect.StructType: ("map",),
    inspect.DictType: ("map",),
    inspect.ListType: ("list",),
    inspect.NoneType: ("nothing",),
}


def _is_confidential(path: str) -> bool:
    """Whether the value at a path is that of a variable or the text of a config: messages do not quote it."""
    parts = path.split(".")
    return any(part.partition("[")[0] in ("environment", "content") for part in parts)


def _shape(node: Node) -> str:
    if isinstance(node.value, dict):
        return "map"
    if isinstance(node.value, list):
        return "list"
    return "nothing" if node.value is None else "scalar"


def _choices(kind: inspect.Type) -> list[inspect.Type]:
    """The alternatives of a type, without its metadata."""
    if isinstance(kind, inspect.Metadata):
        return _choices(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [choice for alternative in kind.types for choice in _choices(alternative)]
    return [kind]


def _leaf_type(kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.CustomType):
        return kind.cls
    if isinstance(kind, inspect.LiteralType):
        return Literal[kind.values]
    return _LEAVES[type(kind)][0]


def _parse(cls: type, text: Any) -> Any:
    return cls.parse(text)  # type: ignore[attr-defined]  # every custom type in the tables has it


def _expected(choices: list[inspect.Type]) -> str:
    """The alternatives as text: "a string or a list"."""
    names: list[str] = []
    for kind in choices:
        if isinstance(kind, inspect.CustomType):
            names.append(str(vars(kind.cls)["expected"]))
        elif isinstance(kind, inspect.LiteralType):
            names += [str(value) for value in kind.values]
        elif isinstance(kind, inspect.StructType):
            required = [item.encode_name for item in kind.fields if item.required]
            names.append(f"a map with {' and '.join(required)}" if required else "a map")
        elif isinstance(kind, inspect.DictType):
            names.append("a map")
        elif isinstance(kind, inspect.ListType):
            names.append("a list")
        elif not isinstance(kind, inspect.NoneType):
            names.append(_LEAVES[type(kind)][1])
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _hint(key: str, cls: type, fields: list[str]) -> str:
    """The end of the message about an unknown key."""
    known = [*fields, *sorted(getattr(cls, "unsupported", _NO_KEYS) | getattr(cls, "ignored", _NO_KEYS))]
    listed = (
        f" (known keys: {', '.join(known)})" if len(known) <= _SHORT_LIST else " (a key of your own begins with x-)"
    )
    return did_you_mean(key, known) or listed


def _has_effect(node: Node) -> bool:
    """Whether an unsupported key asks for something other than the default."""
    if isinstance(node.value, (dict, list)):
        return bool(node.value)
    return node.value is not None and node.text not in _NO_EFFECT
