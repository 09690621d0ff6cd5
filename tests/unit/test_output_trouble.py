"""The pump where others are slow, small or odd: nobody is forgotten, nothing waits for ever, nothing spins."""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import select
import socket
import time
from typing import TYPE_CHECKING

import pytest

from cohabit.plan.model import Logging
from cohabit.reactor import linux
from cohabit.reactor.logs.sink import Sink
from unit.output_story import new_output, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cohabit.reactor.logs.output import Output

AT_MOST_SECONDS = 20.0
_F_SETPIPE_SZ = 1031


class House:
    """An Output with its loop. stdout: a descriptor to write to, by default a pipe that `read` empties."""

    def __init__(self, stdout: int = -1) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.null = os.open(os.devnull, os.O_WRONLY)
        self.stdout = self.writer if stdout < 0 else stdout
        self.ends: list[int] = []
        self.epoll = select.epoll()
        self.output = self.fresh()

    def fresh(self) -> Output:
        """Another one between the same ends."""
        self.epoll = select.epoll()
        output = new_output(self.epoll, Sink(self.stdout), Sink(self.null))
        output.name_services(["one", "two"])
        return output

    def reexecute(self) -> None:
        """Everything is written down and found again."""
        plain = marshal.loads(marshal.dumps(self.output.to_plain()))  # noqa: S302
        self.output._sources.close()
        self.epoll.close()
        self.output = self.fresh()
        self.output.restore(plain)

    def open(self, name: str, *logging: Logging | str) -> int:
        """A service; what it writes its stdout to."""
        stdout, stderr = self.output.open(writing(name, *logging), None)[0]
        self.ends += [stdout, stderr]
        os.set_blocking(stdout, False)
        return stdout

    def turn(self, wait: float = 0.0) -> list[int]:
        """As the loop does; returns whose events there were."""
        deadline = self.output.deadline()
        if deadline is not None:
            wait = max(0.0, min(wait, deadline - time.monotonic()))
        ready = [fd for fd, _ in self.epoll.poll(wait)]
        for fd in ready:
            if self.output.owns(fd):
                self.output.handle(fd)
        self.output.due(time.monotonic())
        return ready

    def until(self, true: Callable[[], object]) -> None:
        """Turns until that is so."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        while not true():
            assert time.monotonic() < deadline, "waited in vain"
            self.turn(0.01)

    def read(self, size: int = 1 << 20) -> bytes:
        """What has come out, at most so much."""
        try:
            return os.read(self.reader, size)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Let go of everything."""
        self.output.finish(lambda: 0.0)
        for fd in (*self.ends, self.reader, self.writer, self.null):
            os.close(fd)
        self.output._sources.close()
        self.epoll.close()


@pytest.fixture
def house() -> Iterator[House]:
    """Give one."""
    one = House()
    yield one
    one.close()


def fill(fd: int, byte: bytes, size: int) -> int:
    """Write so much, or as much as there is room for; how much it was."""
    written = 0
    try:
        while written < size:
            written += os.write(fd, byte * min(4096, size - written))
    except BlockingIOError:
        pass
    return written


def test_two_that_wait_for_room_are_both_remembered(house: House) -> None:
    """Two `raw` services and a slow reader: who finds the room taken by the other one has his turn later."""
    one, two = house.open("one", "raw"), house.open("two", "raw")
    written = fill(one, b"a", 262_144)
    for _ in range(5):
        house.turn()
    written += fill(one, b"a", 8192) + fill(two, b"b", 8192)
    for _ in range(5):
        house.turn()
    read = len(house.read(8192))
    for _ in range(5):
        house.turn()

    def all_read() -> bool:
        nonlocal read
        read += len(house.read())
        return read == written

    house.until(all_read)


def test_a_socket_as_our_stdout_holds_nobody_up() -> None:
    """A splice into it could wait, whatever its flags say; so the bytes are read and written."""
    ours, theirs = socket.socketpair()
    house = House(ours.fileno())
    one = house.open("one", "raw")
    assert not next(iter(house.output._streams.values())).splices
    written = fill(one, b"x", 1 << 20)
    for _ in range(50):
        house.turn()
        written += fill(one, b"x", 1 << 20)
    theirs.setblocking(False)
    read = 0

    def all_read() -> bool:
        nonlocal read
        try:
            read += len(theirs.recv(1 << 20))
        except BlockingIOError:
            pass
        return read == written

    house.until(all_read)
    house.close()
    ours.close()
    theirs.close()


def test_a_server_that_was_slow_once_wakes_nobody_afterwards(house: House) -> None:
    """When all is sent there is nothing left to be told by: the connection is open and nobody looks at it."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        one = house.open("one", Logging("syslog", address=address, format="rfc5424"))
        destination = house.output.destinations.all()[-1]

        def blocked() -> bool:
            fill(one, b"x" * 99 + b"\n", 100_000)
            return destination.sink.blocked and destination.watched >= 0

        house.until(blocked)
        client, _ = server.accept()
        client.setblocking(False)

        def taken() -> bool:
            try:
                while client.recv(1 << 20):
                    pass
            except BlockingIOError:
                pass
            return not destination.busy

        house.until(taken)
        house.until(lambda: taken() and not house.turn())
        assert destination.watched < 0
        client.close()


def test_the_beginning_of_a_line_crosses_with_its_way_of_being_written(house: House, tmp_path: Path) -> None:
    """Secrets are not hidden any more, and a `raw` service has begun a line that was held back for that."""
    (tmp_path / "secret").write_text("hunter22")
    house.output.hide([f"{tmp_path}/secret"])
    one = house.open("one", "raw")
    os.write(one, b"first half, ")
    house.turn()
    house.output.mask.forget()
    house.reexecute()
    os.write(one, b"second half\n")
    house.turn()
    assert house.read() == b"first half, second half\n"


def test_a_raw_line_that_has_begun_is_not_written_twice(house: House, tmp_path: Path) -> None:
    """Secrets are hidden from now on; its beginning has gone out already, and what follows goes out as lines."""
    one = house.open("one", "raw")
    house.output.follow(lambda *_: None)
    os.write(one, b"abc")
    house.turn()
    (tmp_path / "secret").write_text("hunter22")
    house.output.hide([f"{tmp_path}/secret"])
    os.write(one, b"def hunter22\n")
    house.turn()
    assert house.read() == b"abcdef ***\n"


def test_a_big_pipe_is_emptied_at_the_end(tmp_path: Path) -> None:
    """A service may have made its pipe as large as it may be."""
    out = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    house = House(out)
    one = house.open("one")
    fcntl.fcntl(one, _F_SETPIPE_SZ, 1 << 20)
    written = fill(one, b"x" * 63 + b"\n", 16_000)
    assert house.output.finish(lambda: 10.0) == 0
    assert (tmp_path / "out").stat().st_size == written + written // 64 * len("one     | ")
    house.close()
    os.close(out)


def test_what_stays_in_a_pipe_at_the_end_is_counted(house: House) -> None:
    """Nobody reads, and there is no time: all that the service had written is told as lost."""
    one = house.open("one", "raw")
    for _ in range(5):
        fill(one, b"x", 1 << 20)
        house.turn()
    written = fill(one, b"x", 1 << 20)
    unread = house.output.finish(lambda: 0.0)
    assert unread >= 65_536 > written


def test_a_full_disk_under_our_stdout_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost: the service waits, somebody is told once, and once more when it goes on."""
    out = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    house = House(out)
    sink = house.output.destinations.containers["stdout"].sink
    assert isinstance(sink, Sink)
    told: list[str] = []
    sink.on_full = told.append
    real = linux.os.write
    room = [3]

    def write(fd: int, data: bytes) -> int:
        if fd != out:
            return real(fd, data)
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        fits = data[: room[0]]
        room[0] -= len(fits)
        return real(fd, fits)

    monkeypatch.setattr(linux.os, "write", write)
    one = house.open("one")
    for _ in range(3):
        real(one, b"line\n")
        for _ in range(3):
            house.turn()
    assert told == ["No space left on device"]
    assert sink.fd == -1
    assert house.output.deadline() == sink.retry_at
    house.reexecute()
    house.turn()
    room[0] = 1000
    house.until(lambda: (tmp_path / "out").read_bytes() == b"one     | line\n" * 3)
    house.close()
    os.close(out)
