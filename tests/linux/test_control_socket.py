"""The control socket of a real cohabit: no client can kill or block process 1 or make its memory grow."""

import io
import json
import os
import signal
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from linux import processes
from linux.conftest import Gate, Start
from linux.run import AT_MOST_SECONDS, COHABIT, Run, shell

BEAT = {"command": shell("while read x; do echo beat; done < gate")}
SLEEP = {"command": ["sleep", "1000"]}
CLIENTS = 100  # at once, as the reference says; as many more wait in the kernel's queue
GROWTH_KIB = 16_384  # of process 1: 8 MiB of unread answers and their Python objects


class Server:
    """A cohabit whose service `beat` writes a line for each line in the gate, and clients of it."""

    def __init__(self, run: Run, path: str, gate: Gate | None = None) -> None:
        self.run = run
        self.path = path
        self.gate = gate
        self._stack = ExitStack()

    def connect(self, data: bytes = b"") -> socket.socket:
        """A client that has sent this data and stays connected until the test ends."""
        client = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(AT_MOST_SECONDS), 0))
        client.connect(self.path)
        client.settimeout(AT_MOST_SECONDS)
        if data:  # a client that was refused is closed already, and even an empty send would fail
            client.sendall(data)
        return client

    def ask(self, request: str) -> tuple[int, str, list[bytes]]:
        """Return code, text and body of an answer."""
        with self.connect(f"cohabit/2 {request}\n".encode()) as client:
            head, *body = everything(client).split(b"\n")
        code, _, text = head.decode().split(" ", 2)
        return int(code), text, body[:-1]

    def disconnect_all(self) -> None:
        """Close all connections."""
        self._stack.close()

    def beat(self) -> None:
        """Request a line and wait until process 1 has forwarded it."""
        assert self.gate
        before = len(self.run.lines("beat", "out"))
        self.gate.open()
        self.run.until(lambda: len(self.run.lines("beat", "out")) > before, "another beat")

    def rss_kib(self) -> int:
        """Return the resident memory of process 1."""
        return int(processes.status(self.run.pid, "VmRSS"))

    def descriptors(self) -> int:
        """Return the number of open descriptors of process 1."""
        return len(os.listdir(f"/proc/{self.run.pid}/fd"))

    def pids(self) -> dict[str, int]:
        """Return the main process of each service."""
        found = [json.loads(line) for line in self.ask("status")[2]]
        return {one["name"]: one["pid"] for one in found[1:]}


def everything(client: socket.socket) -> bytes:
    """Return everything that a client receives until the server closes the connection."""
    data = bytearray()
    try:
        while piece := client.recv(1 << 20):
            data += piece
    except ConnectionResetError:  # the client has sent more than was read
        pass
    return bytes(data)


@pytest.fixture
def server(up: Start, tmp_path: Path, gate: Gate) -> Iterator[Server]:
    """Give a cohabit with a few services; the test fails if it has changed or cannot be stopped afterwards."""
    services = {"beat": BEAT, "web": SLEEP, "two": {**SLEEP, "scale": 2}}
    run = up(services, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    server = Server(run, str(tmp_path / "run" / "control"), gate)
    run.until_printed("two-2: started")
    run.until(lambda: server.ask("health")[0] == 0, "all to be ready")
    server.beat()
    pids, descriptors, rss_kib = server.pids(), server.descriptors(), server.rss_kib()
    yield server
    server.disconnect_all()
    run.until(lambda: server.ask("health")[0] == 0, "health to succeed")
    assert server.pids() == pids
    run.until(lambda: server.descriptors() == descriptors, f"{descriptors} descriptors")
    assert server.rss_kib() < rss_kib + GROWTH_KIB
    server.beat()
    assert run.stop() == 0
    assert "Traceback" not in run.text
    assert "re-executed" not in run.text


# --- requests --------------------------------------------------------------------------------------------

# Commands that change no service; all others get unknown names.
READ_ONLY = some.sampled_from(["version", "status", "health", "events", "logs", "wait", "service", "reload", "x" * 100])
CHANGING = some.sampled_from(["start", "stop", "restart", "kill", "scale"])
NAMES = some.sampled_from(["web", "two", "two-1", "beat", "", "cohabit", "\0", "ü"]) | some.text(max_size=20)
VALUES = some.sampled_from(["yes", "no", "exit", "ready", "live", "1e308", "nan", "-1", "9" * 5000, "٣"]) | some.text()
OPTIONS = some.tuples(
    some.sampled_from(["output", "for", "wait", "follow", "since", "tail", "signal", "x", ""]), VALUES
).map("=".join)
REQUESTS = some.one_of(
    some.tuples(READ_ONLY, some.lists(NAMES | OPTIONS, max_size=5)),
    some.tuples(CHANGING, some.lists(NAMES.map(lambda name: f"no-{name}") | OPTIONS, min_size=1, max_size=5)),
).map(lambda request: " ".join(("cohabit/2", request[0], *request[1])).encode() + b"\n")
NUMBERED = some.tuples(REQUESTS, some.sampled_from([b"#1", b"#2", b"#999999999", b"#", b"#x"])).map(
    lambda pair: pair[0].replace(b" ", b" " + pair[1] + b" ", 1)
)
BYTES = some.one_of(some.binary(max_size=300), REQUESTS, NUMBERED, REQUESTS.map(lambda line: line[:-5]))
AFTER = some.sampled_from(["go", "read", "shut", "stay"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clients=some.lists(some.tuples(some.lists(BYTES, max_size=3), AFTER), min_size=1, max_size=4))
def test_arbitrary_requests_change_nothing(server: Server, clients: list[tuple[list[bytes], str]]) -> None:
    """Bytes, partial and whole requests, from clients that disconnect, read a little, close one half, or stay."""
    for pieces, after in clients:
        client = server.connect()
        try:
            for piece in pieces:
                client.sendall(piece)
            if after == "read" and b"\n" in b"".join(pieces):
                assert client.recv(1 << 16)[:1] in b"0123456789#"
            if after in ("read", "shut"):
                client.shutdown(socket.SHUT_WR)
        except OSError:
            continue  # the client has been answered and disconnected
        if after == "go":
            client.close()
    server.disconnect_all()
    assert server.ask("version")[0] == 0


def test_endless_request_is_refused(server: Server) -> None:
    """A client that sends without end gets an error and is disconnected long before it has finished."""
    client = server.connect()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        client.sendall(b"cohabit/2 " + b"x" * (1 << 26))
    assert everything(client).startswith(b"64 bad_request cannot read the request: it is longer than 65536 bytes")


def test_request_of_maximum_length_is_answered(server: Server) -> None:
    """A request of the maximum length is answered like any other."""
    assert server.ask("health " + " ".join(["two-2"] * 10_000)) == server.ask("health two-2")
    assert server.ask("status " + "no " * 20_000)[0] == 64


def test_thousands_of_connections(server: Server) -> None:
    """With and without data, and the services continue."""
    for number in range(3000):
        with server.connect(b"" if number % 3 else b"cohabit/2 health\n"):
            pass
        if number % 500 == 0:
            server.beat()


def test_all_connections_in_use(server: Server) -> None:
    """Silent clients delay only other silent ones; when they have disconnected, waiting clients are served."""
    silent = [server.connect() for _ in range(CLIENTS)]
    server.run.until(lambda: server.descriptors() > CLIENTS, "all connections to be in use")
    late = server.connect(b"cohabit/2 version\n")
    server.beat()
    for client in silent:
        client.close()
    assert everything(late).startswith(b"0 ok cohabit ")


def test_many_waiting_clients(server: Server) -> None:
    """80 clients wait; one more is refused, and health is answered meanwhile."""
    waiting = [server.connect(b"cohabit/2 wait for=exit\n") for _ in range(80)]
    server.run.until(lambda: server.ask("wait for=exit")[0] == 71, "a refusal")
    assert server.ask("health")[0] == 0
    for _ in range(100):
        server.beat()
    assert len(waiting) == 80


def test_unread_answers_are_limited(up: Start, tmp_path: Path, gate: Gate) -> None:
    """90 clients request the whole log and never read: process 1 buffers little of it, and reports how little."""
    # The last lines of 64 services are 64 KiB each; these are a little more.
    services = {f"s{number}": {"command": shell("seq 14000; exec sleep 1000")} for number in range(64)}
    run = up({**services, "beat": BEAT}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    server = Server(run, str(tmp_path / "run" / "control"), gate)
    run.until_printed("| 14000\n", times=64)
    rss_kib = server.rss_kib()
    unread = [server.connect(b"cohabit/2 logs\n") for _ in range(CLIENTS - 10)]
    for client in unread:
        client.recv(1)  # it is answered
    server.beat()
    assert server.rss_kib() < rss_kib + GROWTH_KIB
    assert b" dropped " in everything(unread[-1]).split(b"\n")[1]
    server.disconnect_all()
    assert run.stop() == 0


def test_few_descriptors_refuse_clients_first(up: Start, tmp_path: Path, gate: Gate) -> None:
    """With 64 descriptors, clients are refused before services lack any, and process 1 does not spin."""
    services = {"beat": BEAT, "web": {"command": shell("echo up; exec sleep 1000"), "restart": "always"}}
    run = up(services, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")}, above=("prlimit", "--nofile=64:64"))
    server = Server(run, str(tmp_path / "run" / "control"), gate)
    run.until_printed("| up")
    silent = [server.connect() for _ in range(64)]
    assert b"71 busy too few file descriptors: the last 32 are reserved for the services" in everything(silent[-1])
    os.kill(run.one("sleep 1000").pid, signal.SIGKILL)
    run.until_printed("| up", 2)
    server.beat()
    run.until(lambda: getattr(processes.find(run.pid), "state", "") == "S", "process 1 to sleep")
    server.disconnect_all()
    assert run.stop() == 0


# --- streams ---------------------------------------------------------------------------------------------

LINES = 100_000


def numbers(records: bytes) -> tuple[list[int], int]:
    """Return the numbers in a stream of `logs`, and how many bytes it reports as omitted."""
    rest = io.BytesIO(records)
    rest.readline()
    found, dropped = [], 0
    while header := rest.readline():
        _, stream, _, size = header.decode().split(" ")
        data = rest.read(int(size))
        if stream == "dropped":
            dropped += int(data)
        else:
            found += [int(line) for line in data.split()]
    return found, dropped


def test_fifty_followers_half_of_which_never_read(up: Start, tmp_path: Path, gate: Gate) -> None:
    """The service's output is complete, readers get each line or the number omitted, and memory stays bounded."""
    flood = {"command": shell(f"read x < go; seq {LINES}; exec sleep 1000")}
    os.mkfifo(tmp_path / "go")
    run = up({"web": flood, "beat": BEAT}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    server = Server(run, str(tmp_path / "run" / "control"), gate)
    run.until_printed("web: started")
    clients = [server.connect(b"cohabit/2 logs web follow=yes\n") for _ in range(50)]
    for client in clients:
        assert client.recv(6) == b"0 ok \n"
    rss_kib, readers = server.rss_kib(), clients[::2]
    heard = {client: bytearray(b"0 ok \n") for client in readers}
    for client in readers:
        client.setblocking(False)
    (tmp_path / "go").write_text("\n", encoding="ascii")

    def all_is_out() -> bool:
        for client in readers:
            try:
                heard[client] += client.recv(1 << 20)
            except BlockingIOError:
                pass
        end = f"{LINES}\n".encode()
        return all(data.endswith(end) for data in heard.values()) and run.out.endswith(b"| " + end)

    run.until(all_is_out, "the last line everywhere")
    assert [int(line) for line in run.lines("web", "out")] == list(range(1, LINES + 1))
    for data in heard.values():
        found, dropped = numbers(bytes(data))
        assert found == sorted(set(found))
        assert dropped or found == list(range(1, LINES + 1))
        assert not dropped or len(found) < LINES
    # 25 streams with 256 KiB each, one record more, and Python's overhead for the pieces.
    assert server.rss_kib() < rss_kib + GROWTH_KIB
    server.beat()
    assert run.stop() == 0


def test_waiting_and_following_clients_survive_a_reexecution(up: Start, tmp_path: Path, gate: Gate) -> None:
    """No line is lost or repeated, and a client that waits for an exit gets its code."""
    count = {"command": shell("n=0; while read x; do n=$((n+1)); echo $n; done < gate"), "essential": False}
    os.mkfifo(tmp_path / "end")
    job = {"command": shell("read x < end; exit 3"), "essential": False}
    run = up({"count": count, "job": job}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    server = Server(run, str(tmp_path / "run" / "control"), gate)
    run.until_printed("job: started")
    follower = server.connect(b"cohabit/2 logs count follow=yes\n")
    waiter = server.connect(b"cohabit/2 wait job for=exit\n")
    assert follower.recv(6) == b"0 ok \n"
    heard = bytearray(b"0 ok \n")
    for times in (1, 2, 3):
        gate.open()
        while not heard.endswith(f"\n{times}\n".encode()):
            heard += follower.recv(1 << 16)
        assert server.ask("reexec")[0] == 0
        run.until_printed("re-executed", times)
    assert numbers(bytes(heard)) == ([1, 2, 3], 0)
    (tmp_path / "end").write_text("\n", encoding="ascii")
    assert everything(waiter).startswith(b"3 ")
    assert run.stop() == 0


# --- directories and the end -----------------------------------------------------------------------------


def test_waiting_client_is_answered_at_the_end_of_the_container(up: Start, tmp_path: Path, gate: Gate) -> None:
    """The exit of the only service also ends the container: its code is sent before the connections are closed."""
    run = up(
        {"job": {"command": shell("read x < gate; exit 3")}}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")}
    )
    server = Server(run, str(tmp_path / "run" / "control"), gate)
    run.until_printed("job: started")
    waiter = server.connect(b"cohabit/2 wait job for=exit\n")
    follower = server.connect(b"cohabit/2 events follow=yes\n")
    assert follower.recv(6) == b"0 ok \n"
    gate.open()
    assert everything(waiter).startswith(b"3 ")
    assert run.wait() == 3
    assert b'"EXITED"' in everything(follower)


def test_given_runtime_directory_is_left_unchanged(up: Start, tmp_path: Path) -> None:
    """COHABIT_RUNTIME_DIR: the socket is created with mode 0666 and removed at the end; other files stay."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "other").touch()
    run = up({"web": SLEEP}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    run.until_printed("web: started")
    mode = (tmp_path / "run" / "control").stat().st_mode
    assert (stat.S_ISSOCK(mode), mode & 0o777) == (True, 0o666)
    assert run.stop() == 0
    assert os.listdir(tmp_path / "run") == ["other"]


@pytest.mark.parametrize("end", [signal.SIGTERM, None], ids=["stop", "down"])
def test_own_runtime_directory_is_removed(up: Start, end: int | None) -> None:
    """With /run of its own: the socket is found there while cohabit runs, and nothing is left at the end."""
    script = 'mount -t tmpfs none /run; exec sh -c \'"$@"; code=$?; find /run -mindepth 2 >&2; exit $code\' sh "$@"'
    command = shell(f"ls /run/cohabit/*/control; {' '.join(COHABIT)} health; echo said; exec sleep 1000")
    if end is None:
        command = shell(f"ls /run/cohabit/*/control; {' '.join(COHABIT)} down; echo said; exec sleep 1000")
    run = up({"web": {"command": command}}, setup=script, process_1=False)
    if end:
        run.until_printed("said")
        run.one("sleep 1000")
        descendants = processes.descendants(run.process.pid)
        os.kill(next(one.pid for one in descendants if one.command.startswith(" ".join((*COHABIT, "up")))), end)
    assert run.wait() == 0
    assert run.lines("web")[0].startswith("/run/cohabit/")
    assert "/run/" not in bytes(run.err).decode()


def test_without_a_writable_directory(up: Start) -> None:
    """No directory is writable: one warning, and the services run and stop as usual."""
    bound = "mount --bind {0} {0}; mount -o remount,bind,ro {0}\n"
    run = up({"web": SLEEP}, setup="".join(map(bound.format, ("/run", "/tmp", "/dev/shm"))))
    run.until_printed("web: started")
    warnings = [line for line in run.lines("cohabit") if "socket" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("cannot open the control socket: no directory")
    assert run.stop() == 0
