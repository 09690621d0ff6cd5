"""sd_notify with real sockets: who is heard, what is understood, and that nothing else does any harm."""

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
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohabit.engine.events import Notified
from cohabit.plan.model import Credentials, Probe, Service
from cohabit.reactor import linux, rundir
from cohabit.reactor.health import notify
from cohabit.reactor.health.notify import Notify, tell_outside
from cohabit.reactor.rundir import RuntimeDirectory
from unit.reactor_world import World

WEB = Service("web", ("true",), probe=Probe("notify"))


class Room(World):
    """A world in which services tell. members: what speaks_for says of a pid; others are nobody's."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.members: dict[int, bool | None] = {os.getpid(): True}
        self.directory = RuntimeDirectory(path)
        self.notify = self.fresh()
        self.environment = self.notify.open(WEB)
        self.path = self.environment["NOTIFY_SOCKET"]

    def turn(self) -> None:
        """As the loop: pauses end, too."""
        super().turn()
        self.notify.due(time.monotonic())

    def idle(self) -> bool:
        """Whether nothing is there to do, and nothing will be."""
        return super().idle() and not self.notify._paused

    def fresh(self) -> Notify:
        """Another life's room."""
        self.rooms = [
            Notify(
                self.epoll, self.directory, tell=self.facts.append, say=self.say,
                speaks_for=lambda _service, pid, _uid: self.members.get(pid, False),
            )
        ]  # fmt: skip
        room = self.rooms[0]
        assert isinstance(room, Notify)
        return room

    def send(self, *messages: bytes, fds: tuple[int, ...] = ()) -> None:
        """As a service of this process would, and have all of it received."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(self.path)
            for message in messages:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
                sender.sendmsg([message], rights)
        while not self.idle():
            self.turn()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Give a room for one test."""
    room = Room(str(tmp_path))
    yield room
    room.notify.close("web")
    assert list(tmp_path.iterdir()) == []
    room.close()


@pytest.mark.parametrize(
    ("message", "fact"),
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
def test_messages_that_are_understood(room: Room, message: bytes, fact: dict[str, Any]) -> None:
    """Each assignment of sd_notify(3) that concerns us becomes a field of one fact."""
    room.send(message)
    assert room.facts == [Notified("web", **fact)]
    assert room.said == []


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
def test_messages_that_mean_nothing_to_us(room: Room, message: bytes) -> None:
    """What is valid and does not concern us is taken without a word."""
    room.send(message)
    assert (room.facts, room.said) == ([], [])


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "no line of the form"),
        (b"hello", "no line of the form"),
        (b"\n\n", "no line of the form"),
        (b"STATUS=\xff\xfe", "not UTF-8"),
        (b"READY=1\0", "zero byte"),
        (b"READY=1\nMAINPID=abc", "MAINPID=abc is no number"),
        (b"READY=1\nEXTEND_TIMEOUT_USEC=-1", "EXTEND_TIMEOUT_USEC=-1 is no number"),
        (b"READY=1\nMAINPID=" + b"9" * 3000, "is no number"),
        (b"READY=1\n" + b"x" * 5000, "longer than 4096 bytes"),
        (b"READY=1\n" + b"x" * 65_536, "longer than 4096 bytes"),
    ],
)
def test_messages_that_are_wrong(room: Room, message: bytes, why: str) -> None:
    """A message that is empty, unreadable or too long changes nothing; one warning per run says why."""
    room.send(message, message)
    assert room.facts == []
    assert len(room.said) == 1
    level, service, text = room.said[0]
    assert (level, service) == ("warning", "web")
    assert why in text
    room.send(b"READY=1")
    assert room.facts == [Notified("web", ready=True)]
    room.path = room.notify.open(WEB)["NOTIFY_SOCKET"]
    room.send(message)
    assert len(room.said) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=6000))
def test_no_message_does_harm(room: Room, message: bytes) -> None:
    """Any bytes at all give one fact at most, and the next good message is heard."""
    room.facts.clear()
    room.send(message, b"READY=1")
    assert room.facts[-1] == Notified("web", ready=True)
    assert len(room.facts) <= 2


def test_strangers_are_not_heard(room: Room) -> None:
    """A message from a process that is not of the service changes nothing and is told once."""
    room.members[os.getpid()] = False
    room.send(b"READY=1", b"STATUS=x")
    assert room.facts == []
    sender = f"process {os.getpid()} of user {os.getuid()}"
    assert len(room.said) == 1
    assert f"it comes from {sender}, which is not of this service (said once per run)" in room.said[0][2]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: another user sends")
@pytest.mark.parametrize(("uid", "heard"), [(12345, True), (0, True), (54321, False)])
def test_a_sender_that_is_gone_counts_by_its_user(room: Room, tmp_path: Path, uid: int, heard: bool) -> None:
    """Nobody knows whose a process was that has ended: root's, ours and the service's own user's are heard."""
    _open_up(tmp_path)
    user = WEB.replace(user=Credentials(12345, 12345))
    room.path = room.notify.open(user)["NOTIFY_SOCKET"]
    pid = _send_as(uid, room.path)
    room.members[pid] = None
    while not room.idle():
        room.turn()
    assert bool(room.facts) is heard


def _open_up(path: Path) -> None:
    """Let everybody walk through to it."""
    for directory in (path, *path.parents):
        if not directory.stat().st_mode & 0o001 and str(directory).startswith("/tmp"):
            directory.chmod(0o711)


def _send_as(uid: int, path: str) -> int:
    """Send READY=1 from a child of that user; returns its pid when it has ended."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"READY=1", path)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    return pid


def test_main_pid_of_a_member_only(room: Room) -> None:
    """MAINPID names a process of the service, or it is not taken; the rest of the message is."""
    room.members[4711] = True
    room.send(b"READY=1\nMAINPID=4711")
    assert room.facts == [Notified("web", ready=True, main_pid=4711)]
    assert room.said == []
    room.members[4712] = None
    room.send(b"READY=1\nMAINPID=4712")
    assert room.facts[1] == Notified("web", ready=True)
    assert "MAINPID=4712 is no process of this service" in room.said[0][2]


def test_barrier_is_closed_after_what_came_before(room: Room) -> None:
    """Descriptors are not kept: a barrier's is closed once all messages before it were told."""
    before = set(os.listdir("/proc/self/fd"))
    reader, writer = os.pipe2(os.O_NONBLOCK)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(room.path)
        sender.send(b"READY=1")
        sender.sendmsg([b"BARRIER=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))])
    os.close(writer)
    while not room.idle():
        room.turn()
    assert room.facts == [Notified("web", ready=True)]
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert set(os.listdir("/proc/self/fd")) == before


def test_stored_descriptors_are_closed(room: Room) -> None:
    """FDSTORE with as many descriptors as a message takes leaves none of them open."""
    before = set(os.listdir("/proc/self/fd"))
    room.send(b"FDSTORE=1", b"READY=1", fds=(0,) * 253)
    assert set(os.listdir("/proc/self/fd")) == before
    assert room.facts == [Notified("web", ready=True)]
    assert room.said == []


def test_a_flood_is_taken_a_few_at_a_time(room: Room) -> None:
    """However much waits in a socket, one turn takes a few messages of it, and none is lost."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(room.path)
        sender.setblocking(False)
        sent = most = 0
        while sent < 500:
            try:
                sender.send(b"STATUS=%d" % sent)
                sent += 1
            except BlockingIOError:
                told = len(room.facts)
                room.turn()
                most = max(most, len(room.facts) - told)
    while not room.idle():
        room.turn()
    assert [fact.status for fact in room.facts] == [str(number) for number in range(500)]
    assert 0 < most <= notify._AT_ONCE


def test_each_start_has_a_socket_of_its_own(room: Room) -> None:
    """A new start gets a new path, and what still goes to the old one reaches nobody."""
    old = room.path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(old)
        room.path = room.notify.open(WEB)["NOTIFY_SOCKET"]
        assert room.path != old
        with pytest.raises(ConnectionRefusedError):
            sender.send(b"READY=1")
    with pytest.raises(FileNotFoundError):
        os.stat(old)
    assert stat.S_IMODE(os.stat(room.path).st_mode) == 0o666
    room.send(b"READY=1")
    assert len(room.facts) == 1


def test_watchdog_is_announced(room: Room) -> None:
    """WATCHDOG_USEC is there when the file has a watchdog; WATCHDOG_PID never."""
    assert set(room.environment) == {"NOTIFY_SOCKET"}
    environment = room.notify.open(WEB.replace(probe=Probe("notify", watchdog_seconds=2.5)))
    assert environment["WATCHDOG_USEC"] == "2500000"
    assert set(environment) == {"NOTIFY_SOCKET", "WATCHDOG_USEC"}


def test_crossing_a_reexecution(room: Room) -> None:
    """Messages sent while process 1 replaces itself are heard by its next life, and told warnings are not repeated."""
    room.send(b"")
    plain = room.notify.to_plain()
    for fd in room.notify.descriptors():
        room.epoll.unregister(fd)
        room.notify._endpoints[fd].socket.detach()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", room.path)
    room.directory = RuntimeDirectory()
    room.notify = room.fresh()
    room.notify.restore(plain)
    room.send(b"")
    assert room.facts == [Notified("web", ready=True)]
    assert len(room.said) == 1
    assert room.notify.open(WEB)["NOTIFY_SOCKET"] != room.path


def flood(path: str) -> None:
    """As many messages of a stranger's as the kernel keeps."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            while True:
                sender.sendto(b"READY=1", path)
        except BlockingIOError:
            return


def test_a_flood_is_paid_for_with_a_pause(room: Room) -> None:
    """Nothing wakes the loop in it; then the rest is read, and the service's own message among it."""
    other = room.notify.open(WEB.replace(name="other"))["NOTIFY_SOCKET"]
    asked = room.notify._speaks_for
    room.notify._speaks_for = lambda *who: bool(sum(range(100_000))) and asked(*who)
    room.members[os.getpid()] = False
    flood(room.path)
    room.notify.handle(room.notify._fds["web"])
    deadline = room.notify.deadline()
    assert deadline is not None
    assert not room.epoll.poll(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", other)  # another service's is heard meanwhile
        assert [fd for fd, _ in room.epoll.poll(0)] == [room.notify._fds["other"]]
        room.members[os.getpid()] = True
        room.notify.handle(room.notify._fds["other"])
        assert room.facts == [Notified("other", ready=True)]
        room.notify.due(deadline)
        room.send(b"STATUS=mine")
    assert room.facts[-1] == Notified("web", status="mine")
    flood(room.path)
    room.notify.handle(room.notify._fds["web"])
    room.notify.close("web")  # in its pause
    assert room.notify.deadline() is None or "other" in room.notify._fds
    room.notify.close("other")


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="no systemd-notify")
def test_systemd_notify(room: Room) -> None:
    """The client of systemd itself is heard and gets its barrier."""
    client = subprocess.Popen(
        ["systemd-notify", "--ready", "--status=up and running"], env={**os.environ, "NOTIFY_SOCKET": room.path}
    )
    room.members[client.pid] = True
    room.until(lambda: client.poll() is not None)
    assert client.wait() == 0
    assert room.facts == [Notified("web", ready=True, status="up and running")]


# --- whoever supervises us ------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [True, False])
def test_tell_outside(tmp_path: Path, abstract: bool) -> None:
    """Our own READY=1 goes to a path or to an abstract address."""
    name = f"cohabit-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside:
        outside.bind(f"\0{name}" if abstract else str(tmp_path / name))
        tell_outside(f"@{name}" if abstract else str(tmp_path / name), "READY=1")
        assert outside.recv(100) == b"READY=1"


def test_tell_outside_never_waits_nor_fails(tmp_path: Path) -> None:
    """Nobody there, a queue that is full, an address of another kind: it makes no difference."""
    for address in ("", "@", "vsock:2:1234", "/no/such/socket", "@nobody-is-here", "/" + "x" * 200, "/a\0b"):
        tell_outside(address, "READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside:
        outside.bind(str(tmp_path / "full"))
        for _ in range(1000):
            tell_outside(str(tmp_path / "full"), "READY=1")


# --- where the sockets are -------------------------------------------------------------------------------------


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the root under which all places are looked for: a short path, since a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="c") as root:
        for name in ("run", "tmp"):
            Path(root, name).mkdir()
        monkeypatch.setattr(rundir, "RUNTIME_BASES", (f"{root}/run/cohabit",))
        monkeypatch.setattr(rundir, "SHARED_BASES", (f"{root}/tmp",))
        yield Path(root)


def test_runtime_directory_is_random_and_closed(places: Path) -> None:
    """Others can walk through it and neither list nor write it; in the end it is gone."""
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


def test_runtime_directory_that_is_not_ours_is_not_used(places: Path) -> None:
    """A directory that somebody else can write, and one that is a link, are left alone."""
    ours = places / "run" / "cohabit"
    ours.mkdir()
    ours.chmod(0o777)
    assert RuntimeDirectory().make().startswith(f"{places}/tmp/cohabit-")
    ours.rmdir()
    ours.symlink_to(places)
    assert RuntimeDirectory().make().startswith(f"{places}/tmp/cohabit-")


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="who is not root has nothing that others could gain")


@as_root
def test_runtime_directory_is_not_made_where_others_could_move_it(places: Path) -> None:
    """In a /tmp without the sticky bit; the reason says what to do."""
    for name, mode in (("run", 0o777), ("tmp", 0o777)):
        (places / name).chmod(mode)
    with pytest.raises(OSError, match=f"everybody can change {places}/tmp: chmod \\+t, or mount a tmpfs"):
        RuntimeDirectory().make()
    (places / "tmp").chmod(0o1777)
    assert RuntimeDirectory().make().startswith(f"{places}/tmp/cohabit-")
    (places / "run").chmod(0o1777)
    assert RuntimeDirectory().make().startswith(f"{places}/run/cohabit/")


@as_root
@pytest.mark.parametrize("kind", ["a link", "another's directory", "one that all may write"])
def test_runtime_directory_that_was_replaced_is_not_used(places: Path, tmp_path: Path, kind: str) -> None:
    """Nothing is made or removed in what is there now; another one is made."""
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
        os.chown(path, 65534 if kind == "another's directory" else 0, -1)
        path.chmod(0o777 if kind == "one that all may write" else 0o755)
    again = RuntimeDirectory(str(path)).make()
    if kind != "a link":
        assert again != str(path)
        directory.remove()
        assert (path / "file").exists()
    assert again.startswith(f"{places}/run/cohabit/")


@as_root
def test_a_given_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    """A sticky one is taken, since nobody else can remove a directory of ours there; our sockets are in that."""
    given = tmp_path / "given"
    given.mkdir()
    given.chmod(0o777)
    with pytest.raises(OSError, match=f"{given} cannot be used: everybody can change {given} \\(COHABIT_RUNTIME_DIR"):
        RuntimeDirectory(given=str(given)).make()
    given.chmod(0o1777)
    made = RuntimeDirectory(given=str(given)).make()
    assert os.path.dirname(made) == str(given)
    assert stat.S_IMODE(os.stat(made).st_mode) == 0o711


def test_a_socket_has_its_mode_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No chmod follows, which would change whatever is there by then."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("posix.chmod", refuse)
    old = os.umask(0o077)
    try:
        room = Room(str(tmp_path))
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(room.path).st_mode) == 0o666
    room.notify.close("web")


def test_runtime_directory_cleans_up_after_the_killed(places: Path) -> None:
    """What a killed life of ours has left is removed; what a living one has is not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as living:
        directories = [RuntimeDirectory(), RuntimeDirectory()]
        paths = [directory.make() for directory in directories]
        living.bind(f"{paths[0]}/socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(f"{paths[1]}/socket")
        RuntimeDirectory().make()
        assert [os.path.exists(path) for path in paths] == [True, False]
    assert len(list((places / "run" / "cohabit").iterdir())) == 2


def test_no_place_at_all_says_where_it_looked(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written, the error names the places and what to do."""
    monkeypatch.setattr(rundir, "RUNTIME_BASES", (f"{places}/no/cohabit",))
    monkeypatch.setattr(rundir, "SHARED_BASES", (f"{places}/none",))
    with pytest.raises(OSError, match="/dev/shm; mount a tmpfs"):
        RuntimeDirectory().make()


def test_paths_fit(room: Room) -> None:
    """The longest path that can come about is within the 107 bytes of unix(7)."""
    del room
    longest = f"{max((*linux.RUNTIME_BASES, *linux.SHARED_BASES), key=len)}/cohabit-{'f' * 16}/notify-{2**22}-{10**9}"
    assert len(longest) < 107
    assert notify._MESSAGE_MAX == 4096
