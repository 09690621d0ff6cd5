"""A status of cohabit in the words of supervisord: the struct of getProcessInfo."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from cohabit.plan.reason import (
    CANNOT_START,
    IS_DIRECTORY,
    KILLED_BY_SIGNAL,
    KILLED_ON_REQUEST,
    NOT_EXECUTABLE,
    NOT_FOUND,
    NOT_IN_PATH,
    OUT_OF_MEMORY,
    STOP_TIMED_OUT,
    STOPPED_UNASKED,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.api.status import ServiceStatus
    from cohabit.gateway.configuration import Process

STATES = {
    "STOPPED": 0,
    "STARTING": 10,
    "RUNNING": 20,
    "BACKOFF": 30,
    "STOPPING": 40,
    "EXITED": 100,
    "FATAL": 200,
}
# supervisord's classes of states.
RUNNING = frozenset({"STARTING", "RUNNING", "BACKOFF"})
STOPPED = frozenset({"STOPPED", "EXITED", "FATAL"})
SIGNALLABLE = frozenset({"STARTING", "RUNNING", "STOPPING"})
_ENDS = ("STOPPED", "EXITED", "FATAL", "BACKOFF")
_INTEGER_MAX = 2**31 - 1  # of XML-RPC
_SIGNALLED = frozenset({KILLED_BY_SIGNAL, KILLED_ON_REQUEST, OUT_OF_MEMORY, STOP_TIMED_OUT, STOPPED_UNASKED})
TOO_QUICKLY = "Exited too quickly (process log may have details)"


def process_info(process: Process, status: ServiceStatus | None, now: float) -> dict[str, Any]:
    """The struct of getProcessInfo. status: None if cohabit does not know it: it was never started.

    now: Unix seconds.
    """
    state = status.state if status else "STOPPED"
    started = status.started or 0.0 if status else 0.0
    stopped = _stopped(status) if status else 0.0
    info = {
        "name": process.name,
        "group": process.group,
        "start": _capped(started),
        "stop": _capped(stopped),
        "now": _capped(now),
        "state": STATES[state],
        "statename": state,
        "spawnerr": spawn_error(status) if status else "",
        "exitstatus": _exit_status(status) if status else 0,
        "logfile": process.logfile("stdout"),
        "stdout_logfile": process.logfile("stdout"),
        "stderr_logfile": process.logfile("stderr"),
        "pid": status.pid if status else 0,
    }
    info["description"] = _description(info, process.namespec)
    return info


def _stopped(status: ServiceStatus) -> float:
    """When its last run ended, 0 for never."""
    ends = [event.time for event in status.history if event.event in _ENDS and event.code is not None]
    return ends[-1] or 0.0 if ends else 0.0


def _exit_status(status: ServiceStatus) -> int:
    """The exit code of the last run, -1 for a signal."""
    return -1 if status.reason is not None and status.reason.kind in _SIGNALLED else status.code or 0


def spawn_error(status: ServiceStatus) -> str:
    """Why the last start failed, in supervisord's words; "" if it did not."""
    if status.state not in ("BACKOFF", "FATAL") or status.reason is None:
        return ""
    cause = status.reason.cause
    command = status.command[0] if status.command else ""
    if status.reason.kind != CANNOT_START or cause is None:
        return TOO_QUICKLY
    if cause.kind in (NOT_IN_PATH, NOT_FOUND):
        return f"can't find command {command!r}"
    if cause.kind == IS_DIRECTORY:
        return f"command at {command!r} is a directory"
    if cause.kind == NOT_EXECUTABLE:
        return f"command at {command!r} is not executable"
    return status.why


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


def now() -> float:
    """Unix seconds."""
    return time.time()
