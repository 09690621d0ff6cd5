"""Probes against servers that answer slowly, wrongly, for ever or not at all, and commands that misbehave."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.engine.events import Probed
from cohabit.plan.model import Service
from cohabit.reactor.health import probes
from cohabit.reactor.health.connection import Connection
from cohabit.reactor.health.probes import Probes
from unit.reactor_world import World, asked

_OK = b"HTTP/1.1 200 OK\r\n"


class Asking(World):
    """A world with probes in it, and a server on the loopback that does what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.probes = Probes(
            self.epoll, describe=self.describe, launch=self.launch, kill=self.kill, tell=self.facts.append
        )
        self.rooms.append(self.probes)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]

    def ask(self, service: Service, now: float = 0.0) -> None:
        """Ask it."""
        self.probes.ask(service, now)

    def http(self, **probe: Any) -> socket.socket:
        """Ask over HTTP; returns the server's side, when the request is there."""
        self.ask(asked("http", host="127.0.0.1", port=self.port, **probe))
        return self.accept()

    def accept(self) -> socket.socket:
        """Return the server's side of the next connection, its request in `request`."""
        connection, _ = self.server.accept()
        connection.setblocking(False)
        self.request = b""

        def received() -> bool:
            try:
                self.request += connection.recv(65_536)
            except BlockingIOError:
                return False
            return self.request.endswith(b"\r\n\r\n")

        self.until(received)
        return connection

    def answer(self) -> Probed:
        """Return the only answer, when it has come."""
        self.until(lambda: self.facts)
        assert len(self.facts) == 1
        fact = self.facts.pop()
        assert isinstance(fact, Probed)
        return fact

    def close(self) -> None:
        """Close the server, too."""
        self.server.close()
        super().close()


@pytest.fixture
def world() -> Iterator[Asking]:
    """Give a world for one test; nothing may be left open in it."""
    before = set(os.listdir("/proc/self/fd"))
    world = Asking()
    yield world
    assert world.probes._asked == {} or world.probes.deadline() is not None
    for name in list(world.probes._asked):
        world.probes.stop(name)
    if world.probes._null >= 0:
        os.close(world.probes._null)
    world.close()
    assert set(os.listdir("/proc/self/fd")) == before


# --- sockets ---------------------------------------------------------------------------------------------------


def test_tcp_passes_at_once_where_somebody_listens(world: Asking) -> None:
    """On the loopback the answer is there when the question is asked, and nothing is left to watch or wait for."""
    world.ask(asked("tcp", host="127.0.0.1", port=world.port))
    assert world.facts == [Probed("web", passed=True)]
    assert world.probes.deadline() is None
    assert world.idle()


def test_tcp_refused_says_where(world: Asking) -> None:
    """A port that nobody listens on fails with the words that people know and the address."""
    world.server.close()
    world.ask(asked("tcp", host="127.0.0.1", port=world.port))
    assert world.answer() == Probed("web", passed=False, output=f"connection refused (127.0.0.1:{world.port})")


def test_tcp_never_takes_itself_for_the_server(world: Asking) -> None:
    """A connection that the kernel made to itself, from just the port that is asked, is nobody's answer."""
    world.server.close()
    first, last = (int(word) for word in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    port = next(port for port in range(first, last) if _is_free(port))
    for _ in range(40_000):  # about once each time around the range it would meet itself
        world.ask(asked("tcp", host="127.0.0.1", port=port))
        assert not world.facts.pop().passed


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0


def test_tcp_over_ipv6(world: Asking) -> None:
    """An address with colons is IPv6's, and written in brackets."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    world.ask(asked("tcp", host="::1", port=world.port))
    assert world.answer().output.endswith(f"([::1]:{world.port})")


def test_tcp_gets_no_answer(world: Asking) -> None:
    """A server whose queue of connections is full does not answer, and the question ends at its timeout."""
    world.server.close()
    world.server = socket.create_server(("127.0.0.1", 0), backlog=0)
    world.port = world.server.getsockname()[1]
    while world.probes.deadline() is None:  # nobody accepts: the questions themselves fill it
        world.facts.clear()
        world.ask(asked("tcp", host="127.0.0.1", port=world.port, timeout_seconds=5.0), now=100.0)
    assert world.probes.deadline() == 105.0
    world.probes.due(104.9)
    assert world.facts == []
    world.probes.due(105.0)
    assert world.answer() == Probed("web", passed=False, output="no answer within 5s")
    assert world.idle()


def test_unix_passes_where_somebody_listens(world: Asking, tmp_path: Path) -> None:
    """A unix socket with a listener passes; one without, a full one and a missing one say what they are."""
    path = str(tmp_path / "socket")
    service = asked("unix", socket=path)
    world.ask(service)
    assert world.answer().output == f"no such file or directory ({path})"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        world.ask(service)
        assert world.answer().output == f"connection refused ({path})"
        server.listen(0)
        world.ask(service)
        assert world.answer() == Probed("web", passed=True)
        world.ask(service)
        assert world.answer().output == f"its queue of connections is full ({path})"


# --- HTTP ------------------------------------------------------------------------------------------------------


def test_http_asks_in_full(world: Asking) -> None:
    """The request has the path, the host and the headers; one of the file replaces one of ours."""
    server = world.http(path="/ready?full=1", headers=(("X-Key", "a b"), ("user-agent", "probe")))
    lines = world.request.decode().splitlines()
    assert lines[0] == "GET /ready?full=1 HTTP/1.1"
    assert set(lines[1:-1]) == {
        f"Host: 127.0.0.1:{world.port}", "Accept: */*", "Connection: close", "X-Key: a b", "user-agent: probe",
    }  # fmt: skip
    server.close()
    assert world.answer().output == f"it closed the connection without an answer (127.0.0.1:{world.port})"


@pytest.mark.parametrize(
    ("line", "passed"),
    [("200 OK", True), ("204", True), ("399 Odd", True), ("400 Bad", False), ("503 Busy", False), ("101 Up", False)],
)
def test_http_status_decides(world: Asking, line: str, passed: bool) -> None:
    """2xx and 3xx pass, and the words are the status line."""
    with world.http() as server:
        server.send(f"HTTP/1.1 {line}\r\n".encode())
        assert world.answer() == Probed("web", passed, f"HTTP/1.1 {line}")


def test_http_statuses_of_the_file(world: Asking) -> None:
    """Statuses that are written replace 200 to 399."""
    for code, passed in (("401", True), ("200", False)):
        with world.http(statuses=((401, 401), (500, 510))) as server:
            server.send(f"HTTP/1.1 {code} x\r\n".encode())
            assert world.answer().passed is passed


def test_http_status_byte_by_byte(world: Asking) -> None:
    """A status line may come in as many pieces as it likes, after an interim answer, too."""
    with world.http() as server:
        for byte in b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + _OK[:-1]:
            server.send(bytes([byte]))
            world.turn()
            assert world.facts == []
        server.send(b"\n")
        assert world.answer() == Probed("web", passed=True, output="HTTP/1.1 200 OK")


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20))
def test_http_any_bytes_get_one_answer(pieces: list[bytes]) -> None:
    """Whatever a server sends before it closes, there is one answer, and it passes only with a status line."""
    world = Asking()
    try:
        with world.http() as server:
            try:
                for piece in pieces:
                    server.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
        fact = world.answer()
        assert not fact.passed or b"".join(pieces).startswith(b"HTTP/")
        assert len(fact.output) <= 4096
        world.until(lambda: not world.probes._asked)
    finally:
        world.close()


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP, but 'SSH-2.0-OpenSSH_9.2'"),
        (b"\xff\x00\n", "no HTTP, but '\ufffd\\x00'"),
        (b"HTTP/1.1 abc\n", "no HTTP, but 'HTTP/1.1 abc'"),
        (b"HTTP/1.1 200" + b"x" * 20_000, "no HTTP, but 'HTTP/1.1 200xxx"),
        (b"x" * 5000, "no HTTP, but 'xxx"),
        (b"HTTP/1.1 100 Continue\r\n" + b"x: y\r\n" * 12_000, "an interim answer that is never followed"),
    ],
)
def test_http_garbage_is_named(world: Asking, sent: bytes, words: str) -> None:
    """What is no HTTP, has no end or never comes to the point fails at once and says what came instead."""
    with world.http() as server:
        server.sendall(sent)
        fact = world.answer()
    assert not fact.passed
    assert fact.output.startswith(words)


def test_http_that_begins_and_never_goes_on(world: Asking) -> None:
    """Half a status line is no answer: the question ends at its timeout."""
    with world.http(timeout_seconds=3.0) as server:
        server.send(_OK[:12])
        world.turn()
        world.probes.due(3.0)
        assert world.answer() == Probed("web", passed=False, output="no answer within 3s")


def test_http_endless_body_is_no_obstacle(world: Asking) -> None:
    """The status line answers at once; a body that never ends is taken for a while and then hung up on."""
    with world.http() as server:
        server.send(_OK + b"\r\n")
        assert world.answer().passed
        world.until(lambda: _is_refused(server))
    assert world.facts == []
    assert world.probes.deadline() is None


def _is_refused(server: socket.socket) -> bool:
    try:
        server.send(b"x" * 65_536)
    except BlockingIOError:
        return False
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def test_http_body_that_stops_ends_at_the_timeout(world: Asking) -> None:
    """After the answer the connection waits for the rest no longer than the timeout, and says nothing more."""
    with world.http(timeout_seconds=3.0) as server:
        server.send(_OK + b"\r\nhalf")
        assert world.answer().passed
        assert world.probes.deadline() == 3.0
        world.probes.due(3.0)
        assert world.probes._asked == {}
        assert world.facts == []


def test_http_server_may_finish_its_answer(world: Asking) -> None:
    """A server that writes its body later, in pieces, meets no broken pipe."""
    with world.http() as server:
        server.send(_OK)
        assert world.answer().passed
        for _ in range(50):
            server.send(b"x" * 100)
            world.turn()
    world.until(lambda: not world.probes._asked)


def test_http_over_a_unix_socket(world: Asking, tmp_path: Path) -> None:
    """The same over a unix socket; the host is localhost."""
    world.server.close()
    world.server = socket.socket(socket.AF_UNIX)
    world.server.bind(str(tmp_path / "socket"))
    world.server.listen()
    world.ask(asked("http", socket=str(tmp_path / "socket")))
    with world.accept() as server:
        assert b"\r\nHost: localhost\r\n" in world.request
        server.send(_OK)
        assert world.answer().passed


# --- commands --------------------------------------------------------------------------------------------------


def shell(script: str, **probe: Any) -> Service:
    """Return a service whose probe is a shell script."""
    return asked("exec", command=("sh", "-c", script), **probe)


def test_command_exit_code_decides(world: Asking) -> None:
    """0 passes, everything else fails; both streams are the words."""
    world.ask(shell("echo fine"))
    assert world.answer() == Probed("web", passed=True, output="fine")
    world.ask(shell("echo one; echo two >&2; exit 3"))
    assert world.answer() == Probed("web", passed=False, output="one\ntwo")
    world.ask(shell("exit 3"))
    assert world.answer().output == "the probe ended with exit code 3"
    world.ask(shell("kill -9 $$"))
    assert world.answer().output == "the probe ended with SIGKILL (killed)"


def test_command_that_hangs_is_killed(world: Asking) -> None:
    """At the timeout it is answered, with what was said so far, and killed; its end says no more."""
    world.ask(shell("echo trying; exec sleep 1000", timeout_seconds=5.0), now=100.0)
    world.until(lambda: world.probes._asked["web"].output)
    world.probes.due(105.0)
    assert world.answer() == Probed("web", passed=False, output="no answer within 5s: trying")
    world.until(lambda: not world.pids)
    assert world.facts == []


def test_command_that_floods_is_killed(world: Asking) -> None:
    """One that writes without end is bounded: 1 MiB, then it fails and is gone."""
    world.ask(shell("exec yes flood", timeout_seconds=1000.0))
    assert world.answer() == Probed("web", passed=False, output="the probe was killed: it wrote more than 1 MiB")
    world.until(lambda: not world.pids)


def test_command_keeps_the_last_4_kib(world: Asking) -> None:
    """Of much output the end is kept, and nothing has to wait for a reader."""
    world.ask(shell("seq 100000; exit 1"))
    output = world.answer().output
    assert output.endswith("\n100000")
    assert len(output) <= 4096


def test_command_that_leaves_somebody_behind(world: Asking) -> None:
    """Its end is its answer, even if children of it hold its output; they are killed."""
    world.ask(shell("sleep 1000 & echo $!; exit 0"))
    fact = world.answer()
    assert fact.passed
    world.until(lambda: _is_gone(int(fact.output)))
    assert world.killed == ["web\0probe"]


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_command_that_cannot_be_executed(world: Asking) -> None:
    """The words of a failed exec are the answer's."""
    world.ask(asked("exec", command=("/no/curl",)))
    assert world.answer() == Probed("web", passed=False, output="cannot run the probe: '/no/curl' does not exist")


def test_command_without_room(world: Asking) -> None:
    """That the machine has no room for one more process says nothing of the service: it is asked when there is some."""
    real, refusals = world.probes._launch, [11, 12]

    def launch(*words: Any) -> None:
        if refusals:
            raise OSError(refusals.pop(), "no room")
        real(*words)

    world.probes._null = os.open(os.devnull, os.O_RDWR)
    before = len(os.listdir("/proc/self/fd"))
    world.probes._launch = launch
    world.ask(shell("echo well"), now=0.0)
    for second in (1.0, 2.0):
        assert world.probes.deadline() == second
        assert (world.facts, len(os.listdir("/proc/self/fd"))) == ([], before)
        world.probes.due(second)
    assert world.answer() == Probed("web", passed=True, output="well")


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_socket_without_room(world: Asking, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The same for a connection that cannot be made; an answer comes within the timeout from then on, or none."""
    refusals = [24]

    def connect(probe: Any) -> Any:
        if refusals:
            raise OSError(refusals.pop(), "Too many open files")
        return Connection(probe)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.listen()
        monkeypatch.setattr(probes, "Connection", connect)
        world.ask(asked(kind, host="127.0.0.1", port=server.getsockname()[1], timeout_seconds=0.5), now=0.0)
        assert (world.facts, world.probes.deadline()) == ([], 1.0)
        world.probes.due(1.0)
        if kind == "tcp":
            assert world.answer().passed
        else:
            assert (world.facts, world.probes.deadline()) == ([], 1.5)
            world.probes.due(1.5)
            assert "no answer within 500ms" in world.answer().output


def test_command_waits_for_the_one_before_it(world: Asking) -> None:
    """A killed command that is not reaped yet is never joined by a second one; the next starts after its end."""
    world.ask(shell("exec sleep 1000"))
    world.probes.stop("web")
    world.ask(shell("echo second"))
    assert world.launched == ["web\0probe"]
    assert world.answer().output == "second"
    assert world.launched == ["web\0probe"] * 2


def test_command_that_does_not_die_fails_the_next_question(world: Asking) -> None:
    """While a killed command is still there, the next question ends at its own timeout."""
    world.probes._kill = world.killed.append
    world.ask(shell("exec sleep 1000", timeout_seconds=1.0), now=0.0)
    world.probes.due(1.0)
    world.facts.clear()
    world.ask(shell("true", timeout_seconds=1.0), now=2.0)
    world.probes.due(3.0)
    assert world.answer() == Probed("web", passed=False, output="no answer within 1s")
    assert world.launched == ["web\0probe"]


# --- questions that are not wanted any more --------------------------------------------------------------------


def test_nothing_is_answered_after_stop(world: Asking) -> None:
    """Whatever was asked: after stop there is no answer, no descriptor and no deadline."""
    with world.http() as server:
        world.ask(shell("echo late; exec sleep 1000").replace(name="db"))
        world.probes.stop("web")
        world.probes.stop("db")
        world.until(lambda: _is_hung_up(server))  # a child between fork and exec may still share it
    world.until(lambda: not world.pids)
    world.probes.due(1e9)
    assert world.facts == []
    assert world.probes.deadline() is None
    assert world.idle()


def _is_hung_up(server: socket.socket) -> bool:
    try:
        return server.recv(1) == b""
    except BlockingIOError:
        return False


def test_asking_again_replaces_the_question(world: Asking) -> None:
    """Two questions to one service have one answer: the second one's."""
    first = world.http()
    with world.http() as second:
        assert first.recv(1) == b""
        first.close()
        second.send(_OK)
        assert world.answer().passed


def test_an_event_of_somebody_before_us_means_nothing(world: Asking) -> None:
    """An event for a descriptor's earlier owner, in the same turn, is not taken for an answer."""
    with world.http():
        fd = next(iter(world.probes._listening))
        for _ in range(3):
            world.probes.handle(fd)
        assert world.facts == []


def test_deadlines_do_not_pile_up(world: Asking) -> None:
    """Thousands of questions that were over in time do not leave thousands of deadlines."""
    for number in range(5000):
        world.ask(asked("http", f"web{number % 10}", host="127.0.0.1", port=world.port), now=float(number))
        world.probes.stop(f"web{number % 10}")
        assert len(world.probes._deadlines) < 200
        world.server.accept()[0].close()
