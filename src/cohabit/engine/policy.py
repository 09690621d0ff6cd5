"""Numbers in, verdict out: whether a service that ended starts again, and when. Pure functions.

The numbers are Docker's (moby, restartmanager): 100 ms, doubling up to 60 s, forgotten once a run has lasted
ten seconds. `on-failure:N` gives up after N restarts in a row.
"""

from __future__ import annotations

from cohabit.engine.machine import BACKOFF, EXITED, FATAL
from cohabit.errors import EXIT_CANNOT_RUN, EXIT_NOT_FOUND
from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Restart

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 60.0


class Verdict(Record):
    """What becomes of a service that ended: its next state.

    For BACKOFF also the number of this restart in a row (from 1) and the delay before it.
    """

    state: str
    restarts: int = 0
    delay_seconds: float = 0.0


def backoff_seconds(restart: Restart, restarts: int) -> float:
    """Delay before the restart with this number in a row, counted from 1."""
    return docker_backoff_seconds(restarts) if restart.delay_seconds is None else restart.delay_seconds


def docker_backoff_seconds(restarts: int) -> float:
    """Docker's delay before the restart with this number in a row: 100 ms, doubling, to 60 s."""
    doublings = min(restarts - 1, 16)
    return min(FIRST_DELAY_SECONDS * 2.0**doublings, LONGEST_DELAY_SECONDS)


def verdict(
    restart: Restart, code: int, ran_seconds: float, restarts: int, *, started: bool, again: bool = False
) -> Verdict:
    """What follows an end by itself.

    code: exit code of the run. ran_seconds: how long it ran. restarts: how many restarts in a row came
    before. started: False when the command could not be started. again: it was ended in order to be started
    again (on_failure: restart), whatever its restart policy. A command that is not there or will not
    run (127, 126) is final, as for `docker run --restart`; a machine that is out of processes is not.
    """
    if not started and code in (EXIT_CANNOT_RUN, EXIT_NOT_FOUND):
        return Verdict(FATAL, restarts)
    wants_restart = again or restart.condition == "always" or (restart.condition == "on-failure" and code != 0)
    if not wants_restart:
        return Verdict(EXITED if started else FATAL, restarts)
    if started and ran_seconds >= restart.window_seconds:
        restarts = 0
    if restart.attempts is not None and restarts >= restart.attempts:
        return Verdict(FATAL, restarts)
    # A fixed delay is the user's word for a service that ends. Of 0 s it would spin on a full machine.
    pause = backoff_seconds(restart, restarts + 1) if started else docker_backoff_seconds(restarts + 1)
    return Verdict(BACKOFF, restarts + 1, pause)
