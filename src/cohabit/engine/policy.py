"""The restart policy: whether and when a service that ended starts again. Pure functions.

The delays are Docker's (moby, restartmanager): 100 ms, doubled at each restart up to 60 s, and reset by a run of at
least 10 s. `on-failure:N` allows N restarts in a row.

A service with `startup` that fails to start follows supervisord's rule instead (process.py): so many retries, after 1,
2, 3… seconds.
"""

from __future__ import annotations

from cohabit.engine.machine import BACKOFF, EXITED, FATAL
from cohabit.errors import EXIT_CANNOT_RUN, EXIT_NOT_FOUND
from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Restart, Startup

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 60.0
# Between two starts of a service with `startup` that its policy restarts at once: supervisord looks once a second.
BETWEEN_STARTS_SECONDS = 1.0


class Verdict(Record):
    """The next state of a service that ended: BACKOFF, EXITED or FATAL.

    restarts: restarts in a row, with BACKOFF including the coming one. delay_seconds: the delay before it.
    """

    state: str
    restarts: int = 0
    delay_seconds: float = 0.0


def backoff_seconds(restart: Restart, restarts: int) -> float:
    """The delay before restart number `restarts` in a row, counted from 1."""
    return docker_backoff_seconds(restarts) if restart.delay_seconds is None else restart.delay_seconds


def docker_backoff_seconds(restarts: int) -> float:
    """Docker's delay before restart number `restarts` in a row: 100 ms, doubled each time, at most 60 s."""
    doublings = min(restarts - 1, 16)
    return min(FIRST_DELAY_SECONDS * 2.0**doublings, LONGEST_DELAY_SECONDS)


def verdict(
    restart: Restart,
    code: int,
    ran_seconds: float,
    restarts: int,
    *,
    started: bool,
    failure: bool,
    restart_requested: bool = False,
) -> Verdict:
    """What follows when a service has ended without a request.

    code: exit code of the run. ran_seconds: its duration. restarts: restarts in a row before it. started: False when
    the command could not be started. failure: its end is not an expected one. restart_requested: `on_failure: restart`
    ended it, so it restarts whatever its policy says. A command that is not found or cannot be executed (127, 126) is
    FATAL, as with `docker run --restart`. A start that failed for want of resources follows the policy.
    """
    if not started and code in (EXIT_CANNOT_RUN, EXIT_NOT_FOUND):
        return Verdict(FATAL, restarts)
    by_policy = restart.condition == "always" or (restart.condition == "on-failure" and failure)
    if not (restart_requested or by_policy):
        return Verdict(EXITED if started else FATAL, restarts)
    if started and ran_seconds >= restart.window_seconds:
        restarts = 0
    if restart.attempts is not None and restarts >= restart.attempts:
        return Verdict(FATAL, restarts)
    # A fixed delay applies after a run. After a failed start, one of 0 s would loop without a pause.
    delay = backoff_seconds(restart, restarts + 1) if started else docker_backoff_seconds(restarts + 1)
    return Verdict(BACKOFF, restarts + 1, delay)


def failed_start(startup: Startup, failed_before: int) -> Verdict:
    """What follows when a service with `startup` has ended before it counts as started, whatever the exit code.

    failed_before: failed starts in a row before this one.
    """
    if failed_before >= startup.retries:
        return Verdict(FATAL, failed_before)
    return Verdict(BACKOFF, failed_before + 1, failed_before + 1.0)
