"""The pump with real pipes: whatever is written in whatever pieces comes out whole."""

import os
import select
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.reactor import linux
from cohabit.reactor.logs.output import Output
from cohabit.reactor.logs.sink import Sink
from unit.output_story import new_output, writing

_texts = st.binary(max_size=20) | st.sampled_from([b"\n", b"a\n", b"\n\n", b"no end", b"\0\xff\n"])
_written = st.lists(st.tuples(st.sampled_from(["one", "two"]), _texts), max_size=30)


class Pump:
    """An Output between pipes: services write at one end, the test reads at the other."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.reader, self.writer = os.pipe()
        self.errors, self.error_writer = os.pipe()
        for fd in (self.reader, self.errors):
            os.set_blocking(fd, False)
        self.output = self.fresh()
        self.services: dict[str, list[int]] = {}

    def fresh(self) -> Output:
        """Another Output for the same two sinks."""
        output = new_output(self.epoll, Sink(self.writer), Sink(self.error_writer))
        output.name_services(["one", "two"])
        return output

    def start(self, name: str, driver: str = "prefix") -> None:
        """Give a service its pipes."""
        self.services[name] = self.output.open(writing(name, driver), None)[0]

    def turn(self) -> None:
        """Everything that is ready, once."""
        for fd, _ in self.epoll.poll(0):
            if self.output.owns(fd):
                self.output.handle(fd)

    def end(self) -> bytes:
        """Close the services' ends and the pump; returns what came out on stdout."""
        for ends in self.services.values():
            for fd in ends:
                os.close(fd)
        self.output.finish(lambda: 1.0)
        return self.read()

    def read(self, fd: int = -1) -> bytes:
        """Return what has come out so far."""
        data = b""
        try:
            while piece := os.read(fd if fd >= 0 else self.reader, 1 << 20):
                data += piece
        except BlockingIOError:
            pass
        return data

    def close(self) -> None:
        """Let go of everything."""
        for destination in self.output.destinations.containers.values():
            os.close(destination.sink.fd)
        for fd in (self.reader, self.writer, self.errors, self.error_writer):
            os.close(fd)
        self.output._sources.close()
        self.epoll.close()


@pytest.fixture
def pump() -> Iterator[Pump]:
    """Give a pump for one test."""
    pump = Pump()
    yield pump
    pump.close()


class Followed:
    """Somebody who follows from now on. pieces: (service, stream, time, lines)."""

    def __init__(self, pump: Pump, services: frozenset[str] | None = None) -> None:
        self.pieces: list[tuple[str, str, float, bytes]] = []
        pump.output.follow(self, services)

    def __call__(self, service: str, stream: str, now: float, lines: bytes) -> None:
        """As Output calls it."""
        assert lines.endswith(b"\n")
        self.pieces.append((service, stream, now, lines))

    def of(self, service: str, stream: str = "stdout") -> bytes:
        """Everything of one stream."""
        return b"".join(lines for name, kind, _, lines in self.pieces if (name, kind) == (service, stream))


def _lines(out: bytes, name: str) -> list[bytes]:
    prefix = name.ljust(7).encode() + b" | "
    return [line.removeprefix(prefix) for line in out.split(b"\n") if line.startswith(prefix)]


def _as_lines(data: bytes) -> list[bytes]:
    return data.removesuffix(b"\n").split(b"\n") if data else []


@given(_written, st.booleans())
def test_no_byte_is_lost_and_no_line_torn(written: list[tuple[str, bytes]], crosses: bool) -> None:
    """Two services, any pieces, read at any moment, even across a re-execution: all lines, whole and in order."""
    pump = Pump()
    try:
        for name in ("one", "two"):
            pump.start(name)
        for number, (name, data) in enumerate(written):
            os.write(pump.services[name][0], data)
            pump.turn()
            if crosses and number == len(written) // 2:
                _cross(pump)
        out = pump.end()
        for name in ("one", "two"):
            assert _lines(out, name) == _as_lines(b"".join(data for who, data in written if who == name))
    finally:
        pump.close()


def _cross(pump: Pump) -> None:
    """What a re-execution does: write down, forget, take over."""
    plain = pump.output.to_plain()
    for destination in pump.output.destinations.containers.values():
        os.close(destination.sink.fd)
    pump.output._sources.close()
    pump.output = pump.fresh()
    pump.output.restore(plain)


@given(st.lists(_texts, max_size=30))
def test_raw_is_byte_exact(written: list[bytes]) -> None:
    """The raw driver adds and takes nothing."""
    pump = Pump()
    try:
        pump.start("one", "raw")
        for data in written:
            os.write(pump.services["one"][0], data)
            pump.turn()
        assert pump.end() == b"".join(written)
    finally:
        pump.close()


def _fits(fd: int, piece: bytes) -> int:
    """How much of it a pipe took, 0 when it is full."""
    try:
        return os.write(fd, piece)
    except BlockingIOError:
        return 0


def test_full_sink_stops_the_reading_and_not_the_turning(pump: Pump) -> None:
    """While nobody reads, the service's pipe fills and epoll sleeps; then everything comes out."""
    pump.start("one")
    os.set_blocking(pump.services["one"][0], False)
    written, piece = 0, b"0123456789abcde\n" * 256
    while fits := _fits(pump.services["one"][0], piece):  # until the service would have to wait
        written += fits
        pump.turn()
    assert not pump.epoll.poll(0)
    out = b""
    while len(_lines(out, "one")) < written // 16:
        out += pump.read()
        pump.turn()
    assert set(_lines(out, "one")) == {b"0123456789abcde"}


def test_the_last_lines_are_remembered(pump: Pump) -> None:
    """Of both streams, with the time of their reading; a last line without its end is one, too."""
    pump.start("one")
    os.write(pump.services["one"][0], b"first\nsec")
    pump.turn()
    assert pump.output.memory.last_lines("one", 9) == [b"first"]
    os.write(pump.services["one"][0], b"ond\n")
    pump.turn()
    os.write(pump.services["one"][1], b"the reason")
    before = time.time()
    pump.end()
    assert pump.output.memory.last_lines("one", 9) == [b"first", b"second", b"the reason"]
    moment, stream, _ = pump.output.memory.records("one", 1)[0]
    assert before <= moment <= time.time()
    assert stream == "stderr"
    pump.output.forget("one")
    assert pump.output.memory.last_lines("one", 9) == []


def test_our_own_lines_are_remembered_without_a_prefix(pump: Pump) -> None:
    """Also those without a label."""
    followed = Followed(pump)
    pump.output.say("info", "cohabit", "web: started\nand more")
    pump.output.say("error", "", "file:3: wrong")
    assert pump.output.memory.last_lines("cohabit", 9) == [b"web: started", b"and more", b"file:3: wrong"]
    assert followed.of("cohabit", "stderr") == b"web: started\nand more\nfile:3: wrong\n"


@given(_written, st.sampled_from(["prefix", "raw"]), st.integers(0, 30), st.integers(0, 30))
def test_followers_get_what_is_remembered(
    written: list[tuple[str, bytes]], driver: str, begin: int, length: int
) -> None:
    """From the moment on at which somebody follows to that at which he does no more: whole lines, all of them."""
    pump = Pump()
    try:
        for name in ("one", "two"):
            pump.start(name, driver)
        followed = None
        expected = {"one": b"", "two": b""}
        unfinished = {"one": b"", "two": b""}
        for number, (name, data) in enumerate(written):
            if number == begin:
                followed = Followed(pump)
                unfinished = unfinished if driver == "prefix" else {"one": b"", "two": b""}
            if number == begin + length:
                pump.output.follow(None)
            os.write(pump.services[name][0], data)
            pump.turn()
            whole, newline, unfinished[name] = (unfinished[name] + data).rpartition(b"\n")
            if begin <= number < begin + length:
                expected[name] += whole + newline
        if followed:
            assert {name: followed.of(name) for name in expected} == expected
        out = pump.end()
        if driver == "raw":
            assert out == b"".join(data for _, data in written)
    finally:
        pump.close()


def test_one_service_is_followed(pump: Pump) -> None:
    """Who follows one service gets nothing of another one."""
    followed = Followed(pump, frozenset({"two"}))
    for name in ("one", "two"):
        pump.start(name)
        os.write(pump.services[name][0], name.encode() + b"\n")
    pump.turn()
    assert followed.pieces[0][:2] == ("two", "stdout")
    assert [lines for *_, lines in followed.pieces] == [b"two\n"]


def test_raw_is_spliced_again_when_nobody_follows(pump: Pump) -> None:
    """The end of a line that went past us is not taken for the end of one that we had begun to read."""
    pump.start("one", "raw")
    writer = pump.services["one"][0]
    followed = Followed(pump)
    for data, following in ((b"a\nbegin ", True), (b"passes by\nagain ", False), (b"seen\nc\n", True)):
        pump.output.follow(followed if following else None)
        os.write(writer, data)
        pump.turn()
    assert followed.of("one") == b"a\nseen\nc\n"
    assert pump.output.memory.last_lines("one", 9) == [b"a", b"seen", b"c"]
    os.write(writer, b"no end")
    assert pump.end() == b"a\nbegin passes by\nagain seen\nc\nno end"
    assert followed.of("one").endswith(b"no end\n")


def test_raw_without_a_pipe_is_remembered(pump: Pump) -> None:
    """Where bytes cannot be spliced they are read, and so remembered."""
    pump.start("one", "raw")
    pump.output.destinations.containers["stdout"].sink.lost = "nobody reads"
    os.write(pump.services["one"][0], b"a\nb")
    pump.turn()
    assert pump.output.memory.last_lines("one", 9) == [b"a"]


def test_memory_crosses_a_reexecution(pump: Pump) -> None:
    """What was remembered is there again, and goes on."""
    pump.start("one")
    for data in (b"before\nin ", b"between\n"):
        os.write(pump.services["one"][0], data)
        pump.turn()
        _cross(pump)
    assert pump.output.memory.last_lines("one", 9) == [b"before", b"in between"]
    assert b"".join(pump.read().split(b"one     | ")) == b"before\nin between\n"


def test_own_line_does_not_tear_a_line(pump: Pump) -> None:
    """A message of ours in the middle of a service's unfinished line comes before that line."""
    pump.start("one")
    os.write(pump.services["one"][1], b"half ")
    pump.turn()
    pump.output.say("info", "cohabit", "first\nsecond")
    os.write(pump.services["one"][1], b"a line\n")
    pump.turn()
    assert pump.read(pump.errors).splitlines() == [b"cohabit | first", b"cohabit | second", b"one     | half a line"]


def test_drain_of_a_flood_has_an_end(pump: Pump) -> None:
    """Emptying a pipe that somebody keeps filling takes so many turns and no more."""
    pump.start("one", "raw")
    pump.output.destinations.containers["stdout"].sink.lost = "nobody"
    turns = []

    def refill(stream: object) -> bool:
        turns.append(stream)
        return True

    pump.output._pump = refill  # type: ignore[method-assign]
    pump.output.drain_service("one")
    assert 1 < len(turns) < 30


def test_no_room_leaves_nothing_open(pump: Pump, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second pipe cannot be had, the first one is closed again on both sides."""
    real = linux.os.pipe2
    made: list[tuple[int, int]] = []

    def pipe2(flags: int) -> tuple[int, int]:
        if made:
            raise OSError(24, "Too many open files")
        made.append(real(flags))
        return made[0]

    monkeypatch.setattr(linux.os, "pipe2", pipe2)
    with pytest.raises(OSError, match="Too many"):
        pump.output.open(writing("one"), None)
    monkeypatch.undo()
    pump.turn()
    for fd in made[0]:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)
