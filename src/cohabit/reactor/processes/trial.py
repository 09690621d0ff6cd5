"""Run one program to its end while the loop does not run: whether it starts, and exits with 0 in time.

Used before an exec that cannot be undone. All signals must be blocked. Other children that end meanwhile are reaped
by the loop when it continues.
"""

from __future__ import annotations

import time

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.processes.child import SpawnSpec


def ends_well(start: SpawnSpec, seconds: float) -> bool:
    """Whether the command exits with 0 within that time. False also if the system has no room for another process."""
    try:
        pid, errors = spawn.spawn(start)
    except OSError:
        return False
    os.close(errors)
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status == 0
        left = deadline - time.monotonic()
        if left <= 0:
            os.kill(pid, signals.KILL)
            os.waitpid(pid, 0)
            return False
        signals.wait_for((signals.CHLD,), left)
