"""Readiness by a descriptor with real pipes."""

import os
from collections.abc import Iterator

import pytest

from cohabit.engine.events import Probed
from cohabit.reactor.health.notification_fd import NotificationFds
from unit.reactor_world import World, asked

WEB = asked("fd", fd=7)


class Pipes(World):
    """A world in which a service holds a pipe."""

    def __init__(self) -> None:
        super().__init__()
        self.pipes = NotificationFds(self.epoll, self.facts.append)
        self.rooms = [self.pipes]
        self.writer, self.number = self.pipes.open(WEB)

    def write(self, data: bytes) -> None:
        """Write, and have all of it read."""
        os.write(self.writer, data)
        while not self.idle():
            self.turn()


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    """Give a world for one test; nothing may be left open in it."""
    before = set(os.listdir("/proc/self/fd"))
    pipes = Pipes()
    yield pipes
    pipes.pipes.close("web")
    os.close(pipes.writer)
    pipes.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_newline_is_ready(pipes: Pipes) -> None:
    """The number is the file's; the first newline, in whatever piece it comes, is the answer, and there is one."""
    assert pipes.number == 7
    pipes.write(b"any")
    pipes.write(b"thing" * 2000)
    assert pipes.facts == []
    pipes.write(b"!\n\n")
    assert pipes.facts == [Probed("web", passed=True)]
    assert pipes.pipes.descriptors() == []


def test_an_end_without_a_newline_is_no_answer(pipes: Pipes) -> None:
    """A service that closes the pipe, or ends, without the newline has said nothing."""
    pipes.write(b"almost")
    os.close(pipes.writer)
    pipes.until(lambda: not pipes.pipes.descriptors())
    assert pipes.facts == []
    pipes.writer = os.open(os.devnull, os.O_WRONLY)


def test_nothing_after_close_nor_from_an_earlier_start(pipes: Pipes) -> None:
    """What an earlier start still holds means nothing; after close nothing does."""
    old = pipes.writer
    pipes.writer, _ = pipes.pipes.open(WEB)
    with pytest.raises(BrokenPipeError):
        os.write(old, b"\n")
    os.close(old)
    os.write(pipes.writer, b"\n")
    pipes.pipes.close("web")
    pipes.turn()
    assert pipes.facts == []


def test_crossing_a_reexecution(pipes: Pipes) -> None:
    """A line written while process 1 replaces itself is read by its next life."""
    plain = pipes.pipes.to_plain()
    for fd in pipes.pipes.descriptors():
        pipes.epoll.unregister(fd)
    os.write(pipes.writer, b"\n")
    pipes.pipes = NotificationFds(pipes.epoll, pipes.facts.append)
    pipes.rooms = [pipes.pipes]
    pipes.pipes.restore(plain)
    pipes.until(lambda: pipes.facts)
    assert pipes.facts == [Probed("web", passed=True)]
