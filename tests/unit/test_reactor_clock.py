"""reactor/clock.py: one child for all schedules, whatever becomes of it; here the child is the test itself."""

import os
import select
import time
from collections.abc import Callable, Iterator

import pytest

from cohabit.engine.events import ScheduleDue
from cohabit.plan.model import Schedule
from cohabit.reactor.clock import KEY, Clock
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals

HOURLY, DAILY = Schedule("0 * * * *"), Schedule("0 3 * * *", "Europe/Berlin")
NOON = 1_795_000_000
ENVIRONMENT = {"PATH": "/bin", "TZ": "Europe/Berlin"}


class World:
    """Launches nothing: keeps what was to be launched, and plays the child. Time stands still until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.epoll = select.epoll()
        self.monotonic, self.wall = 1000.0, float(NOON)
        self.starts: list[SpawnSpec] = []
        self.killed: list[str] = []
        self.told: list[object] = []
        self.said: list[str] = []
        self.refuses = False
        self.stdin = self.stdout = -1
        self._ended: list[Callable[[int, str], None]] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.monotonic)
        monkeypatch.setattr(time, "time", lambda: self.wall)
        self.clock = self.new()

    def new(self) -> Clock:
        """A Clock as a new life of process 1 has it."""
        return Clock(
            InheritedSignals([], []),
            ENVIRONMENT,
            self.epoll,
            launch=self._launch,
            kill=self.killed.append,
            tell=self.told.append,
            say=lambda _level, _service, text: self.said.append(text),
        )

    def _launch(self, key: str, start: SpawnSpec, ended: Callable[[int, str], None]) -> None:
        assert key == KEY
        if self.refuses:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        assert len(self._ended) == 0, "two children at once"
        self.starts.append(start)
        self._ended.append(ended)
        self.stdin, self.stdout = (os.dup(fd) for fd in start.stdio[:2])

    @property
    def jobs(self) -> list[str]:
        """What the last child was told to look after."""
        return list(self.starts[-1].argv[3:])

    def write(self, data: bytes) -> None:
        """The child writes."""
        os.write(self.stdout, data)

    def turn(self) -> None:
        """One turn of the loop, as far as it is the clock's."""
        for fd, _ in self.epoll.poll(0):
            assert self.clock.owns(fd)
            self.clock.handle(fd)
        deadline = self.clock.deadline()
        if deadline is not None and deadline <= self.monotonic:
            self.clock.due(self.monotonic)

    def end(self, code: int = 1, why: str = "") -> None:
        """The child ends and is reaped."""
        os.close(self.stdin)
        os.close(self.stdout)
        self.stdin = self.stdout = -1
        self._ended.pop()(code, why)

    def close(self) -> None:
        """Let go of everything."""
        self.clock.set([])
        if self._ended:
            self.end()
        self.epoll.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Give a World; afterwards every descriptor that it or the Clock opened has to be closed."""
    before = len(os.listdir("/proc/self/fd"))
    world = World(monkeypatch)
    yield world
    world.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_schedule_no_child(world: World) -> None:
    """A container without schedules pays nothing."""
    world.clock.set([])
    assert (world.starts, world.clock.deadline()) == ([], None)


def test_the_child_gets_every_schedule(world: World) -> None:
    """Name, zone and line, and that everything up to now is settled."""
    world.clock.set([("backup", DAILY), ("rotate", HOURLY)])
    assert world.jobs == [f"{NOON} backup Europe/Berlin 0 3 * * *", f"{NOON} rotate - 0 * * * *"]
    environment = world.starts[-1].environment
    environment["added"] = "by Children"
    assert (environment.pop("PATH"), "added" in ENVIRONMENT) == ("/bin", False)
    assert world.starts[0].argv[1] == "-I"
    assert os.path.exists(world.starts[0].argv[2])


def test_a_line_is_a_fact(world: World) -> None:
    """Whole lines only, in their order; a name that nobody has is nobody's."""
    world.clock.set([("backup", DAILY), ("rotate", HOURLY)])
    world.write(b"%d rotate\n%d gone\n%d bac" % (NOON + 1, NOON + 1, NOON + 2))
    world.turn()
    assert world.told == [ScheduleDue("rotate")]
    world.write(b"kup\n")
    world.turn()
    assert world.told == [ScheduleDue("rotate"), ScheduleDue("backup")]


def test_what_is_no_time_is_for_people(world: World) -> None:
    """The child has a way to complain."""
    world.clock.set([("rotate", HOURLY)])
    world.write(b"schedules: cannot learn when somebody sets the clock\n")
    world.turn()
    assert (world.told, world.said) == ([], ["schedules: cannot learn when somebody sets the clock"])


def test_the_same_list_changes_nothing(world: World) -> None:
    """A reload that changes no schedule does not touch the child."""
    world.clock.set([("backup", DAILY), ("rotate", HOURLY)])
    world.clock.set([("rotate", HOURLY), ("backup", Schedule(DAILY.cron, DAILY.zone))])
    assert (len(world.starts), world.killed) == (1, [])


def test_a_new_list_replaces_the_child(world: World) -> None:
    """One after the other, never two at once; what did not change stays settled up to where it was."""
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
    assert (world.said, world.clock.deadline()) == ([], None)
    world.end(1)  # the new one by itself, which is another matter
    assert (len(world.starts), len(world.said)) == (2, 1)


def test_what_the_old_child_still_said_counts(world: World) -> None:
    """A line that was in the pipe when the child was replaced is told, and settled for the next one."""
    world.clock.set([("rotate", HOURLY), ("backup", DAILY)])
    world.clock.set([("rotate", HOURLY)])
    world.write(b"%d rotate\n%d backup\n" % (NOON + 7, NOON + 7))
    world.end(137)
    assert world.told == [ScheduleDue("rotate")]
    assert world.jobs == [f"{NOON + 7} rotate - 0 * * * *"]


def test_the_last_schedule_ends_the_child(world: World) -> None:
    """And nobody misses it; a schedule that comes back gets a new one."""
    world.clock.set([("rotate", HOURLY)])
    world.clock.set([])
    assert world.killed == [KEY]
    world.end(137)
    assert (len(world.starts), world.said, world.clock.deadline()) == (1, [], None)
    world.clock.set([("rotate", HOURLY)])
    assert len(world.starts) == 2


def test_lists_may_change_faster_than_children_end(world: World) -> None:
    """The last list counts."""
    world.clock.set([("rotate", HOURLY)])
    world.clock.set([])
    world.clock.set([("backup", DAILY)])
    world.end(137)
    assert len(world.starts) == 2
    assert world.jobs == [f"{NOON} backup Europe/Berlin 0 3 * * *"]


def test_a_child_that_dies_comes_back(world: World) -> None:
    """With a warning and Docker's back-off, and it is told up to where everything is settled."""
    world.clock.set([("rotate", HOURLY)])
    world.write(b"%d rotate\n" % (NOON + 3600))
    world.turn()
    for delay in (0.1, 0.2, 0.4):
        world.end(139)
        assert world.clock.deadline() == pytest.approx(world.monotonic + delay)
        world.turn()
        assert world.stdout < 0, "it was started again before its time"
        world.monotonic += delay
        world.turn()
        assert world.jobs == [f"{NOON + 3600} rotate - 0 * * * *"]
    assert len(world.said) == 3
    assert "SIGSEGV" in world.said[0]
    assert "again in 100ms: what falls due meanwhile is started then, once" in world.said[0]


def test_a_long_run_makes_up_for_failures(world: World) -> None:
    """After ten seconds the back-off begins anew."""
    world.clock.set([("rotate", HOURLY)])
    world.end()
    world.monotonic += 0.1
    world.turn()
    world.monotonic += 10
    world.end()
    assert world.clock.deadline() == pytest.approx(world.monotonic + 0.1)


def test_a_child_that_closes_its_output_first_is_waited_for(world: World) -> None:
    """Its end is what counts; the closed pipe does not keep the loop awake."""
    world.clock.set([("rotate", HOURLY)])
    os.close(world.stdout)
    world.turn()
    assert world.epoll.poll(0) == []
    assert world.clock.deadline() is None
    world.stdout = os.open("/dev/null", os.O_WRONLY)
    world.end()
    assert world.clock.deadline() is not None


def test_a_machine_without_room_is_asked_again(world: World) -> None:
    """A refused fork leaves no descriptor behind, and is tried again."""
    world.refuses = True
    world.clock.set([("rotate", HOURLY)])
    assert "no room for another process" in world.said[0]
    world.refuses = False
    world.monotonic += 0.1
    world.turn()
    assert len(world.starts) == 1


def test_a_program_that_cannot_be_executed_is_tried_again(world: World) -> None:
    """With the reason in its warning."""
    world.clock.set([("rotate", HOURLY)])
    world.end(127, "'python3' does not exist")
    assert "cannot be started: 'python3' does not exist" in world.said[0]
    assert world.clock.deadline() is not None


def test_a_new_list_does_not_wait_for_the_back_off(world: World) -> None:
    """And an empty one ends it."""
    world.clock.set([("rotate", HOURLY)])
    world.end()
    world.clock.set([("rotate", DAILY)])
    assert (len(world.starts), world.clock.deadline()) == (2, None)
    world.end()
    world.clock.set([])
    assert world.clock.deadline() is None


def test_the_next_life_goes_on_where_this_one_was(world: World) -> None:
    """What fell due while process 1 was replaced is due for the new child; a changed schedule begins anew."""
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


def test_the_child_is_held_by_its_standard_input(world: World) -> None:
    """Nobody but process 1 holds the other end: when it is gone, the child reads the end of the file."""
    world.clock.set([("rotate", HOURLY)])
    os.set_blocking(world.stdin, False)
    with pytest.raises(BlockingIOError):
        os.read(world.stdin, 1)
    os.close(world.clock._leash)
    assert os.read(world.stdin, 1) == b""
    world.clock._leash = os.open("/dev/null", os.O_RDONLY)
