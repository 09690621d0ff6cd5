"""config/keys/schedule.py: valid and invalid schedules and time zones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cohabit
from cohabit.config.keys.schedule import read_schedule
from cohabit.plan.model import Schedule
from unit.file_story import reported_once, service

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("written", "cron"),
    [
        ("*/5 * * * *", "*/5 * * * *"),
        ("  30  2   * * mon-fri ", "30 2 * * mon-fri"),
        ("0 0 L * *", "0 0 L * *"),
        ("0 0 * 2 MON#5", "0 0 * 2 MON#5"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 30 2 1", "0 0 30 2 1"),
        ("@hourly", "0 * * * *"),
        ("@Daily", "0 0 * * *"),
        ("@yearly", "0 0 1 1 *"),
    ],
)
def test_five_fields_or_a_nickname(written: str, cron: str) -> None:
    """As in crontab(5); nicknames are expanded. 30 February or Mondays means Mondays in February."""
    assert read_schedule(written, "") == Schedule(cron)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "expected five fields (minute hour day month weekday), got 0 in ''"),
        ("* * * *", "expected five fields (minute hour day month weekday), got 4 in '* * * *'"),
        ("0 */5 * * * *", "expected five fields (minute hour day month weekday), got 6 in '0 */5 * * * *'"),
        ("61 * * * *", "the minute in '61 * * * *' is not valid (see crontab(5))"),
        ("* * 32 * *", "the day of month in '* * 32 * *' is not valid (see crontab(5))"),
        ("* * 30 FEBR *", "the month in '* * 30 FEBR *' is not valid (see crontab(5))"),
        ("* * * * 9", "the day of week in '* * * * 9' is not valid (see crontab(5))"),
        ("0 0 30 2 *", "'0 0 30 2 *' never matches: there is no such date"),
        ("0 0 31 4,6 *", "'0 0 31 4,6 *' never matches: there is no such date"),
        ("* * */20 * 1L", "'* * */20 * 1L' never matches: there is no such date"),
        ("@dayly", "unknown nickname '@dayly' (did you mean '@daily'?)"),
        ("* * * * " + "1," * 200, "longer than 200 characters"),
    ],
)
def test_an_invalid_or_impossible_schedule_is_reported(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        read_schedule(written, "")


def test_a_time_zone_must_exist_on_this_machine() -> None:
    assert read_schedule("* * * * *", "Europe/Berlin").zone == "Europe/Berlin"
    for zone, hint in [
        ("Europe/Berln", r"did you mean 'Europe/Berlin'\?"),
        ("Nowhere", "tzdata"),
        ("Europe", "tzdata"),
        ("../etc/passwd", "tzdata"),
        ("/etc/localtime", "tzdata"),
        ("a\0b", "tzdata"),
    ]:
        with pytest.raises(ValueError, match=hint):
            read_schedule("* * * * *", zone)


def test_missing_time_zones_are_reported_with_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(zone: str) -> None:
        raise zoneinfo.ZoneInfoNotFoundError(zone)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", nothing)
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    with pytest.raises(ValueError, match=re.escape("no time zones are installed (install tzdata)")):
        read_schedule("* * * * *", "Europe/Berlin")


@given(st.text(st.sampled_from("0123456789*/,-#L WMONJA@\n²"), max_size=30))
def test_every_text_is_a_schedule_or_raises_value_error(text: str) -> None:
    """No other exception; a valid schedule has five fields."""
    try:
        made = read_schedule(text, "")
    except ValueError:
        return
    assert len(made.cron.split(" ")) == 5


def test_both_forms_of_schedule() -> None:
    """A string, or a map with a time zone."""
    assert service("schedule: '*/5 * * * *'").schedule == Schedule("*/5 * * * *")
    assert service("schedule: {cron: '@daily', timezone: UTC}").schedule == Schedule("0 0 * * *", "UTC")


def test_an_invalid_schedule_is_reported_with_its_line() -> None:
    assert reported_once("schedule: '0 0 30 2 *'") == "schedule: '0 0 30 2 *' never matches: there is no such date"
    for always in ("restart: always", "restart: unless-stopped", "deploy: {restart_policy: {}}"):
        assert reported_once(f"schedule: '@daily', {always}").startswith(
            "schedule: cannot be combined with a restart policy"
        )
    assert service("schedule: '@daily', restart: on-failure").schedule == Schedule("0 0 * * *")


def test_a_file_without_a_schedule_does_not_import_cronsim() -> None:
    """The import takes 10 ms."""
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(os.path.dirname(cohabit.__file__))!r})\n"
        "from cohabit.config import load\n"
        "open('cohabit.yaml', 'w').write('services: {a: {command: sh}}')\n"
        "load.main('check', {})\n"
        "assert not {'cronsim', 'zoneinfo'} & set(sys.modules), sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], stdout=subprocess.DEVNULL, check=True)
