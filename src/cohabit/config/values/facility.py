"""Facilities of syslog(3): names and numbers (RFC 5424, 6.2.1). Pure."""

from __future__ import annotations

from cohabit.nearest import did_you_mean

_NAMES = ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp")
_LAST = 23
FACILITIES = {name: number for number, name in enumerate(_NAMES)} | {f"local{i}": 16 + i for i in range(8)}
_NAME_OF = {number: name for name, number in FACILITIES.items()}


def parse_facility(text: str) -> int:
    """Number of "daemon" or "3". Raises ValueError."""
    if text.isascii() and text.isdecimal() and len(text) <= len(str(_LAST)) and int(text) <= _LAST:
        return int(text)
    if text.lower() not in FACILITIES:
        hint = did_you_mean(text, FACILITIES) or f" (known: {', '.join(FACILITIES)}, and 0 to {_LAST})"
        raise ValueError(f"unknown facility {text[:40]!r}{hint}")
    return FACILITIES[text.lower()]


def facility_name(number: int) -> str:
    """Name of a facility; its number as text if it has none."""
    return _NAME_OF.get(number, str(number))
