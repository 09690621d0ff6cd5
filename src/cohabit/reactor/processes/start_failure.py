"""Why a command could not be started, as a reason. `cohabit init` loads this only when a start fails."""

from __future__ import annotations

import _stat as stat
import errno

from cohabit.errors import EXIT_CANNOT_RUN, EXIT_NOT_FOUND, EXIT_SYSTEM, CommandError
from cohabit.plan import reason as reasons
from cohabit.plan.reason import Reason
from cohabit.plan.reason_text import text_of
from cohabit.reactor.linux import os
from cohabit.reactor.processes import child
from cohabit.units import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.processes.spawn import NotStartedError

_EXEC_ERRORS = {
    errno.ENOEXEC: reasons.UNKNOWN_FORMAT,
    errno.E2BIG: reasons.ARGUMENTS_TOO_LONG,
    errno.EAGAIN: reasons.PROCESS_LIMIT,
}


def exec_failure(start: child.SpawnSpec, message: bytes) -> Reason:
    """Return why the command could not be started, with the exit code, for what its child wrote to the error pipe."""
    step, text, detail = [*message.decode("utf-8", "replace").split("\0", 2), "", ""][:3]
    number = int(text or 0)
    name = start.argv[0]
    if step == child.STEP_EXEC:
        return _why_no_exec(name, number, detail, start.environment)
    if step == child.STEP_USER and number == errno.EPERM:
        user = start.identity.name or start.identity.uid if start.identity else "?"
        return Reason(reasons.NOT_PRIVILEGED, EXIT_CANNOT_RUN, detail=str(user))
    if step == child.STEP_DIRECTORY:
        if number == errno.EACCES:
            return Reason(reasons.DIRECTORY_FORBIDDEN, EXIT_CANNOT_RUN, path=detail)
        why = {errno.ENOENT: "it does not exist", errno.ENOTDIR: "it is not a directory"}
        what = why.get(number) or os.strerror(number)
        return Reason(reasons.NO_DIRECTORY, EXIT_CANNOT_RUN, path=detail, detail=what)
    code = EXIT_CANNOT_RUN if step == child.STEP_SECRETS else EXIT_SYSTEM
    return Reason(reasons.STEP_FAILED, code, detail=f"{step}: {detail}")


def fork_failure(error: OSError) -> Reason:
    """Return why a fork or a pipe failed."""
    return Reason(reasons.NO_ROOM, EXIT_SYSTEM, detail=str(error.strerror))


def no_room(error: OSError) -> str:
    """Return a failed fork or pipe as text that completes "cannot start: "."""
    return text_of(fork_failure(error))


def command_error(failed: NotStartedError) -> CommandError:
    """Return the error message of a command that cohabit runs in place of services."""
    if failed.error:
        return CommandError(f"cannot run {failed.start.argv[0]}: {no_room(failed.error)}", EXIT_CANNOT_RUN)
    failure = exec_failure(failed.start, failed.message)
    return CommandError(f"cannot run the command: {text_of(failure)}", failure.code or EXIT_SYSTEM)


def _why_no_exec(name: str, number: int, detail: str, environment: dict[str, str]) -> Reason:
    if number == errno.ENOENT or (number == errno.ENOTDIR and "/" not in name):
        if "/" not in name:
            default = "" if "PATH" in environment else DEFAULT_PATH  # values of variables are never quoted
            return Reason(reasons.NOT_IN_PATH, EXIT_NOT_FOUND, path=name, detail=default)
        return Reason(reasons.NO_INTERPRETER if _mode(name) else reasons.NOT_FOUND, EXIT_NOT_FOUND, path=name)
    if number == errno.EACCES:
        kind = reasons.IS_DIRECTORY if stat.S_ISDIR(_mode(name)) else reasons.NOT_EXECUTABLE
    elif number in _EXEC_ERRORS:
        kind = _EXEC_ERRORS[number]
    else:
        return Reason(reasons.EXEC_FAILED, EXIT_CANNOT_RUN, path=name, detail=detail)
    return Reason(kind, EXIT_CANNOT_RUN, path=name)


def _mode(path: str) -> int:
    """Return the mode of a file; 0 if it does not exist."""
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0
