"""Lifecycle hooks of a service -> plan.model.Hook: Compose's pre_start, post_start and pre_stop.

What is wrong with one is noted with its own line, and one without a command is left out. Who its user is and what
its variables hold is asked of user.py and environment.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.config.values.words import command_words
from cohabit.plan.model import Hook

if TYPE_CHECKING:
    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.environment import Environment
    from cohabit.config.keys.fields import HookKeys
    from cohabit.config.text.node import Node
    from cohabit.config.values.user import Users


class HookReader:
    """Reads the hooks of one file's services."""

    def __init__(self, converter: Converter, environment: Environment, users: Users) -> None:
        self._converter = converter
        self._environment = environment
        self._users = users

    def read(self, entries: list[HookKeys] | None, node: Node | None, path: str) -> tuple[Hook, ...]:
        """The hooks of one stage; node: where they stand."""
        nodes = node.value if node and isinstance(node.value, list) else []
        if not entries or len(entries) != len(nodes):  # then one was wrong, and was told so
            return ()
        made = (self._hook(one, nodes[i], f"{path}[{i}]") for i, one in enumerate(entries))
        return tuple(hook for hook in made if hook)

    def _hook(self, keys: HookKeys, node: Node, path: str) -> Hook | None:
        lines = {key: child.line for key, child in node.value.items()} if isinstance(node.value, dict) else {}

        def tell(key: str, text: str, *, warning: bool = False) -> None:
            self._converter.problem(lines.get(key, node.line), f"{path}.{key}: {text}", warning=warning)

        command = command_words(keys.command, lambda text, *, warning=False: tell("command", text, warning=warning))
        if command is not None and not any(command[:1]):
            tell("command", 'there is no program (write command: ["program", "argument"])')
        if keys.image:
            tell("image", "a hook runs in this container, not in an image of its own", warning=True)
        hook = Hook(
            tuple(command or ()),
            self._environment.variables(keys.environment, lines.get("environment", node.line), path, self._converter),
            keys.working_dir or None,
            self._users.find(keys.user, lambda text: tell("user", text)),
        )
        return hook if any(hook.command[:1]) else None
