"""Long lines on a terminal: broken at words, below their own beginning. Files and pipes get them whole."""

from __future__ import annotations

import os
import textwrap

_HANGING = "  "
_WIDTH_MIN = 20


def wrapped(text: str, descriptor: int) -> str:
    """Whole lines as a terminal shows them best; unchanged if the descriptor is not a terminal."""
    try:
        width = os.get_terminal_size(descriptor).columns
    except OSError:
        return text
    if width < _WIDTH_MIN:
        return text
    return "".join(f"{line}\n" for long in text.splitlines() for line in _lines(long, width))


def _lines(line: str, width: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip(" ")))
    return textwrap.wrap(
        line.strip(" "), width, initial_indent=indent, subsequent_indent=indent + _HANGING,
        break_long_words=False, break_on_hyphens=False, replace_whitespace=False, drop_whitespace=True,
    ) or [line]  # fmt: skip
