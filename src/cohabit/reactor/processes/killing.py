"""Killing a tree that may fork while it is killed, by the means that everybody has.

Who is killed makes room under the limit of processes for one more child of his brother's; so killing alone may
never come to an end. Therefore everybody is stopped first, pass after pass, until a pass finds nobody who could
still fork: who is stopped keeps his place, does not fork, and cannot know what comes. Then all are killed. What
is bounded is our own time, since nobody else in process 1 has his turn meanwhile; who is missed after all
becomes an orphan, and tree.py sends it after the others.

A pass is a reading of /proc: a child that is being born meanwhile is not in it yet, which is why a pass that
finds somebody running is never the last. Where there is a cgroup, the kernel does all this at once (cgroup.py).
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

_PATIENCE_SECONDS = 1.0  # a fork bomb leaves us little of a processor; all others need some milliseconds
_PAUSE_SECONDS = 0.0005  # for those who are told to stop and have had no turn to do so


def tell(pids: Iterable[int], number: int) -> None:
    """Send a signal to each; whoever is stopped must hear it too, as with systemd."""
    for pid in pids:
        send(pid, number)
        send(pid, signals.CONT)


def kill(find: Callable[[], Iterable[int]]) -> None:
    """Kill all whom `find` finds, and whomever they bear meanwhile."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    stopped: dict[int, int] = {}  # pid -> start: a number may come again for somebody else
    while True:
        fresh, running = _stop(find(), stopped)
        if not (fresh or running) or time.monotonic() > deadline:
            break
        if not fresh:
            time.sleep(_PAUSE_SECONDS)
    for pid in stopped:
        send(pid, signals.KILL)


def _stop(pids: Iterable[int], stopped: dict[int, int]) -> tuple[bool, bool]:
    """One pass: stop whoever is not in `stopped` yet. Returns whether there was one, whether anybody still runs.

    A process group hears a signal at once, so one that hands itself on from child to child is caught in it. A group
    of a session other than ours has only processes of the tree.
    """
    fresh = running = False
    groups: set[int] = set()
    for pid in pids:
        process = proc.look(pid)
        if process is None or not process.lives:
            continue
        running = running or process.can_run
        if stopped.get(pid) == process.start:
            continue
        fresh = True
        stopped[pid] = process.start
        send(pid, signals.STOP)
        if process.group not in groups and process.session != os.getsid(0):
            groups.add(process.group)
            send(-process.group, signals.STOP)
    return fresh, running
