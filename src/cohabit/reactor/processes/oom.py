"""Memory that ran out: how much the container may use, and whether the kernel killed somebody for it.

A SIGKILL does not say who sent it. But the kernel counts, in the memory cgroup, each process that it kills there,
before it sends the signal: so whoever ended by a SIGKILL that was not ours, while that number has grown, was out of
memory. It may have been another one's death that was counted (of a worker whose parent went on, say); nobody can tell.

Both versions of cgroups: `memory.events` and `memory.max`, or `memory.oom_control` and `memory.limit_in_bytes`.
Sources: the kernel's cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.cgroup import places

_CONTROLLER = "memory"
_NO_LIMIT = 1 << 60  # version 1 has no word for none, but a number that no machine has


class OutOfMemory:
    """The count of the memory cgroup that we are in. count: what it was at the last look."""

    def __init__(self) -> None:
        self._file = _find("memory.events", "memory.oom_control")
        self.count = self._read()

    def killed_one(self) -> bool:
        """Whether the kernel has killed somebody since the last look."""
        before, self.count = self.count, self._read()
        return self.count > before

    def _read(self) -> int:
        for line in proc.read(self._file).splitlines():
            word, _, number = line.partition(b" ")
            if word == b"oom_kill":
                return int(number)
        return 0


def memory_limit() -> int | None:
    """Bytes that the cgroup we are in may use, None if there is no limit or it cannot be seen."""
    word = proc.read(_find("memory.max", "memory.limit_in_bytes")).strip()
    return int(word) if word.isdigit() and int(word) < _NO_LIMIT else None


def _find(version_2: str, version_1: str) -> str:
    """A file of our own cgroup, "" if there is none. Where both versions are mounted, one has the controller."""
    for controller, name in (("", version_2), (_CONTROLLER, version_1)):
        for directory, _ in places(controller):
            if os.access(f"{directory}/{name}", os.R_OK):
                return f"{directory}/{name}"
    return ""
