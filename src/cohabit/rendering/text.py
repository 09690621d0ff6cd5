r"""Make untrusted text safe for a terminal; measure, cut and wrap it.

Names, output and answers of services may hold anything: newlines that forge a line of cohabit, escape sequences that
move the cursor or set the window's title, marks that change the direction of writing. All such text goes through
`safe` before it is shown. Widths are columns of a terminal (Unicode TR 11), not characters. Pure.
"""

from __future__ import annotations

import re
import unicodedata

from cohabit.units import printable

_CUT = "..."  # not U+2026: the terminal may not support UTF-8
_SGR = re.compile(r"\x1b\[[0-9;:]*m")  # colours (ECMA-48)
_TAB = "    "


def safe(text: str) -> str:
    r"""Escape all control characters: the result is one line, a newline becomes "\n". Colours are removed."""
    if text.isprintable():
        return text
    return printable(_SGR.sub("", text).replace("\t", _TAB))


def columns(text: str) -> int:
    """Return the width of a safe text in columns."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def shorten(text: str, width: int) -> str:
    """Cut a safe text to at most `width` columns; a cut text ends with "..."."""
    if columns(text) <= width:
        return text
    available = width - len(_CUT)
    return _CUT[: max(width, 0)] if available <= 0 else text[: _fitting_length(text, available)] + _CUT


def wrap(text: str, width: int, *, indent: str = "", hanging: str = "  ") -> list[str]:
    """Wrap a safe text to lines of at most `width` columns, at spaces if there are any; width 0: one line.

    indent: in front of every line; hanging: after it from the second line on. Both are omitted if `width` is too
    narrow for them.
    """
    if width <= 0 or columns(indent) + columns(text) <= width:
        return [indent + text]
    if columns(indent) + columns(hanging) + 2 * len(_CUT) > width:
        indent = hanging = ""
    lines, rest, front = [], text, indent
    while columns(front) + columns(rest) > width:
        available = max(_fitting_length(rest, width - columns(front)), 1)
        cut = rest.rfind(" ", 1, available + 1)
        cut = cut if cut > 0 and rest[:cut].strip() else available
        lines.append(front + rest[:cut].rstrip())
        rest, front = rest[cut:].lstrip(), indent + hanging
    return [*lines, front + rest] if rest else lines


def _fitting_length(text: str, width: int) -> int:
    taken = 0
    for index, character in enumerate(text):
        taken += _columns(character)
        if taken > width:
            return index
    return len(text)


def _columns(character: str) -> int:
    if " " <= character <= "~":
        return 1
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
