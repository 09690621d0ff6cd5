"""X_FILE: a variable X with the text of a file, for every service, as the entrypoints of official images support it.

    DB_PASSWORD_FILE=/run/secrets/db    sets DB_PASSWORD if the path is in /run/secrets or /run/configs, or is the
                                        target of a secret of the service
    FILE__DB_PASSWORD=/any/path         always sets DB_PASSWORD (as in linuxserver.io's images)

Many variables end in _FILE and mean the path, so all others are unchanged, and those that the service lists in
`path_variables`. Setting both X and X_FILE is an error, as in
those images. This module handles only names and paths: the service's own process reads the text just before it
executes the command (reactor/processes/child.py).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from cohabit.plan.draft import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from cohabit.plan.draft import Draft, DraftService
    from cohabit.plan.model import Credentials, Service

EXPLICIT = "FILE__"
_SUFFIX = "_FILE"
_DIRECTORIES = ("/run/secrets/", "/run/configs/")
# Libraries read these files themselves, so the variables keep the path.
_KEPT_AS_PATH = frozenset(
    {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "SSL_CERT_FILE"}
)


def resolve(draft: Draft, environ: Mapping[str, str]) -> Draft:
    """The Draft with X_FILE moved from the environments to secret_files, and with diagnostics about it.

    A variable that is the source of a secret is removed from each service whose `environment` does not name it.
    """
    sources = {secret.environment: None for secret in draft.secrets.values() if secret.environment}
    diagnostics: list[Diagnostic] = []
    services: dict[str, DraftService] = {}
    named = {name: path for name, path in environ.items() if variable_of(name)}  # few, and looked at for each service
    for name, item in draft.services.items():
        service = item.service.replace(environment={**sources, **item.service.environment})
        kept = {one: environ[one] for one in item.path_variables if one in environ}
        service = service.replace(environment={**kept, **service.environment})
        requested = _requested(service, named, item.path_variables)
        location = item.place("environment")
        diagnostics += [
            Diagnostic(location, f"services.{name}.environment: {text}")
            for text in _errors(requested, service, environ)
        ]
        services[name] = item.replace(service=_with_secret_files(service, requested, environ))
    return draft.replace(services=services, problems=(*draft.problems, *diagnostics))


def variable_of(name: str) -> str:
    """X of X_FILE, X__FILE (the form of Grafana) and FILE__X; "" for any other name."""
    if name.startswith(EXPLICIT):
        return name.removeprefix(EXPLICIT)
    return name.removesuffix(_SUFFIX).rstrip("_") if name.endswith(_SUFFIX) else ""


def is_kept(name: str, path: str | None, service: Service) -> bool:
    """Whether a variable of a service names a secret or config, and would be replaced if it were not kept."""
    return bool(path and _variable(name, path, {mount.target for mount in service.secrets}))


def _requested(service: Service, named: Mapping[str, str], kept: Collection[str]) -> dict[str, tuple[str, str]]:
    """Name of each X_FILE -> (X, path): {"DB_FILE": ("DB", "/run/secrets/db")}. named: those of the container."""
    targets = {mount.target for mount in service.secrets}
    requested: dict[str, tuple[str, str]] = {}
    for name, path in {**named, **service.environment}.items():
        variable = _variable(name, path, targets) if path else ""
        if path and variable and name not in kept and (name in service.environment or may_read(path, service.user)):
            requested[name] = variable, path
    return requested


def _errors(requested: dict[str, tuple[str, str]], service: Service, environ: Mapping[str, str]) -> Iterator[str]:
    if not requested:
        return
    given = {**environ, **service.environment}
    first: dict[str, str] = {}
    for name, (variable, path) in requested.items():
        other = variable if given.get(variable) else first.setdefault(variable, name)
        if other == variable or requested[other][1] != path:
            has_key = not name.startswith(EXPLICIT) and service.startup is None  # a supervisord.conf has none
            keep = f", or list {name} in path_variables to keep the path" if has_key else ""
            yield f"both {other} and {name} are set (remove one{keep})"
        elif not path.startswith("/"):
            yield f"{name} must be an absolute path"


def _variable(name: str, path: str, targets: set[str]) -> str:
    """X of an X_FILE that names a secret or config; "" for any other variable."""
    secret = path in targets or any(path.startswith(directory) and path != directory for directory in _DIRECTORIES)
    if name.startswith(EXPLICIT) or (secret and name not in _KEPT_AS_PATH):
        return variable_of(name)
    return ""


def _with_secret_files(service: Service, requested: dict[str, tuple[str, str]], environ: Mapping[str, str]) -> Service:
    """The service with secret_files instead of the X_FILE variables."""
    environment = {name: value for name, value in service.environment.items() if name not in requested}
    environment.update({name: None for name in requested if name in environ})
    return service.replace(environment=environment, secret_files=dict(requested.values()))


def may_read(path: str, user: Credentials | None) -> bool:
    """Whether a user may read a file.

    An X_FILE of the whole container applies only to services whose user may read the file. True for a missing file, so
    that it is reported.
    """
    if user is None or user.uid == 0:
        return True
    try:
        found = os.stat(path)
    except OSError:
        return True
    if found.st_uid == user.uid:
        return bool(found.st_mode & stat.S_IRUSR)
    if found.st_gid in (user.gid, *user.groups):
        return bool(found.st_mode & stat.S_IRGRP)
    return bool(found.st_mode & stat.S_IROTH)
