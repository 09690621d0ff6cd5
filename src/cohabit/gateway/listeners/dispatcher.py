"""The thread that talks to the event listeners.

Process 1 starts them, and passes their standard input and output, one socket, with a message for each start. Other
threads post events; a counter of eventfd(2) wakes this one. Nothing here blocks: what a listener does not read stays
here, at most one event for each.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from queue import Empty, SimpleQueue

from cohabit.gateway.listeners.pool import Pool
from cohabit.gateway.listeners.types import Event, is_wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.gateway.configuration import EventListener

_READ_BYTES = 65_536
_NAME_BYTES_MAX = 4096


class _Connection:
    """Standard input and output of a running listener. unsent: of the event that it is being sent."""

    def __init__(self, pool: Pool, name: str, socket: socket.socket) -> None:
        self.pool = pool
        self.name = name
        self.socket = socket
        self.unsent = b""


class Dispatcher:
    """All pools. channel: the socket on which process 1 passes those of the listeners that it starts."""

    def __init__(self, listeners: Sequence[EventListener], identifier: str, channel: socket.socket) -> None:
        self._channel = channel
        self._pools = [
            Pool(
                one.group,
                one.events,
                one.buffer_size,
                identifier=identifier,
                send=self._send,
                dropped=_overflow,
            )
            for one in listeners
        ]
        self._by_process = {
            process: pool for one, pool in zip(listeners, self._pools, strict=True) for process in one.processes
        }
        self._subscribed = {name for one in listeners for name in one.events}
        self._connections: dict[str, _Connection] = {}
        self._by_fd: dict[int, _Connection] = {}
        self._posted: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self._wake_up = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._serial = -1
        self._poll.register(self._wake_up, select.POLLIN)
        self._poll.register(channel, select.POLLIN)

    def wants(self, name: str) -> bool:
        """Whether a pool wants events of this type."""
        return is_wanted(name, self._subscribed)

    def post(self, event: tuple[str, str]) -> None:
        """Pass a type and a payload on to the pools. From any thread."""
        if self.wants(event[0]):
            self._posted.put(event)
            os.eventfd_write(self._wake_up, 1)

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            for fd, event in self._poll.poll():
                if fd == self._wake_up:
                    os.eventfd_read(fd)
                    self._distribute()
                elif fd == self._channel.fileno():
                    self._take_over()
                elif fd in self._by_fd:  # not closed by what was handled before
                    self._serve(self._by_fd[fd], event)

    def _distribute(self) -> None:
        while True:
            try:
                name, payload = self._posted.get_nowait()
            except Empty:
                return
            self._serial += 1
            event = Event(self._serial, name, payload)
            for pool in self._pools:
                pool.accept(event)

    def _take_over(self) -> None:
        """A listener was started."""
        data, fds, _, _ = socket.recv_fds(self._channel, _NAME_BYTES_MAX, 1)
        if not data:
            self._poll.unregister(self._channel)  # process 1 has ended
        name = data.decode()
        pool = self._by_process.get(name)
        if pool is None or not fds:
            for fd in fds:
                os.close(fd)
            return
        self._end(name)
        connection = self._connections[name] = _Connection(pool, name, socket.socket(fileno=fds[0]))
        connection.socket.setblocking(False)
        self._by_fd[fds[0]] = connection
        self._poll.register(fds[0], select.POLLIN)
        pool.started(name)

    def _serve(self, connection: _Connection, event: int) -> None:
        if event & select.POLLOUT:
            self._write(connection)
        if not event & ~select.POLLOUT:
            return
        try:
            data = connection.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            connection.pool.received(connection.name, data)
        else:
            self._end(connection.name)

    def _end(self, name: str) -> None:
        """A listener has ended: it has closed its standard input and output."""
        connection = self._connections.pop(name, None)
        if connection is None:
            return
        fd = connection.socket.fileno()
        self._poll.unregister(fd)
        del self._by_fd[fd]
        connection.socket.close()
        connection.pool.ended(name)

    def _send(self, name: str, data: bytes) -> bool:
        connection = self._connections.get(name)
        if connection is None:
            return False
        connection.unsent = data
        self._poll.modify(connection.socket.fileno(), select.POLLIN | select.POLLOUT)
        return True

    def _write(self, connection: _Connection) -> None:
        try:
            sent = connection.socket.send(connection.unsent, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:  # it has closed its standard input; its end follows
            sent = len(connection.unsent)
        connection.unsent = connection.unsent[sent:]
        if not connection.unsent:
            self._poll.modify(connection.socket.fileno(), select.POLLIN)


def _overflow(name: str, event: Event) -> None:
    print(f"pool {name} event buffer overflowed, discarding event {event.serial}", file=sys.stderr, flush=True)
