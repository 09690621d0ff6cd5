"""Reasons in the words of supervisord, which tools read: in its main log, and in `supervisorctl status`."""

from __future__ import annotations

from cohabit.plan.reason import (
    CANNOT_START,
    EXITED_TOO_QUICKLY,
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
from cohabit.plan.reason_text import text_of
from cohabit.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.reason import Reason

TOO_QUICKLY = "Exited too quickly (process log may have details)"
_BY_SIGNAL = frozenset({KILLED_BY_SIGNAL, KILLED_ON_REQUEST, OUT_OF_MEMORY, STOP_TIMED_OUT, STOPPED_UNASKED})
_SIGKILL = 9
_SIGNALS_FROM = 128  # an exit code of 128 and a signal, as a shell shows it


def spawn_error(reason: Reason, command: str) -> str:
    """Why a program could not be started, or ended at once. command: its first word."""
    cause = reason.cause
    if reason.kind != CANNOT_START or cause is None:
        return TOO_QUICKLY
    if cause.kind in (NOT_IN_PATH, NOT_FOUND):
        return f"can't find command {command!r}"
    if cause.kind == IS_DIRECTORY:
        return f"command at {command!r} is a directory"
    if cause.kind == NOT_EXECUTABLE:
        return f"command at {command!r} is not executable"
    return text_of(reason)


def is_by_signal(reason: Reason | None) -> bool:
    """Whether a signal ended a run."""
    if reason is not None and reason.kind == EXITED_TOO_QUICKLY:
        reason = reason.cause
    return reason is not None and reason.kind in _BY_SIGNAL


def how_it_ended(reason: Reason | None, code: int) -> str:
    """As in `exited: web (exit status 1; not expected)`."""
    if not is_by_signal(reason):
        return f"exit status {code}"
    return f"terminated by {signal_name(code - _SIGNALS_FROM if code > _SIGNALS_FROM else _SIGKILL)}"
