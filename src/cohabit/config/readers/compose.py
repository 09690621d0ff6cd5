"""Files in YAML or TOML -> Draft: the Compose specification's `services:`, for one container.

This module reads the top level; keys/ reads what is below it. Errors are collected and reading continues.
plan/build.py checks whether the services fit together, system.py whether the machine can run them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cohabit.config.keys.convert import UNSET, Converter
from cohabit.config.keys.environment import Environment
from cohabit.config.keys.fields import FileKeys, GlobalKeys, ServiceKeys
from cohabit.config.keys.hooks import HookReader
from cohabit.config.keys.logging import LoggingReader
from cohabit.config.keys.secrets import SecretReader
from cohabit.config.keys.service import ServiceReader
from cohabit.config.readers.assembly import Assembly
from cohabit.config.values import service_name
from cohabit.config.values.user import Users, group_id
from cohabit.plan.draft import Diagnostic, Draft, DraftService, SourceLocation
from cohabit.plan.model import OWN_NAME, TOTAL_GRACE_SECONDS
from cohabit.plan.node import line_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.config.readers.find import Source
    from cohabit.plan.node import Node

_DEVELOP = "cohabit.config.keys.develop"  # imported by name: only a file with this key needs it


def read(source: Source, environ: Mapping[str, str]) -> Draft:
    """The Draft of the files of an input. Raises SyntaxProblemError."""
    problems = list(source.warnings)
    environment = Environment(source.directory, environ, problems, source.env_files)
    converter = Converter(source.name, environment.lookup, problems)
    assembly = Assembly(environment, converter)
    tree = assembly.tree(source)
    unmerged = any(not problem.warning and not problem.at_run_time for problem in problems)
    location = SourceLocation(source.name)
    if tree.value is None:
        text = "no services: the file is empty (write services: and a service below it)"
        return Draft(location, {}, problems=(*problems, Diagnostic(location, text)))
    if not isinstance(tree.value, dict):
        converter.report(tree.line, f"expected a map of keys such as services:, got {tree.describe()}")
        return Draft(location, {}, problems=tuple(problems))
    keys = converter.convert(tree, FileKeys, "")
    secrets = SecretReader(keys, tree, converter, environment.directory)
    settings = keys.x_cohabit or GlobalKeys()
    outputs = LoggingReader(converter)
    outputs.read_default(settings.logging, "x-cohabit.logging")
    foreign = converter.take_foreign("")
    services = _read_services(tree.value.get("services"), environment, secrets, outputs, converter)
    group = _control_group(tree.value, settings, converter)
    total = TOTAL_GRACE_SECONDS if settings.stop_grace_period is None else float(settings.stop_grace_period)
    return Draft(
        location,
        services,
        total,
        tuple(problems),
        secrets.declared["secrets"],
        secrets.declared["configs"],
        control_gid=group,
        logging=outputs.entries,
        mask=bool(settings.mask),
        written=tree.value,
        foreign=foreign,
        profiles=tuple(name.strip() for name in environment.setting("PROFILES").split(",")),
        files=tuple(assembly.files.names),
        unmerged=unmerged,
        variables=environment.variables_for_interpolation(),
    )


def _control_group(written: dict[str, Node], settings: GlobalKeys, converter: Converter) -> int | None:
    if settings.control_group is None:
        return None
    try:
        return group_id(settings.control_group)
    except LookupError as error:
        key = "x-cohabit.control_group"
        converter.report(line_of(written, key), f"{key}: {error}")
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
        if not service_name.VALID.fullmatch(name):
            converter.report(child.line, f"{path}: not a valid service name (use letters, digits, . _ -)")
        elif name == OWN_NAME:
            converter.report(child.line, f"{path}: the name is reserved for cohabit's own messages (choose another)")
        keys = ServiceKeys() if child.value is None else converter.convert(child, ServiceKeys, path)
        if keys is not UNSET:
            reader = ServiceReader(name, keys, child, converter)
            variables = environment.of_service(keys, child, path, converter)
            made = reader.read(variables, users, hooks, secrets, outputs)
            made = made.replace(service=made.service.replace(env_files=environment.read_at_start(keys)))
            if keys.develop is not None:
                rules = import_module(_DEVELOP).read_watch(keys.develop, path, environment.directory, converter, hooks)
                made = made.replace(service=made.service.replace(watch=rules))
            unread = converter.is_unread(f"{path}.healthcheck")
            services[name] = made.replace(foreign=converter.take_foreign(f"{path}."), probe_unread=unread)
    return services
