"""reactor/clock.py: one child for all schedules, through failures and re-executions; the test plays the child."""

import os
import time
from collections.abc import Callable, Iterator

import pytest

from cohabit.engine.events import ScheduleDue
from cohabit.plan.model import Schedule
from cohabit.reactor.clock import KEY, Clock
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes.child import SpawnSpec
from unit.reactor_world import context_of, ready

HOURLY, DAILY = Schedule("0 * * * *"), Schedule("0 3 * * *", "Europe/Berlin")
NOON = 1_795_000_000
ENVIRONMENT = {"PATH": "/bin", "TZ": "Europe/Berlin"}


class World:
    """A world without children: it records what was launched, and plays the child. Its time is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.poller = Poller()
        self.monotonic, self.wall = 1000.0, float(NOON)
        self.starts: list[SpawnSpec] = []
        self.killed: list[str] = []
        self.events: list[object] = []
        self.log: list[str] = []
        self.fork_fails = False
        self.stdin = self.stdout = -1
        self._ended: list[Callable[[int, str], None]] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.monotonic)
        monkeypatch.setattr(time, "time", lambda: self.wall)
        self.clock = self.new()

    def new(self) -> Clock:
        """Return a Clock, as a new program of process 1 creates it."""
        context = context_of(
            self.poller,
            environment=ENVIRONMENT,
            run_program=self._launch,
            kill_program=self.killed.append,
            emit=self.events.append,
            log=lambda _level, _service, text: self.log.append(text),
        )
        return Clock(context)

    def _launch(self, key: str, start: SpawnSpec, ended: Callable[[int, str], None]) -> None:
        assert key == KEY
        if self.fork_fails:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        assert len(self._ended) == 0, "two children at once"
        self.starts.append(start)
        self._ended.append(ended)
        self.stdin, self.stdout = (os.dup(fd) for fd in start.stdio[:2])

    @property
    def jobs(self) -> list[str]:
        """The schedules in the arguments of the last child."""
        return list(self.starts[-1].argv[3:])

    def write(self, data: bytes) -> None:
        """Write as the child."""
        os.write(self.stdout, data)

    def turn(self) -> None:
        """One turn of the loop, for the clock only."""
        self.poller.wait(0)
        self.poller.run_timers(self.monotonic)

    def end(self, code: int = 1, why: str = "") -> None:
        """End and reap the child."""
        os.close(self.stdin)
        os.close(self.stdout)
        self.stdin = self.stdout = -1
        self._ended.pop()(code, why)

    def close(self) -> None:
        """Close everything."""
        self.clock.set([])
        if self._ended:
            self.end()
        self.poller.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Give a World. Afterwards every descriptor that it or the Clock opened must be closed."""
    before = len(os.listdir("/proc/self/fd"))
    world = World(monkeypatch)
    yield world
    world.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_schedules_there_is_no_child(world: World) -> None:
    """A container without schedules starts no child and has no deadline."""
    world.clock.set([])
    assert (world.starts, world.poller.deadline()) == ([], None)


def test_child_gets_every_schedule(world: World) -> None:
    """Each argument has the settled second (now), the name, the zone and the cron expression."""
    world.clock.set([("backup", DAILY), ("rotate", HOURLY)])
    assert world.jobs == [f"{NOON} backup Europe/Berlin 0 3 * * *", f"{NOON} rotate - 0 * * * *"]
    environment = world.starts[-1].environment
    environment["added"] = "by Children"
    assert (environment.pop("PATH"), "added" in ENVIRONMENT) == ("/bin", False)
    assert world.starts[0].argv[1] == "-I"
    assert os.path.exists(world.starts[0].argv[2])


def test_line_becomes_an_event(world: World) -> None:
    """Only complete lines count, in their order; a line with an unknown name is ignored."""
    world.clock.set([("backup", DAILY), ("rotate", HOURLY)])
    world.write(b"%d rotate\n%d gone\n%d bac" % (NOON + 1, NOON + 1, NOON + 2))
    world.turn()
    assert world.events == [ScheduleDue("rotate")]
    world.write(b"kup\n")
    world.turn()
    assert world.events == [ScheduleDue("rotate"), ScheduleDue("backup")]


def test_the_next_time_is_kept_for_ps(world: World) -> None:
    """Of the schedules that there are; a change of the schedules forgets it until the next child says it."""
    world.clock.set([("backup", DAILY), ("rotate", HOURLY)])
    world.write(b"next %d rotate\nnext %d gone\nnext soon backup\n" % (NOON + 60, NOON))
    world.turn()
    assert (world.clock.next_due, world.events) == ({"rotate": float(NOON + 60)}, [])
    world.clock.set([("backup", DAILY)])
    assert world.clock.next_due == {}


def test_line_without_a_time_is_logged(world: World) -> None:
    """The child can report problems."""
    world.clock.set([("rotate", HOURLY)])
    world.write(b"schedules: cannot detect that the clock is set\n")
    world.turn()
    assert (world.events, world.log) == ([], ["schedules: cannot detect that the clock is set"])


def test_unchanged_schedules_keep_the_child(world: World) -> None:
    """A reload that changes no schedule does not replace the child."""
    world.clock.set([("backup", DAILY), ("rotate", HOURLY)])
    world.clock.set([("rotate", HOURLY), ("backup", Schedule(DAILY.cron, DAILY.zone))])
    assert (len(world.starts), world.killed) == (1, [])


def test_changed_schedules_replace_the_child(world: World) -> None:
    """The new child starts after the old one has ended. An unchanged schedule stays settled up to the same second."""
    world.clock.set([("backup", DAILY), ("rotate", HOURLY), ("weed", HOURLY)])
    world.write(b"%d rotate\n" % (NOON + 60))
    world.turn()
    world.wall = NOON + 90.5
    world.clock.set([("rotate", HOURLY), ("weed", DAILY), ("new", HOURLY)])
    assert (len(world.starts), world.killed) == (1, [KEY])
    world.end(137)
    assert world.jobs == [
        f"{NOON + 60} rotate - 0 * * * *",
        f"{NOON + 90} weed Europe/Berlin 0 3 * * *",
        f"{NOON + 90} new - 0 * * * *",
    ]
    assert (world.log, world.poller.deadline()) == ([], None)
    world.end(1)  # the new child fails by itself
    assert (len(world.starts), len(world.log)) == (2, 1)


def test_last_output_of_a_replaced_child_counts(world: World) -> None:
    """A line that was in the pipe when the child was replaced causes an event, and is settled for the next child."""
    world.clock.set([("rotate", HOURLY), ("backup", DAILY)])
    world.clock.set([("rotate", HOURLY)])
    world.write(b"%d rotate\n%d backup\n" % (NOON + 7, NOON + 7))
    world.end(137)
    assert world.events == [ScheduleDue("rotate")]
    assert world.jobs == [f"{NOON + 7} rotate - 0 * * * *"]


def test_child_ends_with_the_last_schedule(world: World) -> None:
    """No warning is logged; a schedule that is added later starts a new child."""
    world.clock.set([("rotate", HOURLY)])
    world.clock.set([])
    assert world.killed == [KEY]
    world.end(137)
    assert (len(world.starts), world.log, world.poller.deadline()) == (1, [], None)
    world.clock.set([("rotate", HOURLY)])
    assert len(world.starts) == 2


def test_last_schedules_win_while_the_child_ends(world: World) -> None:
    """If the schedules change several times before the child has ended, the last ones are used."""
    world.clock.set([("rotate", HOURLY)])
    world.clock.set([])
    world.clock.set([("backup", DAILY)])
    world.end(137)
    assert len(world.starts) == 2
    assert world.jobs == [f"{NOON} backup Europe/Berlin 0 3 * * *"]


def test_failed_child_is_restarted(world: World) -> None:
    """With a warning, Docker's back-off, and the seconds up to which the schedules are settled."""
    world.clock.set([("rotate", HOURLY)])
    world.write(b"%d rotate\n" % (NOON + 3600))
    world.turn()
    for delay in (0.1, 0.2, 0.4):
        world.end(139)
        assert world.poller.deadline() == pytest.approx(world.monotonic + delay)
        world.turn()
        assert world.stdout < 0, "it was restarted too early"
        world.monotonic += delay
        world.turn()
        assert world.jobs == [f"{NOON + 3600} rotate - 0 * * * *"]
    assert len(world.log) == 3
    assert "SIGSEGV" in world.log[0]
    assert "restarting it in 100ms; jobs that fall due meanwhile are started once, then" in world.log[0]


def test_long_run_resets_the_back_off(world: World) -> None:
    """After ten seconds the back-off starts from its first delay."""
    world.clock.set([("rotate", HOURLY)])
    world.end()
    world.monotonic += 0.1
    world.turn()
    world.monotonic += 10
    world.end()
    assert world.poller.deadline() == pytest.approx(world.monotonic + 0.1)


def test_closed_output_does_not_wake_the_loop(world: World) -> None:
    """The child counts as running until it has ended."""
    world.clock.set([("rotate", HOURLY)])
    os.close(world.stdout)
    world.turn()
    assert ready(world.poller) == []
    assert world.poller.deadline() is None
    world.stdout = os.open("/dev/null", os.O_WRONLY)
    world.end()
    assert world.poller.deadline() is not None


def test_refused_fork_is_retried(world: World) -> None:
    """A refused fork leaves no open descriptor."""
    world.fork_fails = True
    world.clock.set([("rotate", HOURLY)])
    assert "no room for another process" in world.log[0]
    world.fork_fails = False
    world.monotonic += 0.1
    world.turn()
    assert len(world.starts) == 1


def test_failed_exec_is_retried(world: World) -> None:
    """The warning contains the reason."""
    world.clock.set([("rotate", HOURLY)])
    world.end(127, "'python3' does not exist")
    assert "cannot be started: 'python3' does not exist" in world.log[0]
    assert world.poller.deadline() is not None


def test_changed_schedules_end_the_back_off(world: World) -> None:
    """The child starts at once; without schedules, the deadline is removed."""
    world.clock.set([("rotate", HOURLY)])
    world.end()
    world.clock.set([("rotate", DAILY)])
    assert (len(world.starts), world.poller.deadline()) == (2, None)
    world.end()
    world.clock.set([])
    assert world.poller.deadline() is None


def test_settled_times_survive_a_re_execution(world: World) -> None:
    """Times that fell due during a re-execution are due for the new child. A changed schedule starts from now."""
    world.clock.set([("backup", DAILY), ("rotate", HOURLY)])
    world.write(b"%d rotate\n" % (NOON + 60))
    world.turn()
    plain = world.clock.to_plain()
    world.clock.set([])
    world.end(137)
    world.wall = NOON + 900
    world.clock = world.new()
    world.clock.restore(plain)
    world.clock.set([("backup", HOURLY), ("rotate", HOURLY)])
    assert world.jobs == [f"{NOON + 900} backup - 0 * * * *", f"{NOON + 60} rotate - 0 * * * *"]


def test_child_sees_the_end_of_process_1_on_its_stdin(world: World) -> None:
    """Only process 1 has the other end of its stdin: when process 1 has ended, the child reads the end of the file."""
    world.clock.set([("rotate", HOURLY)])
    os.set_blocking(world.stdin, False)
    with pytest.raises(BlockingIOError):
        os.read(world.stdin, 1)
    os.close(world.clock._child.input.fd)
    assert os.read(world.stdin, 1) == b""
    world.clock._child.input.fd = os.open("/dev/null", os.O_RDONLY)
