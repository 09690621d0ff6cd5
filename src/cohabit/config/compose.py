"""A cohabit file -> Draft: the Compose specification's `services:`, read for one container.

Finds and parses the file and reads its top level. Everything that is wrong with the text is noted and reading
goes on; whether the services fit together is plan/build.py's question, whether the machine has what they ask
for is system.py's.
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
RESERVED = "cohabit"  # our own lines in the output carry this name
SERVICE_NAME = re.compile(r"[a-zA-Z0-9._-]*[a-zA-Z0-9][a-zA-Z0-9._-]*")
_SYNTAXES = {".toml": "cohabit.config.text.toml_text"}  # by name: who writes YAML need not wait for tomllib
_YAML = "cohabit.config.text.yaml_text"


def read(request: Mapping[str, Any], environ: Mapping[str, str]) -> Draft:
    """The Draft of the file that the request names, or of the one that is found; never raises for its content."""
    files = request.get("files") or []
    if len(files) > 1:
        return _broken(files[1], "cannot read several files as one: not there yet (name one)", exit_code=EXIT_USAGE)
    file = files[0] if files else _find()
    if not file:
        places = " or ".join(os.path.abspath(directory) for directory in DIRECTORIES)
        text = f"cannot find {NAMES[0]}, {NAMES[1]} or {NAMES[2]} in {places} (write one, or name it with -f FILE)"
        return _broken("cohabit up", text)
    shown = "standard input" if file == STDIN else file
    try:
        text = read_text(file)
        node, problems = import_module(_SYNTAXES.get(os.path.splitext(file)[1], _YAML)).parse(text, shown)
    except FileNotFoundError:
        return _broken(shown, f"cannot read {shown}: no such file (name another with -f FILE)")
    except UnreadableError as error:
        return _broken(shown, str(error))
    except SyntaxProblemError as error:
        return _broken(shown, f"cannot read {shown}: {error}", error.line)
    environment = Environment(file, environ, problems)
    converter = Converter(shown, environment.lookup, problems)
    return _read_file(node, converter, environment)


def _find() -> str:
    """The first file that is there, in the order in which we look."""
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
    """The whole tree as a Draft."""
    where = SourceLocation(converter.file)
    if node.value is None:
        text = "cannot find any service: the file is empty (write services: and a service below it)"
        return Draft(where, {}, problems=(*converter.problems, Diagnostic(where, text)))
    if not isinstance(node.value, dict):
        converter.problem(node.line, f"expected a map of keys such as services:, got {node.describe()}")
        return Draft(where, {}, problems=tuple(converter.problems))
    keys = converter.convert(node, FileKeys, "")
    secrets = SecretReader(keys, node, converter)
    whole = keys.whole or GlobalKeys()
    outputs = LoggingReader(converter)
    outputs.read_default(whole.logging, "x-cohabit.logging")
    services = _read_services(node.value.get("services"), environment, secrets, outputs, converter)
    group = _control_group(node.value.get("x-cohabit"), whole, converter)
    total = TOTAL_GRACE_SECONDS if whole.stop_grace_period is None else float(whole.stop_grace_period)
    return Draft(
        where,
        services,
        total,
        tuple(converter.problems),
        control_gid=group,
        logging=outputs.entries,
        mask=bool(whole.mask),
        **secrets.declared,
    )


def _control_group(node: Node | None, whole: GlobalKeys, converter: Converter) -> int | None:
    if whole.control_group is None:
        return None
    try:
        return group_id(str(whole.control_group))
    except LookupError as error:
        place = node.value.get("control_group") if node and isinstance(node.value, dict) else None
        converter.problem(place.line if place else 0, f"x-cohabit.control_group: {error}")
        return None


def _read_services(
    node: Node | None,
    environment: Environment,
    secrets: SecretReader,
    outputs: LoggingReader,
    converter: Converter,
) -> dict[str, DraftService]:
    if node is None or node.value is None or node.value == {}:
        text = "cannot find any service (write services: and a service with a command below it)"
        converter.problem(node.line if node else 0, text)
        return {}
    if not isinstance(node.value, dict):
        converter.problem(node.line, f"services: expected a map of names to services, got {node.describe()}")
        return {}
    services: dict[str, DraftService] = {}
    users = Users()
    hooks = HookReader(converter, environment, users)
    for name, child in node.value.items():
        path = f"services.{name}"
        if not SERVICE_NAME.fullmatch(name):
            converter.problem(child.line, f"{path}: no service can have this name (letters, digits, . _ -)")
        elif name == RESERVED:
            converter.problem(child.line, f"{path}: this name is kept for our own messages (choose another)")
        keys = ServiceKeys() if child.value is None else converter.convert(child, ServiceKeys, path)
        if keys is not UNSET:
            reader = ServiceReader(name, keys, child, converter)
            variables = environment.of_service(keys, child, path, converter)
            services[name] = reader.read(variables, users, hooks, secrets, outputs)
    return services
