"""Facilities of syslog(3): their names, and the numbers that stand for them in a message (RFC 5424, 6.2.1). Pure."""

from __future__ import annotations

from cohabit.plan.nearest import did_you_mean

_NAMES = ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp")
_LAST = 23
FACILITIES = {name: number for number, name in enumerate(_NAMES)} | {f"local{i}": 16 + i for i in range(8)}
_NAME_OF = {number: name for name, number in FACILITIES.items()}


def parse_facility(text: str) -> int:
    """Number of "daemon" or "3"; ValueError if there is none."""
    if text.isascii() and text.isdecimal() and len(text) <= len(str(_LAST)) and int(text) <= _LAST:
        return int(text)
    if text.lower() not in FACILITIES:
        hint = did_you_mean(text, FACILITIES) or f" (there are: {', '.join(FACILITIES)}, and 0 to {_LAST})"
        raise ValueError(f"there is no facility {text[:40]!r}{hint}")
    return FACILITIES[text.lower()]


def facility_name(number: int) -> str:
    """Its name; its number where it has none."""
    return _NAME_OF.get(number, str(number))
