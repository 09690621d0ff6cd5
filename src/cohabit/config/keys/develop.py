"""`develop.watch` of a service -> plan.model.Watch: the rules of the Compose specification (develop.md)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cohabit.config.keys.convert import UNSET
from cohabit.config.keys.develop_fields import DevelopKeys
from cohabit.plan.model import REBUILD, RESTART, SYNC_RESTART, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.develop_fields import WatchKeys
    from cohabit.config.keys.hooks import HookReader
    from cohabit.plan.model import Hook
    from cohabit.plan.node import Node

_WITHOUT_TARGET = (REBUILD, RESTART)


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
