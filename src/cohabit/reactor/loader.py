"""The loader: a child that reads the file, with the third-party parsers that process 1 must not import.

Its answer is a Plan or the problems of the file, as marshal on a pipe. If the sockets of a Plan cannot be opened, the
Plan is rejected: before anything starts, or before a reload changes anything.
"""

from __future__ import annotations

import marshal

from cohabit.engine import events
from cohabit.errors import EXIT_BUG, EXIT_SYSTEM
from cohabit.plan.record import from_plain
from cohabit.reactor import first_loader
from cohabit.reactor.processes import start_failure
from cohabit.reactor.side_process import SideProcess
from cohabit.units import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.reactor.context import Context
    from cohabit.reactor.logs.output import Output
    from cohabit.reactor.side_process import Started
    from cohabit.reactor.sockets import Sockets

KEY = "\0loader"


class Loader:
    """One loader at a time. Its warnings are written to `output`; `sockets` are those of the Plan that it returns."""

    def __init__(self, context: Context, sockets: Sockets, output: Output) -> None:
        self._context = context
        self._sockets = sockets
        self._output = output
        self._answer = b""
        self._child = SideProcess(context, "loader", KEY, self._read, self._ended)

    def start(self, request: str, scale: Mapping[str, int | None], asked: tuple[str, ...] = ()) -> None:
        """Start the loader; the outcome is the event Loaded or LoadFailed.

        scale: replicas by service, instead of the file's; asked: the services of `scale` that must be in the file.
        """
        self._answer = b""
        try:
            self._child.start(first_loader.arguments(request, dict(scale), asked), stdin=0)
        except OSError as error:
            self._refuse(start_failure.no_room(error))

    def take_over(self, started: Started) -> None:
        """Go on with a loader that runs already (first_loader.py)."""
        self._child.take_over(started)

    def _refuse(self, why: str, code: int = EXIT_SYSTEM) -> None:
        self._context.emit(events.LoadFailed((f"cannot read the file: {why}",), code))

    def abandon(self) -> None:
        """Kill the loader: its answer is not needed any more."""
        self._child.kill()

    def _read(self, data: bytes) -> None:
        self._answer += data

    def _ended(self, code: int, why: str) -> None:
        """The loader has been reaped, so its answer is complete."""
        if why:
            self._refuse(f"the loader cannot start: {why}")
        elif code != 0:
            how = describe_exit(code)
            self._refuse(f"the loader ended with {how} (its output is above; please report it)", EXIT_BUG)
        else:
            self._handle_answer(marshal.loads(self._answer))  # noqa: S302 - from our own loader, never from a user
        self._answer = b""

    def _handle_answer(self, answer: dict[str, object]) -> None:
        for line in _lines(answer["warnings"]):
            self._output.say("warning", "", line)
        if answer["plan"] is None:
            self._context.emit(events.LoadFailed(_lines(answer["problems"]), int(str(answer["exit_code"]))))
            return
        plan = from_plain(answer["plan"])
        problems = self._sockets.prepare(plan)
        if problems:
            self._context.emit(events.LoadFailed(tuple(problems), EXIT_SYSTEM))
        else:
            self._context.emit(events.Loaded(plan))


def _lines(value: object) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else ()
