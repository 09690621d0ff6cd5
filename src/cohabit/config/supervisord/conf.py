"""A whole supervisord.conf -> Conf, in supervisord's order, and the notice about what has no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.config.supervisord.groups import read_groups
from cohabit.config.supervisord.sections import FCGI, LISTENER, PROGRAM, Conf
from cohabit.config.supervisord.settings import (
    check_limits,
    check_user,
    read_rpcinterfaces,
    read_servers,
    read_supervisorctl,
    read_supervisord,
    server_url,
)
from cohabit.config.text.ini_text import DEFAULT
from cohabit.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from cohabit.config.supervisord.reading import Reading

_PROGRAM_OPTIONS = frozenset(
    {
        "command", "process_name", "numprocs", "numprocs_start", "priority", "autostart", "startsecs", "startretries",
        "autorestart", "exitcodes", "stopsignal", "stopwaitsecs", "stopasgroup", "killasgroup", "user",
        "redirect_stderr", "environment", "directory", "umask", "serverurl",
        *(
            f"{stream}_{option}"
            for stream in ("stdout", "stderr")
            for option in (
                "logfile", "logfile_maxbytes", "logfile_backups", "capture_maxbytes", "events_enabled", "syslog",
            )
        ),
    }
)  # fmt: skip
_SERVER_OPTIONS = frozenset({"username", "password"})
# The options of each kind of section; None if any are possible. A kind ends with : if a name follows it.
_KINDS: dict[str, frozenset[str] | None] = {
    "supervisord": frozenset(
        {
            "logfile", "logfile_maxbytes", "logfile_backups", "loglevel", "pidfile", "umask", "nodaemon", "silent",
            "minfds", "minprocs", "nocleanup", "childlogdir", "user", "directory", "strip_ansi", "environment",
            "identifier", "profile_options",
        }
    ),
    "include": frozenset({"files"}),
    "supervisorctl": frozenset({"serverurl", "username", "password", "prompt", "history_file"}),
    "ctlplugin:": None,
    "rpcinterface:": None,
    "group:": frozenset({"programs", "priority"}),
    f"{PROGRAM}:": _PROGRAM_OPTIONS,
    f"{FCGI}:": _PROGRAM_OPTIONS | {"socket", "socket_backlog", "socket_owner", "socket_mode"},
    f"{LISTENER}:": _PROGRAM_OPTIONS | {"events", "buffer_size", "result_handler"},
    "x-cohabit": None,  # those of our own, which readers/supervisord_own.py reads
    "x-cohabit:": None,
    "inet_http_server": _SERVER_OPTIONS | {"port"},
    "unix_http_server": _SERVER_OPTIONS | {"file", "chmod", "chown"},
}  # fmt: skip


def read_conf(reading: Reading, text: str, typed: Mapping[str, Any]) -> Conf | None:
    """The Conf of a text; None if it has no [supervisord]. typed: the options of supervisord's command line.

    Problems are in `reading`.
    """
    reading.read(text)
    if "supervisord" not in reading.sections:
        if not any(not problem.warning for problem in reading.problems):
            reading.error(".ini file does not include supervisord section")
        return None
    supervisord = read_supervisord(reading, typed)
    rpcinterfaces = read_rpcinterfaces(reading)
    groups = tuple(
        group.replace(
            processes=tuple(
                one.replace(environment={**supervisord.environment, **one.environment}) for one in group.processes
            )
        )
        for group in read_groups(reading)
    )
    servers = read_servers(reading)
    check_user(reading, supervisord.user)
    check_limits(reading, supervisord)
    reading.ignored += _unknown(reading)
    supervisorctl = read_supervisorctl(reading)
    return Conf(supervisord, groups, servers, rpcinterfaces, supervisorctl, server_url(servers), tuple(reading.files))


def _unknown(reading: Reading) -> Iterator[str]:
    """Sections and options that supervisord does not know, and ignores in silence."""
    shared = reading.sections[DEFAULT].options if DEFAULT in reading.sections else {}
    for name in reading.section_names:
        kind = next((kind for kind in _KINDS if _is_of(name, kind)), None)
        if kind is None:
            stem, colon, rest = name.partition(":")
            near = did_you_mean(stem + colon, _KINDS) if colon or not rest else ""
            yield f"[{name}]{near}"
            continue
        known = _KINDS[kind]
        for option in reading.sections[name].options:
            if known is not None and option not in known and option not in shared:
                yield f"[{name}] {option}{did_you_mean(option, known)}"


def _is_of(name: str, kind: str) -> bool:
    return name.startswith(kind) if kind.endswith((":", "_server")) else name == kind
