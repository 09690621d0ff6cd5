"""Dependencies that other keys of a service mean, as in Compose: `links`, `volumes_from`, and `service:NAME`.

The keys themselves are for the engine. A service in `depends_on` keeps what is written there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.plan.model import Dependency

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.config.keys.convert import Converter
    from cohabit.plan.node import Node

_NAMESPACES = ("network_mode", "ipc", "pid", "uts")
_SERVICE, _CONTAINER = "service:", "container:"


def implied_dependencies(written: dict[str, Node], converter: Converter, path: str) -> Iterator[tuple[str, Dependency]]:
    """Each such dependency, after its key. written: the keys of the service; path: its name in messages."""
    for text in _texts(written, "links", converter, path):
        yield "links", Dependency(text.partition(":")[0], restart=True)
    for key in _NAMESPACES:
        for text in _texts(written, key, converter, path):
            if text.startswith(_SERVICE):
                yield key, Dependency(text.removeprefix(_SERVICE), restart=True)
    for text in _texts(written, "volumes_from", converter, path):
        if not text.startswith(_CONTAINER):
            yield "volumes_from", Dependency(text.partition(":")[0])


def _texts(written: dict[str, Node], key: str, converter: Converter, path: str) -> Iterator[str]:
    """The texts of a key after interpolation: one, or those of a list."""
    node = written.get(key)
    if node is not None:
        for item in node.value if isinstance(node.value, list) else [node]:
            text = converter.text(item, f"{path}.{key}") if isinstance(item.value, str) else None
            if text:
                yield text
