"""A service's `schedule` -> plan.model.Schedule, checked here once so that the clock need not expect nonsense.

Syntax and meaning are crontab(5)'s as cronsim has them (docs/adr/0007). Imported only for a file that has a
schedule: cronsim and zoneinfo cost 10 ms.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from cohabit.plan.model import Schedule
from cohabit.plan.nearest import did_you_mean

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
# Any start would do; a fixed one gives the same answer every day. cronsim looks 50 years ahead.
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def read_schedule(cron: str, zone: str) -> Schedule:
    """The Schedule of five fields (or a nickname) and a zone's name; ValueError with a sentence if it is none."""
    fields = _NICKNAMES.get(cron.strip().lower(), cron).split()
    if cron.strip().startswith("@") and len(fields) != _FIELDS:
        hint = did_you_mean(cron.strip(), _NICKNAMES) or f" (there are: {', '.join(_NICKNAMES)})"
        raise ValueError(f"{cron[:40]!r} is no known nickname{hint}")
    if len(fields) != _FIELDS:
        raise ValueError(f"expected five fields (minute hour day month weekday), got {len(fields)} in {cron[:60]!r}")
    if len(cron) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} characters")
    if not _matches(fields):
        raise ValueError(f"{cron[:60]!r} never comes: there is no such day")
    _check_zone(zone)
    return Schedule(" ".join(fields), zone)


def _matches(fields: list[str]) -> bool:
    """Whether the time ever comes; ValueError if the fields mean nothing."""
    try:
        return next(CronSim(" ".join(fields), _SOME_DAY), None) is not None
    except CronSimError as error:
        minute, hour, day, month, weekday = fields
        try:  # a day that some month has is a good day, only not in these
            CronSim(f"{minute} {hour} {day} * {weekday}", _SOME_DAY)
            CronSim(f"{minute} {hour} * {month} {weekday}", _SOME_DAY)
        except CronSimError:
            pass
        else:
            return False
        wrong = str(error).removeprefix("Bad ").replace("-", " ")
        raise ValueError(f"the {wrong} in {' '.join(fields)[:60]!r} means nothing (see crontab(5))") from error


def _check_zone(zone: str) -> None:
    if not zone:
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        known = zoneinfo.available_timezones()
        if not known:
            raise ValueError(f"the time zone {zone[:40]!r} is not here: no zone is (install tzdata)") from error
        hint = did_you_mean(zone, known) or " (write one such as Europe/Berlin; the package tzdata has them all)"
        raise ValueError(f"there is no time zone {zone[:40]!r}{hint}") from error
