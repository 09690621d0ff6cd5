"""`develop.watch` of a service -> plan.model.Watch: the rules of the Compose specification (develop.md).

The tables of its keys are here, because a file without `develop` does not need them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

from cohabit.config.keys.convert import UNSET
from cohabit.config.keys.fields import HookKeys  # noqa: TC001 - the annotations are evaluated
from cohabit.config.keys.table import Keys
from cohabit.plan.model import REBUILD, RESTART, SYNC_RESTART, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.hooks import HookReader
    from cohabit.plan.model import Hook
    from cohabit.plan.node import Node

_WITHOUT_TARGET = (REBUILD, RESTART)


class WatchKeys(Keys):
    """One rule."""

    action: Annotated[
        Literal["restart", "sync+restart", "sync", "sync+exec", "rebuild"],
        (
            "What a change causes. `restart`, `sync+restart`: the service is restarted. `sync`: nothing, since the "
            "container engine has the files in place (a bind mount). `sync+exec`, `rebuild`: not supported; a warning "
            "says so."
        ),
    ]
    path: Annotated[str, "The file or directory that is watched, relative to the directory of the cohabit file."]
    target: Annotated[
        str | None,
        "Its place in the container; for `sync+restart` this is watched. Required for the actions with `sync`.",
    ] = None
    ignore: Annotated[
        str | list[str] | None,
        "Patterns, relative to the path, of what is not watched: those of `.dockerignore`, with `**` and `!`.",
    ] = None
    include: Annotated[
        str | list[str] | None, "Patterns of the files that are watched. Default: all that are not ignored."
    ] = None
    exec: Annotated[HookKeys | None, "The command of `sync+exec`, as in a hook."] = None
    initial_sync: Annotated[bool, "For the engine."] = False


class DevelopKeys(Keys):
    """The map `develop`."""

    watch: Annotated[list[WatchKeys] | None, "The rules."] = None


def read_watch(node: Node, service: str, directory: str, converter: Converter, hooks: HookReader) -> tuple[Watch, ...]:
    """The rules in their order. service: its path in messages; directory: that of the file, for relative paths."""
    path = f"{service}.develop"
    keys = converter.convert(node, DevelopKeys, path)
    if keys is UNSET or not keys.watch:
        return ()
    written = node.value["watch"].value if isinstance(node.value, dict) else None
    if not isinstance(written, list) or len(written) != len(keys.watch):  # an invalid rule was dropped and reported
        return ()
    rules = []
    for i, (rule, own) in enumerate(zip(keys.watch, written, strict=True)):
        where = f"{path}.watch[{i}]"
        for problem in _problems(rule):
            converter.report(own.line, f"{where}: {problem}")
        lines = own.value if isinstance(own.value, dict) else {}
        command = hooks.read_one(rule.exec, lines["exec"], f"{where}.exec") if rule.exec else None
        rules.append(_rule(rule, directory, command))
    return tuple(rules)


def _problems(rule: WatchKeys) -> Iterator[str]:
    if not rule.path:
        yield "path is empty (write the file or directory that is watched)"
    if not rule.target and rule.action not in _WITHOUT_TARGET:
        hint = ", or action: restart" if rule.action == SYNC_RESTART else ""
        yield f"{rule.action} needs a target (write target: PATH, the place in the container{hint})"


def _rule(rule: WatchKeys, directory: str, command: Hook | None) -> Watch:
    ignore, include = (tuple([one] if isinstance(one, str) else one or ()) for one in (rule.ignore, rule.include))
    return Watch(
        rule.action,
        os.path.abspath(os.path.join(directory, os.path.expanduser(rule.path))),
        os.path.normpath(f"/{rule.target.lstrip('/')}") if rule.target else "",
        ignore,
        include,
        command,
        rule.initial_sync,
    )
