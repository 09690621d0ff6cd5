"""The final sweep: send TERM to every process, wait for the last one during the grace period, then send KILL.

When process 1 exits, the kernel kills the whole namespace without warning; tini, dumb-init and catatonit rely on that.
Here each running process is sent TERM, in whatever session or group it is, and gets the rest of the grace period. The
wait ends with the last process. Used by `init`, and by the loop as a last resort.
"""

from __future__ import annotations

import time

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes.tree import Trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# A wait after each SIGKILL, for processes in an uninterruptible sleep. Repeated for processes that were created
# meanwhile. Docker waits as long in total.
_KILL_WAIT_SECONDS, _KILLS = 0.5, 4
_MEANWHILE_SECONDS = 0.05


def sweep(trees: Trees, grace_seconds: float, meanwhile: Callable[[], None] | None = None) -> bool:
    """End every process under us; True if SIGKILL was needed. A stop signal meanwhile ends the grace period.

    All signals must be blocked: they are taken from the queue here. meanwhile: called every 50 ms while a process is
    running, to read what the processes write.
    """
    if _all_gone():
        return False
    trees.signal_all(signals.TERM)
    if _wait_until_gone(grace_seconds, meanwhile, interruptible=True):
        return False
    for _ in range(_KILLS):
        trees.signal_all(signals.KILL)
        if _wait_until_gone(_KILL_WAIT_SECONDS, meanwhile, interruptible=False):
            break
    return True


def sweep_after(main: int, grace_seconds: float) -> bool:
    """Sweep for `init`, which knows the pid of its main child only."""
    trees = Trees("")
    trees.started("main", main)  # without /proc, only its process group is known
    return sweep(trees, grace_seconds)


def _all_gone() -> bool:
    """Reap what can be reaped; True if we have no children left, and so no descendants."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False


def _wait_until_gone(seconds: float, meanwhile: Callable[[], None] | None, *, interruptible: bool) -> bool:
    deadline = time.monotonic() + seconds
    while not _all_gone():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        if meanwhile is not None:
            meanwhile()
            left = min(left, _MEANWHILE_SECONDS)
        got = signals.wait_for(signals.ALL, left)
        if got is None and meanwhile is not None:
            continue
        if got is None or (interruptible and got.si_signo in signals.STOP_SIGNALS):
            return _all_gone()
    return True
