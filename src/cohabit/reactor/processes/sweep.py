"""The end of everybody: ask, wait until the last has gone, at most so long, then kill.

`kill` of process 1 ends a namespace at once and without a word; that is how tini, dumb-init and catatonit
leave. Here each process that still lives is sent TERM, wherever it hides, and has the rest of the grace
period; the wait ends with the last of them. Used by `init`, and by the loop when all else fails.
"""

from __future__ import annotations

import time

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes.tree import Trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# For those in an uninterruptible sleep; Docker waits as long. Again and again, for those who were born meanwhile.
_KILL_PATIENCE_SECONDS, _KILLS = 0.5, 4
_MEANWHILE_SECONDS = 0.05


def sweep(trees: Trees, grace_seconds: float, meanwhile: Callable[[], None] | None = None) -> bool:
    """End every process under us; True if SIGKILL was needed. A stop signal in the meantime cuts the grace.

    All signals must be blocked: they are taken from the queue here. meanwhile: called again and again while somebody
    lives, to read what they write.
    """
    if _all_gone():
        return False
    trees.signal_everybody(signals.TERM)
    if _wait_until_gone(grace_seconds, meanwhile, interruptible=True):
        return False
    for _ in range(_KILLS):
        trees.signal_everybody(signals.KILL)
        if _wait_until_gone(_KILL_PATIENCE_SECONDS, meanwhile, interruptible=False):
            break
    return True


def sweep_after(main: int, grace_seconds: float) -> bool:
    """`sweep` for `init`, of which only the main child's pid is known."""
    trees = Trees("")
    trees.started("main", main)  # without /proc its process group is all that is known
    return sweep(trees, grace_seconds)


def _all_gone() -> bool:
    """Reap what can be reaped; True when we have no children, and so no descendants, any more."""
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
