"""Why a command could not be started, in words and as an exit code."""

import errno
import os
from pathlib import Path

import pytest

from cohabit.plan.model import Credentials
from cohabit.reactor.processes import child, spawn
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals


def _start(name: str, **more: str) -> SpawnSpec:
    return SpawnSpec((name,), {"PATH": "/odd:/usr/bin", **more}, InheritedSignals((), ()))


def _failure(start: SpawnSpec, step: str, number: int, detail: str = "") -> tuple[str, int]:
    return spawn.failure(start, f"{step}\0{number}\0{detail}".encode())


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
def test_why_it_was_not_executed(name: str, number: int, code: int, says: str) -> None:
    """127 when it is not there, 126 when it will not run, each with its own sentence."""
    why, found = _failure(_start(name), child.STEP_EXEC, number, os.strerror(number).lower())
    assert (found, says in why) == (code, True), why


def test_other_steps_are_told_too() -> None:
    """What fails before the exec is told by what was tried."""
    start = _start("tool")
    start.identity = Credentials(1000, 1000, name="app")
    assert "become user app" in _failure(start, child.STEP_USER, errno.EPERM)[0]
    assert "it does not exist" in _failure(start, child.STEP_DIRECTORY, errno.ENOENT, "/srv")[0]
    assert _failure(start, child.STEP_SESSION, errno.EPERM, "why") == ("cannot make a session of its own: why", 71)


def test_a_message_cut_short_is_still_told() -> None:
    """Whatever comes out of the pipe, there is a sentence and a code."""
    for message in (b"x", b"x\0", b"x\x001", b"\xff\0" + b"2\0"):
        why, code = spawn.failure(_start("tool"), message)
        assert why
        assert code


@pytest.mark.parametrize(
    ("status", "code"), [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143), (11 | 128, 139)]
)
def test_wait_status_as_a_shell_shows_it(status: int, code: int) -> None:
    """The code, or 128 plus the signal, with or without a core."""
    assert spawn.exit_code(status) == code


def test_spawned_child_tells_of_its_exec(tmp_path: Path) -> None:
    """The error pipe ends when the exec succeeds, and holds the reason when not."""
    for command, expected in ((("true",), b""), ((str(tmp_path / "none"),), child.STEP_EXEC.encode())):
        pid, errors = spawn.spawn(SpawnSpec(command, dict(os.environ), InheritedSignals((), ())))
        os.set_blocking(errors, True)
        message = spawn.exec_errors(errors)
        os.close(errors)
        os.waitpid(pid, 0)
        assert message is not None
        assert message.split(b"\0")[0] == expected
