"""Secrets and configs of a file -> plan.model.Secret and FileMount: references, never texts.

The top level declares the source of each text; a service lists those that it gets and the target of each. Names and
targets are Compose's. secret_files.py writes the files, file_variables.py resolves X_FILE.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from cohabit.config.keys.resources import FileMountKeys
from cohabit.config.values.user import group_id, identity
from cohabit.lazy_pattern import lazy_pattern
from cohabit.nearest import did_you_mean
from cohabit.plan.model import FileMount, Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.fields import FileKeys
    from cohabit.config.keys.resources import ConfigKeys, SecretKeys
    from cohabit.plan.node import Node

DIRECTORY = {"secrets": "/run/secrets", "configs": "/"}
_NAME = lazy_pattern(r"[a-zA-Z0-9._-]*[a-zA-Z0-9_-][a-zA-Z0-9._-]*", re.ASCII)
_SOURCES = ("file", "environment", "content", "external")


class SecretReader:
    """Reads the secrets and configs of the input. declared: the top-level ones, by kind and name.

    directory: that of the first file.
    """

    def __init__(self, keys: FileKeys, node: Node, converter: Converter, directory: str) -> None:
        self._converter = converter
        self._written: dict[str, Node] = node.value if isinstance(node.value, dict) else {}
        self._directory = os.path.abspath(directory)
        self.declared = {
            "secrets": self._declared("secrets", keys.secrets or {}),
            "configs": self._declared("configs", keys.configs or {}),
        }

    def mounts(
        self, kind: str, written: list[str | FileMountKeys] | None, report: Callable[[str], None]
    ) -> tuple[FileMount, ...]:
        """The secrets or configs of one service. kind: "secrets" or "configs"; report(text) receives each error."""
        found = []
        for entry in written or ():
            source = entry if isinstance(entry, str) else entry.source
            if source not in self.declared[kind] and self._converter.is_unread(f"{kind}.{source}"):
                continue
            try:
                found.append(self._file_mount(kind, FileMountKeys(source=entry) if isinstance(entry, str) else entry))
            except LookupError as error:
                report(str(error.args[0]))
        return tuple(found)

    def _declared(self, kind: str, written: dict[str, SecretKeys] | dict[str, ConfigKeys]) -> dict[str, Secret]:
        nodes = self._written[kind].value if kind in self._written else {}
        lines = {name: node.line for name, node in nodes.items()} if isinstance(nodes, dict) else {}
        found: dict[str, Secret] = {}
        for name, keys in written.items():
            values = {key: getattr(keys, key, None) for key in _SOURCES}
            given = [key for key, value in values.items() if value]
            error = ""
            if self._converter.is_unread(f"{kind}.{name}"):
                continue  # reported, and what follows from it is not
            if not _NAME.fullmatch(name):
                error = "not a valid name (use letters, digits, . _ -)"
            elif len(given) != 1:
                known = [key for key in _SOURCES if hasattr(keys, key)]
                error = f"expected one of {', '.join(known)}, got {' and '.join(given) or 'none'}"
            if error:
                self._converter.mark_unread(f"{kind}.{name}")
                self._converter.report(lines.get(name, 0), f"{kind}.{name}: {error}")
                continue
            file = (
                os.path.normpath(os.path.join(self._directory, os.path.expanduser(values["file"])))
                if values["file"]
                else ""
            )
            external = bool(values["external"])
            found[name] = Secret(file, values["environment"] or "", values["content"], external)
        return found

    def _file_mount(self, kind: str, keys: FileMountKeys) -> FileMount:
        """One entry of a service. LookupError: why it is not valid."""
        known = self.declared[kind]
        if keys.source not in known:
            hint = did_you_mean(keys.source, known) or f" (declare it below the top-level {kind}:)"
            raise LookupError(f"unknown {kind[:-1]} {keys.source[:60]!r}{hint}")
        if ".." in (keys.target or "").split("/"):
            raise LookupError(f"the target {(keys.target or '')[:60]!r} contains .. (write the path without ..)")
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
