"""Lifecycle hooks of a service -> plan.model.Hook: Compose's pre_start, post_start and pre_stop, and post_stop.

Diagnostics have the line of the hook's key. A hook without a command is omitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.config.keys.fields import HookKeys
from cohabit.config.values.command_text import split_command
from cohabit.plan.model import Hook

if TYPE_CHECKING:
    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.environment import Environment
    from cohabit.config.values.user import Users
    from cohabit.plan.node import Node


class HookReader:
    """Reads the hooks of all services of one file."""

    def __init__(self, converter: Converter, environment: Environment, users: Users) -> None:
        self._converter = converter
        self._environment = environment
        self._users = users

    def read(self, entries: list[str | HookKeys] | None, node: Node | None, path: str) -> tuple[Hook, ...]:
        """The hooks of one stage. node: the list in the file; path: its name in messages."""
        nodes = node.value if node and isinstance(node.value, list) else []
        if not entries or len(entries) != len(nodes):  # an invalid entry was dropped and reported
            return ()
        keys = [HookKeys(command=one) if isinstance(one, str) else one for one in entries]
        made = (self._hook(one, nodes[i], f"{path}[{i}]") for i, one in enumerate(keys))
        return tuple(hook for hook in made if hook)

    def read_one(self, keys: HookKeys, node: Node, path: str) -> Hook | None:
        """A hook that is not in a list; None without a command."""
        return self._hook(keys, node, path)

    def _hook(self, keys: HookKeys, node: Node, path: str) -> Hook | None:
        lines = {key: child.line for key, child in node.value.items()} if isinstance(node.value, dict) else {}

        def report(key: str, text: str, *, warning: bool = False) -> None:
            self._converter.report(lines.get(key, node.line), f"{path}.{key}: {text}", warning=warning)

        command = split_command(keys.command, lambda text, *, warning=False: report("command", text, warning=warning))
        if command is not None and not any(command[:1]):
            report("command", 'no program (write command: ["program", "argument"])')
        if keys.image:
            report("image", "ignored: a hook runs in this container, not in one of its own", warning=True)
        hook = Hook(
            tuple(command or ()),
            self._environment.variables(keys.environment, lines.get("environment", node.line), path, self._converter),
            keys.working_dir or None,
            self._users.find(keys.user, lambda text: report("user", text)),
        )
        return hook if any(hook.command[:1]) else None
