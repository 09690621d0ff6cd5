"""tasks/clock.py: when a cron line is due, in all time zones and with all changes of the clock; and the waiting."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.tasks import clock
from cohabit.tasks.clock import Alarm, Job, next_due, own_zone

HOUR, DAY = 3600, 86400


def _at(text: str, zone: str = "UTC", *, fold: int = 0) -> int:
    """Unix seconds of a local time; fold=1 for the second pass of a repeated hour."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp())


def _dues(cron: str, zone: str, start: int, end: int) -> list[str]:
    """All times at which the job is due on a clock that always runs, in local time with offset."""
    found = []
    due = next_due(cron, ZoneInfo(zone), start)
    while due is not None and due <= end:
        found.append(datetime.fromtimestamp(due, ZoneInfo(zone)).isoformat(timespec="minutes"))
        due = next_due(cron, ZoneInfo(zone), due)
    return found


# --- cron lines and time zones ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "start", "due"),
    [
        ("* * * * *", "2026-03-05T12:00", "2026-03-05T12:01"),
        ("*/5 * * * *", "2026-03-05T12:00:01", "2026-03-05T12:05"),
        ("0 3 * * *", "2026-03-05T03:00", "2026-03-06T03:00"),
        ("30 4 1,15 * *", "2026-03-05T00:00", "2026-03-15T04:30"),
        ("0 0 * * MON", "2026-03-05T00:00", "2026-03-09T00:00"),
        ("0 0 13 * FRI", "2026-03-05T00:00", "2026-03-06T00:00"),  # one of the two days is enough
        ("0 0 29 2 *", "2026-03-05T00:00", "2028-02-29T00:00"),
        ("0 0 29 2 *", "2096-03-01T00:00", "2104-02-29T00:00"),  # 2100 is not a leap year
        ("59 23 31 12 *", "2026-12-31T23:58:59", "2026-12-31T23:59"),
        ("59 23 31 12 *", "2026-12-31T23:59", "2027-12-31T23:59"),
    ],
)
def test_cron_lines_follow_crontab(cron: str, start: str, due: str) -> None:
    """The first time strictly after the start."""
    assert next_due(cron, UTC, _at(start)) == _at(due)


def test_a_line_that_never_comes_is_never_due() -> None:
    """The search for 30 February ends."""
    job = Job("never", "0 0 */20 2 1L", UTC, _at("2026-01-01T00:00"))
    assert (job.due, job.take_due(_at("2070-01-01T00:00"))) == (None, False)


@pytest.mark.parametrize(
    ("zone", "day", "last", "first"),
    [
        ("Europe/Berlin", "2026-03-29", "01:59+01:00", "03:00+02:00"),
        ("America/New_York", "2026-03-08", "01:59-05:00", "03:00-04:00"),
    ],
)
def test_a_job_in_the_skipped_hour_runs_once_right_after_it(zone: str, day: str, last: str, first: str) -> None:
    """When 2:00 becomes 3:00, jobs for 2:00 and 2:30 run at 3:00, once, and the next day as usual."""
    start, end = _at(f"{day}T00:00", zone), _at(f"{day}T23:00", zone)
    assert _dues("30 2 * * *", zone, start, end) == [f"{day}T{first}"]
    assert _dues("0,30 2 * * *", zone, start, end) == [f"{day}T{first}"]
    assert _dues("0 3 * * *", zone, start, end) == [f"{day}T{first}"]
    assert _dues("59 1 * * *", zone, start, end) == [f"{day}T{last}"]
    assert len(_dues("30 2 * * *", zone, start, end + 2 * DAY)) == 3


@pytest.mark.parametrize(
    ("zone", "day", "first", "second"),
    [("Europe/Berlin", "2026-10-25", "+02:00", "+01:00"), ("America/New_York", "2026-11-01", "-04:00", "-05:00")],
)
def test_a_job_in_the_repeated_hour_runs_once(zone: str, day: str, first: str, second: str) -> None:
    """A job at set times runs the first time; a job of every hour, or more frequent, runs both times."""
    hour = "02" if zone == "Europe/Berlin" else "01"
    start, end = _at(f"{day}T00:10", zone), _at(f"{day}T03:50", zone)
    assert _dues(f"30 {hour} * * *", zone, start, end) == [f"{day}T{hour}:30{first}"]
    assert [due for due in _dues("30 * * * *", zone, start, end) if f"T{hour}" in due] == [
        f"{day}T{hour}:30{first}",
        f"{day}T{hour}:30{second}",
    ]
    assert len(_dues("*/20 * * * *", zone, start, end)) == 14  # 3 h 40 min of local time are 4 h 40 min
    inside = _at(f"{day}T{hour}:10", zone, fold=1)
    assert next_due(f"30 {hour} * * *", ZoneInfo(zone), inside) == _at(f"{day}T{hour}:30", zone) + 25 * HOUR


def test_frequent_jobs_follow_elapsed_time() -> None:
    """The change to summer time does not affect a job of every ten minutes."""
    start = _at("2026-03-29T00:00", "Europe/Berlin")
    moments = [start]
    while moments[-1] < start + 6 * HOUR:
        moments.append(next_due("*/10 * * * *", ZoneInfo("Europe/Berlin"), moments[-1]) or 0)
    assert {after - before for before, after in pairwise(moments)} == {600}


_fields = st.tuples(
    st.sampled_from(["*", "*/7", "0", "30", "1,59", "10-20"]), st.sampled_from(["*", "*/2", "0", "2", "1-3", "2,3"])
)
_zones = st.sampled_from(["Europe/Berlin", "America/New_York", "America/Havana", "Pacific/Apia", "Africa/Casablanca"])


@given(_fields, _zones, st.integers(_at("2011-01-01T00:00"), _at("2030-01-01T00:00")))
def test_the_next_time_is_always_later(fields: tuple[str, str], zone: str, start: int) -> None:
    """In any zone, and there is no other time in between."""
    cron = f"{fields[0]} {fields[1]} * * *"
    due = next_due(cron, ZoneInfo(zone), start)
    assert due is not None
    assert start < due <= start + 3 * DAY
    assert next_due(cron, ZoneInfo(zone), due - 1) == due


# --- the clock is set ------------------------------------------------------------------------------------


def _job(cron: str, settled: str) -> Job:
    return Job("job", cron, UTC, _at(settled))


def test_a_job_is_due_once_when_its_time_comes() -> None:
    """Not before, and not again."""
    job = _job("0 3 * * *", "2026-03-05T02:00")
    due = _at("2026-03-05T03:00")
    assert [job.take_due(now) for now in (due - 0.001, due, due, due + HOUR)] == [False, True, False, False]
    assert (job.due, job.settled) == (due + DAY, due)


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 3 * * *", "15 * * * *"])
def test_a_jump_over_many_times_is_one_run(cron: str) -> None:
    """If the clock jumps ahead by three weeks, or the machine slept, the job is due once, then as usual."""
    job = _job(cron, "2026-03-05T02:00")
    later = _at("2026-03-26T12:34") + 0.5
    assert [job.take_due(later), job.take_due(later)] == [True, False]
    assert job.due is not None
    assert later < job.due <= later + DAY


def test_a_corrected_clock_stops_no_job() -> None:
    """From 1970 to today, and from 2070 back to today: once each, then as usual."""
    job = Job("job", "0 3 * * *", UTC, 100)
    assert job.take_due(_at("2026-03-05T12:00"))
    assert job.take_due(_at("2070-03-05T12:00"))
    assert not job.take_due(_at("2026-03-05T12:01"))
    assert job.due == _at("2026-03-06T03:00")


def test_set_back_by_less_than_three_hours_a_fixed_job_does_not_run_again() -> None:
    """What ran at 3:00 does not run when it is 3:00 a second time; the next day it does."""
    job = _job("0 3 * * *", "2026-03-05T00:00")
    due = _at("2026-03-05T03:00")
    assert job.take_due(due + 60)
    assert [job.take_due(due - 2 * HOUR), job.take_due(due), job.take_due(due + HOUR)] == [False, False, False]
    assert job.take_due(due + DAY)


def test_set_back_by_more_than_three_hours_a_fixed_job_follows_the_new_time() -> None:
    """The clock was wrong before."""
    job = _job("0 3 * * *", "2026-03-05T00:00")
    due = _at("2026-03-05T03:00")
    assert job.take_due(due)
    assert not job.take_due(due - 3 * HOUR - 1)
    assert (job.due, job.take_due(due)) == (due, True)


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 * * * *", "*/5 11,12 * * *"])
def test_set_back_a_frequent_job_follows_the_new_time(cron: str) -> None:
    """With * for minute or hour, a job does not pause for an hour because the clock was set back by one."""
    job = _job(cron, "2026-03-05T11:58")
    noon = _at("2026-03-05T12:00")
    assert job.take_due(noon)
    assert not job.take_due(noon - HOUR - 1)
    assert (job.due, job.take_due(noon - HOUR)) == (noon - HOUR, True)


def test_set_back_by_seconds_no_job_runs_twice_in_a_minute() -> None:
    """A time server that corrects the clock by two seconds causes no second run."""
    job = _job("* * * * *", "2026-03-05T11:59:30")
    noon = _at("2026-03-05T12:00")
    assert [job.take_due(noon + 0.1), job.take_due(noon - 1.9), job.take_due(noon)] == [True, False, False]
    assert job.take_due(noon + 60)


@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 */3 * * *", "0 3 1 * *"]),
    st.lists(st.floats(-5 * HOUR, 5 * HOUR, allow_nan=False), max_size=40),
)
def test_no_job_runs_twice_for_the_same_time(cron: str, jumps: list[float]) -> None:
    """However the clock is set, a job is never due at a time that is only slightly before the last one."""
    now = float(_at("2026-03-05T11:59:30"))
    job = Job("job", cron, UTC, int(now))
    setback_max = 60 if "*" in "".join(cron.split()[:2]) else 3 * HOUR
    for jump in jumps:
        now += jump
        before = job.settled
        if job.take_due(now):
            assert not before - setback_max <= now <= before
        assert job.due is not None
        assert job.due > job.settled


# --- the container's own zone ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "summer_hours"),
    [
        ("Europe/Berlin", 2),
        (":Europe/Berlin", 2),
        ("/usr/share/zoneinfo/Europe/Berlin", 2),
        ("CET-1CEST,M3.5.0,M10.5.0/3", 2),
        ("<+03>-3", 3),
        ("UTC0", 0),
        ("Etc/GMT-5", 5),
        ("", 0),
    ],
)
def test_the_containers_zone_is_tz_as_the_c_library_reads_it(value: str, summer_hours: int) -> None:
    """TZ as tzset(3) reads it: a name, a file, a rule, or empty for UTC."""
    offset = datetime(2026, 7, 1, tzinfo=own_zone({"TZ": value})).utcoffset()
    assert offset == timedelta(hours=summer_hours)


def test_without_tz_the_zone_is_that_of_etc_localtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that file it is UTC."""
    file = tmp_path / "localtime"
    monkeypatch.setattr(clock, "_LOCALTIME", str(file))
    assert own_zone({}) is UTC
    file.symlink_to("/usr/share/zoneinfo/Asia/Tokyo")
    assert datetime(2026, 7, 1, tzinfo=own_zone({})).utcoffset() == timedelta(hours=9)


@pytest.mark.parametrize("value", ["No/Where", "Europe", "nonsense", "CET-1CEST,M3", "/etc/hostname", "/none"])
def test_an_invalid_tz_is_an_error(value: str) -> None:
    """There is no guess."""
    with pytest.raises((OSError, ValueError, KeyError)):
        own_zone({"TZ": value})


# --- waiting ---------------------------------------------------------------------------------------------


@pytest.fixture
def lifeline() -> Iterator[int]:
    """The write end of a pipe, as process 1 holds it; standard input is the read end."""
    saved_stdin = os.dup(0)
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    yield writer
    os.dup2(saved_stdin, 0)
    os.close(saved_stdin)
    with suppress(OSError):  # a test may have closed it
        os.close(writer)


def test_the_alarm_wakes_at_its_time(lifeline: int) -> None:
    """Not before it by the wall clock; a time in the past wakes at once."""
    del lifeline
    alarm = Alarm()
    until = int(time.time()) + 1
    assert alarm.wait(time.time(), until)
    assert time.time() >= until
    assert alarm.wait(time.time(), 1.0)
    assert not alarm.warning


@pytest.mark.parametrize("timerfd", [True, False])
def test_the_alarm_detects_the_end_of_process_1(
    lifeline: int, monkeypatch: pytest.MonkeyPatch, *, timerfd: bool
) -> None:
    """However far the next time is, and without a next time."""
    if not timerfd:
        monkeypatch.setattr(clock, "_timerfd_create", _not_implemented)
    alarm = Alarm()
    os.close(lifeline)
    assert not alarm.wait(time.time(), time.time() + DAY)
    assert not alarm.wait(time.time(), None)


@pytest.mark.parametrize("call", ["_timerfd_settime", "read"])
def test_the_alarm_wakes_when_the_clock_is_set(lifeline: int, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """ECANCELED, when reading or setting the timer, makes it compute everything again."""
    del lifeline
    alarm = Alarm()

    def cancelled(*_: object) -> bytes:
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    monkeypatch.setattr(clock if call == "_timerfd_settime" else os, call, cancelled)
    assert alarm.wait(time.time(), 1.0)


def test_the_alarm_wakes_when_the_clock_was_set_back_before_it_was_armed(lifeline: int) -> None:
    """The time to wait for was computed from a later time than now."""
    del lifeline
    assert Alarm().wait(time.time() + HOUR, time.time() + DAY)


def test_without_a_timerfd_the_alarm_warns_and_polls(lifeline: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least once a minute."""
    del lifeline
    monkeypatch.setattr(clock, "_timerfd_create", _not_implemented)
    monkeypatch.setattr(clock, "_STEP_SECONDS", 0.01)
    alarm = Alarm()
    assert "every minute" in alarm.warning
    assert "Function not implemented" in alarm.warning
    assert alarm.wait(time.time(), time.time() + DAY)
    assert alarm.wait(time.time(), None)


def test_without_ctypes_the_alarm_polls(lifeline: int, monkeypatch: pytest.MonkeyPatch) -> None:
    del lifeline
    monkeypatch.setattr(clock, "ctypes", None)
    assert bool(Alarm().warning) == (not hasattr(os, "timerfd_create"))


def _not_implemented() -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def test_the_program_says_the_next_time_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, and again after each run, since it has changed then."""
    noon = _at("2026-03-05T12:00")
    now, lines = [noon, noon + 60, noon + 61], list[str]()

    class _Alarm:
        warning = ""

        def wait(self, _now: float, _until: float | None) -> bool:
            now.pop(0)
            return bool(now)

    monkeypatch.setattr(clock, "Alarm", _Alarm)
    monkeypatch.setattr(clock, "_write", lines.append)
    monkeypatch.setattr("cohabit.tasks.clock.time.time", lambda: float(now[0]))
    assert clock.main([f"{noon} job UTC * * * * *"]) == 0
    assert lines == [f"next {noon + 60} job", f"{noon + 60} job", f"next {noon + 120} job"]
