"""One line of a text picture: pieces, each in the colour of a state, in at most so many columns.

Colours are put on after the cutting, so that no escape sequence is ever counted or cut in two. The tree of
graph.py and the bars of timeline.py are made of these. Pure; knows no services.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.rendering.colours import paint
from cohabit.rendering.text import columns, safe, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

# A text from anywhere, and a state of colours.LOOKS; "" for no colour.
Piece = tuple[str, str]


def line(pieces: Iterable[Piece], *, width: int, colour: bool) -> str:
    """The pieces behind one another, cut where `width` columns are full, without spaces at the end."""
    fitting: list[Piece] = []
    room = max(width, 0)
    for text, state in pieces:
        cut = shorten(safe(text), room)
        fitting.append((cut, state))
        room -= columns(cut)
        if columns(cut) < columns(safe(text)):
            break
    while fitting and not fitting[-1][0].rstrip():
        fitting.pop()
    if fitting:
        text, state = fitting.pop()
        fitting.append((text.rstrip(), state))
    return "".join(paint(text, state, colour=colour) if state else text for text, state in fitting)


def padded(text: str, width: int) -> str:
    """The text, made safe, in exactly `width` columns."""
    text = shorten(safe(text), width)
    return text + " " * (width - columns(text))
