"""Moments, spans, sizes and lists as people say them. Pure; `now` comes in.

Clock times are UTC with a Z, as `docker logs --timestamps` has them: what somebody pastes into a ticket
must mean the same to whoever reads it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cohabit.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_NAMES_MAX = 5
_KIB = 1024


def clock(moment: float, now: float) -> str:
    """Unix seconds as "02:40:00Z", with the date in front when that is another day than now's."""
    time = datetime.fromtimestamp(int(moment), UTC)
    same_day = int(moment) // _DAY == int(now) // _DAY
    return time.strftime("%H:%M:%SZ" if same_day else "%Y-%m-%d %H:%M:%SZ")


def span(seconds: float) -> str:
    """A length of time in at most two units: 0.25 -> "250ms", 12.3 -> "12.3s", 75 -> "1m15s", 200000 -> "2d7h"."""
    if round(seconds, 1) < _MINUTE:
        return format_duration(max(seconds, 0.0))
    whole = round(seconds)
    if whole < _HOUR:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < _DAY:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    return _two(whole, _DAY, "d", _HOUR, "h")


def short_span(seconds: float) -> str:
    """A length of time in whole seconds, or in at most two greater units: for a table that is read again and again."""
    return f"{int(max(seconds, 0.0))}s" if seconds < _MINUTE else span(int(seconds))


def ago(moment: float, now: float) -> str:
    """How long since a moment: "12s ago", or "now" within a tenth of a second or when the clock was set back."""
    passed = now - moment
    return f"{span(passed)} ago" if round(passed, 1) > 0 else "now"


def stamp(moment: float, now: float) -> str:
    """A moment twice: "02:39:48Z (12s ago)"."""
    return f"{clock(moment, now)} ({ago(moment, now)})"


def until(moment: float, now: float) -> str:
    """A moment to come: "in 1.6s", or "now"."""
    left = moment - now
    return f"in {span(left)}" if round(left, 1) > 0 else "now"


def size(amount: int) -> str:
    """Bytes as docker writes them: "512 B", "23.5 MiB", "256 MiB"."""
    if amount < _KIB:
        return f"{amount} B"
    value, unit = float(amount), "B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007 - the last one is what is left
        value /= _KIB
        if value < _KIB:
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def listed(names: Sequence[str], most: int = _NAMES_MAX) -> str:
    """Names in a row: "a, b", and beyond so many "a, b and 3 more"."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def times(number: int) -> str:
    """How often: "once", "twice", "3 times"."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def ordinary(number: int, noun: str) -> str:
    """A number with its noun: "1 service", "2 services"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _two(whole: int, big: int, big_name: str, small: int, small_name: str) -> str:
    greater, rest = divmod(whole, big)
    lesser = rest // small
    return f"{greater}{big_name}" + (f"{lesser}{small_name}" if lesser else "")
