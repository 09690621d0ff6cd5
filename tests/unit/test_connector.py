"""reactor/connector.py: places are tried in turn, and nothing blocks."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from cohabit.reactor.connector import STREAM, TCP, Connector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cohabit.reactor.connector import Place


@pytest.fixture
def listening() -> Iterator[Place]:
    """A place that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield TCP, socket.AF_INET, server.getsockname()


@pytest.fixture
def silent() -> Iterator[Place]:
    """A place that does not answer: its queue of connections is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield TCP, socket.AF_INET, server.getsockname()
        for one in crowd:
            one.close()


def test_places_that_fail_at_once_are_passed_over(listening: Place, tmp_path: Path) -> None:
    connector = Connector([(STREAM, socket.AF_UNIX, f"{tmp_path}/{number}") for number in (1, 2)] + [listening])
    assert connector.advance() is connector.socket is not None
    assert connector.place == listening
    connector.close()


def test_a_place_without_an_answer_is_given_up_after_its_time(silent: Place, listening: Place) -> None:
    """The next one is tried by the next call, so that the owner sees no descriptor in between."""
    connector = Connector([silent, listening], 5.0)
    assert connector.advance(100.0) is None
    assert connector.socket is not None
    assert connector.retry_at == 105.0
    assert connector.advance(104.9) is None
    assert connector.socket is not None
    assert connector.advance(105.0) is None
    left: object = connector.socket
    assert left is None
    assert connector.retry_at == 105.0
    assert connector.advance(105.0) is connector.socket
    assert connector.place == listening
    connector.close()


def test_the_last_place_leaves_its_socket_open(silent: Place) -> None:
    """The owner removes it from epoll before it closes it."""
    connector = Connector([silent], 5.0)
    assert connector.advance(100.0) is None
    with pytest.raises(TimeoutError, match="no answer"):
        connector.advance(105.0)
    assert connector.socket is not None
    fd = connector.socket.fileno()
    os.fstat(fd)
    connector.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
