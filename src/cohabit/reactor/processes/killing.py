"""Kill a tree that may fork while it is killed, without a cgroup.

A process that is killed makes room under the limit of processes for one more child of another one, so killing alone
may never come to an end. Therefore all processes are stopped first, pass after pass, until a pass finds none that could
still fork: a stopped process keeps its place under the limit and does not fork. Then all are killed. The time for this
is bounded, since process 1 does nothing else meanwhile; a process that was missed becomes an orphan, and
tree.py kills it then.

A pass is a reading of /proc: a child that is being born meanwhile is not in it yet, and the children of a process that
ends meanwhile become ours after ours were read. So a pass that finds a running process, or one that has ended since
the last pass, is never the last. Where there is a cgroup, the kernel does all this at once (cgroup.py).

A process that is not a child of ours may end, and its number be given again, between the reading and the signal: each
signal goes to the process that was read, or to none (proc.send_to).
"""

from __future__ import annotations

import time

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.proc import send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cohabit.reactor.processes.proc import Process

_PATIENCE_SECONDS = 1.0  # a fork bomb leaves us little of a processor; all others need some milliseconds
_PAUSE_SECONDS = 0.0005  # for those who are told to stop and have had no turn to do so


def tell(processes: Iterable[Process], number: int) -> None:
    """Send a signal to each; one that is stopped must get it too, as with systemd."""
    for process in processes:
        proc.send_to(process, number, signals.CONT)


def kill(find: Callable[[], Iterable[Process]], owns_group: Callable[[Process], bool] = lambda _: True) -> None:
    """Kill all that `find` finds, and their children that are born meanwhile.

    owns_group: whether the whole process group of one that was found belongs to the tree.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    stopped: dict[tuple[int, int], Process] = {}  # by number and start: a number may be given again
    ended: set[tuple[int, int]] = set()
    while True:
        processes = list(find())
        fresh, running = _stop(processes, stopped, owns_group)
        dead = {(process.pid, process.start) for process in processes if not process.lives}
        fresh = fresh or not dead <= ended
        ended |= dead
        if not (fresh or running) or time.monotonic() > deadline:
            break
        if not fresh:
            time.sleep(_PAUSE_SECONDS)
    for process in stopped.values():
        proc.send_to(process, signals.KILL)


def _stop(
    processes: Iterable[Process], stopped: dict[tuple[int, int], Process], owns_group: Callable[[Process], bool]
) -> tuple[bool, bool]:
    """One pass: stop what is not in `stopped` yet. Returns whether there was any, and whether anything still runs.

    A process group gets a signal at once, so one that hands itself on from child to child is caught in it.
    """
    fresh = running = False
    groups: set[int] = set()
    for process in processes:
        if not process.lives:
            continue
        running = running or process.can_run
        if (process.pid, process.start) in stopped:
            continue
        fresh = True
        stopped[process.pid, process.start] = process
        if not proc.send_to(process, signals.STOP) or process.group in groups:
            continue
        now = proc.look(process.pid)  # it cannot leave its group any more
        if now is None or now.start != process.start or not now.lives or now.session == os.getsid(0):
            continue
        if owns_group(now):
            groups.add(now.group)
            send(-now.group, signals.STOP)
    return fresh, running
