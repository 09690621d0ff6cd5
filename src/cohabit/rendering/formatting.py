"""Format times, durations, sizes and lists for people. Pure; `now` is a parameter.

Clock times are UTC and end with Z, as in `docker logs --timestamps`, so that they keep their meaning in a ticket.
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
    """Format Unix seconds as "02:40:00Z", with the date in front if it is not the day of `now`."""
    time = datetime.fromtimestamp(int(moment), UTC)
    same_day = int(moment) // _DAY == int(now) // _DAY
    return time.strftime("%H:%M:%SZ" if same_day else "%Y-%m-%d %H:%M:%SZ")


def duration(seconds: float) -> str:
    """Format a duration in at most two units: 0.25 -> "250ms", 12.3 -> "12.3s", 75 -> "1m15s", 200000 -> "2d7h"."""
    if round(seconds, 1) < _MINUTE:
        return format_duration(max(seconds, 0.0))
    whole = round(seconds)
    if whole < _HOUR:
        return _two_units(whole, _MINUTE, "m", 1, "s")
    if whole < _DAY:
        return _two_units(whole, _HOUR, "h", _MINUTE, "m")
    return _two_units(whole, _DAY, "d", _HOUR, "h")


def short_duration(seconds: float) -> str:
    """Format a duration in whole seconds, from a minute on in at most two larger units; for tables."""
    return f"{int(max(seconds, 0.0))}s" if seconds < _MINUTE else duration(int(seconds))


def ago(moment: float, now: float) -> str:
    """Format the age of a time: "12s ago"; "now" below 0.1 s, and for a time in the future (the clock was set back)."""
    passed = now - moment
    return f"{duration(passed)} ago" if round(passed, 1) > 0 else "now"


def time_and_age(moment: float, now: float) -> str:
    """Format a time and its age: "02:39:48Z (12s ago)"."""
    return f"{clock(moment, now)} ({ago(moment, now)})"


def until(moment: float, now: float) -> str:
    """Format the time left until a moment: "in 1.6s", or "now"."""
    left = moment - now
    return f"in {duration(left)}" if round(left, 1) > 0 else "now"


def size(amount: int) -> str:
    """Format bytes as Docker does: "512 B", "23.5 MiB", "256 MiB"."""
    if amount < _KIB:
        return f"{amount} B"
    value, unit = float(amount), "B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007 - the last unit is used after the loop
        value /= _KIB
        if value < _KIB:
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def name_list(names: Sequence[str], most: int = _NAMES_MAX) -> str:
    """Join names: "a, b"; with more than `most` names "a, b and 3 more"."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def times(number: int) -> str:
    """Format a count of repetitions: "once", "twice", "3 times"."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: "1 service", "2 services"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _two_units(whole: int, big: int, big_name: str, small: int, small_name: str) -> str:
    greater, rest = divmod(whole, big)
    lesser = rest // small
    return f"{greater}{big_name}" + (f"{lesser}{small_name}" if lesser else "")
