"""Whose process is this: told by descent, by session, by mark, or nobody's."""

import io
import os
import signal
import subprocess
from pathlib import Path

import pytest

from cohabit.reactor import linux, tree
from cohabit.reactor.tree import Trees


class World:
    """A /proc of our own: pid -> (parent, session, environment); `sent` is what was signalled."""

    def __init__(self) -> None:
        self.processes: dict[int, tuple[int, int, dict[str, str] | None]] = {}
        self.sent: list[tuple[int, int]] = []

    def add(self, pid: int, parent: int, session: int, environment: dict[str, str] | None = None) -> None:
        """Add a process; environment None: it cannot be read."""
        self.processes[pid] = (parent, session, environment)

    def send(self, pid: int, number: int) -> bool:
        """What kill would be."""
        self.sent.append((pid, number))
        return True

    def everything(self) -> dict[int, tuple[int, int]]:
        """What _everything gives."""
        return {pid: (parent, session) for pid, (parent, session, _) in self.processes.items()}

    def open(self, path: str, mode: str) -> io.BytesIO:
        """What /proc/PID/environ gives."""
        assert mode == "rb"
        environment = self.processes[int(path.split("/")[2])][2] if path.endswith("environ") else None
        if environment is None:
            raise PermissionError(13, "not yours")
        return io.BytesIO(b"\0".join(f"{name}={value}".encode() for name, value in environment.items()) + b"\0")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Give a world in which we are process 100 and `kill` only notes."""
    world = World()
    monkeypatch.setattr(linux.os, "getpid", lambda: 100)
    monkeypatch.setattr(tree, "proc_is_ours", lambda: True)
    monkeypatch.setattr(tree, "_everything", world.everything)
    monkeypatch.setattr(tree, "_stat", lambda pid: world.everything().get(pid))
    monkeypatch.setattr(tree, "open", world.open, raising=False)
    monkeypatch.setattr(tree, "send", world.send)
    return world


@pytest.fixture
def trees(world: World) -> Trees:
    """Give trees with two services: web, leader 200, and db, leader 300."""
    trees = Trees("us")
    for name, pid in (("web", 200), ("db", 300)):
        world.add(pid, 100, pid)
        trees.started(name, pid)
    return trees


MARKED = {"COHABIT_SERVICE": "web", "COHABIT_SUPERVISOR": "us"}


def test_descendants_of_a_leader_are_its_tree(world: World, trees: Trees) -> None:
    """Children and their children belong to it, in whatever session, parents first."""
    world.add(201, 200, 200)
    world.add(202, 201, 202)
    world.add(301, 300, 300)
    assert trees.members("web") == [200, 201, 202]


@pytest.mark.parametrize(
    ("session", "environment", "owner"),
    [
        (200, None, "web"),
        (200, {}, "web"),
        (999, MARKED, "web"),
        (999, {}, ""),
        (999, None, ""),
        (999, MARKED | {"COHABIT_SUPERVISOR": "another"}, ""),
        (300, MARKED, "db"),
    ],
)
def test_owner_of_an_orphan(
    world: World, trees: Trees, session: int, environment: dict[str, str] | None, owner: str
) -> None:
    """An orphan belongs to whose session it is in, else to whose mark it carries, else to nobody."""
    world.add(400, 100, session, environment)
    assert trees.services_with_orphans() == ({owner} if owner else set())
    assert (400 in trees.members("web"), 400 in trees.members("db")) == (owner == "web", owner == "db")


def test_orphan_outlives_its_leader(world: World, trees: Trees) -> None:
    """The session still says whose it is when the leader is gone, until the whole tree is."""
    del world.processes[200]
    assert trees.reaped(200) == "web"
    world.add(400, 100, 200)
    assert trees.services_with_orphans() == {"web"}
    del world.processes[400]
    assert trees.reaped(400) is None
    assert trees.services_with_orphans() == set()
    trees.ended("web")
    world.add(500, 100, 200)
    assert trees.services_with_orphans() == set(), "a session number may come again, for somebody else"


def test_owner_is_decided_once(world: World, trees: Trees) -> None:
    """Whose an orphan is, is decided when it comes to us, not when it changes its session later."""
    world.add(400, 100, 200)
    assert trees.services_with_orphans() == {"web"}
    world.add(400, 100, 400, {})
    assert trees.services_with_orphans() == {"web"}


def test_signal_reaches_the_tree_and_nobody_else(world: World, trees: Trees) -> None:
    """TERM goes to each member, followed by CONT; nobody of another tree hears it."""
    world.add(201, 200, 200)
    world.add(400, 100, 999, MARKED)
    world.add(301, 300, 300)
    trees.signal("web", signal.SIGTERM)
    assert {pid for pid, _ in world.sent} == {200, 201, 400}
    assert [number for pid, number in world.sent if pid == 201] == [signal.SIGTERM, signal.SIGCONT]


def test_kill_goes_on_until_nobody_is_new(world: World, trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that forks while it is killed is gone through again."""

    def send(pid: int, number: int) -> bool:
        world.sent.append((pid, number))
        if pid < 210:
            world.add(pid + 1, 200, 200)
        return True

    monkeypatch.setattr(tree, "send", send)
    trees.signal("web", signal.SIGKILL)
    assert world.sent == [(pid, signal.SIGKILL) for pid in range(200, 211)]


def test_everybody_is_those_below_us(world: World, trees: Trees) -> None:
    """Not as process 1, everybody means our descendants: never kill(-1)."""
    world.add(50, 1, 50)
    world.add(101, 50, 50)
    world.add(400, 100, 999, {})
    trees.signal_everybody(signal.SIGTERM)
    assert {pid for pid, _ in world.sent} == {200, 300, 400}


def test_everybody_as_process_1(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As process 1 it is kill(-1), which misses nobody."""
    monkeypatch.setattr(linux.os, "getpid", lambda: 1)
    Trees("us").signal_everybody(signal.SIGTERM)
    assert world.sent == [(-1, signal.SIGTERM), (-1, signal.SIGCONT)]


def test_without_proc_a_tree_is_its_group(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc signals go to the process group."""
    monkeypatch.setattr(tree, "proc_is_ours", lambda: False)
    trees = Trees("us")
    trees.started("web", 200)
    trees.signal("web", signal.SIGTERM)
    assert world.sent == [(-200, signal.SIGTERM)]


def test_stat_of_an_odd_name(tmp_path: Path) -> None:
    """The name of a process may hold brackets and spaces: parent and session are found all the same."""
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "1000"]) as process:  # returns after the exec
        try:
            assert "S 1 (b)" in Path(f"/proc/{process.pid}/stat").read_text()
            assert tree._stat(process.pid) == (os.getpid(), os.getsid(0))
        finally:
            process.kill()


def test_nobody_has_no_stat() -> None:
    """A process that is gone has no parent and no session."""
    assert tree._stat(2**22 + 1) is None
