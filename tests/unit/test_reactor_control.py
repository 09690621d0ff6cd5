"""reactor/control/: no client can end or block process 1, or make it grow. Real sockets, a fake backend.

The tests run a loop of their own on the same epoll, so nothing sleeps.
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from cohabit.api.commands import PendingReply, Subscription
from cohabit.api.protocol import Answer, RequestError, parse
from cohabit.engine.events import Due
from cohabit.reactor import budget
from cohabit.reactor.control import server
from cohabit.reactor.control.server import Control
from cohabit.reactor.rundir import RuntimeDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AT_MOST_SECONDS = 20.0
EVENT = Due()


class ControlLoop:
    """A control socket with a loop and a fake backend.

    Commands: `big` is answered with a MiB, `wait` once `done` is set, `bug` raises, `no` is refused, `down` has an
    event for after the close, `follow` is a stream. Any other command is repeated in the answer. While `broken` is set,
    polling a waiter, a backlog and a resumed request raise. slow: seconds that each request takes.
    """

    def __init__(self, directory: Path) -> None:
        self.epoll = select.epoll()
        self.directory = RuntimeDirectory(given=str(directory))
        self.fed: list[Any] = []
        self.done = False
        self.broken = False
        self.follow_calls = 0
        self.slow = 0.0
        self.records = [b"backlog\n"]
        self.control = self._control()
        self.control.open()
        self.path = f"{directory}/control"
        self.clients: list[socket.socket] = []

    def _control(self) -> Control:
        def is_followed() -> None:
            self.follow_calls += 1

        return Control(
            self.epoll, self.directory,
            ask=self.ask, feed=self.fed.extend, backlog=self.backlog, is_followed=is_followed,
        )  # fmt: skip

    def reexecute(self) -> None:
        """Write the state down, and restore it in a new Control."""
        plain = self.control.to_plain()
        assert set(self.control.descriptors()) == {plain["fd"], *self.control._clients}
        self.epoll.close()
        self.epoll = select.epoll()
        self.control = self._control()
        self.control.restore(plain)

    def poll(self) -> Answer | None:
        """Poll a waiter."""
        self.raise_if_broken()
        return Answer(0, "done") if self.done else None

    def backlog(self, _: Subscription) -> list[bytes]:
        """Return the first records of a stream."""
        self.raise_if_broken()
        return self.records

    def raise_if_broken(self) -> None:
        """Raise as a bug of ours would."""
        if self.broken:
            raise AttributeError("oh")

    def ask(self, line: bytes, trusted: bool, resumed: bool) -> Any:
        """Return the outcome of a request."""
        command = parse(line).command
        until = time.monotonic() + self.slow
        while time.monotonic() < until:
            pass
        if command == "bug":
            raise KeyError("oh")
        if resumed:
            self.raise_if_broken()
        if command == "no":
            raise RequestError("cannot no", 78)
        if command == "wait":
            return PendingReply(() if resumed else (EVENT,), self.poll)
        if command == "down":
            return Answer(0, "down", after_close=(EVENT,))
        if command == "follow":
            return Subscription("logs", ("web",), every=False, tail=None, since=0.0, follow=True)
        return Answer(0, "x" * (1 << 20) if command == "big" else f"{command} {trusted}")

    def connect(self, line: bytes = b"") -> socket.socket:
        """Connect a client and send this."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.path)
        client.setblocking(False)
        if line:
            client.send(line)
        self.clients.append(client)
        return client

    def turn(self, wait: float = 0.0) -> bool:
        """Run one turn of the loop. Returns False if no descriptor was ready."""
        deadline = self.control.deadline()
        if deadline is not None:
            wait = max(wait, min(deadline - time.monotonic(), 0.05))
        ready = self.epoll.poll(max(0.0, wait))
        for fd, _ in ready:
            if self.control.owns(fd):
                self.control.handle(fd)
        self.control.due(time.monotonic())
        self.control.poll_waiters()
        return bool(ready)

    def until(self, condition: Callable[[], object]) -> None:
        """Run turns until the condition holds."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "timeout"
            self.turn(0.01)

    def answer(self, client: socket.socket) -> bytes:
        """Return all that a client receives until its connection is closed."""
        data = bytearray()

        def ended() -> bool:
            try:
                while piece := client.recv(1 << 20):
                    data.extend(piece)
            except BlockingIOError:
                return False
            except ConnectionResetError:  # its request was not read
                pass
            return True

        self.until(ended)
        return bytes(data)

    def close(self) -> None:
        """Close everything."""
        self.control.close()
        for client in self.clients:
            client.close()
        self.epoll.close()
        self.directory.remove()


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[ControlLoop]:
    """Give a control socket for one test."""
    loop = ControlLoop(tmp_path)
    yield loop
    loop.close()


def test_a_request_is_answered_and_the_connection_closed(loop: ControlLoop) -> None:
    """A request may come in pieces, and its sender may have shut down its half already."""
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"
    client = loop.connect(b"cohabit/2")
    while loop.turn():
        pass
    client.send(b" ps\n")
    client.shutdown(socket.SHUT_WR)
    assert loop.answer(client) == b"0 ps True\n"


def test_a_big_answer_arrives_whole(loop: ControlLoop) -> None:
    """An answer may be larger than the socket's buffer."""
    assert len(loop.answer(loop.connect(b"cohabit/2 big\n"))) == (1 << 20) + 3


def test_errors_are_answers(loop: ControlLoop) -> None:
    """A refusal, a bug of ours, an invalid line and an endless line are answered."""
    assert loop.answer(loop.connect(b"cohabit/2 no\n")) == b"78 cannot no\n"
    assert loop.answer(loop.connect(b"cohabit/2 bug\n")).startswith(b"70 an internal error")
    assert loop.answer(loop.connect(b"GET / HTTP/1.1\r\n")).startswith(b"64 cannot read the request")
    client = loop.connect()
    sent = 0
    while True:
        try:
            sent += client.send(b"a" * 8192)
        except BlockingIOError:
            loop.turn()
        except OSError:
            break
        assert sent < 1 << 20
    assert sent > 65_536


def test_a_waiter_is_answered_when_its_condition_holds(loop: ControlLoop) -> None:
    """It causes no wake-ups until then, and its events are fed once."""
    client = loop.connect(b"cohabit/2 wait\n")
    loop.until(lambda: loop.fed)
    while loop.turn():
        pass
    with pytest.raises(BlockingIOError):
        client.recv(1)
    loop.done = True
    assert loop.answer(client) == b"0 done\n"
    assert loop.fed == [EVENT]


def test_a_client_that_disconnects_is_removed(loop: ControlLoop) -> None:
    """A client may disconnect while it waits, follows, has sent nothing, or reads an answer."""
    waiting = loop.connect(b"cohabit/2 wait\n")
    following = loop.connect(b"cohabit/2 follow\n")
    idle = loop.connect()
    big = loop.connect(b"cohabit/2 big\n")
    loop.until(lambda: len(loop.control._clients) == 4 and loop.fed and loop.follow_calls == 1)
    for client in (waiting, following, idle, big):
        client.close()
    loop.until(lambda: not loop.control._clients)
    assert loop.follow_calls == 2


def test_events_after_close_are_fed_when_the_client_has_gone(loop: ControlLoop) -> None:
    """The client gets its whole answer first. Events are fed when it closes, or after LEAVE_SECONDS."""
    client = loop.connect(b"cohabit/2 down\n")
    assert loop.answer(client) == b"0 down\n"
    assert loop.fed == []
    client.close()
    loop.until(lambda: loop.fed == [EVENT])
    loop.connect(b"cohabit/2 down\n")
    loop.until(lambda: loop.fed == [EVENT, EVENT])


def test_a_silent_client_is_disconnected(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request must arrive within REQUEST_SECONDS."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.02)
    assert loop.answer(loop.connect()) == b""


def test_a_client_that_does_not_read_is_disconnected(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer must make progress within ANSWER_SECONDS."""
    monkeypatch.setattr(server, "ANSWER_SECONDS", 0.02)
    loop.connect(b"cohabit/2 big\n")
    loop.until(lambda: loop.control._clients)
    loop.until(lambda: not loop.control._clients)


def test_the_number_of_clients_is_limited(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiters leave connections for short requests. Clients beyond the limit wait in the kernel's queue."""
    monkeypatch.setattr(server, "CROWDED_SECONDS", AT_MOST_SECONDS)
    waiting = [loop.connect(b"cohabit/2 wait\n") for _ in range(server.STREAMING_MAX)]
    loop.until(lambda: len(loop.fed) == server.STREAMING_MAX)
    assert loop.answer(loop.connect(b"cohabit/2 wait\n")).startswith(b"71 80 clients")
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"
    idle = [loop.connect() for _ in range(server.CLIENTS_MAX - server.STREAMING_MAX)]
    loop.until(lambda: len(loop.control._clients) == server.CLIENTS_MAX)
    late = loop.connect(b"cohabit/2 ps\n")
    while loop.turn():
        pass
    assert len(loop.control._clients) == server.CLIENTS_MAX
    idle[0].close()
    assert loop.answer(late) == b"0 ps True\n"
    assert waiting


def test_after_a_slow_request_others_wait_for_three_times_as_long(loop: ControlLoop) -> None:
    """Clients get at most a quarter of the time."""
    loop.slow = 0.01
    early = loop.connect()
    loop.until(lambda: loop.control._clients)
    loop.connect(b"cohabit/2 ps\n")
    loop.until(lambda: loop.control._requests_paused_until)
    began = time.monotonic()
    early.send(b"cohabit/2 ps\n")
    deadline = loop.control.deadline()
    assert deadline is not None
    assert deadline - began > 0.015
    assert not loop.epoll.poll(0)  # no client is in the epoll set
    assert loop.answer(early) == b"0 ps True\n"


def test_one_of_several_simultaneous_requests_is_answered_before_the_pause(loop: ControlLoop) -> None:
    """A client that has disconnected causes no wake-ups in the pause. The others are answered after it."""
    clients = [loop.connect() for _ in range(10)]
    loop.until(lambda: len(loop.control._clients) == 10)
    loop.slow = 0.02
    for client in clients:
        client.send(b"cohabit/2 ps\n")
    clients.pop().close()
    loop.turn()
    assert len(loop.control._clients) == 9
    assert not loop.epoll.poll(0)
    loop.slow = 0.0
    assert [loop.answer(client) for client in clients] == [b"0 ps True\n"] * 9


def connect_as_other_user(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch, count: int) -> list[socket.socket]:
    """Connect clients of a user that may not send requests."""
    monkeypatch.setattr(server, "peer_uid", lambda _: 12345)
    return [loop.connect(b"cohabit/2 ps\n") for _ in range(count)]


def test_refused_clients_are_followed_by_a_pause(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are refused in one turn. Then no client is accepted for a while, and nothing wakes the loop."""
    own = loop.connect()
    loop.until(lambda: loop.control._clients)
    refused = connect_as_other_user(loop, monkeypatch, 80)
    loop.turn()
    assert len(loop.control._clients) == 1
    assert all(client.recv(1000).startswith(b"77 user 12345 may not use the control socket") for client in refused)
    late = connect_as_other_user(loop, monkeypatch, 1)[0]
    assert not loop.epoll.poll(0)
    deadline = loop.control.deadline()
    assert deadline is not None
    own.send(b"cohabit/2 ps\n")  # clients that are connected are served meanwhile
    assert loop.answer(own) == b"0 ps True\n"
    assert loop.answer(late).startswith(b"77 ")


def test_members_of_the_control_group_may_send_requests(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of another group are refused, and the text names the allowed group."""
    monkeypatch.setattr(server, "peer_groups", lambda _: {5, 7})
    loop.control.group = 7
    assert loop.answer(connect_as_other_user(loop, monkeypatch, 1)[0]) == b"0 ps False\n"
    loop.control.group = 6
    assert loop.answer(connect_as_other_user(loop, monkeypatch, 1)[0]).endswith(
        b"only root, user %d and group 6 may\n" % os.geteuid()
    )


def test_refused_clients_leave_no_descriptor(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of other users that have disconnected already leave no descriptor open."""
    before = len(os.listdir("/proc/self/fd"))
    for client in connect_as_other_user(loop, monkeypatch, 50):
        client.close()
    loop.turn()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not loop.control._clients


def test_connections_without_a_request_are_followed_by_a_pause(loop: ControlLoop) -> None:
    """A flood of connections by root costs at most a quarter of the time, too."""
    for _ in range(90):
        loop.connect().close()
    loop.until(lambda: loop.control._accept_paused_until)
    assert loop.control.deadline() is not None
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"


def test_silent_clients_have_less_time_at_the_limit(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without a complete request is disconnected after CROWDED_SECONDS when CLIENTS_MAX are connected."""
    monkeypatch.setattr(server, "CROWDED_SECONDS", 0.02)
    for number in range(server.CLIENTS_MAX):
        loop.connect(b"cohabit/2 " if number % 2 else b"")
    loop.until(lambda: len(loop.control._clients) == server.CLIENTS_MAX)
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"


def test_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause is three times as long as the work. Short pieces of work add up, and are paid off as time passes."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    one = budget.Budget()
    now[0] += 0.1
    assert one.spend(100.0) == pytest.approx(100.4, abs=0.001)
    now[0] = 200.0
    assert one.spend(200.0) == 0.0
    assert [one.spend(200.0) > 0 for _ in range(5)] == [False, False, True, True, True]
    now[0] = 300.0
    assert one.spend(300.0) == 0.0


def test_waiters_are_polled_for_a_quarter_of_the_time(loop: ControlLoop) -> None:
    """Polling pauses however often the engine steps, and no waiter is forgotten."""
    client = loop.connect(b"cohabit/2 wait\n")
    loop.until(lambda: loop.fed)
    loop.control._poll_from = time.monotonic() + 0.05
    loop.done = True
    loop.control.poll_waiters()
    with pytest.raises(BlockingIOError):
        client.recv(1)
    assert loop.control.deadline() == loop.control._poll_from
    assert loop.answer(client) == b"0 done\n"
    assert loop.control.deadline() is None


def test_unread_answers_are_limited(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long answer is refused, short ones are sent, and a stream begins with the number of bytes left out."""
    monkeypatch.setattr(server, "_PAUSE_FACTOR", 0.0)
    for _ in range(server.UNREAD_BYTES_MAX >> 19):
        loop.connect(b"cohabit/2 big\n")
    loop.until(lambda: loop.control._unread() > server.UNREAD_BYTES_MAX)
    refused = loop.answer(loop.connect(b"cohabit/2 big\n"))
    assert refused == b"71 cannot send the answer: other clients have not read theirs (try again later)\n"
    assert sum(client.size for client in loop.control._clients.values()) < server.UNREAD_BYTES_MAX + (1 << 21)
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"
    loop.records = [record(number) for number in range(1000)]
    client = loop.connect(b"cohabit/2 follow\n")
    loop.until(lambda: loop.follow_calls)
    head, *lines = client.recv(1 << 20).split(b"\n")
    assert head == b"0 "
    assert lines[0].startswith(b"cohabit dropped ")
    assert lines[2] != b"%07d" % 0


def record(number: int) -> bytes:
    """Return a KiB that differs for each number."""
    return b"%07d\n" % number * 128


def test_a_stream_gets_the_records_of_its_services(loop: ControlLoop) -> None:
    """Records published after the request go to the clients that follow the service."""
    client = loop.connect(b"cohabit/2 follow\n")
    loop.until(lambda: loop.follow_calls)
    for name in ("web", "db", "web"):
        loop.control.publish("logs", name, name.encode() + b"\n")
    loop.control.publish("events", "web", b"no\n")
    loop.turn()
    assert client.recv(1000) == b"0 \nbacklog\nweb\nweb\n"


def test_a_slow_follower_gets_the_number_of_dropped_bytes(loop: ControlLoop) -> None:
    """KEPT_BYTES_MAX are kept for it and the rest is counted. Another follower gets everything."""
    slow = loop.connect(b"cohabit/2 follow\n")
    reader = loop.connect(b"cohabit/2 follow\n")
    loop.until(lambda: loop.follow_calls == 2)
    read = bytearray()
    for number in range(3000):
        loop.control.publish("logs", "web", record(number))
        loop.turn()
        assert all(client.size <= server.KEPT_BYTES_MAX + 2000 for client in loop.control._clients.values())
        try:
            read += reader.recv(1 << 20)
        except BlockingIOError:
            pass
    assert read == b"0 \nbacklog\n" + b"".join(map(record, range(3000)))

    def read_all() -> bool:
        try:
            received.extend(slow.recv(1 << 20))
        except BlockingIOError:
            return not any(client.pending for client in loop.control._clients.values())
        return False

    received = bytearray()
    loop.until(read_all)
    loop.control.publish("logs", "web", record(9_999_999))
    loop.until(lambda: read_all() and received.endswith(record(9_999_999)))
    head, _, rest = received.partition(b"cohabit dropped ")
    size, _, rest = rest.partition(b"\n")
    count = int(rest[: int(size.split()[1])])
    assert len(head) + count == len(b"0 \nbacklog\n") + 3000 * 1024


def test_clients_cross_a_reexecution(loop: ControlLoop) -> None:
    """Clients that wait, follow, have sent half a request or read an answer do not notice the re-execution."""
    waiting = loop.connect(b"cohabit/2 wait\n")
    following = loop.connect(b"cohabit/2 follow\n")
    half = loop.connect(b"cohabit/2 p")
    big = loop.connect(b"cohabit/2 big\n")
    loop.until(lambda: len(loop.control._clients) == 4 and loop.fed and loop.follow_calls)
    while loop.turn():
        pass
    loop.reexecute()
    half.send(b"s\n")
    assert loop.answer(half) == b"0 ps True\n"
    assert len(loop.answer(big)) == (1 << 20) + 3
    loop.control.publish("logs", "web", b"more\n")
    loop.turn()
    assert following.recv(1000) == b"0 \nbacklog\nmore\n"
    loop.done = True
    assert loop.answer(waiting) == b"0 done\n"
    assert loop.fed == [EVENT]
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"


def test_events_after_close_survive_a_reexecution(loop: ControlLoop) -> None:
    """A client that was answered before the re-execution and disconnects after it has its events fed once."""
    client = loop.connect(b"cohabit/2 down\n")
    assert loop.answer(client) == b"0 down\n"
    loop.reexecute()
    assert loop.fed == []
    client.close()
    loop.until(lambda: loop.fed == [EVENT])
    loop.until(lambda: not loop.control._clients)
    assert loop.fed == [EVENT]


@pytest.mark.parametrize("when", ["while waiting", "in a re-execution", "at the beginning of a stream"])
def test_a_bug_in_a_request_affects_only_its_client(loop: ControlLoop, when: str) -> None:
    """The client gets the error, and the others are served."""
    idle = loop.connect()
    first = b"follow" if when == "at the beginning of a stream" else b"wait"
    loop.broken = first == b"follow"
    client = loop.connect(b"cohabit/2 " + first + b"\n")
    if first == b"wait":
        loop.until(lambda: loop.fed)
        loop.broken = True
        if when == "in a re-execution":
            loop.reexecute()
    assert loop.answer(client) == b"70 an internal error, please report it: AttributeError: oh\n"
    idle.send(b"cohabit/2 ps\n")
    assert loop.answer(idle) == b"0 ps True\n"


def test_a_dead_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    """A cohabit that was killed leaves its socket behind."""
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "control"))
    dead.close()
    first = ControlLoop(tmp_path)
    with pytest.raises(OSError, match="in use"):
        ControlLoop(tmp_path)
    second = RuntimeDirectory(given=str(tmp_path))
    second.make()
    second.remove()  # as the second cohabit does when it ends
    assert first.answer(first.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"
    first.close()
    assert not (tmp_path / "control").exists()


def test_a_given_directory_keeps_the_files_of_others(tmp_path: Path) -> None:
    """COHABIT_RUNTIME_DIR may be a directory that others use."""
    (tmp_path / "others").write_text("")
    ControlLoop(tmp_path).close()
    assert [each.name for each in tmp_path.iterdir()] == ["others"]


_PIECES = some.lists(
    some.sampled_from([b"cohabit/2 ", b"ps", b"wait", b"follow", b"big", b"bug", b"\n", b" ", b"=", b"\0", b"\xff"])
    | some.binary(max_size=50),
    max_size=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(some.lists(some.tuples(_PIECES, some.sampled_from(["close", "half", "leave", "read"])), min_size=1, max_size=8))
def test_whatever_clients_do_the_next_one_is_answered(loop: ControlLoop, crowd: list[tuple[list[bytes], str]]) -> None:
    """Clients send any bytes in any pieces and disconnect in any way. Afterwards no descriptor is left."""
    before = len(os.listdir("/proc/self/fd")) - len(loop.clients) * (loop.clients != [])
    clients = []
    for pieces, way in crowd:
        client = loop.connect()
        clients.append(client)
        for piece in pieces:
            try:
                client.send(piece)
            except OSError:
                break
            loop.turn()
        if way == "close":
            client.close()
        elif way == "half":
            try:
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        elif way == "read":
            try:
                client.recv(100)
            except OSError:
                pass
        loop.turn()
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"
    for client in loop.clients:
        client.close()
    loop.clients.clear()
    loop.until(lambda: not loop.control._clients)
    assert len(os.listdir("/proc/self/fd")) <= before
