"""Which tree a process belongs to: by descent, cgroup, session or tracking limit, or to none."""

import copy
import marshal
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cohabit.reactor import linux
from cohabit.reactor.processes import killing, proc
from cohabit.reactor.processes.cgroup import Cgroups
from cohabit.reactor.processes.sessions import Sessions
from cohabit.reactor.processes.tracking import TrackingLimits
from cohabit.reactor.processes.tree import Trees

if TYPE_CHECKING:
    from collections.abc import Callable

US = 100
OUR_CGROUP = "/box/cohabit-100-1"


class World:
    """A simulated /proc and kernel: processes, their hard RSS limits and cgroups.

    STOP and KILL take effect. sent: signals sent; groups: process groups stopped; reads: calls of proc.read_process.
    has_children: whether the kernel has files of children.
    """

    def __init__(self) -> None:
        self.processes: dict[int, proc.Process] = {}
        self.limits: dict[int, int | None] = {}
        self.users: dict[int, set[int]] = {}
        self.ticks = 0
        self.cgroups: dict[int, str] = {}
        self.sent: list[tuple[int, int]] = []
        self.groups: list[int] = []
        self.reads = 0
        self.has_children = True
        self.refusing: set[int] = set()  # processes that we may not signal
        self.on_stop: Callable[[int], object] = lambda _: None

    def add(self, pid: int, parent: int, session: int, limit: int | None = proc.UNLIMITED) -> None:
        """Add a process. limit: its hard limit of RSS, None if it cannot be read."""
        self.ticks += 1
        self.processes[pid] = proc.Process(pid, parent, session, start=self.ticks)
        self.limits[pid] = limit

    def later(self) -> int:
        """Return ticks after all processes that were added so far, and before later ones."""
        self.ticks += 1
        return self.ticks

    def end(self, pid: int) -> None:
        """Remove a process; its children become ours."""
        for child in self.children_of(pid):
            child.parent = US
        del self.processes[pid]

    def children_of(self, pid: int) -> list[proc.Process]:
        """Return the children of a process."""
        return [process for process in self.processes.values() if process.parent == pid]

    def kill(self, pid: int, number: int) -> None:
        """Act as the kernel does."""
        if number == signal.SIGSTOP and pid < 0:
            self.groups.append(-pid)  # its members are also stopped one by one
            return
        self.sent.append((pid, number))
        if number == signal.SIGSTOP:
            self.processes[pid].state = "T"
            self.on_stop(pid)
        elif number == signal.SIGKILL and pid in self.processes:
            self.processes[pid].state = "Z"

    def send_to(self, process: proc.Process, *numbers: int) -> str:
        """Replaces proc.send_to."""
        if process.pid in self.refusing:
            return proc.REFUSED
        now = self.processes.get(process.pid)
        for number in numbers if now and now.start == process.start else ():
            self.kill(process.pid, number)
        return proc.SENT if now is not None else proc.ENDED

    def read_process(self, pid: int) -> proc.Process | None:
        """Replaces proc.read_process."""
        self.reads += 1
        return self.processes.get(pid)

    def all_processes(self) -> list[proc.Process]:
        """Replaces proc.all_processes."""
        return list(self.processes.values())

    def children(self, pid: int) -> list[int]:
        """Replaces proc.children."""
        assert self.has_children
        return [process.pid for process in self.children_of(pid)]

    def signalled(self, number: int) -> list[int]:
        """Return the pids to which this signal was sent."""
        return [pid for pid, sent in self.sent if sent == number]


@pytest.fixture(params=[True, False], ids=["files of children", "no files of children"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """Give a world in which we are process 100, with and without files of children."""
    world = World()
    world.has_children = request.param
    monkeypatch.setattr(linux.os, "getpid", lambda: US)
    monkeypatch.setattr(linux.os, "kill", world.kill)
    monkeypatch.setattr(linux.os, "getsid", lambda _: US)
    monkeypatch.setattr(proc, "is_ours", lambda: True)
    monkeypatch.setattr(proc, "shows_children", lambda: world.has_children)
    monkeypatch.setattr(proc, "own_children", lambda: world.children(US))
    for name in ("read_process", "all_processes", "children"):
        monkeypatch.setattr(proc, name, getattr(world, name))
    monkeypatch.setattr(proc, "hard_rss_limit", lambda pid: world.limits[pid])
    monkeypatch.setattr(proc, "users", lambda pid: world.users.get(pid, {0}))
    monkeypatch.setattr(proc, "send_to", world.send_to)
    monkeypatch.setattr(proc, "cgroup", lambda pid: world.cgroups.get(pid, "/box"))
    return world


@pytest.fixture
def trees(world: World) -> Trees:
    """Give trees with two services: web, leader 200, and db, leader 300."""
    trees = Trees("us")
    trees.limits = TrackingLimits(-1)
    for name, pid in (("web", 200), ("db", 300)):
        world.add(pid, US, pid, trees.limits.limit(name))
        trees.started(name, pid)
    return trees


PROBE = "web\0probe"
WEB, DB = (1 << 62) + (1 << 24) - 1, (1 << 62) + (2 << 24) - 1
UNLIMITED = proc.UNLIMITED


# --- attribution -----------------------------------------------------------------------------------------


def test_descendants_belong_to_the_leader_s_tree(world: World, trees: Trees) -> None:
    """In any session, parents before children."""
    world.add(201, 200, 200)
    world.add(202, 201, 202)
    world.add(301, 300, 300)
    assert trees.members("web") == [200, 201, 202]


@pytest.mark.parametrize(
    ("session", "limit", "owner"),
    [
        (200, UNLIMITED, "web"),
        (200, DB, "web"),
        (999, WEB, "web"),
        (999, WEB - 1000, "web"),
        (999, DB, "db"),
        (999, UNLIMITED, ""),
        (999, 1 << 30, ""),
        (999, DB + (1 << 24), ""),
        (300, WEB, "db"),
    ],
)
def test_orphan_belongs_by_session_then_by_limit(
    world: World, trees: Trees, session: int, limit: int, owner: str
) -> None:
    """To the tree of its session, otherwise of its tracking limit, otherwise to none."""
    world.add(400, US, session, limit)
    assert trees.owner(400) == owner
    assert trees.keys_with_orphans() == ({owner} if owner else set())
    assert (400 in trees.members("web"), 400 in trees.members("db")) == (owner == "web", owner == "db")
    assert trees.owner(400) == owner
    assert trees.unreported == ([] if owner else [400])


def test_each_tree_has_its_own_range_of_limits(world: World, trees: Trees) -> None:
    """A task's tree differs from its service's. The range of a tree that has ended is not reused."""
    for pid, key in ((400, "wéb.1"), (401, PROBE), (402, "\0loader")):
        world.add(pid, US, pid, trees.limits.limit(key))
        assert trees.owner(pid) == key
    limit = trees.limits.limit(PROBE)
    trees.ended(PROBE)
    assert trees.limits.limit("web\0probe 2") != limit
    world.add(403, US, 403, limit)
    assert trees.owner(403) == ""


def test_variables_name_supervisor_tree_and_service(trees: Trees) -> None:
    """For people and for our own commands. A task that belongs to no service has no COHABIT_SERVICE."""
    assert trees.variables("web") == {"COHABIT_SERVICE": "web", "COHABIT_SUPERVISOR": "us:web"}
    assert trees.variables(PROBE) == {"COHABIT_SERVICE": "web", "COHABIT_SUPERVISOR": "us:web%00probe"}
    assert "COHABIT_SERVICE" not in trees.variables("\0loader")


def test_descendant_belongs_to_its_nearest_ancestor_s_tree(world: World, trees: Trees) -> None:
    """Whatever its session and limit are."""
    world.add(201, 200, 200)
    world.add(202, 201, 202, DB)
    world.add(400, US, 999, WEB)
    world.add(401, 400, 401, DB)
    world.add(50, 1, 50)
    world.add(51, 50, 50, WEB)
    assert [trees.owner(pid) for pid in (200, 201, 202, 400, 401)] == ["web"] * 5
    assert [trees.owner(pid) for pid in (50, 51, US)] == ["", "", None]
    assert trees.owner(777) is None


def test_orphan_keeps_its_tree_after_the_leader_s_end(world: World, trees: Trees) -> None:
    """The session attributes it until the whole tree has ended."""
    world.add(400, 200, 200)
    world.end(200)
    assert trees.reaped(200, world.later()) == "web"
    assert trees.keys_with_orphans() == {"web"}
    trees.ended("web")
    assert trees.owner(400) == "web", "the tree ends with its last orphan"
    world.end(400)
    assert trees.reaped(400, world.later()) is None
    assert trees.keys_with_orphans() == set()
    world.add(500, US, 200)
    assert trees.keys_with_orphans() == set(), "the session number may have been reused"


def test_later_process_in_a_leaderless_session_needs_the_limit(world: World, trees: Trees) -> None:
    """After the leader was reaped, the session's number may be reused."""
    world.add(400, 200, 200)
    world.end(200)
    trees.reaped(200, world.later())
    world.add(401, US, 200)
    world.add(402, US, 200, WEB)
    assert [trees.owner(pid) for pid in (400, 401, 402)] == ["web", "", "web"]


def test_second_end_of_a_leader_s_pid_changes_nothing(world: World, trees: Trees) -> None:
    """The end of another process with the leader's pid does not make its session the tree's."""
    world.add(400, 200, 200)
    world.end(200)
    trees.reaped(200, world.later())
    world.add(200, US, 200)
    world.add(401, 200, 200)
    world.end(200)
    trees.reaped(200, world.later())
    assert [trees.owner(pid) for pid in (400, 401)] == ["web", ""]


def test_orphan_is_attributed_once(world: World, trees: Trees) -> None:
    """When it is first seen; a later change of its session or limit has no effect."""
    world.add(400, US, 200)
    world.add(401, US, 401, WEB)
    assert trees.keys_with_orphans() == {"web"}
    for pid in (400, 401):
        world.processes[pid].session = 999
        world.limits[pid] = DB
    assert trees.keys_with_orphans() == {"web"}


def test_order_of_ends_is_not_evidence(world: World, trees: Trees) -> None:
    """An orphan without evidence belongs to no tree, whichever process has just ended, and is never signalled."""
    world.add(400, US, 999)
    world.end(200)
    trees.reaped(200, world.later())
    assert trees.keys_with_orphans() == set()
    trees.signal("web", signal.SIGKILL)
    trees.signal("db", signal.SIGKILL)
    assert 400 not in world.signalled(signal.SIGKILL)


def test_unreadable_orphan_is_attributed_later(world: World, trees: Trees) -> None:
    """If nothing can be read of it now, it is read again the next time."""
    world.add(400, US, 999, None)
    assert trees.keys_with_orphans() == set()
    assert trees.unreported == []
    world.limits[400] = WEB
    assert trees.keys_with_orphans() == {"web"}


def test_zombie_is_not_reported(world: World, trees: Trees) -> None:
    """A zombie without evidence does no harm: it is reaped next."""
    world.add(400, US, 999)
    world.processes[400].state = "Z"
    assert trees.keys_with_orphans() == set()
    assert trees.unreported == []


def test_recorded_member_stays_in_the_tree(world: World, trees: Trees) -> None:
    """A process that was signalled as a descendant is attributed after its parents' end by pid and start time."""
    for pid in (201, 202):
        world.add(pid, 200, pid)
    trees.signal("web", signal.SIGTERM)
    world.end(200)
    trees.reaped(200, world.later())
    world.add(202, US, 202)
    assert trees.keys_with_orphans() == {"web"}
    assert [trees.owner(pid) for pid in (201, 202)] == ["web", ""]


def test_limit_alone_gives_no_rights_to_other_users(world: World, trees: Trees) -> None:
    """Every process can set a limit: with nothing else, it speaks for a service only as the service's user."""
    world.add(201, 200, 201, DB)
    world.add(400, US, 400, WEB)
    world.add(401, 400, 401, WEB)
    world.users.update({pid: {65534} for pid in (201, 400, 401)})
    assert [trees.speaks_for("web", pid, 0) for pid in (200, 201, 400, 401)] == [True, True, False, False]
    assert [trees.speaks_for("web", pid, 65534) for pid in (201, 400, 401)] == [True, True, True]
    assert [trees.speaks_for("db", pid, 65534) for pid in (201, 400, 401, 777)] == [False, False, False, None]
    world.users[400] = {65534, 0}
    assert not trees.speaks_for("web", 400, 65534)


# --- several leaders, adopted daemons --------------------------------------------------------------------


def test_hook_is_a_leader_of_its_service_s_tree(world: World, trees: Trees) -> None:
    """Its orphans are the service's, and its end does not end other processes' sessions."""
    world.add(210, US, 210)
    trees.started("web", 210)
    world.add(211, 210, 210)
    assert trees.members("web") == [200, 210, 211]
    assert trees.keys_with_orphans() == set()
    world.end(210)
    assert trees.reaped(210, world.later()) == "web"
    assert trees.keys_with_orphans() == {"web"}
    assert trees.orphans_of("web") == [211]
    world.end(211)
    trees.reaped(211, world.later())
    assert trees.orphans_of("web") == []
    assert trees.lives("web")
    trees.ended("web")
    world.add(400, US, 200)
    world.add(401, US, 210)
    assert trees.keys_with_orphans() == {"web"}
    assert trees.orphans_of("web") == [400], "the main process is running, so its session counts"


def test_adopted_daemon_is_a_leader(world: World, trees: Trees) -> None:
    """It is not an orphan, its end is reported, and its session belongs to the tree."""
    world.add(400, US, 400, WEB)
    assert trees.orphans_of("web") == [400]
    assert trees.adopt("web", 400)
    assert trees.keys_with_orphans() == set()
    world.add(401, 400, 400)
    world.end(400)
    assert trees.reaped(400, world.later()) == "web"
    assert trees.orphans_of("web") == [401]


def test_only_our_own_child_can_be_adopted(world: World, trees: Trees) -> None:
    """We would not see the end of another process's child. A process that has ended cannot be adopted either."""
    world.add(201, 200, 201)
    assert not trees.adopt("web", 201)
    assert not trees.adopt("web", 777)
    assert trees.reaped(201, world.later()) is None


# --- signals ---------------------------------------------------------------------------------------------


def test_signal_reaches_the_tree_only(world: World, trees: Trees) -> None:
    """Each member gets TERM and then CONT; a process of another tree gets neither."""
    world.add(201, 200, 200)
    world.add(400, US, 999, WEB)
    world.add(301, 300, 300)
    trees.signal("web", signal.SIGTERM)
    assert {pid for pid, _ in world.sent} == {200, 201, 400}
    assert [number for pid, number in world.sent if pid == 201] == [signal.SIGTERM, signal.SIGCONT]


def test_all_processes_are_stopped_before_any_is_killed(world: World, trees: Trees) -> None:
    """While the tree forks, it is read again. When no process is left that could fork, all are killed."""
    world.on_stop = lambda pid: world.add(pid + 1, 200, 200) if pid < 210 else None
    trees.signal("web", signal.SIGKILL)
    assert world.signalled(signal.SIGSTOP) == list(range(200, 211))
    assert world.sent[-11:] == [(pid, signal.SIGKILL) for pid in range(200, 211)]


def test_process_groups_are_stopped_as_a_whole(world: World, trees: Trees) -> None:
    """Each group of the tree, but no group of our own session, which may have other members."""
    for pid, session, group in ((201, 200, 200), (202, 202, 202), (203, 200, 203), (204, US, 204)):
        world.add(pid, 200, session)
        world.processes[pid].group = group
    trees.signal("web", signal.SIGKILL)
    assert world.groups == [200, 202, 203]
    assert world.signalled(signal.SIGSTOP) == [200, 201, 202, 203, 204]


def test_children_of_a_parent_that_ended_meanwhile_are_killed(world: World, trees: Trees) -> None:
    """Its children became ours after our children were read: they are found and killed, too."""
    world.add(201, 200, 200)
    world.add(202, 201, 202)
    world.processes[200].state = world.processes[201].state = "Z"
    world.processes[202].parent = 50  # ours, but not in what was read
    world.limits[202] = WEB

    def late(pid: int) -> proc.Process | None:
        if pid == 201:
            world.processes[202].parent = US
        return world.read_process(pid)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proc, "read_process", late)
        trees.signal("web", signal.SIGKILL)
    assert world.signalled(signal.SIGKILL) == [202]


def test_children_of_a_process_that_ends_before_it_is_read_are_killed(world: World, trees: Trees) -> None:
    """Nothing else shows that there was such a process, if its parent ignores SIGCHLD and so leaves no zombie."""
    world.add(201, 200, 201)

    def fork(pid: int) -> None:
        if pid == 201:  # just before it was stopped
            world.add(202, 201, 201, WEB)
            world.add(203, 202, 203, WEB)

    def late(pid: int) -> proc.Process | None:
        if pid == 202 and pid in world.processes:
            world.end(202)
        return world.read_process(pid)

    world.on_stop = fork
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proc, "read_process", late)
        trees.signal("web", signal.SIGKILL)
        assert trees.members("web") == [200, 201, 203]
    assert world.signalled(signal.SIGKILL) == [200, 201, 203]


def test_process_that_can_never_be_read_does_not_prolong_a_kill(world: World, trees: Trees) -> None:
    """The mount option hidepid of /proc hides the processes of other users."""
    world.add(201, 200, 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proc, "read_process", lambda pid: None if pid == 201 else world.read_process(pid))
        patch.setattr(killing, "_TIMEOUT_SECONDS", float("inf"))
        trees.signal("web", signal.SIGKILL)
    assert world.signalled(signal.SIGKILL) == [200]


def test_group_in_a_reused_session_is_not_stopped_for_a_forged_limit(world: World, trees: Trees) -> None:
    """The number of an ended session of the tree is the session of other processes by now. One of them is a forger."""
    world.end(200)
    trees.reaped(200, world.later())
    world.add(500, 50, 200)  # the leader of the other session, 200, has ended, too
    world.add(501, US, 200, WEB)
    assert trees.owner(501) == "web"
    trees.signal("web", signal.SIGKILL)
    assert not world.groups
    assert world.signalled(signal.SIGKILL) == [501]


def test_group_of_a_process_with_a_limit_only_is_not_stopped(world: World, trees: Trees) -> None:
    """Its limit may be forged, and the other members of its group may belong to its real service."""
    world.add(301, 300, 300)
    world.add(400, US, 300, WEB)
    world.add(401, US, 999, WEB)
    world.add(402, US, 999)
    for pid in (300, 301, 400):
        world.processes[pid].group = 300
    trees.sessions = Sessions()  # the session of db's leader is unknown
    trees.sessions.add(200, "web", started_by_us=True)
    trees.signal("web", signal.SIGKILL)
    assert world.groups == [200]
    assert world.signalled(signal.SIGKILL) == [200, 400, 401]


def test_group_is_read_after_the_process_was_stopped(world: World, trees: Trees) -> None:
    """If a process leaves its group before it is stopped, the old group is not stopped."""
    world.add(201, 200, 201)

    def leave(pid: int) -> None:
        if pid == 201:
            world.processes[pid] = copy.copy(world.processes[pid])
            world.processes[pid].group = 777

    world.on_stop = leave
    trees.signal("web", signal.SIGKILL)
    assert world.groups == [200, 777]


def test_reused_pid_is_another_process(world: World, trees: Trees) -> None:
    """A process with the pid of one that was stopped and has ended since is stopped, too."""
    world.add(201, 200, 200)
    world.on_stop = lambda _: world.add(201, 200, 200) if len(world.sent) < 3 else None
    trees.signal("web", signal.SIGKILL)
    assert world.signalled(signal.SIGSTOP) == [200, 201, 201]
    assert {world.processes[pid].state for pid in (200, 201)} == {"Z"}


def test_time_for_a_kill_is_bounded(world: World, trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a tree forks endlessly, the processes that were seen are killed after the timeout."""
    monkeypatch.setattr(killing, "_TIMEOUT_SECONDS", -1.0)
    world.on_stop = lambda pid: world.add(pid + 1, 200, 200)
    trees.signal("web", signal.SIGKILL)
    assert world.sent == [(200, signal.SIGSTOP), (200, signal.SIGKILL)]


def test_orphan_found_after_the_kill_is_killed(world: World, trees: Trees) -> None:
    """A missed process becomes our child when its parent dies, and is killed then; a later run is spared."""
    trees.signal("web", signal.SIGKILL)
    world.add(201, 200, 999, WEB)
    world.end(200)
    trees.reaped(200, world.later())
    assert trees.keys_with_orphans() == {"web"}
    assert world.signalled(signal.SIGKILL) == [200, 201]
    before = len(world.sent)
    assert trees.keys_with_orphans() == {"web"}
    assert len(world.sent) == before, "it is killed once"
    world.end(201)
    trees.reaped(201, world.later())
    trees.ended("web")
    world.add(200, US, 200)
    trees.started("web", 200)
    world.add(400, US, 200)
    assert trees.keys_with_orphans() == {"web"}
    assert 400 not in world.signalled(signal.SIGKILL)


def test_orphan_of_a_killed_task_s_last_process_is_killed(world: World, trees: Trees) -> None:
    """A process that was missed when the tree was killed is found when the last known one is reaped."""
    limit = trees.limits.limit(PROBE)
    world.add(400, US, 400, limit)
    world.add(401, 400, 401, limit)
    assert trees.keys_with_orphans() == {PROBE}
    world.processes[401].parent = 50  # the read missed it
    trees.signal(PROBE, signal.SIGKILL)
    trees.ended(PROBE)
    world.processes[401].parent = 400
    world.end(400)
    trees.reaped(400, world.later())
    trees.keys_with_orphans()
    assert world.signalled(signal.SIGKILL) == [400, 401]
    world.end(401)
    trees.reaped(401, world.later())
    trees.keys_with_orphans()
    assert trees.limits.owner(limit or 0) is None


def test_next_run_of_a_killed_tree_is_not_killed(world: World, trees: Trees) -> None:
    """A new run under the same key is spared, even if processes of the previous run are left."""
    world.add(400, US, 200)
    trees.signal("web", signal.SIGKILL)
    trees.started("web", 210)
    world.add(401, US, 210)
    assert trees.keys_with_orphans() == {"web"}
    assert 401 not in world.signalled(signal.SIGKILL)


def test_reused_pid_of_an_orphan_is_attributed_again(world: World, trees: Trees) -> None:
    """An orphan with the pid of one that was reaped is attributed by its own evidence."""
    world.add(400, US, 200)
    assert trees.keys_with_orphans() == {"web"}
    trees.reaped(400, world.later())
    world.add(400, US, 300)
    assert trees.keys_with_orphans() == {"db"}


def test_kill_reads_its_own_tree_only(world: World, trees: Trees) -> None:
    """The cost of a kill depends on the size of the tree, not of the container."""
    if not world.has_children:
        pytest.skip("then all of /proc is walked")
    for pid in range(1000, 1500):
        world.add(pid, 300, 300)
    trees.signal("web", signal.SIGKILL)
    assert world.reads < 10


def test_signal_to_all_reaches_our_descendants_only(world: World, trees: Trees) -> None:
    """If we are not process 1: kill(-1) is not used."""
    world.add(50, 1, 50)
    world.add(101, 50, 50)
    world.add(400, US, 999)
    trees.signal_all(signal.SIGTERM)
    assert {pid for pid, _ in world.sent} == {200, 300, 400}
    trees.signal_all(signal.SIGKILL)
    assert set(world.signalled(signal.SIGKILL)) == {200, 300, 400}


def test_signal_to_all_is_kill_minus_1_as_process_1(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill(-1) misses no process."""
    monkeypatch.setattr(linux.os, "getpid", lambda: 1)
    Trees("us").signal_all(signal.SIGTERM)
    assert world.sent == [(-1, signal.SIGTERM), (-1, signal.SIGCONT)]


# --- without /proc ---------------------------------------------------------------------------------------


def test_without_proc_a_tree_is_its_groups(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals go to the process groups; a group that outlives its leader is an orphan."""
    monkeypatch.setattr(proc, "is_ours", lambda: False)
    monkeypatch.setattr(linux.os, "getsid", lambda pid: {200: 200, 201: 200, 50: 50}[pid])
    trees = Trees("us")
    for pid in (200, 210):
        trees.started("web", pid)
    trees.signal("web", signal.SIGTERM)
    assert world.sent == [(-200, signal.SIGTERM), (-210, signal.SIGTERM)]
    assert [trees.owner(pid) for pid in (201, 50, 0)] == ["web", "", None]
    assert trees.keys_with_orphans() == set()
    trees.reaped(210, world.later())
    assert trees.keys_with_orphans() == {"web"}
    trees.reaped(200, world.later())
    assert trees.lives("web")


# --- cgroups ---------------------------------------------------------------------------------------------


class Kernel(Cgroups):
    """Cgroups of the world, whose members are in world.cgroups. kills: the operations in their order."""

    def __init__(self, world: World, *, has_kill: bool) -> None:
        super().__init__()
        self.directory, self.path = "/none/cohabit-100-1", OUR_CGROUP
        self._made = {"web": "web", "db": "db", "web%00probe": PROBE}
        self.world = world
        self.has_kill = has_kill
        self.kills: list[str] = []

    def members(self, key: str) -> list[int]:
        """Return the running processes with this path."""
        return [pid for pid, process in self.world.processes.items() if self.owner(pid) == key and process.lives]

    def freeze(self, key: str, *, frozen: bool) -> bool:
        """Record the operation."""
        self.kills.append(f"{'freeze' if frozen else 'thaw'} {key}")
        return True

    def kill(self, key: str) -> bool:
        """Kill the members, if the kernel has cgroup.kill."""
        self.kills.append(key)
        for pid in self.members(key) if self.has_kill else []:
            self.world.processes[pid].state = "Z"
            for child in self.world.children_of(pid):
                child.parent = US
        return self.has_kill


def test_cgroup_takes_precedence(world: World) -> None:
    """A process in a tree's cgroup belongs to that tree, whatever its session and limit are."""
    trees = Trees("us", Kernel(world, has_kill=True))
    world.add(300, US, 300)
    trees.started("db", 300)
    world.add(400, US, 300, DB)
    world.add(401, US, 999)
    world.cgroups.update({400: f"{OUR_CGROUP}/web", 401: f"{OUR_CGROUP}/web/inner/most"})
    assert (trees.owner(400), trees.owner(401)) == ("web", "web")
    assert trees.keys_with_orphans() == {"web"}
    world.cgroups[402] = f"{OUR_CGROUP}-2/web"
    world.add(402, US, 999)
    assert trees.owner(402) == "", "the cgroups of another cohabit are not ours"


@pytest.mark.parametrize("has_kill", [True, False], ids=["cgroup.kill", "before Linux 5.14"])
def test_kill_reaches_the_cgroup_and_members_outside(world: World, *, has_kill: bool) -> None:
    """The cgroup is killed atomically; processes that moved out of it, and their descendants, are killed as well."""
    cgroups = Kernel(world, has_kill=has_kill)
    trees = Trees("us", cgroups)
    world.add(200, US, 200)
    trees.started("web", 200)
    for pid, parent in ((201, 200), (202, 201), (203, 202)):
        world.add(pid, parent, pid)
    world.add(300, US, 300)
    world.cgroups.update({200: f"{OUR_CGROUP}/web", 201: f"{OUR_CGROUP}/web", 300: f"{OUR_CGROUP}/db"})
    trees.signal("web", signal.SIGKILL)
    assert cgroups.kills == ["freeze web", "web", "thaw web"]
    assert [world.processes[pid].state for pid in (200, 201, 202, 203, 300)] == ["Z", "Z", "Z", "Z", "S"]
    assert set(world.signalled(signal.SIGKILL)) == ({202, 203} if has_kill else {200, 201, 202, 203})


def test_reused_pid_of_a_member_outside_is_spared(world: World) -> None:
    """A process that had left the cgroup ends during the kill; another process with its pid is not killed."""
    cgroups = Kernel(world, has_kill=True)
    trees = Trees("us", cgroups)
    for pid, parent in ((200, US), (201, 200), (202, 201)):
        world.add(pid, parent, pid)
    trees.started("web", 200)
    world.cgroups[200] = world.cgroups[201] = f"{OUR_CGROUP}/web"
    kill = cgroups.kill

    def slow_kill(key: str) -> bool:
        world.end(202)
        world.add(202, 50, 202)
        return kill(key)

    cgroups.kill = slow_kill  # type: ignore[method-assign]
    trees.signal("web", signal.SIGKILL)
    assert world.processes[202].state == "S"


def test_signal_reaches_all_members_of_the_cgroup(world: World) -> None:
    """Also a process in the cgroup that descends from no process of the tree."""
    trees = Trees("us", Kernel(world, has_kill=True))
    world.add(200, US, 200)
    trees.started("web", 200)
    world.add(400, 50, 400)
    world.cgroups[400] = f"{OUR_CGROUP}/web"
    trees.signal("web", signal.SIGTERM)
    assert world.signalled(signal.SIGTERM) == [200, 400]


def test_trees_survive_a_re_execution(world: World, trees: Trees) -> None:
    """All state, cgroups included, becomes plain values and is restored; a tree that is being killed stays so."""
    world.add(400, US, 400, WEB)
    assert trees.adopt("web", 400)
    world.add(401, US, 999, WEB)
    assert trees.orphans_of("web") == [401]
    trees.cgroups = Kernel(world, has_kill=True)
    trees.being_killed.add("web")
    again = Trees.from_plain(marshal.loads(marshal.dumps(trees.to_plain())))  # noqa: S302 - our own
    assert again.to_plain() == trees.to_plain()
    assert again.cgroups is not None
    again.cgroups = None
    assert again.keys_with_orphans() == {"web"}
    assert set(world.signalled(signal.SIGKILL)) == {200, 400, 401}, "an orphan may have appeared meanwhile"


# --- reading /proc ---------------------------------------------------------------------------------------


def test_stat_with_brackets_in_the_name_is_read(tmp_path: Path) -> None:
    """The name of a process may contain brackets and spaces."""
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "1000"]) as process:  # returns after the exec
        try:
            assert "S 1 (b)" in Path(f"/proc/{process.pid}/stat").read_text()
            found = proc.read_process(process.pid)
            assert found
            assert (found.parent, found.session, found.lives) == (os.getpid(), os.getsid(0), True)
            assert process.pid in proc.children(os.getpid())
        finally:
            process.kill()


def test_ended_process_has_no_properties() -> None:
    """A process that has ended has no parent, children, limits, users, name or cgroup."""
    gone = 2**22 + 1
    assert proc.read_process(gone) is None
    assert proc.children(gone) == []
    assert proc.hard_rss_limit(gone) is None
    assert (proc.users(gone), proc.name(gone)) == (set(), "")
    assert proc.cgroup(gone) == ""


def test_refused_signals_are_returned(trees: Trees, world: World) -> None:
    """The pids of the processes that we may not signal are returned; the others get the signal."""
    world.add(201, 200, 200)
    world.refusing = {201}
    assert trees.signal("web", signal.SIGTERM) == [201]
    assert world.signalled(signal.SIGTERM) == [200]
    assert trees.signal_all(signal.SIGTERM) == [201]


def test_a_kill_does_not_wait_for_a_refused_process(
    trees: Trees, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that cannot be stopped does not prolong the kill, in which process 1 does nothing else."""
    pauses: list[float] = []
    monkeypatch.setattr("cohabit.reactor.processes.killing.time.sleep", pauses.append)
    world.add(201, 200, 200)
    world.refusing = {201}
    assert trees.signal("web", signal.SIGKILL) == [201]
    assert world.processes[200].state == "Z"
    assert not pauses
