"""The loop, for the commands that run services: its start, and how it goes on after a re-execution.

It imports all that process 1 needs. up.py and run.py, which parse the command line, import it when the loader runs.
"""

from __future__ import annotations

from cohabit.reactor import reexecution
from cohabit.reactor.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.side_process import Started
    from cohabit.reactor.signals import InheritedSignals


def begin(given: InheritedSignals, request: str, loader: Started | None, *, quiet: bool) -> int | bytes:
    """Run what the loader makes of the request. Returns the exit code, or the state for another program (go_on)."""
    loop = Loop(given, request, quiet=quiet)
    loop.start(loader)
    return reexecution.run(loop)


def takes_over(versions: str) -> int:
    """Whether this program can go on where one with that version of the state stops, as an exit code."""
    return reexecution.takes_over(versions)


def resume(given: InheritedSignals, fd: int) -> int | bytes:
    """Go on after an exec. fd: has the state of the former program."""
    return reexecution.resume(given, fd)


def go_on(state: bytes, programs: int, why_not: str) -> int | bytes:
    """Go on without an exec. programs: earlier ones in this process; why_not: why this is the former program."""
    return reexecution.go_on(state, programs, why_not)
