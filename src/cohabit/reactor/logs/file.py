"""A log file as a destination. The file itself is written by a child (log_writer.py, tasks/log_writer.py).

The child reads the file's lines from a pipe of its own. A full pipe is what a full reader is for other destinations:
the sink is `blocked` until `fd` is writable. What the child has not confirmed is kept here, at most the size of the
pipe and two reads. When the child dies, it is written to the pipe of the next child, together with the last confirmed
position, so that nothing is lost and nothing is written twice.
"""

from __future__ import annotations

import select
import time

from cohabit.reactor.linux import os
from cohabit.reactor.poller import is_ready
from cohabit.reactor.shortage import RETRY_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cohabit.reactor.logs.log_writer import LogWriter, Position

_AT_ONCE = 0.0  # monotonic seconds, always in the past
_STALL_SECONDS = 1.0  # in drain(): a file of which nothing is written for this long is given up
_STARTS_MAX = 2  # in drain()
_LEAST_SECONDS = 0.1  # in drain(): each file has at least this, even if another destination has used up the time


class _Drain:
    """What drain() keeps from call to call. asked: the connection on which the position was asked for, -1 for none.

    stalled: the file is given up. starts_left: how many more children may be started.
    """

    __slots__ = ("asked", "give_up_at", "last_bytes", "least_until", "stalled", "starts_left")

    def __init__(self) -> None:
        self.asked = -1
        self.stalled = False
        self.starts_left = _STARTS_MAX
        self.last_bytes = 0
        self.give_up_at = self.least_until = 0.0


class FileSink:
    """One log file; a sink (destination.py). number: identifies it in messages to and from its writer.

    position: what the writer has confirmed last, None before the file was opened (tasks/log_file.py). problem: why
    the writer cannot write it now, "" while it can. unused: nothing writes to it any more, and it is to be closed when
    everything is confirmed. closing: it was closed. siblings(): all files, which are drained at the same time.
    """

    byte_stream = False
    lost = ""  # a file is never given up

    def __init__(self, path: str, number: int, writer: LogWriter, siblings: Callable[[], Iterable[FileSink]]) -> None:
        self.path = path
        self.number = number
        self.retry_at: float | None = None
        self.position: Position | None = None
        self.problem = ""
        self.unused = False
        self.closing = False
        self.rotation: tuple[int, int, bool] = (0, 1, False)
        self.writer = writer
        self._siblings = siblings
        self._drain = _Drain()
        self._pipe = -1
        self._connection = 0  # the number of the child that reads the pipe
        self._pending: list[memoryview] = []
        self._unconfirmed: list[memoryview] = []  # in the pipe, or read by the child

    def set_rotation(self, bytes_max: int, files_max: int, *, compress: bool) -> None:
        """Rotate from now on. bytes_max: the size limit, 0 for none; files_max: with the current file."""
        if self.rotation != (bytes_max, files_max, compress):
            self.rotation = (bytes_max, files_max, compress)
            if self._pipe >= 0:
                self.writer.send(("rotation", self.number, *self.rotation))

    @property
    def fd(self) -> int:
        """The descriptor to wait for; -1 while only `retry_at` or the writer's answer counts."""
        return self._pipe if self.retry_at is None and not self.problem else -1

    @property
    def blocked(self) -> bool:
        """Whether it holds output that the pipe did not accept, or the child cannot write."""
        return bool(self._pending or self.problem)

    @property
    def pending_bytes(self) -> int:
        """How many bytes are not known to be written."""
        return sum(map(len, self._pending)) + sum(map(len, self._unconfirmed))

    def write(self, data: bytes | memoryview) -> None:
        """Write whole lines, or keep what is not accepted. Callers stop while `blocked`."""
        if not data:
            return
        self._drain.asked = -1
        self._pending.append(memoryview(data))
        if self.retry_at is None and len(self._pending) == 1 and not self.problem:
            self.flush()

    def flush(self) -> None:
        """Write as much of what is pending as the pipe accepts."""
        if self.problem and self._is_connected():
            return
        try:
            if not self._is_connected():
                self._connect()
        except OSError:  # no room for a pipe or a child, or the last child has just ended
            self.retry_at = max(self.writer.start_at, time.monotonic() + RETRY_SECONDS)
            return
        self.retry_at = None
        try:
            while self._pending:
                piece = self._pending[0]
                written = os.write(self._pipe, piece)
                self._unconfirmed.append(piece[:written])
                if written < len(piece):
                    self._pending[0] = piece[written:]
                else:
                    del self._pending[0]
        except BlockingIOError:
            return
        except OSError:  # the child has ended, as its parent will see; or no memory
            self.retry_at = time.monotonic() + RETRY_SECONDS

    def confirm(self, position: Position) -> None:
        """The child has written everything up to this position."""
        before = self.position[0] if self.position else 0
        self.position = position
        count = position[0] - before
        while count > 0 and self._unconfirmed:
            piece = self._unconfirmed[0]
            if len(piece) > count:
                self._unconfirmed[0] = piece[count:]
                return
            count -= len(piece)
            del self._unconfirmed[0]

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """Write what is pending and wait until it is confirmed, while there is time. At the end of the container.

        A child that has ended is replaced once. Gives up after 1 s without progress. All files are drained at the same
        time, so that many that cannot be written do not take longer than one.
        """
        while self._lacks():
            lacking = [one for one in self._siblings() if one._lacks()]
            now = time.monotonic()
            for one in lacking:
                one._push(now)
            left = max(seconds_left(), self._drain.least_until - now)
            if left <= 0 or not self._lacks():
                return
            _wait(lacking, min(left, self._drain.give_up_at - now))

    def _lacks(self) -> bool:
        return not self._drain.stalled and self.pending_bytes > 0

    def _push(self, now: float) -> None:
        """In drain(): pass on what is possible, ask for the position, and see whether there was progress."""
        state = self._drain
        state.least_until = state.least_until or now + _LEAST_SECONDS
        if not self._is_connected():
            state.starts_left -= 1
            self.writer.start_at = 0.0
        self.retry_at = None
        self.flush()
        connection = self.writer.connection
        if not self._pending and state.asked != connection:
            sent = (self.position[0] if self.position else 0) + sum(map(len, self._unconfirmed))
            if self.writer.send(("confirm", self.number, sent)):
                state.asked = connection
        if self.pending_bytes != state.last_bytes:
            state.last_bytes, state.give_up_at = self.pending_bytes, now + _STALL_SECONDS
        state.stalled = now >= state.give_up_at or state.starts_left < 0

    def _wants_room(self) -> bool:
        return bool(self._pending) and self._is_connected() and not self.problem

    def close(self) -> None:
        """Close the file, of which everything is confirmed. It is forgotten when the child reports that."""
        self.closing = True
        if not self._is_connected():
            self.writer.files.pop(self.number, None)
        self.disconnect()

    # --- the pipe ------------------------------------------------------------------------------------

    def _is_connected(self) -> bool:
        return self._pipe >= 0 and self._connection == self.writer.connection

    def _connect(self) -> None:
        """Make a pipe to the child. Raises OSError."""
        self.disconnect()
        self._pipe = self.writer.open(self.number, self.path, self.rotation, self.position)
        self._connection = self.writer.connection

    def lose_connection(self) -> None:
        """The child has ended: what it has not confirmed is pending again."""
        self._pending, self._unconfirmed, self.problem = [*self._unconfirmed, *self._pending], [], ""

    def disconnect(self) -> None:
        """Close the pipe: the child closes the file when it has written what is in it."""
        if self._pipe >= 0:
            fd, self._pipe = self._pipe, -1
            os.close(fd)

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """The pipe, unless its child has ended."""
        return [self._pipe] if self._is_connected() else []

    def to_plain(self) -> dict[str, Any]:
        """The connection, and what is not confirmed."""
        return {
            "number": self.number,
            "writer": self.writer.mount_point,
            "pipe": self._pipe if self._is_connected() else -1,
            "position": self.position,
            "problem": self.problem,
            "unused": self.unused,
            "rotation": self.rotation,
            "pending": [bytes(piece) for piece in self._pending],
            "unconfirmed": [bytes(piece) for piece in self._unconfirmed],
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(), after the writer's. Nothing is written before the next flush()."""
        self.number = plain["number"]
        self._pipe, self._connection = plain["pipe"], self.writer.connection
        if self._pipe >= 0:
            os.set_inheritable(self._pipe, False)
        self.position, self.problem, self.rotation = plain["position"], plain["problem"], plain["rotation"]
        self.unused = plain["unused"]
        self._pending = [memoryview(piece) for piece in plain["pending"]]
        self._unconfirmed = [memoryview(piece) for piece in plain["unconfirmed"]]
        self.retry_at = _AT_ONCE


def _wait(sinks: Iterable[FileSink], seconds: float) -> None:
    """Wait for an answer, or room in a pipe, and handle what has arrived."""
    poll = select.poll()
    writers = {one.writer.mount_point: one.writer for one in sinks}
    for writer in writers.values():
        if writer.channel is not None:
            poll.register(writer.channel.fd, select.POLLIN)
    for one in sinks:
        if one._wants_room():
            poll.register(one._pipe, select.POLLOUT)
    is_ready(poll, seconds)
    for writer in writers.values():
        writer.receive()
