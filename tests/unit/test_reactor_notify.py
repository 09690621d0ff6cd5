"""sd_notify with real sockets: accepted senders, known messages, and everything else ignored."""

import array
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohabit import control
from cohabit.engine.events import Notified
from cohabit.plan.model import Credentials, Probe, Service
from cohabit.reactor import rundir
from cohabit.reactor.health import notify
from cohabit.reactor.health.notify import Notify, notify_supervisor
from cohabit.reactor.rundir import RuntimeDirectory
from unit.reactor_world import World, ready

WEB = Service("web", ("true",), probe=Probe("notify"))


class NotifyWorld(World):
    """A loop with one service. members: the result of speaks_for by pid, False for other pids."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.members: dict[int, bool | None] = {os.getpid(): True}
        self.adopts = True
        self.directory = RuntimeDirectory(path)
        self.notify = self.fresh()
        self.environment = self.notify.open(WEB)
        self.path = self.environment["NOTIFY_SOCKET"]

    def turn(self) -> None:
        """Run one turn, and end the pauses that are over."""
        super().turn()
        self.poller.run_timers(time.monotonic())

    def idle(self) -> bool:
        """Whether nothing is to be read, now or after a pause."""
        return super().idle() and self.poller.deadline() is None

    def fresh(self) -> Notify:
        """Create a Notify, as after a re-execution."""
        self.trees = SimpleNamespace(speaks_for=lambda _service, pid, _uid: self.members.get(pid, False))
        children: Any = SimpleNamespace(trees=self.trees, adopt=lambda _service, _pid: self.adopts)
        return Notify(self.context, self.directory, children)

    def send(self, *messages: bytes, fds: tuple[int, ...] = ()) -> None:
        """Send messages from this process, and run the loop until all are read."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(self.path)
            for message in messages:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
                sender.sendmsg([message], rights)
        while not self.idle():
            self.turn()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[NotifyWorld]:
    """Give a world for one test."""
    world = NotifyWorld(str(tmp_path))
    yield world
    world.notify.close("web")
    assert list(tmp_path.iterdir()) == []
    world.close()


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (b"READY=1", {"ready": True}),
        (b"READY=1\nSTATUS=Gunicorn arbiter booted\n", {"ready": True, "status": "Gunicorn arbiter booted"}),
        (b"RELOADING=1\nMONOTONIC_USEC=123", {"reloading": True}),
        (b"STOPPING=1", {"stopping": True}),
        (b"STATUS=", {"status": ""}),
        ("STATUS=zwölf = 12".encode(), {"status": "zwölf = 12"}),
        (b"WATCHDOG=1", {"watchdog": "1"}),
        (b"WATCHDOG=trigger", {"watchdog": "trigger"}),
        (b"EXTEND_TIMEOUT_USEC=2500000", {"extend_seconds": 2.5}),
        (b"EXTEND_TIMEOUT_USEC=18446744073709551615", {"extend_seconds": 86_400.0}),
        (b"STATUS=one\nSTATUS=two", {"status": "two"}),
        (b"a line without it\nREADY=1", {"ready": True}),
    ],
)
def test_known_messages(world: NotifyWorld, message: bytes, fields: dict[str, Any]) -> None:
    """The known assignments of sd_notify(3) become fields of one event."""
    world.send(message)
    assert world.facts == [Notified("web", **fields)]
    assert world.said == []


def test_a_main_process_that_cannot_be_adopted_is_not_reported(world: NotifyWorld) -> None:
    """Its end would not be seen; the rest of the message counts."""
    message = b"READY=1\nMAINPID=%d" % os.getpid()
    world.send(message)
    world.adopts = False
    world.send(message)
    assert world.facts == [Notified("web", ready=True, main_pid=os.getpid()), Notified("web", ready=True)]
    assert world.said == []


@pytest.mark.parametrize(
    "message",
    [
        b"READY=0",
        b"WATCHDOG_USEC=1000000",
        b"FDSTORE=1\nFDNAME=x",
        b"BARRIER=1",
        b"X_OURS=1",
        b"WATCHDOG=2",
        b"=x\nA=b",
    ],
)
def test_valid_messages_without_effect(world: NotifyWorld, message: bytes) -> None:
    """Valid messages that cohabit does not use cause no event and no warning."""
    world.send(message)
    assert (world.facts, world.said) == ([], [])


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "no line of the form"),
        (b"hello", "no line of the form"),
        (b"\n\n", "no line of the form"),
        (b"STATUS=\xff\xfe", "not UTF-8"),
        (b"READY=1\0", "zero byte"),
        (b"READY=1\nMAINPID=abc", "MAINPID=abc is not a number"),
        (b"READY=1\nEXTEND_TIMEOUT_USEC=-1", "EXTEND_TIMEOUT_USEC=-1 is not a number"),
        (b"READY=1\nMAINPID=" + b"9" * 3000, "is not a number"),
        (b"READY=1\n" + b"x" * 5000, "longer than 4096 bytes"),
        (b"READY=1\n" + b"x" * 65_536, "longer than 4096 bytes"),
    ],
)
def test_invalid_messages(world: NotifyWorld, message: bytes, why: str) -> None:
    """A message that is empty, invalid or too long is ignored, with one warning per start."""
    world.send(message, message)
    assert world.facts == []
    assert len(world.said) == 1
    level, service, text = world.said[0]
    assert (level, service) == ("warning", "web")
    assert why in text
    world.send(b"READY=1")
    assert world.facts == [Notified("web", ready=True)]
    world.path = world.notify.open(WEB)["NOTIFY_SOCKET"]
    world.send(message)
    assert len(world.said) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=6000))
def test_any_bytes_cause_at_most_one_event(world: NotifyWorld, message: bytes) -> None:
    """After any bytes the next valid message is accepted."""
    world.facts.clear()
    world.send(message, b"READY=1")
    assert world.facts[-1] == Notified("web", ready=True)
    assert len(world.facts) <= 2


def test_other_senders_are_ignored(world: NotifyWorld) -> None:
    """A message of a process that may not speak for the service is ignored, with one warning."""
    world.members[os.getpid()] = False
    world.send(b"READY=1", b"STATUS=x")
    assert world.facts == []
    sender = f"process {os.getpid()} of user {os.getuid()}"
    assert len(world.said) == 1
    ignored = f"sd_notify message ignored: its sender, {sender}, may not speak for this service"
    assert world.said[0][2] == f"{ignored} (logged once per start)"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: another user sends")
@pytest.mark.parametrize(("uid", "accepted"), [(12345, True), (0, True), (54321, False)])
def test_an_ended_sender_counts_by_its_user(world: NotifyWorld, uid: int, accepted: bool) -> None:
    """A process that has ended is accepted if its user is root, ours or the service's."""
    user = WEB.replace(user=Credentials(12345, 12345))
    world.path = world.notify.open(user)["NOTIFY_SOCKET"]
    pid = _send_as(uid, world.path)
    world.members[pid] = None
    while not world.idle():
        world.turn()
    assert bool(world.facts) is accepted


def _send_as(uid: int, path: str) -> int:
    """Send READY=1 from a child of that user. Returns its pid when it has ended.

    It connects as root: the directories above the socket are pytest's, and each new pytest closes them to other users.
    """
    pid = os.fork()
    if pid == 0:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(path)
                os.setresuid(uid, uid, uid)
                sender.send(b"READY=1")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    return pid


def test_main_pid_must_belong_to_the_service(world: NotifyWorld) -> None:
    """Another MAINPID is ignored; the rest of the message is not."""
    world.members[4711] = True
    world.send(b"READY=1\nMAINPID=4711")
    assert world.facts == [Notified("web", ready=True, main_pid=4711)]
    assert world.said == []
    world.members[4712] = None
    world.send(b"READY=1\nMAINPID=4712")
    assert world.facts[1] == Notified("web", ready=True)
    assert "MAINPID=4712 ignored: not confirmed as a process of this service" in world.said[0][2]


def test_barrier_is_closed_after_earlier_messages(world: NotifyWorld) -> None:
    """The descriptor of a barrier is closed once all messages before it have been read."""
    before = set(os.listdir("/proc/self/fd"))
    reader, writer = os.pipe2(os.O_NONBLOCK)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(world.path)
        sender.send(b"READY=1")
        sender.sendmsg([b"BARRIER=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))])
    os.close(writer)
    while not world.idle():
        world.turn()
    assert world.facts == [Notified("web", ready=True)]
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert set(os.listdir("/proc/self/fd")) == before


def test_stored_descriptors_are_closed(world: NotifyWorld) -> None:
    """FDSTORE with the maximum number of descriptors leaves none of them open."""
    before = set(os.listdir("/proc/self/fd"))
    world.send(b"FDSTORE=1", b"READY=1", fds=(0,) * 253)
    assert set(os.listdir("/proc/self/fd")) == before
    assert world.facts == [Notified("web", ready=True)]
    assert world.said == []


def test_a_flood_is_read_a_few_messages_at_a_time(world: NotifyWorld) -> None:
    """One turn reads a few of the waiting messages, and none is lost."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(world.path)
        sender.setblocking(False)
        sent = most = 0
        while sent < 500:
            try:
                sender.send(b"STATUS=%d" % sent)
                sent += 1
            except BlockingIOError:
                before = len(world.facts)
                world.turn()
                most = max(most, len(world.facts) - before)
    while not world.idle():
        world.turn()
    assert [event.status for event in world.facts] == [str(number) for number in range(500)]
    assert 0 < most <= notify._AT_ONCE


def test_each_start_has_a_socket_of_its_own(world: NotifyWorld) -> None:
    """A new start gets a new path, and the old socket is closed."""
    old = world.path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(old)
        world.path = world.notify.open(WEB)["NOTIFY_SOCKET"]
        assert world.path != old
        with pytest.raises(ConnectionRefusedError):
            sender.send(b"READY=1")
    with pytest.raises(FileNotFoundError):
        os.stat(old)
    assert stat.S_IMODE(os.stat(world.path).st_mode) == 0o666
    world.send(b"READY=1")
    assert len(world.facts) == 1


def test_watchdog_is_announced(world: NotifyWorld) -> None:
    """WATCHDOG_USEC is set if the file has a watchdog. WATCHDOG_PID is never set."""
    assert set(world.environment) == {"NOTIFY_SOCKET"}
    environment = world.notify.open(WEB.replace(probe=Probe("notify", watchdog_seconds=2.5)))
    assert environment["WATCHDOG_USEC"] == "2500000"
    assert set(environment) == {"NOTIFY_SOCKET", "WATCHDOG_USEC"}


def test_reexecution(world: NotifyWorld) -> None:
    """Messages sent during the re-execution are read after it, and warnings are not repeated."""
    world.send(b"")
    plain = world.notify.to_plain()
    for fd in world.notify.descriptors():
        world.poller.remove(fd)
        world.notify._endpoints[fd].socket.detach()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", world.path)
    world.directory = RuntimeDirectory()
    world.notify = world.fresh()
    world.notify.restore(plain)
    world.send(b"")
    assert world.facts == [Notified("web", ready=True)]
    assert len(world.said) == 1
    assert world.notify.open(WEB)["NOTIFY_SOCKET"] != world.path


def flood(path: str) -> None:
    """Send as many messages as the kernel's queue holds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            while True:
                sender.sendto(b"READY=1", path)
        except BlockingIOError:
            return


def test_a_flood_is_followed_by_a_pause(world: NotifyWorld) -> None:
    """Nothing wakes the loop in the pause. After it the rest is read, the service's own message included."""
    other = world.notify.open(WEB.replace(name="other"))["NOTIFY_SOCKET"]
    real = world.trees.speaks_for
    world.trees.speaks_for = lambda *sender: bool(sum(range(100_000))) and real(*sender)
    world.members[os.getpid()] = False
    flood(world.path)
    world.notify.handle(world.notify._fds["web"])
    deadline = world.poller.deadline()
    assert deadline is not None
    assert not ready(world.poller)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", other)  # another service's message is read meanwhile
        assert ready(world.poller) == [world.notify._fds["other"]]
        world.members[os.getpid()] = True
        world.notify.handle(world.notify._fds["other"])
        assert world.facts == [Notified("other", ready=True)]
        world.poller.run_timers(deadline)
        world.send(b"STATUS=mine")
    assert world.facts[-1] == Notified("web", status="mine")
    flood(world.path)
    world.notify.handle(world.notify._fds["web"])
    world.notify.close("web")  # during its pause
    assert world.poller.deadline() is None or "other" in world.notify._fds
    world.notify.close("other")


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="no systemd-notify")
def test_systemd_notify(world: NotifyWorld) -> None:
    """systemd-notify is accepted and gets its barrier."""
    client = subprocess.Popen(
        ["systemd-notify", "--ready", "--status=up and running"], env={**os.environ, "NOTIFY_SOCKET": world.path}
    )
    world.members[client.pid] = True
    world.until(lambda: client.poll() is not None)
    assert client.wait() == 0
    assert world.facts == [Notified("web", ready=True, status="up and running")]


# --- the supervisor of process 1 ------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [True, False])
def test_notify_supervisor(tmp_path: Path, abstract: bool) -> None:
    """A message can be sent to a path and to an abstract address."""
    name = f"cohabit-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside:
        outside.bind(f"\0{name}" if abstract else str(tmp_path / name))
        notify_supervisor(f"@{name}" if abstract else str(tmp_path / name), "READY=1")
        assert outside.recv(100) == b"READY=1"


def test_notify_supervisor_never_blocks_nor_fails(tmp_path: Path) -> None:
    """A missing receiver, a full queue and an unsupported address are ignored."""
    for address in ("", "@", "vsock:2:1234", "/no/such/socket", "@no-receiver", "/" + "x" * 200, "/a\0b"):
        notify_supervisor(address, "READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside:
        outside.bind(str(tmp_path / "full"))
        for _ in range(1000):
            notify_supervisor(str(tmp_path / "full"), "READY=1")


# --- where the sockets are -------------------------------------------------------------------------------------


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the root of all runtime directories: a short path, because that of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="c") as root:
        for name in ("run", "tmp"):
            Path(root, name).mkdir()
        monkeypatch.setattr(rundir, "RUNTIME_BASES", (f"{root}/run/cohabit",))
        monkeypatch.setattr(rundir, "SHARED_BASES", (f"{root}/tmp",))
        yield Path(root)


def test_runtime_directory_is_random_and_private(places: Path) -> None:
    """Other users can traverse the directory, but not list or write it. It is removed at the end."""
    directory = RuntimeDirectory()
    old = os.umask(0o077)
    try:
        path = directory.make()
    finally:
        os.umask(old)
    assert path == directory.make()
    assert os.path.dirname(path) == str(places / "run" / "cohabit")
    assert [stat.S_IMODE(os.stat(each).st_mode) for each in (path, os.path.dirname(path))] == [0o711, 0o755]
    Path(path, "socket").touch()
    directory.remove()
    assert not os.path.exists(path)


def test_untrusted_runtime_directory_is_not_used(places: Path) -> None:
    """A directory that other users can write, and a symbolic link, are not used."""
    existing = places / "run" / "cohabit"
    existing.mkdir()
    existing.chmod(0o777)
    assert RuntimeDirectory().make().startswith(f"{places}/tmp/cohabit-")
    existing.rmdir()
    existing.symlink_to(places)
    assert RuntimeDirectory().make().startswith(f"{places}/tmp/cohabit-")


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: directories are checked for root only")


@as_root
def test_runtime_directory_is_not_made_where_other_users_could_move_it(places: Path) -> None:
    """A /tmp without the sticky bit is refused, and the message says what to do."""
    for name, mode in (("run", 0o777), ("tmp", 0o777)):
        (places / name).chmod(mode)
    with pytest.raises(OSError, match=f"any user can change {places}/tmp: chmod \\+t, or mount a tmpfs"):
        RuntimeDirectory().make()
    (places / "tmp").chmod(0o1777)
    assert RuntimeDirectory().make().startswith(f"{places}/tmp/cohabit-")
    (places / "run").chmod(0o1777)
    assert RuntimeDirectory().make().startswith(f"{places}/run/cohabit/")


@as_root
@pytest.mark.parametrize("kind", ["a link", "another user's directory", "a world-writable directory"])
def test_runtime_directory_that_was_replaced_is_not_used(places: Path, tmp_path: Path, kind: str) -> None:
    """Nothing is created or removed in the replacement, and another directory is created."""
    directory = RuntimeDirectory()
    path = Path(directory.make())
    path.rename(tmp_path / "moved")
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    if kind == "a link":
        path.symlink_to(other)
    else:
        other.rename(path)
        os.chown(path, 65534 if kind == "another user's directory" else 0, -1)
        path.chmod(0o777 if kind == "a world-writable directory" else 0o755)
    again = RuntimeDirectory(str(path)).make()
    if kind != "a link":
        assert again != str(path)
        directory.remove()
        assert (path / "file").exists()
    assert again.startswith(f"{places}/run/cohabit/")


@as_root
def test_a_given_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    """A sticky directory is used: other users cannot remove the directory that is created in it for the sockets."""
    given = tmp_path / "given"
    given.mkdir()
    given.chmod(0o777)
    with pytest.raises(OSError, match=f"{given} cannot be used: any user can change {given} \\(COHABIT_RUNTIME_DIR"):
        RuntimeDirectory(given=str(given)).make()
    given.chmod(0o1777)
    made = RuntimeDirectory(given=str(given)).make()
    assert os.path.dirname(made) == str(given)
    assert stat.S_IMODE(os.stat(made).st_mode) == 0o711


def test_a_socket_has_its_mode_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no later chmod, which could change a file that has taken its place."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("posix.chmod", refuse)
    old = os.umask(0o077)
    try:
        world = NotifyWorld(str(tmp_path))
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(world.path).st_mode) == 0o666
    world.notify.close("web")
    world.close()


def test_runtime_directory_removes_those_of_dead_processes(places: Path) -> None:
    """The directory of a cohabit that was killed is removed; that of a running one is not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as live:
        directories = [RuntimeDirectory(), RuntimeDirectory()]
        paths = [directory.make() for directory in directories]
        live.bind(f"{paths[0]}/socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(f"{paths[1]}/socket")
        RuntimeDirectory().make()
        assert [os.path.exists(path) for path in paths] == [True, False]
    assert len(list((places / "run" / "cohabit").iterdir())) == 2


def test_no_writable_directory_is_an_error(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the directories that were tried and what to do."""
    monkeypatch.setattr(rundir, "RUNTIME_BASES", (f"{places}/no/cohabit",))
    monkeypatch.setattr(rundir, "SHARED_BASES", (f"{places}/none",))
    with pytest.raises(OSError, match="/dev/shm; mount a tmpfs"):
        RuntimeDirectory().make()


def test_socket_paths_fit(world: NotifyWorld) -> None:
    """The longest possible path is within the 107 bytes of unix(7)."""
    del world
    longest = (
        f"{max((*control.RUNTIME_BASES, *control.SHARED_BASES), key=len)}/cohabit-{'f' * 16}/notify-{2**22}-{10**9}"
    )
    assert len(longest) < 107
    assert notify._MESSAGE_MAX == 4096
