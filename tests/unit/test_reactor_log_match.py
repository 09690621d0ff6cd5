"""Readiness by the log, with the real pump and the real matcher: nothing is missed, nobody has to wait."""

import io
import os
import re
import signal
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.engine.events import Probed
from cohabit.reactor.health.log_match import LogMatches
from cohabit.reactor.logs.sink import Sink
from cohabit.tasks import match
from unit.output_story import new_output, writing
from unit.reactor_world import World, asked


class Logs(World):
    """A pump between pipes with matchers at its side; `out` is what came out on stdout."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.out = b""
        self.reading = True
        self.fresh()

    def fresh(self) -> None:
        """Another life's rooms."""
        sink = Sink(self.writer)
        self.sink = sink
        self.output = new_output(self.epoll, sink, sink)
        self.output.name_services(["web", "db"])
        self.matches = LogMatches(
            self.given, dict(os.environ), self.epoll, self.output,
            launch=self.launch, kill=self.kill, tell=self.facts.append,
        )  # fmt: skip
        self.rooms = [self.output, self.matches]

    def turn(self) -> None:
        """Read what comes out, too."""
        super().turn()
        try:
            while self.reading and (data := os.read(self.reader, 1 << 20)):
                self.out += data
        except BlockingIOError:
            pass

    def start(self, name: str, pattern: str = "", driver: str = "prefix", seconds: float = 30.0) -> tuple[int, int]:
        """Start a service with this pattern, if any; returns what it writes to."""
        if pattern:
            self.matches.open(asked("log", name, pattern=pattern, timeout_seconds=seconds))
        stdout, stderr = self.output.open(writing(name, driver), None)[0]
        for fd in (stdout, stderr):
            os.set_blocking(fd, False)
        return stdout, stderr

    def write(self, fd: int, data: bytes) -> None:
        """Write all of it, turning while there is no room."""

        def written() -> bool:
            nonlocal data
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                pass
            return not data

        self.until(written)

    def close(self) -> None:
        """Let go of everything."""
        for name in ("web", "db"):
            self.matches.close(name)
        self.until(lambda: not self.pids)
        super().close()
        for fd in (self.reader, self.writer, self.sink.fd):
            os.close(fd)


@pytest.fixture
def logs() -> Iterator[Logs]:
    """Give a world for one test."""
    logs = Logs()
    yield logs
    logs.close()


@pytest.mark.parametrize("stream", [0, 1])
@pytest.mark.parametrize("driver", ["prefix", "raw"])
def test_the_first_line_that_matches(logs: Logs, driver: str, stream: int) -> None:
    """A line of either stream, with either driver, in any pieces; the answer is the line, and comes once."""
    fds = logs.start("web", r"^listening on \d+$", driver)
    logs.write(fds[1 - stream], b"not listening on 80\n")
    for piece in (b"hello\nlisten", b"ing on ", b"80", b"80\r\nlistening on 2\n"):
        logs.write(fds[stream], piece)
        logs.turn()
    logs.until(lambda: logs.facts)
    assert logs.facts == [Probed("web", passed=True, output="listening on 8080")]
    logs.until(lambda: b"listening on 2\n" in logs.out)
    assert logs.matches._feeds == {}
    assert not logs.output._taps


def test_streams_do_not_tear_each_other(logs: Logs) -> None:
    """Halves of lines of stdout and stderr that come in turn are put together by stream."""
    fds = logs.start("web", "^out ready$|^readyerr$")
    for stream, piece in ((0, b"out "), (1, b"ready"), (0, b"x\nout "), (1, b"er"), (0, b"ready\n"), (1, b"r\n")):
        logs.write(fds[stream], piece)
        logs.until(lambda: not logs.epoll.poll(0))
    logs.until(lambda: logs.facts)
    assert logs.facts == [Probed("web", passed=True, output="out ready")]


def test_an_unfinished_last_line_counts(logs: Logs) -> None:
    """What a service wrote last before it closed its output is a line."""
    stdout, stderr = logs.start("web", "ready$")
    logs.write(stdout, b"now ready")
    os.close(stdout)
    os.close(stderr)
    logs.until(lambda: logs.facts)
    assert logs.facts == [Probed("web", passed=True, output="now ready")]


def test_no_match_and_no_answer(logs: Logs) -> None:
    """A service that says other things is not answered for; stop ends the matcher, and then nothing is told."""
    stdout, _ = logs.start("web", "never")
    logs.write(stdout, b"never mind\n"[5:])
    logs.until(lambda: b" mind" in logs.out)
    logs.matches.close("web")
    logs.write(stdout, b"never\n")
    logs.until(lambda: not logs.pids)
    assert logs.facts == []


def test_nothing_is_lost_to_a_matcher_that_comes_late(logs: Logs) -> None:
    """A flood before the line, more than any buffer takes at once, and the line is found; all of it comes out."""
    stdout, _ = logs.start("web", "^the one$")
    flood = b"another line of the flood\n" * 200_000
    logs.write(stdout, flood + b"the one\n")
    logs.until(lambda: logs.facts)
    assert logs.facts == [Probed("web", passed=True, output="the one")]
    logs.until(lambda: b"the one\n" in logs.out)
    assert logs.out.count(b"another line of the flood\n") == 200_000


def test_a_matcher_that_hangs_holds_up_its_own_service_only(logs: Logs) -> None:
    """While the matcher does not read, its service rests after so many bytes; others and the loop go on."""
    stdout, _ = logs.start("web", "x")
    os.kill(logs.pids["web\0log1"], signal.SIGSTOP)
    piece = b"line\n" * 1000

    def rests() -> bool:
        try:
            while True:
                os.write(stdout, piece)
        except BlockingIOError:
            return logs.idle() and logs.output._taps["web"].full

    logs.until(rests)
    held = len(logs.output._taps["web"].pending)
    assert held < 2 * 1_048_576
    db, _ = logs.start("db")
    logs.write(db, b"line of db\n")
    logs.until(lambda: b"db      | line of db\n" in logs.out)
    assert len(logs.output._taps["web"].pending) == held
    os.kill(logs.pids["web\0log1"], signal.SIGCONT)
    logs.until(lambda: not logs.output._taps["web"].full)
    logs.write(stdout, b"\nx\n")
    logs.until(lambda: logs.facts)
    assert logs.facts == [Probed("web", passed=True, output="x")]


def test_a_match_that_is_not_wanted_any_more_holds_nobody_up(logs: Logs) -> None:
    """When the question is dropped while the service rests because of it, the service's output flows again."""
    stdout, _ = logs.start("web", "x")
    os.kill(logs.pids["web\0log1"], signal.SIGSTOP)
    logs.output._taps["web"].pending += b" " * 2_000_000
    os.write(stdout, b"line\n")
    logs.until(logs.idle)
    assert b"line" not in logs.out
    logs.matches.close("web")
    logs.until(lambda: b"line" in logs.out)


def test_a_blocked_sink_does_not_wake_a_service_whose_matcher_hangs(logs: Logs) -> None:
    """Room in the sink is no room in the matcher: nothing more is read, and nothing spins."""
    stdout, _ = logs.start("web", "x")
    os.kill(logs.pids["web\0log1"], signal.SIGSTOP)
    logs.output._taps["web"].pending += b" " * 2_000_000
    db, _ = logs.start("db")
    logs.reading = False
    os.write(stdout, b"web\n")

    def blocked() -> bool:
        try:
            os.write(db, b"line of db\n" * 5000)
        except BlockingIOError:
            return logs.sink.blocked and logs.idle()
        return False

    logs.until(blocked)
    logs.reading = True
    logs.until(lambda: not logs.sink.blocked and logs.idle())
    assert b"web     |" not in logs.out
    os.kill(logs.pids["web\0log1"], signal.SIGCONT)


def test_a_pattern_that_takes_for_ever(logs: Logs) -> None:
    """Catastrophic backtracking costs a child its life, not process 1 its responsiveness; the service goes on."""
    stdout, _ = logs.start("web", r"(a+)+$", seconds=0.1)
    logs.write(stdout, b"a" * 60 + b"b\n")
    logs.until(lambda: b"ab\n" in logs.out)
    logs.until(lambda: logs.facts)
    why = "the regular expression takes more than 100ms for one line (make it simpler)"
    assert logs.facts == [Probed("web", passed=False, output=f"cannot search its log any more: {why}")]
    logs.write(stdout, b"on it goes\n" * 300_000)
    logs.until(lambda: logs.out.count(b"on it goes") == 300_000)


def test_a_matcher_that_dies(logs: Logs) -> None:
    """Killed by somebody: one failed answer, and the streams flow."""
    stdout, _ = logs.start("web", "x")
    os.kill(logs.pids["web\0log1"], signal.SIGKILL)
    logs.until(lambda: logs.facts)
    assert "ended with SIGKILL (killed)" in logs.facts[0].output
    assert not logs.facts[0].passed
    logs.write(stdout, b"x\n" * 500_000)
    assert len(logs.facts) == 1


def test_a_new_start_has_a_new_matcher(logs: Logs) -> None:
    """What an earlier start wrote does not make the next one ready, even while the old matcher still dies."""
    stdout, _ = logs.start("web", "^ready$")
    logs.write(stdout, b"ready\n")
    logs.turn()
    again, _ = logs.start("web", "^ready$")
    logs.facts.clear()
    logs.write(again, b"not yet\n")
    logs.until(lambda: len(logs.pids) == 1)
    assert logs.facts == []
    logs.write(again, b"ready\n")
    logs.until(lambda: logs.facts)
    assert len(logs.facts) == 1


def test_a_matcher_for_a_service_that_runs(logs: Logs) -> None:
    """Opened in the middle of a line (a reload), it gets that line from its beginning."""
    stdout, _ = logs.start("web")
    logs.write(stdout, b"ready a")
    logs.until(lambda: logs.output.unfinished("web"))
    logs.matches.open(asked("log", pattern="^ready at last$"))
    logs.write(stdout, b"t last\n")
    logs.until(lambda: logs.facts)
    assert logs.facts == [Probed("web", passed=True, output="ready at last")]


def test_without_room_nothing_stays_open(logs: Logs) -> None:
    """When no child can be had, the error goes up and all pipes are closed."""

    def launch(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    before = set(os.listdir("/proc/self/fd"))
    logs.matches._launch = launch
    with pytest.raises(OSError, match="temporarily"):
        logs.matches.open(asked("log", pattern="x"))
    assert set(os.listdir("/proc/self/fd")) == before


def test_crossing_a_reexecution(logs: Logs) -> None:
    """The matcher lives on with what it has read; what it had not taken yet is handed over."""
    stdout, _ = logs.start("web", "^ready at last$")
    logs.write(stdout, b"ready ")
    logs.until(lambda: logs.output.unfinished("web"))
    os.kill(logs.pids["web\0log1"], signal.SIGSTOP)
    logs.write(stdout, b"a")
    logs.output._taps["web"].pending += b"77 3\nab\n" * 100_000
    logs.until(lambda: logs.output.unfinished("web")[0][1] == b"ready a")
    plain, plain_matches, kept = logs.output.to_plain(), logs.matches.to_plain(), logs.matches.descriptors()
    assert len(kept) == 2
    logs.output._sources.close()
    for fd in [kept[0]]:
        logs.epoll.unregister(fd)
    os.close(logs.sink.fd)
    logs.fresh()
    logs.output.restore(plain)
    logs.matches.restore(plain_matches)
    assert logs.matches.tasks() == ["web\0log1"]
    start, errors, _ = logs._started["web\0log1"]
    logs._started["web\0log1"] = start, errors, lambda code, why: logs.matches.ended("web\0log1", code, why)
    os.kill(logs.pids["web\0log1"], signal.SIGCONT)
    logs.write(stdout, b"t last\n")
    logs.until(lambda: logs.facts)
    assert logs.facts == [Probed("web", passed=True, output="ready at last")]


# --- the matcher itself ----------------------------------------------------------------------------------------

_pieces = st.lists(st.tuples(st.sampled_from([b"3", b"4"]), st.sampled_from([b"a", b"b\n", b"\n", b"ab\r\n", b"aab"])))


@given(_pieces)
def test_the_matcher_puts_lines_together(pieces: list[tuple[bytes, bytes]]) -> None:
    """Whatever the pieces, the matcher sees exactly the lines of each source, the unfinished last one included."""
    seen: list[bytes] = []
    frames = b"".join(b"%s %d\n%s" % (source, len(data), data) for source, data in [*pieces, (b"3", b""), (b"4", b"")])
    assert match.search(io.BytesIO(frames), lambda line: bool(seen.append(line))) is None  # type: ignore[func-returns-value]
    wanted: list[bytes] = []
    for wrote in (b"3", b"4"):
        text = b"".join(data for source, data in pieces if source == wrote)
        wanted += [line.removesuffix(b"\r") for line in text.split(b"\n")]
    assert sorted(line for line in seen if line) == sorted(line for line in wanted if line)


def test_the_matcher_bounds_a_line() -> None:
    """A line without end is searched in pieces of a megabyte."""
    sizes: list[int] = []
    frame = b"3 65536\n" + b"x" * 65_536
    match.search(io.BytesIO(frame * 40), lambda line: bool(sizes.append(len(line))))  # type: ignore[func-returns-value]
    assert sizes == [1_048_576, 1_048_576]


def test_the_matcher_reads_bytes_that_are_no_text() -> None:
    """Bytes that are not UTF-8 do not end it."""
    pattern = re.compile("ready")
    frames = io.BytesIO(b"3 12\n\xff\xfe\nready\xff\n\n")
    assert match.search(frames, lambda line: bool(pattern.search(line.decode("utf-8", "replace")))) == b"ready\xff"
