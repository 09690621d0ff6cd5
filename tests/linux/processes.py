"""Read-only access to processes through /proc. Every process may have ended meanwhile."""

import contextlib
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
        state, parent, group, session = _stat(pid)
        command = _read(f"/proc/{pid}/cmdline").rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return None
    return Process(pid, parent, group, session, state, command)


def children(pid: int) -> list[Process]:
    """Return the children of a process, zombies included."""
    return _existing(_by_parent().get(pid, []))


def descendants(pid: int) -> list[Process]:
    """Return all descendants of a process. Below process 1 of a namespace that is the whole namespace."""
    by_parent = _by_parent()
    found = list(by_parent.get(pid, []))
    for one in found:
        found.extend(by_parent.get(one, []))
    return _existing(found)


def _by_parent() -> dict[int, list[int]]:
    """The pids of all processes, by parent. Tests look often: only one file of each process is read."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                found.setdefault(_stat(int(name))[1], []).append(int(name))
    return found


def _existing(pids: list[int]) -> list[Process]:
    return [process for process in map(find, pids) if process]


def status(pid: int, key: str) -> str:
    """Return one value of /proc/PID/status, without its unit."""
    for line in _read(f"/proc/{pid}/status").decode("utf-8", "replace").splitlines():
        if line.startswith(key + ":"):
            return line.partition(":")[2].split()[0]
    raise AssertionError(f"/proc/{pid}/status has no {key}")


def _stat(pid: int) -> tuple[str, int, int, int]:
    """The state, parent, group and session of a process."""
    state, parent, group, session = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split(None, 4)[:4]
    return state.decode(), int(parent), int(group), int(session)


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        data = b""
        while piece := os.read(fd, 1 << 16):
            data += piece
        return data
    finally:
        os.close(fd)
