"""Values of variables, which messages must not quote. Pure.

Messages quote texts with repr(), often only the beginning, and numbers without quotes. Therefore every quoted text and
every long number in a message is searched for parts of the values, and these are replaced.
"""

from __future__ import annotations

import re

from cohabit.lazy_pattern import lazy_pattern

_QUOTED = lazy_pattern(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[0-9]{4,}""")
_SHORTEST = 4  # consecutive characters of a value that must not be shown
_HIDDEN = "…"


class Unquotable:
    """The set of values that must not be quoted."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def add(self, value: str) -> None:
        """Add a value."""
        if value:
            self._values.add(repr(value)[1:-1])

    def hide(self, message: str) -> str:
        """The message with … instead of the parts of values that it quotes."""
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
