"""One JSON object per line: time, service, replica, stream, pid, level, message. Shippers read it as it is.

A line that is a JSON object already is not quoted: our fields go in front of its own text, without `message`, and
where both have a name the line's own counts. Whatever is not valid JSON (RFC 8259, so no NaN), or would not fit into
a record, is text. Objects are recognised by their first byte, `{`.
"""

from __future__ import annotations

import _json
import sys

from cohabit.reactor.logs.structured import RECORD_MAX, Structured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.logs.structured import Heads


# serde_json's limit (Vector reads logs with it). CPython's own differs from version to version: about 1,000 levels on
# 3.11, 1,500 on 3.12 and 10,000 on 3.13.
DEPTH_MAX = 128
_OPENINGS = frozenset((b'{"', b"{}", b"{ ", b"{\t", b"{\n", b"{\r"))  # what the scanner need not be asked about is text


class Json(Structured):
    """A Format for machines."""

    tail = b'"}\n'
    part_tail = b'","partial_message":true,"partial_id":"%b","partial_ordinal":%d,"partial_last":%b}\n'

    def head(self, moment: bytes, level: bytes) -> bytes:
        """Our fields up to the text."""
        return b'{%b,"message":"' % b",".join(self._fields(moment, level).values())

    def needs_a_look(self, data: bytes) -> bool:
        """Whether a line begins like an object."""
        return data.startswith(b"{") or b"\n{" in data

    def one_by_one(self, records: list[bytes], heads: Heads) -> bytes:
        """Objects merged, all else as text."""
        known: dict[tuple[str, ...], bytes] = {}
        absent = [name for name in _WANTED if name not in sys.modules]
        sys.modules.update(dict.fromkeys(absent, _stand_in))
        try:
            return b"".join([self._merged(record, heads, known) or self.quoted(record, heads) for record in records])
        finally:
            for name in absent:
                del sys.modules[name]

    def _merged(self, record: bytes, heads: Heads, known: dict[tuple[str, ...], bytes]) -> bytes:
        """The object with our fields, b"" when the record is not exactly one object.

        known: beginnings, by the names in the object (those of one service are much alike).
        """
        if record[:2] not in _OPENINGS or len(record) > RECORD_MAX:
            return b""
        try:
            text = record.decode()
            found, end = _scan(text, 0)
        except (StopIteration, ValueError, RecursionError):
            return b""
        if end < len(text) and text[end:].strip(" \t\r\n"):
            return b""
        if record.count(b"[") + record.count(b"{") > DEPTH_MAX and _depth(record) > DEPTH_MAX:
            return b""
        names = tuple(found)
        if names not in known:
            known[names] = self._beginning(heads.time, names)
        # what newlines there are stand between its values: inside of strings they are not valid
        merged = known[names] + record[1:].replace(b"\n", b" ") + b"\n"
        return merged if len(merged) <= RECORD_MAX else b""

    def _beginning(self, moment: bytes, names: tuple[str, ...]) -> bytes:
        """Our fields before those of an object with these names."""
        ours = [field for name, field in self._fields(moment, b"").items() if name not in names]
        return b"{" + b",".join([*ours, b""] if names else ours)

    def _fields(self, moment: bytes, level: bytes) -> dict[str, bytes]:
        """Our fields by name, but for the message."""
        origin = self.origin
        fields = {"time": b'"time":"%b"' % moment, "service": b'"service":"%b"' % origin.service.encode()}
        if origin.replica:
            fields["replica"] = b'"replica":%d' % origin.replica
        fields["stream"] = b'"stream":"%b"' % origin.stream.encode()
        if origin.pid:
            fields["pid"] = b'"pid":%d' % origin.pid
        if level:
            fields["level"] = b'"level":"%b"' % level
        return fields


def _depth(record: bytes) -> int:
    """How many levels of lists and objects a valid JSON text has."""
    outside_strings = b"".join(record.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    depth = deepest = 0
    for byte in outside_strings.translate(None, _NOT_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > deepest:  # noqa: PLR1730 - max() takes three times as long
                deepest = depth
        else:
            depth -= 1
    return deepest


_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _refuse(constant: str) -> None:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(constant)


class _Syntax:
    """What json.JSONDecoder would tell its scanner. Values do not matter here: numbers are measured, not converted."""

    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_float = parse_int = len
    parse_constant = _refuse


_scan = _json.make_scanner(_Syntax)  # type: ignore[arg-type]

# The scanner looks for its exception in json.decoder: where that was never imported it fails with SystemError (3.11),
# or imports it, and so its package with `re` (3.12). This stands in for both while we scan.
_WANTED = ("json", "json.decoder")
_stand_in = type(sys)("json.decoder")
_stand_in.JSONDecodeError = ValueError  # type: ignore[attr-defined]
