"""Relative paths of a file in another directory, as seen from the directory of the file that names it. Pure.

Compose resolves the same keys (compose-spec, extends and include).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cohabit.plan.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable

# Below a service: a path, a list of paths, or a map with paths.
_SERVICE = {
    "env_file": ("path",),
    "label_file": (),
    "build": ("context", "additional_contexts"),
    "volumes": ("source",),
}
_NOT_PATHS = ("/", "~", "git@", "github.com/", "service:")


class Rebase:
    """Adds a directory to relative paths. text_of: the text of a scalar after interpolation."""

    def __init__(self, directory: str, text_of: Callable[[Node], str]) -> None:
        self._directory = directory
        self._text_of = text_of

    def tree(self, node: Node) -> Node:
        """A whole file."""
        if not isinstance(node.value, dict):
            return node
        below = {"services": self.service, "secrets": self._source, "configs": self._source}
        return node.with_value(
            {key: self._each(child, below[key]) if key in below else child for key, child in node.value.items()}
        )

    def service(self, node: Node) -> Node:
        """One service."""
        if not isinstance(node.value, dict):
            return node
        changed = {key: self._paths(node.value[key], key) for key in _SERVICE if key in node.value}
        watch = node.value.get("develop")
        if watch and isinstance(watch.value, dict) and "watch" in watch.value:
            rules = self._each(watch.value["watch"], lambda rule: self._fields(rule, ("path",)))
            changed["develop"] = watch.with_value({**watch.value, "watch": rules})
        return node.with_value({**node.value, **changed}) if changed else node

    def _source(self, node: Node) -> Node:
        return self._fields(node, ("file",))

    def _paths(self, node: Node, key: str) -> Node:
        if isinstance(node.value, list):
            return node.with_value([self._paths(item, key) for item in node.value])
        if isinstance(node.value, dict):
            is_volume = key == "volumes" and self._text_of(node.value.get("type", Node("", 0))) != "bind"
            return node if is_volume else self._fields(node, _SERVICE[key])
        if key == "volumes":  # a source without ./ is the name of a volume
            return self._joined(node) if self._text_of(node).startswith(("./", "../", ".:")) else node
        return self._joined(node)

    def _fields(self, node: Node, keys: tuple[str, ...]) -> Node:
        if not isinstance(node.value, dict):
            return node
        changed = {
            key: self._each(node.value[key], self._joined)
            if isinstance(node.value[key].value, dict)
            else self._joined(node.value[key])
            for key in keys
            if key in node.value
        }
        return node.with_value({**node.value, **changed}) if changed else node

    def _each(self, node: Node, change: Callable[[Node], Node]) -> Node:
        if isinstance(node.value, dict):
            return node.with_value({key: change(child) for key, child in node.value.items()})
        return node.with_value([change(child) for child in node.value]) if isinstance(node.value, list) else node

    def _joined(self, node: Node) -> Node:
        """The path below the directory. What it begins with is known only after interpolation."""
        text = self._text_of(node)
        if not isinstance(node.value, str) or not text or text.startswith(_NOT_PATHS) or "://" in text:
            return node
        head, dollar, tail = node.value.partition("$")  # .. after a variable cannot be resolved here
        path = os.path.normpath(os.path.join(self._directory, head))
        if dollar and (not head or head.endswith("/")):
            path += "/"
        if not path.startswith(("/", "../")):
            path = f"./{path}"
        written = path.replace("$", "$$") + dollar + tail
        return Node(written, node.line, written, node.tag)
