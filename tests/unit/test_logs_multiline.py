"""Records of several lines: joined as a plain loop would, whatever comes in between; and never a byte lost."""

import marshal
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohabit.reactor.logs import multiline_assembler
from cohabit.reactor.logs.multiline_assembler import MultilineAssembler
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.tasks import multiline
from unit.reactor_world import World

PATTERN = r"^\S"
_search = re.compile(PATTERN).search


class Records(World):
    """What the pump is to joiners. records: per source, with their moments; whole: sources of which that was all."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[int, list[tuple[bytes, int]]] = {}
        self.whole: list[int] = []
        self.resumed: list[str] = []
        self.resting: set[int] = set()
        self.now_ns = 0
        self.fresh()

    def fresh(self) -> None:
        """Another life's room."""
        self.joiners = MultilineAssembler(
            self.given, dict(os.environ), self.epoll, self, launch=self.launch, say=self.say
        )
        self.rooms = [self.joiners]

    def joined(self, source: int, records: list[bytes], now_ns: int) -> None:
        """As the pump."""
        assert records
        assert source not in self.whole
        self.records.setdefault(source, []).extend((record, now_ns) for record in records)

    def all_joined(self, source: int) -> None:
        """As the pump."""
        assert source not in self.whole
        self.whole.append(source)

    def resume(self, service: str) -> None:
        """As the pump."""
        self.resumed.append(service)

    def rests(self, source: int) -> bool:
        """As the pump."""
        return source in self.resting

    def feed(self, source: int, lines: bytes) -> None:
        """Each piece comes at a moment of its own."""
        self.now_ns += 1
        self.joiners.feed(source, lines, self.now_ns)

    def texts(self, source: int) -> list[bytes]:
        """Its records so far."""
        return [record for record, _ in self.records.get(source, [])]

    def answered(self) -> None:
        """Turn until every line is judged."""
        self.until(lambda: not any(source.unanswered for source in self.joiners._sources.values()))

    def pid(self) -> int:
        """Return the pid of the only child."""
        (pid,) = self.pids.values()
        return pid

    def reexecute(self) -> None:
        """Cross into another life by plain values and descriptors."""
        before = set(self.joiners.descriptors())
        plain = marshal.loads(marshal.dumps(self.joiners.to_plain()))  # noqa: S302 - our own
        for fd in before:
            try:
                self.epoll.unregister(fd)
            except FileNotFoundError:
                continue
        self.fresh()
        joiners = self.joiners
        joiners.restore(plain)
        assert set(joiners.descriptors()) == before
        for key in self._started.keys() & set(joiners.tasks()):
            start, errors, _ = self._started[key]
            self._started[key] = start, errors, lambda code, why, key=key: joiners.ended(key, code, why)  # type: ignore[misc]

    def close(self) -> None:
        """End everybody."""
        self.joiners.close()
        self.until(lambda: not self.pids)
        super().close()


@pytest.fixture
def world() -> Iterator[Records]:
    """Give a world for one test."""
    before = set(os.listdir("/proc/self/fd"))
    world = Records()
    yield world
    world.close()
    assert set(os.listdir("/proc/self/fd")) == before


# --- any history, with a child that is driven by hand -----------------------------------------------------------


class ByHand(Records):
    """A child that reads, answers and dies only when told."""

    def __init__(self) -> None:
        self.stdio: tuple[int, ...] = ()
        self.key = ""
        self.owes = b""
        self.rest = b""
        super().__init__()

    def launch(self, key: str, start: SpawnSpec, ended: Callable[[int, str], None]) -> None:
        """Keep its descriptors."""
        del ended
        self.key = key
        self.stdio = (os.dup(start.stdio[0]), os.dup(start.stdio[1]))
        os.set_blocking(self.stdio[0], False)

    def take(self, size: int) -> bool:
        """The child reads so much; False at the end of its input."""
        try:
            data = os.read(self.stdio[0], size)
        except BlockingIOError:
            return True
        whole, newline, rest = (self.rest + data).rpartition(b"\n")
        self.rest = rest
        if newline:
            self.owes += multiline.judge(whole + newline, _search)
        return bool(data)

    def say_some(self, count: int) -> None:
        """The child answers, for so many lines at most; then the loop turns."""
        os.write(self.stdio[1], self.owes[:count])
        self.owes = self.owes[count:]
        self.turn_over()

    def turn_over(self) -> None:
        """All events that there are."""
        for fd, _ in self.epoll.poll(0):
            if self.joiners.owns(fd):
                self.joiners.handle(fd)

    def die(self, code: int) -> None:
        """It ends, and is reaped."""
        if self.stdio:
            for fd in self.stdio:
                os.close(fd)
            self.stdio = ()
            self.joiners.ended(self.key, code, "")

    def close(self) -> None:
        """End it."""
        self.die(0)
        self.epoll.close()


_line = st.sampled_from([b"A", b"b c", b" goes on", b"\tgoes on", b"", b"A\r", b" \xff", b"\xc3", b" " + b"x" * 300])
_piece = st.lists(_line, min_size=1, max_size=6).map(lambda lines: b"".join(line + b"\n" for line in lines))
_step = st.one_of(
    st.tuples(st.just("feed"), st.integers(0, 1), _piece),
    st.tuples(st.just("take"), st.integers(1, 600), st.just(b"")),
    st.tuples(st.just("answer"), st.integers(1, 8), st.just(b"")),
    st.tuples(st.just("reexecute"), st.just(0), st.just(b"")),
    st.tuples(st.just("end"), st.integers(0, 1), st.just(b"")),
)
_rare_step = st.one_of(
    _step,
    st.tuples(st.sampled_from(["die", "quiet", "close"]), st.just(0), st.just(b"")),
)


def _reference(pieces: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """Records with their moments, by the simplest loop."""
    records: list[tuple[bytes, int]] = []
    for lines, moment in pieces:
        for line in lines[:-1].split(b"\n"):
            if records and not _search(line.decode("utf-8", "replace")):
                records[-1] = records[-1][0] + b"\n" + line, records[-1][1]
            else:
                records.append((line, moment))
    return records


def _live(world: ByHand, steps: list[tuple[str, int, bytes]]) -> dict[int, list[tuple[bytes, int]]]:
    """Go through a history to its end; returns what was fed to each source."""
    sources = [world.joiners.open("web", PATTERN), world.joiners.open("web", PATTERN)]
    fed: dict[int, list[tuple[bytes, int]]] = {source: [] for source in sources}
    over: set[int] = set()
    for what, number, lines in steps:
        if what == "feed" and sources[number] not in over:
            world.feed(sources[number], lines)
            fed[sources[number]].append((lines, world.now_ns))
        elif what == "end" and sources[number] not in over:
            over.add(sources[number])
            world.joiners.end(sources[number])
        elif what == "take" and world.stdio:
            world.take(number)
        elif what == "answer" and world.stdio:
            world.say_some(number)
        elif what == "reexecute":
            world.reexecute()
        elif what == "die":
            world.die(128 + signal.SIGKILL)
        elif what == "quiet" and (moment := world.joiners.deadline()) is not None:
            world.joiners.due(moment)
        elif what == "close":
            world.joiners.close()
    for source in set(sources) - over:
        world.joiners.end(source)
    while world.stdio and (len(world.whole) < 2 or world.owes):
        if not world.take(1 << 16) and not world.owes:
            world.die(0)
        elif world.stdio:
            world.say_some(1 << 16)
    return fed


@given(st.lists(_step, max_size=40))
@settings(max_examples=300)
def test_records_are_those_of_a_plain_loop(steps: list[tuple[str, int, bytes]]) -> None:
    """With any lines, pieces, delays and re-executions, each stream's records are exactly the right ones."""
    world = ByHand()
    try:
        for source, pieces in _live(world, steps).items():
            assert world.records.get(source, []) == _reference(pieces)
        assert len(world.whole) == 2
        assert world.joiners._sources == {}
        assert world.joiners.deadline() is None
    finally:
        world.close()


@given(st.lists(_rare_step, max_size=40))
@settings(max_examples=500)
def test_nothing_is_lost(steps: list[tuple[str, int, bytes]]) -> None:
    """Whatever happens, a death of the child at any point too, the records of a stream are its lines, each once."""
    world = ByHand()
    try:
        for source, pieces in _live(world, steps).items():
            text = b"".join(lines for lines, _ in pieces)
            assert b"".join(record + b"\n" for record in world.texts(source)) == text
            for record in world.texts(source):
                assert not any(_search(line.decode("utf-8", "replace")) for line in record.split(b"\n")[1:])
        assert len(world.whole) == 2
        assert world.joiners._sources == {}
        assert world.joiners.deadline() is None
    finally:
        world.close()


# --- real children ----------------------------------------------------------------------------------------------


def test_a_traceback_is_one_record(world: Records) -> None:
    """Lines that go on belong to the one before; the last record comes when its stream has ended."""
    out, err = world.joiners.open("web", PATTERN), world.joiners.open("web", PATTERN)
    world.feed(out, b"Traceback:\n  a\n")
    world.feed(err, b"one\n")
    world.feed(out, b"  b\nnext\n")
    world.answered()
    assert world.records == {out: [(b"Traceback:\n  a\n  b", 1)]}
    world.joiners.end(out)
    assert (world.texts(out)[1:], world.whole) == ([b"next"], [out])
    assert world.launched == ["web\0lines1"]
    assert world.said == []


def test_lines_before_the_first_match_are_one_record(world: Records) -> None:
    """A banner belongs together."""
    source = world.joiners.open("web", r"^\d")
    world.feed(source, b"welcome\nto\n1 it\n")
    world.answered()
    assert world.texts(source) == [b"welcome\nto"]


def test_a_record_is_over_when_nothing_more_comes(world: Records) -> None:
    """After 200 ms it goes out and nothing is waited for any more; what goes on later is a record of its own."""
    source = world.joiners.open("web", PATTERN)
    world.feed(source, b"A\n")
    assert world.joiners.deadline() is None, "unanswered"
    world.answered()
    deadline = world.joiners.deadline()
    assert deadline is not None
    world.joiners.due(deadline - 0.001)
    assert world.records == {}
    world.joiners.due(deadline)
    assert world.texts(source) == [b"A"]
    assert world.joiners.deadline() is None
    world.feed(source, b" on\n")
    world.answered()
    world.joiners.end(source)
    assert world.texts(source) == [b"A", b" on"]


def test_the_time_begins_anew_with_each_line(world: Records) -> None:
    """A record that grows is not over; the stream that was quiet first is over first."""
    first, second = world.joiners.open("web", PATTERN), world.joiners.open("web", PATTERN)
    for source in (first, second):
        world.feed(source, b"A\n")
        world.answered()
    early = world.joiners.deadline()
    assert early is not None
    world.feed(first, b" b\n")
    world.answered()
    late = world.joiners.deadline()
    assert late is not None
    assert late > early
    world.joiners.due(late)
    assert (world.texts(first), world.texts(second)) == ([], [b"A"])


def test_silence_of_a_stream_that_is_not_read_means_nothing(world: Records) -> None:
    """While the pump rests, what goes on may be in the pipe: the record waits, and nobody is woken for it."""
    source, other = world.joiners.open("web", PATTERN), world.joiners.open("web", PATTERN)
    for each in (source, other):
        world.feed(each, b"A\n")
        world.answered()
    deadline = world.joiners.deadline()
    assert deadline is not None
    world.resting = {source, other}
    assert world.joiners.deadline() is None
    world.joiners.due(deadline + 9)
    assert world.records == {}
    world.resting = {source}
    world.joiners.due(deadline + 9)
    assert world.records.keys() == {other}
    world.resting = set()
    assert world.joiners.deadline() == deadline


def test_a_record_does_not_grow_for_ever(world: Records) -> None:
    """After a megabyte it goes out; what goes on is another one, and nothing is lost."""
    source = world.joiners.open("web", PATTERN)
    piece = b" goes on\n" * 7000
    for _ in range(40):
        world.feed(source, piece)
        world.answered()
    assert [1_048_576 <= len(record) < 1_200_000 for record in world.texts(source)] == [True, True]
    world.joiners.end(source)
    assert b"".join(record + b"\n" for record in world.texts(source)) == piece * 40


def test_a_pattern_that_takes_for_ever(world: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catastrophic backtracking costs the child its life and no line; the next start has a new child."""
    monkeypatch.setattr(multiline_assembler, "_SECONDS_MAX", 0.1)
    source = world.joiners.open("web", r"(a+)+$")
    world.feed(source, b"1a\ngoes on\n")
    world.answered()
    world.feed(source, b"a" * 60 + b"b\n")
    world.feed(source, b"after\n")
    world.until(lambda: world.said)
    assert world.texts(source) == [b"1a\ngoes on", b"a" * 60 + b"b", b"after"]
    world.feed(source, b"x\ny\n")
    assert world.texts(source)[3:] == [b"x", b"y"]
    why = "the regular expression takes more than 100ms (make it simpler)"
    text = f"cannot join the lines of its records: {why} (each line is a record of its own, until its next start)"
    assert world.said == [("warning", "web", text)]
    again = world.joiners.open("web", r"(a+)+$")
    assert len(world.launched) == 2
    world.feed(again, b"a\ngoes on\n")
    world.answered()
    world.joiners.end(again)
    assert world.texts(again) == [b"a\ngoes on"]


def test_a_child_that_is_killed(world: Records) -> None:
    """What it had not answered goes out line by line, behind what it had; somebody is told, once."""
    source, other = world.joiners.open("web", PATTERN), world.joiners.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.feed(other, b"X\n")
    world.answered()
    os.kill(world.pid(), signal.SIGSTOP)
    world.feed(source, b" c\n d\n")
    os.kill(world.pid(), signal.SIGKILL)
    world.until(lambda: world.said)
    assert (world.texts(source), world.texts(other)) == ([b"A\n b", b" c", b" d"], [b"X"])
    assert [text.count("ended with SIGKILL (killed)") for _, _, text in world.said] == [1]
    world.joiners.end(source)
    assert world.whole == [source]
    assert world.joiners.deadline() is None


def test_a_child_that_hangs_fills_up_and_resumes(world: Records) -> None:
    """While too much is unanswered it is full; when enough has been answered the pump is told, once."""
    source = world.joiners.open("web", PATTERN)
    db = world.joiners.open("db", PATTERN)
    os.kill(world.pids["web\0lines1"], signal.SIGSTOP)
    fed = 0
    while not world.joiners.full(source):
        world.feed(source, b"line\n" * 10_000)
        fed += 10_000
    assert 1_048_576 <= fed * 5 < 1_200_000
    assert not world.joiners.full(db)
    world.feed(db, b"A\nB\n")
    world.until(lambda: world.texts(db))
    assert (world.texts(source), world.resumed) == ([], [])
    world.reexecute()
    assert world.joiners.full(source)
    os.kill(world.pids["web\0lines1"], signal.SIGCONT)
    world.answered()
    assert world.resumed == ["web"]
    assert not world.joiners.full(source)
    assert len(world.texts(source)) == fed - 1


def test_a_full_one_resumes_when_its_child_dies(world: Records) -> None:
    """Then nothing is unanswered any more."""
    source = world.joiners.open("web", PATTERN)
    os.kill(world.pid(), signal.SIGSTOP)
    world.feed(source, b"line\n" * 300_000)
    assert world.joiners.full(source)
    os.kill(world.pid(), signal.SIGKILL)
    world.until(lambda: world.resumed)
    assert (len(world.texts(source)), world.joiners.full(source)) == (300_000, False)


def test_no_room_for_a_child(world: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service runs all the same, each line a record, and somebody is told."""

    def launch(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(world.joiners, "_launch", launch)
    source = world.joiners.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.reexecute()
    world.feed(source, b" c\n")
    world.joiners.end(source)
    assert (world.texts(source), world.whole) == ([b"A", b" b", b" c"], [source])
    assert "no room for another process: Resource temporarily unavailable" in world.said[0][2]


def test_a_child_that_cannot_be_executed(world: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the failed start are told, and nothing is lost."""
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    source = world.joiners.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.until(lambda: world.said)
    assert world.texts(source) == [b"A", b" b"]
    assert "cannot be started: '/nonexistent' does not exist" in world.said[0][2]


def test_a_restart_keeps_the_child_and_a_new_pattern_has_a_new_one(world: Records) -> None:
    """Streams of a start do not go on with those of the one before; an old child answers what it has and ends."""
    old = world.joiners.open("web", PATTERN)
    world.feed(old, b"A\n b\n")
    world.joiners.end(old)
    again = world.joiners.open("web", PATTERN)
    assert (again != old, len(world.launched)) == (True, 1)
    world.feed(again, b" c\n")
    new = world.joiners.open("web", "^x")
    world.feed(new, b"A\nx\n")
    world.until(lambda: len(world.pids) == 1)
    world.answered()
    assert (world.texts(old), world.texts(again), world.texts(new)) == ([b"A\n b"], [b" c"], [b"A"])
    assert world.said == []
    world.joiners.forget("web")
    world.joiners.forget("web")
    world.until(lambda: not world.pids)
    world.feed(new, b"y\n")
    assert (world.texts(new), world.said) == ([b"A", b"x", b"y"], [])


def test_a_stop_signal_for_everybody_does_not_end_it(world: Records) -> None:
    """It outlives the signals that mean stop, from its first moment on: the last lines are judged, too."""
    source = world.joiners.open("web", PATTERN)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGRTMIN + 3):
        os.kill(world.pid(), number)
    world.feed(source, b"A\n b\nC\n")
    world.answered()
    os.kill(world.pid(), signal.SIGTERM)
    world.feed(source, b" d\n")
    world.joiners.finish(lambda: 20.0)
    assert world.texts(source) == [b"A\n b", b"C\n d"]
    world.until(lambda: not world.pids)
    assert world.said == []


def test_children_end_by_themselves_when_all_is_closed(world: Records) -> None:
    """More than the pipe takes at once is judged to its end; what comes after that is records of one line."""
    source = world.joiners.open("web", PATTERN)
    flood = b"A\n b\n" * 100_000
    world.feed(source, flood)
    world.joiners.close()
    world.feed(source, b" late\n later\n")
    world.until(lambda: not world.pids)
    assert world.texts(source)[99_998:] == [b"A\n b", b"A\n b", b" late", b" later"]
    assert (world.said, world.joiners.descriptors(), world.joiners.tasks()) == ([], [], [])


def test_the_end_waits_for_answers(world: Records) -> None:
    """finish() waits for everything that the children can answer, and what is open goes out."""
    source = world.joiners.open("web", PATTERN)
    world.feed(source, b"A\n b\n" * 200_000)
    world.joiners.finish(lambda: 20.0)
    assert world.texts(source) == [b"A\n b"] * 200_000


@pytest.mark.parametrize("left", [0.0, 20.0])
def test_the_end_does_not_wait_for_a_child_that_hangs(
    world: Records, monkeypatch: pytest.MonkeyPatch, left: float
) -> None:
    """Without time, or without progress for a while, what is not answered goes out line by line."""
    monkeypatch.setattr(multiline_assembler, "_STALL_SECONDS", 0.01)
    source = world.joiners.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.answered()
    os.kill(world.pid(), signal.SIGSTOP)
    world.feed(source, b" c\n" * 100_000)
    world.joiners.finish(lambda: left)
    assert world.texts(source) == [b"A\n b", *[b" c"] * 100_000]
    os.kill(world.pid(), signal.SIGCONT)


def test_crossing_a_reexecution(world: Records) -> None:
    """The child lives on; what it had not taken, what it had not answered and what was open goes on in the new life."""
    source, other = world.joiners.open("web", PATTERN), world.joiners.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.answered()
    deadline = world.joiners.deadline()
    os.kill(world.pid(), signal.SIGSTOP)
    world.feed(other, b"X\n y\n" * 50_000)
    world.joiners.end(other)
    world.reexecute()
    assert world.joiners.deadline() == deadline
    world.feed(source, b" c\nD\n")
    os.kill(world.pid(), signal.SIGCONT)
    world.answered()
    world.joiners.end(source)
    assert world.texts(source) == [b"A\n b\n c", b"D"]
    assert world.records[source][0][1] == 1
    assert world.texts(other) == [b"X\n y"] * 50_000
    assert (world.whole, world.launched, world.said) == ([other, source], ["web\0lines1"], [])
    assert world.joiners.open("web", PATTERN) > max(source, other)
    assert len(world.launched) == 1


def test_bounds_hold_across_a_reexecution(world: Records) -> None:
    """What was held and what was unanswered before counts after, too."""
    source, other = world.joiners.open("web", PATTERN), world.joiners.open("web", PATTERN)
    world.feed(source, b" goes on\n" * 100_000)
    world.answered()
    os.kill(world.pid(), signal.SIGSTOP)
    world.feed(other, b"line\n" * 200_000)
    assert not world.joiners.full(source)
    world.reexecute()
    world.feed(source, b" goes on\n" * 20_000)
    assert world.joiners.full(source)
    os.kill(world.pid(), signal.SIGCONT)
    world.answered()
    assert [len(record) for record in world.texts(source)] == [120_000 * 9 - 1]


def test_answers_of_a_child_that_has_ended_count() -> None:
    """What it wrote before its end is in the pipe, even where the end is known first."""
    world = ByHand()
    source = world.joiners.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.feed(source, b" c\n d\n e\n")
    world.take(100)
    os.write(world.stdio[1], world.owes[:3])
    world.die(128 + signal.SIGKILL)
    assert world.texts(source) == [b"A\n b\n c", b" d", b" e"]
    world.close()
