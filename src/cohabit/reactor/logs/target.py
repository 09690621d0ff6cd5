"""A destination is a sink with the targets that write to it; a target is the way of one stream to one destination.

A target in blocking mode (mode: blocking) writes everything it is given; while its sink is blocked, Output must not
read more for it (`must_wait`). A target in non-blocking mode buffers what the sink does not accept, up to a limit.
Beyond the limit whole pieces are dropped and counted, and a notice is written in their place.
"""

from __future__ import annotations

from cohabit.reactor.logs.formats import Prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from cohabit.reactor.logs.formats import Format

    class AnySink(Protocol):
        """Accepts bytes: the container's stdout or stderr (sink.py), a file (file.py) or a syslog server (syslog.py).

        blocked: the sink holds bytes that it could not write, and callers stop. flush() tries again; it is due when
        `fd` is writable (-1: no descriptor to wait for) or at `retry_at` (monotonic seconds, None: no such time).
        lost: why the sink is closed for good, "" while it is not.
        """

        retry_at: float | None
        lost: str

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


_AT_ONCE = 0.0
_PIECES_PER_TURN = 16
_PIECE_SIZE = 65_536


class Destination:
    """A sink, and the targets with buffered output for it.

    name: where it leads to, a path, an address, "stdout" or "stderr". watched: the descriptor in epoll, -1 for none.
    """

    __slots__ = ("_buffered_first", "buffering", "name", "sink", "watched")

    def __init__(self, sink: AnySink, name: str = "") -> None:
        self.sink = sink
        self.name = name
        self.buffering: dict[Target, None] = {}  # an ordered set
        self.watched = -1
        self._buffered_first = False

    @property
    def has_pending(self) -> bool:
        """Output for it is pending, in the sink or in a target's buffer."""
        return self.sink.blocked or bool(self.buffering)

    @property
    def retry_at(self) -> float | None:
        """Monotonic seconds at which resume() is due; None: at no particular time."""
        if self.buffering and not self.sink.blocked and self.sink.fd < 0:
            return _AT_ONCE  # more is buffered, and no descriptor shows that there is room
        return self.sink.retry_at

    def resume(self) -> bool:
        """Flush the sink. Returns True if it accepts more, so that paused streams may be read.

        Buffered output goes first in every second call, so that a slow reader starves neither mode.
        """
        self.sink.flush()
        if self.sink.blocked:
            return False
        self._buffered_first = not self._buffered_first
        if self._buffered_first:
            self.write_buffered()
        return not self.sink.blocked

    def write_buffered(self) -> None:
        """Write buffered pieces, one of each target in turn, until the sink blocks; at most 16 pieces in one call."""
        for _ in range(_PIECES_PER_TURN):
            if not self.buffering or self.sink.blocked:
                return
            target = next(iter(self.buffering))
            del self.buffering[target]
            if target.write_next():
                self.buffering[target] = None

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """Write everything that is left, while there is time and the sink accepts it. At the end of the container."""
        self.sink.drain(seconds_left)
        while self.buffering and not self.sink.blocked:
            self.write_buffered()
            self.sink.drain(seconds_left)

    def buffered(self, saved_elsewhere: set[Target]) -> bytes:
        """What is buffered, with notices of loss, by targets that are not saved elsewhere."""
        targets = (target for target in self.buffering if target not in saved_elsewhere)
        return b"".join(piece for target in targets for piece in (*target.buffered, target.loss_notice()))

    @property
    def pending_bytes(self) -> int:
        """Bytes that the sink has not accepted, with those that were dropped and not reported."""
        return self.sink.pending_bytes + sum(target.buffered_bytes + target.dropped_bytes for target in self.buffering)


class Target:
    """The way of one stream's lines to one destination.

    bytes_max: how much is buffered while the sink is blocked; None: blocking mode. notice(text): a message of cohabit
    itself about dropped lines, formatted.
    """

    __slots__ = (
        "buffered", "buffered_bytes", "bytes_max", "destination", "dropped_bytes", "dropped_lines", "format", "notice",
    )  # fmt: skip

    def __init__(
        self, form: Format, destination: Destination, bytes_max: int | None, notice: Callable[[str], bytes | memoryview]
    ) -> None:
        self.format = form
        self.destination = destination
        self.bytes_max = bytes_max
        self.notice = notice
        self.buffered: list[bytearray] = []
        self.buffered_bytes = 0
        self.dropped_bytes = self.dropped_lines = 0

    @property
    def must_wait(self) -> bool:
        """Whether no more lines may be read for this target."""
        return self.bytes_max is None and self.destination.sink.blocked

    def lines(self, data: bytes, now_ns: int) -> None:
        """Write whole lines."""
        if self._has_room(data):
            self._write(self.format.lines(data, now_ns), data)

    def records(self, records: list[bytes], now_ns: int) -> None:
        """Write records of one or more lines each, given without their last newlines."""
        data = b"\n".join(records) + b"\n"
        if self._has_room(data):
            self._write(self.format.records(records, now_ns), data)

    def message(self, level: str, text: bytes, now_ns: int, *, bare: bool) -> None:
        """Write a message of cohabit itself. bare: without prefix if the format is for people."""
        bare = bare and isinstance(self.format, Prefix)
        self._write(text + b"\n" if bare else self.format.message(level, text, now_ns), text + b"\n")

    def _has_room(self, data: bytes) -> bool:
        """Whether the data is worth formatting; otherwise it is dropped."""
        if not self.buffered or self.bytes_max is None or self.buffered_bytes + len(data) <= self.bytes_max:
            return True
        self._drop(data)
        return False

    def _write(self, written: bytes | memoryview, data: bytes) -> None:
        sink = self.destination.sink
        if self.bytes_max is None:
            sink.write(written)
        elif not self.buffered and not sink.blocked:
            sink.write(b"".join((self._take_loss_notice(), written)) if self.dropped_lines else written)
        elif self.buffered_bytes + len(written) > self.bytes_max:
            self._drop(data)
        else:
            if self.dropped_lines:
                self._buffer(self._take_loss_notice())
            self._buffer(written)

    def _buffer(self, written: bytes | memoryview) -> None:
        """Append to a piece of at least 64 KiB, however small the writes are."""
        if not self.buffered or len(self.buffered[-1]) >= _PIECE_SIZE:
            self.buffered.append(bytearray())
        self.buffered[-1] += written
        self.buffered_bytes += len(written)
        self.destination.buffering[self] = None

    def _drop(self, data: bytes) -> None:
        self.dropped_bytes += len(data)
        self.dropped_lines += data.count(b"\n")
        self.destination.buffering[self] = None

    def loss_notice(self) -> bytes | memoryview:
        """A notice of what was dropped since the last one, b"" for nothing."""
        if not self.dropped_lines:
            return b""
        return self.notice(f"{self.dropped_lines} lines ({self.dropped_bytes} bytes) dropped: the buffer was full")

    def _take_loss_notice(self) -> bytes | memoryview:
        notice = self.loss_notice()
        self.dropped_bytes = self.dropped_lines = 0
        return notice

    def write_next(self) -> bool:
        """Write the oldest piece to the sink. Returns True while there is more."""
        if self.buffered:
            piece = self.buffered.pop(0)
            self.buffered_bytes -= len(piece)
            self.destination.sink.write(memoryview(piece))
        elif self.dropped_lines:
            self.destination.sink.write(self._take_loss_notice())
        return bool(self.buffered or self.dropped_lines)

    # --- re-execution --------------------------------------------------------------------------------

    def to_plain(self) -> tuple[bytes, int, int]:
        """What is buffered; lines and bytes that were dropped and not reported."""
        return b"".join(self.buffered), self.dropped_lines, self.dropped_bytes

    def restore(self, plain: tuple[bytes, int, int]) -> None:
        """Take over the state from to_plain()."""
        data, self.dropped_lines, self.dropped_bytes = plain
        for start in range(0, len(data), _PIECE_SIZE):
            self._buffer(data[start : start + _PIECE_SIZE])
        if self.dropped_lines:
            self.destination.buffering[self] = None
