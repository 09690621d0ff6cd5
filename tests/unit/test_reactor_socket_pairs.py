"""Sockets of the family "pair": what process 1 passes on to a service over them."""

import os
import socket
from collections.abc import Iterator

import pytest

from cohabit.plan.model import Plan, Service
from cohabit.plan.model import Socket as SocketRecord
from cohabit.reactor.sockets import Sockets

PLAN = Plan({"gateway": Service("gateway", ("x",), sockets=(SocketRecord("channel", "pair", "seqpacket", "gateway"),))})


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Those of a service with a pair."""
    sockets = Sockets()
    assert sockets.prepare(PLAN) == []
    yield sockets
    sockets.close()


def received(sockets: Sockets) -> tuple[bytes, bytes]:
    """The next message at the other end, and what its descriptor reads."""
    (fd,) = sockets.descriptors("gateway")
    with socket.socket(fileno=os.dup(fd)) as channel:
        data, (passed,), _, _ = socket.recv_fds(channel, 100, 1)
    with open(passed, "rb") as file:
        return data, file.read()


def pass_on(sockets: Sockets, name: str, text: bytes) -> None:
    """Pass a pipe on that ends after a text."""
    reader, writer = os.pipe()
    os.write(writer, text)
    os.close(writer)
    try:
        sockets.pass_on("gateway", name.encode(), (reader,))
    finally:
        os.close(reader)


def test_descriptors_are_passed_in_order(sockets: Sockets) -> None:
    """Each with its message, also if the service reads them later."""
    assert sockets.names("gateway") == ("channel",)
    pass_on(sockets, "a", b"first")
    pass_on(sockets, "b", b"second")
    assert received(sockets) == (b"a", b"first")
    assert received(sockets) == (b"b", b"second")


def test_a_reload_keeps_the_pair(sockets: Sockets) -> None:
    """As any other socket, until the service is gone."""
    pass_on(sockets, "a", b"text")
    assert sockets.prepare(PLAN) == []
    assert received(sockets) == (b"a", b"text")
    assert sockets.prepare(Plan({})) == []
    with pytest.raises(OSError, match="gateway is not there"):
        pass_on(sockets, "a", b"text")


def test_both_ends_cross_a_reexecution(sockets: Sockets) -> None:
    """With what was passed on before."""
    pass_on(sockets, "a", b"text")
    kept = [os.dup(fd) for fd in sockets.inheritable()]
    assert len(kept) == 2
    plain = sockets.to_plain()
    ((described, _, file, _),) = plain["sockets"]
    restored = Sockets()
    restored.restore({"sockets": [(described, kept[0], file, kept[1])], "of": plain["of"]})
    pass_on(restored, "b", b"more")
    assert [received(restored), received(restored)] == [(b"a", b"text"), (b"b", b"more")]
    restored.close()


def test_a_service_that_does_not_read_never_blocks_us(sockets: Sockets) -> None:
    """When its queue is full, there is no room: the start is tried again later."""

    def fill() -> None:
        for _ in range(100_000):
            pass_on(sockets, "a", b"")

    with pytest.raises(BlockingIOError):
        fill()
    assert received(sockets) == (b"a", b"")
