"""Multiline records: assembled as a simple loop would, with any events in between, and no byte is lost."""

import marshal
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.reactor.logs import multiline_classifiers
from cohabit.reactor.logs.multiline_assembler import MultilineAssembler
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.tasks import multiline
from unit.reactor_world import World

PATTERN = r"^\S"
_search = re.compile(PATTERN).search


class Records(World):
    """The receiver of an assembler. records: per source, with times; finished: sources without further records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[int, list[tuple[bytes, int]]] = {}
        self.finished: list[int] = []
        self.resumed: list[str] = []
        self.paused: set[int] = set()
        self.now_ns = 0
        self.fresh()

    def fresh(self) -> None:
        """Make another assembler, as after a re-execution."""
        self.assembler = MultilineAssembler(self.context, self)

    def write_records(self, source: int, records: list[bytes], now_ns: int) -> None:
        """As Output."""
        assert records
        assert source not in self.finished
        self.records.setdefault(source, []).extend((record, now_ns) for record in records)

    def source_finished(self, source: int) -> None:
        """As Output."""
        assert source not in self.finished
        self.finished.append(source)

    def resume(self, service: str) -> None:
        """As Output."""
        self.resumed.append(service)

    def is_paused(self, source: int) -> bool:
        """As Output."""
        return source in self.paused

    def feed(self, source: int, lines: bytes) -> None:
        """Feed a piece with a time of its own."""
        self.now_ns += 1
        self.assembler.feed(source, lines, self.now_ns)

    def texts(self, source: int) -> list[bytes]:
        """The source's records so far."""
        return [record for record, _ in self.records.get(source, [])]

    def until_answered(self) -> None:
        """Turn until every line is answered."""
        self.until(lambda: not any(source.unanswered for source in self.assembler._sources.values()))

    def pid(self) -> int:
        """Return the pid of the only child."""
        (pid,) = self.pids.values()
        return pid

    def reexecute(self) -> None:
        """Save the state and restore it in a new assembler."""
        before = set(self.assembler.descriptors())
        plain = marshal.loads(marshal.dumps(self.assembler.to_plain()))  # noqa: S302 - own data
        for fd in before:
            try:
                self.poller.remove(fd)
            except KeyError:
                continue
        self.fresh()
        assembler = self.assembler
        assembler.restore(plain)
        assert set(assembler.descriptors()) == before
        for key in self._started.keys() & set(assembler.tasks()):
            start, errors, _ = self._started[key]
            self._started[key] = start, errors, assembler.tasks()[key]

    def close(self) -> None:
        """End all children."""
        self.assembler.close()
        self.until(lambda: not self.pids)
        super().close()


@pytest.fixture
def world() -> Iterator[Records]:
    """A Records for one test."""
    before = set(os.listdir("/proc/self/fd"))
    world = Records()
    yield world
    world.close()
    assert set(os.listdir("/proc/self/fd")) == before


# --- any sequence of events, with a child that the test drives --------------------------------------------------


class ManualChild(Records):
    """A child that reads, answers and dies only when the test says so."""

    def __init__(self) -> None:
        self.stdio: tuple[int, ...] = ()
        self.key = ""
        self.unsent = b""
        self.partial = b""
        super().__init__()

    def launch(self, key: str, start: SpawnSpec, ended: Callable[[int, str], None], forked: object = None) -> None:
        """Keep the child's descriptors."""
        del ended, forked
        self.key = key
        self.stdio = (os.dup(start.stdio[0]), os.dup(start.stdio[1]))
        os.set_blocking(self.stdio[0], False)

    def read(self, size: int) -> bool:
        """The child reads so many bytes. Returns False at the end of its input."""
        try:
            data = os.read(self.stdio[0], size)
        except BlockingIOError:
            return True
        whole, newline, partial = (self.partial + data).rpartition(b"\n")
        self.partial = partial
        if newline:
            self.unsent += multiline.classify(whole + newline, _search)
        return bool(data)

    def answer(self, count: int) -> None:
        """The child answers for at most so many lines; then events are handled."""
        os.write(self.stdio[1], self.unsent[:count])
        self.unsent = self.unsent[count:]
        self.handle_events()

    def handle_events(self) -> None:
        """Handle all pending events."""
        self.poller.wait(0)

    def die(self, code: int) -> None:
        """The child ends and is reaped."""
        if self.stdio:
            for fd in self.stdio:
                os.close(fd)
            self.stdio = ()
            self.assembler.tasks()[self.key](code, "")

    def close(self) -> None:
        """End the child."""
        self.die(0)
        self.poller.close()


_line = st.sampled_from([b"A", b"b c", b" goes on", b"\tgoes on", b"", b"A\r", b" \xff", b"\xc3", b" " + b"x" * 300])
_piece = st.lists(_line, min_size=1, max_size=6).map(lambda lines: b"".join(line + b"\n" for line in lines))
_step = st.one_of(
    st.tuples(st.just("feed"), st.integers(0, 1), _piece),
    st.tuples(st.just("read"), st.integers(1, 600), st.just(b"")),
    st.tuples(st.just("answer"), st.integers(1, 8), st.just(b"")),
    st.tuples(st.just("reexecute"), st.just(0), st.just(b"")),
    st.tuples(st.just("end"), st.integers(0, 1), st.just(b"")),
)
_rare_step = st.one_of(
    _step,
    st.tuples(st.sampled_from(["die", "idle", "close"]), st.just(0), st.just(b"")),
)


def _reference(pieces: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """Records with their times, by the simplest loop."""
    records: list[tuple[bytes, int]] = []
    for lines, moment in pieces:
        for line in lines[:-1].split(b"\n"):
            if records and not _search(line.decode("utf-8", "replace")):
                records[-1] = records[-1][0] + b"\n" + line, records[-1][1]
            else:
                records.append((line, moment))
    return records


def _play(world: ManualChild, steps: list[tuple[str, int, bytes]]) -> dict[int, list[tuple[bytes, int]]]:
    """Run all steps to the end. Returns what was fed to each source."""
    sources = [world.assembler.open("web", PATTERN), world.assembler.open("web", PATTERN)]
    fed: dict[int, list[tuple[bytes, int]]] = {source: [] for source in sources}
    ended_sources: set[int] = set()
    for step, number, lines in steps:
        if step == "feed" and sources[number] not in ended_sources:
            world.feed(sources[number], lines)
            fed[sources[number]].append((lines, world.now_ns))
        elif step == "end" and sources[number] not in ended_sources:
            ended_sources.add(sources[number])
            world.assembler.end(sources[number])
        elif step == "read" and world.stdio:
            world.read(number)
        elif step == "answer" and world.stdio:
            world.answer(number)
        elif step == "reexecute":
            world.reexecute()
        elif step == "die":
            world.die(128 + signal.SIGKILL)
        elif step == "idle" and (moment := world.poller.deadline()) is not None:
            world.poller.run_timers(moment)
        elif step == "close":
            world.assembler.close()
    for source in set(sources) - ended_sources:
        world.assembler.end(source)
    while world.stdio and (len(world.finished) < 2 or world.unsent):
        if not world.read(1 << 16) and not world.unsent:
            world.die(0)
        elif world.stdio:
            world.answer(1 << 16)
    return fed


@given(st.lists(_step, max_size=40))
def test_records_equal_those_of_a_simple_loop(steps: list[tuple[str, int, bytes]]) -> None:
    """With any lines, pieces, delays and re-executions."""
    world = ManualChild()
    try:
        for source, pieces in _play(world, steps).items():
            assert world.records.get(source, []) == _reference(pieces)
        assert len(world.finished) == 2
        assert world.assembler._sources == {}
        assert world.poller.deadline() is None
    finally:
        world.close()


@given(st.lists(_rare_step, max_size=40))
def test_no_line_is_lost_or_doubled(steps: list[tuple[str, int, bytes]]) -> None:
    """Even if the child dies at any point, the records of a stream are its lines, each once."""
    world = ManualChild()
    try:
        for source, pieces in _play(world, steps).items():
            text = b"".join(lines for lines, _ in pieces)
            assert b"".join(record + b"\n" for record in world.texts(source)) == text
            for record in world.texts(source):
                assert not any(_search(line.decode("utf-8", "replace")) for line in record.split(b"\n")[1:])
        assert len(world.finished) == 2
        assert world.assembler._sources == {}
        assert world.poller.deadline() is None
    finally:
        world.close()


# --- real children ----------------------------------------------------------------------------------------------


def test_a_traceback_is_one_record(world: Records) -> None:
    """Continuation lines belong to the line before. The last record comes when the stream has ended."""
    out, err = world.assembler.open("web", PATTERN), world.assembler.open("web", PATTERN)
    world.feed(out, b"Traceback:\n  a\n")
    world.feed(err, b"one\n")
    world.feed(out, b"  b\nnext\n")
    world.until_answered()
    assert world.records == {out: [(b"Traceback:\n  a\n  b", 1)]}
    world.assembler.end(out)
    assert (world.texts(out)[1:], world.finished) == ([b"next"], [out])
    assert world.launched == ["web\0lines1"]
    assert world.said == []


def test_lines_before_the_first_match_are_one_record(world: Records) -> None:
    """For example a banner."""
    source = world.assembler.open("web", r"^\d")
    world.feed(source, b"welcome\nto\n1 it\n")
    world.until_answered()
    assert world.texts(source) == [b"welcome\nto"]


def test_a_record_ends_after_200_ms_without_a_line(world: Records) -> None:
    """It is emitted and there is no deadline any more. A continuation line that comes later is another record."""
    source = world.assembler.open("web", PATTERN)
    world.feed(source, b"A\n")
    assert world.poller.deadline() is None, "unanswered"
    world.until_answered()
    deadline = world.poller.deadline()
    assert deadline is not None
    world.poller.run_timers(deadline - 0.001)
    assert world.records == {}
    world.poller.run_timers(deadline)
    assert world.texts(source) == [b"A"]
    assert world.poller.deadline() is None
    world.feed(source, b" on\n")
    world.until_answered()
    world.assembler.end(source)
    assert world.texts(source) == [b"A", b" on"]


def test_each_line_restarts_the_200_ms(world: Records) -> None:
    """The record that was idle first ends first."""
    first, second = world.assembler.open("web", PATTERN), world.assembler.open("web", PATTERN)
    for source in (first, second):
        world.feed(source, b"A\n")
        world.until_answered()
    early = world.poller.deadline()
    assert early is not None
    world.feed(first, b" b\n")
    world.until_answered()
    late = world.poller.deadline()
    assert late is not None
    assert late > early
    world.poller.run_timers(late)
    assert (world.texts(first), world.texts(second)) == ([], [b"A"])


def test_a_record_of_a_paused_stream_does_not_end(world: Records) -> None:
    """Its continuation may still be in the pipe, so the record stays open and has no deadline."""
    source, other = world.assembler.open("web", PATTERN), world.assembler.open("web", PATTERN)
    for each in (source, other):
        world.feed(each, b"A\n")
        world.until_answered()
    deadline = world.poller.deadline()
    assert deadline is not None
    world.paused = {source, other}
    world.assembler.set_timer()
    assert world.poller.deadline() is None
    world.poller.run_timers(deadline + 9)
    assert world.records == {}
    world.paused = {source}
    world.assembler.set_timer()
    world.poller.run_timers(deadline + 9)
    assert world.records.keys() == {other}
    world.paused = set()
    world.assembler.set_timer()
    assert world.poller.deadline() == deadline


def test_a_record_ends_at_1_mib(world: Records) -> None:
    """What follows is another record, and nothing is lost."""
    source = world.assembler.open("web", PATTERN)
    piece = b" goes on\n" * 7000
    for _ in range(40):
        world.feed(source, piece)
        world.until_answered()
    assert [1_048_576 <= len(record) < 1_200_000 for record in world.texts(source)] == [True, True]
    world.assembler.end(source)
    assert b"".join(record + b"\n" for record in world.texts(source)) == piece * 40


def test_catastrophic_backtracking_ends_the_child_only(world: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is lost, and the next start has a new child."""
    monkeypatch.setattr(multiline_classifiers, "_SECONDS_MAX", 0.1)
    source = world.assembler.open("web", r"(a+)+$")
    world.feed(source, b"1a\ngoes on\n")
    world.until_answered()
    world.feed(source, b"a" * 60 + b"b\n")
    world.feed(source, b"after\n")
    world.until(lambda: world.said)
    assert world.texts(source) == [b"1a\ngoes on", b"a" * 60 + b"b", b"after"]
    world.feed(source, b"x\ny\n")
    assert world.texts(source)[3:] == [b"x", b"y"]
    why = "the regular expression takes more than 100ms (make it simpler)"
    text = f"cannot assemble multiline records: {why} (each line is a record until the next start)"
    assert world.said == [("warning", "web", text)]
    second = world.assembler.open("web", r"(a+)+$")
    assert len(world.launched) == 2
    world.feed(second, b"a\ngoes on\n")
    world.until_answered()
    world.assembler.end(second)
    assert world.texts(second) == [b"a\ngoes on"]


def test_a_killed_child_loses_no_line(world: Records) -> None:
    """Unanswered lines are emitted one by one, after the others. It is reported once."""
    source, other = world.assembler.open("web", PATTERN), world.assembler.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.feed(other, b"X\n")
    world.until_answered()
    os.kill(world.pid(), signal.SIGSTOP)
    world.feed(source, b" c\n d\n")
    os.kill(world.pid(), signal.SIGKILL)
    world.until(lambda: world.said)
    assert (world.texts(source), world.texts(other)) == ([b"A\n b", b" c", b" d"], [b"X"])
    assert [text.count("ended with SIGKILL (killed)") for _, _, text in world.said] == [1]
    world.assembler.end(source)
    assert world.finished == [source]
    assert world.poller.deadline() is None


def test_a_child_that_hangs_makes_its_source_full(world: Records) -> None:
    """When enough is answered, resume() is called once."""
    source = world.assembler.open("web", PATTERN)
    db = world.assembler.open("db", PATTERN)
    os.kill(world.pids["web\0lines1"], signal.SIGSTOP)
    fed = 0
    while not world.assembler.full(source):
        world.feed(source, b"line\n" * 10_000)
        fed += 10_000
    assert 1_048_576 <= fed * 5 < 1_200_000
    assert not world.assembler.full(db)
    world.feed(db, b"A\nB\n")
    world.until(lambda: world.texts(db))
    assert (world.texts(source), world.resumed) == ([], [])
    world.reexecute()
    assert world.assembler.full(source)
    os.kill(world.pids["web\0lines1"], signal.SIGCONT)
    world.until_answered()
    assert world.resumed == ["web"]
    assert not world.assembler.full(source)
    assert len(world.texts(source)) == fed - 1


def test_a_full_source_resumes_when_its_child_dies(world: Records) -> None:
    """Nothing is unanswered then."""
    source = world.assembler.open("web", PATTERN)
    os.kill(world.pid(), signal.SIGSTOP)
    world.feed(source, b"line\n" * 300_000)
    assert world.assembler.full(source)
    os.kill(world.pid(), signal.SIGKILL)
    world.until(lambda: world.resumed)
    assert (len(world.texts(source)), world.assembler.full(source)) == (300_000, False)


def test_without_a_child_each_line_is_a_record(world: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the child cannot be started for lack of resources, it is reported, and the service runs."""

    def launch(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(world.context, "run_program", launch)
    source = world.assembler.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.reexecute()
    world.feed(source, b" c\n")
    world.assembler.end(source)
    assert (world.texts(source), world.finished) == ([b"A", b" b", b" c"], [source])
    assert "no room for another process: Resource temporarily unavailable" in world.said[0][2]


def test_a_failed_exec_is_reported(world: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no line is lost."""
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    source = world.assembler.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.until(lambda: world.said)
    assert world.texts(source) == [b"A", b" b"]
    assert "cannot start the child that searches for the pattern: '/nonexistent' does not exist" in world.said[0][2]


def test_a_restart_keeps_the_child_and_a_new_pattern_starts_another(world: Records) -> None:
    """Records of a new start are not joined to earlier ones. The old child answers what it has and ends."""
    old = world.assembler.open("web", PATTERN)
    world.feed(old, b"A\n b\n")
    world.assembler.end(old)
    second = world.assembler.open("web", PATTERN)
    assert (second != old, len(world.launched)) == (True, 1)
    world.feed(second, b" c\n")
    new = world.assembler.open("web", "^x")
    world.feed(new, b"A\nx\n")
    world.until(lambda: len(world.pids) == 1)
    world.until_answered()
    assert (world.texts(old), world.texts(second), world.texts(new)) == ([b"A\n b"], [b" c"], [b"A"])
    assert world.said == []
    world.assembler.forget("web")
    world.assembler.forget("web")
    world.until(lambda: not world.pids)
    world.feed(new, b"y\n")
    assert (world.texts(new), world.said) == ([b"A", b"x", b"y"], [])


def test_a_stop_signal_to_all_processes_does_not_end_the_child(world: Records) -> None:
    """The stop signals are blocked from its start on, so the last lines are answered too."""
    source = world.assembler.open("web", PATTERN)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGRTMIN + 3):
        os.kill(world.pid(), number)
    world.feed(source, b"A\n b\nC\n")
    world.until_answered()
    os.kill(world.pid(), signal.SIGTERM)
    world.feed(source, b" d\n")
    world.assembler.finish(lambda: 20.0)
    assert world.texts(source) == [b"A\n b", b"C\n d"]
    world.until(lambda: not world.pids)
    assert world.said == []


def test_children_end_after_close_when_they_have_answered(world: Records) -> None:
    """More than fits into the pipe is answered too. Lines that come later are a record each."""
    source = world.assembler.open("web", PATTERN)
    flood = b"A\n b\n" * 100_000
    world.feed(source, flood)
    world.assembler.close()
    world.feed(source, b" late\n later\n")
    world.until(lambda: not world.pids)
    assert world.texts(source)[99_998:] == [b"A\n b", b"A\n b", b" late", b" later"]
    assert (world.said, world.assembler.descriptors(), [*world.assembler.tasks()]) == ([], [], [])


def test_finish_waits_for_answers(world: Records) -> None:
    """Everything is answered, and open records are emitted."""
    source = world.assembler.open("web", PATTERN)
    world.feed(source, b"A\n b\n" * 200_000)
    world.assembler.finish(lambda: 20.0)
    assert world.texts(source) == [b"A\n b"] * 200_000


@pytest.mark.parametrize("seconds", [0.0, 20.0])
def test_finish_gives_up_a_child_that_hangs(world: Records, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Without time, or without progress for a while, unanswered lines are emitted one by one."""
    monkeypatch.setattr(multiline_classifiers, "_STALL_SECONDS", 0.01)
    source = world.assembler.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.until_answered()
    os.kill(world.pid(), signal.SIGSTOP)
    world.feed(source, b" c\n" * 100_000)
    world.assembler.finish(lambda: seconds)
    assert world.texts(source) == [b"A\n b", *[b" c"] * 100_000]
    os.kill(world.pid(), signal.SIGCONT)


def test_a_reexecution_keeps_child_lines_and_records(world: Records) -> None:
    """The child keeps running. Lines that it has not read or answered, and open records, are kept."""
    source, other = world.assembler.open("web", PATTERN), world.assembler.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.until_answered()
    deadline = world.poller.deadline()
    os.kill(world.pid(), signal.SIGSTOP)
    world.feed(other, b"X\n y\n" * 50_000)
    world.assembler.end(other)
    world.reexecute()
    assert world.poller.deadline() == deadline
    world.feed(source, b" c\nD\n")
    os.kill(world.pid(), signal.SIGCONT)
    world.until_answered()
    world.assembler.end(source)
    assert world.texts(source) == [b"A\n b\n c", b"D"]
    assert world.records[source][0][1] == 1
    assert world.texts(other) == [b"X\n y"] * 50_000
    assert (world.finished, world.launched, world.said) == ([other, source], ["web\0lines1"], [])
    assert world.assembler.open("web", PATTERN) > max(source, other)
    assert len(world.launched) == 1


def test_limits_count_across_a_reexecution(world: Records) -> None:
    """What was held and unanswered before counts afterwards."""
    source, other = world.assembler.open("web", PATTERN), world.assembler.open("web", PATTERN)
    world.feed(source, b" goes on\n" * 100_000)
    world.until_answered()
    os.kill(world.pid(), signal.SIGSTOP)
    world.feed(other, b"line\n" * 200_000)
    assert not world.assembler.full(source)
    world.reexecute()
    world.feed(source, b" goes on\n" * 20_000)
    assert world.assembler.full(source)
    os.kill(world.pid(), signal.SIGCONT)
    world.until_answered()
    assert [len(record) for record in world.texts(source)] == [120_000 * 9 - 1]


def test_answers_written_before_the_childs_end_are_used() -> None:
    """They are in the pipe even if the end is reported first."""
    world = ManualChild()
    source = world.assembler.open("web", PATTERN)
    world.feed(source, b"A\n b\n")
    world.feed(source, b" c\n d\n e\n")
    world.read(100)
    os.write(world.stdio[1], world.unsent[:3])
    world.die(128 + signal.SIGKILL)
    assert world.texts(source) == [b"A\n b\n c", b" d", b" e"]
    world.close()
