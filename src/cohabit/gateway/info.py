"""A status of cohabit in the words of supervisord: the struct of getProcessInfo."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cohabit.gateway.mirror import STATES
from cohabit.plan.supervisord_text import is_by_signal, spawn_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.gateway.configuration import Process
    from cohabit.gateway.mirror import State

# supervisord's classes of states.
RUNNING = frozenset({"STARTING", "RUNNING", "BACKOFF"})
STOPPED = frozenset({"STOPPED", "EXITED", "FATAL"})
SIGNALLABLE = frozenset({"STARTING", "RUNNING", "STOPPING"})
_INTEGER_MAX = 2**31 - 1  # of XML-RPC


def process_info(process: Process, state: State, now: float) -> dict[str, Any]:
    """The struct of getProcessInfo. now: Unix seconds."""
    stdout, stderr = process.logfile("stdout"), process.logfile("stderr")
    info = {
        "name": process.name,
        "group": process.group,
        "start": _capped(state.started),
        "stop": _capped(state.stopped),
        "now": _capped(now),
        "state": STATES[state.state],
        "statename": state.state,
        "spawnerr": _spawn_error(process, state),
        "exitstatus": -1 if is_by_signal(state.reason) else state.code,
        "logfile": stdout,
        "stdout_logfile": stdout,
        "stderr_logfile": stderr,
        "pid": state.pid,
    }
    info["description"] = _description(info, process.namespec)
    return info


def _spawn_error(process: Process, state: State) -> str:
    if state.state not in ("BACKOFF", "FATAL") or state.reason is None:
        return ""
    return spawn_error(state.reason, str(process.info["command"]).partition(" ")[0])


def _description(info: dict[str, Any], name: str) -> str:
    """The text in the third column of `supervisorctl status`."""
    state = info["statename"]
    if state == "RUNNING":
        return f"pid {info['pid']}, uptime {timedelta(seconds=max(0, info['now'] - info['start']))}"
    if state in ("FATAL", "BACKOFF"):
        return info["spawnerr"] or f'unknown error (try "tail {name}")'
    if state in ("STOPPED", "EXITED"):
        if not info["start"]:
            return "Not started"
        return datetime.fromtimestamp(info["stop"], UTC).astimezone().strftime("%b %d %I:%M %p")
    return ""


def _capped(value: float) -> int:
    return min(int(value), _INTEGER_MAX)
