"""Strings as YAML in double quotes, so that every value is read back unchanged. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "$": "$$"}


def quoted_list(texts: Iterable[str]) -> str:
    """A YAML flow list of the texts."""
    return f"[{', '.join(map(quote, texts))}]"


def quote(text: str, *, interpolated: bool = True) -> str:
    """A YAML string in double quotes. Unprintable characters are escaped; interpolated: $ is doubled."""
    shown = []
    for letter in text:
        if letter in _ESCAPES and (interpolated or letter != "$"):
            shown.append(_ESCAPES[letter])
        elif letter.isprintable() or "\udc80" <= letter <= "\udcff":  # a byte that is not UTF-8, unchanged
            shown.append(letter)
        else:
            number = ord(letter)
            shown.append(f"\\x{number:02x}" if number < 0x100 else f"\\U{number:08x}")  # noqa: PLR2004 - two digits
    return f'"{"".join(shown)}"'
