"""Which process is the daemon: what its pid file says if it is true, else the only one in a session of its own."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cohabit.plan.model import Service
from cohabit.reactor import linux
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.daemon import find_daemon
from cohabit.reactor.processes.tree import Trees

US = 100


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> dict[int, proc.Process]:
    """Give the processes of a world in which we are process 100; 300 is another service's main one."""
    processes = {300: proc.Process(300, US, 300)}
    monkeypatch.setattr(linux.os, "getpid", lambda: US)
    monkeypatch.setattr(proc, "is_ours", lambda: True)
    monkeypatch.setattr(proc, "shows_children", lambda: False)
    monkeypatch.setattr(proc, "look", processes.get)
    monkeypatch.setattr(proc, "everybody", lambda: list(processes.values()))
    monkeypatch.setattr(proc, "environment", lambda pid: [b"COHABIT_SUPERVISOR=us:web"] if pid < 300 else [b"A=b"])
    return processes


@pytest.fixture
def trees(processes: dict[int, proc.Process]) -> Trees:
    """Give trees in which the main process of web, 200, has just ended."""
    del processes
    trees = Trees("us")
    trees.started("web", 200)
    trees.started("db", 300)
    trees.reaped(200)
    return trees


def _add(processes: dict[int, proc.Process], pid: int, session: int, parent: int = US, state: str = "S") -> None:
    processes[pid] = proc.Process(pid, parent, session, state=state)


def _web(pid_file: object = "") -> Service:
    return Service("web", ("web",), pid_file=str(pid_file))


# --- without a pid file ----------------------------------------------------------------------------------


def test_daemon_is_found_by_its_session(processes: dict[int, proc.Process], trees: Trees) -> None:
    """The one orphan in a session of its own is it; what stayed in the service's session is not."""
    _add(processes, 201, 200)
    _add(processes, 210, 210)
    _add(processes, 211, 210, parent=210)
    assert find_daemon(_web(), trees) == (210, "")


def test_daemon_that_forked_twice(processes: dict[int, proc.Process], trees: Trees) -> None:
    """After a second fork it is in the session of a process that is gone; that session is no leader's of ours."""
    _add(processes, 211, 210)
    assert find_daemon(_web(), trees) == (211, "")


def test_daemon_of_a_daemon(processes: dict[int, proc.Process], trees: Trees) -> None:
    """One that was taken for it too early, and forked once more, is followed."""
    _add(processes, 210, 210)
    assert trees.adopt("web", 210)
    del processes[210]
    trees.reaped(210)
    _add(processes, 211, 210)
    assert find_daemon(_web(), trees) == (211, "")


def test_two_are_not_guessed(processes: dict[int, proc.Process], trees: Trees) -> None:
    """Of two that could be it none is, and both are named."""
    _add(processes, 210, 210)
    _add(processes, 220, 220)
    pid, why = find_daemon(_web(), trees)
    assert pid == 0
    assert "210, 220" in why


@pytest.mark.parametrize(
    ("pid", "session", "state"), [(201, 200, "S"), (210, 210, "Z"), (310, 310, "S")], ids=["same", "zombie", "stranger"]
)
def test_who_is_no_daemon(processes: dict[int, proc.Process], trees: Trees, pid: int, session: int, state: str) -> None:
    """Who stayed in the service's session, is dead or is nobody's is not taken for it."""
    _add(processes, pid, session, state=state)
    assert find_daemon(_web(), trees) == (0, "")


# --- with one --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["210", "210\n", "  210 \n", "210\n/var/lib/data\n5432\n"])
def test_pid_file_tells(tmp_path: Path, processes: dict[int, proc.Process], trees: Trees, text: str) -> None:
    """The number in the first line is the main process, also where one could not have guessed it."""
    _add(processes, 210, 200)
    _add(processes, 220, 220)
    (tmp_path / "pid").write_text(text)
    assert find_daemon(_web(tmp_path / "pid"), trees) == (210, "")


def test_pid_file_beside_the_service(tmp_path: Path, processes: dict[int, proc.Process], trees: Trees) -> None:
    """A relative path is relative to the service's working directory."""
    _add(processes, 210, 210)
    (tmp_path / "pid").write_text("210")
    service = Service("web", ("web",), pid_file="pid", working_dir=str(tmp_path))
    assert find_daemon(service, trees) == (210, "")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\n", "not a number"),
        (b"pid", "not a number"),
        (b"-210", "not a number"),
        (b"2_1_0", "not a number"),
        (b"0x210", "not a number"),
        ("²".encode(), "not a number"),
        (b"\xff\xfe\0\1" * 20, "not a number"),
        (b"9" * 4000, "not a number"),
        (b"210\n" * 2000, "8000 bytes"),
        (b"0", "there is no process 0"),
        (b"777", "there is no process 777"),
        (b"230", "there is no process 230"),
        (b"300", "300 is not one of this service's"),
        (b"310", "310 is not one of this service's"),
        (b"211", "211 has another parent"),
    ],
)
def test_pid_file_that_lies(
    tmp_path: Path, processes: dict[int, proc.Process], trees: Trees, data: bytes, why: str
) -> None:
    """What is no pid, or not that of a process of ours, is said, and the guess is given instead."""
    _add(processes, 210, 210)
    _add(processes, 211, 210, parent=210)
    _add(processes, 230, 230, state="Z")
    _add(processes, 310, 310)
    (tmp_path / "pid").write_bytes(data)
    pid, said = find_daemon(_web(tmp_path / "pid"), trees)
    assert pid == 210
    assert said.startswith(f"cannot use the pid_file {tmp_path}/pid: ")
    assert why in said


def test_pid_file_that_is_no_file(tmp_path: Path, processes: dict[int, proc.Process], trees: Trees) -> None:
    """A pipe, a device, a directory, a file of the kernel's or none at all is never waited for."""
    _add(processes, 210, 210)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path, why in (
        (tmp_path / "pipe", "not a file"),
        ("/dev/zero", "not a file"),
        (tmp_path, "not a file"),
        ("/proc/kmsg", "empty"),
        (tmp_path / "none", "no such file"),
        (tmp_path / "loop", "too many levels"),
        ("a\0b", "null"),
    ):
        pid, said = find_daemon(_web(path), trees)
        assert (pid, why in said) == (210, True), said


# --- on the real /proc ----------------------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[int]:
    """Give a child of this process, in a session of its own."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        yield process.pid
        process.send_signal(signal.SIGKILL)


def test_pid_file_of_a_real_process(tmp_path: Path, sleeper: int) -> None:
    """On the real /proc too; and one that is not ours to reap is refused."""
    trees = Trees("us")
    trees.started("web", sleeper)
    (tmp_path / "pid").write_text(str(sleeper))
    assert find_daemon(_web(tmp_path / "pid"), trees) == (sleeper, "")
    (tmp_path / "pid").write_text(str(os.getppid()))
    assert "not one of this service's" in find_daemon(_web(tmp_path / "pid"), trees)[1]
