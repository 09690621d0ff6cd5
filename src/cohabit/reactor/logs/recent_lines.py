"""The last lines of every service, bounded in bytes: for `logs`, for `why` and for the last word.

What is kept are pieces: the whole lines that one read brought, with its time. A line that one read began and
another one ended comes with the second. So it costs next to nothing to remember a flood, and what is there is
always the very end of what was written. Where a piece does not fit any more it is cut at the start of a line; of
a line that is longer than its service's whole share the end stays.

It knows no pipes and no clock. A restart of the service changes nothing here, and everything crosses a
re-execution.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Piece = tuple[float, str, bytes]  # Unix time of its reading; "stdout" or "stderr"; lines, each with its newline

OURSELVES = "cohabit"  # under this name are our own messages; no service can have it
_TOTAL_SIZE = 4_194_304
_SHARE_MAX = 65_536
_SHARE_MIN = 4096
_PIECE_SIZE = 128  # what Python needs for a piece beside its bytes


class RecentLines:
    """Pieces by service. Only named services are remembered, so that what is forgotten stays so."""

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {OURSELVES: _Share()}
        self._size_max = _SHARE_MAX

    def name_services(self, names: list[str]) -> None:
        """All that are to be remembered, beside those that are not forgotten yet. Each gets an equal share."""
        for name in names:
            self._shares.setdefault(name, _Share())
        self._size_max = max(_SHARE_MIN, min(_SHARE_MAX, _TOTAL_SIZE // len(self._shares)))
        for share in self._shares.values():
            share.shrink(self._size_max)

    def keep(self, service: str, stream: str, lines: bytes, now: float) -> None:
        """Remember whole lines, of which the last one ends with a newline too. now: Unix time."""
        share = self._shares.get(service)
        if share is not None:
            share.pieces.append((now, stream, lines))
            share.size += _PIECE_SIZE + len(lines)
            if share.size > self._size_max:
                share.shrink(self._size_max)

    def records(self, service: str, tail_lines: int | None = None, since: float = 0.0) -> list[Piece]:
        """What was read at `since` (Unix time) or later, of that the last `tail_lines` (None: all), oldest first."""
        share = self._shares.get(service)
        found: list[Piece] = []
        for now, stream, lines in reversed(share.pieces if share else ()):
            if now < since:
                continue  # an earlier one may be later: somebody may have set the clock
            kept = lines
            if tail_lines is not None:
                if tail_lines <= 0:
                    break
                count = lines.count(b"\n")
                if count > tail_lines:
                    kept = _last(lines, tail_lines)
                tail_lines -= count
            found.append((now, stream, kept))
        return found[::-1]

    def last_lines(self, service: str, count: int) -> list[bytes]:
        """The last lines of both its streams, without newlines, oldest first."""
        return b"".join(lines for _, _, lines in self.records(service, count)).split(b"\n")[:-1]

    def forget(self, service: str) -> None:
        """It is gone for good."""
        if service != OURSELVES:
            self._shares.pop(service, None)

    # --- crossing a re-execution ---------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Plain values for restore."""
        return {name: share.pieces for name, share in self._shares.items()}

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called."""
        self._shares = {name: _Share(pieces) for name, pieces in plain.items()}
        self.name_services([])


class _Share:
    """One service's pieces, oldest first. size: bytes that they take, with what Python needs for each."""

    __slots__ = ("pieces", "size")

    def __init__(self, pieces: list[Piece] | None = None) -> None:
        self.pieces: list[Piece] = pieces or []
        self.size = sum(_PIECE_SIZE + len(lines) for _, _, lines in self.pieces)

    def shrink(self, size_max: int) -> None:
        """Bring the size below that, if it is not: to an eighth less, so that not every small piece cuts a big one."""
        if self.size <= size_max:
            return
        excess = self.size - size_max * 7 // 8
        gone = 0
        for _, _, lines in self.pieces[:-1]:
            if _PIECE_SIZE + len(lines) > excess:
                break
            excess -= _PIECE_SIZE + len(lines)
            gone += 1
        del self.pieces[:gone]
        if excess > 0:
            self._cut_first(excess)
        self.size = sum(_PIECE_SIZE + len(lines) for _, _, lines in self.pieces)

    def _cut_first(self, excess: int) -> None:
        """Take that many bytes or a few more from the oldest piece."""
        now, stream, lines = self.pieces[0]
        start = lines.find(b"\n", excess - 1) + 1
        if 0 < start < len(lines):
            self.pieces[0] = (now, stream, lines[start:])
        elif len(self.pieces) > 1:
            del self.pieces[0]
        else:
            self.pieces[0] = (now, stream, lines[excess:])


def _last(lines: bytes, count: int) -> bytes:
    """The last lines of a piece that has more than that."""
    start = len(lines) - 1
    for _ in range(count):
        start = lines.rfind(b"\n", 0, start)
    return lines[start + 1 :]
