"""Values that no message may quote: what variables brought into a file. Pure.

A message quotes a text with repr(), often only its beginning, and numbers as they are. So whatever is quoted in a
message, and each long number, is searched for pieces of such values, and those are replaced.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[0-9]{4,}""")
_SHORTEST = 4  # characters in a row that say something of a value
_HIDDEN = "…"


class Unquotable:
    """The values that were met so far."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def add(self, value: str) -> None:
        """A value that must not be quoted."""
        if value:
            self._values.add(repr(value)[1:-1])

    def hide(self, message: str) -> str:
        """The message with … instead of pieces of the values where it quotes them."""
        return _QUOTED.sub(self._hide_quoted, message) if self._values else message

    def _hide_quoted(self, quoted: re.Match[str]) -> str:
        mark = "" if quoted[0].isdigit() else quoted[0][0]
        text = quoted[0][len(mark) : len(quoted[0]) - len(mark)]
        secret = [False] * len(text)
        for value in self._values:
            size = min(_SHORTEST, len(value))
            pieces = {value[at : at + size] for at in range(len(value) - size + 1)}
            for at in range(len(text) - size + 1):
                if text[at : at + size] in pieces:
                    secret[at : at + size] = [True] * size
        if not any(secret):
            return quoted[0]
        shown = "".join("\0" if hidden else one for one, hidden in zip(text, secret, strict=True))
        return f"{mark}{re.sub(chr(0) + '+', _HIDDEN, shown)}{mark}"
