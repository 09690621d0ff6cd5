r"""Escaping of text inside the quotes of JSON and logfmt, many lines at once, and splitting of long text.

Newlines are left unchanged, so that many lines can be escaped at once and split afterwards. A byte that is not UTF-8
becomes the text \xNN, so the output is always UTF-8.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORT = {0x08: b"\\b", 0x09: b"\\t", 0x0C: b"\\f", 0x0D: b"\\r"}
_ESCAPES = {bytes((code,)): _SHORT.get(code, b"\\u%04x" % code) for code in range(ord(" ")) if code != ord("\n")}
_CONTROLS = b"".join(_ESCAPES)
_ESCAPE_LENGTH_MAX = 6  # \uXXXX
_CONTINUATION = range(0x80, 0xC0)  # bytes that continue a UTF-8 character


def escape(data: bytes) -> bytes:
    """The text escaped as RFC 8259 requires, except newlines; the same object if there is nothing to escape."""
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("utf-8", "backslashreplace").encode()
    data = data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    if len(data.translate(None, _CONTROLS)) < len(data):
        for control, escaped in _ESCAPES.items():
            data = data.replace(control, escaped)
    return data


def pieces(text: bytes, size_max: int) -> Iterator[bytes]:
    """Split escaped text into pieces of at most size_max bytes (at least 8), never inside an escape or a character."""
    start = 0
    while len(text) - start > size_max:
        end = _boundary(text, start, start + size_max)
        yield text[start:end]
        start = end
    yield text[start:]


def _boundary(text: bytes, start: int, end: int) -> int:
    """The last place up to `end` where the text may be split. It may be split at `start`."""
    while text[end] in _CONTINUATION:
        end -= 1
    last = text.rfind(b"\\", max(start, end - _ESCAPE_LENGTH_MAX + 1), end)
    if last < 0:
        return end
    before = text[start : last + 1]
    if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
        return end  # the backslash is itself escaped
    return last if last + (_ESCAPE_LENGTH_MAX if text[last + 1] == ord("u") else 2) > end else end
