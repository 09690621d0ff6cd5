"""A text on the terminal that is drawn again over itself. It takes no screen of its own: the last one stays there."""

from __future__ import annotations

from cohabit.cli import talk

_UP, _TO_END_OF_LINE, _TO_END = "\x1b[{}A", "\x1b[K", "\x1b[J"  # ECMA-48: CUU, EL, ED


class Screen:
    """Where the last text stands. Nothing about the terminal is changed, so nothing has to be put back."""

    def __init__(self) -> None:
        self._height = 0

    def show(self, text: str) -> None:
        """Draw a text in place of the last one; what does not fit on the terminal is left out, and said so."""
        lines = text.splitlines()
        _, height = talk.size()
        if height and len(lines) >= height:
            hidden = len(lines) - (height - 2)
            lines = [*lines[: max(height - 2, 0)], f"({hidden} lines more: the terminal is too low)"]
        up = _UP.format(self._height) if self._height else ""
        talk.write(up + "".join(f"{line}{_TO_END_OF_LINE}\n" for line in lines) + _TO_END)
        self._height = len(lines)
