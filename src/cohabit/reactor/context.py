"""What every part of process 1 gets first: where to wait, where to report, and how to run a program."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from cohabit.engine.events import Event
    from cohabit.reactor.poller import Poller
    from cohabit.reactor.processes.child import SpawnSpec
    from cohabit.reactor.signals import InheritedSignals

    Ended = Callable[[int, str], None]
    Log = Callable[[str, str, str], None]
    Forked = tuple[int, int] | None

    class RunProgram(Protocol):
        """Children's launch."""

        def __call__(self, key: str, start: SpawnSpec, ended: Ended, forked: Forked = None, /) -> None:
            """Fork a task. Raises OSError."""


class Context:
    """The surroundings of a part.

    poller: waits for descriptors and timers. emit(event): queues an event for the engine. log(level, service, text):
    writes a message; the levels are those of the effect Report. run_program(key, spec, ended), kill_program(key): as
    Children's launch and kill. given, environment: of our own Python programs. side_processes: the names of those that
    run, by key.
    """

    __slots__ = ("emit", "environment", "given", "kill_program", "log", "poller", "run_program", "side_processes")

    def __init__(
        self,
        poller: Poller,
        emit: Callable[[Event], None],
        log: Log,
        *,
        run_program: RunProgram,
        kill_program: Callable[[str], None],
        given: InheritedSignals,
        environment: dict[str, str],
    ) -> None:
        self.poller = poller
        self.emit = emit
        self.log = log
        self.run_program = run_program
        self.kill_program = kill_program
        self.given = given
        self.environment = environment
        self.side_processes: dict[str, str] = {}
