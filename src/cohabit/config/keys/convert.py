"""Node -> values of the types in the tables of keys, with a diagnostic and its line for each error.

The converter walks the Nodes along the types and interpolates variables. The keys themselves are in fields.py, the form
of their types is in table.py.
"""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from cohabit.config.keys.engine_keys import TOP_LEVEL, unknown_below
from cohabit.config.keys.table import Keys, choices, fields_of
from cohabit.config.values.interpolate import InterpolationError, MissingVariableError, expand, has_substitution
from cohabit.config.values.unquotable import Unquotable
from cohabit.nearest import did_you_mean, nearest
from cohabit.plan.draft import Diagnostic, located
from cohabit.plan.node import Line, Node, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

UNSET: Any = object()  # in place of a value that cannot be converted
_SHORT_LIST = 8  # a message lists at most so many keys
# What Compose accepts as a boolean in the value of a variable.
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "y", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "0"), False),
}
_MOST_HINTS = 100
_NAMES = {str: "a string", bool: "true or false"}
_EMPTY: Any = object()  # a text that is empty after interpolation where a text has no meaning: as if not written
_CONFIDENTIAL = frozenset({"environment", "content"})
_MAY_SUBSTITUTE = frozenset({"command", "entrypoint", "test", "content", "options"})  # these may be read by a shell


class Converter:
    """Converts the Nodes of one file and appends each error to `diagnostics`."""

    def __init__(self, file: str, lookup: Callable[[str], str | None], diagnostics: list[Diagnostic]) -> None:
        self.file = file
        self.lookup = lookup
        self.diagnostics = diagnostics
        self._reported_unset: set[str] = set()
        self._interpolated = Unquotable()
        self._foreign: dict[str, Node] = {}
        self._reported_missing: set[str] = set()
        self._unread: set[str] = set()  # the paths of keys that have an error, and of what contains them

    def report(self, line: int, text: str, *, warning: bool = False, at_run_time: bool = False) -> None:
        """Add a diagnostic. Values of variables that the text quotes are replaced by …."""
        where, text = located(self.file, line), self._interpolated.hide(text)
        self.diagnostics.append(Diagnostic(where, text, warning, at_run_time=at_run_time))

    def lookup_of(self, node: Node) -> Callable[[str], str | None]:
        """The variables for the text of a Node: those of its file."""
        own = node.line.lookup if isinstance(node.line, Line) else None

        def look_up(name: str) -> str | None:
            value = (own or self.lookup)(name)
            self._interpolated.add(value or "")
            return value

        return look_up

    def convert(self, node: Node, table: type[Keys], path: str) -> Any:
        """The Node as the values of a table; UNSET if it cannot be converted, which is reported."""
        return self._any(node, (table,), path)

    def convert_key(self, node: Node, table: type[Keys], key: str, path: str) -> Any:
        """The Node as the value of one key of a table; UNSET if it cannot be converted, which is reported."""
        value = self._any(node, fields_of(table)[key].choices, path)
        return UNSET if value is _EMPTY else value

    def mark_unread(self, path: str) -> None:
        """Note that the key at a path has an error; for a misspelt key, the path of the key that is meant."""
        while path and path not in self._unread:
            self._unread.add(path)
            path = path.rpartition(".")[0]

    def is_unread(self, path: str) -> bool:
        """Whether the key at a path, or one below it, has an error, so that what follows from it is not reported."""
        return path in self._unread

    def take_foreign(self, prefix: str) -> dict[str, Node]:
        """The keys without an effect here that were met since the last call, by their paths without the prefix."""
        taken = {path.removeprefix(prefix): node for path, node in self._foreign.items()}
        self._foreign.clear()
        return taken

    def text(self, node: Node, path: str) -> str | None:
        """Text of a scalar after interpolation; None if that fails, which is reported."""
        if not isinstance(node.value, str):
            return node.text
        unset: list[str] = []
        try:
            text = expand(node.value, self.lookup_of(node), unset)
        except MissingVariableError as error:
            if error.name in self._reported_missing:
                return None
            self._reported_missing.add(error.name)
            text = f"{path}: {error.anonymous if _is_confidential(path) else error}"
            self.report(node.line, text, at_run_time=True)
            return None
        except InterpolationError as error:
            self.report(node.line, f"{path}: {error}")
            return None
        if has_substitution(node.value) and _MAY_SUBSTITUTE.isdisjoint(_parts(path)):
            self.report(node.line, f"{path}: $(…) in it stays as it is: no shell runs", warning=True)
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

    def _any(self, node: Node, kinds: tuple[Any, ...], path: str) -> Any:
        """Convert to the alternative of a type that has the shape of the Node."""
        if Node in kinds:
            return None if node.value is None else node  # its type depends on another key; its reader converts it
        shape = _shape(node)
        fitting = [kind for kind in kinds if _shape_of(kind) == shape]
        if not fitting:
            got = "a string" if isinstance(node.value, str) and _is_confidential(path) else node.describe()
            self.report(node.line, f"{path}: expected {_expected(kinds)}, got {got}")
            return UNSET
        if isinstance(node.value, dict):
            return self._map(node, node.value, fitting[0], path)
        if isinstance(node.value, list):
            item_kinds = choices(*get_args(fitting[0]))
            items = [self._any(child, item_kinds, f"{path}[{i}]") for i, child in enumerate(node.value)]
            return [item for item in items if item is not UNSET and item is not _EMPTY]
        return None if shape == "nothing" else self._leaf(node, fitting[0], kinds, path)

    def _map(self, node: Node, children: dict[str, Node], kind: Any, path: str) -> Any:
        """The values of a table, or a dict."""
        if get_origin(kind) is not dict:
            return self._table(node, children, kind, path)
        item_kinds = choices(get_args(kind)[1])
        items = {key: self._any(child, item_kinds, f"{path}.{key}" if path else key) for key, child in children.items()}
        for key in [key for key, item in items.items() if item is UNSET]:
            self.mark_unread(f"{path}.{key}")
        return {key: item for key, item in items.items() if item is not UNSET and item is not _EMPTY}

    def _table(self, node: Node, children: dict[str, Node], table: type[Keys], path: str) -> Any:
        fields = fields_of(table)
        values: dict[str, Any] = {}
        for key, child in children.items():
            below = f"{path}.{key}" if path else key
            if key in fields:
                value = self._any(child, fields[key].choices, below)
                if value is _EMPTY and fields[key].required:
                    self.report(child.line, f"{below}: expected {_expected(fields[key].choices)}, got an empty text")
                elif value is UNSET:
                    self.mark_unread(below)
                elif value is not _EMPTY:
                    values[fields[key].attribute] = value
            elif key in table.ignored or key.startswith("x-"):
                self._foreign[below] = child
                self._check_ignored(child, key if path else TOP_LEVEL + key, below)
            else:
                meant = nearest(key, _known(table)) if self._may_hint() else None
                self.mark_unread(below.removesuffix(key) + (meant or key))
                self.report(child.line, f"{below}: unknown key{_hint(meant, _known(table))}")
        required = {key: field for key, field in fields.items() if field.required}
        for key, field in required.items():
            if key not in children and not self.is_unread(f"{path}.{key}"):
                self.report(node.line, f"{path}: {key} is missing (write {key}: {_expected(field.choices)})")
        return table(**values) if all(field.attribute in values for field in required.values()) else UNSET

    def _check_ignored(self, node: Node, schema: str, path: str) -> None:
        """Warn of keys below an ignored key that the Compose specification does not have."""
        for line, below, key, known in unknown_below(node, schema, path):
            meant = nearest(key, known) if self._may_hint() else None
            hint = _hint(meant, known)
            self.report(line, f"{below}.{key}: unknown key{hint}; ignored here, an error in Compose", warning=True)

    def _leaf(self, node: Node, kind: Any, kinds: tuple[Any, ...], path: str) -> Any:
        text = self.text(node, path)
        if text is None:
            return UNSET
        if "\0" in text:
            self.report(node.line, f"{path}: contains a NUL character (remove it)")
            return UNSET
        if kind is str:
            return text
        if not text:
            return _EMPTY
        known = sorted(get_args(kind)) if get_origin(kind) is Literal else []
        if kind is bool and text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        if text in known:
            return text
        if kind is bool or known:
            got = repr(shorten(text)) if isinstance(node.value, str) else shorten(text)
            got = "another value" if _is_confidential(path) else got
            hint = did_you_mean(text, known) if self._may_hint() else ""
            self.report(node.line, f"{path}: expected {_expected(kinds)}, got {got}{hint}")
            return UNSET
        try:
            return kind.parse(text)
        except ValueError as error:
            self.report(node.line, f"{path}: {error}")
            return UNSET


def _is_confidential(path: str) -> bool:
    """Whether the value at a path is that of a variable or the text of a config: messages do not quote it."""
    return not _CONFIDENTIAL.isdisjoint(_parts(path))


def _parts(path: str) -> list[str]:
    """The keys of a path: services, web and command of "services.web.command[0]"."""
    return [part.partition("[")[0] for part in path.split(".")]


def _shape(node: Node) -> str:
    if isinstance(node.value, dict):
        return "map"
    if isinstance(node.value, list):
        return "list"
    return "nothing" if node.value is None else "scalar"


@cache
def _shape_of(kind: Any) -> str:
    """The shape of the values of a type."""
    if kind is NoneType:
        return "nothing"
    if get_origin(kind) is list:
        return "list"
    is_table = isinstance(kind, type) and issubclass(kind, Keys)
    return "map" if is_table or get_origin(kind) is dict else "scalar"


def _expected(kinds: tuple[Any, ...]) -> str:
    """The alternatives as text: "a string or a list"."""
    names: list[str] = []
    for kind in kinds:
        shape = _shape_of(kind)
        if get_origin(kind) is Literal:
            names += sorted(get_args(kind))
        elif kind in _NAMES:
            names.append(_NAMES[kind])
        elif shape == "scalar":
            names.append(kind.expected)
        elif shape == "map" and get_origin(kind) is not dict:
            required = [key for key, field in fields_of(kind).items() if field.required]
            names.append(f"a map with {' and '.join(required)}" if required else "a map")
        elif shape != "nothing":
            names.append(f"a {shape}")
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _known(table: type[Keys]) -> list[str]:
    """The keys that a table accepts."""
    return [*fields_of(table), *sorted(table.ignored)]


def _hint(meant: str | None, known: list[str]) -> str:
    """The end of the message about an unknown key. meant: the nearest known one."""
    if meant:
        return f" (did you mean {meant!r}?)"
    return f" (known keys: {', '.join(known)})" if len(known) <= _SHORT_LIST else " (a key of your own begins with x-)"
