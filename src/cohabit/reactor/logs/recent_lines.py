"""The last lines of each service, bounded in bytes: for `cohabit logs`, `cohabit why` and the exit reason.

A piece is the whole lines of one read, with the time of the read. A line that is read in two parts belongs to the
later piece. Appending is cheap, so a flood of output costs little, and what is held is always the end of what was
written. A piece that does not fit is cut at the start of a line; of a line that is longer than the service's limit,
the end is held.

Restarts of a service and re-executions keep the lines. A mark, which is an empty piece, stands between the lines of two
runs, and another one between a run and its post_stop hooks: what these write does not explain how the run has ended.
"""

from __future__ import annotations

from cohabit.plan.model import OWN_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Piece = tuple[float, str, bytes]  # Unix time of its reading; "stdout" or "stderr"; lines, each with its newline

_TOTAL_SIZE = 4_194_304
_BUFFER_SIZE_MAX = 65_536
_BUFFER_SIZE_MIN = 4096
_HOOKS = "post_stop"  # the stream of the mark before the lines of post_stop hooks
_PIECE_OVERHEAD = 128  # memory for a piece, without its bytes


class RecentLines:
    """Pieces by service. Only named services are recorded, so a forgotten service stays forgotten."""

    def __init__(self) -> None:
        self._buffers: dict[str, _Buffer] = {OWN_NAME: _Buffer()}
        self._size_max = _BUFFER_SIZE_MAX

    def name_services(self, names: list[str]) -> None:
        """Add services. The total size is divided equally among these and those that are not forgotten."""
        for name in names:
            self._buffers.setdefault(name, _Buffer())
        self._size_max = max(_BUFFER_SIZE_MIN, min(_BUFFER_SIZE_MAX, _TOTAL_SIZE // len(self._buffers)))
        for buffer in self._buffers.values():
            buffer.shrink(self._size_max)

    def append(self, service: str, stream: str, lines: bytes, now: float) -> None:
        """Record whole lines; the last one ends with a newline too. now: Unix time."""
        buffer = self._buffers.get(service)
        if buffer is not None:
            buffer.pieces.append((now, stream, lines))
            buffer.size += _PIECE_OVERHEAD + len(lines)
            if buffer.size > self._size_max:
                buffer.shrink(self._size_max)

    def begin_run(self, service: str, now: float) -> None:
        """What follows is written by another run. now: Unix time."""
        self._mark(service, "", now)

    def end_run(self, service: str, now: float) -> None:
        """What follows is written by its post_stop hooks. now: Unix time."""
        self._mark(service, _HOOKS, now)

    def _mark(self, service: str, stream: str, now: float) -> None:
        buffer = self._buffers.get(service)
        if buffer is not None and buffer.pieces:
            self.append(service, stream, b"", now)

    def records(self, service: str, tail_lines: int | None = None, since: float = 0.0) -> list[Piece]:
        """Pieces read at or after `since` (Unix time), of these the last tail_lines lines (None: all); oldest first."""
        buffer = self._buffers.get(service)
        found: list[Piece] = []
        for now, stream, lines in reversed(buffer.pieces if buffer else ()):
            if now < since or not lines:
                continue  # not break: times are not in order if the clock was set
            tail = lines
            if tail_lines is not None:
                if tail_lines <= 0:
                    break
                count = lines.count(b"\n")
                if count > tail_lines:
                    tail = _tail(lines, tail_lines)
                tail_lines -= count
            found.append((now, stream, tail))
        return found[::-1]

    def last_lines(self, service: str, count: int, runs_before: int = 0) -> list[bytes]:
        """The last lines of both streams of one run, without newlines, oldest first; not those of its post_stop hooks.

        runs_before: 0 for the last run, 1 for the one before it.
        """
        buffer = self._buffers.get(service)
        pieces: list[bytes] = []  # of that run, the last one first
        for _, stream, lines in reversed(buffer.pieces if buffer else ()):
            if not lines and stream == _HOOKS:
                pieces.clear()
            elif not lines:
                runs_before -= 1
            elif not runs_before:
                pieces.append(lines)
            if runs_before < 0:
                break
        found: list[bytes] = []
        for lines in pieces:
            found[:0] = lines.split(b"\n")[:-1][-count:]
            if len(found) >= count:
                break
        return found[-count:] if count else []

    def forget(self, service: str) -> None:
        """Drop a service's lines, and record no more of it."""
        if service != OWN_NAME:
            self._buffers.pop(service, None)

    # --- re-execution --------------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Plain values for restore()."""
        return {name: buffer.pieces for name, buffer in self._buffers.items()}

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain()."""
        self._buffers = {name: _Buffer(pieces) for name, pieces in plain.items()}
        self.name_services([])


class _Buffer:
    """One service's pieces, oldest first. size: the bytes that they take, with Python's overhead."""

    __slots__ = ("pieces", "size")

    def __init__(self, pieces: list[Piece] | None = None) -> None:
        self.pieces: list[Piece] = pieces or []
        self.size = sum(_PIECE_OVERHEAD + len(lines) for _, _, lines in self.pieces)

    def shrink(self, size_max: int) -> None:
        """If the size exceeds size_max, reduce it to 7/8 of that, so that not every append causes a cut."""
        if self.size <= size_max:
            return
        excess = self.size - size_max * 7 // 8
        count = 0
        for _, _, lines in self.pieces[:-1]:
            if _PIECE_OVERHEAD + len(lines) > excess:
                break
            excess -= _PIECE_OVERHEAD + len(lines)
            count += 1
        del self.pieces[:count]
        if excess > 0:
            self._cut_first(excess)
        self.size = sum(_PIECE_OVERHEAD + len(lines) for _, _, lines in self.pieces)

    def _cut_first(self, excess: int) -> None:
        """Remove that many bytes, or slightly more, from the oldest piece."""
        now, stream, lines = self.pieces[0]
        start = lines.find(b"\n", excess - 1) + 1
        if 0 < start < len(lines):
            self.pieces[0] = (now, stream, lines[start:])
        elif len(self.pieces) > 1:
            del self.pieces[0]
        else:
            self.pieces[0] = (now, stream, lines[excess:])


def _tail(lines: bytes, count: int) -> bytes:
    """The last lines of a piece that has more than that."""
    start = len(lines) - 1
    for _ in range(count):
        start = lines.rfind(b"\n", 0, start)
    return lines[start + 1 :]
