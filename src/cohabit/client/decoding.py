"""JSON to plain values with the C part of the standard library's json.

The Python part would cost each command 7 ms, for a regular expression engine that only its error messages need.
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Options:
    """The attributes that the scanner reads: those of a json.JSONDecoder with its defaults."""

    strict = True
    memo: dict[str, str] = {}  # noqa: RUF012 - as in json.JSONDecoder
    object_hook = object_pairs_hook = array_hook = None
    parse_float, parse_int, parse_constant = float, int, float


_scan = _json.make_scanner(_Options)  # type: ignore[arg-type]


def decode(line: bytes) -> dict[str, Any]:
    """Return the object in this line. Raises ValueError if it is not an object."""
    try:
        text = line.decode()
        value, end = _scan(text, 0)
    except (StopIteration, ValueError):
        raise ValueError("it is not a JSON object") from None
    if not isinstance(value, dict) or text[end:].strip():
        raise ValueError("it is not a JSON object")
    return value
