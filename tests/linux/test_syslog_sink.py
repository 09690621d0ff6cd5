"""reactor/logs/syslog.py: numbered records over real sockets arrive exactly once, in order, despite server faults.

The loop is part of the test and follows the contract of sinks. It also reads the servers, so no test sleeps.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import select
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from cohabit.reactor.logs import syslog, syslog_transport
from cohabit.reactor.logs.formats import Origin
from cohabit.reactor.logs.syslog import SyslogSink
from cohabit.reactor.logs.syslog_format import BYTES_MAX, Syslog, frame
from cohabit.reactor.logs.syslog_transport import Tcp, UnixStream
from linux.run import AT_MOST_SECONDS
from unit.reactor_world import sink_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cohabit.reactor.processes.child import SpawnSpec

SO_RCVBUFFORCE = 33  # socket(7)
NOW_NS = 1_700_000_000_000_000_000
STREAM_WAYS = ["tcp", "tcp6", "unix-stream"]
WAYS = [*STREAM_WAYS, "unix", "unixgram", "udp", "udp6"]


class Server:
    """A syslog server that can be started, stopped and slowed down. messages: what it received, without the headers."""

    def __init__(self, way: str, directory: Path) -> None:
        self.way = way
        self.is_stream = way in STREAM_WAYS
        self.messages: list[bytes] = []
        self.connections: dict[socket.socket, bytes] = {}
        self.socket: socket.socket | None = None
        self.read_size = 65_536
        self.rcvbuf = 0
        self.listening = True
        self.path = f"{directory}/log"
        family = socket.AF_UNIX if "unix" in way else socket.AF_INET6 if way.endswith("6") else socket.AF_INET
        self.kind = (family, socket.SOCK_STREAM if self.is_stream else socket.SOCK_DGRAM)
        self.where: Any = self.path
        if family == socket.AF_UNIX:
            self.address = f"{way.removesuffix('-stream')}://{self.path}"
            return
        host = "::1" if way.endswith("6") else "127.0.0.1"
        with socket.socket(*self.kind) as probe:  # a port that is free now
            probe.bind((host, 0))
            self.where = probe.getsockname()[:2]
        self.address = f"{way.removesuffix('6')}://{f'[{host}]' if ':' in host else host}:{self.where[1]}"

    def start(self) -> None:
        """Start."""
        self.socket = socket.socket(*self.kind)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rcvbuf)
        self.socket.bind(self.where)
        if self.is_stream:
            self.socket.listen()

    def stop(self) -> None:
        """Stop; connections with unread bytes are reset then."""
        assert self.socket is not None
        self.socket.close()
        self.socket = None
        for connection in self.connections:
            connection.close()
        self.connections.clear()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def read(self) -> bool:
        """One turn; True if there was data."""
        if self.socket is None or not self.listening:
            return False
        try:
            if not self.is_stream:
                self.messages.append(text_of(self.socket.recv(65_536)))
                return True
            connection, _ = self.socket.accept()
            connection.setblocking(False)
            self.connections[connection] = b""
        except BlockingIOError:
            pass
        return sum(self.read_one(connection) for connection in list(self.connections)) > 0

    def read_one(self, connection: socket.socket) -> bool:
        """The same for one connection."""
        try:
            data = connection.recv(self.read_size)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        if not data:
            connection.close()
            del self.connections[connection]  # with a partial frame, if there was one
            return False
        rest = self.connections[connection] + data
        if self.way == "unix-stream":
            *lines, rest = rest.split(b"\n")
            self.messages += map(text_of, lines)
        else:
            while b" " in rest:
                count, _, after = rest.partition(b" ")
                if len(after) < int(count):
                    break
                self.messages.append(text_of(after[: int(count)]))
                rest = after[int(count) :]
        self.connections[connection] = rest
        return True

    @property
    def numbers(self) -> list[int]:
        """The numbers at the start of the messages. Other text after them is padding, or two lines were joined."""
        assert not b"".join(self.messages).translate(None, b" x0123456789")
        return [int(message.split(b" ")[0]) for message in self.messages]


def text_of(message: bytes) -> bytes:
    """The text after the header."""
    assert message.startswith(b"<30>1 2023-11-14T22:13:20.000000Z "), message
    return message.split(b" ", 7)[7]


class SinkLoop:
    """A sink and a loop around it, as sinks require. fd may change only by way of -1."""

    def __init__(self, address: str) -> None:
        self.epoll = select.epoll()
        self.reports: list[str] = []
        self.children: list[tuple[subprocess.Popen[bytes], Callable[[int, str], None]]] = []
        self.form = Syslog(Origin("web", "stdout"), 3)
        self.watched = -1
        self.next = 0
        self.address = address
        self.sink = self.new()

    def new(self) -> SyslogSink:
        """A new sink."""
        return SyslogSink(self.address, sink_context(self.launch, self.reports))

    def launch(self, key: str, start: SpawnSpec, ended: Callable[[int, str], None]) -> None:
        """Launch a side program, as Children does."""
        assert key.startswith("\0resolve")
        child = subprocess.Popen(start.argv, env=start.environment, stdout=start.stdio[1])
        self.children.append((child, ended))

    def watch(self) -> None:
        """Register the descriptor that the sink waits for."""
        fd = self.sink.fd if self.sink.blocked else -1
        if fd == self.watched:
            return
        assert -1 in {fd, self.watched}
        if self.watched >= 0:
            with contextlib.suppress(OSError):  # it was closed
                self.epoll.unregister(self.watched)
        if fd >= 0:
            self.epoll.register(fd, select.EPOLLOUT)
        self.watched = fd

    def write(self, count: int, filling: bytes = b"", at_once: int = 1) -> None:
        """Write this many numbered records, regardless of backpressure; count is a multiple of at_once."""
        for first in range(self.next, self.next + count, at_once):
            lines = b"".join(b"%d %b\n" % (number, filling) for number in range(first, first + at_once))
            self.sink.write(self.form.lines(lines, NOW_NS))
            self.watch()
        self.next += count

    def turn(self, wait: float = 0.0) -> None:
        """One turn of the loop."""
        due = self.sink.retry_at if self.sink.blocked else None
        if due is not None:
            wait = max(0.0, min(wait, due - time.monotonic()))
        ready = self.epoll.poll(wait)
        for child, ended in self.children.copy():
            if child.poll() is not None:
                self.children.remove((child, ended))
                ended(child.returncode, "")
        due = self.sink.retry_at if self.sink.blocked else None
        if ready or (due is not None and due <= time.monotonic()):
            self.sink.flush()
        self.watch()

    def until(self, true: Callable[[], object], *servers: Server) -> None:
        """Run turns until the condition holds, with servers that read."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        while not true():
            assert time.monotonic() < deadline, (self.reports, [len(server.messages) for server in servers])
            self.turn(0.0 if sum(server.read() for server in servers) else 0.005)

    def all_arrive(self, server: Server) -> None:
        """Check that each record arrives, once and in order, and that the sink has nothing left."""
        self.until(lambda: len(server.messages) >= self.next, server)
        self.until(lambda: not self.sink.blocked and not server.read(), server)
        assert server.numbers == list(range(self.next))

    def reexecute(self) -> None:
        """A re-execution: only descriptors and plain values are kept."""
        plain = marshal.loads(marshal.dumps(self.sink.to_plain()))  # noqa: S302 - our own data
        if self.sink._transport is not None:
            assert self.sink.descriptors() == [self.sink._transport.socket.fileno()]
            os.set_inheritable(self.sink._transport.socket.detach(), True)
        if self.sink._connector is not None:
            self.sink._connector.close()
        self.epoll.close()
        self.epoll, self.watched = select.epoll(), -1
        self.children.clear()
        self.sink = self.new()
        self.sink.restore(plain)
        self.watch()


T = TypeVar("T")


def transport_of(world: SinkLoop, kind: type[T]) -> T:
    """The sink's transport, which must be of this kind."""
    transport = world.sink._transport
    assert isinstance(transport, kind)
    return transport


@pytest.fixture(params=WAYS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    server = Server(request.param, tmp_path)
    yield server
    if server.socket is not None:
        server.stop()


@pytest.fixture
def world(server: Server) -> Iterator[SinkLoop]:
    world = SinkLoop(server.address)
    yield world
    world.sink.close()
    world.epoll.close()
    for child, _ in world.children:
        child.kill()
        child.wait()


only = pytest.mark.parametrize


def test_every_record_arrives_once_and_in_order(server: Server, world: SinkLoop) -> None:
    """Over each transport, with a server that reads fast enough."""
    server.start()
    for _ in range(20):
        world.write(50)
        world.all_arrive(server)
    assert world.reports == []


def test_a_server_that_starts_late_gets_everything(server: Server, world: SinkLoop) -> None:
    """Until then frames wait; one message says that the server is unreachable, and one that it is reachable again."""
    world.write(20)
    world.until(lambda: world.reports)
    assert world.sink.blocked
    assert world.sink.pending_bytes > 1000
    (reports,) = world.reports
    assert reports.startswith(f"cannot reach syslog {server.address}: ")
    assert reports.endswith(" (trying again; blocking services wait)")
    why = "No such file or directory" if "unix" in server.way else "Connection refused"
    assert why in reports
    world.write(20)
    server.start()
    world.all_arrive(server)
    assert world.reports == [reports, f"can reach syslog {server.address} again"]


def test_a_restart_of_an_idle_server_loses_nothing(server: Server, world: SinkLoop) -> None:
    """The closed connection is noticed at the next record, before that is sent; also three times in a row."""
    server.start()
    for _ in range(3):
        world.write(5)
        world.all_arrive(server)
        server.stop()
        world.write(5)
        world.until(lambda: world.sink.blocked)
        world.write(5)
        server.start()
        world.all_arrive(server)
    assert len(world.reports) == 6


def test_a_server_that_is_back_before_the_next_record_causes_no_message(
    server: Server, world: SinkLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good connection is made again at once, without a message."""
    monkeypatch.setattr(syslog, "_STABLE_SECONDS", 0.0)
    server.start()
    world.write(5)
    world.all_arrive(server)
    server.stop()
    server.start()
    world.write(5)
    world.all_arrive(server)
    assert world.reports == []


@only("server", ["tcp", "unix-stream"], indirect=True)
def test_a_reader_of_one_byte_at_a_time_gets_everything(server: Server, world: SinkLoop) -> None:
    """Frames are then sent in pieces and reassembled."""
    server.rcvbuf, server.read_size = 1, 1
    server.start()
    world.write(1)
    world.until(lambda: server.connections, server)
    assert world.sink._transport is not None
    world.sink._transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    world.write(3, b"x" * 7_000)
    assert world.sink.blocked
    world.all_arrive(server)
    assert world.reports == []


@only("server", ["unix", "unixgram"], indirect=True)
def test_a_full_queue_of_datagrams_is_waited_for(server: Server, world: SinkLoop) -> None:
    """The kernel queues about ten unread datagrams; epoll reports when there is room again."""
    server.start()
    world.write(300)
    assert world.sink.blocked
    assert world.sink.fd >= 0
    assert world.sink.retry_at is None
    world.all_arrive(server)
    assert world.reports == []


@only("server", ["udp"], indirect=True)
def test_a_refused_datagram_is_sent_again(server: Server, world: SinkLoop) -> None:
    """Also the last of all, whose error no later send could report."""
    server.start()
    world.write(3)
    world.all_arrive(server)
    server.stop()
    world.write(1)
    assert world.sink.blocked
    world.write(10)
    world.until(lambda: world.reports)
    server.start()
    world.all_arrive(server)


@only("server", ["udp"], indirect=True)
def test_first_datagram_is_sent_alone(server: Server, world: SinkLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no server, only one datagram would be lost; the others wait for an ICMP error."""
    monkeypatch.setattr(syslog_transport, "_PROOF_SECONDS", 60.0)
    server.start()
    world.write(10)
    world.until(lambda: not server.read(), server)
    assert server.numbers == [0]
    assert world.sink.blocked
    world.sink.flush()  # too early
    assert not server.read()
    world.sink.retry_at = 0.0
    world.all_arrive(server)


@only("server", ["tcp"], indirect=True)
def test_data_that_tcp_did_not_deliver_is_sent_again(server: Server, world: SinkLoop) -> None:
    """A server that dies with a full queue loses at most that queue: the next one gets the rest, in whole records."""
    server.rcvbuf = 4096
    server.start()
    world.write(1, b"x" * 1000)
    world.until(lambda: server.connections, server)
    server.listening = False
    world.write(6_000, b"x" * 1000, at_once=50)
    assert world.sink.blocked
    world.until(lambda: transport_of(world, Tcp)._sent)
    assert transport_of(world, Tcp)._sent_bytes > 100_000
    in_kernel = 2 * server.rcvbuf + 65_536 // 16
    server.stop()
    server.listening, server.rcvbuf, before = True, 0, server.numbers
    server.messages.clear()
    server.start()
    world.until(lambda: server.messages and server.numbers[-1] == world.next - 1, server)
    first = server.numbers[0]
    assert server.numbers == list(range(first, world.next))
    assert first - len(before) <= in_kernel // 1000 + 1
    assert before == list(range(len(before)))


@only("server", ["unix-stream"], indirect=True)
def test_a_line_that_was_cut_by_the_end_of_its_server_is_whole_on_the_next(server: Server, world: SinkLoop) -> None:
    """Whatever part the old server received: a receiver never sees a line without its beginning."""
    server.start()
    world.write(1)
    world.until(lambda: server.connections, server)
    server.listening = False
    assert world.sink._transport is not None
    world.sink._transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    world.write(4, b"x" * 7_000)
    assert transport_of(world, UnixStream)._of_line > 0
    server.stop()
    server.listening = True
    server.messages.clear()
    world.write(3)
    server.start()
    world.until(lambda: server.messages and server.numbers[-1] == world.next - 1, server)
    assert server.numbers == list(range(server.numbers[0], world.next))


@only("server", ["tcp"], indirect=True)
def test_what_was_sent_to_a_server_that_had_just_closed_is_sent_again(
    server: Server, world: SinkLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the close was not visible before the send: the data was not acknowledged."""
    server.start()
    world.write(3)
    world.all_arrive(server)
    server.stop()
    with monkeypatch.context() as patch:
        patch.setattr(syslog_transport, "_check_open", lambda _: None)
        world.write(1)
        assert not world.sink.blocked
    world.write(3)
    assert world.sink.blocked
    server.start()
    world.all_arrive(server)


@only("server", ["tcp", "unix-stream"], indirect=True)
def test_data_from_the_server_is_discarded(server: Server, world: SinkLoop) -> None:
    """So that the end of the connection, which follows it, is seen."""
    server.start()
    world.write(1)
    world.all_arrive(server)
    for connection in server.connections:
        connection.send(b"hello" * 10_000)
    server.stop()
    world.write(1)
    assert world.sink.blocked
    server.start()
    world.all_arrive(server)


@only("server", ["unix", "udp"], indirect=True)
def test_a_message_that_is_too_long_for_the_transport_is_cut(server: Server, world: SinkLoop) -> None:
    """It arrives in several messages, each with its header; the next records arrive, too."""
    server.start()
    world.write(1)
    world.all_arrive(server)
    assert world.sink._transport is not None
    world.sink._transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    text = b"y" + b"".join(b"%05d" % number for number in range(40_000))
    end = world.form.lines(b"end\n", NOW_NS)
    world.sink.write(frame(end.partition(b" ")[2].replace(b"end", text)) + end)
    world.watch()
    world.until(lambda: server.messages[-1] == b"end", server)
    assert len(server.messages) > 4
    assert b"".join(server.messages[1:]) == text + b"end"


@only("server", ["unix-stream"], indirect=True)
def test_control_characters_are_escaped(server: Server, world: SinkLoop) -> None:
    """A record is one line there, split where the escapes make it too long for receivers."""
    server.start()
    world.sink.write(world.form.records([b"a\n b\0c", b"\n" * 7_000, b"end"], NOW_NS))
    world.watch()
    world.until(lambda: server.messages and server.messages[-1] == b"end", server)
    assert server.messages[0] == b"a#012 b#000c"
    assert b"".join(server.messages[1:-1]) == b"#012" * 7_000
    assert max(map(len, server.messages)) < BYTES_MAX


@only("server", ["udp"], indirect=True)
def test_enobufs_is_retried_without_a_message(server: Server, world: SinkLoop) -> None:
    """ENOBUFS means that a device queue is full, and no event reports its end."""

    class Full:
        """A socket that returns ENOBUFS twice."""

        def __init__(self, real: Any) -> None:
            self.real, self.times = real, 2

        def send(self, data: bytes, flags: int) -> int:
            self.times -= 1
            if self.times >= 0:
                raise OSError(errno.ENOBUFS, "No buffer space available")
            return int(self.real.send(data, flags))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    server.start()
    world.write(1)
    world.all_arrive(server)
    assert world.sink._transport is not None
    world.sink._transport.socket = full = Full(world.sink._transport.socket)  # type: ignore[assignment]
    world.write(3)
    assert world.sink.blocked
    assert world.sink.fd == -1
    world.all_arrive(server)
    assert full.times < 0
    assert world.reports == []


@only("server", ["tcp"], indirect=True)
def test_retries_back_off(server: Server, world: SinkLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 ms, doubling up to 10 seconds; an earlier flush does nothing."""
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    world.sink.write(world.form.lines(b"x\n", NOW_NS))
    waits = []
    for _ in range(9):
        assert world.sink.retry_at is not None
        waits.append(round(world.sink.retry_at - now, 3))
        now += waits[-1] * 0.9
        due = world.sink.retry_at
        world.sink.flush()
        assert world.sink.retry_at == due
        now = due
        world.sink.flush()
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert len(world.reports) == 1
    assert server.address in world.reports[0]


@only("server", ["tcp"], indirect=True)
def test_a_connect_without_an_answer_times_out(
    server: Server, world: SinkLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connect is abandoned after its timeout, and a new one is tried then."""
    monkeypatch.setattr(syslog, "_CONNECT_SECONDS", 0.05)
    server.start()
    assert server.socket is not None
    server.socket.listen(0)
    crowd = [socket.socket() for _ in range(4)]
    for one in crowd:
        one.setblocking(False)
        one.connect_ex(server.where)
    world.write(5)
    assert world.sink.fd >= 0
    assert world.sink.retry_at is not None
    world.until(lambda: world.reports)
    assert "no answer" in world.reports[0]
    assert world.sink.fd == -1
    for one in crowd:
        one.close()
    server.socket.listen(5)
    world.all_arrive(server)


@only("server", ["tcp"], indirect=True)
def test_a_server_that_closes_each_connection_causes_no_spin(server: Server, world: SinkLoop) -> None:
    """Connections that are closed at once are retried with increasing delays, too."""
    server.start()
    assert server.socket is not None
    accepted = 0
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        world.write(1)
        world.turn(0.001)
        try:
            server.socket.accept()[0].close()
            accepted += 1
        except BlockingIOError:
            pass
    assert 1 <= accepted <= 5


# --- name resolution -------------------------------------------------------------------------------------


@only("server", ["tcp", "udp"], indirect=True)
def test_a_name_is_looked_up_by_a_side_program(server: Server, world: SinkLoop) -> None:
    """At each connect, without blocking the loop."""
    server.start()
    world.address = server.address.replace("127.0.0.1", "localhost")
    world.sink = world.new()
    world.write(5)
    assert world.sink.blocked
    assert len(world.children) == 1
    world.all_arrive(server)


def answered(world: SinkLoop, *answers: str) -> list[str]:
    """Set the answers of the resolvers; returns the keys of the resolvers that were started."""
    keys: list[str] = []

    def launch(key: str, start: SpawnSpec, ended: Callable[[int, str], None]) -> None:
        text = answers[min(len(keys), len(answers) - 1)]
        keys.append(key)
        child = subprocess.Popen(["/bin/sh", "-c", "printf '%s' \"$1\"", "sh", text], stdout=start.stdio[1])
        world.children.append((child, ended))

    world.sink = SyslogSink(world.address.replace("127.0.0.1", "logs"), sink_context(launch, world.reports))
    return keys


@only("server", ["tcp"], indirect=True)
def test_an_unknown_name_is_reported_and_retried(server: Server, world: SinkLoop) -> None:
    """The message quotes the resolver; the next attempt may succeed."""
    port = server.where[1]
    keys = answered(world, "!Name or service not known\n", "", f"127.0.0.1 {port} 0\n")
    server.start()
    world.write(5)
    world.all_arrive(server)
    name = f"syslog tcp://logs:{port}"
    assert world.reports == [
        f"cannot reach {name}: Name or service not known (trying again; blocking services wait)",
        f"can reach {name} again",
    ]
    assert len(set(keys)) == len(keys) == 3


@only("server", ["tcp"], indirect=True)
def test_addresses_are_tried_in_turn(server: Server, world: SinkLoop) -> None:
    """The first address that accepts is used; the others are not mentioned. The next connect resolves again."""
    port = server.where[1]
    keys = answered(world, f"127.0.0.2 {port} 0\n::1 {port} 0\n127.0.0.1 {port} 0\n", "!no\n", f"127.0.0.1 {port} 0\n")
    server.start()
    world.write(5)
    world.all_arrive(server)
    assert world.reports == []
    server.stop()
    server.start()
    world.write(5)
    world.all_arrive(server)
    assert len(keys) == 3


@only("server", ["tcp"], indirect=True)
def test_drain_uses_the_last_known_addresses(server: Server, world: SinkLoop) -> None:
    """When no process can be started any more, the last addresses are used, and a running resolver is waited for."""
    port = server.where[1]
    keys = answered(world, f"127.0.0.1 {port} 0\n")
    server.start()
    world.write(5)
    world.sink.drain(lambda: 5.0)
    world.all_arrive(server)
    server.stop()
    server.start()
    world.write(5)
    world.sink.drain(lambda: 5.0)
    world.all_arrive(server)
    assert len(keys) == 1


@only("server", ["tcp"], indirect=True)
def test_a_resolver_that_cannot_be_started_is_retried(server: Server, world: SinkLoop) -> None:
    """It is reported, and retried; no descriptor is leaked."""

    def launch(*_: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    world.sink = SyslogSink("tcp://logs", sink_context(launch, world.reports))
    before = len(os.listdir("/proc/self/fd"))
    world.write(1)
    assert world.sink.retry_at is not None
    assert "cannot look up the host name: Resource temporarily unavailable" in world.reports[0]
    assert len(os.listdir("/proc/self/fd")) <= before
    assert server.socket is None


# --- the end, and re-execution ---------------------------------------------------------------------------


def test_drain_sends_buffered_records(server: Server, world: SinkLoop) -> None:
    """At the end everything arrives, at the pace of the server."""
    server.start()
    if server.socket is not None and "udp" in server.way:
        server.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    world.write(2000, b"x" * 100)
    done = threading.Event()

    def reads() -> None:
        while not done.is_set() or server.read():
            server.read()

    reader = threading.Thread(target=reads)
    reader.start()
    world.sink.drain(lambda: 10.0)
    blocked = world.sink.blocked
    world.sink.close()
    done.set()
    reader.join()
    assert not blocked
    assert server.numbers == list(range(2000))


@only("server", ["tcp"], indirect=True)
def test_drain_waits_until_tcp_has_delivered(server: Server, world: SinkLoop) -> None:
    """The network may go down with the container: data that is only in the kernel would be lost."""
    server.rcvbuf = 4096
    server.start()
    world.write(100, b"x" * 1000)
    world.until(lambda: not world.sink.blocked)
    assert world.sink._transport is not None
    assert syslog_transport._undelivered_bytes(world.sink._transport.socket) > 0
    reader = threading.Thread(target=lambda: read_messages(server, 100))
    reader.start()
    world.sink.drain(lambda: 10.0)
    assert syslog_transport._undelivered_bytes(world.sink._transport.socket) == 0
    reader.join()


def read_messages(server: Server, count: int) -> None:
    deadline = time.monotonic() + AT_MOST_SECONDS
    while len(server.messages) < count and time.monotonic() < deadline:
        server.read()


@only("server", ["tcp", "unix", "udp"], indirect=True)
def test_drain_gives_up_without_a_server(server: Server, world: SinkLoop) -> None:
    """Well before its timeout, and the unsent records stay countable."""
    world.write(5)
    begun = time.monotonic()
    world.sink.drain(lambda: 100.0)
    assert time.monotonic() - begun < 50.0
    assert world.sink.pending_bytes > 0
    assert server.socket is None


@only("server", ["tcp"], indirect=True)
def test_drain_reaches_a_server_that_was_away(server: Server, world: SinkLoop) -> None:
    """It does not wait for a distant retry."""
    world.write(5)
    world.sink.retry_at = time.monotonic() + 1000.0
    server.start()
    world.sink.drain(lambda: 10.0)
    world.all_arrive(server)


def test_records_survive_a_reexecution(server: Server, world: SinkLoop) -> None:
    """In every state of the connection: before it, in the middle of a frame, and without one."""
    world.write(3)
    world.reexecute()
    world.write(3)
    world.until(lambda: world.reports)
    server.start()
    world.all_arrive(server)
    server.listening = False
    if server.way == "unix-stream":
        assert world.sink._transport is not None
        world.sink._transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    if not server.way.startswith("udp"):
        while not world.sink.blocked:
            world.write(1, b"x" * 5000)
        if server.way == "unix-stream":
            assert transport_of(world, UnixStream)._of_line > 0
    world.write(3, b"x" * 5000)
    world.reexecute()
    world.write(3)
    server.listening = True
    world.all_arrive(server)
    world.reexecute()
    world.write(3)
    world.all_arrive(server)
    assert len(world.reports) == 2
    for fd in world.sink.descriptors():
        assert not os.get_inheritable(fd)


@only("server", ["tcp"], indirect=True)
def test_a_running_resolver_is_started_again_after_a_reexecution(server: Server, world: SinkLoop) -> None:
    """Its answer went to the old instance; the new key differs, because the old child may not be reaped yet."""
    server.start()
    world.address = server.address.replace("127.0.0.1", "localhost")
    world.sink = world.new()
    world.write(5)
    children = [child for child, _ in world.children]
    world.reexecute()
    assert world.sink.tasks() == []
    world.all_arrive(server)
    assert world.sink._server.count == 2
    for child in children:
        child.wait()


@only("server", ["tcp"], indirect=True)
def test_undelivered_frames_survive_a_reexecution(server: Server, world: SinkLoop) -> None:
    """Frames sent by the old instance to a server that had just closed are sent again by the new one."""
    server.start()
    world.write(3)
    world.all_arrive(server)
    server.listening = False
    world.write(3)
    world.reexecute()
    assert transport_of(world, Tcp)._sent_bytes > 0
    server.listening = True
    world.write(1)
    world.all_arrive(server)
