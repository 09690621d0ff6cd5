"""The installed program that is to replace the running one: a child checks first whether it can take over our state."""

from __future__ import annotations

from cohabit.program import program
from cohabit.reactor.crossing import versions
from cohabit.reactor.processes import start_failure
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.units import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.reactor.context import Context

_KEY = "\0successor"


def successor_command() -> tuple[str, ...]:
    """Return the command that checks whether the installed program starts and can take over."""
    return program("cohabit", options=("-X", f"cohabit-takes-over={versions()}"))


class Successor:
    """why: None while it is being checked, else why it cannot take over, or "". accepted: it is to replace us.

    on_decided is called when `why` has become known.
    """

    def __init__(self, context: Context, on_decided: Callable[[], None]) -> None:
        self._context = context
        self._on_decided = on_decided
        self.why: str | None = ""
        self.accepted = False

    def check(self) -> None:
        """Check the installed program, before our program is replaced."""
        self.why = None
        start = SpawnSpec(successor_command(), dict(self._context.environment), self._context.given)
        try:
            self._context.run_program(_KEY, start, self._checked)
        except OSError as error:
            self.refuse(start_failure.no_room(error))

    def _checked(self, code: int, why: str) -> None:
        if code == 0:
            self.why, self.accepted = "", True
            self._on_decided()
        else:
            self.refuse(why or f"the installed program cannot take over: it ended with {describe_exit(code)}")

    def refuse(self, why: str) -> None:
        """Report that our program is not replaced."""
        self.why = f"cannot re-execute: {why} (nothing was changed)"
        self._context.log("error", "", self.why)
        self._on_decided()
