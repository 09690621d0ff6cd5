r"""Text inside the quotes of JSON and logfmt: escaping in bulk, and cutting what is too long.

Newlines stay as they are, so whole chunks of lines can be escaped at once and split afterwards. A byte that is not
UTF-8 becomes the text \xNN: nothing is lost, and the output is UTF-8 always.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORT = {0x08: b"\\b", 0x09: b"\\t", 0x0C: b"\\f", 0x0D: b"\\r"}
_ESCAPES = {bytes((code,)): _SHORT.get(code, b"\\u%04x" % code) for code in range(ord(" ")) if code != ord("\n")}
_CONTROLS = b"".join(_ESCAPES)
_LONGEST = 6  # \uXXXX
_INNER = range(0x80, 0xC0)  # bytes of a UTF-8 character, but for its first


def escape(data: bytes) -> bytes:
    """The text as RFC 8259 wants it between quotes, but for its newlines; the same object where that is all."""
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


def pieces(text: bytes, room: int) -> Iterator[bytes]:
    """Escaped text in pieces of at most `room` bytes (8 at least), cut neither in an escape nor in a character."""
    start = 0
    while len(text) - start > room:
        end = _boundary(text, start, start + room)
        yield text[start:end]
        start = end
    yield text[start:]


def _boundary(text: bytes, start: int, end: int) -> int:
    """The last place up to `end` where text may be cut; `start` is such a place too."""
    while text[end] in _INNER:
        end -= 1
    last = text.rfind(b"\\", max(start, end - _LONGEST + 1), end)
    if last < 0:
        return end
    before = text[start : last + 1]
    if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
        return end  # the backslash is an escaped one
    return last if last + (_LONGEST if text[last + 1] == ord("u") else 2) > end else end
