"""The variables of services: `environment`, `env_file`, and the .env file in the directory of the file.

Each file is read once. dotenv.py parses them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cohabit.config.keys.fields import EnvFileKeys
from cohabit.config.text.source import STDIN, UnreadableError, read_text
from cohabit.config.values import dotenv
from cohabit.plan.draft import Diagnostic, SourceLocation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.fields import ServiceKeys
    from cohabit.plan.node import Node


class Environment:
    """The variables of one cohabit file; `lookup` is for interpolation."""

    def __init__(self, file: str, environ: Mapping[str, str], diagnostics: list[Diagnostic]) -> None:
        self._directory = "" if file == STDIN else os.path.dirname(file)
        self._environ = environ
        self._diagnostics = diagnostics
        self._files: dict[tuple[str, bool], dict[str, str]] = {}
        self._beside: dict[str, str] = {}
        beside = os.path.join(self._directory, ".env")
        if os.path.isfile(beside):
            try:
                self._beside = self._read(beside, EnvFileKeys(path=beside, required=False))
            except UnreadableError as error:
                diagnostics.append(Diagnostic(SourceLocation(beside), str(error)))

    def lookup(self, name: str) -> str | None:
        """Value of a variable: from the environment, otherwise from the .env file; None if it is not set."""
        value = self._environ.get(name)
        return self._beside.get(name) if value is None else value

    def of_service(self, keys: ServiceKeys, node: Node, path: str, converter: Converter) -> dict[str, str | None]:
        """All variables of a service: `environment` overrides `env_file`. None removes an inherited variable."""
        values: dict[str, str | None] = {}
        written = node.value if isinstance(node.value, dict) else {}
        entries = [keys.env_file] if isinstance(keys.env_file, str) else keys.env_file or []
        for entry in entries:
            item = EnvFileKeys(path=entry) if isinstance(entry, str) else entry
            try:
                values.update(self._read(os.path.join(self._directory, item.path), item))
            except UnreadableError as error:
                converter.report(written["env_file"].line, f"{path}.env_file: {error}")
        line = written["environment"].line if "environment" in written else node.line
        return values | self.variables(keys.environment, line, path, converter)

    def variables(
        self, written: dict[str, str | None] | list[str] | None, line: int, path: str, converter: Converter
    ) -> dict[str, str | None]:
        """`environment` in either form. A name without a value takes cohabit's own; None if it is not set."""
        values: dict[str, str | None] = {}
        for name, value in _pairs(written):
            if not name or "=" in name or "\0" in name:
                text = f"{path}.environment: invalid variable name of {len(name)} characters (write NAME: value)"
                converter.report(line, text)
            else:
                values[name] = self.lookup(name) if value is None else value
        return values

    def _read(self, path: str, item: EnvFileKeys) -> dict[str, str]:
        """Variables of one file; diagnostics have its own lines. Raises UnreadableError."""
        raw = item.format == "raw"
        if (path, raw) in self._files:
            return self._files[path, raw]
        try:
            text = read_text(path)
        except FileNotFoundError as error:
            if item.required:
                raise UnreadableError(path, "no such file", "create it, or write required: false") from error
            return {}
        found = (dotenv.parse_raw if raw else dotenv.parse)(text, self.lookup)
        self._diagnostics += [Diagnostic(SourceLocation(path, line), text) for line, text in found.diagnostics]
        self._diagnostics += [
            Diagnostic(
                SourceLocation(path),
                f"{name}: a variable in it is not set: replaced by an empty string (write $$ for a literal $)",
                warning=True,
            )
            for name in dict.fromkeys(found.unset)
        ]
        self._files[path, raw] = found.values
        return found.values


def _pairs(written: dict[str, str | None] | list[str] | None) -> list[tuple[str, str | None]]:
    """Names and values of both forms of `environment`; None where no value was given."""
    if isinstance(written, dict):
        return list(written.items())
    pairs = [item.partition("=") for item in written or []]
    return [(name, value if equals else None) for name, equals, value in pairs]
