"""A text on the terminal that is drawn again over itself. It takes no screen of its own: the last one stays there."""

from __future__ import annotations

from cohabit.cli import client

_UP, _TO_END_OF_LINE, _TO_END = "\x1b[{}A", "\x1b[K", "\x1b[J"  # ECMA-48: CUU, EL, ED


class Screen:
    """Where the last text stands. Nothing about the terminal is changed, so nothing has to be put back."""

    def __init__(self) -> None:
        self._height = 0

    def show(self, text: str, closing: int = 0) -> None:
        """Draw a text in place of the last one; what does not fit on the terminal is left out, and said so.

        closing: how many of the last lines are always shown.
        """
        lines = text.splitlines()
        _, height = client.size()
        if height and len(lines) >= height:
            end = lines[len(lines) - closing :]
            room = max(height - 2 - closing, 0)
            hidden = len(lines) - closing - room
            lines = [*lines[:room], f"({hidden} lines more: the terminal is too low)", *end][: height - 1]
        up = _UP.format(self._height) if self._height else ""
        client.write(up + "".join(f"{line}{_TO_END_OF_LINE}\n" for line in lines) + _TO_END)
        self._height = len(lines)
