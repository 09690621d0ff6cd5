"""Log files as output, with real followers and pipes: starts and ends wait for them; no line is lost or doubled."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.plan.model import Credentials, LogFile, Logging, Service
from cohabit.reactor.logs import follower, followers
from cohabit.reactor.logs.output import Output
from cohabit.reactor.logs.sink import Sink
from unit.output_story import close_output
from unit.reactor_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FollowWorld(World):
    """A service `web` with a log file. out: what came out on stdout; reports: how often its end could be reported."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.web = Service("web", ("true",), logging=(Logging("raw"),), log_files=(LogFile(str(path)),))
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.out = b""
        self.reports = self.starts = 0
        self.output = self.fresh()

    def fresh(self) -> Output:
        """Return an Output, as after a re-execution."""
        sink = Sink(self.writer)
        output = Output(self.context, sink, sink, report_ended=self._report)
        output.name_services(["web"])
        return output

    def _report(self) -> None:
        self.reports += 1

    def _go_on(self) -> None:
        self.starts += 1

    def turn(self) -> None:
        """Run one turn with its timers, and read stdout."""
        super().turn()
        self.poller.run_timers(time.monotonic())
        self.read()

    def read(self) -> None:
        """Read stdout."""
        try:
            while data := os.read(self.reader, 1 << 20):
                self.out += data
        except BlockingIOError:
            pass

    def follow(self, service: Service | None = None) -> bool:
        """Try to start the service."""
        return self.output.followers.follow(service or self.web, self._go_on)

    def start(self, service: Service | None = None) -> None:
        """Start the service when its follower is ready."""
        while not self.follow(service):
            self.until(lambda: self.starts)
            self.starts = 0

    def append(self, text: str) -> None:
        """Append to the log file."""
        with self.path.open("a") as file:
            file.write(text)

    def until_out(self, text: str) -> None:
        """Wait until exactly this has come out."""
        self.until(lambda: len(self.out) >= len(text.encode()))
        assert self.out.decode() == text

    def close(self) -> None:
        """End all children, and close everything."""
        self.output.followers.close()
        self.until(lambda: not self.pids and not self.output.followers._running)
        self.until(lambda: not self.output.reader.streams)
        close_output(self.output, self.writer)
        for fd in (self.reader, self.writer):
            os.close(fd)
        super().close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FollowWorld]:
    world = FollowWorld(tmp_path / "x.log")
    yield world
    world.close()


def test_a_service_without_log_files_waits_for_nothing(world: FollowWorld) -> None:
    assert world.follow(world.web.replace(log_files=()))
    assert world.output.followers.has_read("web")
    assert world.launched == []


def test_a_service_starts_when_its_files_are_open(world: FollowWorld) -> None:
    """So what it writes at once is shown, and what was there before is not."""
    world.append("old\n")
    assert not world.follow()
    assert not world.follow()
    world.until(lambda: world.starts)
    assert world.follow()
    assert world.starts == 1
    world.append("new\n")
    world.until_out("new\n")
    assert len(world.launched) == 1
    assert world.poller.deadline() is None


def test_a_start_that_is_given_up_does_not_go_on(world: FollowWorld) -> None:
    world.follow()
    world.output.followers.cancel("web")
    world.until(lambda: world.output.followers._current["web"].ready)
    assert world.starts == 0
    assert world.poller.deadline() is None


def test_the_end_of_a_run_waits_for_its_last_lines(world: FollowWorld) -> None:
    world.start()
    world.append("last words\n")
    assert not world.output.followers.has_read("web")
    assert not world.output.followers.has_read("web")
    world.until(lambda: world.reports)
    world.output.reader.drain_service("web")
    world.read()
    assert world.out == b"last words\n"
    assert world.reports == 1
    assert world.poller.deadline() is None


def test_the_report_of_an_end_finds_that_its_lines_are_read(world: FollowWorld) -> None:
    read: list[bool] = []
    world.output.followers._report_ended = lambda: read.append(world.output.followers.has_read("web"))
    world.start()
    assert not world.output.followers.has_read("web")
    world.until(lambda: read)
    assert read == [True]
    assert not world.output.followers.has_read("web")  # of the next run
    world.until(lambda: len(read) > 1)


def test_the_next_follower_goes_on_where_one_was_killed(world: FollowWorld) -> None:
    world.start()
    for i in range(3):
        world.append(f"{i}a\n{i}b")
        line = f"{i}b".encode()
        world.until(lambda: any(line in stream.partial for stream in world.output.reader.streams.values()))  # noqa: B023
        (pid,) = world.pids.values()
        os.kill(pid, signal.SIGKILL)
        world.append(f"c\n{i}d\n")
    world.until_out("".join(f"{i}a\n{i}bc\n{i}d\n" for i in range(3)))
    assert world.said[0][2] == (
        "the process that follows its log files ended with SIGKILL (killed) (the next one starts in 100ms and goes on "
        "there; no line is lost)"
    )


def test_starts_and_ends_wait_for_the_next_follower_if_one_was_killed(world: FollowWorld) -> None:
    assert not world.follow()
    world.kill(world.launched[0])
    world.until(lambda: world.said)
    assert not world.follow()
    world.until(lambda: world.starts)
    world.append("last\n")
    assert not world.output.followers.has_read("web")
    world.kill(world.launched[1])
    world.until(lambda: world.reports)
    world.until_out("last\n")


def test_a_reexecution_goes_on_without_a_follower_that_was_killed(world: FollowWorld) -> None:
    """The next one is started by the new object."""
    world.start()
    world.append("a\n")
    world.until_out("a\n")
    world.kill(world.launched[0])
    world.until(lambda: world.said)
    plain = world.output.to_plain()
    world.output.followers._current["web"].process.reset()
    world.output.reader._sources.close()
    world.output = world.fresh()
    world.output.restore(plain)
    assert world.output.tasks() == {}
    world.append("b\n")
    world.until_out("a\nb\n")


def test_a_file_system_that_does_not_answer_delays_nothing_for_long(
    world: FollowWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a start nor an end."""
    monkeypatch.setattr(follower, "program", lambda *_: ("/bin/sleep", "1000"))
    monkeypatch.setattr(followers, "_READY_SECONDS_MAX", 0.05)
    monkeypatch.setattr(followers, "_READ_SECONDS_MAX", 0.05)
    world.start()
    assert [text for _, _, text in world.said] == [
        "cannot open its log files yet: no answer within 50ms (starting it)",
    ]
    assert not world.output.followers.has_read("web")
    world.until(lambda: world.reports)
    other = world.web.replace(log_files=(LogFile("/other.log"),))
    monkeypatch.undo()
    world.start(other)
    assert len(world.launched) == 2
    assert world.killed == world.launched[:1]


def test_other_files_have_another_follower_and_none_is_read_twice(world: FollowWorld, tmp_path: Path) -> None:
    """As after a reload: what stays goes on, and what is new begins at its end."""
    second = tmp_path / "second.log"
    second.write_text("old\n")
    world.start()
    world.append("a\n")
    world.until_out("a\n")
    world.append("b\n")
    both = world.web.replace(log_files=(*world.web.log_files, LogFile(str(second), "stderr")))
    assert not world.follow(both)
    world.append("c\n")
    world.start(both)
    world.append("d\n")
    world.until_out("a\nb\nc\nd\n")
    with second.open("a") as file:
        file.write("new\n")
    world.until_out("a\nb\nc\nd\nnew\n")
    assert len(world.launched) == 2
    world.start(world.web.replace(log_files=()))
    assert not world.pids


def test_a_service_that_is_gone_has_no_follower(world: FollowWorld) -> None:
    world.start()
    world.append("last\n")
    world.output.forget("web")
    world.until(lambda: not world.pids and world.output.reader.streams == {})
    assert world.out == b"last\n"
    world.append("between\n")
    world.start()  # a new service with that name
    world.append("new\n")
    world.until_out("last\nnew\n")


def test_the_end_of_the_container_waits_for_the_last_lines(world: FollowWorld) -> None:
    world.start()
    world.append("x" * 300_000 + "\n")
    world.output.followers.finish(lambda: 10.0)
    world.output.reader.drain_service("web")
    while not world.out.endswith(b"\n"):
        world.turn()
    assert len(world.out) == 300_001


def test_a_reexecution_loses_nothing(world: FollowWorld) -> None:
    """The follower runs on, also while an end waits for it. Its end is reported to the new object."""
    world.start()
    world.append("a\nb")
    world.until_out("a\n")
    world.output.followers.has_read("web")
    plain = world.output.to_plain()
    descriptors = world.output.descriptors()
    followed = world.output.followers._current["web"]
    assert {pipe.writer for pipe in followed.pipes} <= set(descriptors)
    for fd in (*followed.process.descriptors(), *world.output.reader.streams):
        world.poller.remove(fd) if fd == followed.process.output else None
    world.output.reader._sources.close()
    world.append("c\n")
    world.output = world.fresh()
    world.output.restore(plain)
    (key,) = world.output.tasks()
    start, errors, _ = world._started[key]
    world._started[key] = start, errors, world.output.tasks()[key]
    assert world.follow()
    assert not world.output.followers.has_read("web")
    world.until(lambda: world.reports)
    world.until_out("a\nbc\n")
    world.kill(key)
    world.until(lambda: world.said)
    world.append("d\n")
    world.until_out("a\nbc\nd\n")


def test_a_shortage_leaves_nothing_behind(world: FollowWorld) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    before = len(os.listdir("/proc/self/fd"))
    world.output.followers._context.run_program, launch = refuse, world.output.followers._context.run_program
    with pytest.raises(OSError, match="temporarily"):
        world.follow()
    world.until(lambda: not world.output.reader.streams)
    assert len(os.listdir("/proc/self/fd")) == before
    world.output.followers._context.run_program = launch
    world.start()


def test_the_rights_of_the_user() -> None:
    assert follower._rights(None) == "-"
    assert follower._rights(Credentials(33, 34, (4, 35))) == "33 34 4 35"
