"""Read-only access to processes through /proc. Every process may have ended meanwhile."""

import os
from typing import NamedTuple


class Process(NamedTuple):
    """One process, with its pids as seen from outside its namespace."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    command: str


def find(pid: int) -> Process | None:
    """Return a process, or None when it is gone."""
    try:
        stat = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        command = _read(f"/proc/{pid}/cmdline").rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return None
    parent, group, session = (int(word) for word in stat[1:4])
    return Process(pid, parent, group, session, stat[0].decode(), command)


def all_processes() -> list[Process]:
    """Return all processes that /proc shows."""
    found = (find(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process]


def children(pid: int) -> list[Process]:
    """Return the children of a process, zombies included."""
    return [process for process in all_processes() if process.parent == pid]


def descendants(pid: int) -> list[Process]:
    """Return all descendants of a process. Below process 1 of a namespace that is the whole namespace."""
    by_parent: dict[int, list[Process]] = {}
    for process in all_processes():
        by_parent.setdefault(process.parent, []).append(process)
    found = list(by_parent.get(pid, []))
    for process in found:
        found.extend(by_parent.get(process.pid, []))
    return found


def status(pid: int, key: str) -> str:
    """Return one value of /proc/PID/status, without its unit."""
    for line in _read(f"/proc/{pid}/status").decode("utf-8", "replace").splitlines():
        if line.startswith(key + ":"):
            return line.partition(":")[2].split()[0]
    raise AssertionError(f"/proc/{pid}/status has no {key}")


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
