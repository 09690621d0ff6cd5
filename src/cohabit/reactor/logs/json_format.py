"""The json format: one object per line with time, service, replica, stream, pid, level and message.

A line that is a JSON object is not quoted but merged: the fields above are put in front of its own text, without
`message`. If a name is in both, only the line's own field is written. Anything else is text: what is not valid JSON
(RFC 8259, so no NaN) and what does not fit into a record. Objects are recognised by their first byte, `{`.
"""

from __future__ import annotations

import _json
import sys

from cohabit.reactor.logs.structured import RECORD_MAX, Structured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.logs.structured import Heads


# The limit of serde_json, with which Vector reads logs. CPython's differs by version: about 1,000 levels on 3.11, 1,500
# on 3.12 and 10,000 on 3.13.
DEPTH_MAX = 128
_OPENINGS = frozenset((b'{"', b"{}", b"{ ", b"{\t", b"{\n", b"{\r"))  # a line with another beginning is text


class Json(Structured):
    """The format of one stream of one service."""

    tail = b'"}\n'
    part_tail = b'","partial_message":true,"partial_id":"%b","partial_ordinal":%d,"partial_last":%b}\n'

    def head(self, moment: bytes, level: bytes) -> bytes:
        """The added fields up to the text."""
        return b'{%b,"message":"' % b",".join(self._fields(moment, level).values())

    def may_have_objects(self, data: bytes) -> bool:
        """Whether a line begins like an object."""
        return data.startswith(b"{") or b"\n{" in data

    def format_each(self, records: list[bytes], heads: Heads) -> bytes:
        """Merge objects; format everything else as text."""
        openings: dict[tuple[str, ...], bytes] = {}
        absent = [name for name in _PLACEHOLDERS if name not in sys.modules]
        sys.modules.update(dict.fromkeys(absent, _placeholder))
        try:
            return b"".join([self._merged(record, heads, openings) or self.quoted(record, heads) for record in records])
        finally:
            for name in absent:
                del sys.modules[name]

    def _merged(self, record: bytes, heads: Heads, openings: dict[tuple[str, ...], bytes]) -> bytes:
        """The object with the added fields; b"" if the record is not exactly one object.

        openings: made openings, by the names in the object; the objects of one service often have the same names.
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
        if names not in openings:
            openings[names] = self._opening(heads.time, names)
        # newlines are between values only: inside strings they are not valid JSON
        merged = openings[names] + record[1:].replace(b"\n", b" ") + b"\n"
        return merged if len(merged) <= RECORD_MAX else b""

    def _opening(self, moment: bytes, names: tuple[str, ...]) -> bytes:
        """The added fields, to be written before those of an object with these names."""
        own = [field for name, field in self._fields(moment, b"").items() if name not in names]
        return b"{" + b",".join([*own, b""] if names else own)

    def _fields(self, moment: bytes, level: bytes) -> dict[str, bytes]:
        """The added fields by name, without the message."""
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


def _reject_constant(constant: str) -> None:
    """NaN and Infinity are valid in Python, not in JSON."""
    raise ValueError(constant)


class _Syntax:
    """Options for the scanner, as in json.JSONDecoder. Values are not used: numbers are measured, not converted."""

    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_float = parse_int = len
    parse_constant = _reject_constant


_scan = _json.make_scanner(_Syntax)  # type: ignore[arg-type]

# The scanner takes its exception from json.decoder. If that was never imported, it fails with SystemError (3.11), or
# imports it, and with it the package and `re` (3.12). This placeholder replaces both modules during a scan. It does not
# stay: a later import of json would fail.
_PLACEHOLDERS = ("json", "json.decoder")
_placeholder = type(sys)("json.decoder")
_placeholder.JSONDecodeError = ValueError  # type: ignore[attr-defined]
