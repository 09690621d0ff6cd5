"""The thread that talks to event listeners, over the pipes that process 1 passes on."""

import os
import socket
from collections.abc import Iterator

import pytest

from cohabit.gateway.configuration import EventListener
from cohabit.gateway.listeners.dispatcher import Dispatcher

NAME = "listener"
EVENTS = ("REMOTE_COMMUNICATION",)


class World:
    """A dispatcher, and the other end of its channel."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.dispatcher = Dispatcher([EventListener(NAME, (NAME,), EVENTS, 10)], "supervisor", theirs)
        self.theirs = theirs
        self.dispatcher.start()

    def listener(self) -> tuple[int, int]:
        """Start a listener; its standard input and output."""
        stdin, stdout = os.pipe(), os.pipe()
        socket.send_fds(self.channel, [NAME.encode()], [stdin[1], stdout[0]])
        os.close(stdin[1])
        os.close(stdout[0])
        return stdin[0], stdout[1]

    def post(self, text: str) -> None:
        """Post an event."""
        self.dispatcher.post((EVENTS[0], text))


@pytest.fixture
def world() -> Iterator[World]:
    """One with a pool of one listener."""
    world = World()
    yield world
    world.channel.close()


def read_event(stdin: int) -> str:
    """The payload of the next event."""
    header = b""
    while not header.endswith(b"\n"):
        header += os.read(stdin, 1)
    size = int(header.rpartition(b":")[2])
    data = b""
    while len(data) < size:
        data += os.read(stdin, size - len(data))
    return data.decode()


def test_a_listener_that_answers_before_it_has_read_gets_whole_events(world: World) -> None:
    """The next one follows when the pipe has room for it, and waits until then."""
    long = "x" * 1_000_000
    stdin, stdout = world.listener()
    os.write(stdout, b"READY\n")
    world.post(long)
    os.read(stdin, 1)  # it has begun
    os.write(stdout, b"RESULT 2\nOKREADY\n")
    world.post("second")
    world.post("third")
    data = b"v"
    while b"second" not in data:
        data += os.read(stdin, 65_536)
    assert data.count(b"x" * 1_000_000 + b"ver:3.0 ") == 1
    os.write(stdout, b"RESULT 2\nOKREADY\n")
    assert read_event(stdin) == "third"
    os.close(stdin)
    os.close(stdout)


def test_a_listener_that_has_closed_its_input_loses_only_its_event(world: World) -> None:
    """Its end follows: the event goes to its successor."""
    stdin, stdout = world.listener()
    os.close(stdin)
    os.write(stdout, b"READY\n")
    world.post("first")
    os.close(stdout)
    stdin, stdout = world.listener()
    os.write(stdout, b"READY\n")
    assert read_event(stdin) == "first"
    os.close(stdin)
    os.close(stdout)
