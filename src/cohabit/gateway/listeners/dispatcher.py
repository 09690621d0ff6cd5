"""The thread that talks to the event listeners.

Process 1 starts them, and passes the pipes of their standard input and output with a message for each start. Other
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
    from collections.abc import Callable, Sequence

    from cohabit.gateway.configuration import EventListener

_READ_BYTES = 65_536
_NAME_BYTES_MAX = 4096
_FDS = 2  # of a message: what we write to, and what we read


class _Connection:
    """Standard input and output of a running listener: what we write to, and read.

    unsent: of the event that it is being sent. Its pipe is polled only while there is some.
    """

    def __init__(self, pool: Pool, name: str, stdin: int, stdout: int) -> None:
        self.pool = pool
        self.name = name
        self.stdin = stdin
        self.stdout = stdout
        self.unsent = b""


class Dispatcher:
    """All pools. channel: the socket on which process 1 passes the pipes of the listeners that it starts."""

    def __init__(self, listeners: Sequence[EventListener], identifier: str, channel: socket.socket) -> None:
        self._channel = channel
        self._identifier = identifier
        self._listeners: dict[str, EventListener] = {}
        self._pools: dict[str, Pool] = {}
        self._by_process: dict[str, Pool] = {}
        self._subscribed: frozenset[str] = frozenset()
        self._connections: dict[str, _Connection] = {}
        self._early: dict[str, list[int]] = {}  # pipes of listeners whose pool is not added yet
        self._by_fd: dict[int, _Connection] = {}
        self._posted: SimpleQueue[tuple[str, str] | Callable[[], None]] = SimpleQueue()
        self._wake_up = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._serial = -1
        self._poll.register(self._wake_up, select.POLLIN)
        self._poll.register(channel, select.POLLIN)
        for one in listeners:
            self._add(one)

    def wants(self, name: str) -> bool:
        """Whether a pool wants events of this type."""
        return is_wanted(name, self._subscribed)

    def post(self, event: tuple[str, str]) -> None:
        """Pass a type and a payload on to the pools. From any thread."""
        if self.wants(event[0]):
            self._put(event)

    def change(self, pool: EventListener, added: bool, done: Callable[[], None]) -> None:
        """A pool was added, or removed. From any thread."""

        def change() -> None:
            (self._add if added else self._remove)(pool)
            done()

        self._put(change)

    def _put(self, what: tuple[str, str] | Callable[[], None]) -> None:
        self._posted.put(what)
        os.eventfd_write(self._wake_up, 1)

    def _add(self, one: EventListener) -> None:
        pool = self._pools[one.group] = Pool(
            one.group,
            one.events,
            one.buffer_size,
            identifier=self._identifier,
            send=self._send,
            dropped=_overflow,
        )
        self._by_process.update(dict.fromkeys(one.processes, pool))
        self._listeners[one.group] = one
        self._subscribe()
        for name in one.processes:
            if name in self._early:
                self._connect(name, self._early.pop(name))

    def _remove(self, one: EventListener) -> None:
        for name in one.processes:
            self._end(name)
            self._by_process.pop(name, None)
        self._pools.pop(one.group, None)
        self._listeners.pop(one.group, None)
        self._subscribe()

    def _subscribe(self) -> None:
        self._subscribed = frozenset(name for one in self._listeners.values() for name in one.events)

    def connected(self) -> set[str]:
        """The listeners whose pipes were passed by now. Before start()."""
        while select.select([self._channel], [], [], 0)[0] and self._take_over():
            pass
        return {*self._connections, *self._early}

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._wake_up:
                    os.eventfd_read(fd)
                    self._distribute()
                elif fd == self._channel.fileno():
                    self._take_over()
                elif fd in self._by_fd:  # not closed by what was handled before
                    self._serve(self._by_fd[fd], fd)

    def _distribute(self) -> None:
        while True:
            try:
                posted = self._posted.get_nowait()
            except Empty:
                return
            if not isinstance(posted, tuple):
                posted()
                continue
            self._serial += 1
            event = Event(self._serial, *posted)
            for pool in self._pools.values():
                pool.accept(event)

    def _take_over(self) -> bool:
        """A listener was started. False: process 1 has ended."""
        data, fds, _, _ = socket.recv_fds(self._channel, _NAME_BYTES_MAX, _FDS)
        if not data:
            self._poll.unregister(self._channel)
            return False
        name = data.decode()
        for fd in self._early.pop(name, ()):
            os.close(fd)
        if len(fds) != _FDS:  # we have no descriptor left
            for fd in fds:
                os.close(fd)
        elif name in self._by_process:
            self._connect(name, fds)
        else:
            self._early[name] = fds
        return True

    def _connect(self, name: str, fds: list[int]) -> None:
        pool = self._by_process[name]
        self._end(name)
        connection = self._connections[name] = _Connection(pool, name, *fds)
        for fd in fds:
            os.set_blocking(fd, False)
            self._by_fd[fd] = connection
        self._poll.register(connection.stdout, select.POLLIN)
        pool.started(name)

    def _serve(self, connection: _Connection, fd: int) -> None:
        if fd == connection.stdin:
            self._write(connection)
            return
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        if data:
            connection.pool.received(connection.name, data)
        else:
            self._end(connection.name)

    def _end(self, name: str) -> None:
        """A listener has ended: it has closed its standard output."""
        connection = self._connections.pop(name, None)
        if connection is None:
            return
        if connection.unsent:
            self._poll.unregister(connection.stdin)
        self._poll.unregister(connection.stdout)
        for fd in (connection.stdin, connection.stdout):
            del self._by_fd[fd]
            os.close(fd)
        connection.pool.ended(name)

    def _send(self, name: str, data: bytes) -> bool:
        connection = self._connections.get(name)
        if connection is None or connection.unsent:
            return False
        connection.unsent = data
        self._poll.register(connection.stdin, select.POLLOUT)
        return True

    def _write(self, connection: _Connection) -> None:
        try:
            sent = os.write(connection.stdin, connection.unsent)
        except BlockingIOError:
            return
        except OSError:  # it has closed its standard input; its end follows
            sent = len(connection.unsent)
        connection.unsent = connection.unsent[sent:]
        if not connection.unsent:
            self._poll.unregister(connection.stdin)
            connection.pool.dispatch()  # it may have answered before it had read all


def _overflow(name: str, event: Event) -> None:
    print(f"pool {name} event buffer overflowed, discarding event {event.serial}", file=sys.stderr, flush=True)
