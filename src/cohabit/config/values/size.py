"""Docker's sizes: 512k, 10m, 1g, 1048576. Pure.

A number followed by b, k, m, g or t, in upper or lower case, optionally followed by b or ib. k is 1024, as in Docker's
units.RAMInBytes (github.com/docker/go-units).
"""

from __future__ import annotations

import re

from cohabit.lazy_pattern import lazy_pattern

_SIZE = lazy_pattern(r"([0-9]{1,19}(?:\.[0-9]{1,9})?) ?(?:([kmgt])i?)?b?", re.ASCII | re.IGNORECASE)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes of "10m". Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text[:40]!r} is not a size (write 512k, 10m, 1g or a number of bytes)")
    unit = _UNITS[found[2].lower()] if found[2] else 1
    return int(float(found[1]) * unit) if "." in found[1] else int(found[1]) * unit


def format_size(size: int) -> str:
    """The shortest text for exactly this number of bytes."""
    for unit, factor in reversed(_UNITS.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
