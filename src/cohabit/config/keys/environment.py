"""The variables of services: `environment`, `env_file`, and the .env file in the directory of the file.

Each file is read once. dotenv.py parses them.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from cohabit.config.keys.fields import EnvFileKeys
from cohabit.config.text.source import UnreadableError, read_text
from cohabit.config.values.interpolate import InterpolationError, expand
from cohabit.config.values.option_variables import PROJECT_NAME, option_variable
from cohabit.lazy_pattern import lazy_pattern
from cohabit.plan.draft import Diagnostic, SourceLocation
from cohabit.plan.model import COMPLETED, EnvFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.fields import ServiceKeys
    from cohabit.config.values.dotenv import Variables
    from cohabit.plan.node import Node

_DOTENV = "cohabit.config.values.dotenv"
_NOT_IN_PROJECT_NAME = lazy_pattern(r"[^a-z0-9_-]")
_IF_MISSING = "create it, or write required: false or read: start"


class Environment:
    """The variables of the input; `lookup` is for interpolation.

    directory: that of the first file, "" for the working directory. env_files: files to read instead of its .env.
    """

    def __init__(
        self, directory: str, environ: Mapping[str, str], diagnostics: list[Diagnostic], env_files: Sequence[str] = ()
    ) -> None:
        self.directory = directory
        self._environ = environ
        self._diagnostics = diagnostics
        self._texts: dict[str, str | None] = {}
        self._fixed: dict[tuple[str, bool], dict[str, str]] = {}  # files whose values depend on no other variable
        self._reported: set[tuple[str, int, str]] = set()
        self._beside: dict[str, str] = {}
        self._project = _project_name(os.path.basename(os.path.abspath(directory)))
        for path in env_files or [os.path.join(directory, ".env")]:
            item = EnvFileKeys(path=path, required=bool(env_files))
            if env_files or os.path.isfile(path):
                self._read_beside(path, item)

    def _read_beside(self, path: str, item: EnvFileKeys) -> None:
        try:
            self._beside |= self._read(path, item, self.lookup, {})
        except UnreadableError as error:
            self._diagnostics.append(Diagnostic(SourceLocation(path), str(error)))

    def of_included(
        self, paths: Sequence[str], outer: Callable[[str], str | None]
    ) -> Callable[[str], str | None] | None:
        """The variables of an included file: those of the file that includes it override those of files.

        outer: of the file that includes it. None: there are no others. Raises UnreadableError.
        """
        values: dict[str, str] = {}

        def look_up(name: str) -> str | None:
            value = outer(name)
            return values.get(name) if value is None else value

        for path in paths:
            values |= self._read(path, EnvFileKeys(path=path), look_up, {})
        return look_up if values else None

    def lookup(self, name: str) -> str | None:
        """Value of a variable: from the environment, otherwise from the .env file; None if it is not set."""
        value = self._given(name)
        return self._project or None if value is None and name == PROJECT_NAME else value

    def _given(self, name: str) -> str | None:
        value = self._environ.get(name)
        return self._beside.get(name) if value is None else value

    def variables_for_interpolation(self) -> dict[str, str]:
        """All variables that `lookup` finds."""
        named = {PROJECT_NAME: self._project} if self._project else {}
        return {**named, **self._beside, **self._environ}

    def setting(self, name: str) -> str:
        """Value of a variable that sets an option of the command line (option_variables.py)."""
        return option_variable(name, self._given)

    def name_project(self, written: str) -> None:
        """Take the top-level `name` for COMPOSE_PROJECT_NAME; the default is the name of the directory."""
        try:
            self._project = _project_name(expand(written, self._given, [])) or self._project
        except InterpolationError:
            return  # the key has no other effect here, so its variables need not be set

    def of_service(
        self, keys: ServiceKeys, node: Node, path: str, converter: Converter, if_missing: str = _IF_MISSING
    ) -> dict[str, str | None]:
        """All variables of a service: `environment` overrides `env_file`. None removes an inherited variable.

        The variables of an env file may refer to those of the files before it, and to those of `environment`.
        if_missing: what to do about a file that does not exist.
        """
        written = node.value if isinstance(node.value, dict) else {}
        line = written["environment"].line if "environment" in written else node.line
        own = self.variables(keys.environment, line, path, converter)
        values: dict[str, str] = {}

        def lookup(name: str) -> str | None:
            return values[name] if name in values else self.lookup(name)

        for item in [] if self.read_at_start(keys) else _entries(keys):
            try:
                values |= self._read(self._path(item), item, lookup, own, if_missing)
                if self._texts[self._path(item)] is None and _may_write_files(keys):
                    text = f"{path}.env_file: {item.path} does not exist now (if it is written later: read: start)"
                    converter.report(written["env_file"].line, text, warning=True)
            except UnreadableError as error:
                missing = not os.path.lexists(self._path(item))
                converter.report(written["env_file"].line, f"{path}.env_file: {error}", at_run_time=missing)
        return values | own

    def read_at_start(self, keys: ServiceKeys) -> tuple[EnvFile, ...]:
        """The env files of a service, if one is read at its start: all of them, because later ones override earlier."""
        entries = _entries(keys)
        if not any(item.read for item in entries):
            return ()
        return tuple(
            EnvFile(os.path.abspath(self._path(item)), item.required, item.format == "raw") for item in entries
        )

    def _path(self, item: EnvFileKeys) -> str:
        return os.path.normpath(os.path.join(self.directory, os.path.expanduser(item.path)))

    def variables(
        self, written: dict[str, str | None] | list[str] | None, line: int, path: str, converter: Converter
    ) -> dict[str, str | None]:
        """`environment` in either form. A name without a value takes cohabit's own; None if it is not set."""
        values: dict[str, str | None] = {}
        for name, value in _pairs(written):
            if not name or "=" in name or "\0" in name:
                text = f"{path}.environment: invalid variable name of {len(name)} characters (write NAME: value)"
                converter.report(line, text)
            elif name.endswith(" "):
                text = f"{path}.environment: a name of {len(name) - 1} characters is followed by a space (remove it)"
                converter.report(line, text)
            else:
                values[name] = self.lookup(name) if value is None else value
        return values

    def _read(
        self,
        path: str,
        item: EnvFileKeys,
        lookup: Callable[[str], str | None],
        own: Mapping[str, str | None],
        if_missing: str = "create it, or correct the path",
    ) -> dict[str, str]:
        """Variables of one file; diagnostics have its own lines. if_missing: what to do. Raises UnreadableError."""
        if path not in self._texts:
            try:
                self._texts[path] = read_text(path)
            except FileNotFoundError:
                self._texts[path] = None
        text = self._texts[path]
        if text is None:
            if item.required:
                raise UnreadableError(path, "no such file", if_missing)
            return {}
        raw = item.format == "raw"
        if (path, raw) in self._fixed:
            return self._fixed[path, raw]
        used: list[str] = []

        def noted(name: str) -> str | None:
            used.append(name)
            return lookup(name)

        dotenv = import_module(_DOTENV)  # by name: an input without such files does not compile its patterns
        found: Variables = dotenv.parse_raw(text, noted) if raw else dotenv.parse(text, noted, own)
        if not used:
            self._fixed[path, raw] = found.values
        for warning, entries in ((False, found.diagnostics), (True, found.warnings)):
            for line, message in entries:
                if (path, line, message) not in self._reported:  # several services may read the file
                    self._reported.add((path, line, message))
                    self._diagnostics.append(Diagnostic(SourceLocation(path, line), message, warning))
        return found.values


def _may_write_files(keys: ServiceKeys) -> bool:
    """Whether something runs before the service: a hook, or another service that has to complete."""
    needs = keys.depends_on if isinstance(keys.depends_on, dict) else {}
    return bool(keys.pre_start) or any(need.condition == COMPLETED for need in needs.values())


def _entries(keys: ServiceKeys) -> list[EnvFileKeys]:
    """The entries of env_file in their long form, without those whose path is a variable that is empty."""
    written = [keys.env_file] if isinstance(keys.env_file, str) else keys.env_file or []
    entries = [EnvFileKeys(path=entry) if isinstance(entry, str) else entry for entry in written]
    return [entry for entry in entries if entry.path]


def _project_name(written: str) -> str:
    """A name as Compose writes that of a project: lower case, only letters, digits, _ and -; "" if none is left."""
    return _NOT_IN_PROJECT_NAME.sub("", written.lower()).lstrip("_-")


def _pairs(written: dict[str, str | None] | list[str] | None) -> list[tuple[str, str | None]]:
    """Names and values of both forms of `environment`; None where no value was given."""
    if isinstance(written, dict):
        return list(written.items())
    pairs = [item.partition("=") for item in written or []]
    return [(name, value if equals else None) for name, equals, value in pairs]
