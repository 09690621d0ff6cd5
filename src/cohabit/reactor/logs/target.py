"""A target: the way of one stream to one destination.

A target in blocking mode (mode: blocking) writes everything it is given; while its destination is BLOCKED, its stream
must not be read (`must_wait`). A target in non-blocking mode buffers what the sink does not accept, up to a limit.
Beyond the limit whole pieces are dropped and counted, and a notice is written in their place.
"""

from __future__ import annotations

from cohabit.reactor.logs.destination import BLOCKED, OPEN
from cohabit.reactor.logs.formats import Prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.reactor.logs.destination import Destination
    from cohabit.reactor.logs.formats import Format

_PIECE_SIZE = 65_536


class Target:
    """The way of one stream's lines to one destination.

    bytes_max: how much is buffered while the sink is blocked; None: blocking mode. notice(text): a message of cohabit
    itself about dropped lines, formatted. shown: how many bytes of its stream's unfinished line are written.
    """

    __slots__ = (
        "buffered", "buffered_bytes", "bytes_max", "destination", "dropped_bytes", "dropped_lines", "format", "notice",
        "shown",
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
        self.shown = 0

    @property
    def must_wait(self) -> bool:
        """Whether no more lines may be read for this target."""
        return self.bytes_max is None and self.destination.state == BLOCKED

    def lines(self, data: bytes, now_ns: int) -> None:
        """Write whole lines."""
        if self.shown:
            data = self._finish_line(data)
        if data and self._has_room(data):
            self._write(self.format.lines(data, now_ns), data)

    def unfinished(self, line: bytes, now_ns: int) -> None:
        """Write an unfinished line as far as it is not written, if that can be done at once and without a record.

        If something else was written since its first part, it goes on in a line of its own.
        """
        destination, rest = self.destination, line[self.shown :]
        if not rest or self.buffered or destination.has_pending or destination.state != OPEN:
            return
        text = rest if destination.open_line is self else self.format.unfinished(rest, now_ns)
        if text and destination.sink.byte_stream:
            destination.write_on(self, text, ends=False)
            self.shown = len(line)

    def _finish_line(self, data: bytes) -> bytes:
        """Write the rest of the unfinished line, unless something was written since. Returns what is left to write."""
        data, self.shown = data[self.shown :], 0
        if self.destination.open_line is not self:
            return data.removeprefix(b"\n")  # what came between has ended the line
        end = data.find(b"\n") + 1
        self.destination.write_on(self, data[:end], ends=True)
        return data[end:]

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
        destination = self.destination
        if self.bytes_max is None:
            destination.write(written)
        elif not self.buffered and not destination.sink.blocked:
            destination.write(b"".join((self._take_loss_notice(), written)) if self.dropped_lines else written)
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
        self.destination.write_later(self)

    def _drop(self, data: bytes) -> None:
        self.dropped_bytes += len(data)
        self.dropped_lines += data.count(b"\n")
        self.destination.write_later(self)

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

    def to_plain(self) -> tuple[bytes, int, int, int, bool]:
        """What is buffered; lines and bytes that were dropped and not reported; `shown`; if the line is open."""
        is_open = self.destination.open_line is self
        return b"".join(self.buffered), self.dropped_lines, self.dropped_bytes, self.shown, is_open

    def restore(self, plain: tuple[bytes, int, int, int, bool]) -> None:
        """Take over the state from to_plain()."""
        data, self.dropped_lines, self.dropped_bytes, self.shown, is_open = plain
        if is_open:
            self.destination.open_line = self
        for start in range(0, len(data), _PIECE_SIZE):
            self._buffer(data[start : start + _PIECE_SIZE])
        if self.dropped_lines:
            self.destination.write_later(self)
