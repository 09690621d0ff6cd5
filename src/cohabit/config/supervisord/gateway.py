"""The gateway of a supervisord.conf: the service that runs it, and what it must know of the file.

The gateway (gateway/) speaks XML-RPC and the protocol of event listeners. A file without servers and event listeners
needs none. It starts last, because its clients wait at its sockets, and stops last.
"""

from __future__ import annotations

import json
from socket import gethostbyname
from typing import TYPE_CHECKING, Any

from cohabit.config.supervisord.sections import MAIN_FACTORY
from cohabit.config.supervisord.services import namespec
from cohabit.plan.model import Logging, Restart, Service, Socket
from cohabit.program import program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.config.supervisord.sections import Conf, GroupSection, ProcessEntry, ServerSection

NAME = "gateway"  # of the service; a program may have this name, too, then it gets another
CHANNEL = "listeners"
_STOPS_LAST = -(1 << 31)
_NONE = "none"
_ALL = "0.0.0.0"  # noqa: S104 - what supervisord means by a port alone


def gateway_name(conf: Conf) -> str:
    """The name of its service, which no process has."""
    names = {name for group in conf.groups for one in group.processes for name in (group.name, one.name)}
    name = NAME
    while name in names:
        name += "-"
    return name


def gateway_service(conf: Conf, path: str, typed: Mapping[str, Any]) -> Service | None:
    """The service that runs the gateway; None if the file needs none. Raises OSError: a host has no address.

    path: of the file. typed: the options of supervisord's command line.
    """
    name = gateway_name(conf)
    sockets = [_socket(name, server) for name, server in _named(conf)]
    if not sockets and all(group.pool is None for group in conf.groups):
        return None
    sockets.append(Socket(CHANNEL, "pair", "seqpacket", name))  # always: `update` may add the first event listener
    return Service(
        name,
        program("gateway", path, json.dumps(dict(typed))),
        service=name,
        restart=Restart("always"),
        essential=False,
        sockets=tuple(sockets),
        priority=_STOPS_LAST,
        logging=(Logging("raw"),),
    )


def connected(service: Service, conf: Conf, group: GroupSection, entry: ProcessEntry) -> Service:
    """The service of a process with the socket of its fcgi-program, or with the gateway, if it is an event listener.

    Raises OSError: a host has no address.
    """
    if group.pool is not None:
        return service.replace(stdio_to=gateway_name(conf), stdin=False)
    fcgi = group.sockets.get(entry.section)
    if fcgi is None:
        return service
    backlog = {} if fcgi.backlog is None else {"backlog": fcgi.backlog}
    if fcgi.path:
        uid, gid = fcgi.owner or (None, None)
        socket = Socket("fcgi", "unix", "stream", fcgi.path, mode=fcgi.mode, uid=uid, gid=gid, **backlog)
    else:
        socket = Socket("fcgi", "inet", "stream", ip_address(fcgi.host), fcgi.port, **backlog)
    return service.replace(sockets=(socket,), socket_as_stdin=True, stdin=False)


def _named(conf: Conf) -> list[tuple[str, ServerSection]]:
    """The servers with the names of their sockets. Those of the sections may have a colon, LISTEN_FDNAMES may not."""
    return [(f"server{number}", server) for number, server in enumerate(conf.servers)]


def _socket(name: str, server: ServerSection) -> Socket:
    if server.family == "unix":
        uid, gid = (None if one < 0 else one for one in server.chown)
        return Socket(name, "unix", "stream", server.file, mode=server.chmod, uid=uid, gid=gid)
    return Socket(name, "inet", "stream", ip_address(server.host), server.port)


def ip_address(host: str) -> str:
    """The IPv4 address of a host, as supervisord opens only such sockets. Raises OSError."""
    return gethostbyname(host) if host else _ALL


def described(conf: Conf) -> dict[str, Any]:
    """What the gateway must know, as plain values (gateway/configuration.py)."""
    return {
        "identifier": conf.supervisord.identifier,
        "logfile": conf.supervisord.logfile,
        "supervisor_namespace": any(one.factory == MAIN_FACTORY for one in conf.rpcinterfaces),
        "groups": [
            {
                "name": group.name,
                "priority": group.priority,
                "processes": [_process(group, one) for one in group.processes],
            }
            for group in conf.groups
        ],
        "servers": [
            {"name": name, "username": one.username or "", "password": one.password or ""} for name, one in _named(conf)
        ],
        "listeners": [
            {
                "group": group.name,
                "processes": [namespec(group.name, one.name) for one in group.processes],
                "events": list(group.pool.events),
                "buffer_size": group.pool.buffer_size,
            }
            for group in conf.groups
            if group.pool is not None
        ],
    }


def _process(group: GroupSection, one: ProcessEntry) -> dict[str, Any]:
    """The options as getAllConfigInfo has them: what has no value is the text "none"."""
    found: dict[str, Any] = {
        "name": one.name,
        "group": group.name,
        "group_prio": group.priority,
        "process_prio": one.priority,
        "exitcodes": list(one.exitcodes),
        **{
            option: getattr(one, option)
            for option in (
                "autostart", "directory", "uid", "command", "killasgroup", "redirect_stderr", "startretries",
                "startsecs", "stopsignal", "stopwaitsecs", "serverurl",
            )
        },
    }  # fmt: skip
    for stream, log in (("stdout", one.stdout), ("stderr", one.stderr)):
        found[f"{stream}_logfile"] = log.logfile or None
        for option in ("logfile_backups", "logfile_maxbytes", "capture_maxbytes", "events_enabled", "syslog"):
            found[f"{stream}_{option}"] = getattr(log, option)
    return {option: _NONE if value is None else value for option, value in found.items()}
