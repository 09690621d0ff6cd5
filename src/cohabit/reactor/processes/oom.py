"""Out of memory: how much memory the container may use, and whether the kernel killed a process for lack of it.

A SIGKILL does not show its sender. But the memory cgroup counts each process that the kernel kills in it, before the
signal is sent. So if a process ended by a SIGKILL that we did not send, and the count has grown, the process ran out
of memory. The count may have grown for another process (for example a worker whose parent went on); the kernel does
not report which one.

Both versions of cgroups: `memory.events` and `memory.max`, or `memory.oom_control` and `memory.limit_in_bytes`.
Sources: the kernel's cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.cgroup import places

_CONTROLLER = "memory"
_NO_LIMIT = 1 << 60  # version 1 shows "no limit" as a number above this


class OutOfMemory:
    """The count of the memory cgroup that we are in. count: its value when it was last read."""

    def __init__(self) -> None:
        self._file = _find("memory.events", "memory.oom_control")
        self.count = self._read()

    def killed_one(self) -> bool:
        """Whether the kernel has killed a process since the last call."""
        before, self.count = self.count, self._read()
        return self.count > before

    def _read(self) -> int:
        for line in proc.read(self._file).splitlines():
            name, _, number = line.partition(b" ")
            if name == b"oom_kill":
                return int(number)
        return 0


def memory_limit() -> int | None:
    """Return how many bytes our cgroup may use; None if there is no limit or it cannot be read."""
    value = proc.read(_find("memory.max", "memory.limit_in_bytes")).strip()
    return int(value) if value.isdigit() and int(value) < _NO_LIMIT else None


def _find(version_2: str, version_1: str) -> str:
    """Return the path of a file of our own cgroup, or "". If both versions are mounted, one has the controller."""
    for controller, name in (("", version_2), (_CONTROLLER, version_1)):
        for directory, _ in places(controller):
            if os.access(f"{directory}/{name}", os.R_OK):
                return f"{directory}/{name}"
    return ""
