"""One line of a text picture: coloured pieces, cut to a given width.

Colours are added after cutting, so that no escape sequence is counted or cut. graph.py and timeline.py use this. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.rendering.colours import paint
from cohabit.rendering.text import columns, safe, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

# An unsafe text, and a key of colours.STYLES; "" for no colour.
Piece = tuple[str, str]


def line(pieces: Iterable[Piece], *, width: int, colour: bool) -> str:
    """Join the pieces, cut the line at `width` columns, and strip spaces at its end."""
    fitting: list[Piece] = []
    available = max(width, 0)
    for text, state in pieces:
        cut = shorten(safe(text), available)
        fitting.append((cut, state))
        available -= columns(cut)
        if columns(cut) < columns(safe(text)):
            break
    while fitting and not fitting[-1][0].rstrip():
        fitting.pop()
    if fitting:
        text, state = fitting.pop()
        fitting.append((text.rstrip(), state))
    return "".join(paint(text, state, colour=colour) if state else text for text, state in fitting)


def padded(text: str, width: int) -> str:
    """Make a text safe, and cut or pad it to exactly `width` columns."""
    text = shorten(safe(text), width)
    return text + " " * (width - columns(text))
