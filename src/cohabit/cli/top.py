"""`cohabit top`: the resource usage of whole process trees. This client reads /proc; process 1 does no work for it.

A service's tree consists of its `pids` in the answer to `status` and of all their descendants. CPU time is that of
living processes: as in top(1), the time of a process that ended between two samples is missing. Sources:
proc_pid_stat(5), proc_pid_fd(5).
"""

from __future__ import annotations

import json
import select
import time

from cohabit.cli import client
from cohabit.cli.options import Command
from cohabit.cli.ps import UNLIMITED_WIDTH, WATCH
from cohabit.cli.screen import Screen
from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc
from cohabit.rendering import table
from cohabit.rendering.colours import state_of
from cohabit.rendering.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from cohabit.client import Client, ContainerStatus, ServiceStatus, Status
    from cohabit.reactor.signals import InheritedSignals
    from cohabit.rendering.table import Sample

COMMAND = Command(
    "top",
    "[--watch] [SERVICE...]",
    "Show the CPU time, the memory and the open descriptors of each service, all its processes together.",
    (WATCH, *client.ALWAYS),
    details=(
        "CPU % is the share of one processor since the last table (half a second for the first one). MEMORY is "
        "resident memory; shared pages count for each process. MEM % is the share of the container's memory limit, or "
        "of the machine's memory without a limit. A dash stands for a service that does not run, and for what cannot "
        "be read: the descriptors of other users' processes (only root can), or everything if the processes are in "
        "another PID namespace. "
        "Without names, the last lines show cohabit itself: process 1, and the programs that it runs (log writer, …).\n"
        "\n"
        'With --json: {"time", "memory_bytes" (the limit), "services": [{"name", "processes", "threads", '
        '"cpu_percent", "cpu_seconds", "rss_bytes", "fds"}], "cohabit": [the same]}.'
    ),
    exit_codes=(("0", "done"), *client.EXIT_CODES),
    examples=(("cohabit top --watch", "a new table every second, until ^C"),),
)
_FOREIGN = (
    "cannot read the usage: the services' processes are in another PID namespace (run cohabit top in their container)"
)
_MEASURED = ("processes", "threads", "cpu_percent", "cpu_seconds", "rss_bytes", "fds")
_FIRST_SECONDS, _TICK_SECONDS = 0.5, 1.0
_PARENT, _USER, _SYSTEM, _THREADS, _START, _RSS = 1, 11, 12, 17, 19, 21  # fields of proc_pid_stat(5) after the name


class Process:
    """One process in a sample. start: when it started, in clock ticks since boot; unique together with the pid."""

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        numbers = [int(fields[index]) for index in (_PARENT, _START, _THREADS, _RSS, _USER, _SYSTEM)]
        self.pid = pid
        self.parent, self.start, self.threads = numbers[:3]
        self.rss_bytes = numbers[3] * os.sysconf("SC_PAGE_SIZE")
        self.cpu_seconds = (numbers[4] + numbers[5]) / os.sysconf("SC_CLK_TCK")


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, sample, print, return the exit code."""
    values, services = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    inherited.restore()
    screen = Screen() if values["watch"] and client.is_terminal() and not values["json"] else None
    for sample in samples(client.connect(COMMAND, values), services):
        shown = _as_json(sample) if values["json"] else _names_only(sample) if sample.foreign else _as_text(sample)
        if screen:
            screen.show(shown)
        else:
            client.write(shown)
        if not values["watch"]:
            break
    return 0


class Usage:
    """One sample. rows: the usage of each service, as in the JSON of `top`; own: that of cohabit itself.

    foreign: the processes are in another PID namespace, so every value is None.
    """

    def __init__(
        self, status: Status, processes: dict[int, Process], before: dict[int, Process], seconds: float
    ) -> None:
        container, self.services = status.container, status.services
        self.time, self.memory_bytes = container.time, _memory(container)
        self.foreign = are_foreign(container, self.services, processes)
        self.rows = [
            _unknown(service.name)
            if self.foreign
            else measure(service.name, tree(service.pids, processes), before, seconds)
            for service in self.services
        ]
        known = not self.foreign and any(service.pids for service in self.services)
        self.own = _own(container, processes, before, seconds) if known else []


def samples(cohabit: Client, services: Sequence[str]) -> Iterator[Usage]:
    """A sample after half a second, then one every second. If nothing can be read, the reason is printed once."""
    before, moment, seconds, warned = read_processes(), time.monotonic(), _FIRST_SECONDS, False
    while True:
        select.select([], [], [], seconds)
        status = cohabit.status(*services)
        now, processes = time.monotonic(), read_processes()
        sample = Usage(status, processes, before, now - moment)
        if services:
            sample.own = []
        if sample.foreign and not warned:
            client.write(f"cohabit: {_FOREIGN}\n", 2)
            warned = True
        yield sample
        before, moment, seconds = processes, now, _TICK_SECONDS


def read_processes() -> dict[int, Process]:
    """Every process in /proc, by its pid."""
    found: dict[int, Process] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            fields = proc.read(f"/proc/{name}/stat").rpartition(b")")[2].split()
            if len(fields) > _RSS:
                found[int(name)] = Process(int(name), fields)
    return found


def are_foreign(container: ContainerStatus, services: Iterable[ServiceStatus], processes: dict[int, Process]) -> bool:
    """Whether the pids of the services belong to another PID namespace: here, none is a child of that supervisor.

    A single mismatch proves nothing: that process may just have ended.
    """
    pids = [pid for service in services for pid in service.pids]
    return pids != [] and not any(pid in processes and processes[pid].parent == container.pid for pid in pids)


def tree(roots: Iterable[int], processes: dict[int, Process]) -> list[Process]:
    """The processes with these pids and all their descendants, sorted by pid."""
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


def _own(
    container: ContainerStatus, processes: dict[int, Process], before: dict[int, Process], seconds: float
) -> list[dict[str, Any]]:
    """The usage of cohabit itself: process 1, and each running program of its own."""
    pids = {container.pid: "cohabit"}
    for program in container.programs:
        pids[program.pid] = f"cohabit {program.name}" + (f" ({program.service})" if program.service else "")
    return [measure(name, [processes[pid]], before, seconds) for pid, name in pids.items() if pid in processes]


def measure(name: str, members: list[Process], before: dict[int, Process], seconds: float) -> dict[str, Any]:
    """The usage of some processes. before: the previous sample, taken `seconds` ago, for cpu_percent."""
    used = 0.0
    for process in members:
        old = before.get(process.pid)
        used += process.cpu_seconds - (old.cpu_seconds if old and old.start == process.start else 0.0)
    fds = [_descriptors(process.pid) for process in members]
    known = [number for number in fds if number is not None]
    return {
        "name": name,
        "processes": len(members),
        "threads": sum(process.threads for process in members),
        "cpu_percent": round(max(100.0 * used / max(seconds, 0.001), 0.0), 1),
        "cpu_seconds": round(sum(process.cpu_seconds for process in members), 2),
        "rss_bytes": sum(process.rss_bytes for process in members),
        "fds": sum(known) if len(known) == len(fds) else None,
    }


def _unknown(name: str) -> dict[str, Any]:
    return {"name": name, **dict.fromkeys(_MEASURED)}


def _names_only(sample: Usage) -> str:
    header = [table.Column(title, right=title != "NAME") for title in ("NAME", "CPU %", "MEMORY", "FDS", "PROCESSES")]
    rows = [
        [table.Cell(safe(service.name), state_of(service)), *(table.Cell("-") for _ in header[1:])]
        for service in sample.services
    ]
    lines = table.table(header, rows, width=client.terminal_size(UNLIMITED_WIDTH)[0], colour=client.uses_colour())
    return "".join(f"{line}\n" for line in lines)


def _descriptors(pid: int) -> int | None:
    """The number of open descriptors; None without permission to read it."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return None
    except OSError:
        return 0  # it has just ended


def _as_text(sample: Usage) -> str:
    states = [*(state_of(service) for service in sample.services), *("" for _ in sample.own)]
    shown: list[Sample] = [
        table.Sample(
            row["name"], row["processes"], row["cpu_percent"], row["rss_bytes"], row["fds"], row["threads"], state
        )
        for row, state in zip(sample.rows + sample.own, states, strict=True)
    ]
    width, _ = client.terminal_size(UNLIMITED_WIDTH)
    lines = table.top(shown, memory_bytes=sample.memory_bytes, width=width, colour=client.uses_colour())
    return "".join(f"{line}\n" for line in lines)


def _as_json(sample: Usage) -> str:
    usage = {"time": sample.time, "memory_bytes": sample.memory_bytes, "services": sample.rows, "cohabit": sample.own}
    return json.dumps(usage) + "\n"


def _memory(container: ContainerStatus) -> int | None:
    """Bytes of the container's limit, else of the machine's memory; None if neither is known."""
    if container.memory_limit:
        return container.memory_limit
    fields = proc.read("/proc/meminfo").split(maxsplit=2)
    return int(fields[1]) * 1024 if fields[:1] == [b"MemTotal:"] else None
