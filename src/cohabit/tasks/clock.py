"""The clock: one child of process 1 that says when a schedule is due; `python -I PATH/clock.py JOB…` starts it.

A program of its own since like the loader it needs what process 1 must not import (cronsim, zoneinfo and datetime:
3 MB), and lives as long as there are schedules. It knows cron lines, zones and the time; it knows no services, only
names to say.

Each JOB is the words `SECONDS NAME ZONE CRON`: settled up to that time (Unix), ZONE "-" for the container's own.
On standard output it writes whole lines: `SECONDS NAME` when a job is due and settled up to SECONDS, anything else is
words for people. Standard input is a pipe whose other end process 1 holds: when that closes, the clock ends.
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
except ImportError:  # a stripped-down Python: then the waiting is in steps
    ctypes = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

OWN_ZONE: Final = "-"
_LOCALTIME: Final = "/etc/localtime"

# After the clock was set back, what was due until then does not come again for as long as cron(8) has it: jobs at
# set hours for three hours. Others go by the new time at once, but for the minute that they just had.
_FIXED_PATIENCE_SECONDS: Final = 3 * 3600
_WILD_PATIENCE_SECONDS: Final = 60

_STEP_SECONDS: Final = 60.0  # where nothing wakes us when the clock is set
_CLOCK_REALTIME: Final = 0
_TFD_NONBLOCK_CLOEXEC: Final = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_ABSTIME_CANCEL_ON_SET: Final = 1 | 2  # timerfd_settime(2)


# --- when: pure, but for the zones' files ------------------------------------------------------------------


def next_due(cron: str, zone: tzinfo, after: int) -> int | None:
    """The first time of a cron line after `after` (both Unix seconds); None if there is none in 50 years.

    Daylight saving is cronsim's, which is Debian's cron(8): a job at set hours (no field for minute or hour begins
    with *) that falls into the skipped hour comes right after it, in the repeated hour it comes the first time
    only; all others go by time that passes. Raises CronSimError for a line that means nothing.
    """
    for moment in CronSim(cron, datetime.fromtimestamp(after, zone)):
        seconds = int(moment.timestamp())
        if seconds > after:  # from inside a repeated hour, cronsim names its first pass too, which is over
            return seconds
    return None


def own_zone(environment: Mapping[str, str]) -> tzinfo:
    """The container's own time zone: TZ as tzset(3) reads it, else /etc/localtime, else UTC.

    Raises OSError, ValueError or KeyError (zoneinfo's) when TZ names none.
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
    """A zone written out as in POSIX, "CET-1CEST,M3.5.0,M10.5.0/3"; images without tzdata have their TZ like this.

    A zone's file (RFC 8536) may hold just such a rule in its last line, after tables that are empty here.
    """
    table = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 0, 0, 0) + b"UTC\0"
    return ZoneInfo.from_file(io.BytesIO(table + table + b"\n" + rule.encode() + b"\n"))


class Job:
    """One schedule. settled: nothing up to this time is due any more. due: when it is next, None for never."""

    __slots__ = ("_cron", "_patience_seconds", "_zone", "due", "name", "settled")

    def __init__(self, name: str, cron: str, zone: tzinfo, settled: int) -> None:
        minute, hour = cron.split()[:2]
        wild = minute.startswith("*") or hour.startswith("*")
        self.name = name
        self._cron = cron
        self._zone = zone
        self._patience_seconds = _WILD_PATIENCE_SECONDS if wild else _FIXED_PATIENCE_SECONDS
        self.settle(settled)

    def settle(self, until: int) -> None:
        """What was due until then has been said or is forgiven."""
        self.settled = until
        self.due = next_due(self._cron, self._zone, until)

    def take(self, now: float) -> bool:
        """Whether it is due: once for everything since it last was."""
        if now < self.settled - self._patience_seconds:
            self.settle(int(now))  # the clock was set back by so much that the new time counts
        if self.due is None or now < self.due:
            return False
        self.settle(int(now))
        return True


# --- waiting -----------------------------------------------------------------------------------------------


class Alarm:
    """Waits for a time of day, for somebody who sets the clock, and for the end of process 1, whichever is first.

    A timerfd (timerfd_create(2)) tells all of it without polling; where there is none, complaint says so and
    the waiting is in steps.
    """

    def __init__(self) -> None:
        self.complaint = ""
        self._timer = -1
        self._poll = select.poll()
        self._poll.register(0, 0)  # POLLHUP comes unasked
        try:
            self._timer = _timerfd_create()
            _timerfd_settime(self._timer, 0.0)  # some kernels that are none (gVisor) do not know of set clocks
            self._poll.register(self._timer, select.POLLIN)
        except (OSError, AttributeError) as error:
            self._timer = -1
            why = error.strerror if isinstance(error, OSError) else "this Python has no timerfd"
            self.complaint = f"schedules: cannot learn when somebody sets the clock: {why} (looking every minute)"

    def wait(self, now: float, until: float | None) -> bool:
        """Until that time or anything earlier, as of `now` (None: for ever); False when process 1 is gone."""
        if self._timer < 0:
            seconds = _STEP_SECONDS if until is None else min(until - now, _STEP_SECONDS)
            return not self._poll.poll(max(0.0, seconds) * 1000)
        try:
            _timerfd_settime(self._timer, until or 0.0)
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            return True  # set just now
        if time.time() < now:
            return True  # set back just before
        ready = {fd for fd, _ in self._poll.poll()}
        if self._timer in ready:
            try:
                os.read(self._timer, 8)
            except OSError as error:
                if error.errno not in (errno.ECANCELED, errno.EAGAIN):  # the clock was set
                    raise
        return 0 not in ready


def _timerfd_create() -> int:
    if sys.version_info >= (3, 13):
        return os.timerfd_create(_CLOCK_REALTIME, flags=_TFD_NONBLOCK_CLOEXEC)
    return _checked(ctypes.CDLL(None, use_errno=True).timerfd_create(_CLOCK_REALTIME, _TFD_NONBLOCK_CLOEXEC))


def _timerfd_settime(timer: int, moment: float) -> None:
    """Arm it for a time of day; 0 disarms it."""
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
    """Say what is due, when it is, until process 1 is gone."""
    alarm = Alarm()
    if alarm.complaint:
        _write(alarm.complaint)
    jobs = _read([argument.split(" ", 3) for argument in arguments])
    while True:
        now = time.time()
        for job in jobs:
            if job.take(now):
                _write(f"{job.settled} {job.name}")
        if not alarm.wait(now, min((job.due for job in jobs if job.due is not None), default=None)):
            return 0


def _read(rows: Iterable[list[str]]) -> list[Job]:
    """The jobs of the command line. The loader looked at them; should one be bad all the same, the others go on."""
    zones: dict[str, tzinfo] = {}
    jobs = []
    for settled, name, zone, cron in rows:
        try:
            if zone not in zones:
                zones[zone] = _own_zone_or_utc() if zone == OWN_ZONE else ZoneInfo(zone)
            jobs.append(Job(name, cron, zones[zone], int(settled)))
        except (OSError, ValueError, KeyError, CronSimError) as error:
            _write(f"{name}: cannot tell when {cron!r} is due: {error} (it will not be started)")
    return jobs


def _own_zone_or_utc() -> tzinfo:
    try:
        return own_zone(os.environ)
    except (OSError, ValueError, KeyError) as error:
        why = f"cannot tell the container's time zone from the variable TZ: {type(error).__name__}"
        _write(f"schedules: {why} (they go by UTC, as the C library does; install tzdata)")
        return UTC


def _write(line: str) -> None:
    """One line in one write: shorter than PIPE_BUF, it arrives whole."""
    os.write(1, line.encode("utf-8", "surrogateescape").replace(b"\n", b" ") + b"\n")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:  # process 1 is gone
        sys.exit(0)
