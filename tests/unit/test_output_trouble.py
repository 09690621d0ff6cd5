"""Output with slow, blocked and failing destinations: no stream is forgotten, nothing waits forever, nothing spins."""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from cohabit.plan.model import Logging
from cohabit.reactor import linux
from cohabit.reactor.logs.destination import BLOCKED
from cohabit.reactor.logs.sink import Sink
from cohabit.reactor.poller import Poller
from unit.output_story import close_output, new_output, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cohabit.reactor.logs.output import Output

AT_MOST_SECONDS = 20.0
_F_SETPIPE_SZ = 1031


class OutputLoop:
    """An Output with its event loop. stdout: the descriptor to write to, by default a pipe that read() empties."""

    def __init__(self, stdout: int = -1) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.null = os.open(os.devnull, os.O_WRONLY)
        self.stdout = self.writer if stdout < 0 else stdout
        self.ends: list[int] = []
        self.poller = Poller()
        self.output = self.fresh()

    def fresh(self) -> Output:
        """Make another Output with the same descriptors."""
        self.poller = Poller()
        output = new_output(self.poller, Sink(self.stdout), Sink(self.null))
        output.name_services(["one", "two"])
        return output

    def reexecute(self) -> None:
        """Save the state and restore it in a new Output."""
        plain = marshal.loads(marshal.dumps(self.output.to_plain()))  # noqa: S302
        close_output(self.output, self.stdout, self.null, *self.output.reader.streams)
        self.poller.close()
        self.output = self.fresh()
        self.output.restore(plain)

    def open(self, name: str, *logging: Logging | str) -> int:
        """Add a service. Returns the descriptor of its stdout."""
        stdout, stderr = self.output.reader.open(writing(name, *logging), None)[0]
        self.ends += [stdout, stderr]
        os.set_blocking(stdout, False)
        return stdout

    def turn(self, wait: float = 0.0) -> bool:
        """One turn of the loop. Returns whether a descriptor was ready."""
        found = self.poller.wait(wait)
        self.poller.run_timers(time.monotonic())
        return found

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until the condition holds."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "timed out"
            self.turn(0.01)

    def read(self, size: int = 1 << 20) -> bytes:
        """Return what has come out, at most so much."""
        try:
            return os.read(self.reader, size)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Close everything."""
        self.output.finish(lambda: 0.0)
        for fd in (*self.ends, self.reader, self.writer, self.null):
            os.close(fd)
        close_output(self.output, self.stdout, self.null)
        self.poller.close()


@pytest.fixture
def loop() -> Iterator[OutputLoop]:
    """An OutputLoop for one test."""
    one = OutputLoop()
    yield one
    one.close()


def fill(fd: int, byte: bytes, size: int) -> int:
    """Write so many bytes, or as many as the pipe accepts. Returns how many."""
    written = 0
    try:
        while written < size:
            written += os.write(fd, byte * min(4096, size - written))
    except BlockingIOError:
        pass
    return written


def test_two_raw_services_that_wait_for_the_sink_both_continue(loop: OutputLoop) -> None:
    """With a slow reader, a stream that finds the space taken by the other one continues later."""
    one, two = loop.open("one", "raw"), loop.open("two", "raw")
    written = fill(one, b"a", 262_144)
    for _ in range(5):
        loop.turn()
    written += fill(one, b"a", 8192) + fill(two, b"b", 8192)
    for _ in range(5):
        loop.turn()
    read = len(loop.read(8192))
    for _ in range(5):
        loop.turn()

    def all_read() -> bool:
        nonlocal read
        read += len(loop.read())
        return read == written

    loop.until(all_read)


class ATap:
    """A tap that is full when the test says so."""

    full = True

    def feed(self, _source: int, _data: bytes) -> None:
        """Accept it."""

    def silent(self, _source: int) -> None:
        """Ignore it."""


def test_a_stream_moves_from_one_cause_to_the_next(loop: OutputLoop) -> None:
    """Its tap has room again, but by then stdout is blocked: it goes on when that accepts output."""
    one, two = loop.open("one"), loop.open("two")
    tap, reader, stdout = ATap(), loop.output.reader, loop.output.destinations.containers["stdout"]
    loop.output.router.tap("one", tap)
    os.write(one, b"a line\n")
    loop.turn()
    (stream,) = [stream for stream in reader.streams.values() if stream.held_by is not None]
    assert stream.held_by is loop.output.router._held["one"]

    def blocked() -> bool:
        fill(two, b"x" * 99 + b"\n", 100_000)
        return stdout.state == BLOCKED and bool(stdout.held.streams)

    loop.until(blocked)
    tap.full = False
    loop.output.router.resume("one")
    (_, last) = stdout.held.streams
    assert last is stream
    assert not loop.output.router._held
    out = b""

    def written() -> bool:
        nonlocal out
        out += loop.read()
        return b"one     | a line\n" in out

    loop.until(written)
    assert stream.held_by is None


def test_what_a_stream_waits_for_is_known(loop: OutputLoop) -> None:
    """Each cause by its name: a log probe, and a destination with its problem."""
    one, two = loop.open("one"), loop.open("two", "raw")
    tap, reader, stdout = ATap(), loop.output.reader, loop.output.destinations.containers["stdout"]

    def waits() -> list[tuple[str, str, str]]:
        return [(stream.service, name, why) for stream, name, why in reader.stalled(0.0)]

    loop.output.router.tap("one", tap)
    os.write(one, b"a line\n")
    loop.turn()
    assert waits() == [("one", "the child that runs the pattern of its log probe", "")]
    assert reader.stalled(3600.0) == []

    def blocked() -> bool:
        fill(two, b"x" * 99 + b"\n", 100_000)
        return len(waits()) > 1

    loop.until(blocked)
    assert waits() == [("one", "stdout", ""), ("two", "stdout", "")]
    assert isinstance(stdout.sink, Sink)
    stdout.sink.problem = "No space left on device"
    assert waits()[1] == ("two", "stdout", "No space left on device")
    tap.full = False
    loop.output.router.resume("one")
    loop.until(lambda: loop.read() and not waits())


def test_a_socket_as_stdout_blocks_nothing() -> None:
    """A splice into a socket can block whatever its flags are, so the bytes are read and written."""
    local, remote = socket.socketpair()
    loop = OutputLoop(local.fileno())
    one = loop.open("one", "raw")
    assert not next(iter(loop.output.reader.streams.values())).splices
    written = fill(one, b"x", 1 << 20)
    for _ in range(50):
        loop.turn()
        written += fill(one, b"x", 1 << 20)
    remote.setblocking(False)
    read = 0

    def all_read() -> bool:
        nonlocal read
        try:
            read += len(remote.recv(1 << 20))
        except BlockingIOError:
            pass
        return read == written

    loop.until(all_read)
    loop.close()
    local.close()
    remote.close()


def test_a_server_that_was_slow_once_causes_no_wake_ups_later(loop: OutputLoop) -> None:
    """When everything is sent, the connection stays open and is not in epoll."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        one = loop.open("one", Logging("syslog", address=address, format="rfc5424"))
        destination = loop.output.destinations.all()[-1]

        def blocked() -> bool:
            fill(one, b"x" * 99 + b"\n", 100_000)
            return destination.sink.blocked and destination._watched >= 0

        loop.until(blocked)
        client, _ = server.accept()
        client.setblocking(False)

        def taken() -> bool:
            try:
                while client.recv(1 << 20):
                    pass
            except BlockingIOError:
                pass
            return not destination.has_pending

        loop.until(taken)
        loop.until(lambda: taken() and not loop.turn())
        assert destination._watched < 0
        client.close()


def test_an_unfinished_raw_line_survives_a_reexecution(loop: OutputLoop, tmp_path: Path) -> None:
    """Its beginning was held back for masking, which has ended since."""
    (tmp_path / "secret").write_text("hunter22")
    loop.output.hide([f"{tmp_path}/secret"])
    one = loop.open("one", "raw")
    os.write(one, b"first half, ")
    loop.turn()
    loop.output.mask.forget()
    loop.reexecute()
    os.write(one, b"second half\n")
    loop.turn()
    assert loop.read() == b"first half, second half\n"


def test_a_raw_line_is_not_written_twice_when_masking_begins(loop: OutputLoop, tmp_path: Path) -> None:
    """Its beginning is written already; the rest is written in lines."""
    one = loop.open("one", "raw")
    loop.output.router.follow(lambda *_: None)
    os.write(one, b"abc")
    loop.turn()
    (tmp_path / "secret").write_text("hunter22")
    loop.output.hide([f"{tmp_path}/secret"])
    os.write(one, b"def hunter22\n")
    loop.turn()
    assert loop.read() == b"abcdef ***\n"


def test_a_large_pipe_is_emptied_at_the_end(tmp_path: Path) -> None:
    """A service may enlarge its pipe."""
    out = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    loop = OutputLoop(out)
    one = loop.open("one")
    fcntl.fcntl(one, _F_SETPIPE_SZ, 1 << 20)
    written = fill(one, b"x" * 63 + b"\n", 16_000)
    assert loop.output.finish(lambda: 10.0) == 0
    assert (tmp_path / "out").stat().st_size == written + written // 64 * len("one     | ")
    loop.close()
    os.close(out)


def test_unread_bytes_are_counted_at_the_end(loop: OutputLoop) -> None:
    """Without a reader and without time, everything that the service has written is counted as lost."""
    one = loop.open("one", "raw")
    for _ in range(5):
        fill(one, b"x", 1 << 20)
        loop.turn()
    written = fill(one, b"x", 1 << 20)
    unread = loop.output.finish(lambda: 0.0)
    assert unread >= 65_536 > written


def test_a_full_disk_behind_stdout_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost: the service blocks, and the problem and its end are reported once each."""
    out = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    loop = OutputLoop(out)
    sink = loop.output.destinations.containers["stdout"].sink
    assert isinstance(sink, Sink)
    reported: list[str] = []
    sink.on_full = reported.append
    real = linux.os.write
    room = [3]

    def write(fd: int, data: bytes) -> int:
        if fd != out:
            return real(fd, data)
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        piece = data[: room[0]]
        room[0] -= len(piece)
        return real(fd, piece)

    monkeypatch.setattr(linux.os, "write", write)
    one = loop.open("one")
    for _ in range(3):
        real(one, b"line\n")
        for _ in range(3):
            loop.turn()
    assert reported == ["No space left on device"]
    assert sink.fd == -1
    assert loop.poller.deadline() == sink.retry_at
    loop.reexecute()
    loop.turn()
    room[0] = 1000
    loop.until(lambda: (tmp_path / "out").read_bytes() == b"one     | line\n" * 3)
    loop.close()
    os.close(out)
