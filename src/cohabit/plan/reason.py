"""Reasons: why a service or the container is in its state, as values. reason_text.py turns them into text.

The engine makes a reason from what it has seen; the reactor makes those of a failed start. The log, the history,
`status`, `why` and the exit reason carry the same value. Code decides on `kind` and the other fields, never on text.
"""

from __future__ import annotations

from cohabit.plan.record import Record
from cohabit.units import exit_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# --- kinds -----------------------------------------------------------------------------------------------

# Of the end of a run: code, seconds.
EXITED = "exited"
KILLED_BY_SIGNAL = "killed-by-signal"  # signal; a shell whose child was killed by it exits with the same code
OUT_OF_MEMORY = "out-of-memory"  # signal; the kernel killed it
# signal; we killed it before its stop signal was sent; hook_stage, hook_index: the pre_stop hook that was running
STOPPED_UNASKED = "stopped-unasked"
STOP_TIMED_OUT = "stop-timed-out"  # signal; we killed it, because it did not end after its stop signal
KILLED_ON_REQUEST = "killed-on-request"  # signal
# signal; detail: the processes that the kernel does not permit us to signal; cause: why the run has ended, if it has
SIGNAL_REFUSED = "signal-refused"
UNHEALTHY = "unhealthy"  # detail: the last output of its probe; cause: why that failed, if it is known
HOOK_FAILED = "hook-failed"  # hook_stage, hook_index, code; cause if it did not run to its end
HOOK_ENDED = "hook-ended"  # the same; the hook succeeded, and a stop came before the command was started

# With `startup`: its run was shorter than that. seconds: that time; code, signal; cause: how it ended
EXITED_TOO_QUICKLY = "exited-too-quickly"

# Of a service that did not run.
CANNOT_START = "cannot-start"  # code, cause
DEPENDENCY_FAILED = "dependency-failed"  # service: the dependency; cause: the reason of its end
SKIPPED = "skipped"  # one of its conditions does not hold; detail: what is the case instead
NOT_STARTED = frozenset({CANNOT_START, DEPENDENCY_FAILED})
HOOKS = frozenset({HOOK_FAILED, HOOK_ENDED})

# Causes of CANNOT_START and HOOK_FAILED, made by the reactor. path: of the command or the directory.
NOT_IN_PATH = "not-in-path"  # detail: the default of PATH if it was used
NOT_FOUND = "not-found"
NO_INTERPRETER = "no-interpreter"  # the one that its first line names does not exist; detail: that one
NO_LOADER = "no-loader"  # of a binary program; detail: its dynamic loader, which does not exist
UNKNOWN_FORMAT = "unknown-format"  # no first line with an interpreter, or a program for another machine
IS_DIRECTORY = "is-directory"
NOT_EXECUTABLE = "not-executable"
ARGUMENTS_TOO_LONG = "arguments-too-long"  # detail: the one that is too long by itself
PROCESS_LIMIT = "process-limit"  # of its user
EXEC_FAILED = "exec-failed"  # detail: the kernel's message
NO_DIRECTORY = "no-directory"  # its working directory; detail
DIRECTORY_FORBIDDEN = "directory-forbidden"  # its working directory
NOT_PRIVILEGED = "not-privileged"  # we cannot become its user; detail: the user
STEP_FAILED = "step-failed"  # detail: what cannot be done, and why
NO_ROOM = "no-room"  # for another process; detail: the kernel's message
SYSTEM_ERROR = "system-error"  # detail
LOST = "lost"  # with an internal error of ours

# Of a probe that failed, made by the reactor. Other failures have the output of a command or of the service only.
PROBE_TIMED_OUT = "probe-timed-out"  # seconds: its timeout; detail: the output until then
PROBE_NOT_RUN = "probe-not-run"  # its command could not be executed; detail
CONNECTION_REFUSED = "connection-refused"  # path: the address or the socket; detail: the system's message
NO_SOCKET = "no-socket"  # the same
CONNECTION_FORBIDDEN = "connection-forbidden"  # the same
CONNECTION_FAILED = "connection-failed"  # the same
NOT_HTTP = "not-http"  # path: the address; detail: the line that is not HTTP
HTTP_STATUS = "http-status"  # code: the status; detail: the status line

# Of the end of the container.
SERVICE_ENDED = "service-ended"  # service, cause; detail: why that ends the container, if it has to be said
ALL_ENDED = "all-ended"  # service, cause: of the first failure, or of the first service if all were skipped
STOP_REQUESTED = "stop-requested"  # detail: by what; service, cause: one that could not be signalled
STOPPED_EARLY = "stopped-early"  # the same, before anything was started
INTERNAL_ERROR = "internal-error"  # detail

# Of a restart by `up --watch`.
FILES_CHANGED = "files-changed"  # path: the first one; detail: how many others, if there are

# Of a reload.
RELOAD_FAILED = "reload-failed"  # detail: the first problem

CAUSES_KEPT = 32  # levels of causes; a longer chain is cut, because each level costs stack where it is converted


class Reason(Record):
    """Why something is as it is. A field that the kind does not have is None or empty, and is left out in an answer."""

    kind: str
    code: int | None = None  # exit code, 128+n for signal n; or the status of an HTTP answer
    signal: int | None = None
    seconds: float | None = None  # how long it lasted
    hook_stage: str = ""  # pre_start, post_start, pre_stop or post_stop
    hook_index: int | None = None  # the number of that hook, from 0
    service: str = ""  # the instance that it is about
    path: str = ""
    detail: str = ""
    restarts: int | None = None  # it was given up after so many restarts or start retries in a row; None: it was not
    cause: Reason | None = None  # the reason of the service, or of the failed start, that this one is about

    def with_texts(self, change: Callable[[str], str]) -> Reason:
        """A copy in which each text from outside cohabit is changed, for example to hide secrets."""
        cause = self.cause and self.cause.with_texts(change)
        return self.replace(path=change(self.path), detail=change(self.detail), cause=cause)

    def cut(self, levels: int) -> Reason:
        """A copy with so many levels of causes at most."""
        if self.cause is None:
            return self
        return self.replace(cause=self.cause.cut(levels - 1) if levels else None)


def end_of_run(code: int, seconds: float, *, out_of_memory: bool = False) -> Reason:
    """The reason of a run that ended by itself. code: as a shell shows it."""
    signal = exit_signal(code)
    kind = OUT_OF_MEMORY if out_of_memory else KILLED_BY_SIGNAL if signal else EXITED
    return Reason(kind, code, signal, round(seconds, 6))


def exited_too_quickly(end: Reason, startup_seconds: float) -> Reason:
    """The reason of a run that ended like this before it counted as started."""
    return Reason(EXITED_TOO_QUICKLY, end.code, end.signal, startup_seconds, cause=end)


def with_refusal(reason: Reason | None, service: str, refusal: Reason | None) -> Reason | None:
    """The reason of a requested end in which this service could not be signalled. Others are unchanged."""
    return reason.replace(service=service, cause=refusal) if reason and reason.kind == STOP_REQUESTED else reason


def dependency_failed(service: str, cause: Reason | None) -> Reason:
    """The reason of a service that waits for one that has failed for good."""
    return Reason(DEPENDENCY_FAILED, service=service, cause=cause).cut(CAUSES_KEPT)
