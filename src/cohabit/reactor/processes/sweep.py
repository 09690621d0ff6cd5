"""The final sweep: send TERM to every process, wait for the last one during the grace period, then send KILL.

When process 1 exits, the kernel kills the whole namespace without warning; tini, dumb-init and catatonit rely on that.
Here each running process is sent TERM, in whatever session or group it is, and gets the rest of the grace period. The
wait ends with the last process. Used by `init` (remaining.py), and by the loop as a last resort.
"""

from __future__ import annotations

import time

from cohabit.reactor import signals
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.reactor.processes.tree import Trees

# A wait after each SIGKILL, for processes in an uninterruptible sleep. Repeated for processes that were created
# meanwhile. Docker waits as long in total.
_KILL_WAIT_SECONDS, _KILLS = 0.5, 4
_MEANWHILE_SECONDS = 0.05
SILENT_SECONDS = 1.0  # of a wait: most ends take less, and need no message
_TAKEN = signals.ALL - signals.JOB_CONTROL


class Watch:
    """What a sweep does beside its work; by default nothing.

    meanwhile: called every 50 ms while a process is running, to read what the processes write. reaped(pid, status):
    called for each child that has ended. waiting: called once, when the grace period has lasted one second.
    """

    def __init__(
        self,
        meanwhile: Callable[[], None] | None = None,
        reaped: Callable[[int, int], None] | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> None:
        self.meanwhile = meanwhile
        self.reaped = reaped
        self.waiting = waiting


def sweep(trees: Trees, grace_seconds: float, watch: Watch) -> bool:
    """End every process under us; True if SIGKILL was needed. A stop signal meanwhile ends the grace period.

    All signals but those of job control must be blocked: they are taken from the queue here.
    """
    if _all_gone(watch):
        return False
    refused = trees.signal_all(signals.TERM)
    if _only(trees, refused):
        return True
    now, ended = time.monotonic(), None
    if watch.waiting is not None and grace_seconds > SILENT_SECONDS:
        ended = _wait_until(now + SILENT_SECONDS, watch, interruptible=True)
        if ended is None:
            watch.waiting()
    if ended is None:
        ended = _wait_until(now + grace_seconds, watch, interruptible=True)
    if ended:
        return False
    for _ in range(_KILLS):
        refused = trees.signal_all(signals.KILL)
        if _only(trees, refused) or _wait_until(time.monotonic() + _KILL_WAIT_SECONDS, watch, interruptible=False):
            break
    return True


def _only(trees: Trees, refused: list[int]) -> bool:
    """Whether only these processes are left, which we may not signal: their end is not waited for."""
    return bool(refused) and {process.pid for process in trees.everything() if process.lives} <= set(refused)


def _all_gone(watch: Watch) -> bool:
    """Reap what can be reaped; True if we have no children left, and so no descendants."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False
        if watch.reaped is not None:
            watch.reaped(pid, status)


def _wait_until(deadline: float, watch: Watch, *, interruptible: bool) -> bool | None:
    """Wait for the last process. True: it has ended; False: a stop signal came; None: the time is over."""
    while not _all_gone(watch):
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        if watch.meanwhile is not None:
            watch.meanwhile()
            left = min(left, _MEANWHILE_SECONDS)
        got = signals.wait_for(_TAKEN, left)
        if got is None and watch.meanwhile is not None:
            continue
        if got is None:
            return True if _all_gone(watch) else None
        if interruptible and got.si_signo in signals.STOP_SIGNALS:
            return _all_gone(watch)
    return True
