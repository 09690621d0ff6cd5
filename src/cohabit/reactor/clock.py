"""The clock's side in process 1: one child for all schedules. It runs only while there are schedules.

Process 1 must not compute dates (cronsim, zoneinfo and datetime cost 3 MB) and must not poll the time. So
tasks/clock.py does both, and writes a line when a schedule is due. This module turns the line into ScheduleDue. The
child may die, and process 1 may be replaced: for each schedule, the second up to which it is settled is stored here
and passed to the next child. So no time that falls due in between is lost or reported twice. The engine decides
whether a job that is due is started (it never overlaps itself).
"""

from __future__ import annotations

import time

from cohabit.engine import events
from cohabit.plan.model import Schedule
from cohabit.program import program
from cohabit.reactor.processes import start_failure
from cohabit.reactor.side_process import SideProcess
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Plan
    from cohabit.reactor.context import Context

KEY = "\0clock"  # key of the child; not a valid service name
_OWN_ZONE = "-"  # the local time zone, in the arguments of tasks/clock.py


class Clock:
    """All schedules. Each time that falls due is the event ScheduleDue."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._schedules: dict[str, Schedule] = {}
        self._settled: dict[tuple[str, Schedule], int] = {}  # Unix seconds: times up to then are settled
        self._child = SideProcess(
            context, "clock", KEY, self._handle_output, self._ended
        )  # it ends when its input ends
        self.next_due: dict[str, float] = {}  # by service, Unix seconds; as the child has said
        self._partial = b""
        self._unwanted = False  # killed by us, because the schedules have changed

    def set_plan(self, plan: Plan) -> None:
        """Use the schedules of this Plan from now on."""
        self.set([(name, service.schedule) for name, service in plan.services.items() if service.schedule])

    def set(self, entries: list[tuple[str, Schedule]]) -> None:
        """Replace the schedules. A schedule that has not changed stays settled up to the same second."""
        wanted = dict(entries)
        if wanted == self._schedules:
            return
        now = int(time.time())
        self._schedules = wanted
        self.next_due = {}
        self._settled = {entry: self._settled.get(entry, now) for entry in wanted.items()}
        self._child.reset()
        if self._child.running:
            self._unwanted = True
            self._child.kill()
        elif wanted:
            self._start()

    # --- the child -----------------------------------------------------------------------------------

    def _start(self) -> None:
        jobs = [
            f"{self._settled[name, schedule]} {name} {schedule.zone or _OWN_ZONE} {schedule.cron}"
            for name, schedule in self._schedules.items()
        ]
        self._unwanted = False
        try:
            self._child.start(program("clock", *jobs))
        except OSError as error:
            self._failed(f"cannot be started: {start_failure.no_room(error)}")

    def _ended(self, code: int, why: str) -> None:
        self._partial = b""
        if not self._schedules:
            return
        if self._unwanted:
            self._start()
            return
        self._failed(f"cannot be started: {why}" if why else f"ended with {describe_exit(code)}")

    def _failed(self, how: str) -> None:
        delay = self._child.start_later(self._start)
        then = "jobs that fall due meanwhile are started once, then"
        text = f"the schedule clock {how} (restarting it in {format_duration(delay)}; {then})"
        self._context.log("warning", "", text)

    def _handle_output(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._handle_line(line.decode("utf-8", "surrogateescape"))

    def _handle_line(self, line: str) -> None:
        is_next = line.startswith("next ")
        seconds, _, name = line.removeprefix("next ").partition(" ")
        if is_next and seconds.isdecimal():
            if name in self._schedules:
                self.next_due[name] = float(seconds)
        elif not seconds.isdecimal():
            self._context.log("warning", "", line)
        elif name in self._schedules:  # else a reload has just removed it
            self._settled[name, self._schedules[name]] = int(seconds)
            self._context.emit(events.ScheduleDue(name))

    # --- re-execution --------------------------------------------------------------------------------

    def to_plain(self) -> list[tuple[str, str, str, int]]:
        """Return (name, cron, zone, settled up to) of each schedule. The child itself ends with this program."""
        return [(name, schedule.cron, schedule.zone, at) for (name, schedule), at in self._settled.items()]

    def restore(self, plain: list[tuple[str, str, str, int]]) -> None:
        """Restore what to_plain returned, before set() starts a new child."""
        self._settled = {(name, Schedule(cron, zone)): at for name, cron, zone, at in plain}
