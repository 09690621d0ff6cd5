"""A cohabit file -> Draft: the Compose specification's `services:`, for one container.

This module finds and parses the file and reads its top level. Errors are collected and reading continues.
plan/build.py checks whether the services fit together, system.py whether the machine can run them.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from cohabit.config.keys.convert import Converter
from cohabit.config.keys.environment import Environment
from cohabit.config.keys.fields import FileKeys, GlobalKeys, ServiceKeys
from cohabit.config.keys.hooks import HookReader
from cohabit.config.keys.logging import LoggingReader
from cohabit.config.keys.secrets import SecretReader
from cohabit.config.keys.service import ServiceReader
from cohabit.config.text.node import Node, SyntaxProblemError
from cohabit.config.text.source import STDIN, UnreadableError, read_text
from cohabit.config.values.user import Users, group_id
from cohabit.errors import EXIT_FILE, EXIT_USAGE
from cohabit.plan.draft import Diagnostic, Draft, DraftService, SourceLocation
from cohabit.plan.model import TOTAL_GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = ("cohabit.yaml", "cohabit.yml", "cohabit.toml")
DIRECTORIES = ("", "/etc/cohabit")
RESERVED = "cohabit"  # the name that cohabit's own messages carry in the output
SERVICE_NAME = re.compile(r"[a-zA-Z0-9._-]*[a-zA-Z0-9][a-zA-Z0-9._-]*")
_SYNTAXES = {".toml": "cohabit.config.text.toml_text"}  # by name: a YAML file does not import tomllib
_YAML = "cohabit.config.text.yaml_text"


def read(request: Mapping[str, Any], environ: Mapping[str, str]) -> Draft:
    """The Draft of the file that the request names, otherwise of the file that is found.

    Errors of the file are diagnostics in the Draft; its content never raises.
    """
    files = request.get("files") or []
    if len(files) > 1:
        return _broken(
            files[1], "cannot read several files: merging is not supported yet (name one file)", exit_code=EXIT_USAGE
        )
    file = files[0] if files else _find()
    if not file:
        directories = " or ".join(os.path.abspath(directory) for directory in DIRECTORIES)
        text = f"cannot find {NAMES[0]}, {NAMES[1]} or {NAMES[2]} in {directories} (create one, or use -f FILE)"
        return _broken("cohabit up", text)
    shown = "standard input" if file == STDIN else file
    try:
        text = read_text(file)
        node, diagnostics = import_module(_SYNTAXES.get(os.path.splitext(file)[1], _YAML)).parse(text, shown)
    except FileNotFoundError:
        return _broken(shown, f"cannot read {shown}: no such file (correct the path after -f)")
    except UnreadableError as error:
        return _broken(shown, str(error))
    except SyntaxProblemError as error:
        return _broken(shown, f"cannot read {shown}: {error}", error.line)
    environment = Environment(file, environ, diagnostics)
    converter = Converter(shown, environment.lookup, diagnostics)
    return _read_file(node, converter, environment)


def _find() -> str:
    """The first existing file: by directory, then by name; "" if there is none."""
    for directory in DIRECTORIES:
        for name in NAMES:
            path = os.path.join(directory, name)
            if os.path.lexists(path):
                return path
    return ""


def _broken(file: str, text: str, line: int = 0, exit_code: int = EXIT_FILE) -> Draft:
    return Draft(
        SourceLocation(file), {}, problems=(Diagnostic(SourceLocation(file, line), text, exit_code=exit_code),)
    )


def _read_file(node: Node, converter: Converter, environment: Environment) -> Draft:
    location = SourceLocation(converter.file)
    if node.value is None:
        text = "no services: the file is empty (write services: and a service below it)"
        return Draft(location, {}, problems=(*converter.diagnostics, Diagnostic(location, text)))
    if not isinstance(node.value, dict):
        converter.report(node.line, f"expected a map of keys such as services:, got {node.describe()}")
        return Draft(location, {}, problems=tuple(converter.diagnostics))
    keys = converter.convert(node, FileKeys, "")
    secrets = SecretReader(keys, node, converter)
    settings = keys.settings or GlobalKeys()
    outputs = LoggingReader(converter)
    outputs.read_default(settings.logging, "x-cohabit.logging")
    services = _read_services(node.value.get("services"), environment, secrets, outputs, converter)
    group = _control_group(node.value.get("x-cohabit"), settings, converter)
    total = TOTAL_GRACE_SECONDS if settings.stop_grace_period is None else float(settings.stop_grace_period)
    return Draft(
        location,
        services,
        total,
        tuple(converter.diagnostics),
        control_gid=group,
        logging=outputs.entries,
        mask=bool(settings.mask),
        **secrets.declared,
    )


def _control_group(node: Node | None, settings: GlobalKeys, converter: Converter) -> int | None:
    if settings.control_group is None:
        return None
    try:
        return group_id(str(settings.control_group))
    except LookupError as error:
        key = node.value.get("control_group") if node and isinstance(node.value, dict) else None
        converter.report(key.line if key else 0, f"x-cohabit.control_group: {error}")
        return None


def _read_services(
    node: Node | None,
    environment: Environment,
    secrets: SecretReader,
    outputs: LoggingReader,
    converter: Converter,
) -> dict[str, DraftService]:
    if node is None or node.value is None or node.value == {}:
        text = "no services (write services: and a service with a command below it)"
        converter.report(node.line if node else 0, text)
        return {}
    if not isinstance(node.value, dict):
        converter.report(node.line, f"services: expected a map of names to services, got {node.describe()}")
        return {}
    services: dict[str, DraftService] = {}
    users = Users()
    hooks = HookReader(converter, environment, users)
    for name, child in node.value.items():
        path = f"services.{name}"
        if not SERVICE_NAME.fullmatch(name):
            converter.report(child.line, f"{path}: not a valid service name (use letters, digits, . _ -)")
        elif name == RESERVED:
            converter.report(child.line, f"{path}: the name is reserved for cohabit's own messages (choose another)")
        keys = ServiceKeys() if child.value is None else converter.convert(child, ServiceKeys, path)
        if keys is not UNSET:
            reader = ServiceReader(name, keys, child, converter)
            variables = environment.of_service(keys, child, path, converter)
            services[name] = reader.read(variables, users, hooks, secrets, outputs)
    return services
