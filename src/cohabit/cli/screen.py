"""Text on the terminal that is redrawn in place. It does not use the alternate screen: the last text stays visible."""

from __future__ import annotations

from cohabit.cli import client

_UP, _TO_END_OF_LINE, _TO_END = "\x1b[{}A", "\x1b[K", "\x1b[J"  # ECMA-48: CUU, EL, ED


class Screen:
    """The position of the last text. No mode of the terminal is changed, so nothing has to be restored."""

    def __init__(self) -> None:
        self._height = 0

    def show(self, text: str, footer: int = 0) -> None:
        """Draw a text in place of the last one. Lines that do not fit are left out, and their number is shown.

        footer: how many of the last lines are always shown.
        """
        lines = text.splitlines()
        _, height = client.terminal_size()
        if height and len(lines) >= height:
            end = lines[len(lines) - footer :]
            room = max(height - 2 - footer, 0)
            hidden = len(lines) - footer - room
            lines = [*lines[:room], f"({hidden} more lines do not fit)", *end][: height - 1]
        up = _UP.format(self._height) if self._height else ""
        client.write(up + "".join(f"{line}{_TO_END_OF_LINE}\n" for line in lines) + _TO_END)
        self._height = len(lines)
