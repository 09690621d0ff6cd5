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
    errno.EAGAIN: reasons.PROCESS_LIMIT,
}

_STRING_PAGES_MAX = 32  # MAX_ARG_STRLEN
_HEAD_SIZE = 4096
_ELFCLASS64, _PT_INTERP, _IDENTIFICATION_SIZE = 2, 3, 16  # elf(5)


def exec_failure(start: child.SpawnSpec, message: bytes) -> Reason:
    """Return why the command could not be started, with the exit code, for what its child wrote to the error pipe."""
    step, text, detail = [*message.decode("utf-8", "replace").split("\0", 2), "", ""][:3]
    number = int(text or 0)
    name = start.argv[0]
    if step == child.STEP_EXEC:
        return _why_no_exec(start, name, number, detail)
    if step == child.STEP_CONDITIONS and number == errno.ECANCELED:
        return Reason(reasons.SKIPPED, detail=detail)
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


def _why_no_exec(start: child.SpawnSpec, name: str, number: int, detail: str) -> Reason:
    if number == errno.ENOENT or (number == errno.ENOTDIR and "/" not in name):
        path = _find(name, start)
        if path:
            kind, detail = _missing_part(path)
            return Reason(kind, EXIT_NOT_FOUND, path=name if "/" in name else path, detail=detail)
        if "/" not in name:
            default = "" if "PATH" in start.environment else DEFAULT_PATH  # values of variables are never quoted
            return Reason(reasons.NOT_IN_PATH, EXIT_NOT_FOUND, path=name, detail=default)
        return Reason(reasons.NOT_FOUND, EXIT_NOT_FOUND, path=name)
    if number == errno.E2BIG:
        return Reason(reasons.ARGUMENTS_TOO_LONG, EXIT_CANNOT_RUN, path=name, detail=_too_long(start))
    if number == errno.EACCES:
        kind = reasons.IS_DIRECTORY if stat.S_ISDIR(_mode(name)) else reasons.NOT_EXECUTABLE
    elif number in _EXEC_ERRORS:
        kind = _EXEC_ERRORS[number]
    else:
        return Reason(reasons.EXEC_FAILED, EXIT_CANNOT_RUN, path=name, detail=detail)
    return Reason(kind, EXIT_CANNOT_RUN, path=name)


def _too_long(start: child.SpawnSpec) -> str:
    """Return which argument or variable is too long by itself (execve(2)), "" if none is. Values are not quoted."""
    limit = _STRING_PAGES_MAX * os.sysconf("SC_PAGESIZE")
    for number, text in enumerate(start.argv):
        if _size(text) >= limit:
            return f"argument {number} is longer than {limit >> 10} KiB"
    for name, value in start.environment.items():
        if _size(name) + _size(value) + 1 >= limit:
            return f"the variable {name} is longer than {limit >> 10} KiB"
    return ""


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _find(name: str, start: child.SpawnSpec) -> str:
    """Return the path of an existing file that exec would try; "" if there is none."""
    directories = [""] if "/" in name else start.environment.get("PATH", DEFAULT_PATH).split(":")
    for directory in directories:
        path = f"{directory or '.'}/{name}" if "/" not in name else name
        if not path.startswith("/"):
            path = f"{start.directory or '.'}/{path}"
        if stat.S_ISREG(_mode(path)):
            return path
    return ""


def _missing_part(path: str) -> tuple[str, str]:
    """Return the kind of what is missing of a program that exists, and its path, "" if that cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return reasons.NO_INTERPRETER, ""
    try:
        head = os.read(fd, _HEAD_SIZE)
    except OSError:
        head = b""
    finally:
        os.close(fd)
    if head.startswith(b"\x7fELF") and len(head) > _IDENTIFICATION_SIZE:
        return reasons.NO_LOADER, _loader_of(head).decode("utf-8", "replace")
    line = head.partition(b"\n")[0]
    words = line[2:].split(None, 1) if line.startswith(b"#!") else []
    # An argument follows a space; a CR at the end is part of the name.
    name = line[2:].lstrip(b" \t").split(b" ")[0] if words else b""
    return reasons.NO_INTERPRETER, name.decode("utf-8", "replace")


def _loader_of(head: bytes) -> bytes:
    """Return PT_INTERP of an ELF file (elf(5)), b"" if it is not in the part that was read."""
    wide, order = head[4] == _ELFCLASS64, "little" if head[5] == 1 else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(head[at : at + size], order)  # type: ignore[arg-type]

    table, size, count = (number(32, 8), number(54, 2), number(56, 2)) if wide else (
        number(28, 4), number(42, 2), number(44, 2)
    )  # fmt: skip
    for entry in range(table, table + size * count, size or 1):
        if number(entry, 4) == _PT_INTERP:
            start = number(entry + 8, 8) if wide else number(entry + 4, 4)
            return head[start:].partition(b"\0")[0]
    return b""


def _mode(path: str) -> int:
    """Return the mode of a file; 0 if it does not exist."""
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0
