"""Readiness by a descriptor, with real pipes."""

import os
from collections.abc import Iterator

import pytest

from cohabit.engine.events import Probed
from cohabit.reactor.health.notification_fd import NotificationFds
from unit.reactor_world import World, asked

WEB = asked("fd", fd=7)


class PipeWorld(World):
    """A loop with the pipe of one service."""

    def __init__(self) -> None:
        super().__init__()
        self.pipes = NotificationFds(self.context)
        self.writer, self.number = self.pipes.open(WEB)

    def write(self, data: bytes) -> None:
        """Write, and run the loop until all of it is read."""
        os.write(self.writer, data)
        while not self.idle():
            self.turn()


@pytest.fixture
def world() -> Iterator[PipeWorld]:
    """Give a world for one test. No descriptor may be left open."""
    before = set(os.listdir("/proc/self/fd"))
    world = PipeWorld()
    yield world
    world.pipes.close("web")
    os.close(world.writer)
    world.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_first_newline_means_ready(world: PipeWorld) -> None:
    """The descriptor number is that of the file. The first newline, in any piece, is the only answer."""
    assert world.number == 7
    world.write(b"any")
    world.write(b"thing" * 2000)
    assert world.facts == []
    world.write(b"!\n\n")
    assert world.facts == [Probed("web", passed=True)]
    assert world.pipes.descriptors() == []


def test_end_of_file_without_a_newline_does_not_count(world: PipeWorld) -> None:
    """A service that closes the pipe, or ends, without a newline gives no answer."""
    world.write(b"almost")
    os.close(world.writer)
    world.until(lambda: not world.pipes.descriptors())
    assert world.facts == []
    world.writer = os.open(os.devnull, os.O_WRONLY)


def test_the_pipe_of_an_earlier_start_is_closed(world: PipeWorld) -> None:
    """Writing to the pipe of an earlier start fails. After close a newline does not count."""
    old = world.writer
    world.writer, _ = world.pipes.open(WEB)
    with pytest.raises(BrokenPipeError):
        os.write(old, b"\n")
    os.close(old)
    os.write(world.writer, b"\n")
    world.pipes.close("web")
    world.turn()
    assert world.facts == []


def test_reexecution(world: PipeWorld) -> None:
    """A line written during the re-execution is read after it."""
    plain = world.pipes.to_plain()
    for fd in world.pipes.descriptors():
        world.poller.remove(fd)
    os.write(world.writer, b"\n")
    world.pipes = NotificationFds(world.context)
    world.pipes.restore(plain)
    world.until(lambda: world.facts)
    assert world.facts == [Probed("web", passed=True)]
