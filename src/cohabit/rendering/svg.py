"""The few shapes that our pictures are made of, and the card that they are drawn on: plain SVG 1.1.

A picture goes into a ticket as it is: one file, without scripts, style sheets or fonts from elsewhere, on a
white card, so that it can be read on a dark page. Texts from outside are made safe and escaped here and
nowhere else. The same shapes give the same bytes. How wide a text will be is reckoned with the widths of
DejaVu Sans, the widest of the usual sans-serif fonts: what fits there fits everywhere.
Pure; knows neither services nor states.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from cohabit.rendering.text import columns, safe

if TYPE_CHECKING:
    from collections.abc import Iterable

INK, FAINT, HAIR = "#1f2933", "#616e7c", "#d5dae0"
SIZE = 12.0  # of a usual text, in pixels
_FONTS = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"

# Widths in em; what is not named is a small letter or a digit.
_NARROW, _SMALL, _CAPITAL, _BROAD = 0.39, 0.64, 0.78, 0.99
_WIDTHS = dict.fromkeys(" .,:;'|!()[]iljIJ-/\\ft", _NARROW) | dict.fromkeys("mwMW%@", _BROAD)
_BOLD = 1.12
_CUT = "..."


def text_width(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """At most how many pixels a text takes."""
    ems = sum(_ems(one) for one in safe(text))
    return ems * size * (_BOLD if bold else 1.0)


def fitted(text: str, width: float, size: float = SIZE, *, bold: bool = False) -> str:
    """A text made safe, cut to so many pixels, with "..." at its end if something had to go."""
    text = safe(text)
    if text_width(text, size, bold=bold) <= width:
        return text
    room = width - text_width(_CUT, size, bold=bold)
    for index, one in enumerate(text):
        room -= text_width(one, size, bold=bold)
        if room < 0:
            return text[:index] + _CUT
    return text


def _ems(one: str) -> float:
    if one in _WIDTHS:
        return _WIDTHS[one]
    if one.isupper() or one in "+=<>~_#&":
        return _CAPITAL + 0.06
    return _SMALL if one.isascii() else 0.8 + 0.3 * (columns(one) > 1)


def number(value: float) -> str:
    """A coordinate as SVG writes it, to a tenth of a pixel."""
    short = f"{value:.1f}".removesuffix(".0")
    return "0" if short == "-0" else short


class Picture:
    """Shapes in the order in which they are drawn. Coordinates are pixels from the upper left corner."""

    def __init__(self) -> None:
        self._shapes: list[str] = []

    def rectangle(self, x: float, y: float, width: float, height: float, **look: object) -> None:
        """look, here and below: attributes of SVG, with _ for -."""
        self._add("rect", {"x": x, "y": y, "width": width, "height": height} | look)

    def circle(self, x: float, y: float, radius: float, **look: object) -> None:
        """A disc."""
        self._add("circle", {"cx": x, "cy": y, "r": radius} | look)

    def line(self, x1: float, y1: float, x2: float, y2: float, **look: object) -> None:
        """A straight line."""
        self._add("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2} | look)

    def path(self, steps: Iterable[str | float], **look: object) -> None:
        """A path: letters and coordinates of its `d`."""
        drawn = " ".join(step if isinstance(step, str) else number(step) for step in steps)
        self._add("path", {"d": drawn} | look)

    def text(self, x: float, y: float, text: str, size: float = SIZE, **look: object) -> None:
        """One line of text; y is its base line."""
        self._add("text", {"x": x, "y": y, "font-size": size, "fill": INK} | look, safe(text))

    def open(self, title: str = "", **look: object) -> None:
        """Begin a group; its title is read out, and shown under a pointer that rests on it."""
        told = f"<title>{escape(safe(title))}</title>" if title else ""
        self._shapes.append(f"<g{_attributes(look)}>{told}")

    def close(self) -> None:
        """End the group."""
        self._shapes.append("</g>")

    def render(self, title: str, width: float, height: float) -> str:
        """The whole file, on a white card of that size."""
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
    """In the order given; a number as a coordinate."""
    written = (
        (name.replace("_", "-"), number(value) if isinstance(value, (int, float)) else str(value))
        for name, value in values.items()
    )
    return "".join(f' {name}="{escape(value)}"' for name, value in written)
