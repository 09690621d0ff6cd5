"""Probes of servers that answer slowly, wrongly, endlessly or not at all, and of commands that misbehave."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.engine.events import Probed
from cohabit.plan import reason as reasons
from cohabit.plan.model import Service
from cohabit.plan.reason import Reason
from cohabit.plan.reason_text import text_of
from cohabit.reactor.health import probes
from cohabit.reactor.health.connection import Connection
from cohabit.reactor.health.probes import Probes
from unit.reactor_world import World, asked

_OK = b"HTTP/1.1 200 OK\r\n"


class ProbeWorld(World):
    """A loop with probes, and a server on the loopback that the test controls."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0  # as the probes see it
        self.probes = Probes(self.context, self.describe)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]

    def run_probe(self, service: Service, now: float = 0.0) -> None:
        """Run the probe of a service."""
        self.now = now
        self.probes.ask(service, now)

    def due(self, now: float) -> None:
        """Let the time pass."""
        self.now = now
        self.poller.run_timers(now)

    def http(self, **probe: Any) -> socket.socket:
        """Run an HTTP probe. Returns the server's side of the connection once the request has arrived."""
        self.run_probe(asked("http", host="127.0.0.1", port=self.port, **probe))
        return self.accept()

    def accept(self) -> socket.socket:
        """Return the server's side of the next connection, with its request in `request`."""
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

    def failure(self) -> tuple[str, str]:
        """Wait for the only answer, a failure; returns the kind of its reason and the output."""
        event = self.answer()
        assert not event.passed
        assert event.reason is not None
        assert text_of(event.reason) == event.output
        return event.reason.kind, event.output

    def answer(self) -> Probed:
        """Wait for the only answer and return it."""
        self.until(lambda: self.facts)
        assert len(self.facts) == 1
        event = self.facts.pop()
        assert isinstance(event, Probed)
        return event

    def close(self) -> None:
        """Close everything, the server included."""
        self.server.close()
        super().close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProbeWorld]:
    """Give a world for one test. No descriptor may be left open."""
    before = set(os.listdir("/proc/self/fd"))
    world = ProbeWorld()
    monkeypatch.setattr(probes, "time", SimpleNamespace(monotonic=lambda: world.now))
    yield world
    assert world.probes._checks == {} or world.poller.deadline() is not None
    for name in list(world.probes._checks):
        world.probes.stop(name)
    if world.probes._null >= 0:
        os.close(world.probes._null)
    world.close()
    assert set(os.listdir("/proc/self/fd")) == before


# --- sockets ---------------------------------------------------------------------------------------------------


def test_tcp_passes_at_once_where_a_server_listens(world: ProbeWorld) -> None:
    """On the loopback the answer is immediate, and no descriptor or deadline is left."""
    world.run_probe(asked("tcp", host="127.0.0.1", port=world.port))
    assert world.facts == [Probed("web", passed=True)]
    assert world.poller.deadline() is None
    assert world.idle()


def test_tcp_refused_names_the_address(world: ProbeWorld) -> None:
    """A port without a listener fails with the system's error text and the address."""
    world.server.close()
    world.run_probe(asked("tcp", host="127.0.0.1", port=world.port))
    assert world.failure() == (reasons.CONNECTION_REFUSED, f"connection refused (127.0.0.1:{world.port})")


def test_tcp_does_not_accept_a_connection_to_itself(world: ProbeWorld) -> None:
    """TCP may connect the probed port to itself when the kernel chooses it as the local port. That is a failure."""
    world.server.close()
    first, last = (int(number) for number in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    port = next(port for port in range(first, last) if _is_free(port))
    service = asked("tcp", host="127.0.0.1", port=port)
    for _ in range(40_000):  # about once per pass through the port range the two ports are equal
        world.run_probe(service)
        assert not world.facts.pop().passed


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0


def test_tcp_over_ipv6(world: ProbeWorld) -> None:
    """An address with colons is IPv6, and is shown in brackets."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    world.run_probe(asked("tcp", host="::1", port=world.port))
    assert world.answer().output.endswith(f"([::1]:{world.port})")


def test_tcp_times_out(world: ProbeWorld) -> None:
    """A server whose connection queue is full does not answer, and the check ends at its timeout."""
    world.server.close()
    world.server = socket.create_server(("127.0.0.1", 0), backlog=0)
    world.port = world.server.getsockname()[1]
    while world.poller.deadline() is None:  # nothing accepts: the checks themselves fill the queue
        world.facts.clear()
        world.run_probe(asked("tcp", host="127.0.0.1", port=world.port, timeout_seconds=5.0), now=100.0)
    assert world.poller.deadline() == 105.0
    world.due(104.9)
    assert world.facts == []
    world.due(105.0)
    assert world.failure() == (reasons.PROBE_TIMED_OUT, "no answer within 5s")
    assert world.idle()


def test_unix_passes_where_a_server_listens(world: ProbeWorld, tmp_path: Path) -> None:
    """A unix socket with a listener passes. One without, a full one and a missing one fail with the reason."""
    path = str(tmp_path / "socket")
    service = asked("unix", socket=path)
    world.run_probe(service)
    assert world.failure() == (reasons.NO_SOCKET, f"no such file or directory ({path})")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        world.run_probe(service)
        assert world.failure() == (reasons.CONNECTION_REFUSED, f"connection refused ({path})")
        server.listen(0)
        world.run_probe(service)
        assert world.answer() == Probed("web", passed=True)
        world.run_probe(service)
        assert world.failure() == (reasons.CONNECTION_FAILED, f"its queue of connections is full ({path})")


# --- HTTP ------------------------------------------------------------------------------------------------------


def test_http_sends_path_host_and_headers(world: ProbeWorld) -> None:
    """A header in the file replaces the default one of the same name."""
    server = world.http(path="/ready?full=1", headers=(("X-Key", "a b"), ("user-agent", "probe")))
    lines = world.request.decode().splitlines()
    assert lines[0] == "GET /ready?full=1 HTTP/1.1"
    assert set(lines[1:-1]) == {
        f"Host: 127.0.0.1:{world.port}", "Accept: */*", "Connection: close", "X-Key: a b", "user-agent: probe",
    }  # fmt: skip
    server.close()
    assert world.answer().output == f"the server closed the connection without an answer (127.0.0.1:{world.port})"


@pytest.mark.parametrize(
    ("line", "passed"),
    [("200 OK", True), ("204", True), ("399 Odd", True), ("400 Bad", False), ("503 Busy", False), ("101 Up", False)],
)
def test_http_status_decides(world: ProbeWorld, line: str, passed: bool) -> None:
    """2xx and 3xx pass, and the output is the status line."""
    with world.http() as server:
        server.send(f"HTTP/1.1 {line}\r\n".encode())
        reason = None if passed else Reason(reasons.HTTP_STATUS, int(line[:3]), detail=f"HTTP/1.1 {line}")
        assert world.answer() == Probed("web", passed, f"HTTP/1.1 {line}", reason)


def test_http_statuses_of_the_file(world: ProbeWorld) -> None:
    """The statuses in the file replace 200 to 399."""
    for code, passed in (("401", True), ("200", False)):
        with world.http(statuses=((401, 401), (500, 510))) as server:
            server.send(f"HTTP/1.1 {code} x\r\n".encode())
            assert world.answer().passed is passed


def test_http_status_byte_by_byte(world: ProbeWorld) -> None:
    """A status line may arrive in any pieces, also after an interim answer."""
    with world.http() as server:
        for byte in b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + _OK[:-1]:
            server.send(bytes([byte]))
            world.turn()
            assert world.facts == []
        server.send(b"\n")
        assert world.answer() == Probed("web", passed=True, output="HTTP/1.1 200 OK")


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20))
def test_http_any_bytes_get_one_answer(pieces: list[bytes]) -> None:
    """Any bytes before the close give one answer, which passes only with a status line."""
    world = ProbeWorld()
    try:
        with world.http() as server:
            try:
                for piece in pieces:
                    server.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
        event = world.answer()
        assert not event.passed or b"".join(pieces).startswith(b"HTTP/")
        assert len(event.output) <= 4096
        world.until(lambda: not world.probes._checks)
    finally:
        world.close()


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP answer: 'SSH-2.0-OpenSSH_9.2'"),
        (b"\xff\x00\n", "not an HTTP answer: '\ufffd\\x00'"),
        (b"HTTP/1.1 abc\n", "not an HTTP answer: 'HTTP/1.1 abc'"),
        (b"HTTP/1.1 200" + b"x" * 20_000, "not an HTTP answer: 'HTTP/1.1 200xxx"),
        (b"x" * 5000, "not an HTTP answer: 'xxx"),
        (b"HTTP/1.1 100 Continue\r\n" + b"x: y\r\n" * 12_000, "an interim answer (1xx) without a final one"),
    ],
    ids=["SSH", "not text", "no code", "long status line", "long line", "long headers"],
)
def test_http_garbage_is_shown(world: ProbeWorld, sent: bytes, text: str) -> None:
    """Data that is not HTTP, or has no status line, fails at once and is shown."""
    with world.http() as server:
        server.sendall(sent)
        event = world.answer()
    assert not event.passed
    assert event.output.startswith(text)


def test_http_incomplete_status_line_times_out(world: ProbeWorld) -> None:
    """Half a status line is not an answer; the check ends at its timeout."""
    with world.http(timeout_seconds=3.0) as server:
        server.send(_OK[:12])
        world.turn()
        world.due(3.0)
        assert world.failure() == (reasons.PROBE_TIMED_OUT, "no answer within 3s")


def test_http_endless_body_does_not_delay_the_answer(world: ProbeWorld) -> None:
    """The status line is the answer. An endless body is read up to a limit, then the connection is closed."""
    with world.http() as server:
        server.send(_OK + b"\r\n")
        assert world.answer().passed
        world.until(lambda: _is_refused(server))
    assert world.facts == []
    assert world.poller.deadline() is None


def _is_refused(server: socket.socket) -> bool:
    try:
        server.send(b"x" * 65_536)
    except BlockingIOError:
        return False
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def test_http_body_that_stops_ends_at_the_timeout(world: ProbeWorld) -> None:
    """After the answer the connection waits for the rest until the timeout, without a second answer."""
    with world.http(timeout_seconds=3.0) as server:
        server.send(_OK + b"\r\nhalf")
        assert world.answer().passed
        assert world.poller.deadline() == 3.0
        world.due(3.0)
        assert world.probes._checks == {}
        assert world.facts == []


def test_http_server_can_send_its_whole_answer(world: ProbeWorld) -> None:
    """A server that sends its body later, in pieces, gets no broken pipe."""
    with world.http() as server:
        server.send(_OK)
        assert world.answer().passed
        for _ in range(50):
            server.send(b"x" * 100)
            world.turn()
    world.until(lambda: not world.probes._checks)


def test_http_over_a_unix_socket(world: ProbeWorld, tmp_path: Path) -> None:
    """HTTP works over a unix socket; the Host header is localhost."""
    world.server.close()
    world.server = socket.socket(socket.AF_UNIX)
    world.server.bind(str(tmp_path / "socket"))
    world.server.listen()
    world.run_probe(asked("http", socket=str(tmp_path / "socket")))
    with world.accept() as server:
        assert b"\r\nHost: localhost\r\n" in world.request
        server.send(_OK)
        assert world.answer().passed


# --- commands --------------------------------------------------------------------------------------------------


def shell(script: str, **probe: Any) -> Service:
    """Return a service whose probe is a shell script."""
    return asked("exec", command=("sh", "-c", script), **probe)


def test_command_exit_code_decides(world: ProbeWorld) -> None:
    """Exit code 0 passes, any other fails. The output is that of both streams."""
    world.run_probe(shell("echo fine"))
    assert world.answer() == Probed("web", passed=True, output="fine")
    world.run_probe(shell("echo one; echo two >&2; exit 3"))
    assert world.answer() == Probed("web", passed=False, output="one\ntwo")
    world.run_probe(shell("exit 3"))
    assert world.answer().output == "the probe ended with exit code 3"
    world.run_probe(shell("kill -9 $$"))
    assert world.answer().output == "the probe ended with SIGKILL (killed)"


def test_command_that_hangs_is_killed(world: ProbeWorld) -> None:
    """At the timeout the answer has the output so far, and the command is killed without a second answer."""
    world.run_probe(shell("echo trying; exec sleep 1000", timeout_seconds=5.0), now=100.0)
    world.until(lambda: world.probes._checks["web"].output)
    world.due(105.0)
    assert world.failure() == (reasons.PROBE_TIMED_OUT, "no answer within 5s: trying")
    world.until(lambda: not world.pids)
    assert world.facts == []


def test_command_that_floods_is_killed(world: ProbeWorld) -> None:
    """A command that writes more than 1 MiB fails and is killed."""
    world.run_probe(shell("exec yes flood", timeout_seconds=1000.0))
    assert world.answer() == Probed("web", passed=False, output="the probe was killed: it wrote more than 1 MiB")
    world.until(lambda: not world.pids)


def test_command_keeps_the_last_4_kib(world: ProbeWorld) -> None:
    """The end of a long output is kept, and the command does not block."""
    world.run_probe(shell("seq 100000; exit 1"))
    output = world.answer().output
    assert output.endswith("\n100000")
    assert len(output) <= 4096


def test_command_that_leaves_a_process_behind(world: ProbeWorld) -> None:
    """The end of the command is the answer, even if its children hold its output open. They are killed."""
    world.run_probe(shell("sleep 1000 & echo $!; exit 0"))
    event = world.answer()
    assert event.passed
    world.until(lambda: _is_gone(int(event.output)))
    assert world.killed == ["web\0probe"]


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_command_that_cannot_be_executed(world: ProbeWorld) -> None:
    """The answer has the reason of the failed exec."""
    world.run_probe(asked("exec", command=("/no/curl",)))
    assert world.failure() == (reasons.PROBE_NOT_RUN, "cannot run the probe: '/no/curl' does not exist")


def test_command_is_postponed_by_a_shortage(world: ProbeWorld) -> None:
    """A failed fork says nothing about the service; the check is retried each second."""
    real, refusals = world.context.run_program, [11, 12]

    def launch(*arguments: Any) -> None:
        if refusals:
            raise OSError(refusals.pop(), "shortage")
        real(*arguments)

    world.probes._null = os.open(os.devnull, os.O_RDWR)
    before = len(os.listdir("/proc/self/fd"))
    world.context.run_program = launch
    world.run_probe(shell("echo well"), now=0.0)
    for second in (1.0, 2.0):
        assert world.poller.deadline() == second
        assert (world.facts, len(os.listdir("/proc/self/fd"))) == ([], before)
        world.due(second)
    assert world.answer() == Probed("web", passed=True, output="well")


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_socket_is_postponed_by_a_shortage(world: ProbeWorld, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A socket that cannot be created is retried. The timeout counts from the retry."""
    refusals = [24]

    def connect(probe: Any) -> Any:
        if refusals:
            raise OSError(refusals.pop(), "Too many open files")
        return Connection(probe)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.listen()
        monkeypatch.setattr(probes, "Connection", connect)
        world.run_probe(asked(kind, host="127.0.0.1", port=server.getsockname()[1], timeout_seconds=0.5), now=0.0)
        assert (world.facts, world.poller.deadline()) == ([], 1.0)
        world.due(1.0)
        if kind == "tcp":
            assert world.answer().passed
        else:
            assert (world.facts, world.poller.deadline()) == ([], 1.5)
            world.due(1.5)
            assert "no answer within 500ms" in world.answer().output


def test_command_waits_for_the_end_of_the_previous_one(world: ProbeWorld) -> None:
    """The next command starts only when the killed one has been reaped."""
    world.run_probe(shell("exec sleep 1000"))
    world.probes.stop("web")
    world.run_probe(shell("echo second"))
    assert world.launched == ["web\0probe"]
    assert world.answer().output == "second"
    assert world.launched == ["web\0probe"] * 2


def test_command_that_survives_sigkill_fails_the_next_check(world: ProbeWorld) -> None:
    """While a killed command still exists, the next check ends at its own timeout."""
    world.context.kill_program = world.killed.append
    world.run_probe(shell("exec sleep 1000", timeout_seconds=1.0), now=0.0)
    world.due(1.0)
    world.facts.clear()
    world.run_probe(shell("true", timeout_seconds=1.0), now=2.0)
    world.due(3.0)
    assert world.failure() == (reasons.PROBE_TIMED_OUT, "no answer within 1s")
    assert world.launched == ["web\0probe"]


# --- stopped checks --------------------------------------------------------------------------------------------


def test_no_answer_after_stop(world: ProbeWorld) -> None:
    """After stop there is no answer, no descriptor and no deadline."""
    with world.http() as server:
        world.run_probe(shell("echo late; exec sleep 1000").replace(name="db"))
        world.probes.stop("web")
        world.probes.stop("db")
        world.until(lambda: _is_hung_up(server))  # a child between fork and exec may still share it
    world.until(lambda: not world.pids)
    world.due(1e9)
    assert world.facts == []
    assert world.poller.deadline() is None
    assert world.idle()


def _is_hung_up(server: socket.socket) -> bool:
    try:
        return server.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_second_check_replaces_the_first(world: ProbeWorld) -> None:
    """Two checks of one service have one answer, that of the second."""
    first = world.http()
    with world.http() as second:
        assert first.recv(1) == b""
        first.close()
        second.send(_OK)
        assert world.answer().passed


def test_a_stale_epoll_event_is_ignored(world: ProbeWorld) -> None:
    """An event for the earlier owner of a descriptor number, in the same turn, is not an answer."""
    with world.http():
        check = world.probes._checks["web"]
        for _ in range(3):
            world.probes._continue(check)
        assert world.facts == []


def test_deadlines_do_not_accumulate(world: ProbeWorld) -> None:
    """Thousands of checks that ended in time do not leave thousands of deadlines."""
    for number in range(5000):
        world.run_probe(asked("http", f"web{number % 10}", host="127.0.0.1", port=world.port), now=float(number))
        world.probes.stop(f"web{number % 10}")
        assert len(world.poller._timers._heap) < 200
        world.server.accept()[0].close()
