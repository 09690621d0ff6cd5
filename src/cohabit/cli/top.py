"""`cohabit top`: what whole trees of processes use, read from /proc by this client; process 1 has no part in it.

A service's tree is what `status` calls its pids, and all their descendants. CPU time is that of living processes: what
a process used that ended between two looks is lost, as with top(1). Sources: proc_pid_stat(5), proc_pid_fd(5).
"""

from __future__ import annotations

import json
import select
import time

from cohabit.cli import client
from cohabit.cli.options import Command
from cohabit.cli.ps import ANY_WIDTH, WATCH
from cohabit.cli.screen import Screen
from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc
from cohabit.rendering import table
from cohabit.rendering.colours import state_of
from cohabit.rendering.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals
    from cohabit.rendering.table import Sample

COMMAND = Command(
    "top",
    "[--watch] [SERVICE...]",
    "Show what each service uses, all its processes together: CPU, memory, open descriptors.",
    (WATCH, *client.ALWAYS),
    details=(
        "CPU is in percent of one processor, over the time since the last table (half a second for the first one). "
        "Memory is what is resident; pages that processes share count for each of them. MEM % is of the container's "
        "limit, or of the machine's memory where there is none. Descriptors of another user's processes can be seen "
        "by root only: then there is a dash. Where another pid namespace hides the processes, everything is a dash.\n\n"
        'With --json: {"time", "memory_bytes" (of the limit), "services": [{"name", "processes", "threads", '
        '"cpu_percent", "cpu_seconds", "rss_bytes", "fds"}]}.'
    ),
    exits=(("0", "done"), *client.EXITS),
    examples=(("cohabit top --watch", "look on, until ^C"),),
)
_FOREIGN = "its processes cannot be seen from here: they have pids of their own (ask in its container: cohabit top)"
_MEASURED = ("processes", "threads", "cpu_percent", "cpu_seconds", "rss_bytes", "fds")
_FIRST_SECONDS, _TICK_SECONDS = 0.5, 1.0
_PARENT, _USER, _SYSTEM, _THREADS, _START, _RSS = 1, 11, 12, 17, 19, 21  # places of proc_pid_stat(5) after the name


class Process:
    """One process as it was when looked at. start: of its life, in clock ticks; with the pid it is unique."""

    def __init__(self, pid: int, words: list[bytes]) -> None:
        numbers = [int(words[place]) for place in (_PARENT, _START, _THREADS, _RSS, _USER, _SYSTEM)]
        self.pid = pid
        self.parent, self.start, self.threads = numbers[:3]
        self.rss_bytes = numbers[3] * os.sysconf("SC_PAGE_SIZE")
        self.cpu_seconds = (numbers[4] + numbers[5]) / os.sysconf("SC_CLK_TCK")


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, look, print, return the exit code."""
    values, services = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    given.restore()
    screen = Screen() if values["watch"] and client.on_terminal() and not values["json"] else None
    before, moment, seconds, noted = look(), time.monotonic(), _FIRST_SECONDS, False
    while True:
        select.select([], [], [], seconds)
        container, found = client.status(COMMAND, values, services)
        now, processes = time.monotonic(), look()
        foreign = are_foreign(container, found, processes)
        rows = [
            _unknown(service) if foreign else measure(service, processes, before, now - moment) for service in found
        ]
        if foreign:
            shown = _as_json(container, rows) if values["json"] else _names_only(found)
        else:
            shown = _as_json(container, rows) if values["json"] else _for_people(container, found, rows)
        if foreign and not noted:
            client.write(f"cohabit: {_FOREIGN}\n", 2)
            noted = True
        if screen:
            screen.show(shown)
        else:
            client.write(shown)
        if not values["watch"]:
            return 0
        before, moment, seconds = processes, now, _TICK_SECONDS


def look() -> dict[int, Process]:
    """Every process that /proc shows, by its pid."""
    found: dict[int, Process] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            words = proc.read(f"/proc/{name}/stat").rpartition(b")")[2].split()
            if len(words) > _RSS:
                found[int(name)] = Process(int(name), words)
    return found


def are_foreign(container: dict[str, Any], services: Iterable[dict[str, Any]], processes: dict[int, Process]) -> bool:
    """Whether the pids that were told are of a namespace that is not ours: none is a child of that supervisor here.

    One alone may just have ended.
    """
    pids = [pid for service in services for pid in service["pids"]]
    return pids != [] and not any(pid in processes and processes[pid].parent == container["pid"] for pid in pids)


def tree(roots: Iterable[int], processes: dict[int, Process]) -> list[Process]:
    """The processes with these pids, and all their descendants."""
    below: dict[int, list[int]] = {}
    for process in processes.values():
        below.setdefault(process.parent, []).append(process.pid)
    queue, seen = list(roots), set()
    while queue:
        pid = queue.pop()
        if pid not in seen and pid in processes:
            seen.add(pid)
            queue += below.get(pid, ())
    return [processes[pid] for pid in sorted(seen)]


def measure(
    service: dict[str, Any], processes: dict[int, Process], before: dict[int, Process], seconds: float
) -> dict[str, Any]:
    """What a service's tree uses; cpu_percent since the look before."""
    members = tree(service["pids"], processes)
    used = 0.0
    for process in members:
        old = before.get(process.pid)
        used += process.cpu_seconds - (old.cpu_seconds if old and old.start == process.start else 0.0)
    fds = [_descriptors(process.pid) for process in members]
    known = [number for number in fds if number is not None]
    return {
        "name": service["name"],
        "processes": len(members),
        "threads": sum(process.threads for process in members),
        "cpu_percent": round(max(100.0 * used / max(seconds, 0.001), 0.0), 1),
        "cpu_seconds": round(sum(process.cpu_seconds for process in members), 2),
        "rss_bytes": sum(process.rss_bytes for process in members),
        "fds": sum(known) if len(known) == len(fds) else None,
    }


def _unknown(service: dict[str, Any]) -> dict[str, Any]:
    return {"name": service["name"], **dict.fromkeys(_MEASURED)}


def _names_only(services: list[dict[str, Any]]) -> str:
    header = [table.Column(title, right=title != "NAME") for title in ("NAME", "CPU %", "MEMORY", "FDS", "PROCESSES")]
    rows = [
        [table.Cell(safe(service["name"]), state_of(service)), *(table.Cell("-") for _ in header[1:])]
        for service in services
    ]
    lines = table.table(header, rows, width=client.size(ANY_WIDTH)[0], colour=client.shows_colour())
    return "".join(f"{line}\n" for line in lines)


def _descriptors(pid: int) -> int | None:
    """How many are open; None where we may not look."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return None
    except OSError:
        return 0  # it has just ended


def _for_people(container: dict[str, Any], services: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    samples: list[Sample] = [
        table.Sample(
            row["name"], row["processes"], row["cpu_percent"], row["rss_bytes"], row["fds"], row["threads"],
            state_of(service),
        )
        for service, row in zip(services, rows, strict=True)
    ]  # fmt: skip
    limit, (width, _) = _memory(container), client.size(ANY_WIDTH)
    lines = table.top(samples, memory_bytes=limit, width=width, colour=client.shows_colour())
    return "".join(f"{line}\n" for line in lines)


def _as_json(container: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    told = {"time": container["time"], "memory_bytes": _memory(container), "services": rows}
    return json.dumps(told) + "\n"


def _memory(container: dict[str, Any]) -> int | None:
    """The container's limit, else the machine's memory."""
    limit = container.get("memory_limit")
    if limit:
        return int(limit)
    words = proc.read("/proc/meminfo").split(maxsplit=2)
    return int(words[1]) * 1024 if words[:1] == [b"MemTotal:"] else None
