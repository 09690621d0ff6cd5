"""Merging one tree of keys into another: Compose's rules for several files and for `extends` (13-merge.md). Pure.

Maps are merged, lists are appended, and other values replace each other. The tables below have the exceptions, by the
path of the key; `*` stands for any name. Nothing is changed in place, since YAML aliases share Nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from cohabit.config.keys.unique import without_duplicates
from cohabit.plan.draft import located
from cohabit.plan.node import LIMIT_NODES, RESET, TOO_MANY, Node, SyntaxProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.config.keys.convert import Converter

_SERVICE = "services.*."
# Maps whose keys are names.
_NAMED = frozenset(
    {"services", "networks", "volumes", "secrets", "configs", f"{_SERVICE}networks", f"{_SERVICE}ulimits"}
)
_REPLACED = frozenset({"command", "entrypoint", "healthcheck.test", "ulimits.*", "schedule"})
# Maps of variables, or lists of NAME=value; those of _TEXTS may also be one text.
_TEXTS = frozenset({"dns", "dns_search", "env_file", "label_file", "tmpfs"})
_ENTRIES = _TEXTS | {
    *("annotations", "build.additional_contexts", "build.args", "build.extra_hosts", "build.labels", "deploy.labels"),
    *("dns_opt", "environment", "extra_hosts", "labels", "sysctls"),
}
_OWN = "x-cohabit"
_MOST_STEPS = 10 * LIMIT_NODES  # values that are touched while merging: a chain of services could double them each time


class Merger:
    """Merges the trees of one input. text_of: the text of a scalar after interpolation."""

    def __init__(self, converter: Converter, text_of: Callable[[Node], str]) -> None:
        self._converter = converter
        self._text_of = text_of
        self._steps = 0

    def merged(self, base: Node, over: Node, pattern: str = "", path: str = "") -> Node:
        """The base with the values of `over`. pattern, path: of both, as in the tables and as in messages.

        A value of `over` with the tag !reset stays in the result, so that it also removes that of an earlier file;
        `pruned` removes it. Raises SyntaxProblemError: too many values.
        """
        if over.tag:
            return over
        rule = _RULES.get(pattern)
        return rule(self, base, over, pattern, path) if rule else self._plain(base, over, pattern, path)

    def pruned(self, node: Node) -> Node:
        """The tree without the values that have the tag !reset."""
        if node.tag == RESET:
            return Node(None, node.line)
        if isinstance(node.value, dict):
            return node.with_value({key: self.pruned(child) for key, child in node.value.items() if child.tag != RESET})
        if isinstance(node.value, list):
            return node.with_value([self.pruned(child) for child in node.value if child.tag != RESET])
        return node

    def unique(self, tree: Node) -> Node:
        """The tree with one entry for each key in lists of its services that have keys, such as `environment`."""
        services = tree.value.get("services") if isinstance(tree.value, dict) else None
        if services is None or not isinstance(services.value, dict) or not isinstance(tree.value, dict):
            return tree
        changed: dict[str, Node] = {}
        for name, service in services.value.items():
            if isinstance(service.value, dict):
                lists = {
                    key: shorter
                    for key, child in service.value.items()
                    if isinstance(child.value, list)
                    and len(child.value) > 1
                    and (shorter := without_duplicates(key, child, self._text_of)) is not child
                }
                if lists:
                    changed[name] = service.with_value({**service.value, **lists})
        if not changed:
            return tree
        return tree.with_value({**tree.value, "services": services.with_value({**services.value, **changed})})

    def _plain(self, base: Node, over: Node, pattern: str, path: str) -> Node:
        if over.value is None:
            return base
        if isinstance(base.value, dict) and isinstance(over.value, dict):
            return self._maps(base, over, pattern, path)
        if isinstance(base.value, list) and isinstance(over.value, list):
            return self._made(base, [*base.value, *over.value])
        if isinstance(base.value, (dict, list)):
            shape = "a map" if isinstance(base.value, dict) else "a list"
            where = located(self._converter.file, base.line)
            text = f"{path}: cannot be merged with {where}: expected {shape} as there (!override before it replaces it)"
            self._converter.mark_unread(path)
            self._converter.report(over.line, text)
            return base
        return over

    def _maps(self, base: Node, over: Node, pattern: str, path: str) -> Node:
        if not isinstance(base.value, dict) or not isinstance(over.value, dict):
            return self._plain(base, over, pattern, path)
        children = dict(base.value)
        for key, child in over.value.items():
            if key in children and (not key.startswith("x-") or key == _OWN):
                below = "*" if pattern in _NAMED else key
                inner = f"{pattern}.{below}" if pattern else below
                children[key] = self.merged(children[key], child, inner, f"{path}.{key}" if path else key)
            else:
                children[key] = child
        return self._made(base, children)

    def _made(self, base: Node, value: list[Node] | dict[str, Node]) -> Node:
        self._steps += len(value)
        if self._steps > _MOST_STEPS:
            raise SyntaxProblemError(TOO_MANY, base.line)
        return base.with_value(value)

    def _replaced(self, _base: Node, over: Node, _pattern: str, _path: str) -> Node:
        return over

    def _entries(self, base: Node, over: Node, pattern: str, _path: str) -> Node:
        if over.value is None:
            return base
        if isinstance(base.value, dict) and isinstance(over.value, dict):
            return self._made(base, {**base.value, **over.value})
        single = pattern.removeprefix(_SERVICE) in _TEXTS
        lists = [_listed(node, single=single) for node in (base, over)]
        if None in lists:
            return over  # not a valid value, which the converter reports
        first, second = (one or [] for one in lists)
        gone = {self._name(one) for one in second if one.tag == RESET}
        kept = [one for one in first if not gone or self._name(one) not in gone]
        return self._made(base, [*kept, *second])

    def _name(self, entry: Node) -> str:
        return self._text_of(entry).partition("=")[0]

    def _depends_on(self, base: Node, over: Node, pattern: str, path: str) -> Node:
        return self._by_name(base, over, pattern, path, {"condition": "service_started", "required": True})

    def _networks(self, base: Node, over: Node, pattern: str, path: str) -> Node:
        return self._by_name(base, over, pattern, path, None)

    def _by_name(self, base: Node, over: Node, pattern: str, path: str, default: dict[str, str | bool] | None) -> Node:
        """Merge lists of names or maps by name. default: what a name in a list means."""
        if isinstance(base.value, list) and isinstance(over.value, list):
            return self._made(base, [*base.value, *over.value])
        return self._plain(self._named(base, default), self._named(over, default), pattern, path)

    def _named(self, node: Node, default: dict[str, str | bool] | None) -> Node:
        if not isinstance(node.value, list):
            return node
        children: dict[str, Node] = {}
        for item in node.value:
            if isinstance(item.value, str):
                values = {key: Node(value, item.line, str(value).lower()) for key, value in (default or {}).items()}
                children[self._text_of(item)] = (
                    Node(None, item.line) if default is None else Node({}, item.line).with_value(values)
                )
        return self._made(node, children)

    def _build(self, base: Node, over: Node, pattern: str, path: str) -> Node:
        maps = [node.with_value({"context": node}) if isinstance(node.value, str) else node for node in (base, over)]
        return self._plain(maps[0], maps[1], pattern, path)

    def _logging(self, base: Node, over: Node, pattern: str, path: str) -> Node:
        """Options belong to a driver: they are merged if both have the same one, or if one has none."""
        if over.value is None:
            return base
        if not isinstance(base.value, dict) or not isinstance(over.value, dict):
            return over
        drivers = {self._text_of(keys["driver"]) for keys in (base.value, over.value) if "driver" in keys}
        return self._maps(base, over, pattern, path) if len(drivers) <= 1 else over


def _listed(node: Node, *, single: bool) -> list[Node] | None:
    """The entries as a list; None for a value that has no entries."""
    if isinstance(node.value, list):
        return node.value
    if isinstance(node.value, str) and single:
        return [node]
    if not isinstance(node.value, dict):
        return [] if node.value is None else None
    entries = []
    for key, child in node.value.items():
        name = key.replace("$", "$$")
        for value in child.value if isinstance(child.value, list) else [child]:
            text = value.value if isinstance(value.value, str) else value.text
            shown = name if value.value is None else f"{name}={text}"
            entries.append(Node(shown, child.line, shown, child.tag))
    return entries


_Rule: TypeAlias = "Callable[[Merger, Node, Node, str, str], Node]"
_RULES: dict[str, _Rule] = {
    **{f"{_SERVICE}{key}": Merger._replaced for key in _REPLACED},
    **{f"{_SERVICE}{key}": Merger._entries for key in _ENTRIES},
    "networks.*.labels": Merger._entries,
    "volumes.*.labels": Merger._entries,
    f"{_SERVICE}build": Merger._build,
    f"{_SERVICE}depends_on": Merger._depends_on,
    f"{_SERVICE}networks": Merger._networks,
    f"{_SERVICE}logging": Merger._logging,
    f"{_OWN}.logging": Merger._logging,
}
