"""Log files as destinations: the pipe to the log writer, what it confirms, and its replacement."""

import errno
import fcntl
import marshal
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cohabit.reactor.logs import file, log_writer
from cohabit.reactor.logs.file import FileSink
from cohabit.reactor.logs.file_writers import FileWriters, mount_point
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.processes.children import Children
from cohabit.tasks.log_writer import Writer
from unit.reactor_world import context_of, ready

PIPE_SIZE = 1_048_576


class Child:
    """The other end of the socket to a log writer."""

    def __init__(self, key: str, spec: SpawnSpec, ended: Any) -> None:
        self.key = key
        self.ended = ended
        self.socket = socket.socket(fileno=os.dup(spec.stdio[0]))
        self.socket.settimeout(5)
        self.pipes: list[int] = []

    def take(self) -> tuple[Any, ...]:
        """Receive one message, and keep its descriptor."""
        data, fds, *_ = socket.recv_fds(self.socket, 65_536, 1)
        self.pipes += fds
        message: tuple[Any, ...] = marshal.loads(data)  # noqa: S302 - from the code under test
        return message

    def answer(self, *message: Any) -> None:
        """Send a message."""
        self.socket.send(marshal.dumps(message))

    def read(self, size: int = 1 << 21) -> bytes:
        """Read from the pipe of the last file that was opened."""
        return os.read(self.pipes[-1], size)

    def end(self) -> None:
        """Close everything, as the end of a process does."""
        for fd in self.pipes:
            os.close(fd)
        self.pipes.clear()
        self.socket.close()


class World:
    """FileWriters with children that do nothing by themselves."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.warnings: list[str] = []
        self.resumed: list[FileSink] = []
        self.refuses = False
        self.poller = Poller()
        self.writers = self.new()

    def new(self) -> FileWriters:
        """Make another one, as after a re-execution."""
        context = context_of(
            self.poller, run_program=self.launch, log=lambda _level, _service, text: self.warnings.append(text)
        )
        return FileWriters(context, self.resumed.append)

    def launch(self, key: str, spec: SpawnSpec, ended: Any) -> None:
        """As Children."""
        if self.refuses:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.children.append(Child(key, spec, ended))

    @property
    def child(self) -> Child:
        """The last child."""
        return self.children[-1]

    def handle(self) -> None:
        """Handle the sockets that are ready."""
        self.poller.wait(0)

    def close(self) -> None:
        """End the children, and close the connections to them."""
        for child in self.children:
            child.end()
        for sink in self.writers._sinks():
            sink.disconnect()
        for writer in self.writers._writers.values():
            writer._disconnect()
        self.poller.close()


@pytest.fixture
def world() -> Iterator[World]:
    """Give the world."""
    world = World()
    yield world
    world.close()


def opened(world: World, data: bytes = b"one\n") -> FileSink:
    """Make a sink, write to it, and receive the first message."""
    sink = world.writers.sink("/var/log/web.log")
    sink.set_rotation(10, 3, compress=True)
    sink.write(data)
    assert world.child.take() == ("open", sink.number, "/var/log/web.log", 10, 3, True, None)
    return sink


def test_the_first_write_starts_the_child_and_opens_the_file(world: World) -> None:
    """Nothing is started for a file to which nothing is written."""
    world.writers.sink("/var/log/unused.log")
    assert world.children == []
    opened(world)
    assert world.child.read() == b"one\n"
    assert world.child.key.startswith(log_writer.KEY)


def test_a_full_pipe_blocks_until_it_is_read(world: World) -> None:
    """And nothing is lost."""
    data = b"".join(b"%0999d\n" % number for number in range(2000))
    sink = opened(world, data)
    assert (sink.blocked, sink.pending_bytes) == (True, len(data))
    received = b""
    while len(received) < len(data):
        received += world.child.read()
        sink.flush()
    assert (received, sink.blocked, sink.pending_bytes) == (data, False, len(data))


def test_what_is_confirmed_is_forgotten(world: World) -> None:
    """Also a part of a piece."""
    sink = opened(world, b"one\ntwo\n")
    world.child.answer("position", sink.number, (4, 1, 2, 104))
    world.handle()
    assert (sink.pending_bytes, sink.position) == (4, (4, 1, 2, 104))
    world.child.answer("position", sink.number, (8, 1, 2, 108))
    world.handle()
    assert sink.pending_bytes == 0


def test_the_next_child_gets_the_position_and_what_follows_it(world: World) -> None:
    """A child that ran for a while is replaced at once."""
    sink = opened(world, b"one\ntwo\n")
    world.child.answer("position", sink.number, (4, 1, 2, 104))
    world.writers._writer("/")._started_at = time.monotonic() - 60
    first = world.child
    first.end()
    first.ended(137, "")
    why = "ended with SIGKILL (killed) (the next one writes what is missing; no line is lost)"
    assert world.warnings == [f"the process that writes log files {why}"]
    assert (world.resumed, sink.blocked) == ([sink], True)
    sink.flush()
    assert world.child is not first
    assert world.child.take() == ("open", sink.number, "/var/log/web.log", 10, 3, True, (4, 1, 2, 104))
    assert world.child.read() == b"two\n"
    assert world.child.key != first.key  # the first one may not be reaped yet


def test_a_child_that_ends_soon_is_replaced_later(world: World) -> None:
    """Not before one second after its start."""
    sink = opened(world)
    world.child.end()
    world.child.ended(1, "")
    sink.flush()
    assert len(world.children) == 1
    assert sink.retry_at is not None
    assert sink.fd == -1
    world.writers._writer("/").start_at = 0.0
    sink.flush()
    assert len(world.children) == 2
    assert sink.retry_at is None


def test_the_end_of_the_socket_is_enough(world: World) -> None:
    """The child is not reaped yet: the file goes on with the next one."""
    sink = opened(world)
    world.child.end()
    world.handle()
    assert sink.blocked
    world.writers._writer("/").start_at = 0.0
    sink.flush()
    assert world.child.take()[0] == "open"
    world.children[0].ended(137, "")
    assert not sink.blocked


def test_without_room_for_a_child_the_lines_wait(world: World) -> None:
    """They are written later."""
    world.refuses = True
    sink = world.writers.sink("/var/log/web.log")
    sink.write(b"one\n")
    assert (sink.blocked, sink.fd) == (True, -1)
    world.refuses = False
    world.writers._writer("/").start_at = 0.0
    sink.flush()
    assert world.child.take()[0] == "open"
    assert world.child.read() == b"one\n"


def test_a_file_that_cannot_be_written_blocks(world: World) -> None:
    """Until a position is confirmed. The reason is passed on."""
    sink = opened(world)
    world.child.answer("trouble", sink.number, "cannot write it")
    world.child.answer("failing", sink.number, "No space left on device")
    world.handle()
    assert (world.warnings, sink.blocked, sink.fd) == (["cannot write it"], True, -1)
    assert sink.problem == "No space left on device"
    sink.write(b"two\n")
    assert world.child.read() == b"one\n"
    world.child.answer("position", sink.number, (4, 1, 2, 4))
    world.handle()
    assert world.resumed == [sink]
    sink.flush()
    assert world.child.read() == b"two\n"


def test_other_limits_are_sent(world: World) -> None:
    """Once."""
    sink = opened(world)
    sink.set_rotation(10, 3, compress=True)
    sink.set_rotation(20, 4, compress=False)
    assert world.child.take() == ("rotation", sink.number, 20, 4, False)


def test_drain_waits_for_the_confirmation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for it, and ends with it."""
    sink = opened(world)
    real = select.poll

    def answering() -> Any:
        assert world.child.take() == ("confirm", sink.number, 4)
        world.child.answer("position", sink.number, (4, 1, 2, 4))
        return real()

    monkeypatch.setattr(select, "poll", answering)
    sink.drain(lambda: 1000.0)
    assert sink.pending_bytes == 0


def test_drain_gives_up_without_progress(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all calls."""
    monkeypatch.setattr(file, "_STALL_SECONDS", 0.01)
    sink = opened(world)
    sink.drain(lambda: 1000.0)
    monkeypatch.setattr(file, "_STALL_SECONDS", 1000.0)
    sink.drain(lambda: 1000.0)
    assert sink.pending_bytes == 4


def test_drain_starts_another_child(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The final SIGKILL has ended the first one; a second failure ends the attempts."""
    monkeypatch.setattr(file, "_STALL_SECONDS", 0.01)
    sink = opened(world)
    world.writers.stop(end=False)
    world.child.end()
    world.child.ended(137, "")
    assert world.warnings == []
    sink.drain(lambda: 1000.0)
    assert world.child.take()[0] == "open"
    assert world.child.read() == b"one\n"


def test_close_ends_the_file_and_the_last_one_the_child(world: World) -> None:
    """After everything in the pipe was read."""
    sink = opened(world)
    sink.close()
    assert (world.child.read(), world.child.read()) == (b"one\n", b"")
    world.child.answer("closed", sink.number)
    world.handle()
    assert world.child.socket.recv(100) == b""


def test_a_file_that_is_not_used_is_closed_when_everything_is_confirmed(world: World) -> None:
    """Its owner is called then, and not for the end of a file that was closed."""
    sink = opened(world, b"one\ntwo\n")
    sink.unused = True
    world.child.answer("position", sink.number, (4, 1, 2, 4))
    world.handle()
    assert world.resumed == []
    world.child.answer("position", sink.number, (8, 1, 2, 8))
    world.handle()
    assert world.resumed == [sink]
    sink.close()
    world.child.answer("position", sink.number, (8, 0, 0, 0))
    world.handle()
    assert world.resumed == [sink]


def test_a_closed_file_ends_with_the_child(world: World) -> None:
    """Everything was confirmed before."""
    sink = opened(world)
    other = world.writers.sink("/var/log/other.log")
    world.child.answer("position", sink.number, (4, 1, 2, 4))
    world.handle()
    sink.close()
    world.child.end()
    world.children[0].ended(137, "")
    assert list(world.writers._writer("/").files) == [other.number]
    assert len(world.children) == 1


def test_all_files_are_drained_at_the_same_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files that cannot be written take as long as one."""
    monkeypatch.setattr(file, "_STALL_SECONDS", 0.2)
    sinks = [world.writers.sink(f"/var/log/{number}.log") for number in range(20)]
    for sink in sinks:
        sink.write(b"one\n")
    began = time.monotonic()
    for sink in sinks:
        sink.drain(lambda: 1000.0)
    assert 0.2 <= time.monotonic() - began < 1.0


def test_a_file_has_a_moment_when_the_time_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another destination has used it up: what is written is not reported as missing."""
    sink = opened(world)
    real = select.poll

    def answering() -> Any:
        world.child.answer("position", sink.number, (4, 1, 2, 4))
        return real()

    monkeypatch.setattr(select, "poll", answering)
    sink.drain(lambda: 0.0)
    assert sink.pending_bytes == 0


def test_a_reexecution_keeps_the_connection(world: World) -> None:
    """Nothing is written before the first flush; the numbers are those that the child knows."""
    first = world.writers.sink("/var/log/first.log")
    sink = opened(world, b"one\ntwo\n")
    sink.write(b"x" * (PIPE_SIZE + 1))
    states = marshal.loads(marshal.dumps((world.writers.to_plain(), first.to_plain(), sink.to_plain())))  # noqa: S302
    kept = {*world.writers.descriptors(), *sink.descriptors()}
    assert len(kept) == 2
    ended = world.writers.tasks()
    world.poller.remove(states[0]["/"]["control"])
    world.writers._writers["/"].channel._socket.detach()  # type: ignore[union-attr]
    world.writers = world.new()
    again, other = world.writers.sink("/var/log/web.log"), world.writers.sink("/var/log/first.log")
    world.writers.restore(states[0])
    world.writers.restore_sink(again, states[2])
    world.writers.restore_sink(other, states[1])
    assert world.writers.tasks().keys() == ended.keys()
    assert (again.number, other.number, again.retry_at) == (sink.number, first.number, 0.0)
    assert world.writers.sink("/var/log/third.log").number not in (again.number, other.number)
    world.child.answer("position", again.number, (4, 1, 2, 4))
    world.handle()
    assert again.pending_bytes == PIPE_SIZE + 5
    assert len(world.children) == 1


def test_a_path_belongs_to_the_nearest_mount_point() -> None:
    """Without a look at the path itself."""
    assert mount_point("/proc/self/no/such/file") == "/proc"
    assert mount_point("/no/such/directory/web.log") == "/"


@pytest.mark.parametrize(
    ("has_proc", "children", "over"),
    [(True, [7], True), (True, [7, 8], False), (True, [], False), (False, [7], False)],
    ids=["only the log writer", "another child", "not seen", "no /proc"],
)
def test_the_sweep_does_not_wait_for_a_log_writer(has_proc: bool, children: list[int], over: bool) -> None:
    """Unless children cannot be seen: then the log writers are ended first, and the next ones begin after their end."""
    parts: Any = object.__new__(Children)
    parts._by_pid = {7: SimpleNamespace(pid=7, key=f"{log_writer.KEY}0:/")}
    parts.trees = SimpleNamespace(has_proc=has_proc, children=lambda: children)
    assert parts._only_outlasting() is over


def test_a_message_that_the_system_refuses_is_sent_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many descriptors are in flight: the socket is writable, and waiting for that would be a busy loop."""
    sink = opened(world)
    channel: Any = world.writers._writer("/").channel
    real = channel._socket

    def refuse(*_: object) -> int:
        raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))

    monkeypatch.setattr(channel, "_socket", SimpleNamespace(sendmsg=refuse, recv=real.recv, close=real.close))
    sink.set_rotation(20, 4, compress=False)
    assert ready(world.poller) == []
    deadline = world.poller.deadline()
    assert deadline is not None
    monkeypatch.setattr(channel, "_socket", real)
    world.poller.run_timers(deadline)
    assert world.child.take() == ("rotation", sink.number, 20, 4, False)
    assert world.poller.deadline() is None


def test_an_answer_that_the_system_refuses_is_not_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second child beside the first one would write lines twice."""
    sink = opened(world)
    channel: Any = world.writers._writer("/").channel

    def refuse(_: int) -> bytes:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with monkeypatch.context() as patch:
        patch.setattr(channel, "_socket", SimpleNamespace(recv=refuse))
        world.writers._writer("/").receive()
    assert not sink.blocked
    world.child.answer("position", sink.number, (4, 1, 2, 4))
    world.handle()
    assert sink.pending_bytes == 0


def test_a_child_that_ends_while_the_container_stops_is_replaced(world: World) -> None:
    """A service that waits for its file goes on. Nothing is reported, since the final SIGKILL may be the cause."""
    sink = opened(world)
    world.writers.stop(end=False)
    world.child.end()
    world.children[0].ended(137, "")
    assert (world.resumed, world.warnings) == ([sink], [])


def test_the_pipe_to_a_child_that_has_ended_is_not_kept(world: World) -> None:
    """Not over a re-execution, where another one is opened."""
    sink = opened(world)
    assert len(sink.descriptors()) == 1
    world.child.end()
    world.handle()
    assert sink.descriptors() == []


def test_the_log_writer_reports_a_file_without_a_descriptor() -> None:
    """The kernel had none for it: the other files go on."""
    answers: list[tuple[Any, ...]] = []
    Writer(answers.append).handle(("open", 7, "/var/log/web.log", 0, 1, False, None), [])
    why = "cannot write /var/log/web.log: too many open files (raise ulimit -n)"
    assert answers == [("trouble", 7, why), ("failing", 7, "too many open files")]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[tuple[Writer, int, Path]]:
    """Give a log writer with one file, the pipe to it, and the file."""
    path = tmp_path / "web.log"
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    log_writer = Writer(lambda _: None)
    log_writer.handle(("open", 7, str(path), 0, 1, False, None), [reader])
    yield log_writer, writer, path
    os.close(writer)
    while log_writer.descriptors():
        log_writer.readable({reader})


def test_no_unfinished_copy_is_left_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compressor has the lowest priority: it may still be running when the container has stopped."""
    monkeypatch.setattr("cohabit.tasks.log_writer.program", lambda *_: ["/bin/sleep", "1000"])
    reader, pipe = os.pipe()
    writer = Writer(lambda _: None)
    writer.handle(("open", 7, str(tmp_path / "web.log"), 4, 9, True, None), [reader])
    os.write(pipe, b"one\ntwo\n")
    writer.readable({reader})
    os.write(pipe, b"three\n")
    os.close(pipe)
    assert len([one for one in tmp_path.iterdir() if one.name.endswith(".compressing")]) == 1
    writer.handle(("stop compressing",), [])
    writer.finish()
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {
        "web.log": b"three\n", "web.log.1": b"two\n", "web.log.2": b"one\n",
    }  # fmt: skip
    ((fd, (pid, _)),) = writer._compressors.items()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    os.close(fd)
    os.close(reader)


def test_a_long_beginning_after_a_long_line_is_not_torn(written: tuple[Writer, int, Path]) -> None:
    """The buffer has room for what follows, whatever its size."""
    log_writer, writer, path = written
    fds = set(log_writer.descriptors())
    for data in (b"x" * 600_000, b"\n" + b"y" * 300_000, b"z\n"):
        os.write(writer, data)
        for _ in range(4):
            if select.select(fds, [], [], 0)[0]:
                log_writer.readable(fds)
    assert path.read_bytes() == b"x" * 600_000 + b"\n" + b"y" * 300_000 + b"z\n"


def test_a_confirmation_does_not_end_a_line_that_came_later(written: tuple[Writer, int, Path]) -> None:
    """Process 1 may have sent the beginning of another line since it asked."""
    log_writer, writer, path = written
    os.write(writer, b"one\ntw")
    log_writer.handle(("confirm", 7, 4), [])
    assert path.read_bytes() == b"one\n"
    os.write(writer, b"o")
    log_writer.handle(("confirm", 7, 7), [])
    assert path.read_bytes() == b"one\ntwo"


def test_a_child_that_is_to_end_is_read_until_it_has_closed_its_files(world: World) -> None:
    """Without /proc, before the final sweep: the next child must know what this one has written."""
    sink = opened(world)
    other = world.writers.sink("/var/log/other.log")
    other.write(b"x\n")
    world.child.take()
    world.writers.stop(end=True)
    first = world.child
    assert first.take() == ("stop compressing",)
    sink.write(b"two\n")
    sink.flush()
    world.writers._writer("/").start_at = 0.0
    sink.flush()
    assert (world.children, sink.blocked) == ([first], True)  # it waits for the end of the first child
    for each, size in ((sink, 4), (other, 2)):
        first.answer("position", each.number, (size, 1, 2, size))
        first.answer("closed", each.number)
    world.handle()
    assert first.socket.recv(100) == b""  # and so it ends
    sink.flush()
    assert world.child.take() == ("open", sink.number, "/var/log/web.log", 10, 3, True, (4, 1, 2, 4))
    assert world.child.read() == b"two\n"
    first.ended(0, "")
    assert (world.warnings, other.pending_bytes) == ([], 0)


def test_the_end_of_a_child_without_files_is_not_reported(world: World) -> None:
    """Not even if the next one has been started meanwhile."""
    sink = opened(world)
    world.child.answer("position", sink.number, (4, 1, 2, 4))
    world.handle()
    first = world.child
    sink.close()
    first.answer("closed", sink.number)
    world.handle()
    world.writers._writer("/").start_at = 0.0
    world.writers.sink("/var/log/next.log").write(b"x\n")
    assert world.child is not first
    first.ended(0, "")
    assert world.warnings == []
