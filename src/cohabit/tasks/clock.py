"""The clock: reports when a schedule is due; a child of process 1, started as `python -I PATH/clock.py JOB...`.

It is a separate program because it needs what process 1 must not import (cronsim, zoneinfo and datetime: 3 MB). It
runs as long as there are schedules.

Each JOB is one argument `SECONDS NAME ZONE CRON`: the job is settled up to SECONDS (Unix time); ZONE "-" is the
container's own. Standard output is whole lines: `SECONDS NAME` when a job is due and settled up to SECONDS; `next
SECONDS NAME` when its next time has changed; any other line is a warning for people. Standard input is a pipe from
process 1: when it closes, the clock ends.
"""

from __future__ import annotations

import errno
import io
import os
import select
import struct
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

try:
    import ctypes
except ImportError:  # a Python without ctypes: the alarm polls every minute
    ctypes = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

OWN_ZONE: Final = "-"
_LOCALTIME: Final = "/etc/localtime"

# If the clock is set back by less than this, jobs are not run again for times that have passed. As in cron(8), it is
# three hours for jobs at set hours; other jobs follow the new time at once, except for the current minute.
_FIXED_SETBACK_SECONDS_MAX: Final = 3 * 3600
_WILDCARD_SETBACK_SECONDS_MAX: Final = 60

_STEP_SECONDS: Final = 60.0  # the polling interval without a timerfd
_CLOCK_REALTIME: Final = 0
_TFD_NONBLOCK_CLOEXEC: Final = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_ABSTIME_CANCEL_ON_SET: Final = 1 | 2  # timerfd_settime(2)


# --- when: pure, but for the zones' files ------------------------------------------------------------------


def next_due(cron: str, zone: tzinfo, after: int) -> int | None:
    """The first time of a cron line after `after` (both Unix seconds); None if there is none in 50 years.

    Raises CronSimError: not a valid cron line. Daylight saving follows Debian's cron(8), as cronsim implements it: a
    job at set hours (neither minute nor hour begins with *) that falls into the skipped hour runs right after it, and
    in the repeated hour runs the first time only; other jobs follow elapsed time.
    """
    for moment in CronSim(cron, datetime.fromtimestamp(after, zone)):
        seconds = int(moment.timestamp())
        if seconds > after:  # inside a repeated hour, cronsim also returns times of its first pass
            return seconds
    return None


def own_zone(environment: Mapping[str, str]) -> tzinfo:
    """The container's time zone: TZ as tzset(3) reads it, otherwise /etc/localtime, otherwise UTC.

    Raises OSError, ValueError or KeyError (from zoneinfo) when TZ does not name a zone.
    """
    name = environment.get("TZ", _LOCALTIME).removeprefix(":")
    if not name or (name == _LOCALTIME and not os.path.exists(name)):
        return UTC
    if name.startswith("/"):
        with open(name, "rb") as file:
            return ZoneInfo.from_file(file)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        if "," in name or name[-1].isdigit():  # CET-1CEST,M3.5.0,M10.5.0/3 or UTC0
            return _zone_of_rule(name)
        raise


def _zone_of_rule(rule: str) -> tzinfo:
    """A zone from a POSIX rule such as "CET-1CEST,M3.5.0,M10.5.0/3", which works without tzdata.

    A zone file (RFC 8536) may have such a rule in its last line, after tables that are empty here.
    """
    table = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 0, 0, 0) + b"UTC\0"
    return ZoneInfo.from_file(io.BytesIO(table + table + b"\n" + rule.encode() + b"\n"))


class Job:
    """One schedule. settled: times up to this one are dealt with (Unix seconds). due: the next time, None: never.

    announced: the next time that process 1 knows.
    """

    __slots__ = ("_cron", "_setback_seconds_max", "_zone", "announced", "due", "name", "settled")

    def __init__(self, name: str, cron: str, zone: tzinfo, settled: int) -> None:
        minute, hour = cron.split()[:2]
        has_wildcard = minute.startswith("*") or hour.startswith("*")
        self.name = name
        self.announced: int | None = None
        self._cron = cron
        self._zone = zone
        self._setback_seconds_max = _WILDCARD_SETBACK_SECONDS_MAX if has_wildcard else _FIXED_SETBACK_SECONDS_MAX
        self.settle(settled)

    def settle(self, until: int) -> None:
        """Deal with all times up to `until`: nothing before it is due any more."""
        self.settled = until
        self.due = next_due(self._cron, self._zone, until)

    def take_due(self, now: float) -> bool:
        """Whether the job is due. Returns True once for all times that have passed since the last call."""
        if now < self.settled - self._setback_seconds_max:
            self.settle(int(now))  # the clock was set back too far: follow the new time
        if self.due is None or now < self.due:
            return False
        self.settle(int(now))
        return True


# --- waiting -----------------------------------------------------------------------------------------------


class Alarm:
    """Waits for a time of day, a change of the clock, or the end of process 1, whichever is first.

    It uses a timerfd (timerfd_create(2)) and does not poll. Without one it polls every minute, and `warning` says why.
    """

    def __init__(self) -> None:
        self.warning = ""
        self._timer = -1
        self._poll = select.poll()
        self._poll.register(0, 0)  # POLLHUP is always reported
        try:
            self._timer = _timerfd_create()
            _timerfd_settime(self._timer, 0.0)  # fails where TFD_TIMER_CANCEL_ON_SET is not supported (gVisor)
            self._poll.register(self._timer, select.POLLIN)
        except (OSError, AttributeError) as error:
            self._timer = -1
            why = error.strerror if isinstance(error, OSError) else "this Python has no timerfd"
            self.warning = f"schedules: cannot detect that the clock is set: {why} (checking every minute)"

    def wait(self, now: float, until: float | None) -> bool:
        """Wait until `until` (None: forever) or an earlier event. now: the current time. False: process 1 has ended."""
        if self._timer < 0:
            seconds = _STEP_SECONDS if until is None else min(until - now, _STEP_SECONDS)
            return not self._poll.poll(max(0.0, seconds) * 1000)
        try:
            _timerfd_settime(self._timer, until or 0.0)
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            return True  # the clock was set
        if time.time() < now:
            return True  # the clock was set back
        ready = {fd for fd, _ in self._poll.poll()}
        if self._timer in ready:
            try:
                os.read(self._timer, 8)
            except OSError as error:
                if error.errno not in (errno.ECANCELED, errno.EAGAIN):  # ECANCELED: the clock was set
                    raise
        return 0 not in ready


def _timerfd_create() -> int:
    if sys.version_info >= (3, 13):
        return os.timerfd_create(_CLOCK_REALTIME, flags=_TFD_NONBLOCK_CLOEXEC)
    return _checked(ctypes.CDLL(None, use_errno=True).timerfd_create(_CLOCK_REALTIME, _TFD_NONBLOCK_CLOEXEC))


def _timerfd_settime(timer: int, moment: float) -> None:
    """Set it to a time of day; 0 disarms it."""
    if sys.version_info >= (3, 13):
        os.timerfd_settime(timer, flags=_TFD_ABSTIME_CANCEL_ON_SET, initial=moment)
        return
    spec = struct.pack("@4l", 0, 0, int(moment), 0)  # struct itimerspec
    _checked(ctypes.CDLL(None, use_errno=True).timerfd_settime(timer, _TFD_ABSTIME_CANCEL_ON_SET, spec, None))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# --- the program -------------------------------------------------------------------------------------------


def main(arguments: Iterable[str]) -> int:
    """Report what is due, until process 1 ends."""
    alarm = Alarm()
    if alarm.warning:
        _write(alarm.warning)
    jobs = _parse_jobs([argument.split(" ", 3) for argument in arguments])
    while True:
        now = time.time()
        for job in jobs:
            if job.take_due(now):
                _write(f"{job.settled} {job.name}")
            if job.due is not None and job.due != job.announced:
                job.announced = job.due
                _write(f"next {job.due} {job.name}")
        if not alarm.wait(now, min((job.due for job in jobs if job.due is not None), default=None)):
            return 0


def _parse_jobs(rows: Iterable[list[str]]) -> list[Job]:
    """The jobs of the command line. A bad one is reported, and the others run; the loader has checked them before."""
    zones: dict[str, tzinfo] = {}
    jobs = []
    for settled, name, zone, cron in rows:
        try:
            if zone not in zones:
                zones[zone] = _own_zone_or_utc() if zone == OWN_ZONE else ZoneInfo(zone)
            jobs.append(Job(name, cron, zones[zone], int(settled)))
        except (OSError, ValueError, KeyError, CronSimError) as error:
            _write(f"{name}: cannot compute when {cron!r} is due: {error} (the service will not be started)")
    return jobs


def _own_zone_or_utc() -> tzinfo:
    try:
        return own_zone(os.environ)
    except (OSError, ValueError, KeyError) as error:
        why = f"cannot read the time zone that the variable TZ names: {type(error).__name__}"
        _write(f"schedules: {why} (using UTC, as the C library does; install tzdata)")
        return UTC


def _write(line: str) -> None:
    """Write a line in one write(2): being shorter than PIPE_BUF, it arrives whole."""
    os.write(1, line.encode("utf-8", "surrogateescape").replace(b"\n", b" ") + b"\n")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:  # process 1 is gone
        sys.exit(0)
