r"""What the json and logfmt formats share: a record is a head, its escaped text and a tail, and less than 16 KiB.

The head depends only on the time of the call and the level, so most lines cost one search for the level and two
concatenations. A record that does not fit is split into parts with the names of Docker's partial messages. LF or CR LF
ends a line and is not part of the message.
"""

from __future__ import annotations

from cohabit.reactor.logs.escape import escape, pieces
from cohabit.reactor.logs.formats import rfc3339
from cohabit.reactor.logs.level import level_of, level_of_coloured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.logs.formats import Origin

# Docker and most of its drivers split lines at 16 KiB. A record with its newline is shorter.
RECORD_MAX = 16_383
_ORDINAL_DIGITS = 10
_PIECE_SIZE_MIN = 1_024  # however long the names are


class Heads(dict[bytes, bytes]):
    """The heads of one call by level, made on first use. now_ns: Unix nanoseconds."""

    def __init__(self, structured: Structured, now_ns: int) -> None:
        self._structured = structured
        self.now_ns = now_ns
        self.time = rfc3339(now_ns)

    def __missing__(self, level: bytes) -> bytes:
        head = self[level] = self._structured.head(self.time, level)
        return head


class Structured:
    """A Format with one head and one tail per record; Json and Logfmt define them.

    The origin's pid is read in each call. Its names need no escaping: a-z A-Z 0-9 . _ -
    """

    tail = b'"\n'
    # The tail of a part: id, number from 1, whether it is the last ("true" or "false").
    part_tail = b"%b %d %b\n"

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._cut_records = 0

    def lines(self, data: bytes, now_ns: int) -> bytes:
        """Format whole lines."""
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        heads = Heads(self, now_ns)
        lines = _split(data)
        if self.may_have_objects(data):
            return self.format_each(lines, heads)
        escaped = escape(data)
        texts = lines if escaped is data else _split(escaped)
        find_level = level_of_coloured if b"\x1b" in data else level_of
        records = [heads[find_level(line)] + text for line, text in zip(lines, texts, strict=True)]
        if max(map(len, records)) + len(self.tail) > RECORD_MAX:
            return self.format_each(lines, heads)
        records.append(b"")
        return self.tail.join(records)

    def records(self, records: list[bytes], now_ns: int) -> bytes:
        """Format records of one or more lines each. Newlines inside are part of the message."""
        messages = [record.replace(b"\r\n", b"\n").removesuffix(b"\r") for record in records]
        return self.format_each(messages, Heads(self, now_ns))

    def unfinished(self, _data: bytes, _now_ns: int) -> bytes:
        """Nothing: a record is whole."""
        return b""

    def message(self, level: str, text: bytes, now_ns: int) -> bytes:
        """Format one message of cohabit itself."""
        heads = Heads(self, now_ns)
        return self._record_or_parts(heads[level.encode()], escape(text).replace(b"\n", b"\\n"), now_ns)

    def format_each(self, records: list[bytes], heads: Heads) -> bytes:
        """Format records one by one: those that cannot be formatted in bulk."""
        return b"".join([self.quoted(record, heads) for record in records])

    def quoted(self, record: bytes, heads: Heads) -> bytes:
        """Format one record as text."""
        head = heads[level_of_coloured(record.partition(b"\n")[0])]
        return self._record_or_parts(head, escape(record).replace(b"\n", b"\\n"), heads.now_ns)

    def _record_or_parts(self, head: bytes, text: bytes, now_ns: int) -> bytes:
        """One record, or its parts if it is too long."""
        record = head + text + self.tail
        if len(record) <= RECORD_MAX:
            return record
        self._cut_records += 1
        origin = self.origin
        partial_id = f"{origin.name}-{origin.stream}-{now_ns:x}-{self._cut_records}".encode()
        longest_tail = self.part_tail % (partial_id, 10**_ORDINAL_DIGITS - 1, b"false")
        texts = list(pieces(text, max(_PIECE_SIZE_MIN, RECORD_MAX - len(head) - len(longest_tail))))
        last = len(texts)
        return b"".join(
            head + piece + self.part_tail % (partial_id, ordinal, b"true" if ordinal == last else b"false")
            for ordinal, piece in enumerate(texts, 1)
        )

    def head(self, moment: bytes, level: bytes) -> bytes:
        """What precedes the text. moment: RFC 3339; level: b"" for none."""
        raise NotImplementedError

    def may_have_objects(self, _data: bytes) -> bool:
        """Whether some of these lines may be objects, which are not formatted as text."""
        return False


def _split(data: bytes) -> list[bytes]:
    """Lines without their newlines."""
    lines = data.split(b"\n")
    lines.pop()
    return lines
