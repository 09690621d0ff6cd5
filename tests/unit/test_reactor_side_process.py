"""Side programs with real children: nothing that is written is lost, nothing waits, and no descriptor is left open."""

from __future__ import annotations

import marshal
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from cohabit.reactor.side_process import SideProcess
from unit.reactor_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "\0test"
MIB = 1 << 20


class ProcessWorld(World):
    """A loop with one side program. received: its output; ends: how often and how it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.received = b""
        self.output_ended = 0
        self.ends: list[tuple[int, str]] = []
        self.room = 0
        self.process = self.new()

    def new(self) -> SideProcess:
        """Make an object for the program, as after a re-execution."""

        def on_room() -> None:
            self.room += 1

        return SideProcess(self.context, "test", KEY, self._read, self._ended, on_room=on_room)

    def _read(self, data: bytes) -> None:
        assert not self.ends
        self.received += data
        self.output_ended += not data

    def _ended(self, code: int, why: str) -> None:
        assert not self.process.running
        assert self.process.descriptors() == []
        self.ends.append((code, why))


@pytest.fixture
def world() -> Iterator[ProcessWorld]:
    """Give a world for one test. No descriptor may be left open."""
    before = set(os.listdir("/proc/self/fd"))
    world = ProcessWorld()
    yield world
    if world.process.running:
        world.process.kill()
        world.until(lambda: world.ends)
    world.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_everything_is_answered_before_the_end_is_reported(world: ProcessWorld) -> None:
    """More than the pipes hold is written without waiting, and the program ends with its input."""
    world.process.start(("cat",))
    data = os.urandom(3 * MIB)
    world.process.input.write(data)
    assert world.process.input.full
    world.process.input.end()
    world.process.input.write(b"too late")
    world.until(lambda: world.ends)
    assert world.received == data
    assert (world.output_ended, world.ends, world.room) == (1, [(0, "")], 1)


def test_a_program_that_does_not_read_does_not_wake_the_loop(world: ProcessWorld) -> None:
    """What it does not read is pending, and there is no room until it reads."""
    world.process.start(("cat",))
    world.until(lambda: world.pids)
    os.kill(world.pids[KEY], signal.SIGSTOP)
    world.process.input.write(b"x" * 2 * MIB)
    assert world.process.input.full
    assert world.idle()
    os.kill(world.pids[KEY], signal.SIGCONT)
    world.until(lambda: len(world.received) == 2 * MIB)
    assert (world.room, world.process.input.full) == (1, False)


@pytest.mark.parametrize(("command", "end"), [("exit 3", (3, "")), ("kill -9 $$", (137, ""))])
def test_input_after_the_end_is_dropped(world: ProcessWorld, command: str, end: tuple[int, str]) -> None:
    """The exit code reports the end; writing raises nothing."""
    world.process.start(("sh", "-c", f"echo last; {command}"))
    world.until(lambda: world.output_ended)
    world.process.input.write(b"x")
    world.until(lambda: world.ends)
    world.process.input.write(b"x")
    assert (world.received, world.ends) == (b"last\n", [end])


def test_its_memory_is_limited(world: ProcessWorld) -> None:
    """One that needs more than a gibibyte ends, and the services keep their memory."""
    world.process.start((sys.executable, "-I", "-S", "-c", "print(1, flush=True); bytearray(1 << 30)"))
    world.until(lambda: world.ends)
    assert (world.received, world.ends) == (b"1\n", [(1, "")])


def test_the_running_ones_are_listed(world: ProcessWorld) -> None:
    """For `cohabit top`: from the start to the end, with the name of the program."""
    world.process.start(("cat",))
    assert world.context.side_processes == {KEY: "test"}
    world.process.input.end()
    world.until(lambda: world.ends)
    assert world.context.side_processes == {}


def test_a_failed_exec_is_the_end(world: ProcessWorld) -> None:
    """With the reason."""
    world.process.start(("/no/such/program",))
    world.until(lambda: world.ends)
    assert world.ends == [(127, "'/no/such/program' does not exist")]


def test_a_refused_fork_leaves_no_descriptor(world: ProcessWorld) -> None:
    """And the program can be started later."""

    def refuse(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    before = os.listdir("/proc/self/fd")
    world.context.run_program = refuse
    with pytest.raises(OSError, match="temporarily"):
        world.process.start(("cat",))
    assert set(os.listdir("/proc/self/fd")) == set(before)
    assert not world.process.running
    world.context.run_program = world.launch
    world.process.start(("echo", "hello"))
    world.until(lambda: world.ends)
    assert world.received == b"hello\n"


def test_given_descriptors_are_used_instead_of_pipes(world: ProcessWorld) -> None:
    """Process 1 then has none of its own."""
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    world.process.start(("echo", "hello"), stdin=null, stdout=writer)
    assert world.process.descriptors() == []
    world.until(lambda: world.ends)
    assert (os.read(reader, 100), world.received) == (b"hello\n", b"")
    for fd in (reader, writer, null):
        os.close(fd)


def test_it_is_started_again_with_a_back_off(world: ProcessWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delay doubles, and is as at first after a run of ten seconds, and after reset(), which cancels the start."""
    now = [100.0]
    starts: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for delay in (0.1, 0.2, 0.4):
        world.process._started_at = now[0]
        assert world.process.start_later(lambda: starts.append(now[0])) == pytest.approx(delay)
        now[0] += delay
        world.poller.run_timers(now[0])
    assert starts == pytest.approx([100.1, 100.3, 100.7])
    now[0] += 10.0
    assert world.process.start_later(lambda: None) == pytest.approx(0.1)
    world.process._started_at = now[0]
    assert world.process.start_later(lambda: None) == pytest.approx(0.2)
    world.process.reset()
    assert world.poller.deadline() is None
    assert world.process.start_later(lambda: None) == pytest.approx(0.1)


def test_a_start_replaces_a_later_one(world: ProcessWorld) -> None:
    """A program is never started twice."""
    world.process.start_later(lambda: pytest.fail("started again"))
    world.process.start(("true",))
    assert world.poller.deadline() is None
    world.until(lambda: world.ends)


@pytest.mark.parametrize("ends_before", [True, False])
def test_it_keeps_running_over_a_re_execution(world: ProcessWorld, ends_before: bool) -> None:
    """What is pending and what it has not read or answered is not lost, nor that its input ends."""
    world.process.start(("cat",))
    world.until(lambda: world.pids)
    os.kill(world.pids[KEY], signal.SIGSTOP)
    data = os.urandom(MIB)
    world.process.input.write(data)
    if ends_before:
        world.process.input.end()
    kept = world.process.descriptors()
    plain = marshal.loads(marshal.dumps(world.process.to_plain()))  # noqa: S302 - our own
    for fd in kept:
        world.poller.remove(fd)
    world.process = world.new()
    world.process.restore(plain)
    assert world.process.descriptors() == kept
    start, errors, _ = world._started[KEY]
    world._started[KEY] = start, errors, world.process.ended
    os.kill(world.pids[KEY], signal.SIGCONT)
    world.process.input.write(b"more")
    world.process.input.end()
    world.until(lambda: world.ends)
    assert world.received == data + (b"" if ends_before else b"more")
