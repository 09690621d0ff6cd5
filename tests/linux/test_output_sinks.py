"""Supervision continues whatever cohabit's output is connected to, and whether it is read or not."""

import fcntl
import os
import signal
import socket
from pathlib import Path

import pytest

from linux.conftest import Start
from linux.run import COHABIT, Run, lines_of, program, shell, write_file

CRASHES = {"command": ["sleep", "1000"], "restart": "always"}
ENDLESS = {"command": ["yes", "0123456789"]}


def _restarts_and_stops(run: Run, order: str) -> None:
    """Check the two things that must always work: a crashed service is restarted, and a stop succeeds."""
    first = run.one("sleep 1000")
    os.kill(first.pid, signal.SIGKILL)
    run.until(lambda: [one for one in run.below("sleep 1000") if one.pid != first.pid], "a restart")
    assert run.stop() == 0
    assert lines_of(order)[-1] == "stop polite"


@pytest.mark.parametrize("driver", ["prefix", "raw"])
def test_unread_stdout(up: Start, tmp_path: Path, driver: str) -> None:
    """With a full pipe on cohabit's stdout and a flooding service, a crash is restarted and TERM stops."""
    reader, writer = os.pipe()
    run = up(
        {
            "flood": {**ENDLESS, "logging": {"driver": driver}},
            "web": CRASHES,
            "polite": {"command": program("ordered.py", "polite")},
        },
        stdout=writer,
    )
    os.close(writer)
    run.until_written(str(tmp_path / "order"))
    run.until(lambda: fcntl.ioctl(reader, 0x541B, b"\0" * 4) != b"\0" * 4, "something in the pipe")
    _restarts_and_stops(run, str(tmp_path / "order"))
    os.close(reader)


def test_unread_stdout_and_stderr(up: Start, tmp_path: Path) -> None:
    """The same if stdout and stderr are one full pipe: cohabit's own messages must not block either."""
    reader, writer = os.pipe()
    run = up(
        {"flood": ENDLESS, "web": CRASHES, "polite": {"command": program("ordered.py", "polite")}},
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    run.until_written(str(tmp_path / "order"))
    _restarts_and_stops(run, str(tmp_path / "order"))
    os.close(reader)


def test_paused_reader_gets_everything(up: Start) -> None:
    """A pipe that was full for a while loses nothing."""
    reader, writer = os.pipe()
    run = up(
        {
            "web": {"command": program("flood.py", "web", "100000"), "essential": False},
            "long": {"command": ["sleep", "1000"]},
        },
        stdout=writer,
    )
    os.close(writer)
    run.one("sleep 1000")
    run.until(lambda: run.below("flood.py") and _asleep(run), "the flood to block")
    read = bytearray()
    while read.count(b"\n") < 100_000:
        read += os.read(reader, 1 << 20)
    os.close(reader)
    assert [int(line.split()[3]) for line in read.decode().splitlines()] == list(range(100_000))
    assert run.stop() == 0


def _asleep(run: Run) -> bool:
    """Whether the flooding service is blocked on its pipe."""
    with open(f"/proc/{run.one('flood.py').pid}/wchan", encoding="ascii") as file:
        return "pipe" in file.read()


def test_closed_reader_does_not_end_cohabit(up: Start, tmp_path: Path, process_1: bool) -> None:
    """`cohabit up | head -1`: when the reader exits, one message says so, and supervision continues."""
    reader, writer = os.pipe()
    run = up(
        {"flood": ENDLESS, "web": CRASHES, "polite": {"command": program("ordered.py", "polite")}},
        stdout=writer,
        process_1=process_1,
    )
    os.close(writer)
    assert os.read(reader, 1)
    os.close(reader)
    run.until_printed("our stdout is closed")
    run.until_written(str(tmp_path / "order"))
    _restarts_and_stops(run, str(tmp_path / "order"))
    assert run.text.count("our stdout is closed") == 1


def test_services_survive_a_closed_stdout(up: Start) -> None:
    """A service whose output goes nowhere is not killed by SIGPIPE: it may continue to write."""
    reader, writer = os.pipe()
    run = up({"web": {"command": shell("echo first; until [ -e go ]; do :; done; seq 200000; exit 7")}}, stdout=writer)
    os.close(writer)
    assert os.read(reader, 1)
    os.close(reader)
    os.close(os.open(f"/proc/{run.pid}/cwd/go", os.O_CREAT))
    assert run.wait() == 7


def test_full_disk_delays_no_service(up: Start) -> None:
    """When the disk under cohabit's stdout is full, the exit code is still right, and the lost output is reported."""
    with open("/dev/full", "wb") as full:
        run = up({"web": {"command": shell("seq 1000; exit 7")}}, stdout=full)
        assert run.wait() == 7
    assert "web ended with exit code 7" in run.text
    assert "bytes of output were discarded: they were not read in time (stdout: No space left on device)" in run.text


@pytest.mark.parametrize("kind", ["file", "file, appended", "null", "socket", "fifo"])
def test_stdout_may_be_anything(up: Start, tmp_path: Path, kind: str) -> None:
    """A file, /dev/null, a socket, a named pipe: every line arrives, where data can be read back."""
    path = str(tmp_path / "out")
    near, far = socket.socketpair()
    if kind == "fifo":
        os.mkfifo(path)
    if kind == "null":
        path = os.devnull
    flags = {"file, appended": os.O_APPEND | os.O_CREAT | os.O_WRONLY, "fifo": os.O_RDWR}.get(
        kind, os.O_CREAT | os.O_WRONLY
    )
    out = far.fileno() if kind == "socket" else os.open(path, flags)
    run = up(
        {
            "web": {"command": program("flood.py", "web", "20000"), "essential": False},
            "z": {"command": ["sleep", "1000"]},
        },
        stdout=out,
    )
    run.one("sleep 1000")
    read = bytearray()
    while kind != "null" and read.count(b"\n") < 20_000:
        if kind == "socket":
            read += near.recv(1 << 20)
        elif kind == "fifo":
            read += os.read(out, 1 << 20)
        else:
            run.until(lambda: Path(path).read_bytes().count(b"\n") >= 20_000, "all lines")
            read += Path(path).read_bytes()
    if kind != "null":
        assert [int(line.split()[3]) for line in read.decode().splitlines()] == list(range(20_000))
    assert run.stop() == 0


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_shared_description_stays_blocking(start: Start, tmp_path: Path, kind: str) -> None:
    """O_NONBLOCK on fd 1 and 2 is shared with the process that opened them: it is never set."""
    file = write_file(str(tmp_path), {"web": {"command": ["sleep", "1000"]}})
    near, far = socket.socketpair() if kind == "socket" else (None, None)
    options = {"stdout": far, "stderr": far} if far else {"terminal": True} if kind == "terminal" else {}
    run = start(*COHABIT, "up", "-f", file, **options)
    run.one("sleep 1000")
    flags = [_flags(run.pid, fd) & os.O_NONBLOCK for fd in (0, 1, 2)]
    os.kill(run.one("sleep 1000").pid, signal.SIGKILL)
    assert run.wait() == 137
    assert flags == [0, 0, 0]
    if near and far:
        assert not fcntl.fcntl(far, fcntl.F_GETFL) & os.O_NONBLOCK


def _flags(pid: int, fd: int) -> int:
    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
        return next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))


def test_services_get_pipes_of_their_own(up: Start) -> None:
    """A service's stdin is /dev/null and its outputs are two pipes, which it may reopen."""
    run = up(
        {
            "web": {
                "command": shell(
                    "readlink /proc/self/fd/0; stat -Lc %F /dev/stdout /dev/stderr; echo again > /dev/stderr"
                )
            }
        }
    )
    assert run.wait() == 0
    assert run.lines("web", "out") == ["/dev/null", "fifo", "fifo"]
    assert run.lines("web", "err") == ["again"]
