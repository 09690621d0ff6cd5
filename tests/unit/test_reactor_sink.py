"""Sinks never block, whatever is behind them, and do not change what other processes share."""

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cohabit.reactor.logs.sink import Sink


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """A pipe as (read end, write end)."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


def _fill(sink: Sink) -> bytes:
    """Write until the sink is blocked. Returns what was written."""
    written = b""
    while not sink.blocked:
        data = b"%08d\n" % len(written) * 10_000
        sink.write(data)
        written += data
    return written


def _read(fd: int) -> bytes:
    data = b""
    try:
        while piece := os.read(fd, 1 << 20):
            data += piece
    except BlockingIOError:
        pass
    return data


def test_a_write_that_fits_is_written_at_once(ends: tuple[int, int]) -> None:
    """It is written when write() returns."""
    sink = Sink(ends[1])
    sink.write(b"hello\n")
    assert (_read(ends[0]), sink.blocked) == (b"hello\n", False)


def test_what_does_not_fit_is_pending_in_order(ends: tuple[int, int]) -> None:
    """A full pipe does not block: the rest is pending, and comes out complete and in order."""
    sink = Sink(ends[1])
    written = _fill(sink) + b"more\n"
    sink.write(b"more\n")
    read = b""
    while sink.blocked:
        read += _read(ends[0])
        sink.flush()
    assert read + _read(ends[0]) == written


def test_a_shared_description_stays_blocking(ends: tuple[int, int]) -> None:
    """O_NONBLOCK is set on an own description only."""
    sink = Sink(ends[1])
    _fill(sink)
    assert sink.fd != ends[1]
    assert not fcntl.fcntl(ends[1], fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_socket_does_not_block_and_keeps_its_flags() -> None:
    """It cannot be opened again, so it is polled and written in small pieces."""
    local, remote = socket.socketpair()
    with local, remote:
        remote.setblocking(True)
        sink = Sink(remote.fileno())
        assert sink.fd == remote.fileno()
        written = _fill(sink)
        assert remote.getblocking()
        read = b""
        while sink.blocked:
            read += local.recv(1 << 20)
            sink.flush()
        local.setblocking(False)
        read += _read(local.fileno())
    assert read == written


def test_a_regular_file_never_blocks(tmp_path: Path) -> None:
    """It accepts everything, after what is there."""
    with open(tmp_path / "out", "wb", buffering=0) as file:
        file.write(b"before\n")
        sink = Sink(file.fileno())
        sink.write(b"x" * 3_000_000)
        assert not sink.blocked
    assert (tmp_path / "out").read_bytes() == b"before\n" + b"x" * 3_000_000


def test_a_reader_that_is_gone_is_reported_once(ends: tuple[int, int]) -> None:
    """The sink is then lost: reported once with the reason, and never blocked."""
    reported: list[str] = []
    sink = Sink(ends[1])
    sink.on_lost = reported.append
    os.close(ends[0])
    for _ in range(3):
        sink.write(b"hello\n")
    assert reported == ["Broken pipe"]
    assert (sink.lost, sink.blocked) == ("Broken pipe", False)


def test_drain_ends_when_the_time_is_over(ends: tuple[int, int]) -> None:
    sink = Sink(ends[1])
    _fill(sink)
    times = iter([0.01, 0.01, 0.0])
    sink.drain(lambda: next(times))
    assert sink.blocked


def test_descriptors_of_one_file_have_one_identity(ends: tuple[int, int]) -> None:
    """Other files have another one."""
    copy = os.dup(ends[1])
    other_reader, other = os.pipe()
    try:
        assert Sink(ends[1]).identity == Sink(copy).identity
        assert Sink(ends[1]).identity != Sink(other).identity
    finally:
        for fd in (copy, other_reader, other):
            os.close(fd)
