"""X_FILE: a variable that gets the text of a file, for any service, as the entrypoints of official images do it.

    DB_PASSWORD_FILE=/run/secrets/db    becomes DB_PASSWORD, if the path is in /run/secrets or /run/configs, or is
                                        that of a secret that the service is handed
    FILE__DB_PASSWORD=/any/path         always (linuxserver.io's images)

Many variables end in _FILE and mean a file, so others are left alone. Both X and X_FILE is a problem, as it is in those
images. Only names and paths are dealt with here: the text is read by the service's own process, just before it
becomes its command (reactor/processes/child.py).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from cohabit.plan.draft import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cohabit.plan.draft import Draft, DraftService
    from cohabit.plan.model import Credentials, Service

EXPLICIT = "FILE__"
_SUFFIX = "_FILE"
_DIRECTORIES = ("/run/secrets/", "/run/configs/")
# Which a library reads by itself, and wants to be a file wherever it lies.
_ORDINARY = frozenset(
    {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "SSL_CERT_FILE"}
)


def resolve(draft: Draft, environ: Mapping[str, str]) -> Draft:
    """The Draft with X_FILE taken out of all environments and put into secret_files, and what is wrong with it.

    A variable that is a secret's source is taken from every service that was not given it by name.
    """
    sources = {secret.environment: None for secret in draft.secrets.values() if secret.environment}
    problems: list[Diagnostic] = []
    services: dict[str, DraftService] = {}
    for name, item in draft.services.items():
        service = item.service.replace(environment={**sources, **item.service.environment})
        asked = _asked(service, environ)
        place = item.place("environment")
        problems += [
            Diagnostic(place, f"services.{name}.environment: {text}") for text in _wrong(asked, service, environ)
        ]
        services[name] = item.replace(service=_without(service, asked, environ))
    return draft.replace(services=services, problems=(*draft.problems, *problems))


def variable_of(name: str) -> str:
    """X of X_FILE, X__FILE (as Grafana has it) and FILE__X; "" for any other name."""
    if name.startswith(EXPLICIT):
        return name.removeprefix(EXPLICIT)
    return name.removesuffix(_SUFFIX).rstrip("_") if name.endswith(_SUFFIX) else ""


def _asked(service: Service, environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What says so -> the variable that gets the text, and the path: {"DB_FILE": ("DB", "/run/secrets/db")}."""
    targets = {grant.target for grant in service.secrets}
    asked: dict[str, tuple[str, str]] = {}
    for name, path in {**environ, **service.environment}.items():
        variable = _variable(name, path, targets) if path else ""
        if path and variable and (name in service.environment or may_read(path, service.user)):
            asked[name] = variable, path
    return asked


def _wrong(asked: dict[str, tuple[str, str]], service: Service, environ: Mapping[str, str]) -> Iterator[str]:
    given = {**environ, **service.environment}
    first: dict[str, str] = {}
    for name, (variable, path) in asked.items():
        other = variable if given.get(variable) else first.setdefault(variable, name)
        if other == variable or asked[other][1] != path:
            yield f"both {other} and {name} are set (remove one)"
        elif not path.startswith("/"):
            yield f"{name} must be a whole path, beginning with /"


def _variable(name: str, path: str, targets: set[str]) -> str:
    """The variable that is meant to get the text; "" if this is a variable like others."""
    secret = path in targets or any(path.startswith(folder) and path != folder for folder in _DIRECTORIES)
    if name.startswith(EXPLICIT) or (secret and name not in _ORDINARY):
        return variable_of(name)
    return ""


def _without(service: Service, asked: dict[str, tuple[str, str]], environ: Mapping[str, str]) -> Service:
    """The service with those variables as files, and none of the names that said so."""
    environment = {name: value for name, value in service.environment.items() if name not in asked}
    environment.update({name: None for name in asked if name in environ})
    return service.replace(environment=environment, secret_files=dict(asked.values()))


def may_read(path: str, user: Credentials | None) -> bool:
    """Whether a service could read the file itself.

    What the whole container is given by X_FILE goes to those services only: root's secret is not for everybody. What is
    not there is a problem, and so no reason to leave it out.
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
