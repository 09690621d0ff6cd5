"""The clock's side in process 1: one child for all schedules, started when there are some, ended when there are none.

Process 1 must not compute dates (cronsim, zoneinfo and datetime cost 3 MB) and must not look at the time again and
again, so tasks/clock.py does both and writes a line when something is due. Here that line becomes ScheduleDue. The
child may die and process 1 may be replaced: up to which second each schedule is settled is kept here and told to the
next child, so nothing that falls due in between is lost, and nothing is told twice. Knows no service's state:
whether a job that is due is started at all (it never overlaps itself) is the engine's to say.
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

KEY = "\0clock"  # among the children; no service can have this name
_OWN_ZONE = "-"  # what tasks/clock.py calls it
_READ = 65_536
_FORGIVEN_SECONDS = 10.0  # as Docker: a run that lasted so long makes up for all failures before it


class Clock:
    """All schedules. tell(ScheduleDue) is called once for each time that comes, say(level, "", text) for people.

    launch, kill: Children's, for a child under a key; launch's third argument is called with the exit code and
    with words if the exec failed.
    """

    def __init__(
        self,
        given: InheritedSignals,
        environment: dict[str, str],
        epoll: Registry,
        *,
        launch: Callable[[str, SpawnSpec, Callable[[int, str], None]], None],
        kill: Callable[[str], None],
        tell: Callable[[Event], None],
        say: Callable[[str, str, str], None],
    ) -> None:
        self._given = given
        self._environment = environment
        self._epoll = epoll
        self._launch = launch
        self._kill = kill
        self._tell = tell
        self._say = say
        self._schedules: dict[str, Schedule] = {}
        self._settled: dict[tuple[str, Schedule], int] = {}  # Unix seconds; nothing up to then is due any more
        self._lines = -1  # what the child writes
        self._leash = -1  # its standard input: it ends when nobody holds the other end, so when we are gone
        self._rest = b""
        self._lives = False  # from the fork to the end that is told
        self._unwanted = False  # killed by us, because there is a newer list
        self._started_at = 0.0
        self._failures = 0  # in a row
        self._again_at: float | None = None

    def set(self, entries: list[tuple[str, Schedule]]) -> None:
        """These are the schedules from now on. What has not changed stays settled up to where it was."""
        wanted = dict(entries)
        if wanted == self._schedules:
            return
        now = int(time.time())
        self._schedules = wanted
        self._settled = {entry: self._settled.get(entry, now) for entry in wanted.items()}
        self._again_at, self._failures = None, 0
        if self._lives:
            self._unwanted = True
            self._kill(KEY)
        elif wanted:
            self._start()

    # --- the child -----------------------------------------------------------------------------------

    def _start(self) -> None:
        self._again_at = None
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
            leashed, leash, lines, writer = ends
            start = SpawnSpec(argv, dict(self._environment), self._given, stdio=(leashed, writer, 2))
            self._launch(KEY, start, self._ended)
        except OSError as error:
            for fd in ends:
                os.close(fd)
            self._failed(f"cannot be started: {spawn.no_room(error)}")
            return
        os.close(leashed)
        os.close(writer)
        os.set_blocking(lines, False)
        self._leash, self._lines = leash, lines
        self._lives, self._unwanted = True, False
        self._epoll.register(lines, select.EPOLLIN)

    def _ended(self, code: int, why: str) -> None:
        """The child is reaped; what it still had to say is in the pipe."""
        try:
            while self._lines >= 0 and (data := os.read(self._lines, _READ)):
                self._take(data)
        except BlockingIOError:
            pass
        self._hang_up()
        os.close(self._leash)
        self._leash, self._lives, self._rest = -1, False, b""
        if not self._schedules:
            return
        if self._unwanted:
            self._start()
            return
        if not why and time.monotonic() - self._started_at >= _FORGIVEN_SECONDS:
            self._failures = 0
        self._failed(f"cannot be started: {why}" if why else f"ended with {describe_exit(code)}")

    def _failed(self, how: str) -> None:
        self._failures += 1
        delay = policy.docker_backoff_seconds(self._failures)
        self._again_at = time.monotonic() + delay
        what = "what falls due meanwhile is started then, once"
        self._say("warning", "", f"the clock of the schedules {how} (again in {format_duration(delay)}: {what})")

    # --- time and events -----------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """Monotonic seconds of the next try to start it again."""
        return self._again_at

    def due(self, now: float) -> None:
        """Try again if it is time."""
        if self._again_at is not None and self._again_at <= now:
            self._start()

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd == self._lines

    def handle(self, fd: int) -> None:
        """The child has written something, or closed its end."""
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:  # the event was meant for a descriptor that had this number before
            return
        if data:
            self._take(data)
        else:
            self._hang_up()

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._heard(line.decode("utf-8", "surrogateescape"))

    def _hang_up(self) -> None:
        if self._lines >= 0:
            self._epoll.unregister(self._lines)
            os.close(self._lines)
            self._lines = -1

    def _heard(self, line: str) -> None:
        seconds, _, name = line.partition(" ")
        if not seconds.isdecimal():
            self._say("warning", "", line)
        elif name in self._schedules:  # else it is one that a reload has just taken out
            self._settled[name, self._schedules[name]] = int(seconds)
            self._tell(events.ScheduleDue(name))

    # --- re-execution --------------------------------------------------------------------------------

    def to_plain(self) -> list[tuple[str, str, str, int]]:
        """What the next life has to know: (name, cron, zone, settled up to). The child itself dies with this one."""
        return [(name, schedule.cron, schedule.zone, at) for (name, schedule), at in self._settled.items()]

    def restore(self, plain: list[tuple[str, str, str, int]]) -> None:
        """The inverse of to_plain, before set() starts a new child."""
        self._settled = {(name, Schedule(cron, zone)): at for name, cron, zone, at in plain}
