r"""Text from elsewhere, made fit for a terminal; and how wide it is there.

What a service writes, is called or answers may hold anything: newlines that forge a line of ours, escape
sequences that move the cursor or set the window's title, marks that turn the direction of reading. Whatever
of that reaches a view goes through `safe` first. Widths are columns of a terminal (Unicode TR 11), not characters.
Pure; knows nothing of services.
"""

from __future__ import annotations

import re
import unicodedata

_CUT = "..."  # not the one character: a container's terminal need not know UTF-8
_SGR = re.compile(r"\x1b\[[0-9;:]*m")  # colours (ECMA-48): harmless to drop, ugly to show
_TAB = "    "


def safe(text: str) -> str:
    r"""The same on one line, without anything that a terminal would obey: a newline becomes "\n"; colours go."""
    if text.isprintable():
        return text
    text = _SGR.sub("", text).replace("\t", _TAB)
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def columns(text: str) -> int:
    """How many columns a safe text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(one) for one in text)


def shorten(text: str, width: int) -> str:
    """A safe text in at most so many columns, with "..." at its end if something had to go."""
    if columns(text) <= width:
        return text
    room = width - len(_CUT)
    return _CUT[: max(width, 0)] if room <= 0 else text[: _fitting(text, room)] + _CUT


def wrap(text: str, width: int, *, indent: str = "", hanging: str = "  ") -> list[str]:
    """A safe text in lines of at most `width` columns, broken at spaces where there are any.

    indent: in front of every line; hanging: after it from the second line on. width: 0 for one line, however long.
    A width too narrow for the indents is met all the same: they go.
    """
    if width <= 0 or columns(indent) + columns(text) <= width:
        return [indent + text]
    if columns(indent) + columns(hanging) + 2 * len(_CUT) > width:
        indent = hanging = ""
    lines, rest, front = [], text, indent
    while columns(front) + columns(rest) > width:
        room = max(_fitting(rest, width - columns(front)), 1)
        cut = rest.rfind(" ", 1, room + 1)
        cut = cut if cut > 0 and rest[:cut].strip() else room
        lines.append(front + rest[:cut].rstrip())
        rest, front = rest[cut:].lstrip(), indent + hanging
    return [*lines, front + rest] if rest else lines


def _fitting(text: str, width: int) -> int:
    """How many characters fit in so many columns."""
    taken = 0
    for index, one in enumerate(text):
        taken += _columns(one)
        if taken > width:
            return index
    return len(text)


def _columns(one: str) -> int:
    if " " <= one <= "~":
        return 1
    if unicodedata.category(one) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(one) in {"W", "F"} else 1
