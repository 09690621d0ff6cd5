"""Why a command could not be started: the message and the exit code."""

import errno
import os
from pathlib import Path
from typing import Literal

import pytest

from cohabit.plan.model import Credentials
from cohabit.plan.reason_text import text_of
from cohabit.reactor.processes import child, spawn, start_failure
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals


def _start(name: str, **more: str) -> SpawnSpec:
    environment = {"PATH": "/odd:/usr/bin", **more}
    return SpawnSpec((name,), environment, InheritedSignals((), ()))


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


def _elf(tmp_path: Path, *, wide: bool, order: Literal["little", "big"], loader: bytes) -> Path:
    """Write the beginning of a program with this loader (elf(5))."""
    head = bytearray(512)
    head[:6] = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "little" else 2])

    def put(at: int, size: int, value: int) -> None:
        head[at : at + size] = value.to_bytes(size, order)

    for at, size, value in ((32, 8, 64), (54, 2, 56), (56, 2, 2)) if wide else ((28, 4, 64), (42, 2, 32), (44, 2, 2)):
        put(at, size, value)
    entry = 64 + (56 if wide else 32)
    put(64, 4, 6)  # PT_PHDR
    put(entry, 4, 3)  # PT_INTERP
    put(entry + (8 if wide else 4), 8 if wide else 4, 300)
    head[300 : 301 + len(loader)] = loader + b"\0"
    path = tmp_path / "tool"
    path.write_bytes(head)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("wide", [True, False])
def test_a_missing_dynamic_loader_is_not_called_an_interpreter(
    tmp_path: Path, wide: bool, order: Literal["little", "big"]
) -> None:
    """By path, found in PATH, and below the working directory."""
    path = _elf(tmp_path, wide=wide, order=order, loader=b"/lib/ld-musl.so.1")
    says = "exists, but its dynamic loader does not (/lib/ld-musl.so.1)", 127
    for name, shown in ((str(path), str(path)), ("tool", str(path)), ("./tool", "./tool")):
        start = _start(name, PATH=f"/odd:{tmp_path}")
        start.directory = str(tmp_path)
        found, code = _failure(start, child.STEP_EXEC, errno.ENOENT)
        assert (found, code) == (f"{shown!r} {says[0]}", says[1])
    path.write_bytes(path.read_bytes()[:70])  # cut off
    assert _failure(_start(str(path)), child.STEP_EXEC, errno.ENOENT)[0].endswith("its dynamic loader does not")


@pytest.mark.parametrize(
    ("line", "interpreter"), [("#!/no/sh\r\n", "'/no/sh\\r'"), ("#! /no/python -u\n", "'/no/python'"), ("\n", "")]
)
def test_a_missing_interpreter_is_named(tmp_path: Path, line: str, interpreter: str) -> None:
    """With its carriage return, which is part of its name."""
    (tmp_path / "script").write_bytes(line.encode())
    found, _ = _failure(_start(f"{tmp_path}/script"), child.STEP_EXEC, errno.ENOENT)
    end = f" ({interpreter})" if interpreter else ""
    assert found.endswith(f"exists, but the interpreter that its first line names does not{end}")


def test_an_argument_that_is_too_long_is_named() -> None:
    """One of more than 128 KiB, without its value; otherwise all together are too long."""
    long = "x" * (32 * os.sysconf("SC_PAGESIZE"))
    says = f"is longer than {len(long) >> 10} KiB"
    found, _ = _failure(_start("tool", BIG=long[4:]), child.STEP_EXEC, errno.E2BIG)
    assert found == f"'tool': the variable BIG {says}"
    start = SpawnSpec(("tool", "a", long), {}, InheritedSignals((), ()))
    assert _failure(start, child.STEP_EXEC, errno.E2BIG)[0] == f"'tool': argument 2 {says}"
    found, _ = _failure(_start("tool", BIG=long[5:]), child.STEP_EXEC, errno.E2BIG)
    assert found.endswith("together are too long")


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
