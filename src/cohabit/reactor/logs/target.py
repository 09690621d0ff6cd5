"""Where lines go: destinations, each a sink with those who wait for it, and targets, each one stream's way to one.

A target whose service is to wait (mode: blocking) writes whatever it gets; the pump asks `must_wait` before it reads
more. One whose service is not (mode: non-blocking) keeps what the destination does not take, up to a limit; what comes
then is dropped as a whole piece, counted, and told at the place where it is missing. It knows no streams and no epoll.
"""

from __future__ import annotations

from cohabit.reactor.logs.formats import Prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from cohabit.reactor.logs.formats import Format

    class AnySink(Protocol):
        """What takes bytes: the container's own output (sink.py), a file (file.py), a syslog server (syslog.py).

        While `blocked` it keeps what it was given and callers stop; flush() tries again, when `fd` is writable (-1:
        nothing to be told by) or at `retry_at` (monotonic seconds, None: no such time). lost: why it is gone for good.
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
_PIECES_AT_ONCE = 16
_PIECE_BYTES = 65_536


class Destination:
    """A sink, and the targets that keep something for it. watched: the descriptor that epoll knows us by, or -1."""

    __slots__ = ("_waiting_first", "sink", "waiting", "watched")

    def __init__(self, sink: AnySink) -> None:
        self.sink = sink
        self.waiting: dict[Target, None] = {}  # a set, in order
        self.watched = -1
        self._waiting_first = False

    @property
    def busy(self) -> bool:
        """Somebody has something for it that it has not taken."""
        return self.sink.blocked or bool(self.waiting)

    @property
    def retry_at(self) -> float | None:
        """Monotonic seconds at which to resume it; None if that is not a matter of time."""
        if self.waiting and not self.sink.blocked and self.sink.fd < 0:
            return _AT_ONCE  # the rest of what is kept, and no descriptor to tell of room
        return self.sink.retry_at

    def resume(self) -> bool:
        """It may take more: True if those who are blocked come first now, else who keeps something had his turn.

        In turns, so that with a slow reader neither kind starves the other.
        """
        self.sink.flush()
        if self.sink.blocked:
            return False
        self._waiting_first = not self._waiting_first
        if self._waiting_first:
            self.serve()
        return not self.sink.blocked

    def serve(self) -> None:
        """What is kept, a piece of each in turn, as long as it is taken; so much and then others have their turn."""
        for _ in range(_PIECES_AT_ONCE):
            if not self.waiting or self.sink.blocked:
                return
            target = next(iter(self.waiting))
            del self.waiting[target]
            if target.pass_on():
                self.waiting[target] = None

    def drain(self, seconds_left: Callable[[], float]) -> None:
        """Whatever is left, as long as there is time and it is taken. For the very end."""
        self.sink.drain(seconds_left)
        while self.waiting and not self.sink.blocked:
            self.serve()
            self.sink.drain(seconds_left)

    def kept(self, elsewhere: set[Target]) -> bytes:
        """What is kept for it, with words on what was dropped, by targets that do not write that down themselves."""
        left = (target for target in self.waiting if target not in elsewhere)
        return b"".join(piece for target in left for piece in (*target.kept, target.loss()))

    @property
    def pending_bytes(self) -> int:
        """How much it did not take, and will not at the end."""
        return self.sink.pending_bytes + sum(target.kept_bytes + target.dropped_bytes for target in self.waiting)


class Target:
    """One way of one stream's lines. bytes_max: how much is kept while it is blocked; None: who writes waits.

    notice(text): a message of our own, as bytes, about what was dropped.
    """

    __slots__ = ("bytes_max", "destination", "dropped_bytes", "dropped_lines", "format", "kept", "kept_bytes", "notice")

    def __init__(
        self, form: Format, destination: Destination, bytes_max: int | None, notice: Callable[[str], bytes | memoryview]
    ) -> None:
        self.format = form
        self.destination = destination
        self.bytes_max = bytes_max
        self.notice = notice
        self.kept: list[bytearray] = []
        self.kept_bytes = 0
        self.dropped_bytes = self.dropped_lines = 0

    @property
    def must_wait(self) -> bool:
        """Whoever has more lines for it should read no more of them."""
        return self.bytes_max is None and self.destination.sink.blocked

    def lines(self, data: bytes, now_ns: int) -> None:
        """Whole lines."""
        if self._has_room(data):
            self._put(self.format.lines(data, now_ns), data)

    def records(self, records: list[bytes], now_ns: int) -> None:
        """Records of one or more lines each, without their last newlines."""
        data = b"\n".join(records) + b"\n"
        if self._has_room(data):
            self._put(self.format.records(records, now_ns), data)

    def message(self, level: str, text: bytes, now_ns: int, *, bare: bool) -> None:
        """A message of our own. bare: as it is, where it is for people."""
        bare = bare and isinstance(self.format, Prefix)
        self._put(text + b"\n" if bare else self.format.message(level, text, now_ns), text + b"\n")

    def _has_room(self, data: bytes) -> bool:
        """Whether it is worth writing in our form; else it is dropped."""
        if not self.kept or self.bytes_max is None or self.kept_bytes + len(data) <= self.bytes_max:
            return True
        self._drop(data)
        return False

    def _put(self, written: bytes | memoryview, data: bytes) -> None:
        sink = self.destination.sink
        if self.bytes_max is None:
            sink.write(written)
        elif not self.kept and not sink.blocked:
            sink.write(b"".join((self._told(), written)) if self.dropped_lines else written)
        elif self.kept_bytes + len(written) > self.bytes_max:
            self._drop(data)
        else:
            if self.dropped_lines:
                self._keep(self._told())
            self._keep(written)

    def _keep(self, written: bytes | memoryview) -> None:
        """In pieces of some size, however small the writes are."""
        if not self.kept or len(self.kept[-1]) >= _PIECE_BYTES:
            self.kept.append(bytearray())
        self.kept[-1] += written
        self.kept_bytes += len(written)
        self.destination.waiting[self] = None

    def _drop(self, data: bytes) -> None:
        self.dropped_bytes += len(data)
        self.dropped_lines += data.count(b"\n")
        self.destination.waiting[self] = None

    def loss(self) -> bytes | memoryview:
        """Words on what was dropped and not told yet, b"" for nothing."""
        if not self.dropped_lines:
            return b""
        return self.notice(f"{self.dropped_lines} lines ({self.dropped_bytes} bytes) dropped: nobody took them in time")

    def _told(self) -> bytes | memoryview:
        words = self.loss()
        self.dropped_bytes = self.dropped_lines = 0
        return words

    def pass_on(self) -> bool:
        """Give the destination the oldest piece; True while there is more."""
        if self.kept:
            piece = self.kept.pop(0)
            self.kept_bytes -= len(piece)
            self.destination.sink.write(memoryview(piece))
        elif self.dropped_lines:
            self.destination.sink.write(self._told())
        return bool(self.kept or self.dropped_lines)

    # --- crossing a re-execution ---------------------------------------------------------------------

    def to_plain(self) -> tuple[bytes, int, int]:
        """What it keeps; lines and bytes that it has dropped and not told."""
        return b"".join(self.kept), self.dropped_lines, self.dropped_bytes

    def restore(self, plain: tuple[bytes, int, int]) -> None:
        """Take over where to_plain was called."""
        kept, self.dropped_lines, self.dropped_bytes = plain
        for start in range(0, len(kept), _PIECE_BYTES):
            self._keep(kept[start : start + _PIECE_BYTES])
        if self.dropped_lines:
            self.destination.waiting[self] = None
