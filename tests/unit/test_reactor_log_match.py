"""Readiness by the log, with real pipes and the real matcher: no line is skipped, and no other service waits."""

import io
import os
import re
import signal
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.engine.events import Probed
from cohabit.reactor.health.log_match import LogMatches
from cohabit.reactor.logs.sink import Sink
from cohabit.tasks import match
from unit.output_story import close_output, new_output, writing
from unit.reactor_world import World, asked


class LogWorld(World):
    """Services whose output goes through Output and the matchers. out: what came out on stdout."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.out = b""
        self.reading = True
        self.ends: list[int] = []  # of the services
        self.fresh()

    def fresh(self) -> None:
        """Create Output and LogMatches, as after a re-execution."""
        sink = Sink(self.writer)
        self.sink = sink
        self.output = new_output(self.poller, sink, sink)
        self.output.name_services(["web", "db"])
        self.matches = LogMatches(self.context, self.output)

    def turn(self) -> None:
        """Run one turn, and read stdout."""
        super().turn()
        try:
            while self.reading and (data := os.read(self.reader, 1 << 20)):
                self.out += data
        except BlockingIOError:
            pass

    def start(self, name: str, pattern: str = "", driver: str = "prefix", seconds: float = 30.0) -> tuple[int, int]:
        """Start a service, with a pattern if given. Returns its stdout and stderr."""
        if pattern:
            self.matches.open(asked("log", name, pattern=pattern, timeout_seconds=seconds))
        stdout, stderr = self.output.reader.open(writing(name, driver), None)[0]
        for fd in (stdout, stderr):
            os.set_blocking(fd, False)
            self.ends.append(fd)
        return stdout, stderr

    def write(self, fd: int, data: bytes) -> None:
        """Write all data, running the loop while the pipe is full."""

        def written() -> bool:
            nonlocal data
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                pass
            return not data

        self.until(written)

    def close(self) -> None:
        """Close everything."""
        for name in ("web", "db"):
            self.matches.close(name)
        self.until(lambda: not self.pids)
        for fd in (*self.ends, self.reader, self.writer):
            os.close(fd)
        close_output(self.output)
        super().close()


@pytest.fixture
def world() -> Iterator[LogWorld]:
    """Give a world for one test."""
    world = LogWorld()
    yield world
    world.close()


@pytest.mark.parametrize("stream", [0, 1])
@pytest.mark.parametrize("driver", ["prefix", "raw"])
def test_the_first_matching_line_is_the_answer(world: LogWorld, driver: str, stream: int) -> None:
    """It may be on either stream, with either driver, in any pieces. There is one answer."""
    fds = world.start("web", r"^listening on \d+$", driver)
    world.write(fds[1 - stream], b"not listening on 80\n")
    for piece in (b"hello\nlisten", b"ing on ", b"80", b"80\r\nlistening on 2\n"):
        world.write(fds[stream], piece)
        world.turn()
    world.until(lambda: world.facts)
    assert world.facts == [Probed("web", passed=True, output="listening on 8080")]
    world.until(lambda: b"listening on 2\n" in world.out)
    assert world.matches.descriptors() == []
    assert not world.output.router._taps


def test_streams_are_matched_separately(world: LogWorld) -> None:
    """Alternating pieces of stdout and stderr are joined to lines by stream."""
    fds = world.start("web", "^out ready$|^readyerr$")
    for stream, piece in ((0, b"out "), (1, b"ready"), (0, b"x\nout "), (1, b"er"), (0, b"ready\n"), (1, b"r\n")):
        world.write(fds[stream], piece)
        world.until(world.idle)
    world.until(lambda: world.facts)
    assert world.facts == [Probed("web", passed=True, output="out ready")]


def test_an_unterminated_last_line_counts(world: LogWorld) -> None:
    """The text before the end of the output is a line, also without a newline."""
    stdout, _ = world.start("web", "ready$")
    world.write(stdout, b"now ready")
    while world.ends:
        os.close(world.ends.pop())
    world.until(lambda: world.facts)
    assert world.facts == [Probed("web", passed=True, output="now ready")]


def test_no_match_no_answer(world: LogWorld) -> None:
    """Other lines cause no answer. After close the matcher has ended and a matching line causes none either."""
    stdout, _ = world.start("web", "never")
    world.write(stdout, b"never mind\n"[5:])
    world.until(lambda: b" mind" in world.out)
    world.matches.close("web")
    world.write(stdout, b"never\n")
    world.until(lambda: not world.pids)
    assert world.facts == []


def test_a_line_after_a_flood_is_found(world: LogWorld) -> None:
    """Output that is larger than all buffers is matched and forwarded completely."""
    stdout, _ = world.start("web", "^the one$")
    flood = b"another line of the flood\n" * 200_000
    world.write(stdout, flood + b"the one\n")
    world.until(lambda: world.facts)
    assert world.facts == [Probed("web", passed=True, output="the one")]
    world.until(lambda: b"the one\n" in world.out)
    assert world.out.count(b"another line of the flood\n") == 200_000


def test_a_matcher_that_hangs_blocks_only_its_service(world: LogWorld) -> None:
    """While the matcher does not read, its service pauses once the buffer is full. Others and the loop go on."""
    stdout, _ = world.start("web", "x")
    os.kill(world.pids["web\0log1"], signal.SIGSTOP)
    piece = b"line\n" * 1000

    def is_paused() -> bool:
        try:
            while True:
                os.write(stdout, piece)
        except BlockingIOError:
            return world.idle() and world.output.router._taps["web"].full

    world.until(is_paused)
    buffered = len(world.matches._wanted["web"].process.input.pending)
    assert buffered < 2 * 1_048_576
    db, _ = world.start("db")
    world.write(db, b"line of db\n")
    world.until(lambda: b"db      | line of db\n" in world.out)
    assert len(world.matches._wanted["web"].process.input.pending) == buffered
    os.kill(world.pids["web\0log1"], signal.SIGCONT)
    world.until(lambda: not world.output.router._taps["web"].full)
    world.write(stdout, b"\nx\n")
    world.until(lambda: world.facts)
    assert world.facts == [Probed("web", passed=True, output="x")]


def test_closing_a_hanging_matcher_resumes_its_service(world: LogWorld) -> None:
    """When matching is stopped while the service is paused because of it, the service's output continues."""
    stdout, _ = world.start("web", "x")
    os.kill(world.pids["web\0log1"], signal.SIGSTOP)
    world.matches._wanted["web"].process.input.pending += b" " * 2_000_000
    os.write(stdout, b"line\n")
    world.until(world.idle)
    assert b"line" not in world.out
    world.matches.close("web")
    world.until(lambda: b"line" in world.out)


def test_an_unblocked_sink_does_not_resume_a_service_whose_matcher_hangs(world: LogWorld) -> None:
    """When the sink accepts output again but the matcher does not, nothing is read, and the loop stays idle."""
    stdout, _ = world.start("web", "x")
    os.kill(world.pids["web\0log1"], signal.SIGSTOP)
    world.matches._wanted["web"].process.input.pending += b" " * 2_000_000
    db, _ = world.start("db")
    world.reading = False
    os.write(stdout, b"web\n")

    def blocked() -> bool:
        try:
            os.write(db, b"line of db\n" * 5000)
        except BlockingIOError:
            return world.sink.blocked and world.idle()
        return False

    world.until(blocked)
    world.reading = True
    world.until(lambda: not world.sink.blocked and world.idle())
    assert b"web     |" not in world.out
    os.kill(world.pids["web\0log1"], signal.SIGCONT)


def test_a_pattern_that_takes_too_long(world: LogWorld) -> None:
    """Catastrophic backtracking ends the matcher. Process 1 and the service's output go on."""
    stdout, _ = world.start("web", r"(a+)+$", seconds=0.1)
    world.write(stdout, b"a" * 60 + b"b\n")
    world.until(lambda: b"ab\n" in world.out)
    world.until(lambda: world.facts)
    why = "the regular expression takes more than 100ms for one line (make it simpler)"
    assert world.facts == [Probed("web", passed=False, output=f"cannot search the log: {why}")]
    world.write(stdout, b"on it goes\n" * 300_000)
    world.until(lambda: world.out.count(b"on it goes") == 300_000)


def test_a_matcher_that_is_killed(world: LogWorld) -> None:
    """A killed matcher causes one failed answer, and the service's output goes on."""
    stdout, _ = world.start("web", "x")
    os.kill(world.pids["web\0log1"], signal.SIGKILL)
    world.until(lambda: world.facts)
    assert "ended with SIGKILL (killed)" in world.facts[0].output
    assert not world.facts[0].passed
    world.write(stdout, b"x\n" * 500_000)
    assert len(world.facts) == 1


def test_a_new_start_has_a_new_matcher(world: LogWorld) -> None:
    """Output of an earlier start does not make the next one ready, even before the old matcher has ended."""
    stdout, _ = world.start("web", "^ready$")
    world.write(stdout, b"ready\n")
    world.turn()
    second, _ = world.start("web", "^ready$")
    world.facts.clear()
    world.write(second, b"not yet\n")
    world.until(lambda: len(world.pids) == 1)
    assert world.facts == []
    world.write(second, b"ready\n")
    world.until(lambda: world.facts)
    assert len(world.facts) == 1


def test_a_matcher_for_a_running_service(world: LogWorld) -> None:
    """A matcher that is opened in the middle of a line (by a reload) gets the line from its beginning."""
    stdout, _ = world.start("web")
    world.write(stdout, b"ready a")
    world.until(lambda: world.output.reader.unfinished("web"))
    world.matches.open(asked("log", pattern="^ready at last$"))
    world.write(stdout, b"t last\n")
    world.until(lambda: world.facts)
    assert world.facts == [Probed("web", passed=True, output="ready at last")]


def test_a_failed_fork_leaves_no_descriptor(world: LogWorld) -> None:
    """When no child can be created, the error is raised and all pipes are closed."""

    def launch(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    before = set(os.listdir("/proc/self/fd"))
    world.context.run_program = launch
    with pytest.raises(OSError, match="temporarily"):
        world.matches.open(asked("log", pattern="x"))
    assert set(os.listdir("/proc/self/fd")) == before


def test_reexecution(world: LogWorld) -> None:
    """The matcher keeps running, and the output that it has not read yet is kept for it."""
    stdout, _ = world.start("web", "^ready at last$")
    world.write(stdout, b"ready ")
    world.until(lambda: world.output.reader.unfinished("web"))
    os.kill(world.pids["web\0log1"], signal.SIGSTOP)
    world.write(stdout, b"a")
    world.matches._wanted["web"].process.input.pending += b"77 3\nab\n" * 100_000
    world.until(lambda: world.output.reader.unfinished("web")[0][1] == b"ready a")
    plain, plain_matches, kept = world.output.to_plain(), world.matches.to_plain(), world.matches.descriptors()
    assert len(kept) == 2
    for fd in kept:
        world.poller.remove(fd)
    close_output(world.output, *world.output.reader.streams)
    world.fresh()
    world.output.restore(plain)
    world.matches.restore(plain_matches)
    assert [*world.matches.tasks()] == ["web\0log1"]
    start, errors, _ = world._started["web\0log1"]
    world._started["web\0log1"] = start, errors, world.matches.tasks()["web\0log1"]
    os.kill(world.pids["web\0log1"], signal.SIGCONT)
    world.write(stdout, b"t last\n")
    world.until(lambda: world.facts)
    assert world.facts == [Probed("web", passed=True, output="ready at last")]


# --- the matcher itself ----------------------------------------------------------------------------------------

_pieces = st.lists(st.tuples(st.sampled_from([b"3", b"4"]), st.sampled_from([b"a", b"b\n", b"\n", b"ab\r\n", b"aab"])))


@given(_pieces)
def test_the_matcher_joins_pieces_to_lines(pieces: list[tuple[bytes, bytes]]) -> None:
    """The matcher sees exactly the lines of each source, the unterminated last one included."""
    seen: list[bytes] = []
    frames = b"".join(b"%s %d\n%s" % (source, len(data), data) for source, data in [*pieces, (b"3", b""), (b"4", b"")])
    assert match.search(io.BytesIO(frames), lambda line: bool(seen.append(line))) is None  # type: ignore[func-returns-value]
    expected: list[bytes] = []
    for wrote in (b"3", b"4"):
        text = b"".join(data for source, data in pieces if source == wrote)
        expected += [line.removesuffix(b"\r") for line in text.split(b"\n")]
    assert sorted(line for line in seen if line) == sorted(line for line in expected if line)


def test_the_matcher_searches_an_unfinished_line_after_a_silence() -> None:
    """As it is, and whole when it goes on; a silence after a newline is nothing."""
    seen: list[bytes] = []

    def search(frames: bytes) -> bytes | None:
        seen.clear()
        return match.search(io.BytesIO(frames), lambda line: seen.append(line) or line.endswith(b"> "))  # type: ignore[func-returns-value]

    assert search(b"3 4\na\nb>3 -1\n3 2\n c3 -1\n3 1\n\n3 -1\n") is None
    assert seen == [b"a", b"b>", b"b> c", b"b> c"]
    assert search(b"3 2\n> 4 -1\n3 -1\n") == b"> "


def test_a_prompt_without_a_newline_is_found(world: LogWorld) -> None:
    """After a short silence."""
    stdout, _ = world.start("web", "ready> ?$")
    world.write(stdout, b"starting\nready> ")
    world.until(lambda: world.poller.run_timers(time.monotonic()) or world.facts)  # type: ignore[func-returns-value]
    assert world.facts == [Probed("web", passed=True, output="ready> ")]


def test_the_matcher_limits_the_length_of_a_line() -> None:
    """An endless line is searched in pieces of a MiB."""
    sizes: list[int] = []
    frame = b"3 65536\n" + b"x" * 65_536
    match.search(io.BytesIO(frame * 40), lambda line: bool(sizes.append(len(line))))  # type: ignore[func-returns-value]
    assert sizes == [1_048_576, 1_048_576]


def test_the_matcher_accepts_bytes_that_are_not_utf8() -> None:
    """Bytes that are not UTF-8 do not end the matcher."""
    pattern = re.compile("ready")
    frames = io.BytesIO(b"3 12\n\xff\xfe\nready\xff\n\n")
    assert match.search(frames, lambda line: bool(pattern.search(line.decode("utf-8", "replace")))) == b"ready\xff"
