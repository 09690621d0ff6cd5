"""The loader: a child that reads the file, with the third-party parsers that process 1 must not import.

Its answer is a Plan or the problems of the file, as marshal on a pipe. If the sockets of a Plan cannot be opened, the
Plan is rejected: before anything starts, or before a reload changes anything.
"""

from __future__ import annotations

import marshal
import select
import sys

from cohabit.engine import events
from cohabit.errors import EXIT_BUG, EXIT_SYSTEM
from cohabit.plan.record import from_plain
from cohabit.reactor.linux import PACKAGE, os
from cohabit.reactor.processes import spawn
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.units import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.engine.events import Event
    from cohabit.plan.model import Plan
    from cohabit.reactor.poller import Registry
    from cohabit.reactor.processes.children import Children
    from cohabit.reactor.signals import InheritedSignals

KEY = "\0loader"
_ANSWER_READ = 65_536


class Loader:
    """One loader at a time. prepare(plan) returns what the system refuses; emit(event) gets the outcome."""

    def __init__(
        self,
        given: InheritedSignals,
        environment: dict[str, str],
        epoll: Registry,
        children: Children,
        *,
        prepare: Callable[[Plan], list[str]],
        warn: Callable[[str], None],
        emit: Callable[[Event], None],
    ) -> None:
        self._given = given
        self._environment = environment
        self._epoll = epoll
        self._children = children
        self._prepare = prepare
        self._warn = warn
        self._emit = emit
        self._answer = b""
        self._fd = -1

    def start(self, request: str, scale: dict[str, int], asked: tuple[str, ...] = ()) -> None:
        """Start the loader; the outcome is the event Loaded or LoadFailed.

        scale: replicas by service, instead of the file's; asked: the services of `scale` that must be in the file.
        """
        argv = (sys.executable, "-I", f"{PACKAGE}/config/__main__.py", "plan", request, repr(scale), repr(asked))
        self._answer = b""
        try:
            self._fd, writer = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            self._emit(events.LoadFailed((f"cannot read the file: {spawn.no_room(error)}",), EXIT_SYSTEM))
            return
        os.set_blocking(self._fd, False)
        self._epoll.register(self._fd, select.EPOLLIN)
        start = SpawnSpec(argv, dict(self._environment), self._given, stdio=(0, writer, 2))
        try:
            self._children.launch(KEY, start, self._ended)
        except OSError as error:
            self._close()
            self._emit(events.LoadFailed((f"cannot read the file: {spawn.no_room(error)}",), EXIT_SYSTEM))
        finally:
            os.close(writer)

    def abandon(self) -> None:
        """Kill the loader: its answer is not needed any more."""
        self._children.kill(KEY)

    def owns(self, fd: int) -> bool:
        """Whether events of this descriptor belong to the loader."""
        return fd == self._fd

    def handle(self, _fd: int) -> None:
        """Read a part of the answer."""
        try:
            while data := os.read(self._fd, _ANSWER_READ):
                self._answer += data
        except BlockingIOError:
            return
        self._close()

    def _close(self) -> None:
        self._epoll.unregister(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _ended(self, code: int, why: str) -> None:
        """The loader has been reaped, so its answer is complete."""
        if self._fd >= 0:
            self.handle(self._fd)
        if self._fd >= 0:
            self._close()
        if why:
            self._emit(events.LoadFailed((f"cannot read the file: the loader cannot start: {why}",), EXIT_SYSTEM))
        elif code != 0:
            how = describe_exit(code)
            why = f"cannot read the file: the loader ended with {how} (its output is above; please report it)"
            self._emit(events.LoadFailed((why,), EXIT_BUG))
        else:
            self._handle_answer(marshal.loads(self._answer))  # noqa: S302 - from our own loader, never from a user
        self._answer = b""

    def _handle_answer(self, answer: dict[str, object]) -> None:
        for line in _lines(answer["warnings"]):
            self._warn(line)
        if answer["plan"] is None:
            self._emit(events.LoadFailed(_lines(answer["problems"]), int(str(answer["exit_code"]))))
            return
        plan = from_plain(answer["plan"])
        problems = self._prepare(plan)
        if problems:
            self._emit(events.LoadFailed(tuple(problems), EXIT_SYSTEM))
        else:
            self._emit(events.Loaded(plan))


def _lines(value: object) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else ()
