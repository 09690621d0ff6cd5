"""`extends` of services: the keys of another service, of this file or another, below those of the service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cohabit.config.keys.convert import UNSET
from cohabit.config.keys.fields import ServiceKeys
from cohabit.config.keys.rebase import Rebase
from cohabit.config.readers.files import LOCAL_ONLY, is_remote, path_of
from cohabit.config.text.source import UnreadableError
from cohabit.nearest import did_you_mean
from cohabit.plan.draft import located
from cohabit.plan.node import RESET, Node
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.merge import Merger
    from cohabit.config.readers.files import Files
    from cohabit.config.readers.include import Scope


class _Place(Record):
    """The services of one file. path: "" for the document itself. prefix: the file's directory, from the scope's."""

    path: str
    services: dict[str, Node]
    prefix: str


class Extends:
    """Resolves `extends`. text_of: the text of a scalar after interpolation."""

    def __init__(self, files: Files, merger: Merger, converter: Converter, text_of: Callable[[Node], str]) -> None:
        self._files = files
        self._merger = merger
        self._converter = converter
        self._text_of = text_of

    def applied(self, document: Node, path: str, scope: Scope) -> Node:
        """The document without `extends`: each service has the keys of the service that it extends. path: its file."""
        around = _map(document)
        services = _map(around.get("services"))
        if not any("extends" in _map(service) for service in services.values()):
            return document
        done: dict[tuple[str, str], Node] = {}
        here = _Place("", services, "")
        changed = {
            name: self._service(name, here, path, scope, done) if "extends" in _map(service) else service
            for name, service in services.items()
        }
        return document.with_value({**around, "services": around["services"].with_value(changed)})

    def _service(self, name: str, place: _Place, path: str, scope: Scope, done: dict[tuple[str, str], Node]) -> Node:
        """A service with its base below it. The bases are followed in a loop, since a chain may be long."""
        chain: dict[tuple[str, str], tuple[str, Node]] = {}
        found: Node | None = None
        while True:
            key = place.path, name
            if key in done:
                found = done[key]
                break
            node = place.services[name]
            if key in chain:
                names = " -> ".join([*(one for _, one in list(chain)[list(chain).index(key) :]), name])
                self._converter.report(node.line, f"services.{name}.extends: a cycle: {names} (remove one of them)")
                break
            own = node.with_value({k: v for k, v in _map(node).items() if k != "extends"}) if _map(node) else node
            chain[key] = name, Rebase(place.prefix, self._text_of).service(own) if place.prefix else own
            base = self._base(name, _map(node).get("extends"), place, path, scope)
            if base is None:
                break
            place, name = base
        for key, (name, own) in reversed(chain.items()):
            if found is None:
                found = own
            else:
                below = self._merger.pruned(found) if self._files.has_resets else found
                found = self._merger.merged(below, own, "services.*", f"services.{name}").at(own.line)
                found.tag = own.tag
            done[key] = found
        return found or Node(None, 1)

    def _base(
        self, name: str, written: Node | None, place: _Place, path: str, scope: Scope
    ) -> tuple[_Place, str] | None:
        """Where the service is that a service extends; None if there is none, or if that is reported."""
        if written is None or written.tag == RESET:
            return None
        key = f"services.{name}.extends"
        keys = self._converter.convert_key(written, ServiceKeys, "extends", key)
        if not keys or keys is UNSET:
            return None
        wanted, file = (keys, None) if isinstance(keys, str) else (keys.service, keys.file)
        if file:
            if is_remote(file):
                self._converter.report(written.line, f"{key}.file: {LOCAL_ONLY}")
                return None
            prefix = os.path.normpath(os.path.join(place.prefix, os.path.dirname(os.path.expanduser(file))))
            path = path_of(os.path.join(scope.directory, place.prefix), file)
            try:
                documents = self._files.named(path, written.line, scope.lookup)
            except UnreadableError as error:
                self._converter.report(written.line, f"{key}.file: {error}")
                return None
            place = _Place(path, self._services(documents), "" if prefix == "." else prefix)
        if wanted not in place.services:
            shown = place.path or located(path, written.line).file
            hint = did_you_mean(wanted, place.services) or " (a service of another file needs file: FILE)"
            self._converter.report(written.line, f"{key}: there is no service {wanted[:60]!r} in {shown}{hint}")
            return None
        return place, wanted

    def _services(self, documents: list[Node]) -> dict[str, Node]:
        """The services of another file as they are written; its own `include` has no effect, as in Compose."""
        services = Node(None, 0)
        for document in documents:
            if "services" in _map(document):
                services = self._merger.merged(services, _map(document)["services"], "services", "services")
                services = self._merger.pruned(services) if self._files.has_resets else services
        return _map(services)


def _map(node: Node | None) -> dict[str, Node]:
    return node.value if node and isinstance(node.value, dict) else {}
