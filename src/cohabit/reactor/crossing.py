"""What crosses a re-execution: one entry for each part with a state, and the versions of these states.

An entry has the name under which the state is saved, and the part's functions: save() returns plain values (those of
marshal), load(plain) restores them in a new object of the part. reexecution_state.py has the table.

A program can go on with the state of another one if all versions are the same.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.reactor.context import Ended

# Name -> version of the saved state. Increase it with each incompatible change of what save() returns.
VERSIONS = {
    "loop": 2,
    "engine": 13,
    "launcher": 2,
    "output": 7,
    "multiline": 2,
    "sockets": 2,
    "passive_probes": 2,
    "clock": 1,
    "children": 1,
    "requests": 1,
    "control": 1,
}


def versions() -> str:
    """Return the versions as one word, for the command line of the program that is to take over."""
    return ",".join(f"{name}:{version}" for name, version in VERSIONS.items())


class Crossing:
    """One part of the state.

    descriptors(): those that must stay open. tasks(): children that continue, by key, and what must be called at the
    end of each; called after load().
    """

    __slots__ = ("descriptors", "load", "name", "save", "tasks")

    def __init__(
        self,
        name: str,
        save: Callable[[], Any],
        load: Callable[[Any], None],
        *,
        descriptors: Callable[[], list[int]] = list,
        tasks: Callable[[], dict[str, Ended]] = dict,
    ) -> None:
        self.name = name
        self.save = save
        self.load = load
        self.descriptors = descriptors
        self.tasks = tasks
