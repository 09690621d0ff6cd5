"""One end of one pipe: from the bytes that a service wrote to whole lines.

What arrives is cut at its last newline and the rest waits for its end, so lines of different services never tear each
other. When to read is output.py's.
"""

from __future__ import annotations

from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.linux import os
from cohabit.reactor.logs.formats import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Logging
    from cohabit.reactor.logs.target import Target

READ_SIZE = 131_072  # one turn of one stream: then the others get theirs
_SMALL_READ_SIZE = 4096
_LINE_MAX = 1_048_576  # a longer line is cut, so that one service cannot eat process 1's memory


class Stream:
    """partial: the beginning of a line whose end has not come yet; what is spliced is not in it.

    entries, pattern: as the file has them; targets: one for each entry that we write to. parked: epoll does not look at
    it; wants_room: until it can be spliced. raw: its bytes go out as they come, not line by line; splices: without our
    seeing them. source: its number where its lines are joined to records, 0 where they are not.
    """

    __slots__ = (
        "entries", "fd", "origin", "parked", "partial", "pattern", "raw", "source", "splices", "targets", "wants_room",
    )  # fmt: skip

    def __init__(self, origin: Origin, fd: int, entries: tuple[Logging, ...], pattern: str = "") -> None:
        self.origin = origin
        self.fd = fd
        self.entries = entries
        self.pattern = pattern
        self.targets: tuple[Target, ...] = ()
        self.partial = bytearray()
        self.raw = self.splices = False
        self.parked = self.wants_room = False
        self.source = 0

    @property
    def service(self) -> str:
        """The instance's name."""
        return self.origin.name

    def read(self) -> bytes:
        """What is there, less of it where there is no memory for so much. Raises BlockingIOError: nothing is there."""
        try:
            return os.read(self.fd, READ_SIZE)
        except MemoryError:  # it comes before anything is taken from the pipe
            return os.read(self.fd, _SMALL_READ_SIZE)

    def must_wait(self) -> bool:
        """A destination takes nothing, and the service is to wait for it."""
        return any(target.must_wait for target in self.targets)

    def lines_of(self, data: bytes) -> bytes:
        """The whole lines that there are now, b"" for none; what comes after the last newline waits.

        Most reads end inside a line, so beginnings and ends meet in the one join.
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

    @property
    def too_long(self) -> bool:
        """The line that has begun has no end in sight: its beginning should go out."""
        return len(self.partial) >= _LINE_MAX

    def rest(self, kept: int = 0) -> bytes:
        """What there is of an unfinished line, as a line; its last bytes may be kept for the next one."""
        cut = len(self.partial) - kept
        line = bytes(self.partial[:cut]) + b"\n"
        self.partial = self.partial[cut:]
        return line

    # --- crossing a re-execution ---------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Whose it is, and what was read and not passed on."""
        origin = self.origin
        return {
            "fd": self.fd,
            "origin": (origin.name, origin.stream, origin.service, origin.replica, origin.pid),
            "entries": to_plain(self.entries),
            "pattern": self.pattern,
            "partial": bytes(self.partial),
            "source": self.source,
            "raw": self.raw,
            "targets": [target.to_plain() for target in self.targets],
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Stream:
        """The inverse, without targets: they restore themselves."""
        stream = cls(Origin(*plain["origin"]), plain["fd"], from_plain(plain["entries"]), plain["pattern"])
        stream.partial += plain["partial"]
        stream.source, stream.raw = plain["source"], plain["raw"]
        return stream
