"""The end of the processes that are left when main of `init` has ended, or has used up its grace period.

`init` loads this only when something is left. Where orphans do not become our children (`-S`), only main's process
group is known: its members are found in /proc and waited for by their pidfds.
"""

from __future__ import annotations

import select
import time

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes import killing, proc
from cohabit.reactor.processes.sweep import SILENT_SECONDS, Watch, sweep
from cohabit.reactor.processes.tree import Trees
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cohabit.reactor.processes.proc import Process

_NAMED_MAX = 5  # processes in a message


def end_descendants(main: int, grace_seconds: float, watch: Watch) -> bool:
    """End every descendant of ours; True if SIGKILL was needed. A stop signal ends the grace period."""
    trees = Trees("")
    trees.started("main", main)  # without /proc, only its process group is known
    return sweep(trees, grace_seconds, watch)


def end_group(group: int, grace_seconds: float, watch: Watch) -> bool:
    """As end_descendants, for the process group of a main that has ended."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signals.set_mask(signals.listen(signals.STOP_SIGNALS, writer))
    members = _members(group)
    killing.send_to_all(members, signals.TERM)
    began = time.monotonic()
    deadlines = [began + grace_seconds]
    if watch.waiting is not None and grace_seconds > SILENT_SECONDS:
        deadlines.insert(0, began + SILENT_SECONDS)
    while members:
        try:
            ended = _wait_for(members[0].pid, reader, deadlines[0])
        except OSError:  # no pidfd (before Linux 5.3), or no descriptor: they have been asked, which has to do
            return False
        if ended is None and len(deadlines) > 1 and watch.waiting is not None:
            del deadlines[0]
            watch.waiting()
        elif not ended:
            for process in members:
                proc.send_to(process, signals.KILL)
            return True
        members = _members(group)
    return False


def text_of_wait(seconds: float, pids: Iterable[int], hint: str) -> str:
    """Return which processes we wait for, at most so many seconds. hint: what ends the wait."""
    names = [f"{pid} ({proc.name(pid)})" for pid in pids]
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    named = ", ".join(names[:_NAMED_MAX]) + more
    return f"waiting up to {format_duration(seconds)} for the remaining processes: {named} ({hint})"


def descendants() -> list[int]:
    """Return the pids of our descendants, parents first."""
    found: list[int] = []
    ahead = [os.getpid()]
    for pid in ahead:
        children = proc.children(pid)
        found += children
        ahead += children
    return found


def members_of(group: int) -> list[int]:
    """Return the pids of the running members of a process group."""
    return [process.pid for process in _members(group)]


def _members(group: int) -> list[Process]:
    return [process for process in proc.all_processes() if process.group == group and process.lives]


def _wait_for(pid: int, reader: int, deadline: float) -> bool | None:
    """Wait for the end of a process. False: a stop signal came; None: the time is over. Raises OSError."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(reader, select.POLLIN)
    ready = [one for one, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000)]
    os.close(fd)
    return None if not ready else reader not in ready
