"""The read end of one pipe: turns the bytes that a service writes into whole lines.

What is read is cut at its last newline, and the rest is held until its line is complete, so that lines of different
services are never interleaved. The Reader decides when to read (reader.py).
"""

from __future__ import annotations

from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.linux import os
from cohabit.reactor.logs.formats import Origin
from cohabit.reactor.shortage import EIO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Logging
    from cohabit.reactor.logs.destination import Destination, Held
    from cohabit.reactor.logs.target import Target

READ_SIZE = 131_072  # of one stream in one turn of the event loop
_SMALL_READ_SIZE = 4096
_LINE_MAX = 1_048_576  # a longer line is cut, which bounds the memory for each stream


class Stream:
    """One stream of one start of a service.

    fd: -1 once it is closed; entries, pattern: from the file; targets: one for each entry that is written to. partial:
    the beginning of an unfinished line; spliced bytes are not in it. shown: how much of it the clients
    have got (unfinished.py). raw: bytes are written as they come, not line by
    line; splices: they are moved with splice(2). source: its number in the MultilineAssembler, 0 for none. held_by:
    the list of what holds it up (destination.py), None while it is read; held_since: since when, in monotonic seconds.
    taken: bytes that were read; spliced bytes are not in it.
    """

    __slots__ = (
        "entries", "fd", "held_by", "held_since", "origin", "partial", "pattern", "raw", "shown", "source", "splices",
        "taken", "targets",
    )  # fmt: skip

    def __init__(self, origin: Origin, fd: int, entries: tuple[Logging, ...], pattern: str = "") -> None:
        self.origin = origin
        self.fd = fd
        self.entries = entries
        self.pattern = pattern
        self.targets: tuple[Target, ...] = ()
        self.partial = bytearray()
        self.shown = 0
        self.raw = self.splices = False
        self.held_by: Held | None = None
        self.held_since = 0.0
        self.source = 0
        self.taken = 0

    @property
    def service(self) -> str:
        """The instance's name."""
        return self.origin.name

    def read(self) -> bytes:
        """Read what is there, less when memory is short; b"" is the end. Raises BlockingIOError: nothing is there."""
        try:
            data = os.read(self.fd, READ_SIZE)
        except MemoryError:  # raised before anything is taken from the pipe
            data = os.read(self.fd, _SMALL_READ_SIZE)
        except OSError as error:
            if error.errno != EIO:  # the end of a pseudo-terminal
                raise
            return b""
        self.taken += len(data)
        return data

    def blocked_by(self) -> Destination | None:
        """The first destination for which one of its targets must wait (target.py), or None."""
        for target in self.targets:
            if target.must_wait:
                return target.destination
        return None

    def take_lines(self, data: bytes) -> bytes:
        """Add what was read. Returns the whole lines, b"" for none; what follows the last newline stays in `partial`.

        Most reads end inside a line, so the stored beginning and the new lines are joined in one copy.
        """
        end = data.rfind(b"\n") + 1
        if not end:
            self.partial += data
            return b""
        if self.partial or end < len(data):
            lines = b"".join((self.partial, memoryview(data)[:end]))
            self.partial = bytearray(data[end:])
            return lines
        return data

    def forget_partial(self) -> None:
        """Drop the unfinished line."""
        self.partial.clear()
        self.shown = 0

    @property
    def is_too_long(self) -> bool:
        """Whether the unfinished line has reached 1 MiB and must be written in part."""
        return len(self.partial) >= _LINE_MAX

    def take_partial(self, kept: int = 0) -> bytes:
        """Take the unfinished line, and end it with a newline. kept: how many of its last bytes stay."""
        cut = len(self.partial) - kept
        line = bytes(self.partial[:cut]) + b"\n"
        self.partial = self.partial[cut:]
        return line

    # --- re-execution --------------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Plain values for from_plain(): the descriptor, the origin, and what was read and not passed on."""
        origin = self.origin
        return {
            "fd": self.fd,
            "origin": (origin.name, origin.stream, origin.service, origin.replica, origin.pid),
            "entries": to_plain(self.entries),
            "pattern": self.pattern,
            "partial": bytes(self.partial),
            "shown": self.shown,
            "source": self.source,
            "raw": self.raw,
            "taken": self.taken,
            "targets": [target.to_plain() for target in self.targets],
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Stream:
        """The stream that was saved, without targets, which are restored separately."""
        stream = cls(Origin(*plain["origin"]), plain["fd"], from_plain(plain["entries"]), plain["pattern"])
        stream.partial += plain["partial"]
        stream.source, stream.raw, stream.shown = plain["source"], plain["raw"], plain["shown"]
        stream.taken = plain["taken"]
        return stream
