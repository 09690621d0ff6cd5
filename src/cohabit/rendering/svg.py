"""Write SVG 1.1 pictures from a few shapes, on a white background.

A picture is one file for a ticket: without scripts, style sheets or external fonts, and readable on a dark page. Only
this module makes texts safe and escapes them for SVG. The output is deterministic. Text widths are estimated from
DejaVu Sans, the widest of the usual sans-serif fonts, so a text that fits there fits with any of them. Pure.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from cohabit.rendering.text import columns, safe

if TYPE_CHECKING:
    from collections.abc import Iterable

INK, FAINT, HAIR = "#1f2933", "#616e7c", "#d5dae0"
SIZE = 12.0  # default text size in pixels
_FONTS = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"

# Widths in em; other characters count as small letters or digits.
_NARROW, _SMALL, _CAPITAL, _BROAD = 0.39, 0.64, 0.78, 0.99
_WIDTHS = dict.fromkeys(" .,:;'|!()[]iljIJ-/\\ft", _NARROW) | dict.fromkeys("mwMW%@", _BROAD)
_BOLD = 1.12
_CUT = "..."


def text_width(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """Return an upper estimate of the width of a text in pixels."""
    ems = sum(_ems(character) for character in safe(text))
    return ems * size * (_BOLD if bold else 1.0)


def fitted(text: str, width: float, size: float = SIZE, *, bold: bool = False) -> str:
    """Make a text safe and cut it to `width` pixels; a cut text ends with "..."."""
    text = safe(text)
    if text_width(text, size, bold=bold) <= width:
        return text
    available = width - text_width(_CUT, size, bold=bold)
    for index, character in enumerate(text):
        available -= text_width(character, size, bold=bold)
        if available < 0:
            return text[:index] + _CUT
    return text


def _ems(character: str) -> float:
    if character in _WIDTHS:
        return _WIDTHS[character]
    if character.isupper() or character in "+=<>~_#&":
        return _CAPITAL + 0.06
    return _SMALL if character.isascii() else 0.8 + 0.3 * (columns(character) > 1)


def number(value: float) -> str:
    """Format a coordinate for SVG, to a tenth of a pixel."""
    short = f"{value:.1f}".removesuffix(".0")
    return "0" if short == "-0" else short


class Picture:
    """A list of shapes in drawing order. Coordinates are pixels from the upper left corner."""

    def __init__(self) -> None:
        self._shapes: list[str] = []

    def rectangle(self, x: float, y: float, width: float, height: float, **attributes: object) -> None:
        """Draw a rectangle. attributes, here and below: attributes of SVG, with _ for -."""
        self._add("rect", {"x": x, "y": y, "width": width, "height": height} | attributes)

    def circle(self, x: float, y: float, radius: float, **attributes: object) -> None:
        """Draw a filled circle."""
        self._add("circle", {"cx": x, "cy": y, "r": radius} | attributes)

    def line(self, x1: float, y1: float, x2: float, y2: float, **attributes: object) -> None:
        """Draw a straight line."""
        self._add("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2} | attributes)

    def path(self, steps: Iterable[str | float], **attributes: object) -> None:
        """Draw a path; steps: letters and coordinates of its `d`."""
        drawn = " ".join(step if isinstance(step, str) else number(step) for step in steps)
        self._add("path", {"d": drawn} | attributes)

    def text(self, x: float, y: float, text: str, size: float = SIZE, **attributes: object) -> None:
        """Draw one line of text; y is its base line."""
        self._add("text", {"x": x, "y": y, "font-size": size, "fill": INK} | attributes, safe(text))

    def open(self, title: str = "", **attributes: object) -> None:
        """Begin a group; its title is its tooltip and its text for screen readers."""
        title_element = f"<title>{escape(safe(title))}</title>" if title else ""
        self._shapes.append(f"<g{_attributes(attributes)}>{title_element}")

    def close(self) -> None:
        """End the current group."""
        self._shapes.append("</g>")

    def render(self, title: str, width: float, height: float) -> str:
        """Return the whole file, with a white background of that size."""
        size = f'width="{number(width)}" height="{number(height)}" viewBox="0 0 {number(width)} {number(height)}"'
        card = {
            "x": 0.5, "y": 0.5, "width": width - 1, "height": height - 1, "rx": 8, "fill": "#ffffff", "stroke": HAIR,
        }  # fmt: skip
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{_FONTS}">',
                f"<title>{escape(safe(title))}</title>",
                f"<rect{_attributes(card)}/>",
                *self._shapes,
                "</svg>",
                "",
            ]
        )

    def _add(self, tag: str, attributes: dict[str, object], content: str | None = None) -> None:
        end = "/>" if content is None else f">{escape(content)}</{tag}>"
        self._shapes.append(f"<{tag}{_attributes(attributes)}{end}")


def _attributes(values: dict[str, object]) -> str:
    written = (
        (name.replace("_", "-"), number(value) if isinstance(value, (int, float)) else str(value))
        for name, value in values.items()
    )
    return "".join(f' {name}="{escape(value)}"' for name, value in written)
