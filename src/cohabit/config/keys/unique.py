"""Lists of a service whose entries have keys: of several entries with one key, the last takes the place of the first.

As Compose does after each merge, and in a single file. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.plan.node import Node

    _TextOf: TypeAlias = Callable[[Node], str]

_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - the default of the engine
_BY_NAME = (
    *("ambient_capabilities", "annotations", "cap_add", "cap_drop", "dns", "dns_opt", "dns_search", "environment"),
    *("expose", "labels", "links", "path_variables", "profiles", "sysctls", "tmpfs"),
)


def without_duplicates(key: str, node: Node, text_of: _TextOf) -> Node:
    """The list of a service's key with one entry for each key; the same Node if there is nothing to change."""
    key_of = _KEYS.get(key)
    if key_of is None or not isinstance(node.value, list):
        return node
    entries: dict[str, Node] = {}
    for item in node.value:
        entries[key_of(item, text_of)] = item
    return node if len(entries) == len(node.value) else node.with_value(list(entries.values()))


def _name(item: Node, text_of: _TextOf) -> str:
    return text_of(item).partition("=")[0]


def _path(item: Node, text_of: _TextOf) -> str:
    return _field(item, "path", text_of) if isinstance(item.value, dict) else text_of(item)


def _volume(item: Node, text_of: _TextOf) -> str:
    if isinstance(item.value, dict):
        return _field(item, "target", text_of)
    parts = text_of(item).split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _port(item: Node, text_of: _TextOf) -> str:
    if isinstance(item.value, dict):
        host, published, target, protocol = (
            _field(item, key, text_of) for key in ("host_ip", "published", "target", "protocol")
        )
    else:
        rest, _, protocol = text_of(item).partition("/")
        rest, _, target = rest.rpartition(":")
        host, _, published = rest.rpartition(":")
    return f"{host or _EVERY_ADDRESS}:{published}:{target}/{protocol or 'tcp'}"


def _mount(item: Node, text_of: _TextOf, directory: str) -> str:
    if not isinstance(item.value, dict):
        return f"{directory}/{text_of(item)}"
    return _field(item, "target", text_of) or f"{directory}/{_field(item, 'source', text_of)}"


def _field(item: Node, key: str, text_of: _TextOf) -> str:
    found = item.value.get(key) if isinstance(item.value, dict) else None
    return text_of(found) if found else ""


_KEYS: dict[str, Callable[[Node, _TextOf], str]] = {
    **dict.fromkeys(_BY_NAME, _name),
    "env_file": _path,
    "volumes": _volume,
    "devices": _volume,
    "ports": _port,
    "secrets": lambda item, text_of: _mount(item, text_of, "/run/secrets"),
    "configs": lambda item, text_of: _mount(item, text_of, ""),
}
