"""Which process is the daemon: the one in a valid pid file, otherwise the only one in a session of its own."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cohabit.plan.model import Service
from cohabit.reactor import linux
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.cgroup import Cgroups
from cohabit.reactor.processes.daemon import find_daemon, unattributed, unattributed_warning
from cohabit.reactor.processes.tracking import TrackingLimits
from cohabit.reactor.processes.tree import Trees

US = 100
WEB = (1 << 62) + (1 << 24) - 1
OTHER = 65534
USER_OTHER = (250, 251, 350)  # processes of that user


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> dict[int, proc.Process]:
    """Give the processes of a world in which we are process 100; 300 is another service's main process."""
    processes = {300: proc.Process(300, US, 300)}
    monkeypatch.setattr(linux.os, "getpid", lambda: US)
    monkeypatch.setattr(linux.os, "geteuid", lambda: 0)
    monkeypatch.setattr(proc, "is_ours", lambda: True)
    monkeypatch.setattr(proc, "shows_children", lambda: False)
    monkeypatch.setattr(proc, "read_process", processes.get)
    monkeypatch.setattr(proc, "all_processes", lambda: list(processes.values()))
    monkeypatch.setattr(proc, "hard_rss_limit", lambda pid: WEB if pid < 300 else proc.UNLIMITED)
    monkeypatch.setattr(proc, "users", lambda pid: {OTHER if pid in USER_OTHER else 0})
    monkeypatch.setattr(proc, "groups", lambda pid: (OTHER if pid in USER_OTHER else 0,) * 3)
    monkeypatch.setattr(proc, "name", lambda pid: f"name{pid}")
    return processes


@pytest.fixture
def trees(processes: dict[int, proc.Process]) -> Trees:
    """Give trees in which the main process of web, 200, has just ended."""
    del processes
    trees = Trees("us")
    trees.limits = TrackingLimits(-1)
    assert trees.limits.limit("web") == WEB
    trees.started("web", 200)
    trees.started("db", 300)
    trees.reaped(200, 1)
    return trees


def _add(processes: dict[int, proc.Process], pid: int, session: int, parent: int = US, state: str = "S") -> None:
    processes[pid] = proc.Process(pid, parent, session, state=state)


def _web(pid_file: object = "") -> Service:
    return Service("web", ("web",), pid_file=str(pid_file))


# --- without a pid file ----------------------------------------------------------------------------------


def test_daemon_is_found_by_its_session(processes: dict[int, proc.Process], trees: Trees) -> None:
    """The daemon is the one orphan in a session of its own, not an orphan in the service's session."""
    _add(processes, 201, 200)
    _add(processes, 210, 210)
    _add(processes, 211, 210, parent=210)
    assert find_daemon(_web(), trees, 0) == (210, "")


def test_daemon_that_forked_twice_is_found(processes: dict[int, proc.Process], trees: Trees) -> None:
    """After a second fork the daemon is in the session of a process that has ended, which is not a session of ours."""
    _add(processes, 211, 210)
    assert find_daemon(_web(), trees, 0) == (211, "")


def test_daemon_that_forks_after_its_adoption_is_found(processes: dict[int, proc.Process], trees: Trees) -> None:
    """If the process was adopted too early and has forked again, the new process is found."""
    _add(processes, 210, 210)
    assert trees.adopt("web", 210)
    del processes[210]
    trees.reaped(210, 2)
    _add(processes, 211, 210)
    assert find_daemon(_web(), trees, 0) == (211, "")


def test_none_of_two_candidates_is_chosen(processes: dict[int, proc.Process], trees: Trees) -> None:
    """With two candidates no process is returned, and the message names both."""
    _add(processes, 210, 210)
    _add(processes, 220, 220)
    pid, why = find_daemon(_web(), trees, 0)
    assert pid == 0
    assert "210 (name210), 220 (name220)" in why


@pytest.mark.parametrize(
    ("pid", "session", "state"), [(201, 200, "S"), (210, 210, "Z"), (310, 310, "S")], ids=["same", "zombie", "stranger"]
)
def test_other_processes_are_not_daemons(
    processes: dict[int, proc.Process], trees: Trees, pid: int, session: int, state: str
) -> None:
    """A process in the service's session, a zombie and an unattributed process are not daemons."""
    _add(processes, pid, session, state=state)
    assert find_daemon(_web(), trees, 0) == (0, "")


# --- with a pid file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["210", "210\n", "  210 \n", "210\n/var/lib/data\n5432\n"])
def test_pid_file_names_the_daemon(tmp_path: Path, processes: dict[int, proc.Process], trees: Trees, text: str) -> None:
    """The number in the first line is the main process, also if it could not be found without the file."""
    _add(processes, 210, 200)
    _add(processes, 220, 220)
    (tmp_path / "pid").write_text(text)
    assert find_daemon(_web(tmp_path / "pid"), trees, 0) == (210, "")


def test_relative_pid_file_is_in_the_working_directory(
    tmp_path: Path, processes: dict[int, proc.Process], trees: Trees
) -> None:
    """A relative path is relative to the service's working directory."""
    _add(processes, 210, 210)
    (tmp_path / "pid").write_text("210")
    service = Service("web", ("web",), pid_file="pid", working_dir=str(tmp_path))
    assert find_daemon(service, trees, 0) == (210, "")


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
        (b"99", "99 is not one of this service's"),
        (b"211", "211 is not a child of cohabit"),
    ],
)
def test_invalid_pid_file_is_reported(
    tmp_path: Path, processes: dict[int, proc.Process], trees: Trees, data: bytes, why: str
) -> None:
    """The reason is returned together with the process that is found without the file."""
    _add(processes, 210, 210)
    _add(processes, 211, 210, parent=210)
    _add(processes, 230, 230, state="Z")
    _add(processes, 99, 99, parent=98)
    (tmp_path / "pid").write_bytes(data)
    pid, message = find_daemon(_web(tmp_path / "pid"), trees, 0)
    assert pid == 210
    assert message.startswith(f"cannot use the pid_file {tmp_path}/pid: ")
    assert why in message


def test_pid_file_must_be_a_regular_file(tmp_path: Path, processes: dict[int, proc.Process], trees: Trees) -> None:
    """Reading a pipe, a device, a directory, a file of the kernel or a missing file never blocks."""
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
        pid, message = find_daemon(_web(path), trees, 0)
        assert (pid, why in message) == (210, True), message


# --- authors ---------------------------------------------------------------------------------------------


def _write_pid_file(tmp_path: Path, *, directory: int = 0, file: int = 0, mode: int = 0o755, pid: int = 210) -> Path:
    """Write a pid file with these owners."""
    place = tmp_path / "run"
    place.mkdir()
    (place / "pid").write_text(str(pid))
    os.chown(place / "pid", file, file)
    os.chown(place, directory, directory)
    place.chmod(mode)
    return place / "pid"


NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@NEEDS_ROOT
@pytest.mark.parametrize(
    ("pid", "owners", "adopted"),
    [
        (210, {}, True),
        (310, {}, True),
        (250, {}, True),
        (350, {}, True),
        (210, {"file": OTHER}, True),
        (210, {"directory": OTHER, "file": OTHER}, True),
        (250, {"directory": OTHER, "file": OTHER}, True),
        (250, {"directory": OTHER, "file": OTHER, "mode": 0o2775}, True),
        (250, {"directory": OTHER, "mode": 0o777}, False),
        (250, {"directory": 1, "file": OTHER}, False),
        (310, {"file": OTHER}, False),
        (310, {"directory": OTHER}, False),
        (310, {"mode": 0o777}, False),
        (310, {"mode": 0o775}, False),
        (310, {"mode": 0o1777}, True),
        (350, {"directory": OTHER, "file": OTHER}, False),
    ],
)
def test_pid_file_is_limited_to_the_processes_of_its_author(
    tmp_path: Path, processes: dict[int, proc.Process], trees: Trees, pid: int, owners: dict[str, int], *, adopted: bool
) -> None:
    """Root may name any child of ours that no service owns; another user only its own processes of the service.

    210 has the limit of web and runs as root, which is its user; 250 has the limit and runs as another user; 310 and
    350 do not have it.
    """
    _add(processes, pid, pid)
    found, why = find_daemon(_web(_write_pid_file(tmp_path, pid=pid, **owners)), trees, 0)
    assert (found == pid and not why) == adopted, why
    assert adopted or "users other than root could have written the file" in why


@NEEDS_ROOT
@pytest.mark.parametrize("uid", [0, OTHER])
def test_owner_of_a_link_is_an_author(
    tmp_path: Path, processes: dict[int, proc.Process], trees: Trees, uid: int
) -> None:
    """A link in another user's directory leads where that user wants, whatever the owner of the file there is."""
    _add(processes, 310, 310)
    _write_pid_file(tmp_path, pid=310)
    (tmp_path / "link").symlink_to("../x/run")
    place = tmp_path / "x"
    place.mkdir()
    (place / "run").symlink_to(tmp_path / "run")
    os.chown(place, uid, uid)
    path = f"{tmp_path}/x/../x/run/./pid"
    assert (find_daemon(_web(path), trees, 0)[0] == 310) == (uid == 0)


@NEEDS_ROOT
def test_hard_link_is_refused(tmp_path: Path, processes: dict[int, proc.Process], trees: Trees) -> None:
    """A file with a second name may be a hard link that any user made to another user's file."""
    _add(processes, 310, 310)
    path = _write_pid_file(tmp_path, pid=310)
    os.link(path, tmp_path / "second")
    assert find_daemon(_web(path), trees, 0)[0] == 0


def test_process_from_before_this_run_is_refused(
    tmp_path: Path, processes: dict[int, proc.Process], trees: Trees
) -> None:
    """An old or forged file names a process that was started before this run."""
    _add(processes, 210, 210)
    processes[210].start = 5
    path = _write_pid_file(tmp_path)
    assert find_daemon(_web(path), trees, 5) == (210, "")
    assert "was started before this run" in find_daemon(_web(path), trees, 6)[1]


# --- as another user, unattributed -----------------------------------------------------------------------


def test_daemon_of_another_user_needs_a_pid_file(processes: dict[int, proc.Process], trees: Trees) -> None:
    """A tracking limit alone does not make it the main process. The message names it, and says what to do."""
    _add(processes, 250, 250)
    assert find_daemon(_web(), trees, 0) == (
        0,
        (
            "cannot determine the main process: it runs as another user: 250 (name250) (run it in the foreground, "
            "or set pid_file in cohabit.yaml)"
        ),
    )
    trees.cgroups = Cgroups()
    trees.orphans.clear()
    trees._seen, trees._by_limit = [], set()
    trees.cgroups.owner = lambda pid: "web" if pid == 250 else None  # type: ignore[method-assign]
    assert find_daemon(_web(), trees, 0) == (250, "")


def test_unattributed_processes_are_listed(processes: dict[int, proc.Process], trees: Trees) -> None:
    """Running ones that started after the run began, with their names; at most five of them."""
    for pid in range(310, 320):
        _add(processes, pid, pid)
        processes[pid].start = pid
    processes[315].state = "Z"
    pids = unattributed(trees, 313)
    assert pids == [313, 314, 316, 317, 318, 319]
    warning = unattributed_warning(Service("web", ("web",)), pids)
    assert "313 (name313), 314 (name314), 316 (name316), 317 (name317), 318 (name318), …" in warning


# --- on the real /proc ----------------------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[int]:
    """Give a child of this process in a session of its own."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        yield process.pid
        process.send_signal(signal.SIGKILL)


def test_pid_file_of_a_real_process(tmp_path: Path, sleeper: int) -> None:
    """On the real /proc: a child of ours is accepted, another process is not."""
    trees = Trees("us")
    trees.started("web", sleeper)
    (tmp_path / "pid").write_text(str(sleeper))
    assert find_daemon(_web(tmp_path / "pid"), trees, 0) == (sleeper, "")
    (tmp_path / "pid").write_text(str(os.getppid()))
    assert "not one of this service's" in find_daemon(_web(tmp_path / "pid"), trees, 0)[1]
