"""What cohabit understands of a supervisord.conf, in the form of supervisord_oracle.py."""

import os
from typing import Any

from cohabit.config.supervisord.conf import read_conf
from cohabit.config.supervisord.reading import Reading
from cohabit.config.supervisord.sections import GroupSection, ProcessEntry, ServerSection

_STREAM_OPTIONS = {
    "logfile": "logfile", "logfile_maxbytes": "logfile_maxbytes", "logfile_backups": "logfile_backups",
    "capture_maxbytes": "capture_maxbytes", "events_enabled": "events_enabled", "syslog": "syslog",
}  # fmt: skip
_OPTIONS_OF_TYPED = {"-n": "nodaemon", "-s": "silent", "-k": "nocleanup", "-t": "strip_ansi"}


def ours(case: dict[str, Any]) -> dict[str, Any]:
    """What cohabit understands; or the first of its errors."""
    os.chdir(case["directory"])
    reading = Reading(case["name"], case["environ"])
    with open(case["name"], encoding="utf-8") as file:
        conf = read_conf(reading, file.read(), {_OPTIONS_OF_TYPED[one]: True for one in case["arguments"]})
    errors = [problem for problem in reading.problems if not problem.warning]
    if errors:
        assert {error.exit_code for error in errors} == {2}
        return {"error": errors[0].text.removeprefix("Error: ")}
    assert conf is not None
    return {
        "supervisord": {**{name: value for name, value in vars(conf.supervisord).items() if name != "given"}},
        "serverurl": conf.serverurl,
        "groups": [_group(group) for group in conf.groups],
        "servers": [_server(server) for server in conf.servers],
        "rpcinterfaces": [[one.name, one.factory, one.options] for one in conf.rpcinterfaces],
        "warnings": [problem.text for problem in reading.problems],
        "included": list(conf.files[1:]),
    }


def _group(group: GroupSection) -> dict[str, Any]:
    processes = [_process(one) for one in group.processes]
    found: dict[str, Any] = {"name": group.name, "priority": group.priority, "processes": processes}
    if group.pool is not None:
        found["events"] = sorted(group.pool.events)
        found["buffer_size"], found["result_handler"] = group.pool.buffer_size, group.pool.result_handler
    for one in group.sockets.values():
        if group.kind == "fcgi-program":
            found["socket"] = [one.url, one.backlog, one.mode, list(one.owner) if one.owner else None]
    return found


def _process(one: ProcessEntry) -> dict[str, Any]:
    apart = {"section", "user", "stdout", "stderr"}
    found = {name: value for name, value in vars(one).items() if name not in apart}
    for stream, log in (("stdout", one.stdout), ("stderr", one.stderr)):
        found |= {f"{stream}_{option}": getattr(log, field) for option, field in _STREAM_OPTIONS.items()}
    return {**found, "exitcodes": list(one.exitcodes)}


def _server(server: ServerSection) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": server.name, "section": server.section, "username": server.username, "password": server.password,
    }  # fmt: skip
    if server.family == "inet":
        return {**found, "family": "AF_INET", "host": server.host, "port": server.port, "chown": []}
    return {**found, "family": "AF_UNIX", "file": server.file, "chmod": server.chmod, "chown": list(server.chown)}


def difference(mine: Any, other: Any, path: str = "") -> str:
    """The first place in which two plain values differ; "" if they are the same."""
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in {**mine, **other}:
            if key not in mine or key not in other:
                return f"{path}.{key}: ours {mine.get(key)!r}, theirs {other.get(key)!r}"
            if found := difference(mine[key], other[key], f"{path}.{key}"):
                return found
        return ""
    if isinstance(mine, list) and isinstance(other, list) and len(mine) == len(other):
        pairs = enumerate(zip(mine, other, strict=True))
        return next(filter(None, (difference(*pair, f"{path}[{i}]") for i, pair in pairs)), "")
    return "" if mine == other else f"{path}: ours {mine!r}, theirs {other!r}"
