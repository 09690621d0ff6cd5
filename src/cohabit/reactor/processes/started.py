"""One process that we started; and what daemon_search.py and signaller.py need of all of them (children.py)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from cohabit.engine.events import Event
    from cohabit.plan.model import Service
    from cohabit.reactor.context import Ended
    from cohabit.reactor.poller import Poller
    from cohabit.reactor.processes.child import SpawnSpec
    from cohabit.reactor.processes.tree import Trees

    class Daemons(Protocol):
        """The searches for daemons (daemon_search.py)."""

        def give_up(self, name: str) -> bool:
            """End the search without a result; False if there is none."""

    class Children(Protocol):
        """All processes that we started (children.py)."""

        poller: Poller
        trees: Trees
        emit: Callable[[Event], None]
        say: Callable[[str, str, str], None]
        services: dict[str, Service]
        started_at: dict[str, int]
        processes: dict[str, Process]

        @property
        def daemons(self) -> Daemons:
            """The searches for daemons."""

        def adopt(self, name: str, pid: int) -> bool:
            """Make another process of the tree the main process; False if we would not see its end."""

        def is_running(self, process: Process) -> bool:
            """Whether it was not reaped yet."""

        def reap(self) -> None:
            """Reap what has ended."""

        def report_ended(self) -> None:
            """Report the ends that are known."""

        def report_exited(
            self, name: str, code: int, *, orphans: bool, out_of_memory: bool = False, by_signal: bool = False
        ) -> None:
            """Report the end of a main process."""


HOOK = "\0hook"  # suffix of a service's name: the key of its hook


class Process:
    """A child of ours. key: its service's name, with a suffix for a hook; or a task's key.

    errors: the pipe that reports a failed exec, -1 once the outcome is known; message: what the child wrote to it, None
    before that. ended: callback for a task's end. signalled: it was sent a signal by us; stop_requested: one to stop.
    by_signal: a signal ended it. held_until: monotonic seconds until which its end is not reported (_HELD_SECONDS), 0
    if that is not so.
    """

    __slots__ = (
        "by_signal", "ended", "errors", "held_until", "key", "message", "pid", "signalled", "start", "stop_requested",
    )  # fmt: skip

    def __init__(self, key: str, pid: int, errors: int, start: SpawnSpec | None, ended: Ended | None) -> None:
        self.key = key
        self.pid = pid
        self.errors = errors
        self.message: bytes | None = None
        self.start = start
        self.ended = ended
        self.stop_requested = self.signalled = self.by_signal = False
        self.held_until = 0.0

    @property
    def tree(self) -> str:
        """The key of the tree that its descendants belong to."""
        return self.key.removesuffix(HOOK)
