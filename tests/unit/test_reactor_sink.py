"""Sinks: written without ever blocking, whatever they are, and without changing what others share."""

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cohabit.reactor.logs.sink import Sink


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """Give a pipe as (read end, write end)."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


def _fill(sink: Sink) -> bytes:
    """Write until it is blocked; returns all that was written."""
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


def test_what_fits_goes_through_at_once(ends: tuple[int, int]) -> None:
    """A write that fits is out when write() returns."""
    sink = Sink(ends[1])
    sink.write(b"hello\n")
    assert (_read(ends[0]), sink.blocked) == (b"hello\n", False)


def test_what_does_not_fit_waits_and_keeps_its_order(ends: tuple[int, int]) -> None:
    """A full pipe blocks nobody: the rest is pending, and comes out complete and in order."""
    sink = Sink(ends[1])
    written = _fill(sink) + b"more\n"
    sink.write(b"more\n")
    read = b""
    while sink.blocked:
        read += _read(ends[0])
        sink.flush()
    assert read + _read(ends[0]) == written


def test_shared_description_stays_blocking(ends: tuple[int, int]) -> None:
    """O_NONBLOCK is set on a description of our own only."""
    sink = Sink(ends[1])
    _fill(sink)
    assert sink.fd != ends[1]
    assert not fcntl.fcntl(ends[1], fcntl.F_GETFL) & os.O_NONBLOCK


def test_socket_cannot_be_opened_again_and_is_not_blocked_on() -> None:
    """A socket is written in small pieces after asking for room; its flags stay."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(True)
        sink = Sink(theirs.fileno())
        assert sink.fd == theirs.fileno()
        written = _fill(sink)
        assert theirs.getblocking()
        read = b""
        while sink.blocked:
            read += ours.recv(1 << 20)
            sink.flush()
        ours.setblocking(False)
        read += _read(ours.fileno())
    assert read == written


def test_file_never_blocks(tmp_path: Path) -> None:
    """A regular file takes everything, behind what is there."""
    with open(tmp_path / "out", "wb", buffering=0) as file:
        file.write(b"before\n")
        sink = Sink(file.fileno())
        sink.write(b"x" * 3_000_000)
        assert not sink.blocked
    assert (tmp_path / "out").read_bytes() == b"before\n" + b"x" * 3_000_000


def test_reader_that_left_is_told_once(ends: tuple[int, int]) -> None:
    """Without a reader the sink is lost: told once with the reason, then silent and never blocked."""
    told: list[str] = []
    sink = Sink(ends[1])
    sink.on_lost = told.append
    os.close(ends[0])
    for _ in range(3):
        sink.write(b"hello\n")
    assert told == ["Broken pipe"]
    assert (sink.lost, sink.blocked) == ("Broken pipe", False)


def test_drain_ends_with_its_time(ends: tuple[int, int]) -> None:
    """At the very end the wait for a reader has an end."""
    sink = Sink(ends[1])
    _fill(sink)
    left = iter([0.01, 0.01, 0.0])
    sink.drain(lambda: next(left))
    assert sink.blocked


def test_same_file_has_one_identity(ends: tuple[int, int]) -> None:
    """Two descriptors of one file are known as one, others are not."""
    copy = os.dup(ends[1])
    other_reader, other = os.pipe()
    try:
        assert Sink(ends[1]).identity == Sink(copy).identity
        assert Sink(ends[1]).identity != Sink(other).identity
    finally:
        for fd in (copy, other_reader, other):
            os.close(fd)
