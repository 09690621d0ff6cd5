"""The status page: all processes with their states, and links that start, stop and show them.

The paths and the query parameters are those of supervisord's page, so that bookmarks and scripts keep working.
"""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from cohabit.gateway.configuration import namespec
from cohabit.gateway.faults import (
    ABNORMAL_TERMINATION,
    ALREADY_STARTED,
    BAD_NAME,
    NO_FILE,
    NOT_EXECUTABLE,
    SPAWN_ERROR,
    Fault,
)
from cohabit.gateway.info import RUNNING
from cohabit.gateway.methods.queries import get_all_process_info

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cohabit.gateway.gateway import Gateway

    Call = Callable[[str, Sequence[Any]], Any]

_TAIL_BYTES = 1024
_DIGITS_MAX = 18  # of a number of bytes
_TEXTS = {
    NO_FILE: "no such file",
    NOT_EXECUTABLE: "file not executable",
    ALREADY_STARTED: "already started",
    SPAWN_ERROR: "spawn error",
    ABNORMAL_TERMINATION: "abnormal termination",
}
STYLE = b"""\
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em; color: #1c2330 }
h1 { font-size: 1.3em }
nav a, td.action a { margin-right: .8em }
table { border-collapse: collapse; width: 100%; margin-top: 1em }
th, td { text-align: left; padding: .35em .6em; border-bottom: 1px solid #d7dbe2 }
.status_msg { background: #eef3fb; padding: .5em .8em; border-radius: 4px }
.statusrunning { color: #12703a } .statuserror { color: #b3261e } .statusnominal { color: #5a6372 }
pre { white-space: pre-wrap; overflow-wrap: anywhere }
"""


def status_page(gateway: Gateway, message: str, token: str) -> bytes:
    """The page. message: the outcome of the last action, "" for none. token: in the links to actions."""
    rows = "".join(_row(info, token) for info in get_all_process_info(gateway))
    table = (
        f"<table><thead><tr><th>State</th><th>Description</th><th>Name</th><th>Action</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        if rows
        else "<p>No programs to manage</p>"
    )
    said = f'<p class="status_msg">{escape(message)}</p>' if message else ""
    whole = " ".join(
        _link("index.html", text, action=name, token=token)
        for text, name in (("Refresh", "refresh"), ("Restart All", "restartall"), ("Stop All", "stopall"))
    )
    return _document("Supervisor Status", f"<h1>Supervisor Status</h1>{said}<nav>{whole}</nav>{table}")


def _row(info: dict[str, Any], token: str) -> str:
    name = namespec(info["group"], info["name"])
    state = info["statename"]
    kind = "running" if state == "RUNNING" else "error" if state in ("FATAL", "BACKOFF") else "nominal"
    actions = []
    if state == "RUNNING":
        actions = [("Restart", "restart"), ("Stop", "stop")]
    elif state not in RUNNING and state != "STOPPING":
        actions = [("Start", "start")]
    links = [
        _link("index.html", text, processname=name, action=action, token=token)
        for text, action in (*actions, ("Clear Log", "clearlog"))
    ]
    path = quote(name)
    links += [f'<a href="logtail/{path}">Tail -f Stdout</a>', f'<a href="logtail/{path}/stderr">Tail -f Stderr</a>']
    return (
        f'<tr><td><span class="status{kind}">{state.lower()}</span></td><td>{escape(info["description"])}</td>'
        f'<td>{_link("tail.html", name, processname=name)}</td><td class="action">{" ".join(links)}</td></tr>'
    )


def _link(page: str, text: str, **query: str) -> str:
    return f'<a href="{page}?{escape(urlencode(query))}">{escape(text)}</a>'


def _document(title: str, body: str) -> bytes:
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<link href="stylesheets/supervisor.css" rel="stylesheet"></head><body>{body}</body></html>\n'
    ).encode()


def tail_page(call: Call, form: Mapping[str, str]) -> bytes:
    """The end of the log of a process."""
    name = form.get("processname", "")
    limit = form.get("limit", "")
    size = max(_TAIL_BYTES, int(limit) if limit.isdecimal() and len(limit) <= _DIGITS_MAX else _TAIL_BYTES)
    if not name:
        text = "No process name found"
    else:
        try:
            text = call("supervisor.readProcessStdoutLog", [name, -size, 0])
        except Fault as fault:
            unexpected = f"ERROR: unexpected rpc fault [{fault.code}] {fault.text}"
            text = f"No file for {name}" if fault.code == NO_FILE else unexpected
    refresh = _link("tail.html", "Refresh", processname=name, limit=str(size))
    return _document(f"Supervisor tail of process {name}", f"<nav>{refresh}</nav><pre>{escape(text)}</pre>")


def action(call: Call, form: Mapping[str, str]) -> str | None:
    """Carry out an action; returns where to go from there, None for an unknown action."""
    name, asked = form.get("processname", ""), form["action"]
    moment = time.ctime()
    message: str
    try:
        match asked:
            case "refresh":
                message = f"Page refreshed at {moment}"
            case "stopall":
                call("supervisor.stopAllProcesses", [])
                message = f"All stopped at {moment}"
            case "restartall":
                call("supervisor.stopAllProcesses", [])
                call("supervisor.startAllProcesses", [])
                message = f"All restarted at {moment}"
            case "start" | "stop" | "restart" | "clearlog" if name:
                message = _act(call, asked, name)
            case _:
                return None
    except Fault as fault:
        if fault.code == BAD_NAME:
            message = f"No such process named {name}"
        elif asked == "start" and fault.code in _TEXTS:
            message = f"ERROR: Process {name}: {_TEXTS[fault.code]}"
        else:
            message = f"unexpected rpc fault [{fault.code}] {fault.text}"
    return "/?" + urlencode({"message": message}, quote_via=quote)


def _act(call: Call, asked: str, name: str) -> str:
    """An action on one process; returns what was done. Raises Fault."""
    match asked:
        case "start":
            call("supervisor.startProcess", [name])
            return f"Process {name} started"
        case "stop":
            call("supervisor.stopProcess", [name])
            return f"Process {name} stopped"
        case "clearlog":
            call("supervisor.clearProcessLogs", [name])
            return f"Log for {name} cleared"
    calls = [{"methodName": f"supervisor.{command}Process", "params": [name]} for command in ("stop", "start")]
    call("system.multicall", [calls])
    return f"Process {name} restarted"
