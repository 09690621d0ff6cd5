"""What the real supervisord understands of confs: run by test_supervisord_conf.py as a program of its own.

stdin: JSON, a list of {"directory", "name", "environ", "arguments"}. stdout: JSON, for each what it understood, or
{"error"}. The parser of supervisord keeps global state (arguments, os.environ, the working directory), so it is not
imported into the tests. All directories exist, and the users are those of USERS.
"""

import io
import json
import os
import pwd
import sys
from importlib import import_module
from typing import Any, Final

USERS: Final = {"root": 0, "www-data": 33, "nginx": 101, "app": 1000, "celery": 1001, "redis": 999, "sail": 1337}


def fake_machine() -> None:
    """Let every directory exist, and exactly the users of USERS, whose groups have the same names and numbers."""

    def by_name(name: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", USERS[name], USERS[name], "", f"/home/{name}", "/bin/sh"))

    def by_number(number: int) -> pwd.struct_passwd:
        return by_name(next((name for name, one in USERS.items() if one == number), ""))

    os.path.isdir = lambda _path: True  # type: ignore[assignment]
    pwd.getpwnam, pwd.getpwuid = by_name, by_number


class _EndError(Exception):
    """In place of the exit of supervisord."""


def _understood(case: dict[str, Any]) -> dict[str, Any]:
    real = import_module("supervisor.options")

    os.chdir(case["directory"])
    os.environ.clear()
    os.environ.update(case["environ"])
    found = real.ServerOptions()
    found.stderr = found.stdout = io.StringIO()
    found.import_spec = lambda spec: spec

    def leave(_code: int) -> None:
        raise _EndError

    found.exit = leave
    try:
        found.realize([*case["arguments"], "-c", case["name"]], progname="supervisord")
    except _EndError:
        return {"error": found.stderr.getvalue().split("\nFor help")[0].removeprefix("Error: ")}
    section = found.configroot.supervisord
    return {
        "supervisord": {
            **{name: getattr(found, name) for name in _SETTINGS},
            "loglevel": {50: "critical", 40: "error", 30: "warn", 20: "info", 10: "debug", 5: "trace", 3: "blather"}[
                found.loglevel
            ],
            "nodaemon": bool(found.nodaemon),
            "silent": bool(found.silent),
            "nocleanup": bool(found.nocleanup),
            "strip_ansi": bool(found.strip_ansi),
            "umask": found.umask if isinstance(found.umask, int) else int(found.umask, 8),
            "environment": section.environment,
        },
        "serverurl": found.serverurl or "",
        "groups": [_group(group, real) for group in found.process_group_configs],
        "servers": [_server(server) for server in found.server_configs],
        "rpcinterfaces": [list(one) for one in found.rpcinterface_factories],
        "warnings": [text for text in found.parse_warnings if "AUTO logging used" not in text],
        "included": [text.split('"')[1] for text in found.parse_infos],
    }


_SETTINGS: Final = (
    *("logfile", "logfile_maxbytes", "logfile_backups", "pidfile", "childlogdir", "directory", "user"),
    *("minfds", "minprocs", "identifier"),
)


def _plain(value: Any, real: Any) -> Any:
    if value is real.Automatic:
        return "auto"
    if getattr(value, "__name__", "") in ("RestartUnconditionally", "RestartWhenExitUnexpected"):
        return "true" if value.__name__ == "RestartUnconditionally" else "unexpected"
    return value


def _group(group: Any, real: Any) -> dict[str, Any]:
    processes = []
    for one in group.process_configs:
        keys = {name: _plain(getattr(one, name), real) for name in (*one.req_param_names, *one.optional_param_names)}
        keys["autorestart"] = keys["autorestart"] or "false"
        keys["stopsignal"] = int(keys["stopsignal"])
        for stream in ("stdout", "stderr"):
            keys[f"{stream}_logfile"] = keys[f"{stream}_logfile"] or ""
        processes.append(keys)
    found = {"name": group.name, "priority": group.priority, "processes": processes}
    if isinstance(group, real.EventListenerPoolConfig):
        name_of = import_module("supervisor.events").getEventNameByType
        found["events"] = sorted(name_of(event) for event in group.pool_events)
        found["buffer_size"], found["result_handler"] = group.buffer_size, group.result_handler
    socket = getattr(group, "socket_config", None)
    if socket is not None:
        owner = getattr(socket, "owner", None)
        found["socket"] = [socket.url, socket.backlog, getattr(socket, "mode", None), list(owner) if owner else None]
    return found


def _server(server: dict[str, Any]) -> dict[str, Any]:
    return {**server, "family": server["family"].name, "chown": list(server.get("chown", ()))}


if __name__ == "__main__":
    fake_machine()
    answers = [_understood(case) for case in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)
