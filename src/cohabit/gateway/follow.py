"""Logs that are followed over HTTP (`supervisorctl tail -f`, `maintail -f`).

They come from process 1, as for `cohabit logs -f`, so no file has to be watched, and it does not matter where the
output of a process goes.
"""

from __future__ import annotations

import select

from cohabit.client.client import stream_options
from cohabit.gateway.faults import Fault
from cohabit.plan.model import OWN_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from cohabit.client.connection import Answer
    from cohabit.gateway.gateway import Gateway

_LINES = 10  # of those that were written before, as tail(1)
CHANNELS = ("stdout", "stderr")


def follow_log(gateway: Gateway, name: str, channel: str, connection: socket.socket) -> Iterator[bytes] | None:
    """The last lines of a process, and what it writes from now on; None if there is no such process or channel.

    connection: when its client goes, the output ends.
    """
    try:
        process = gateway.active.single(name)
    except Fault:
        return None
    if channel not in CHANNELS:
        return None
    return _records(_request(gateway, process.namespec), connection, (channel,))


def follow_main_log(gateway: Gateway, connection: socket.socket) -> Iterator[bytes]:
    """The same of cohabit's own messages."""
    return _records(_request(gateway, OWN_NAME), connection, CHANNELS)


def _request(gateway: Gateway, name: str) -> Answer:
    return gateway.client().checked("logs", [name, *stream_options(None, _LINES, follow=True)], streaming=True)


def _records(answer: Answer, connection: socket.socket, channels: tuple[str, ...]) -> Iterator[bytes]:
    try:
        while not _gone(answer, connection) and (header := answer.read_line()):
            _, channel, _, length = header.decode().split(" ")
            data = answer.read(int(length))
            if channel in channels:
                yield data
    finally:
        answer.close()


def _gone(answer: Answer, connection: socket.socket) -> bool:
    """Wait for more of the answer; True if the client goes before that."""
    while not answer.has_data:
        readable, _, _ = select.select([connection.fileno(), answer.fileno()], [], [])
        if connection.fileno() in readable:
            return True
        answer.receive()
    return False
