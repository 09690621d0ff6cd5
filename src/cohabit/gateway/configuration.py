"""What supervisord.conf says, as far as supervisord's clients ask for it, and the groups that are active.

The file is read by a child, so that its parser is not in the memory of the gateway.
"""

from __future__ import annotations

import json
import subprocess
import threading

from cohabit.gateway.faults import ALREADY_ADDED, BAD_NAME, Fault
from cohabit.plan.record import Record
from cohabit.program import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class UnreadableError(Exception):
    """The file cannot be read. The text is supervisord's, without `Error: `."""


class Process(Record):
    """One process of a group. info: its options, as getAllConfigInfo has them, without `inuse`."""

    group: str
    name: str
    info: dict[str, Any]

    @property
    def namespec(self) -> str:
        """Its name for supervisorctl, which is also the name of its instance in cohabit."""
        return namespec(self.group, self.name)

    def logfile(self, channel: str) -> str:
        """The path of its log file as written, "" for none. channel: stdout or stderr."""
        path = str(self.info[f"{channel}_logfile"])
        return path if path.startswith("/") else ""

    def captures(self, channel: str) -> int:
        """…_capture_maxbytes: 0 if there is no capture mode."""
        return int(self.info[f"{channel}_capture_maxbytes"])

    def logs_events(self, channel: str) -> bool:
        """…_events_enabled."""
        return bool(self.info[f"{channel}_events_enabled"])


class EventListener(Record):
    """A section [eventlistener:x]: its group, the namespecs of its processes, and what its pool wants."""

    group: str
    processes: tuple[str, ...]
    events: tuple[str, ...]
    buffer_size: int


class Group(Record):
    """A group. Its processes are in the order of their priorities. pool: of event listeners, None for programs."""

    name: str
    priority: int
    processes: tuple[Process, ...]
    pool: EventListener | None = None


class Server(Record):
    """A server section. name: of its socket in LISTEN_FDNAMES. password: clear, or {SHA} and the digest in hex."""

    name: str
    username: str = ""
    password: str = ""


class Configuration(Record):
    """The file. groups: with the event listeners, in the order of their priorities. logfile: the main log, or ""."""

    identifier: str
    logfile: str
    supervisor_namespace: bool
    groups: tuple[Group, ...]
    servers: tuple[Server, ...]

    @property
    def listeners(self) -> tuple[EventListener, ...]:
        """The pools of event listeners."""
        return tuple(group.pool for group in self.groups if group.pool is not None)


def regular(path: str) -> str:
    """The path of a log that can be read again; "" for an output of the container, such as /dev/stdout."""
    return "" if path.startswith(("/dev/", "/proc/")) or not path.startswith("/") else path


def namespec(group: str, process: str) -> str:
    """`group:process`, or the one name if they are the same."""
    return process if group == process else f"{group}:{process}"


def split_namespec(text: str) -> tuple[str, str]:
    """Group and process; the process is "" for a whole group (`group:` and `group:*`)."""
    group, colon, process = text.partition(":")
    if not colon:
        return text, text
    return group, "" if process == "*" else process


def read_configuration(arguments: Sequence[str]) -> Configuration:
    """Read the file. arguments: the command line of `cohabit supervisord`. Raises UnreadableError."""
    command = program("supervisord sections", *arguments)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnreadableError(done.stderr.strip().removeprefix("Error: ") or f"exit code {done.returncode}")
    return configuration_of(json.loads(done.stdout))


def configuration_of(plain: dict[str, Any]) -> Configuration:
    """The Configuration of the object that the child prints."""
    pools = {
        one["group"]: EventListener(one["group"], tuple(one["processes"]), tuple(one["events"]), one["buffer_size"])
        for one in plain["listeners"]
    }
    groups = [
        Group(
            group["name"],
            group["priority"],
            tuple(Process(group["name"], info["name"], info) for info in group["processes"]),
            pools.get(group["name"]),
        )
        for group in plain["groups"]
    ]
    servers = tuple(Server(**server) for server in plain["servers"])
    return Configuration(
        plain["identifier"],
        plain["logfile"],
        plain["supervisor_namespace"],
        tuple(groups),
        servers,
    )


class Active:
    """The newest configuration, and the groups that are active: those of the start, changed by add and remove.

    Used by several threads.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._lock = threading.Lock()
        self._newest = configuration
        self._groups = {group.name: group for group in configuration.groups}

    @property
    def newest(self) -> Configuration:
        """The configuration that was read last."""
        with self._lock:
            return self._newest

    @property
    def groups(self) -> dict[str, Group]:
        """The active groups by name."""
        with self._lock:
            return dict(self._groups)

    def group(self, name: str) -> Group:
        """An active group. Raises Fault."""
        try:
            return self.groups[name]
        except KeyError:
            raise Fault(BAD_NAME, name) from None

    def process(self, text: str) -> tuple[Group, Process | None]:
        """The group of a name, and the process; None for the whole group. Raises Fault."""
        group_name, process_name = split_namespec(text)
        group = self.groups.get(group_name)
        found = next((one for one in group.processes if one.name == process_name), None) if group else None
        if group is None or (process_name and found is None):
            raise Fault(BAD_NAME, text)
        return group, found

    def single(self, text: str) -> Process:
        """The process of a name. Raises Fault, also for a whole group."""
        _, found = self.process(text)
        if found is None:
            raise Fault(BAD_NAME, text)
        return found

    def find(self, name: str) -> Process | None:
        """The process of a namespec; None if no active group has it."""
        group = self.groups.get(split_namespec(name)[0])
        return next((one for one in group.processes if one.namespec == name), None) if group else None

    def processes(self, *, lexical: bool = False) -> list[Process]:
        """All processes, in the order of their priorities, or of their names."""
        groups = self.groups.values()
        if lexical:
            return sorted((one for group in groups for one in group.processes), key=lambda one: (one.group, one.name))
        ordered = sorted(groups, key=lambda group: (group.priority, group.name))
        return [one for group in ordered for one in group.processes]

    def renew(self, configuration: Configuration) -> tuple[list[str], list[str], list[str]]:
        """Keep a newer configuration; returns the names of added, changed and removed groups."""
        with self._lock:
            self._newest = configuration
            newest = {group.name: group for group in configuration.groups}
            added = [name for name in newest if name not in self._groups]
            changed = [name for name, group in newest.items() if self._groups.get(name, group) != group]
            removed = [name for name in self._groups if name not in newest]
            return added, changed, removed

    def add(self, name: str) -> Group:
        """Make a group of the newest configuration active. Raises Fault."""
        with self._lock:
            found = next((group for group in self._newest.groups if group.name == name), None)
            if found is None:
                raise Fault(BAD_NAME, name)
            if name in self._groups:
                raise Fault(ALREADY_ADDED, name)
            self._groups[name] = found
            return found

    def remove(self, name: str) -> None:
        """Make a group inactive."""
        with self._lock:
            self._groups.pop(name, None)
