"""Why a command could not be started: the message and the exit code."""

import errno
import os
from pathlib import Path

import pytest

from cohabit.plan.model import Credentials
from cohabit.plan.reason_text import text_of
from cohabit.reactor.processes import child, spawn, start_failure
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals


def _start(name: str, **more: str) -> SpawnSpec:
    return SpawnSpec((name,), {"PATH": "/odd:/usr/bin", **more}, InheritedSignals((), ()))


def _failure(start: SpawnSpec, step: str, number: int, detail: str = "") -> tuple[str, int]:
    reason = start_failure.exec_failure(start, f"{step}\0{number}\0{detail}".encode())
    return text_of(reason), reason.code or 0


@pytest.mark.parametrize(
    ("name", "number", "code", "says"),
    [
        ("tool", errno.ENOENT, 127, "not found in PATH"),
        ("/no/tool", errno.ENOENT, 127, "does not exist"),
        ("/etc", errno.EACCES, 126, "is a directory"),
        ("/etc/passwd", errno.EACCES, 126, "not executable"),
        ("tool", errno.ENOEXEC, 126, "no interpreter"),
        ("tool", errno.E2BIG, 126, "too long"),
        ("tool", errno.ETXTBSY, 126, "busy"),
        ("/etc/passwd", errno.ENOENT, 127, "interpreter"),
    ],
)
def test_failed_exec_has_a_reason_and_a_code(name: str, number: int, code: int, says: str) -> None:
    """127 if the command does not exist, 126 if it cannot be executed; each error has its own message."""
    why, found = _failure(_start(name), child.STEP_EXEC, number, os.strerror(number).lower())
    assert (found, says in why) == (code, True), why


def test_failed_steps_before_the_exec_are_reported() -> None:
    """The message names the step that failed."""
    start = _start("tool")
    start.identity = Credentials(1000, 1000, name="app")
    assert "become user app" in _failure(start, child.STEP_USER, errno.EPERM)[0]
    assert "it does not exist" in _failure(start, child.STEP_DIRECTORY, errno.ENOENT, "/srv")[0]
    assert _failure(start, child.STEP_SESSION, errno.EPERM, "why") == ("cannot create a session: why", 71)


def test_truncated_message_is_reported() -> None:
    """Any bytes from the pipe result in a message and a code."""
    for message in (b"x", b"x\0", b"x\x001", b"\xff\0" + b"2\0"):
        reason = start_failure.exec_failure(_start("tool"), message)
        assert text_of(reason)
        assert reason.code


@pytest.mark.parametrize(
    ("status", "code"), [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143), (11 | 128, 139)]
)
def test_wait_status_becomes_the_code_of_a_shell(status: int, code: int) -> None:
    """The exit code, or 128 plus the signal, with or without a core dump."""
    assert spawn.exit_code(status) == code


def test_error_pipe_reports_the_exec(tmp_path: Path) -> None:
    """The pipe is closed when the exec succeeds, and contains the reason otherwise."""
    for command, expected in ((("true",), b""), ((str(tmp_path / "none"),), child.STEP_EXEC.encode())):
        pid, errors = spawn.spawn(SpawnSpec(command, dict(os.environ), InheritedSignals((), ())))
        os.set_blocking(errors, True)
        message = spawn.exec_errors(errors)
        os.close(errors)
        os.waitpid(pid, 0)
        assert message is not None
        assert message.split(b"\0")[0] == expected
