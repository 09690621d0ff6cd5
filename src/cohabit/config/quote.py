"""Strings as YAML in double quotes, so that no value can turn into another on its way back. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "$": "$$"}


def quoted_list(words: Iterable[str]) -> str:
    """A list of them in one line."""
    return f"[{', '.join(map(quote, words))}]"


def quote(text: str, *, interpolated: bool = True) -> str:
    """A YAML string in double quotes; what cannot be seen is escaped, and $ is doubled where it would count."""
    shown = []
    for letter in text:
        if letter in _ESCAPES and (interpolated or letter != "$"):
            shown.append(_ESCAPES[letter])
        elif letter.isprintable() or "\udc80" <= letter <= "\udcff":  # a byte that is no UTF-8 stays what it is
            shown.append(letter)
        else:
            number = ord(letter)
            shown.append(f"\\x{number:02x}" if number < 0x100 else f"\\U{number:08x}")  # noqa: PLR2004 - two digits
    return f'"{"".join(shown)}"'
