"""reactor/control/: no client can end or block process 1, or make it grow. Real sockets, a fake backend.

The tests run a loop of their own on the same epoll, so nothing sleeps.
"""

from __future__ import annotations

import io
import os
import socket
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from cohabit.api.commands import PendingReply, Subscription
from cohabit.api.protocol import Answer, RequestError, parse
from cohabit.engine.events import Due
from cohabit.reactor import budget
from cohabit.reactor.control import accepting, server, streams
from cohabit.reactor.control.client import OPEN_REQUESTS_MAX
from cohabit.reactor.control.server import Control
from cohabit.reactor.poller import Poller
from cohabit.reactor.rundir import RuntimeDirectory
from unit.reactor_world import context_of, ready

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
        self.poller = Poller()
        self.directory = RuntimeDirectory(given=str(directory))
        self.fed: list[Any] = []
        self.done = False
        self.broken = False
        self.follow_calls = 0
        self.polls = 0
        self.engine: Any = SimpleNamespace(units={}, services=SimpleNamespace(transitions=[], changed=set()))
        self.slow = 0.0
        self.records = [b"backlog\n"]
        self.control = self._control()
        try:
            self.control.accepting.open()
        except OSError:
            self.poller.close()
            raise
        self.path = f"{directory}/control"
        self.clients: list[socket.socket] = []

    def _control(self) -> Control:
        return Control(context_of(self.poller, emit=self.fed.append), self.directory, self)

    def follow(self, _subscriptions: list[Subscription], _publish: object) -> None:
        """Count the calls."""
        self.follow_calls += 1

    def transitions(self) -> list[tuple[str, bytes]]:
        """Return one transition of web."""
        return [("web", b"transition\n")]

    def reexecute(self) -> None:
        """Write the state down, and restore it in a new Control."""
        plain = self.control.to_plain()
        assert set(self.control.descriptors()) == {plain["fd"], *self.control._clients}
        self.poller.close()
        self.poller = Poller()
        self.control = self._control()
        self.control.restore(plain)

    def poll(self) -> Answer | None:
        """Poll a waiter."""
        self.polls += 1
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
            return PendingReply(() if resumed else (EVENT,), ("web",), self.poll)
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
        if self.poller.deadline() is not None:
            wait = max(wait, 0.05)
        found = self.poller.wait(wait)
        self.poller.run_timers(time.monotonic())
        if self.done or self.broken:
            self.step("web")
        self.control.settle()
        return found

    def step(self, *services: str) -> None:
        """Report a step of the engine that changed these services."""
        self.engine.services.changed = set(services)
        self.control.stepped()

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
        self.poller.close()
        self.directory.remove()


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[ControlLoop]:
    """Give a control socket for one test."""
    loop = ControlLoop(tmp_path)
    yield loop
    loop.close()


def test_a_request_is_answered_and_the_connection_closed(loop: ControlLoop) -> None:
    """A request may come in pieces, and its sender may have shut down its half already."""
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ok ps True\n"
    client = loop.connect(b"cohabit/2")
    while loop.turn():
        pass
    client.send(b" ps\n")
    client.shutdown(socket.SHUT_WR)
    assert loop.answer(client) == b"0 ok ps True\n"


def test_a_big_answer_arrives_whole(loop: ControlLoop) -> None:
    """An answer may be larger than the socket's buffer."""
    assert len(loop.answer(loop.connect(b"cohabit/2 big\n"))) == (1 << 20) + 6


def test_errors_are_answers(loop: ControlLoop) -> None:
    """A refusal, a bug of ours, an invalid line and an endless line are answered."""
    assert loop.answer(loop.connect(b"cohabit/2 no\n")) == b"78 invalid_file cannot no\n"
    assert loop.answer(loop.connect(b"cohabit/2 bug\n")).startswith(b"70 internal_error an internal error")
    assert loop.answer(loop.connect(b"GET / HTTP/1.1\r\n")).startswith(b"64 bad_request cannot read the request")
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
    assert loop.answer(client) == b"0 ok done\n"
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
    assert loop.answer(client) == b"0 ok down\n"
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
    assert loop.answer(loop.connect(b"cohabit/2 wait\n")).startswith(b"71 busy 80 clients")
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ok ps True\n"
    idle = [loop.connect() for _ in range(accepting.CLIENTS_MAX - server.STREAMING_MAX)]
    loop.until(lambda: len(loop.control._clients) == accepting.CLIENTS_MAX)
    late = loop.connect(b"cohabit/2 ps\n")
    while loop.turn():
        pass
    assert len(loop.control._clients) == accepting.CLIENTS_MAX
    idle[0].close()
    assert loop.answer(late) == b"0 ok ps True\n"
    assert waiting


def test_after_a_slow_request_others_wait_for_three_times_as_long(loop: ControlLoop) -> None:
    """Clients get at most a quarter of the time."""
    loop.slow = 0.01
    early = loop.connect()
    loop.until(lambda: loop.control._clients)
    loop.connect(b"cohabit/2 ps\n")
    loop.until(lambda: loop.poller.time_of(("control", "requests")))
    began = time.monotonic()
    early.send(b"cohabit/2 ps\n")
    deadline = loop.poller.deadline()
    assert deadline is not None
    assert deadline - began > 0.015
    assert not ready(loop.poller)  # no client is in the epoll set
    assert loop.answer(early) == b"0 ok ps True\n"


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
    assert not ready(loop.poller)
    loop.slow = 0.0
    assert [loop.answer(client) for client in clients] == [b"0 ok ps True\n"] * 9


def connect_as_other_user(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch, count: int) -> list[socket.socket]:
    """Connect clients of a user that may not send requests."""
    monkeypatch.setattr(accepting, "peer_uid", lambda _: 12345)
    return [loop.connect(b"cohabit/2 ps\n") for _ in range(count)]


def test_refused_clients_are_followed_by_a_pause(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are refused in one turn. Then no client is accepted for a while, and nothing wakes the loop."""
    own = loop.connect()
    loop.until(lambda: loop.control._clients)
    refused = connect_as_other_user(loop, monkeypatch, 80)
    loop.turn()
    assert len(loop.control._clients) == 1
    assert all(
        client.recv(1000).startswith(b"77 permission_denied user 12345 may not use the control socket")
        for client in refused
    )
    late = connect_as_other_user(loop, monkeypatch, 1)[0]
    assert not ready(loop.poller)
    deadline = loop.poller.deadline()
    assert deadline is not None
    own.send(b"cohabit/2 ps\n")  # clients that are connected are served meanwhile
    assert loop.answer(own) == b"0 ok ps True\n"
    assert loop.answer(late).startswith(b"77 ")


def test_members_of_the_control_group_may_send_requests(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of another group are refused, and the text names the allowed group."""
    monkeypatch.setattr(accepting, "peer_groups", lambda _: {5, 7})
    loop.control.accepting.group = 7
    assert loop.answer(connect_as_other_user(loop, monkeypatch, 1)[0]) == b"0 ok ps False\n"
    loop.control.accepting.group = 6
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
    loop.until(lambda: loop.poller.time_of(("control", "accept")))
    assert loop.poller.deadline() is not None
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ok ps True\n"


def test_silent_clients_have_less_time_at_the_limit(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without a complete request is disconnected after CROWDED_SECONDS when CLIENTS_MAX are connected."""
    monkeypatch.setattr(server, "CROWDED_SECONDS", 0.02)
    for number in range(accepting.CLIENTS_MAX):
        loop.connect(b"cohabit/2 " if number % 2 else b"")
    loop.until(lambda: len(loop.control._clients) == accepting.CLIENTS_MAX)
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ok ps True\n"


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
    loop.control.waiters.evaluate_from = time.monotonic() + 0.05
    loop.done = True
    loop.step("web")
    loop.control.settle()
    with pytest.raises(BlockingIOError):
        client.recv(1)
    assert loop.poller.time_of(("control", "waiters")) == loop.control.waiters.evaluate_from
    assert loop.answer(client) == b"0 ok done\n"
    assert loop.poller.deadline() is None


def test_a_waiter_is_evaluated_only_for_its_services(loop: ControlLoop) -> None:
    """Once when it begins to wait; then after a step that changed one of its services, and in no other turn."""
    client = loop.connect(b"cohabit/2 wait\n")
    loop.until(lambda: loop.polls == 1)
    for changed in ((), ("db",)):
        loop.step(*changed)
        loop.control.settle()
        while loop.turn():
            pass
    assert loop.polls == 1
    assert loop.poller.time_of(("control", "waiters")) is None
    loop.step("db", "web")
    loop.until(lambda: loop.polls == 2)
    loop.done = True
    assert loop.answer(client) == b"0 ok done\n"


def test_unread_answers_are_limited(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long answer is refused, short ones are sent, and a stream begins with the number of bytes left out."""
    monkeypatch.setattr(server, "_PAUSE_FACTOR", 0.0)
    for _ in range(server.UNREAD_BYTES_MAX >> 19):
        loop.connect(b"cohabit/2 big\n")
    loop.until(lambda: server._unread(loop.control._clients) > server.UNREAD_BYTES_MAX)
    refused = loop.answer(loop.connect(b"cohabit/2 big\n"))
    assert refused == b"71 busy cannot send the answer: other clients have not read theirs (try again later)\n"
    assert sum(client.size for client in loop.control._clients.values()) < server.UNREAD_BYTES_MAX + (1 << 21)
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ok ps True\n"
    loop.records = [record(number) for number in range(1000)]
    client = loop.connect(b"cohabit/2 follow\n")
    loop.until(lambda: loop.follow_calls)
    head, *lines = client.recv(1 << 20).split(b"\n")
    assert head == b"0 ok "
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
        loop.control.streams.publish("logs", name, name.encode() + b"\n")
    loop.control.streams.publish("events", "web", b"no\n")
    loop.turn()
    assert client.recv(1000) == b"0 ok \nbacklog\nweb\nweb\n"


def test_a_slow_follower_gets_the_number_of_dropped_bytes(loop: ControlLoop) -> None:
    """KEPT_BYTES_MAX are kept for it and the rest is counted. Another follower gets everything."""
    slow = loop.connect(b"cohabit/2 follow\n")
    reader = loop.connect(b"cohabit/2 follow\n")
    loop.until(lambda: loop.follow_calls == 2)
    read = bytearray()
    for number in range(3000):
        loop.control.streams.publish("logs", "web", record(number))
        loop.turn()
        assert all(client.size <= streams.KEPT_BYTES_MAX + 2000 for client in loop.control._clients.values())
        try:
            read += reader.recv(1 << 20)
        except BlockingIOError:
            pass
    assert read == b"0 ok \nbacklog\n" + b"".join(map(record, range(3000)))

    def read_all() -> bool:
        try:
            heard.extend(slow.recv(1 << 20))
        except BlockingIOError:
            return not any(client.pending for client in loop.control._clients.values())
        return False

    heard = bytearray()
    loop.until(read_all)
    loop.control.streams.publish("logs", "web", record(9_999_999))
    loop.until(lambda: read_all() and heard.endswith(record(9_999_999)))
    head, _, rest = heard.partition(b"cohabit dropped ")
    size, _, rest = rest.partition(b"\n")
    count = int(rest[: int(size.split()[1])])
    assert len(head) + count == len(b"0 ok \nbacklog\n") + 3000 * 1024


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
    assert loop.answer(half) == b"0 ok ps True\n"
    assert len(loop.answer(big)) == (1 << 20) + 6
    loop.control.streams.publish("logs", "web", b"more\n")
    loop.turn()
    assert following.recv(1000) == b"0 ok \nbacklog\nmore\n"
    loop.done = True
    assert loop.answer(waiting) == b"0 ok done\n"
    assert loop.fed == [EVENT]
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ok ps True\n"


def test_events_after_close_survive_a_reexecution(loop: ControlLoop) -> None:
    """A client that was answered before the re-execution and disconnects after it has its events fed once."""
    client = loop.connect(b"cohabit/2 down\n")
    assert loop.answer(client) == b"0 ok down\n"
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
    assert loop.answer(client) == b"70 internal_error an internal error, please report it: AttributeError: oh\n"
    idle.send(b"cohabit/2 ps\n")
    assert loop.answer(idle) == b"0 ok ps True\n"


# --- several requests on one connection ------------------------------------------------------------------


def chunks(data: bytes) -> list[tuple[int, bytes]]:
    """Return the chunks of numbered answers: (id, data)."""
    found = []
    stream = io.BytesIO(data)
    while header := stream.readline():
        number, size = header.removeprefix(b"#").split(b" ")
        found.append((int(number), stream.read(int(size))))
        assert len(found[-1][1]) == int(size)
    return found


def received(loop: ControlLoop, client: socket.socket, size: int) -> bytes:
    """Return what a client receives, once it is `size` bytes long."""
    data = bytearray()

    def complete() -> bool:
        try:
            data.extend(client.recv(1 << 20))
        except BlockingIOError:
            pass
        return len(data) >= size

    loop.until(complete)
    return bytes(data)


def test_requests_with_ids_share_a_connection(loop: ControlLoop) -> None:
    """Pipelined or split, each answer carries the id of its request; one without an id is the last one."""
    client = loop.connect(b"cohabit/2 #7 ps\ncohabit/2 #8 no\ncohabit/2 #")
    for piece in (b"9", b" ps", b"\ncohabit/2 #7 ps\n", b"cohabit/2 ps\ncohabit/2 #1 ps\n"):
        while loop.turn():
            pass
        client.send(piece)
    answer = loop.answer(client)
    numbered, _, last = answer.rpartition(b"0 ok ps")
    assert chunks(numbered) == [
        (7, b"0 ok ps True\n"), (7, b""), (8, b"78 invalid_file cannot no\n"), (8, b""),
        (9, b"0 ok ps True\n"), (9, b""), (7, b"0 ok ps True\n"), (7, b""),
    ]  # fmt: skip
    assert last == b" True\n"


def test_answers_interleave(loop: ControlLoop) -> None:
    """A request that waits, or follows a stream, does not delay the next one."""
    client = loop.connect(b"cohabit/2 #1 wait\ncohabit/2 #2 follow\ncohabit/2 #3 ps\n")
    first = b"#2 6\n0 ok \n#2 8\nbacklog\n#3 13\n0 ok ps True\n#3 0\n"
    assert received(loop, client, len(first)) == first
    loop.control.streams.publish("logs", "web", b"line\n")
    loop.done = True
    rest = received(loop, client, 1)
    assert chunks(rest) == [(2, b"line\n"), (1, b"0 ok done\n"), (1, b"")]
    client.send(b"cohabit/2 #1 ps\n")
    assert received(loop, client, 1) == b"#1 13\n0 ok ps True\n#1 0\n"
    assert loop.follow_calls == 1
    client.close()
    loop.until(lambda: not loop.control._clients)
    assert loop.follow_calls == 2


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"#1 ps", b"the id 1 belongs to a request without an answer yet"),
        (b"#x ps", b"its id is not a number of 1 to 9 digits"),
        (b"# ps", b"its id is not a number"),
        (b"#1234567890 ps", b"its id is not a number"),
    ],
)
def test_a_bad_id_ends_the_connection(loop: ControlLoop, request_: bytes, why: bytes) -> None:
    """Its answer could not be attributed, so it has no id. Requests of the connection are not answered any more."""
    client = loop.connect(b"cohabit/2 #1 wait\n")
    loop.until(lambda: loop.fed)
    client.send(b"cohabit/2 " + request_ + b"\n")
    answer = loop.answer(client)
    assert answer.startswith(b"64 bad_request cannot read the request: ")
    assert why in answer
    assert not loop.control._clients


def test_another_version_of_the_protocol_is_refused(loop: ControlLoop) -> None:
    """The text says which side is older, and what to do; the error code is for programs."""
    older = loop.answer(loop.connect(b"cohabit/1 ps\n"))
    text = b"64 version_mismatch cannot read the request: the client speaks another version of the protocol (%d) than"
    assert older.startswith(text % 1)
    assert older.endswith(b" (2): the client is older (use the program that belongs to the running cohabit)\n")
    newer = loop.answer(loop.connect(b"cohabit/3 #1 ps\n"))
    assert newer.startswith(text % 3)
    assert newer.endswith(b" (2): cohabit is older (replace it by the installed program: cohabit reexec)\n")


def test_open_requests_of_a_connection_are_limited(loop: ControlLoop) -> None:
    """What follows stays in the kernel until an answer is complete."""
    lines = [b"cohabit/2 #%d wait\n" % number for number in range(40)]
    client = loop.connect(b"".join(lines))
    loop.until(lambda: len(loop.fed) == OPEN_REQUESTS_MAX)
    while loop.turn():
        pass
    assert len(loop.fed) == OPEN_REQUESTS_MAX
    loop.done = True
    ids: list[int] = []
    while len(set(ids)) < 40:
        ids += [number for number, _ in chunks(received(loop, client, 1))]
    assert len(loop.fed) == 40


def test_no_request_is_read_while_output_is_unread(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that requests and does not read makes process 1 hold one answer."""
    monkeypatch.setattr(server, "_PAUSE_FACTOR", 0.0)
    client = loop.connect(b"".join(b"cohabit/2 #%d big\n" % number for number in range(100)))
    loop.until(lambda: server._unread(loop.control._clients))
    while loop.turn():
        pass
    assert server._unread(loop.control._clients) < 1 << 21
    data = received(loop, client, 100 << 20)
    assert [number for number, piece in chunks(data) if not piece] == list(range(100))


def test_an_idle_connection_is_closed(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two requests, after IDLE_SECONDS; earlier if half a request has arrived."""
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.02)
    assert loop.answer(loop.connect(b"cohabit/2 #1 ps\n")) == b"#1 13\n0 ok ps True\n#1 0\n"
    monkeypatch.setattr(server, "IDLE_SECONDS", 3 * AT_MOST_SECONDS)
    client = loop.connect(b"cohabit/2 #1 ps\n")
    received(loop, client, 1)
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.02)
    client.send(b"cohabit")
    assert loop.answer(client) == b""


def test_a_client_that_sends_nothing_more_gets_its_answers(loop: ControlLoop) -> None:
    """It has shut down its half. The connection ends after the last answer."""
    client = loop.connect(b"cohabit/2 #1 wait\n")
    client.shutdown(socket.SHUT_WR)
    loop.until(lambda: loop.fed)
    while loop.turn():
        pass
    loop.done = True
    assert loop.answer(client) == b"#1 10\n0 ok done\n#1 0\n"


def test_closing_after_an_answer_is_not_followed_by_a_pause(loop: ControlLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only connections without any request are followed by a pause."""
    paused: list[float] = []
    monkeypatch.setattr(loop.control.accepting, "pause", paused.append)
    for line in (b"cohabit/2 #1 ps\n", b""):
        client = loop.connect(line)
        loop.until(lambda: loop.control._clients)
        if line:
            received(loop, client, 1)
        client.close()
        loop.until(lambda: not loop.control._clients)
        assert len(paused) == (not line)


def test_open_requests_cross_a_reexecution(loop: ControlLoop) -> None:
    """With their ids; their events are not fed again."""
    client = loop.connect(b"cohabit/2 #4 wait\ncohabit/2 #5 follow\ncohabit/2 #6 p")
    loop.until(lambda: loop.follow_calls)
    while loop.turn():
        pass
    loop.reexecute()
    client.send(b"s\n")
    loop.control.streams.publish("logs", "web", b"more\n")
    loop.done = True
    data = bytearray()
    while b"#4 0\n" not in data or b"#6 0\n" not in data:
        data += received(loop, client, 1)
    assert sorted(chunks(bytes(data))) == sorted([
        (5, b"0 ok \n"), (5, b"backlog\n"), (5, b"more\n"), (4, b"0 ok done\n"), (4, b""),
        (6, b"0 ok ps True\n"), (6, b""),
    ])  # fmt: skip
    assert loop.fed == [EVENT]


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
    assert first.answer(first.connect(b"cohabit/2 ps\n")) == b"0 ok ps True\n"
    first.close()
    assert not (tmp_path / "control").exists()


def test_a_given_directory_keeps_the_files_of_others(tmp_path: Path) -> None:
    """COHABIT_RUNTIME_DIR may be a directory that others use."""
    (tmp_path / "others").write_text("")
    ControlLoop(tmp_path).close()
    assert [each.name for each in tmp_path.iterdir()] == ["others"]


_PIECES = some.lists(
    some.sampled_from(
        [b"cohabit/2 ", b"#1 ", b"#2 ", b"ps", b"wait", b"follow", b"big", b"bug", b"\n", b" ", b"=", b"\0", b"\xff"]
    )
    | some.binary(max_size=50),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    assert loop.answer(loop.connect(b"cohabit/2 ps\n")) == b"0 ok ps True\n"
    for client in loop.clients:
        client.close()
    loop.clients.clear()
    loop.until(lambda: not loop.control._clients)
    assert len(os.listdir("/proc/self/fd")) == before
