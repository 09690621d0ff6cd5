"""The process that writes log files: it is killed, it hangs, its file system is frozen, process 1 gives up."""

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from linux.accounting import Writers, file_with_rotated
from linux.clients import ask, environment, request
from linux.conftest import Gate, Start
from linux.processes import Process
from linux.run import REPOSITORY, Run, program, shell, write_file

SOURCE = os.path.join(REPOSITORY, "src")
FREEZE, THAW = 0xC0045877, 0xC0045878  # FIFREEZE, FITHAW of linux/fs.h
TOP = {"x-cohabit": {"stop_grace_period": "2s"}}
FULL = 400  # rounds of a writer: more than the pipes to process 1 and to the log writer hold


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    """Give the Writers."""
    writers = Writers(str(tmp_path))
    yield writers
    writers.close()


def _file(path: Path, **options: str) -> dict[str, Any]:
    return {
        "driver": "file",
        "options": {"path": str(path), **{key.replace("_", "-"): options[key] for key in options}},
    }


def _log_writer(run: Run) -> Process:
    """Wait for the process that writes the log files."""
    run.until(lambda: _log_writers(run), "the log writer")
    return _log_writers(run)[0]


def _log_writers(run: Run) -> list[Process]:
    return [one for one in run.below() if "tasks/log_writer.py" in one.command]


def _answers(run: Run, directory: Path) -> None:
    """Check that a client is answered, and that a crashed service is restarted."""
    assert "crashes" in ask(run, str(directory), "ps")
    first = run.one("sleep 1000")
    os.kill(first.pid, signal.SIGKILL)
    run.until(lambda: [one for one in run.below("sleep 1000") if one.pid != first.pid], "a restart")


def test_killed_again_and_again(up: Start, writers: Writers, tmp_path: Path) -> None:
    """Another one is started; no line is lost, torn or written twice, with and without rotation."""
    rotated, plain = tmp_path / "rotated.log", tmp_path / "plain.log"
    services = {
        "web": writers.service("web", _file(rotated, max_size="50k", max_file="1000"), "bursts", bytes_max=5000),
        "api": writers.service("api", _file(plain, max_size="0"), "bursts", bytes_max=5000),
    }
    run = up(services)
    for times in range(1, 6):
        writers.give(5)
        os.kill(_log_writer(run).pid, signal.SIGKILL)
        run.until_printed("the process that writes log files ended with SIGKILL (killed)", times)
    writers.give(5)
    assert run.stop() == 0
    writers.check({("web", 1): bytearray(file_with_rotated(str(rotated)))}, "web")
    writers.check({("api", 1): bytearray(file_with_rotated(str(plain)))}, "api")
    assert "Traceback" not in run.text


def test_a_writer_that_hangs_stops_its_own_files_only(up: Start, writers: Writers, tmp_path: Path) -> None:
    """Process 1 answers, restarts and re-executes; the service that logs there waits, and loses nothing."""
    path = tmp_path / "web.log"
    services = {
        "web": writers.service("web", _file(path, max_size="0"), "bursts", bytes_max=5000),
        "crashes": {"command": ["sleep", "1000"], "restart": "always"},
    }
    run = up(services, environment=environment(str(tmp_path)))
    writers.give(1)
    run.until(lambda: path.exists() and path.stat().st_size, "the first lines")
    writer = _log_writer(run)
    os.kill(writer.pid, signal.SIGSTOP)
    writers.give(FULL)
    run.until(lambda: _is_held(run.one("numbered.py").pid), "the service to block")
    _answers(run, tmp_path)
    run.signal(signal.SIGRTMIN + 25)
    run.until_printed("re-executed, version")
    _answers(run, tmp_path)
    assert [one.pid for one in _log_writers(run)] == [writer.pid]
    os.kill(writer.pid, signal.SIGCONT)
    size = writers.size("web", (FULL + 1) * 50)
    run.until(lambda: writers.sent("web") == size, "all rounds")
    assert run.stop() == 0
    writers.check({("web", 1): bytearray(file_with_rotated(str(path)))}, "web")


@pytest.mark.skipif(not shutil.which("mkfs.ext4"), reason="mkfs.ext4 is missing (apt-get install e2fsprogs)")
def test_a_frozen_file_system(up: Start, writers: Writers, tmp_path: Path) -> None:
    """As with fsfreeze(8) or a server that is gone: process 1 goes on, stops, and reports what was not written."""
    disk = tmp_path / "disk"
    setup = (
        f"mkdir {disk}; truncate -s 16M {disk}.img; mkfs.ext4 -q {disk}.img; "
        f"mount -o loop {disk}.img {disk} || {{ echo no loop device; exit 1; }}"
    )
    services = {
        "web": writers.service("web", _file(disk / "web.log", max_size="0"), "bursts", bytes_max=2000),
        "api": writers.service("api", _file(tmp_path / "api.log", max_size="0"), "bursts", bytes_max=2000),
        "crashes": {"command": ["sleep", "1000"], "restart": "always"},
    }
    run = up(services, setup=setup, environment=environment(str(tmp_path)), top=TOP)
    run.until(lambda: run.below() or "no loop device" in run.text or run.process.poll() is not None, "the start")
    if run.process.poll() is not None:
        pytest.skip("no loop device can be mounted here")
    writers.give(1)
    inside = f"/proc/{run.pid}/root{disk}"
    run.until(lambda: os.path.exists(f"{inside}/web.log") and os.stat(f"{inside}/web.log").st_size, "the first lines")
    fd = os.open(inside, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, FREEZE, 0)
        writers.give(FULL)
        run.until(lambda: [one for one in _log_writers(run) if one.state == "D"], "the writer to wait for the disk")
        run.until(lambda: writers.sent("api") == writers.size("api", (FULL + 1) * 50), "the other file system")
        _answers(run, tmp_path)
        run.signal(signal.SIGTERM)
        run.until_printed("bytes of output were discarded: they were not read in time")
    finally:
        fcntl.ioctl(fd, THAW, 0)
        os.close(fd)
    assert run.wait() in (0, 137)  # a service that is blocked in write(2) does not always receive TERM
    writers.check({("api", 1): bytearray(file_with_rotated(str(tmp_path / "api.log")))}, "api")


def test_after_internal_errors_without_end_the_files_are_complete(
    start: Start, writers: Writers, gate: Gate, tmp_path: Path
) -> None:
    """What process 1 passed on before it gave up is in the files."""
    path = tmp_path / "web.log"
    services = {
        "web": writers.service("web", _file(path, max_size="0"), "bursts", bytes_max=2000),
        "trigger": {"command": shell("read x < gate; exit 0"), "essential": False},
    }
    file = write_file(str(tmp_path), services)
    run = start(*program("driver.py", SOURCE, "2+step-before:Exited", "up", "-f", file))
    writers.give(3)
    size = writers.size("web", 3 * 50)
    run.until(lambda: writers.sent("web") == size, "all rounds")
    gate.open()
    assert run.wait() == 70
    lines = path.read_bytes().splitlines()
    assert lines == bytes(writers.expected("web", "0", 1, size)).splitlines()[: len(lines)]
    assert lines


FILL = (
    "mount -t tmpfs -o size=1M none {0}; chmod 755 {0}; dd if=/dev/zero of={0}/full bs=1M count=2 2>/dev/null || true"
)


@pytest.fixture
def full_disk(tmp_path: Path) -> Path:
    """Give the directory for a full disk, which `FILL` mounts."""
    disk = tmp_path / "disk"
    disk.mkdir()
    return disk


def _removed(up: Start, tmp_path: Path, log: Path, **options: Any) -> Run:
    """Remove a service by a reload. Its only line is its last one."""
    ready = tmp_path / "ready"
    command = shell(f"trap 'echo bye; exit 0' TERM; touch {ready}; while :; do sleep 0.05; done")
    other = {"other": {"command": ["sleep", "1000"]}}
    services = {**other, "web": {"command": command, "logging": _file(log, max_size="0")}}
    run = up(services, environment=environment(str(tmp_path)), top=TOP, **options)
    run.until(ready.exists, "the service")
    write_file(str(tmp_path), other, **TOP)
    run.signal(signal.SIGHUP)
    return run


def test_a_removed_file_is_written_when_the_disk_has_room(up: Start, tmp_path: Path, full_disk: Path) -> None:
    """The service and its file were removed by a reload while the disk was full."""
    run = _removed(up, tmp_path, full_disk / "web.log", setup=FILL.format(full_disk))
    run.until_printed("No space left on device")
    inside = Path(f"/proc/{run.pid}/root{full_disk}")
    (inside / "full").unlink()
    log = inside / "web.log"
    run.until(lambda: log.exists() and log.read_bytes() == b"bye\n", "the line")
    run.until(lambda: not _log_writers(run), "the end of the log writer")
    assert run.stop() == 0
    assert "internal error" not in run.text
    assert "discarded" not in run.text


def test_the_end_reports_what_a_removed_file_lacks(up: Start, tmp_path: Path, full_disk: Path) -> None:
    """The disk is full until the end."""
    run = _removed(up, tmp_path, full_disk / "web.log", setup=FILL.format(full_disk))
    run.until_printed("No space left on device")
    assert run.stop() == 0
    assert "4 bytes of output were discarded" in run.text


def test_a_removed_file_is_completed_by_the_next_writer(up: Start, tmp_path: Path) -> None:
    """The writer is killed as soon as it was started, so the next one is started later."""
    path = tmp_path / "web.log"
    run = _removed(up, tmp_path, path)
    os.kill(_log_writer(run).pid, signal.SIGKILL)
    run.until_printed("ended with SIGKILL")
    run.until(lambda: path.exists() and path.read_bytes() == b"bye\n", "the line")
    assert run.stop() == 0
    assert "are lost" not in run.text


def test_many_files_on_a_full_disk_are_given_up_together(up: Start, full_disk: Path) -> None:
    """The end of the container takes one second, not one for each file."""
    services = {
        f"s{number}": {
            "command": shell("echo hello; exec sleep 999"),
            "logging": _file(full_disk / f"{number}.log", max_size="0"),
        }
        for number in range(12)
    }
    run = up(services, setup=FILL.format(full_disk), top=TOP)
    run.until_printed("No space left on device", 12)
    began = time.monotonic()
    assert run.stop() == 0
    assert time.monotonic() - began < 8.0
    assert "72 bytes of output were discarded" in run.text
    assert f"({full_disk}/0.log: No space left on device, " in run.text
    assert ", 9 more)" in run.text


def test_a_long_line_is_in_one_file(up: Start, tmp_path: Path) -> None:
    """Process 1 cuts lines at 1 MiB, and adds a prefix."""
    path = tmp_path / "web.log"
    script = "for i in 1 2 3; do head -c 1048570 /dev/zero | tr '\\0' x; echo; done; exec sleep 999"
    logging = _file(path, max_size="100k", format="prefix")
    run = up({"web": {"command": shell(script), "logging": logging}}, top=TOP)
    run.until(lambda: len(list(tmp_path.glob("web.log*"))) >= 3, "three files")
    assert run.stop() == 0
    sizes = [one.stat().st_size for one in tmp_path.glob("web.log*")]
    assert sizes == [1_048_581] * 3


def test_a_file_that_is_removed_and_added_around_a_reexecution(up: Start, tmp_path: Path) -> None:
    """While its writer hangs: no other file gets its number."""
    path = tmp_path / "web.log"
    command = shell("trap 'echo bye; exit 0' TERM; echo run; while :; do sleep 0.05; done")
    api = {"api": {"command": shell("echo api; exec sleep 999"), "logging": _file(tmp_path / "api.log")}}
    both = {**api, "web": {"command": command, "logging": _file(path)}}
    run = up(api, environment=environment(str(tmp_path)), top=TOP)
    run.until((tmp_path / "api.log").exists, "the first file")
    write_file(str(tmp_path), both, **TOP)
    request(run, str(tmp_path), "reload")
    run.until(lambda: path.exists() and path.read_bytes() == b"run\n", "the first run")
    writer = _log_writer(run)
    os.kill(writer.pid, signal.SIGSTOP)
    write_file(str(tmp_path), api, **TOP)
    request(run, str(tmp_path), "reload")
    run.until_printed("web: stopped")
    run.signal(signal.SIGRTMIN + 25)
    run.until_printed("re-executed, version")
    write_file(str(tmp_path), both, **TOP)
    request(run, str(tmp_path), "reload")
    run.until_printed("web: started", 2)
    run.until(lambda: "run" in ask(run, str(tmp_path), "logs", "web"), "the second run")
    os.kill(writer.pid, signal.SIGCONT)
    run.until(lambda: path.read_bytes().endswith(b"run\nbye\nrun\n"), "both runs")
    assert run.stop() == 0
    assert path.read_bytes() == b"run\nbye\nrun\nbye\n"


def test_many_files_take_little_memory(up: Start, tmp_path: Path) -> None:
    """A buffer is not kept for each of them."""
    paths = [tmp_path / f"{number}.log" for number in range(100)]
    run = up({"web": {"command": shell("echo one; exec sleep 999"), "logging": [_file(path) for path in paths]}})
    run.until(lambda: all(path.exists() and path.stat().st_size for path in paths), "all files")
    status = Path(f"/proc/{_log_writer(run).pid}/status").read_text(encoding="ascii")
    assert int(status.partition("VmRSS:")[2].split()[0]) < 20_000  # KiB
    assert run.stop() == 0


def _is_held(pid: int) -> bool:
    """Whether a process is blocked on a write to a full pipe."""
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        return "pipe" in file.read()


def test_is_not_waited_for(up: Start, tmp_path: Path) -> None:
    """The container ends as soon as its services have ended and their lines are written."""
    path = tmp_path / "web.log"
    run = up({"web": {"command": shell("echo one; exec sleep 999"), "logging": _file(path)}})
    run.until(lambda: path.exists() and path.read_bytes() == b"one\n", "the line")
    writer = _log_writer(run)
    os.kill(writer.pid, signal.SIGTERM)  # as a TERM to the whole container
    assert run.stop() == 0
    assert path.read_bytes() == b"one\n"
    assert "log files" not in run.text
