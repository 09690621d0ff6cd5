"""The part of compose.py for variables, users, limits, sockets, secrets and configs.

Secrets are written as in the Plan: the source and the target, not the text.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, overload

from cohabit.config.keys.sockets import listen_address
from cohabit.config.values.file_variables import EXPLICIT, is_kept, variable_of
from cohabit.config.values.kernel_names import ALL, capability_name, every_capability, ulimit_name
from cohabit.config.values.user import identity
from cohabit.plan.model import GRANTED
from cohabit.plan.replicas import REPLICA_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cohabit.plan.model import Credentials, FileMount, Limits, Plan, Secret, Service, Socket

_LONGEST_KEY = 1000  # characters; YAML reads 1,024 of a key, with its quotes


@overload
def literal(text: str) -> str: ...
@overload
def literal(text: None) -> None: ...
def literal(text: str | None) -> str | None:
    """The text for a value that the reader interpolates: `$` is written `$$`."""
    return text and text.replace("$", "$$")


def literals(texts: Iterable[str]) -> list[str]:
    """The same for a list."""
    return [literal(text) for text in texts]


def write_variables(service: Service, plan: Plan) -> dict[str, str | None] | list[str]:
    """The environment with FILE__X for each secret file, and without the removal of variables that are secrets.

    A list if a name is longer than a key of YAML may be. Without the number of a replica.
    """
    hidden = {secret.environment for secret in plan.secrets.values()}
    shown = {
        name: literal(value)
        for name, value in service.environment.items()
        if value is not None or not (name in hidden or variable_of(name) in service.secret_files)
    }
    shown |= {f"{EXPLICIT}{name}": literal(path) for name, path in service.secret_files.items()}
    if service.replica:
        shown.pop(REPLICA_VARIABLE, None)
    if all(len(name) <= _LONGEST_KEY for name in shown):
        return shown
    return [literal(name) if value is None else f"{literal(name)}={value}" for name, value in shown.items()]


def kept_variables(service: Service) -> list[str]:
    """The names for path_variables."""
    return [literal(name) for name, value in service.environment.items() if is_kept(name, value, service)]


def write_user(user: Credentials | None, preferred: str) -> dict[str, Any]:
    """`user` as `preferred` or in the shortest form that resolves to the same user, and `group_add` with the others."""
    if user is None:
        return {}
    written, groups = user_and_groups(user, preferred)
    return {"user": literal(written), "group_add": [str(group) for group in user.groups if group not in groups]}


def write_resources(service: Service) -> dict[str, Any]:
    """The keys for limits, sockets, secrets and configs of a service."""
    mounts = {kind: [_file_mount(one) for one in getattr(service, kind)] for kind in GRANTED}
    return {**_limits(service.limits), "sockets": [_socket(one) for one in service.sockets], **mounts}


def write_declared(declared: dict[str, Secret]) -> dict[str, Any]:
    """The top-level secrets or configs."""
    return {name: _source(one) for name, one in declared.items()}


def user_and_groups(user: Credentials, preferred: str = "") -> tuple[str, tuple[int, ...]]:
    """The text for `user`, "" for cohabit's own user, and the groups that this text implies."""
    if not (user.name or user.home):
        return "", tuple(os.getgroups())
    for written in (preferred, user.name, str(user.uid), f"{user.name}:{user.gid}", f"{user.uid}:{user.gid}"):
        try:
            found = identity(written) if written else None
        except LookupError:
            continue
        if found and found.replace(groups=user.groups) == user and set(found.groups).issubset(user.groups):
            return written, found.groups
    return f"{user.uid}:{user.gid}", (user.gid,)


def _limits(limits: Limits) -> dict[str, Any]:
    return {
        "umask": None if limits.umask is None else f"{limits.umask:03o}",
        "ulimits": {ulimit_name(one): {"soft": soft, "hard": hard} for one, soft, hard in limits.ulimits},
        "nice": limits.nice,
        "oom_score_adj": limits.oom_score_adj,
        **_capabilities(limits.cap_drop),
        "ambient_capabilities": [name for name, _ in limits.ambient],
        "security_opt": ["no-new-privileges:true"] if limits.no_new_privileges else [],
    }


def _capabilities(dropped: tuple[int, ...]) -> dict[str, Any]:
    """cap_drop, or cap_drop: [ALL] with cap_add: whichever needs fewer names."""
    spared = sorted(set(every_capability()).difference(dropped))
    if len(spared) >= len(dropped):
        return {"cap_drop": [capability_name(one) for one in dropped]}
    return {"cap_add": [capability_name(one) for one in spared], "cap_drop": [ALL]}


def _socket(one: Socket) -> dict[str, Any]:
    keys: dict[str, Any] = {"listen": literal(listen_address(one)), "name": literal(one.name), "backlog": one.backlog}
    return keys | _owner(one.mode, user=one.uid, group=one.gid)


def _file_mount(one: FileMount) -> dict[str, Any]:
    keys: dict[str, Any] = {"source": literal(one.source), "target": literal(one.target)}
    return keys | _owner(one.mode, uid=one.uid, gid=one.gid)


def _owner(mode: int | None, **ids: int | None) -> dict[str, str]:
    """The keys of a file's owner, group and permissions."""
    found = {key: str(number) for key, number in ids.items() if number is not None}
    return found if mode is None else {**found, "mode": f"{mode:04o}"}


def _source(one: Secret) -> dict[str, Any]:
    if one.external:
        return {"external": True}
    if one.content is not None:
        return {"content": literal(one.content)}
    return {"environment": literal(one.environment)} if one.environment else {"file": literal(one.file)}
