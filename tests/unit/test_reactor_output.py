"""Output with real pipes: what is written in pieces of any size comes out complete."""

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.plan.model import Logging
from cohabit.reactor import linux
from cohabit.reactor.logs.output import Output
from cohabit.reactor.logs.sink import Sink
from cohabit.reactor.poller import Poller
from unit.output_story import close_output, new_output, writing
from unit.reactor_world import ready

_texts = st.binary(max_size=20) | st.sampled_from([b"\n", b"a\n", b"\n\n", b"no end", b"\0\xff\n"])
_written = st.lists(st.tuples(st.sampled_from(["one", "two"]), _texts), max_size=30)


class Pump:
    """An Output between pipes: services write at one end, the test reads at the other."""

    def __init__(self) -> None:
        self.poller = Poller()
        self.reader, self.writer = os.pipe()
        self.errors, self.error_writer = os.pipe()
        for fd in (self.reader, self.errors):
            os.set_blocking(fd, False)
        self.output = self.fresh()
        self.services: dict[str, list[int]] = {}
        self.ends: list[int] = []  # of the services, until end()

    def fresh(self) -> Output:
        """Make another Output for the same two sinks."""
        output = new_output(self.poller, Sink(self.writer), Sink(self.error_writer))
        output.name_services(["one", "two"])
        return output

    def start(self, name: str, driver: str = "prefix") -> None:
        """Open the pipes of a service."""
        self.services[name] = self.output.reader.open(writing(name, driver), None)[0]
        self.ends += self.services[name]

    def turn(self) -> None:
        """Handle all ready descriptors once."""
        self.poller.wait(0)

    def end(self) -> bytes:
        """Close the services' write ends and finish. Returns what came out on stdout."""
        while self.ends:
            os.close(self.ends.pop())
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
        """Close everything."""
        for fd in (*self.ends, self.reader, self.writer, self.errors, self.error_writer):
            os.close(fd)
        close_output(self.output)
        self.poller.close()


@pytest.fixture
def pump() -> Iterator[Pump]:
    """A Pump for one test."""
    pump = Pump()
    yield pump
    pump.close()


class Follower:
    """A follower from now on. pieces: (service, stream, time, lines)."""

    def __init__(self, pump: Pump, services: frozenset[str] | None = None) -> None:
        self.pieces: list[tuple[str, str, float, bytes]] = []
        pump.output.router.follow(self, services)

    def __call__(self, service: str, stream: str, now: float, lines: bytes) -> None:
        """Called by Output."""
        assert lines.endswith(b"\n")
        self.pieces.append((service, stream, now, lines))

    def of(self, service: str, stream: str = "stdout") -> bytes:
        """All lines of one stream."""
        return b"".join(lines for name, kind, _, lines in self.pieces if (name, kind) == (service, stream))


def _lines(out: bytes, name: str) -> list[bytes]:
    prefix = name.ljust(7).encode() + b" | "
    return [line.removeprefix(prefix) for line in out.split(b"\n") if line.startswith(prefix)]


def _split_lines(data: bytes) -> list[bytes]:
    return data.removesuffix(b"\n").split(b"\n") if data else []


@given(_written, st.booleans())
def test_lines_come_out_complete_and_in_order(written: list[tuple[str, bytes]], reexecutes: bool) -> None:
    """Two services, pieces of any size, read at any time, with or without a re-execution in between."""
    pump = Pump()
    try:
        for name in ("one", "two"):
            pump.start(name)
        for number, (name, data) in enumerate(written):
            os.write(pump.services[name][0], data)
            pump.turn()
            if reexecutes and number == len(written) // 2:
                _reexecute(pump)
        out = pump.end()
        for name in ("one", "two"):
            assert _lines(out, name) == _split_lines(b"".join(data for service, data in written if service == name))
    finally:
        pump.close()


def _reexecute(pump: Pump) -> None:
    """Save the state, drop the Output, and restore it in a new one."""
    plain = pump.output.to_plain()
    for destination in pump.output.destinations.containers.values():
        os.close(destination.sink.fd)
    pump.output.reader._sources.close()
    pump.output = pump.fresh()
    pump.output.restore(plain)


@given(st.lists(_texts, max_size=30))
def test_raw_is_byte_exact(written: list[bytes]) -> None:
    """The raw driver adds and removes nothing."""
    pump = Pump()
    try:
        pump.start("one", "raw")
        for data in written:
            os.write(pump.services["one"][0], data)
            pump.turn()
        assert pump.end() == b"".join(written)
    finally:
        pump.close()


def _write_some(fd: int, piece: bytes) -> int:
    """How many bytes the pipe accepted, 0 when it is full."""
    try:
        return os.write(fd, piece)
    except BlockingIOError:
        return 0


def test_a_full_sink_pauses_reading_but_not_the_loop(pump: Pump) -> None:
    """While nothing is read, the service's pipe fills and epoll sleeps. Then everything comes out."""
    pump.start("one")
    os.set_blocking(pump.services["one"][0], False)
    written, piece = 0, b"0123456789abcde\n" * 256
    while count := _write_some(pump.services["one"][0], piece):  # until the pipe is full
        written += count
        pump.turn()
    assert not ready(pump.poller)
    out = b""
    while len(_lines(out, "one")) < written // 16:
        out += pump.read()
        pump.turn()
    assert set(_lines(out, "one")) == {b"0123456789abcde"}


def test_the_last_lines_are_recorded(pump: Pump) -> None:
    """Of both streams, with the time of the read. An unfinished last line counts too."""
    pump.start("one")
    os.write(pump.services["one"][0], b"first\nsec")
    pump.turn()
    assert pump.output.recent_lines.last_lines("one", 9) == [b"first"]
    os.write(pump.services["one"][0], b"ond\n")
    pump.turn()
    os.write(pump.services["one"][1], b"the reason")
    before = time.time()
    pump.end()
    assert pump.output.recent_lines.last_lines("one", 9) == [b"first", b"second", b"the reason"]
    moment, stream, _ = pump.output.recent_lines.records("one", 1)[0]
    assert before <= moment <= time.time()
    assert stream == "stderr"
    pump.output.forget("one")
    assert pump.output.recent_lines.last_lines("one", 9) == []


def test_own_messages_are_recorded_without_a_prefix(pump: Pump) -> None:
    """Messages without a label too."""
    follower = Follower(pump)
    pump.output.say("info", "cohabit", "web: started\nand more")
    pump.output.say("error", "", "file:3: wrong")
    assert pump.output.recent_lines.last_lines("cohabit", 9) == [b"web: started", b"and more", b"file:3: wrong"]
    assert follower.of("cohabit", "stderr") == b"web: started\nand more\nfile:3: wrong\n"


@given(_written, st.sampled_from(["prefix", "raw"]), st.integers(0, 30), st.integers(0, 30))
def test_followers_get_what_is_recorded(written: list[tuple[str, bytes]], driver: str, begin: int, length: int) -> None:
    """A follower gets all whole lines from when it begins to follow until it stops."""
    pump = Pump()
    try:
        for name in ("one", "two"):
            pump.start(name, driver)
        follower = None
        expected = {"one": b"", "two": b""}
        unfinished = {"one": b"", "two": b""}
        for number, (name, data) in enumerate(written):
            if number == begin:
                follower = Follower(pump)
                unfinished = unfinished if driver == "prefix" else {"one": b"", "two": b""}
            if number == begin + length:
                pump.output.router.follow(None)
            os.write(pump.services[name][0], data)
            pump.turn()
            whole, newline, unfinished[name] = (unfinished[name] + data).rpartition(b"\n")
            if begin <= number < begin + length:
                expected[name] += whole + newline
        if follower:
            assert {name: follower.of(name) for name in expected} == expected
        out = pump.end()
        if driver == "raw":
            assert out == b"".join(data for _, data in written)
    finally:
        pump.close()


def test_a_follower_of_one_service_gets_no_other(pump: Pump) -> None:
    follower = Follower(pump, frozenset({"two"}))
    for name in ("one", "two"):
        pump.start(name)
        os.write(pump.services[name][0], name.encode() + b"\n")
    pump.turn()
    assert follower.pieces[0][:2] == ("two", "stdout")
    assert [lines for *_, lines in follower.pieces] == [b"two\n"]


def test_raw_is_spliced_again_without_followers(pump: Pump) -> None:
    """The end of a line that was spliced is not joined to a beginning that was read earlier."""
    pump.start("one", "raw")
    writer = pump.services["one"][0]
    follower = Follower(pump)
    for data, following in ((b"a\nbegin ", True), (b"passes by\nagain ", False), (b"seen\nc\n", True)):
        pump.output.router.follow(follower if following else None)
        os.write(writer, data)
        pump.turn()
    assert follower.of("one") == b"a\nseen\nc\n"
    assert pump.output.recent_lines.last_lines("one", 9) == [b"a", b"seen", b"c"]
    os.write(writer, b"no end")
    assert pump.end() == b"a\nbegin passes by\nagain seen\nc\nno end"
    assert follower.of("one").endswith(b"no end\n")


def test_raw_that_cannot_be_spliced_is_recorded(pump: Pump) -> None:
    """If the sink is lost, bytes are read, and so recorded."""
    pump.start("one", "raw")
    pump.output.destinations.containers["stdout"].sink.lost = "no reader"
    os.write(pump.services["one"][0], b"a\nb")
    pump.turn()
    assert pump.output.recent_lines.last_lines("one", 9) == [b"a"]


def test_recorded_lines_survive_a_reexecution(pump: Pump) -> None:
    """They are restored, and later lines are added to them."""
    pump.start("one")
    for data in (b"before\nin ", b"between\n"):
        os.write(pump.services["one"][0], data)
        pump.turn()
        _reexecute(pump)
    assert pump.output.recent_lines.last_lines("one", 9) == [b"before", b"in between"]
    assert b"".join(pump.read().split(b"one     | ")) == b"before\nin between\n"


def test_an_own_message_does_not_split_a_line(pump: Pump) -> None:
    """A message that comes inside a service's unfinished line is written before that line."""
    pump.start("one")
    os.write(pump.services["one"][1], b"half ")
    pump.turn()
    pump.output.say("info", "cohabit", "first\nsecond")
    os.write(pump.services["one"][1], b"a line\n")
    pump.turn()
    assert pump.read(pump.errors).splitlines() == [b"cohabit | first", b"cohabit | second", b"one     | half a line"]


def test_draining_a_pipe_that_is_being_filled_is_bounded(pump: Pump) -> None:
    """The number of reads is bounded while the pipe is refilled."""
    pump.start("one", "raw")
    pump.output.destinations.containers["stdout"].sink.lost = "no reader"
    turns = []

    def refill(stream: object) -> bool:
        turns.append(stream)
        return True

    pump.output.reader._transfer = refill  # type: ignore[method-assign]
    pump.output.reader.drain_service("one")
    assert 1 < len(turns) < 30


def test_a_failed_open_leaves_no_descriptor_open(pump: Pump, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second pipe fails, both ends of the first are closed again."""
    real = linux.os.pipe2
    made: list[tuple[int, int]] = []

    def pipe2(flags: int) -> tuple[int, int]:
        if made:
            raise OSError(24, "Too many open files")
        made.append(real(flags))
        return made[0]

    monkeypatch.setattr(linux.os, "pipe2", pipe2)
    with pytest.raises(OSError, match="Too many"):
        pump.output.reader.open(writing("one"), None)
    monkeypatch.undo()
    pump.turn()
    for fd in made[0]:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


def test_stderr_is_the_stdout_of_a_service_if_it_is_to_be(pump: Pump) -> None:
    """One pipe for both, so the order of the lines is kept; all of them are of the stream stdout."""
    follower = Follower(pump)
    ends, streams = pump.output.reader.open(writing("one", "prefix", stderr_to_stdout=True), None)
    pump.ends += ends
    assert (len(ends), [stream.origin.stream for stream in streams]) == (1, ["stdout"])
    os.write(ends[0], b"out\nerr\n")
    pump.turn()
    assert pump.end() == b"one     | out\none     | err\n"
    assert pump.read(pump.errors) == b""
    assert [(stream, lines) for _, stream, _, lines in follower.pieces] == [("stdout", b"out\nerr\n")]


def test_an_entry_gets_only_its_stream(pump: Pump) -> None:
    """Each stream has its own entries. What no entry gets is still recorded."""
    entries = (Logging("prefix", stream="stderr"), Logging("raw", stream="stderr", blocking=False))
    (out, err), _ = pump.output.reader.open(writing("one", *entries), None)
    pump.ends += [out, err]
    os.write(out, b"lost\n")
    os.write(err, b"kept\n")
    pump.turn()
    assert pump.end() == b""
    assert pump.read(pump.errors) == b"one     | kept\nkept\n"
    assert sorted(pump.output.recent_lines.last_lines("one", 9)) == [b"kept", b"lost"]


@pytest.mark.parametrize("driver", ["prefix", "raw", "json", "logfmt"])
def test_an_entry_writes_to_the_stream_that_it_names(pump: Pump, driver: str) -> None:
    """Those of stdout to the container's stderr and the other way round, also without a format (splice)."""
    entries = (Logging(driver, stream="stdout", output="stderr"), Logging(driver, stream="stderr", output="stdout"))
    (out, err), streams = pump.output.reader.open(writing("one", *entries), None)
    pump.ends += [out, err]
    assert [stream.raw for stream in streams] == [driver == "raw"] * 2
    can_splice = pump.output.destinations.can_splice
    assert [stream.splices for stream in streams] == [driver == "raw" and can_splice(to) for to in ("stderr", "stdout")]
    os.write(out, b"from stdout\n")
    os.write(err, b"from stderr\n")
    pump.turn()
    assert b"from stderr" in pump.end()
    assert b"from stdout" in pump.read(pump.errors)


def test_both_streams_go_to_one(pump: Pump) -> None:
    """With an output and no stream."""
    (out, err), _ = pump.output.reader.open(writing("one", Logging(output="stderr")), None)
    pump.ends += [out, err]
    os.write(out, b"a\n")
    os.write(err, b"b\n")
    pump.turn()
    assert pump.end() == b""
    assert sorted(pump.read(pump.errors).splitlines()) == [b"one     | a", b"one     | b"]
