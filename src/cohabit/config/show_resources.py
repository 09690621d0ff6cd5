"""The part of show.py for users, limits, sockets, secrets and configs.

Secrets are shown as in the Plan: the source and the target, not the text.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cohabit.config.keys.sockets import listen_address
from cohabit.config.quote import quote, quoted_list
from cohabit.config.values.file_variables import EXPLICIT, variable_of
from cohabit.config.values.kernel_names import ALL, capability_name, every_capability, ulimit_name
from cohabit.config.values.user import identity
from cohabit.plan.model import GRANTED

if TYPE_CHECKING:
    from cohabit.plan.model import Credentials, FileMount, Limits, Plan, Secret, Service, Socket


def variables(service: Service, plan: Plan) -> dict[str, str | None]:
    """The environment with FILE__X for each secret file, and without the removal of variables that are secrets."""
    hidden = {secret.environment for secret in plan.secrets.values()}
    shown = {
        name: value
        for name, value in service.environment.items()
        if value is not None or not (name in hidden or variable_of(name) in service.secret_files)
    }
    return shown | {f"{EXPLICIT}{name}": path for name, path in service.secret_files.items()}


def identity_lines(user: Credentials | None) -> list[str]:
    """`user` in the shortest form that resolves to the same user, and `group_add` with its further groups."""
    if user is None:
        return []
    written, groups = user_and_groups(user)
    added = [str(group) for group in user.groups if group not in groups]
    shown = [f"    user: {quote(written)}"] if written else []
    return shown + ([f"    group_add: {quoted_list(added)}"] if added else [])


def resource_lines(service: Service) -> list[str]:
    """The lines for limits, sockets, secrets and configs of a service."""
    shown = _limits(service.limits)
    if service.sockets:
        shown += ["    sockets:", *(f"      - {{{_socket(one)}}}" for one in service.sockets)]
    for kind in GRANTED:
        mounts: tuple[FileMount, ...] = getattr(service, kind)
        if mounts:
            shown += [f"    {kind}:", *(f"      - {{{_file_mount(one)}}}" for one in mounts)]
    return shown


def top_lines(plan: Plan) -> list[str]:
    """The lines for the top-level secrets and configs."""
    shown: list[str] = []
    for kind in GRANTED:
        declared: dict[str, Secret] = getattr(plan, kind)
        if declared:
            shown.append(f"{kind}:")
            shown += [f"  {quote(name, interpolated=False)}: {{{_source(one)}}}" for name, one in declared.items()]
    return shown


def user_and_groups(user: Credentials) -> tuple[str, tuple[int, ...]]:
    """The text for `user`, "" for cohabit's own user, and the groups that this text implies."""
    if not (user.name or user.home):
        return "", tuple(os.getgroups())
    for written in (user.name, str(user.uid), f"{user.name}:{user.gid}", f"{user.uid}:{user.gid}"):
        try:
            found = identity(written) if written else None
        except LookupError:
            continue
        if found and found.replace(groups=user.groups) == user and set(found.groups).issubset(user.groups):
            return written, found.groups
    return f"{user.uid}:{user.gid}", (user.gid,)


def _limits(limits: Limits) -> list[str]:
    shown = []
    if limits.umask is not None:
        shown.append(f'    umask: "{limits.umask:03o}"')
    if limits.ulimits:
        shown.append("    ulimits:")
        shown += [f"      {ulimit_name(one)}: {{soft: {soft}, hard: {hard}}}" for one, soft, hard in limits.ulimits]
    if limits.nice is not None:
        shown.append(f"    nice: {limits.nice}")
    if limits.oom_score_adj is not None:
        shown.append(f"    oom_score_adj: {limits.oom_score_adj}")
    if limits.cap_drop:
        shown += _capabilities(limits.cap_drop)
    return shown + (['    security_opt: ["no-new-privileges:true"]'] if limits.no_new_privileges else [])


def _capabilities(dropped: tuple[int, ...]) -> list[str]:
    """cap_drop, or cap_drop: [ALL] with cap_add: whichever needs fewer names."""
    spared = sorted(set(every_capability()).difference(dropped))
    if len(spared) >= len(dropped):
        return [f"    cap_drop: [{', '.join(map(capability_name, dropped))}]"]
    added = [f"    cap_add: [{', '.join(map(capability_name, spared))}]"] if spared else []
    return [f"    cap_drop: [{ALL}]", *added]


def _socket(one: Socket) -> str:
    keys = [f"listen: {quote(listen_address(one))}", f"name: {quote(one.name)}", f"backlog: {one.backlog}"]
    keys += [f'mode: "{one.mode:04o}"'] if one.mode is not None else []
    keys += [f'user: "{one.uid}"'] if one.uid is not None else []
    return ", ".join(keys + ([f'group: "{one.gid}"'] if one.gid is not None else []))


def _file_mount(one: FileMount) -> str:
    keys = [f"source: {quote(one.source)}", f"target: {quote(one.target)}"]
    keys += [f'uid: "{one.uid}"'] if one.uid is not None else []
    keys += [f'gid: "{one.gid}"'] if one.gid is not None else []
    return ", ".join(keys + ([f'mode: "{one.mode:04o}"'] if one.mode is not None else []))


def _source(one: Secret) -> str:
    if one.external:
        return "external: true"
    if one.content is not None:
        return f"content: {quote(one.content)}"
    return f"environment: {quote(one.environment)}" if one.environment else f"file: {quote(one.file)}"
