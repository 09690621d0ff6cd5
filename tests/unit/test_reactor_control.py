"""reactor/control/: nothing that a client does kills, blocks or grows us. Real sockets, and a desk that is not.

The loop is the test's own: it waits in the same epoll, so nothing here sleeps.
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
FACT = Due()


class Desk:
    """A control socket, and what is behind it.

    `big` is answered with a MiB, `wait` when `done` is, `bug` raises, `no` is refused; any other verb is repeated.
    While `broken`, whatever else is asked of it raises too.
    """

    def __init__(self, directory: Path) -> None:
        self.epoll = select.epoll()
        self.directory = RuntimeDirectory(given=str(directory))
        self.fed: list[Any] = []
        self.done = False
        self.broken = False
        self.followed = 0
        self.slow = 0.0
        self.pieces = [b"backlog\n"]
        self.control = self._control()
        self.control.open()
        self.path = f"{directory}/control"
        self.clients: list[socket.socket] = []

    def _control(self) -> Control:
        def follows() -> None:
            self.followed += 1

        return Control(
            self.epoll, self.directory,
            ask=self.ask, feed=self.fed.extend, backlog=self.backlog, is_followed=follows,
        )  # fmt: skip

    def reexecute(self) -> None:
        """Everything is given over, and found again."""
        plain = self.control.to_plain()
        assert set(self.control.descriptors()) == {plain["fd"], *self.control._clients}
        self.epoll.close()
        self.epoll = select.epoll()
        self.control = self._control()
        self.control.restore(plain)

    def is_done(self) -> Answer | None:
        """What somebody who waits asks."""
        self.may_break()
        return Answer(0, "done") if self.done else None

    def backlog(self, _: Subscription) -> list[bytes]:
        """What a stream begins with."""
        self.may_break()
        return self.pieces

    def may_break(self) -> None:
        """A bug of ours."""
        if self.broken:
            raise AttributeError("oh")

    def ask(self, line: bytes, trusted: bool, again: bool) -> Any:
        """An outcome for the server."""
        verb = parse(line).verb
        until = time.monotonic() + self.slow
        while time.monotonic() < until:
            pass
        if verb == "bug":
            raise KeyError("oh")
        if again:
            self.may_break()
        if verb == "no":
            raise RequestError("cannot no", 78)
        if verb == "wait":
            return PendingReply(() if again else (FACT,), self.is_done)
        if verb == "down":
            return Answer(0, "down", then=(FACT,))
        if verb == "follow":
            return Subscription("logs", ("web",), every=False, tail=None, since=0.0, on=True)
        return Answer(0, "x" * (1 << 20) if verb == "big" else f"{verb} {trusted}")

    def connect(self, line: bytes = b"") -> socket.socket:
        """A client that has said this."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.path)
        client.setblocking(False)
        if line:
            client.send(line)
        self.clients.append(client)
        return client

    def turn(self, wait: float = 0.0) -> bool:
        """One turn of a loop; False if nothing was there to do."""
        deadline = self.control.deadline()
        if deadline is not None:
            wait = max(wait, min(deadline - time.monotonic(), 0.05))
        ready = self.epoll.poll(max(0.0, wait))
        for fd, _ in ready:
            if self.control.owns(fd):
                self.control.handle(fd)
        self.control.due(time.monotonic())
        self.control.look()
        return bool(ready)

    def until(self, true: Callable[[], object]) -> None:
        """Turns until that is so."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        while not true():
            assert time.monotonic() < deadline, "waited in vain"
            self.turn(0.01)

    def answer(self, client: socket.socket) -> bytes:
        """All that a client gets, until it is hung up on."""
        data = bytearray()

        def ended() -> bool:
            try:
                while piece := client.recv(1 << 20):
                    data.extend(piece)
            except BlockingIOError:
                return False
            except ConnectionResetError:  # its request was not even read
                pass
            return True

        self.until(ended)
        return bytes(data)

    def close(self) -> None:
        """Let go of everything."""
        self.control.close()
        for client in self.clients:
            client.close()
        self.epoll.close()
        self.directory.remove()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk of one's own."""
    one = Desk(tmp_path)
    yield one
    one.close()


def test_a_request_is_answered_and_hung_up_on(desk: Desk) -> None:
    """Also one that comes in pieces, and one whose sender has closed his half already."""
    assert desk.answer(desk.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"
    client = desk.connect(b"cohabit/2")
    while desk.turn():
        pass
    client.send(b" ps\n")
    client.shutdown(socket.SHUT_WR)
    assert desk.answer(client) == b"0 ps True\n"


def test_a_big_answer_comes_whole(desk: Desk) -> None:
    """However small the socket's buffer is."""
    assert len(desk.answer(desk.connect(b"cohabit/2 big\n"))) == (1 << 20) + 3


def test_errors_are_answers(desk: Desk) -> None:
    """A refusal, a bug of ours, a line that is no request, one that never ends."""
    assert desk.answer(desk.connect(b"cohabit/2 no\n")) == b"78 cannot no\n"
    assert desk.answer(desk.connect(b"cohabit/2 bug\n")).startswith(b"70 an internal error")
    assert desk.answer(desk.connect(b"GET / HTTP/1.1\r\n")).startswith(b"64 cannot read the request")
    client = desk.connect()
    sent = 0
    while True:
        try:
            sent += client.send(b"a" * 8192)
        except BlockingIOError:
            desk.turn()
        except OSError:
            break
        assert sent < 1 << 20
    assert sent > 65_536


def test_who_waits_is_answered_when_it_is_so(desk: Desk) -> None:
    """And costs nothing until then; the facts are fed once."""
    client = desk.connect(b"cohabit/2 wait\n")
    desk.until(lambda: desk.fed)
    while desk.turn():
        pass
    with pytest.raises(BlockingIOError):
        client.recv(1)
    desk.done = True
    assert desk.answer(client) == b"0 done\n"
    assert desk.fed == [FACT]


def test_who_goes_is_forgotten(desk: Desk) -> None:
    """In whatever state he was."""
    waiting = desk.connect(b"cohabit/2 wait\n")
    following = desk.connect(b"cohabit/2 follow\n")
    idle = desk.connect()
    big = desk.connect(b"cohabit/2 big\n")
    desk.until(lambda: len(desk.control._clients) == 4 and desk.fed and desk.followed == 1)
    for client in (waiting, following, idle, big):
        client.close()
    desk.until(lambda: not desk.control._clients)
    assert desk.followed == 2


def test_what_would_end_the_client_happens_when_he_has_gone(desk: Desk) -> None:
    """He gets his answer to its end, and nothing happens before he has left; or not in time."""
    client = desk.connect(b"cohabit/2 down\n")
    assert desk.answer(client) == b"0 down\n"
    assert desk.fed == []
    client.close()
    desk.until(lambda: desk.fed == [FACT])
    desk.connect(b"cohabit/2 down\n")
    desk.until(lambda: desk.fed == [FACT, FACT])


def test_who_says_nothing_is_hung_up_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has a time in which it has to come."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.02)
    assert desk.answer(desk.connect()) == b""


def test_who_does_not_take_his_answer_is_hung_up_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has a time in which it has to be taken."""
    monkeypatch.setattr(server, "ANSWER_SECONDS", 0.02)
    desk.connect(b"cohabit/2 big\n")
    desk.until(lambda: desk.control._clients)
    desk.until(lambda: not desk.control._clients)


def test_there_is_room_for_so_many(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits takes no place from those who ask and go; those beyond all places wait in the kernel's queue."""
    monkeypatch.setattr(server, "CROWDED_SECONDS", AT_MOST_SECONDS)
    waiting = [desk.connect(b"cohabit/2 wait\n") for _ in range(server.LASTING_MAX)]
    desk.until(lambda: len(desk.fed) == server.LASTING_MAX)
    assert desk.answer(desk.connect(b"cohabit/2 wait\n")).startswith(b"71 80 clients")
    assert desk.answer(desk.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"
    idle = [desk.connect() for _ in range(server.CLIENTS_MAX - server.LASTING_MAX)]
    desk.until(lambda: len(desk.control._clients) == server.CLIENTS_MAX)
    late = desk.connect(b"cohabit/2 ps\n")
    while desk.turn():
        pass
    assert len(desk.control._clients) == server.CLIENTS_MAX
    idle[0].close()
    assert desk.answer(late) == b"0 ps True\n"
    assert waiting


def test_after_a_dear_request_others_wait_for_three_times_as_long(desk: Desk) -> None:
    """Clients get a quarter of the time at the most."""
    desk.slow = 0.01
    early = desk.connect()
    desk.until(lambda: desk.control._clients)
    desk.connect(b"cohabit/2 ps\n")
    desk.until(lambda: desk.control._resting_until)
    began = time.monotonic()
    early.send(b"cohabit/2 ps\n")
    deadline = desk.control.deadline()
    assert deadline is not None
    assert deadline - began > 0.015
    assert not desk.epoll.poll(0)  # nobody is listened to
    assert desk.answer(early) == b"0 ps True\n"


def test_of_those_who_ask_at_once_one_is_answered_before_the_rest(desk: Desk) -> None:
    """Nor does one who has gone already wake us meanwhile; all others are answered in the end."""
    clients = [desk.connect() for _ in range(10)]
    desk.until(lambda: len(desk.control._clients) == 10)
    desk.slow = 0.02
    for client in clients:
        client.send(b"cohabit/2 ps\n")
    clients.pop().close()
    desk.turn()
    assert len(desk.control._clients) == 9
    assert not desk.epoll.poll(0)
    desk.slow = 0.0
    assert [desk.answer(client) for client in clients] == [b"0 ps True\n"] * 9


def strangers(desk: Desk, monkeypatch: pytest.MonkeyPatch, count: int) -> list[socket.socket]:
    """Clients of another user, who may not ask."""
    monkeypatch.setattr(server, "peer_uid", lambda _: 12345)
    return [desk.connect(b"cohabit/2 ps\n") for _ in range(count)]


def test_those_who_may_not_ask_are_refused_at_once_and_paid_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one turn, without a place of their own; then nobody new is taken for a while, and nothing wakes the loop."""
    friend = desk.connect()
    desk.until(lambda: desk.control._clients)
    refused = strangers(desk, monkeypatch, 80)
    desk.turn()
    assert len(desk.control._clients) == 1
    assert all(client.recv(1000).startswith(b"77 user 12345 may not talk to this cohabit") for client in refused)
    late = strangers(desk, monkeypatch, 1)[0]
    assert not desk.epoll.poll(0)
    deadline = desk.control.deadline()
    assert deadline is not None
    friend.send(b"cohabit/2 ps\n")  # whoever is connected goes on meanwhile
    assert desk.answer(friend) == b"0 ps True\n"
    assert desk.answer(late).startswith(b"77 ")


def test_a_group_that_may_ask_is_asked_for_only_then(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its members are no strangers."""
    monkeypatch.setattr(server, "peer_groups", lambda _: {5, 7})
    desk.control.group = 7
    assert desk.answer(strangers(desk, monkeypatch, 1)[0]) == b"0 ps False\n"
    desk.control.group = 6
    assert desk.answer(strangers(desk, monkeypatch, 1)[0]).endswith(b", and group 6\n")


def test_a_stranger_that_has_gone_already(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that never reads, nor one that closed its half: no descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    for client in strangers(desk, monkeypatch, 50):
        client.close()
    desk.turn()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not desk.control._clients


def test_those_who_go_without_asking_are_paid_for(desk: Desk) -> None:
    """Root's own storm of connections costs a quarter of the time at the most, too."""
    for _ in range(90):
        desk.connect().close()
    desk.until(lambda: desk.control._paused_until)
    assert desk.control.deadline() is not None
    assert desk.answer(desk.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"


def test_silent_ones_make_room_once_all_places_are_taken(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing, or half a request, has 5 s for it, and half a second where others wait for a place."""
    monkeypatch.setattr(server, "CROWDED_SECONDS", 0.02)
    for number in range(server.CLIENTS_MAX):
        desk.connect(b"cohabit/2 " if number % 2 else b"")
    desk.until(lambda: len(desk.control._clients) == server.CLIENTS_MAX)
    assert desk.answer(desk.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"


def test_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times as long as it took; short pieces add up, and time that passes pays them off."""
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


def test_who_waits_is_looked_at_for_a_quarter_of_the_time(desk: Desk) -> None:
    """However often the engine steps; and nobody is forgotten."""
    client = desk.connect(b"cohabit/2 wait\n")
    desk.until(lambda: desk.fed)
    desk.control._look_from = time.monotonic() + 0.05
    desk.done = True
    desk.control.look()
    with pytest.raises(BlockingIOError):
        client.recv(1)
    assert desk.control.deadline() == desk.control._look_from
    assert desk.answer(client) == b"0 done\n"
    assert desk.control.deadline() is None


def test_long_answers_that_nobody_reads_are_limited(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a long one is refused, short ones are given, and a stream tells what it leaves out at its beginning."""
    monkeypatch.setattr(server, "_REST", 0.0)
    for _ in range(server.UNREAD_BYTES_MAX >> 19):
        desk.connect(b"cohabit/2 big\n")
    desk.until(lambda: desk.control._unread() > server.UNREAD_BYTES_MAX)
    refused = desk.answer(desk.connect(b"cohabit/2 big\n"))
    assert refused == b"71 other clients have not read their answers yet (try again)\n"
    assert sum(client.size for client in desk.control._clients.values()) < server.UNREAD_BYTES_MAX + (1 << 21)
    assert desk.answer(desk.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"
    desk.pieces = [record(number) for number in range(1000)]
    client = desk.connect(b"cohabit/2 follow\n")
    desk.until(lambda: desk.followed)
    head, *lines = client.recv(1 << 20).split(b"\n")
    assert head == b"0 "
    assert lines[0].startswith(b"cohabit dropped ")
    assert lines[2] != b"%07d" % 0


def record(number: int) -> bytes:
    """A KiB that can be told from others."""
    return b"%07d\n" % number * 128


def test_a_stream_goes_on(desk: Desk) -> None:
    """What comes after the request comes to whoever listens to that service."""
    client = desk.connect(b"cohabit/2 follow\n")
    desk.until(lambda: desk.followed)
    for name in ("web", "db", "web"):
        desk.control.publish("logs", name, name.encode() + b"\n")
    desk.control.publish("events", "web", b"no\n")
    desk.turn()
    assert client.recv(1000) == b"0 \nbacklog\nweb\nweb\n"


def test_who_does_not_read_a_stream_misses_some_and_is_told(desk: Desk) -> None:
    """So much is kept; what comes then is counted. Whoever reads beside him gets everything."""
    deaf = desk.connect(b"cohabit/2 follow\n")
    reader = desk.connect(b"cohabit/2 follow\n")
    desk.until(lambda: desk.followed == 2)
    read = bytearray()
    for number in range(3000):
        desk.control.publish("logs", "web", record(number))
        desk.turn()
        assert all(client.size <= server.KEPT_BYTES_MAX + 2000 for client in desk.control._clients.values())
        try:
            read += reader.recv(1 << 20)
        except BlockingIOError:
            pass
    assert read == b"0 \nbacklog\n" + b"".join(map(record, range(3000)))

    def took_all() -> bool:
        try:
            missed.extend(deaf.recv(1 << 20))
        except BlockingIOError:
            return not any(client.pending for client in desk.control._clients.values())
        return False

    missed = bytearray()
    desk.until(took_all)
    desk.control.publish("logs", "web", record(9_999_999))
    desk.until(lambda: took_all() and missed.endswith(record(9_999_999)))
    head, _, rest = missed.partition(b"cohabit dropped ")
    size, _, rest = rest.partition(b"\n")
    count = int(rest[: int(size.split()[1])])
    assert len(head) + count == len(b"0 \nbacklog\n") + 3000 * 1024


def test_clients_cross_a_reexecution(desk: Desk) -> None:
    """Who waited, listened, was in the middle of his request, or of his answer, goes on as if nothing had been."""
    waiting = desk.connect(b"cohabit/2 wait\n")
    following = desk.connect(b"cohabit/2 follow\n")
    begun = desk.connect(b"cohabit/2 p")
    big = desk.connect(b"cohabit/2 big\n")
    desk.until(lambda: len(desk.control._clients) == 4 and desk.fed and desk.followed)
    while desk.turn():
        pass
    desk.reexecute()
    begun.send(b"s\n")
    assert desk.answer(begun) == b"0 ps True\n"
    assert len(desk.answer(big)) == (1 << 20) + 3
    desk.control.publish("logs", "web", b"more\n")
    desk.turn()
    assert following.recv(1000) == b"0 \nbacklog\nmore\n"
    desk.done = True
    assert desk.answer(waiting) == b"0 done\n"
    assert desk.fed == [FACT]
    assert desk.answer(desk.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"


def test_what_happens_when_he_has_gone_happens_after_a_reexecution_too(desk: Desk) -> None:
    """His answer has been given, and he leaves during a re-execution: nothing is forgotten, or done twice."""
    client = desk.connect(b"cohabit/2 down\n")
    assert desk.answer(client) == b"0 down\n"
    desk.reexecute()
    assert desk.fed == []
    client.close()
    desk.until(lambda: desk.fed == [FACT])
    desk.until(lambda: not desk.control._clients)
    assert desk.fed == [FACT]


@pytest.mark.parametrize("when", ["while he waits", "in a re-execution", "at the beginning of a stream"])
def test_only_he_who_meets_a_bug_of_ours_pays(desk: Desk, when: str) -> None:
    """It is told to him, and the others go on."""
    idle = desk.connect()
    first = b"follow" if when == "at the beginning of a stream" else b"wait"
    desk.broken = first == b"follow"
    client = desk.connect(b"cohabit/2 " + first + b"\n")
    if first == b"wait":
        desk.until(lambda: desk.fed)
        desk.broken = True
        if when == "in a re-execution":
            desk.reexecute()
    assert desk.answer(client) == b"70 an internal error, please report it: AttributeError: oh\n"
    idle.send(b"cohabit/2 ps\n")
    assert desk.answer(idle) == b"0 ps True\n"


def test_a_dead_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    """Somebody who was killed leaves his socket behind."""
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "control"))
    dead.close()
    first = Desk(tmp_path)
    with pytest.raises(OSError, match="in use"):
        Desk(tmp_path)
    second = RuntimeDirectory(given=str(tmp_path))
    second.make()
    second.remove()  # as the one that could not have it does in the end
    assert first.answer(first.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"
    first.close()
    assert not (tmp_path / "control").exists()


def test_a_given_directory_keeps_what_is_not_ours(tmp_path: Path) -> None:
    """COHABIT_RUNTIME_DIR may be a place that others use."""
    (tmp_path / "others").write_text("")
    Desk(tmp_path).close()
    assert [each.name for each in tmp_path.iterdir()] == ["others"]


_PIECES = some.lists(
    some.sampled_from([b"cohabit/2 ", b"ps", b"wait", b"follow", b"big", b"bug", b"\n", b" ", b"=", b"\0", b"\xff"])
    | some.binary(max_size=50),
    max_size=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(some.lists(some.tuples(_PIECES, some.sampled_from(["close", "half", "leave", "read"])), min_size=1, max_size=8))
def test_whatever_clients_do_the_next_one_is_answered(desk: Desk, crowd: list[tuple[list[bytes], str]]) -> None:
    """They say anything in any pieces and go in any way; afterwards nothing of them is left."""
    before = len(os.listdir("/proc/self/fd")) - len(desk.clients) * (desk.clients != [])
    clients = []
    for pieces, way in crowd:
        client = desk.connect()
        clients.append(client)
        for piece in pieces:
            try:
                client.send(piece)
            except OSError:
                break
            desk.turn()
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
        desk.turn()
    assert desk.answer(desk.connect(b"cohabit/2 ps\n")) == b"0 ps True\n"
    for client in desk.clients:
        client.close()
    desk.clients.clear()
    desk.until(lambda: not desk.control._clients)
    assert len(os.listdir("/proc/self/fd")) <= before
