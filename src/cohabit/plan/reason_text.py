"""The text of a reason: the only place where a reason becomes text. Each text completes "web ..."."""

from __future__ import annotations

from cohabit.plan import reason as reasons
from cohabit.units import describe_exit, format_duration, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.plan.reason import Reason


def text_of(reason: Reason | None) -> str:
    """The whole reason, "" for None: "ended with exit code 3 after 2s; given up after 5 restarts"."""
    if reason is None:
        return ""
    text = _TEXTS[reason.kind](reason) if reason.kind in _TEXTS else reason.detail or reason.kind
    if reason.restarts is None:
        return text
    return f"{text}; given up after {_count(reason)}"


def _count(reason: Reason) -> str:
    number = reason.restarts or 0
    if reason.kind in (reasons.EXITED_TOO_QUICKLY, reasons.CANNOT_START):
        return f"{number} start {'retry' if number == 1 else 'retries'} (startretries)"
    return f"{number} restart{'' if number == 1 else 's'}"


def start_failure(reason: Reason) -> str:
    """What prevents the start: the text of CANNOT_START or DEPENDENCY_FAILED without "cannot start: "."""
    if reason.kind == reasons.DEPENDENCY_FAILED:
        return f"it waits for {reason.service}, {_relative_clause(reason.cause)}"
    return text_of(reason.cause) or reason.detail


def hook_name(reason: Reason) -> str:
    """The hook that it is about: "pre_start hook 1"."""
    return f"{reason.hook_stage} hook {(reason.hook_index or 0) + 1}"


def _relative_clause(cause: Reason | None) -> str:
    """The end of "it waits for X, ..."."""
    if cause is None:
        return "which failed"
    if cause.kind in reasons.HOOKS:
        return f"whose {text_of(cause)}"
    if cause.kind == reasons.UNHEALTHY:
        return f"which was {text_of(cause)}"
    if cause.kind in reasons.NOT_STARTED:
        return f"which could not start: {start_failure(cause)}"
    return f"which {text_of(cause)}"


def _ended(reason: Reason) -> str:
    memory = ", out of memory," if reason.kind == reasons.OUT_OF_MEMORY else ""
    return f"ended with {describe_exit(reason.code or 0)}{memory} after {format_duration(reason.seconds or 0.0)}"


def _stopped_unasked(reason: Reason) -> str:
    hook = f" (its {hook_name(reason)} was running)" if reason.hook_stage else ""
    return f"{_ended(reason)}, before it was asked to stop{hook}"


def _hook(reason: Reason) -> str:
    if reason.cause is None:
        return f"{hook_name(reason)} ended with {describe_exit(reason.code or 0)}"
    if reason.cause.kind == reasons.LOST:
        return f"{hook_name(reason)} was lost in an internal error"
    return f"{hook_name(reason)} could not be started: {text_of(reason.cause)}"


def _signal_refused(reason: Reason) -> str:
    return (
        f"{signal_name(reason.signal or 0)} could not be sent to {reason.detail}: not permitted (add the capability "
        "KILL to a container that runs as root, `docker run --cap-add KILL`; else run the service as cohabit's user)"
    )


def _cannot_start(reason: Reason) -> str:
    return f"cannot start: {start_failure(reason)}"


def _directory(reason: Reason) -> str:
    why = "permission denied" if reason.kind == reasons.DIRECTORY_FORBIDDEN else reason.detail
    return f"cannot change to its working directory {reason.path}: {why}"


def _connection(reason: Reason) -> str:
    return f"{reason.detail} ({reason.path})"


def _too_quickly(reason: Reason) -> str:
    startsecs = format_duration(reason.seconds or 0.0)
    how = text_of(reason.cause)
    return f"exited too quickly (process log may have details): it {how}, and its startsecs is {startsecs}"


def _service_ended(reason: Reason) -> str:
    return f"{reason.service} {text_of(reason.cause)}" + (f" ({reason.detail})" if reason.detail else "")


def _all_ended(reason: Reason) -> str:
    return "all services have ended" + (f"; {reason.service} {text_of(reason.cause)}" if reason.service else "")


_TEXTS: dict[str, Callable[[Reason], str]] = {
    reasons.EXITED: _ended,
    reasons.KILLED_BY_SIGNAL: _ended,
    reasons.OUT_OF_MEMORY: _ended,
    reasons.EXITED_TOO_QUICKLY: _too_quickly,
    reasons.STOP_TIMED_OUT: lambda it: f"{_ended(it)}, because it did not stop in time",
    reasons.STOPPED_UNASKED: _stopped_unasked,
    reasons.KILLED_ON_REQUEST: lambda it: f"killed on request (signal {it.signal})",
    reasons.SIGNAL_REFUSED: _signal_refused,
    reasons.UNHEALTHY: lambda it: f"unhealthy: {it.detail or 'its probe failed'}",
    reasons.HOOK_FAILED: _hook,
    reasons.HOOK_ENDED: _hook,
    reasons.CANNOT_START: _cannot_start,
    reasons.DEPENDENCY_FAILED: _cannot_start,
    reasons.SKIPPED: lambda it: f"was skipped: {it.detail} (conditions)",
    reasons.NOT_IN_PATH: lambda it: f"{it.path!r} is not found in PATH" + (f" ({it.detail})" if it.detail else ""),
    reasons.NOT_FOUND: lambda it: f"{it.path!r} does not exist",
    reasons.NO_INTERPRETER: lambda it: (
        f"{it.path!r} exists, but the interpreter that its first line names does not"
        + (f" ({it.detail!r})" if it.detail else "")
    ),
    reasons.NO_LOADER: lambda it: (
        f"{it.path!r} exists, but its dynamic loader does not" + (f" ({it.detail})" if it.detail else "")
    ),
    reasons.UNKNOWN_FORMAT: lambda it: (
        f"{it.path!r} cannot be executed: its first line names no interpreter (#!/bin/sh), or it was built for another "
        "machine"
    ),
    reasons.IS_DIRECTORY: lambda it: f"{it.path!r} is a directory",
    reasons.NOT_EXECUTABLE: lambda it: (
        f"{it.path!r} is not executable for us (chmod +x it, or check the mount for noexec)"
    ),
    reasons.ARGUMENTS_TOO_LONG: lambda it: (
        f"{it.path!r}: {it.detail or 'the environment and the arguments together are too long'}"
    ),
    reasons.PROCESS_LIMIT: lambda it: (
        f"{it.path!r}: its user has reached the limit of processes (check its ulimits: nproc)"
    ),
    reasons.EXEC_FAILED: lambda it: f"{it.path!r} cannot be executed: {it.detail}",
    reasons.NO_DIRECTORY: _directory,
    reasons.DIRECTORY_FORBIDDEN: _directory,
    reasons.NOT_PRIVILEGED: lambda it: f"cannot become user {it.detail}: this needs root (CAP_SETUID, CAP_SETGID)",
    reasons.STEP_FAILED: lambda it: f"cannot {it.detail}",
    reasons.NO_ROOM: lambda it: (
        f"the system has no room for another process: {it.detail} (check the limits pids, nproc and nofile)"
    ),
    reasons.SYSTEM_ERROR: lambda it: it.detail,
    reasons.LOST: lambda _: "an internal error came in between",
    reasons.PROBE_TIMED_OUT: lambda it: (
        f"no answer within {format_duration(it.seconds or 0.0)}" + (f": {it.detail}" if it.detail else "")
    ),
    reasons.PROBE_NOT_RUN: lambda it: f"cannot run the probe: {it.detail}",
    reasons.CONNECTION_REFUSED: _connection,
    reasons.NO_SOCKET: _connection,
    reasons.CONNECTION_FORBIDDEN: _connection,
    reasons.CONNECTION_FAILED: _connection,
    reasons.NOT_HTTP: lambda it: f"not an HTTP answer: {it.detail!r} ({it.path})",
    reasons.HTTP_STATUS: lambda it: it.detail,
    reasons.SERVICE_ENDED: _service_ended,
    reasons.ALL_ENDED: _all_ended,
    reasons.STOP_REQUESTED: lambda it: (
        f"stopped by {it.detail}" + (f"; {it.service}: {text_of(it.cause)}" if it.cause else "")
    ),
    reasons.STOPPED_EARLY: lambda it: f"stopped by {it.detail} before anything was started",
    reasons.INTERNAL_ERROR: lambda it: it.detail,
    reasons.FILES_CHANGED: lambda it: f"files changed: {it.path}" + (f" and {it.detail}" if it.detail else ""),
    reasons.RELOAD_FAILED: lambda it: it.detail,
}
