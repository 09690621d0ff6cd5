"""reactor/file_watch.py: one child for all rules, through changes of the Plan, failures and re-executions."""

import marshal
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cohabit.engine.events import Requested
from cohabit.plan.model import Plan, Service, Watch
from cohabit.plan.reason import FILES_CHANGED, Reason
from cohabit.reactor.file_watch import KEY, FileWatch
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes.child import SpawnSpec
from unit.reactor_world import context_of

NOON = 1_795_000_000.0
SOURCES = Watch("restart", "/srv/src", ignore=("*.log",))
SYNCED = Watch("sync+restart", "/host/conf", "/etc/conf", include=("*.conf",))


def plan(*services: Service, watches: bool = True) -> Plan:
    """A Plan with these services."""
    return Plan({service.name: service for service in services}, watches=watches)


def service(name: str, *rules: Watch, of: str = "") -> Service:
    """A service with rules."""
    return Service(name, ("x",), service=of or name, watch=rules)


class World:
    """A world that plays the child, as that of test_reactor_clock.py."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.poller = Poller()
        self.monotonic, self.wall = 1000.0, NOON
        self.starts: list[SpawnSpec] = []
        self.killed: list[str] = []
        self.events: list[Any] = []
        self.log: list[str] = []
        self.fork_fails = False
        self._pipes: tuple[int, ...] = ()
        self._ended: list[Callable[[int, str], None]] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.monotonic)
        monkeypatch.setattr(time, "time", lambda: self.wall)
        self.watch = self.new()

    def new(self) -> FileWatch:
        """Return a FileWatch, as a new program of process 1 creates it."""
        context = context_of(
            self.poller,
            run_program=self._launch,
            kill_program=self.killed.append,
            emit=self.events.append,
            log=lambda _level, _service, text: self.log.append(text),
        )
        return FileWatch(context)

    def _launch(self, key: str, start: SpawnSpec, ended: Callable[[int, str], None]) -> None:
        assert key == KEY
        if self.fork_fails:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        assert not self._ended, "two children at once"
        self.starts.append(start)
        self._ended.append(ended)
        self._pipes = tuple(os.dup(fd) for fd in start.stdio[:2])

    def request(self) -> Any:
        """What the child has been asked: since when, and the rules."""
        size = int(os.read(self._pipes[0], 8))
        return marshal.loads(os.read(self._pipes[0], size))  # noqa: S302

    def write(self, data: bytes) -> None:
        """Write as the child, and have it read."""
        os.write(self._pipes[1], data)
        self.turn()

    def turn(self) -> None:
        """One turn of the loop."""
        self.poller.wait(0)
        self.poller.run_timers(self.monotonic)

    def end(self, code: int = 1, why: str = "") -> None:
        """End and reap the child."""
        for fd in self._pipes:
            os.close(fd)
        self._ended.pop()(code, why)

    def close(self) -> None:
        """Close everything."""
        self.watch.stop()
        if self._ended:
            self.end()
        self.poller.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Give a World. Afterwards every descriptor that it opened must be closed."""
    before = len(os.listdir("/proc/self/fd"))
    world = World(monkeypatch)
    yield world
    world.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "given",
    [
        plan(service("web", SOURCES), watches=False),
        plan(service("web")),
        plan(service("web", Watch("rebuild", "/x"), Watch("sync", "/x", "/y"), Watch("sync+exec", "/x", "/y"))),
    ],
)
def test_without_rules_there_is_no_child(world: World, given: Plan) -> None:
    """Nor without --watch, nor with rules that restart nothing."""
    world.watch.set_plan(given)
    assert (world.starts, world.poller.deadline()) == ([], None)


def test_the_child_gets_each_rule_once(world: World) -> None:
    """A rule of a service with replicas is one rule. For sync+restart the target is watched."""
    world.watch.set_plan(
        plan(
            service("web-1", SOURCES, SYNCED, of="web"),
            service("web-2", SOURCES, SYNCED, of="web"),
            service("db", SYNCED),
        )
    )
    assert world.request() == (
        NOON,
        [
            (0, "/srv/src", ("*.log",), ()),
            (0, "/etc/conf", (), ("*.conf",)),
            (1, "/etc/conf", (), ("*.conf",)),
        ],
    )
    assert world.starts[0].argv[1:3] == ("-I", "-S")
    assert [name for name, _ in world.starts[0].after_user] == ["drop its capabilities", "forbid it new privileges"]
    world.write(b"watching 3\nwarning /x does not exist (it is watched as soon as it does)\n")
    assert world.log == [
        "watching 3 directories: changes of files restart web-1, web-2, db",
        "up --watch: /x does not exist (it is watched as soon as it does)",
    ]


def test_a_change_is_a_request_to_restart(world: World) -> None:
    """All instances, with the file as the cause. A line may come in parts."""
    world.watch.set_plan(plan(service("web-1", SOURCES, of="web"), service("web-2", SOURCES, of="web")))
    world.write(b"changed 0 1 /srv/src/a b.py\nchanged 0 2 /s")
    world.write(b"rv/src/c\nchanged 0 5 /srv/src/d\n")
    assert world.events == [
        Requested("restart", ("web-1", "web-2"), cause=Reason(FILES_CHANGED, path=path, detail=others))
        for path, others in (("/srv/src/a b.py", ""), ("/srv/src/c", "1 other"), ("/srv/src/d", "4 others"))
    ]


def test_another_plan_with_the_same_rules_keeps_the_child(world: World) -> None:
    """Also with other replicas."""
    world.watch.set_plan(plan(service("web", SOURCES)))
    world.watch.set_plan(plan(service("web", SOURCES), service("web-2", SOURCES, of="web"), service("db")))
    assert (len(world.starts), world.killed) == (1, [])
    world.write(b"changed 0 1 /srv/src/a\n")
    assert world.events[0].services == ("web", "web-2")


def test_other_rules_have_another_child(world: World) -> None:
    """What the former one still writes is about other rules."""
    world.watch.set_plan(plan(service("web", SOURCES)))
    world.wall += 100
    world.watch.set_plan(plan(service("web", SYNCED)))
    assert world.killed == [KEY]
    world.write(b"changed 0 1 /srv/src/a\n")
    assert world.events == []
    world.end(137)
    assert world.request() == (NOON + 100, [(0, "/etc/conf", (), ("*.conf",))])
    world.watch.set_plan(plan(service("web")))
    world.end(137)
    assert (len(world.starts), world.log, world.poller.deadline()) == (2, [], None)


def test_a_child_that_ended_is_replaced(world: World) -> None:
    """The next one looks for what was modified since the last report."""
    world.watch.set_plan(plan(service("web", SOURCES)))
    world.wall += 50
    world.write(b"changed 0 1 /srv/src/a\n")
    world.wall += 50
    world.end(137)
    assert "the watcher of files ended with SIGKILL (killed) (restarting it in 100ms" in world.log[-1]
    world.monotonic += 0.1
    world.fork_fails = True
    world.turn()
    assert "cannot be started: " in world.log[-1]
    world.monotonic += 0.2
    world.fork_fails = False
    world.turn()
    assert world.request()[0] == NOON + 50


def test_after_a_re_execution_a_new_child_looks_back(world: World) -> None:
    """The former one has ended with its input."""
    world.watch.set_plan(plan(service("web", SOURCES)), resumed=True)
    assert world.request()[0] == NOON - 2.0


def test_a_service_that_restarts_itself_is_named(world: World) -> None:
    """Once for each sequence, whatever pauses a person makes."""
    world.watch.set_plan(plan(service("web", SOURCES)))
    for _ in range(8):
        world.monotonic += 1.0
        world.write(b"changed 0 1 /srv/src/log/x\n")
    hint = "if the service writes it, name it in `ignore` of develop.watch"
    text = "web: restarted 5 times in a row for changes of files, the last of /srv/src/log/x"
    assert world.log == [f"{text} ({hint})"]
    for _ in range(8):
        world.monotonic += 11.0
        world.write(b"changed 0 1 /srv/src/log/x\n")
    assert len(world.log) == 1
