"""The clock's side in process 1: one child for all schedules. It runs only while there are schedules.

Process 1 must not compute dates (cronsim, zoneinfo and datetime cost 3 MB) and must not poll the time. So
tasks/clock.py does both, and writes a line when a schedule is due. This module turns the line into ScheduleDue. The
child may die, and process 1 may be replaced: for each schedule, the second up to which it is settled is stored here
and passed to the next child. So no time that falls due in between is lost or reported twice. The engine decides
whether a job that is due is started (it never overlaps itself).
"""

from __future__ import annotations

import select
import sys
import time

from cohabit.engine import events, policy
from cohabit.plan.model import Schedule
from cohabit.reactor.linux import PACKAGE, os
from cohabit.reactor.processes import spawn
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.engine.events import Event
    from cohabit.reactor.poller import Registry
    from cohabit.reactor.signals import InheritedSignals

KEY = "\0clock"  # key of the child; not a valid service name
_OWN_ZONE = "-"  # the local time zone, in the arguments of tasks/clock.py
_READ = 65_536
_RESET_SECONDS = 10.0  # as in Docker: a run of this length resets the back-off


class Clock:
    """All schedules. emit(ScheduleDue) is called for each time that falls due, say(level, "", text) for log lines.

    launch, kill: start and end a child under a key, as in Children. The third argument of `launch` is called with the
    exit code and, if the exec failed, the reason.
    """

    def __init__(
        self,
        given: InheritedSignals,
        environment: dict[str, str],
        epoll: Registry,
        *,
        launch: Callable[[str, SpawnSpec, Callable[[int, str], None]], None],
        kill: Callable[[str], None],
        emit: Callable[[Event], None],
        say: Callable[[str, str, str], None],
    ) -> None:
        self._given = given
        self._environment = environment
        self._epoll = epoll
        self._launch = launch
        self._kill = kill
        self._emit = emit
        self._say = say
        self._schedules: dict[str, Schedule] = {}
        self._settled: dict[tuple[str, Schedule], int] = {}  # Unix seconds: times up to then are settled
        self._output = -1  # read end of the child's output
        self._lifeline = -1  # write end of its standard input: the child ends when process 1 has ended
        self._partial = b""
        self._running = False  # from the fork until the child is reaped
        self._unwanted = False  # killed by us, because the schedules have changed
        self._started_at = 0.0
        self._failures = 0  # in a row
        self._retry_at: float | None = None

    def set(self, entries: list[tuple[str, Schedule]]) -> None:
        """Replace the schedules. A schedule that has not changed stays settled up to the same second."""
        wanted = dict(entries)
        if wanted == self._schedules:
            return
        now = int(time.time())
        self._schedules = wanted
        self._settled = {entry: self._settled.get(entry, now) for entry in wanted.items()}
        self._retry_at, self._failures = None, 0
        if self._running:
            self._unwanted = True
            self._kill(KEY)
        elif wanted:
            self._start()

    # --- the child -----------------------------------------------------------------------------------

    def _start(self) -> None:
        self._retry_at = None
        self._started_at = time.monotonic()
        jobs = [
            f"{self._settled[name, schedule]} {name} {schedule.zone or _OWN_ZONE} {schedule.cron}"
            for name, schedule in self._schedules.items()
        ]
        argv = (sys.executable, "-I", f"{PACKAGE}/tasks/clock.py", *jobs)
        ends: list[int] = []
        try:
            ends += os.pipe2(os.O_CLOEXEC)
            ends += os.pipe2(os.O_CLOEXEC)
            stdin, lifeline, output, writer = ends
            start = SpawnSpec(argv, dict(self._environment), self._given, stdio=(stdin, writer, 2))
            self._launch(KEY, start, self._ended)
        except OSError as error:
            for fd in ends:
                os.close(fd)
            self._failed(f"cannot be started: {spawn.no_room(error)}")
            return
        os.close(stdin)
        os.close(writer)
        os.set_blocking(output, False)
        self._lifeline, self._output = lifeline, output
        self._running, self._unwanted = True, False
        self._epoll.register(output, select.EPOLLIN)

    def _ended(self, code: int, why: str) -> None:
        """The child has been reaped: read the rest of its output."""
        try:
            while self._output >= 0 and (data := os.read(self._output, _READ)):
                self._handle_output(data)
        except BlockingIOError:
            pass
        self._close_output()
        os.close(self._lifeline)
        self._lifeline, self._running, self._partial = -1, False, b""
        if not self._schedules:
            return
        if self._unwanted:
            self._start()
            return
        if not why and time.monotonic() - self._started_at >= _RESET_SECONDS:
            self._failures = 0
        self._failed(f"cannot be started: {why}" if why else f"ended with {describe_exit(code)}")

    def _failed(self, how: str) -> None:
        self._failures += 1
        delay = policy.docker_backoff_seconds(self._failures)
        self._retry_at = time.monotonic() + delay
        then = "jobs that fall due meanwhile are started once, then"
        self._say("warning", "", f"the schedule clock {how} (restarting it in {format_duration(delay)}; {then})")

    # --- time and events -----------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Monotonic seconds of the next attempt to start the child."""
        return self._retry_at

    def due(self, now: float) -> None:
        """Start the child again if its deadline has passed."""
        if self._retry_at is not None and self._retry_at <= now:
            self._start()

    def owns(self, fd: int) -> bool:
        """Whether events of this descriptor belong to the clock."""
        return fd == self._output

    def handle(self, fd: int) -> None:
        """The child has written a line or has closed its output."""
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:  # the event was for a previous descriptor with this number
            return
        if data:
            self._handle_output(data)
        else:
            self._close_output()

    def _handle_output(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._handle_line(line.decode("utf-8", "surrogateescape"))

    def _close_output(self) -> None:
        if self._output >= 0:
            self._epoll.unregister(self._output)
            os.close(self._output)
            self._output = -1

    def _handle_line(self, line: str) -> None:
        seconds, _, name = line.partition(" ")
        if not seconds.isdecimal():
            self._say("warning", "", line)
        elif name in self._schedules:  # else a reload has just removed it
            self._settled[name, self._schedules[name]] = int(seconds)
            self._emit(events.ScheduleDue(name))

    # --- re-execution --------------------------------------------------------------------------------

    def to_plain(self) -> list[tuple[str, str, str, int]]:
        """Return (name, cron, zone, settled up to) of each schedule. The child itself ends with this program."""
        return [(name, schedule.cron, schedule.zone, at) for (name, schedule), at in self._settled.items()]

    def restore(self, plain: list[tuple[str, str, str, int]]) -> None:
        """Restore what to_plain returned, before set() starts a new child."""
        self._settled = {(name, Schedule(cron, zone)): at for name, cron, zone, at in plain}
