"""A destination: a sink, the targets that buffer output for it, and the streams that it holds up.

Back pressure. Output in blocking mode is never lost, and process 1 holds only a bounded amount of it. So a stream is
read only while everything behind it accepts output. Otherwise it is paused: its descriptor is removed from epoll, its
pipe fills, and the service blocks in write(2). Only that service waits.

The state of a destination:
- OPEN: it accepts output.
- BLOCKED: its sink holds bytes that it could not write, or splice(2) found no room in it. Streams with a target in
  blocking mode are paused. Targets in non-blocking mode buffer (target.py). When epoll reports room (EPOLLOUT) or a
  timer is due, the sink is flushed.
- LOST: it is closed for good. What is written to it is discarded, and nothing waits for it.

A paused stream is held up by one cause at a time, and is in that cause's list: `held` of a destination that is BLOCKED,
or that of the Router for the streams whose log probe or multiline child does not accept more. A cause that ends resumes
exactly the streams of its list, in the order in which they were paused. A stream that another cause holds up by then
moves to the end of that cause's list (reader.py: Reader._resume).
"""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet
    from typing import Any, Protocol

    from cohabit.reactor.poller import Poller

    class Buffering(Protocol):
        """The part of a target that its destination uses (target.py)."""

        buffered: list[bytearray]
        buffered_bytes: int
        dropped_bytes: int

        def write_next(self) -> bool: ...  # noqa: D102
        def loss_notice(self) -> bytes | memoryview: ...  # noqa: D102

    class AnySink(Protocol):
        """Accepts bytes: the container's stdout or stderr (sink.py), a file (file.py) or a syslog server (syslog.py).

        blocked: the sink holds bytes that it could not write, and callers stop. flush() tries again; it is due when
        `fd` is writable (-1: no descriptor to wait for) or at `retry_at` (monotonic seconds, None: no such time).
        lost: why the sink is closed for good, "" while it is not. problem: why it accepts nothing now, ""
        if it does, or if its reader just does not read.
        """

        byte_stream: bool  # what is written appears at once, with or without a newline
        retry_at: float | None
        lost: str
        problem: str

        @property
        def fd(self) -> int: ...  # noqa: D102
        @property
        def blocked(self) -> bool: ...  # noqa: D102
        @property
        def pending_bytes(self) -> int: ...  # noqa: D102
        def write(self, data: bytes | memoryview) -> None: ...  # noqa: D102
        def flush(self) -> None: ...  # noqa: D102
        def drain(self, seconds_left: Callable[[], float]) -> None: ...  # noqa: D102
        def to_plain(self) -> Any: ...  # noqa: D102
        def restore(self, plain: Any) -> None: ...  # noqa: D102


OPEN, BLOCKED, LOST = "open", "blocked", "lost"
_AT_ONCE = 0.0
_PIECES_PER_TURN = 16


class Held:
    """The streams that one cause holds up, in the order of their pauses, and what resumes each of them."""

    __slots__ = ("streams",)

    def __init__(self) -> None:
        self.streams: dict[object, Callable[[], None]] = {}

    def resume(self) -> None:
        """Resume each stream once. One that is still held up, or again, stays in the list."""
        for stream, resume in list(self.streams.items()):
            if stream in self.streams:  # not closed meanwhile
                resume()


class Destination:
    """One destination. name: where it leads to, a path, an address, "stdout" or "stderr"; held: what it holds up.

    open_line: the target whose unfinished line was written last, None after a newline.
    """

    __slots__ = (
        "_buffered_first", "_buffering", "_no_room", "_poller", "_watched", "held", "name", "open_line", "sink",
    )  # fmt: skip

    def __init__(self, poller: Poller, sink: AnySink, name: str) -> None:
        self.sink = sink
        self.name = name
        self.held = Held()
        self.open_line: Buffering | None = None
        self._poller = poller
        self._no_room = False  # for splice(2)
        self._watched = -1  # the descriptor in epoll
        self._buffering: dict[Buffering, None] = {}  # with something buffered or dropped; an ordered set
        self._buffered_first = False

    @property
    def state(self) -> str:
        """OPEN, BLOCKED or LOST."""
        if self.sink.blocked or self._no_room:
            return BLOCKED
        return LOST if self.sink.lost else OPEN

    @property
    def has_pending(self) -> bool:
        """Output for it is pending, in the sink or in a target's buffer."""
        return self.sink.blocked or bool(self._buffering)

    @property
    def pending_bytes(self) -> int:
        """Bytes that the sink has not accepted, with those that were dropped and not reported."""
        return self.sink.pending_bytes + sum(target.buffered_bytes + target.dropped_bytes for target in self._buffering)

    # --- output --------------------------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """Write, or keep what is not accepted."""
        if self._watched >= 0 and not self.sink.blocked:
            self._unwatch()  # the sink may replace the descriptor
        if self.open_line is not None:
            self.open_line = None
            data = b"".join((b"\n", data))
        self.sink.write(data)
        self.watch()

    def write_on(self, target: Buffering, data: bytes | memoryview, *, ends: bool) -> None:
        """Write the next part of the target's unfinished line. ends: a newline is at its end."""
        if self.open_line is target:
            self.open_line = None
        self.write(data)
        self.open_line = None if ends else target

    def end_line(self) -> None:
        """Something else than a write() follows: it begins a line."""
        if self.open_line is not None:
            self.write(b"")

    def write_later(self, target: Buffering) -> None:
        """The target has buffered or dropped something."""
        self._buffering[target] = None
        self.watch()

    def wait_for_room(self) -> None:
        """splice(2) found no room: BLOCKED until epoll reports some."""
        self._no_room = True
        self.watch()

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """Write everything that is left, while there is time and the sink accepts it. At the end of the container."""
        self._no_room = False
        self.sink.drain(seconds_left)
        while self._buffering and not self.sink.blocked:
            self._write_buffered()
            self.sink.drain(seconds_left)

    # --- waiting for room ----------------------------------------------------------------------------

    def watch(self) -> None:
        """Call resume() when the sink may accept output, if any waits for it. To be called when that has changed."""
        if not self.has_pending and not self._no_room:
            return
        fd = self.sink.fd
        if fd >= 0 and self._watched < 0:
            self._watched = fd
            self._poller.add(fd, select.EPOLLOUT, lambda _: self.resume())
        when = self.sink.retry_at
        if fd < 0 and not self.sink.blocked:
            when = _AT_ONCE  # more is buffered, and no descriptor shows that there is room
        self._poller.call_at(self._timer, when, self.resume)

    @property
    def _timer(self) -> tuple[str, str]:
        return ("destination", self.name)

    def _unwatch(self) -> None:
        self._poller.cancel(self._timer)
        if self._watched >= 0:
            self._poller.remove(self._watched)
            self._watched = -1

    def resume(self) -> None:
        """The sink may accept output: write what is pending and buffered, and read the streams that are held up.

        Buffered output goes first in every second call, so that a slow reader starves neither mode.
        """
        self._unwatch()  # before flush(), which may replace the descriptor
        self._no_room = False
        self.sink.flush()
        if not self.sink.blocked:
            self._buffered_first = not self._buffered_first
            if self._buffered_first:
                self._write_buffered()
            self.held.resume()
            self._write_buffered()
        self.watch()

    def _write_buffered(self) -> None:
        """Write buffered pieces, one of each target in turn, until the sink blocks; at most 16 pieces in one call."""
        for _ in range(_PIECES_PER_TURN):
            if not self._buffering or self.sink.blocked:
                return
            self.end_line()
            target = next(iter(self._buffering))
            del self._buffering[target]
            if target.write_next():
                self._buffering[target] = None

    # --- re-execution --------------------------------------------------------------------------------

    def buffered(self, saved_elsewhere: AbstractSet[Buffering]) -> bytes:
        """What is buffered, with notices of loss, by targets that are not saved elsewhere."""
        targets = (target for target in self._buffering if target not in saved_elsewhere)
        return b"".join(piece for target in targets for piece in (*target.buffered, target.loss_notice()))
