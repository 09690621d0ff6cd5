"""Kill or stop a tree that may fork meanwhile, without a cgroup.

A process that is killed makes room under the process limit for a child of another one, so killing alone may never
end. Therefore all processes are stopped first, pass after pass, until a pass finds none that can still fork: a stopped
process keeps its place under the limit and does not fork. Then all are killed. The time is bounded, because process 1
does nothing else meanwhile; tree.py kills a process that was missed, once it is an orphan.

A pass reads /proc. It misses a child that is created meanwhile, and the children of a process that ends after our
own children were read. So a pass that finds a running process, or one that has ended since the last pass or during
this one, is never the last. With a cgroup, the kernel does all this atomically (cgroup.py).

A process that is not a child of ours may end, and its pid be reused, between the reading and the signal. So each
signal goes to the process that was read, or to none (proc.send_to). A process that we may not signal (another user's,
without CAP_KILL) is not waited for: it is returned.
"""

from __future__ import annotations

import time

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.proc import REFUSED, SENT, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cohabit.reactor.processes.proc import Process

_TIMEOUT_SECONDS = 1.0  # for a fork bomb, which leaves us little processor time; other trees take milliseconds
_PAUSE_SECONDS = 0.0005  # for processes that were sent STOP and have not run since


def send_to_all(processes: Iterable[Process], number: int) -> list[int]:
    """Send a signal to each process, then CONT: a stopped process must receive the signal too, as with systemd.

    Returns the pids of those that we may not signal.
    """
    return [
        process.pid for process in processes if proc.send_to(process, number, signals.CONT) == REFUSED and process.lives
    ]


def kill(find: Callable[[], Iterable[Process]], owns_group: Callable[[Process], bool] = lambda _: True) -> list[int]:
    """Kill all processes that `find` returns, and the children that they create meanwhile.

    Returns the pids of those that we may not signal.

    owns_group: whether the whole process group of a process belongs to the tree.
    """
    stopped, _ = _stop_all(find, owns_group)
    return [process.pid for process in stopped.values() if proc.send_to(process, signals.KILL) == REFUSED]


def stop(find: Callable[[], Iterable[Process]], owns_group: Callable[[Process], bool]) -> list[int]:
    """Stop all processes that `find` returns, and the children that they create meanwhile. As kill()."""
    _, refused = _stop_all(find, owns_group)
    return [pid for pid, _ in refused]


def _stop_all(
    find: Callable[[], Iterable[Process]], owns_group: Callable[[Process], bool]
) -> tuple[dict[tuple[int, int], Process], set[tuple[int, int]]]:
    """Return all processes of the tree, by pid and start, and which of them may not be signalled."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    stopped: dict[tuple[int, int], Process] = {}  # by pid and start: a pid may be reused
    ended: set[tuple[int, int]] = set()
    refused: set[tuple[int, int]] = set()
    while True:
        processes = list(find())
        fresh, running = _stop(processes, stopped, owns_group, refused)
        dead = {(process.pid, process.start) for process in processes if not process.lives}
        fresh = fresh or not dead <= ended
        ended |= dead
        if not (fresh or running) or time.monotonic() > deadline:
            break
        if not fresh:
            time.sleep(_PAUSE_SECONDS)
    return stopped, refused


def _stop(
    processes: Iterable[Process],
    stopped: dict[tuple[int, int], Process],
    owns_group: Callable[[Process], bool],
    refused: set[tuple[int, int]],
) -> tuple[bool, bool]:
    """One pass: stop what is not in `stopped` yet. Returns (whether a new process was found, whether one still runs).

    A process group is signalled at once: that also stops a process that replaces itself by its child again and again.
    A process that we may not signal is added to `refused`, and does not count as running.
    """
    fresh = running = False
    groups: set[int] = set()
    for process in processes:
        if not process.lives:
            continue
        running = running or (process.can_run and (process.pid, process.start) not in refused)
        if (process.pid, process.start) in stopped:
            continue
        fresh = True
        stopped[process.pid, process.start] = process
        result = proc.send_to(process, signals.STOP)
        if result == REFUSED:
            refused.add((process.pid, process.start))
        if result != SENT or process.group in groups:
            continue
        now = proc.read_process(process.pid)  # stopped: it cannot leave its group any more
        if now is None or now.start != process.start or not now.lives or now.session == os.getsid(0):
            continue
        if owns_group(now):
            groups.add(now.group)
            send(-now.group, signals.STOP)
    return fresh, running
