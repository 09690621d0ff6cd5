"""A service's `schedule` -> plan.model.Schedule, validated here so that the clock gets only valid ones.

Syntax and meaning are those of crontab(5) as cronsim implements them (docs/adr/0007). This module is imported only for
a file with a schedule: cronsim and zoneinfo take 10 ms to import.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from cohabit.nearest import did_you_mean
from cohabit.plan.model import Schedule

_FIELDS = 5
_LONGEST = 200
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# A fixed start makes the result independent of the date. cronsim searches 50 years ahead.
_START = datetime(2024, 1, 1, tzinfo=UTC)


def read_schedule(cron: str, zone: str) -> Schedule:
    """The Schedule of five fields (or a nickname) and the name of a time zone. ValueError: why it is not valid."""
    fields = _NICKNAMES.get(cron.strip().lower(), cron).split()
    if cron.strip().startswith("@") and len(fields) != _FIELDS:
        hint = did_you_mean(cron.strip(), _NICKNAMES) or f" (known: {', '.join(_NICKNAMES)})"
        raise ValueError(f"unknown nickname {cron[:40]!r}{hint}")
    if len(fields) != _FIELDS:
        raise ValueError(f"expected five fields (minute hour day month weekday), got {len(fields)} in {cron[:60]!r}")
    if len(cron) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} characters")
    if not _matches(fields):
        raise ValueError(f"{cron[:60]!r} never matches: there is no such date")
    _check_zone(zone)
    return Schedule(" ".join(fields), zone)


def _matches(fields: list[str]) -> bool:
    """Whether any date matches. ValueError: a field is not valid."""
    try:
        return next(CronSim(" ".join(fields), _START), None) is not None
    except CronSimError as error:
        minute, hour, day, month, weekday = fields
        try:  # valid separately: only the combination of day and month never occurs
            CronSim(f"{minute} {hour} {day} * {weekday}", _START)
            CronSim(f"{minute} {hour} * {month} {weekday}", _START)
        except CronSimError:
            pass
        else:
            return False
        wrong = str(error).removeprefix("Bad ").replace("-", " ")
        raise ValueError(f"the {wrong} in {' '.join(fields)[:60]!r} is not valid (see crontab(5))") from error


def _check_zone(zone: str) -> None:
    if not zone:
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        known = zoneinfo.available_timezones()
        if not known:
            raise ValueError(
                f"unknown time zone {zone[:40]!r}: no time zones are installed (install tzdata)"
            ) from error
        hint = did_you_mean(zone, known) or " (write a name such as Europe/Berlin, or install tzdata)"
        raise ValueError(f"unknown time zone {zone[:40]!r}{hint}") from error
