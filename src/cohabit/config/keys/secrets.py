"""Secrets and configs as the file declares and grants them -> plan.model.Secret and Grant: references, never texts.

The top of the file says where each text comes from, a service says which of them it is handed, and as which
file. Names and targets are Compose's. delivery.py puts the files there, file_variables.py gives X_FILE its sense.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from cohabit.config.keys.resources import GrantKeys
from cohabit.config.values.user import group_id, identity
from cohabit.plan.model import FileMount, Secret
from cohabit.plan.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.fields import FileKeys
    from cohabit.config.keys.resources import ConfigKeys, SecretKeys
    from cohabit.config.text.node import Node

DIRECTORY = {"secrets": "/run/secrets", "configs": "/"}
_NAME = re.compile(r"[a-zA-Z0-9._-]*[a-zA-Z0-9_-][a-zA-Z0-9._-]*", re.ASCII)
_SOURCES = ("file", "environment", "content", "external")


class SecretReader:
    """Reads the secrets and configs of one file; `declared` is what its top says, by kind and name."""

    def __init__(self, keys: FileKeys, node: Node, converter: Converter) -> None:
        self._converter = converter
        self._written: dict[str, Node] = node.value if isinstance(node.value, dict) else {}
        self._directory = os.path.abspath(os.path.dirname(converter.file))
        self.declared = {
            "secrets": self._declared("secrets", keys.secrets or {}),
            "configs": self._declared("configs", keys.configs or {}),
        }

    def grants(
        self, kind: str, written: list[str | GrantKeys] | None, tell: Callable[[str], None]
    ) -> tuple[FileMount, ...]:
        """What a service is handed of one kind, "secrets" or "configs"; what is wrong is told."""
        found = []
        for entry in written or ():
            try:
                found.append(self._grant(kind, GrantKeys(source=entry) if isinstance(entry, str) else entry))
            except LookupError as error:
                tell(str(error.args[0]))
        return tuple(found)

    def _declared(self, kind: str, written: dict[str, SecretKeys] | dict[str, ConfigKeys]) -> dict[str, Secret]:
        nodes = self._written[kind].value if kind in self._written else {}
        lines = {name: node.line for name, node in nodes.items()} if isinstance(nodes, dict) else {}
        found: dict[str, Secret] = {}
        for name, keys in written.items():
            values = {key: getattr(keys, key, None) for key in _SOURCES}
            given = [key for key, value in values.items() if value]
            problem = ""
            if not _NAME.fullmatch(name):
                problem = "it can have no such name (letters, digits, . _ -)"
            elif len(given) != 1:
                known = [key for key in _SOURCES if hasattr(keys, key)]
                problem = f"expected one of {', '.join(known)}, got {' and '.join(given) or 'none'}"
            if problem:
                self._converter.problem(lines.get(name, 0), f"{kind}.{name}: {problem}")
            file = os.path.normpath(os.path.join(self._directory, values["file"])) if values["file"] else ""
            external = bool(values["external"])
            found[name] = Secret(file, values["environment"] or "", values["content"], external)
        return found

    def _grant(self, kind: str, keys: GrantKeys) -> FileMount:
        """One of them; LookupError, with a sentence, if that cannot be."""
        known = self.declared[kind]
        if keys.source not in known:
            hint = did_you_mean(keys.source, known) or f" (write it below {kind}: at the top of the file)"
            raise LookupError(f"there is no {kind[:-1]} {keys.source[:60]!r}{hint}")
        if ".." in (keys.target or "").split("/"):
            raise LookupError(f"the target {(keys.target or '')[:60]!r} has .. in it (write where it shall be)")
        target = os.path.normpath(os.path.join(DIRECTORY[kind], keys.target or keys.source))
        if target == DIRECTORY[kind] or (keys.target or "").endswith("/"):
            raise LookupError(f"the target {(keys.target or '')[:60]!r} is a directory (name a file in it)")
        return FileMount(
            keys.source,
            target,
            identity(keys.uid).uid if keys.uid else None,
            group_id(keys.gid) if keys.gid else None,
            None if keys.mode is None else int(keys.mode),
        )
