"""The process groups of a supervisord.conf: [group:x], and one for each program that is in none of them."""

from __future__ import annotations

import os
import pwd
import re
from typing import TYPE_CHECKING

from cohabit.config.supervisord import conversions as to
from cohabit.config.supervisord.programs import read_processes
from cohabit.config.supervisord.reading import text_of, worded
from cohabit.config.supervisord.sections import (
    FCGI,
    LISTENER,
    PROGRAM,
    RESULT_HANDLER,
    EventPool,
    FcgiSocket,
    GroupSection,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.config.supervisord.reading import Options, Reading
    from cohabit.config.supervisord.sections import ProcessEntry

# http://supervisord.org/events.html#event-types: the names with an _, and those of which they are kinds.
EVENT_TYPES = frozenset(
    {
        "EVENT", "PROCESS_STATE", "PROCESS_STATE_STOPPED", "PROCESS_STATE_EXITED", "PROCESS_STATE_STARTING",
        "PROCESS_STATE_STOPPING", "PROCESS_STATE_BACKOFF", "PROCESS_STATE_FATAL", "PROCESS_STATE_RUNNING",
        "PROCESS_STATE_UNKNOWN", "PROCESS_COMMUNICATION", "PROCESS_COMMUNICATION_STDOUT",
        "PROCESS_COMMUNICATION_STDERR", "PROCESS_LOG", "PROCESS_LOG_STDOUT", "PROCESS_LOG_STDERR",
        "REMOTE_COMMUNICATION", "SUPERVISOR_STATE_CHANGE", "SUPERVISOR_STATE_CHANGE_RUNNING",
        "SUPERVISOR_STATE_CHANGE_STOPPING", "TICK", "TICK_5", "TICK_60", "TICK_3600", "PROCESS_GROUP",
        "PROCESS_GROUP_ADDED", "PROCESS_GROUP_REMOVED",
    }
)  # fmt: skip
_TCP = re.compile(r"tcp://([^\s:]+):(\d+)$")
_BACKLOG_MAX = 65_535
_MODE = 0o700


def read_groups(reading: Reading) -> tuple[GroupSection, ...]:
    """All groups in the order of their start: by priority, then by name.

    Of two groups with one name, supervisord uses the first one of that order.
    """
    members: set[str] = set()
    found = list(_written_groups(reading, members))
    for kind, read in ((PROGRAM, _program), (LISTENER, _listener), (FCGI, _fcgi_program)):
        sections = [one for one in reading.section_names if one.startswith(f"{kind}:") and one not in members]
        found += [group for section in sections if (group := read(reading, section)) is not None]
    groups: dict[str, GroupSection] = {}
    for group in sorted(found, key=lambda one: (one.priority, one.name)):
        if groups.setdefault(group.name, group) is not group:
            reading.options(group.section).warn(f"[{group.section}] is ignored: another group has its name")
    return tuple(groups.values())


def _written_groups(reading: Reading, members: set[str]) -> Iterator[GroupSection]:
    """Every [group:x]. members: receives the sections of their programs."""
    for section in [one for one in reading.section_names if one.startswith("group:")]:
        options = reading.options(section)
        try:
            name = to.name(section.partition(":")[2])
        except ValueError as error:
            options.report(error)
            continue
        programs = options.get("programs", "", to.strings)
        priority = options.get("priority", "999", int)
        processes: list[ProcessEntry] = []
        sockets = {}
        for program in programs:
            kinds = [kind for kind in (PROGRAM, FCGI) if f"{kind}:{program}" in reading.sections]
            if len(kinds) != 1:
                why = f"[{section}] names unknown program or fcgi-program {program}"
                if kinds:
                    why = f"[{section}] name {program} is ambiguous (exists as program and fcgi-program)"
                options.report(why, "programs")
                continue
            member = f"{kinds[0]}:{program}"
            members.add(member)
            processes += read_processes(reading, member, name)
            if kinds[0] == FCGI and (socket := _fcgi_socket(reading.options(member), program)):
                sockets[member] = socket
        yield GroupSection(name, PROGRAM, section, priority, tuple(processes), sockets=sockets)


def _named(options: Options) -> str:
    """The name of a group that has the name of its program; "" if it is not valid, which is reported."""
    try:
        return to.name(options.section.partition(":")[2])
    except ValueError as error:
        options.report(error)
        return ""


def _program(reading: Reading, section: str) -> GroupSection | None:
    options = reading.options(section)
    name = _named(options)
    if not name:
        return None
    priority = options.get("priority", "999", int)
    return GroupSection(name, PROGRAM, section, priority, read_processes(reading, section, name))


def _listener(reading: Reading, section: str) -> GroupSection | None:
    options = reading.options(section)
    name = section.partition(":")[2]
    priority = options.get("priority", "-1", int)
    size = options.get("buffer_size", "10", int)
    if size < 1:
        options.report(f"[{section}] section sets invalid buffer_size ({size})", "buffer_size")
    result_handler = options.get("result_handler", RESULT_HANDLER, text_of)
    events = tuple(dict.fromkeys(one.upper() for one in options.get("events", "", to.strings)))
    if not events:
        options.report(f'[{section}] section requires an "events" line', "events")
    for event in events:
        if event not in EVENT_TYPES:
            options.report(f"Unknown event type {event} in [{section}] events", "events")
    if options.get("redirect_stderr", "false", to.boolean):
        why = "but this is not allowed because it will interfere with the eventlistener protocol"
        options.report(f"[{section}] section sets redirect_stderr=true {why}", "redirect_stderr")
    processes = read_processes(reading, section, name)
    if result_handler != RESULT_HANDLER:
        reading.ignored.append(f"[{section}] result_handler, a plug-in")
    return GroupSection(name, LISTENER, section, priority, processes, EventPool(events, size, result_handler))


def _fcgi_program(reading: Reading, section: str) -> GroupSection | None:
    options = reading.options(section)
    name = _named(options)
    if not name:
        return None
    priority = options.get("priority", "999", int)
    socket = _fcgi_socket(options, name)
    processes = read_processes(reading, section, name)
    return GroupSection(name, FCGI, section, priority, processes, sockets={section: socket} if socket else {})


def _fcgi_socket(options: Options, program: str) -> FcgiSocket | None:
    """The socket of an fcgi-program; None after an error."""
    user = options.get_or_none("user", to.user_id)
    backlog = options.get_or_none("socket_backlog", int)
    if backlog is not None and not 1 <= backlog <= _BACKLOG_MAX:
        options.report(f"Invalid socket_backlog value {backlog}", "socket_backlog")
    owner = options.get_or_none("socket_owner", worded(to.owner, "Invalid socket_owner value"))
    mode = options.get_or_none("socket_mode", worded(to.octal, "Invalid socket_mode value"))
    options.names["program_name"] = program
    url = options.get_or_none("socket", text_of)
    del options.names["program_name"]
    if not url:
        if url is not None or options.node("socket") is None:
            options.report(f'[{options.section}] section requires a "socket" line', "socket")
        return None
    if not url.startswith("unix://"):
        try:
            return _inet_socket(url, backlog, alone=owner is None and mode is None)
        except ValueError as error:
            options.report(f"{error} in [{options.section}] socket", "socket")
            return None
    if not url.startswith("unix:///"):
        options.report(f"Unix socket path {url[7:]} is not an absolute path in [{options.section}] socket", "socket")
        return None
    path = to.normal_path(url[7:])
    if owner is None and user is not None and user != os.getuid():
        owner = (user, _group_of(user))
    return FcgiSocket(f"unix://{path}", path, backlog=backlog, mode=_MODE if mode is None else mode, owner=owner)


def _inet_socket(url: str, backlog: int | None, *, alone: bool) -> FcgiSocket:
    """The socket of tcp://host:port. alone: without an owner and a mode. Raises ValueError."""
    if not alone:
        raise ValueError("socket_owner and socket_mode params should only be used with a Unix domain socket")
    found = _TCP.match(url)
    if not found:
        raise ValueError(f"Bad socket format {url}")
    host, port = found[1].lower(), to.port(found[2])
    return FcgiSocket(f"tcp://{host}:{port}", host=host, port=port, backlog=backlog)


def _group_of(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except (KeyError, OverflowError):
        return -1
