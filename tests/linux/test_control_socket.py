"""The control socket of a real cohabit: nothing a client sends kills, blocks or grows process 1."""

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
CLIENTS = 100  # at once, as the reference says; so many more wait in the kernel's queue
GROWTH_KIB = 16_384  # of process 1: 8 MiB of answers that nobody reads, and what they are made of


class House:
    """A cohabit in which `beat` writes a line for each one in the gate, and a way to talk to it."""

    def __init__(self, life: Run, path: str, gate: Gate | None = None) -> None:
        self.life = life
        self.path = path
        self.gate = gate
        self._stack = ExitStack()

    def connect(self, data: bytes = b"") -> socket.socket:
        """Somebody who has said this, and is there until the test is over."""
        client = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(AT_MOST_SECONDS), 0))
        client.connect(self.path)
        client.settimeout(AT_MOST_SECONDS)
        client.sendall(data)
        return client

    def ask(self, words: str) -> tuple[int, str, list[bytes]]:
        """Return code, text and body of an answer."""
        with self.connect(f"cohabit/2 {words}\n".encode()) as client:
            head, *body = everything(client).split(b"\n")
        code, _, text = head.decode().partition(" ")
        return int(code), text, body[:-1]

    def hang_up(self) -> None:
        """Everybody who is connected goes."""
        self._stack.close()

    def beat(self) -> None:
        """Have a line written, and wait until it has come out through process 1."""
        assert self.gate
        before = len(self.life.lines("beat", "out"))
        self.gate.open()
        self.life.until(lambda: len(self.life.lines("beat", "out")) > before, "another beat")

    def rss_kib(self) -> int:
        """Return what process 1 has of memory."""
        return int(processes.status(self.life.pid, "VmRSS"))

    def descriptors(self) -> int:
        """Return how many process 1 has open."""
        return len(os.listdir(f"/proc/{self.life.pid}/fd"))

    def pids(self) -> dict[str, int]:
        """Return the main process of each service."""
        found = [json.loads(line) for line in self.ask("status")[2]]
        return {one["name"]: one["pid"] for one in found[1:]}


def everything(client: socket.socket) -> bytes:
    """Return what somebody gets until he is hung up on."""
    data = bytearray()
    try:
        while piece := client.recv(1 << 20):
            data += piece
    except ConnectionResetError:  # he has said more than was read
        pass
    return bytes(data)


@pytest.fixture
def house(up: Start, tmp_path: Path, gate: Gate) -> Iterator[House]:
    """Give one with a few services, which is as it was when the test is over, and can be stopped."""
    services = {"beat": BEAT, "web": SLEEP, "two": {**SLEEP, "scale": 2}}
    life = up(services, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    house = House(life, str(tmp_path / "run" / "control"), gate)
    life.until_printed("two-2: started")
    life.until(lambda: house.ask("health")[0] == 0, "all to be ready")
    house.beat()
    pids, descriptors, rss_kib = house.pids(), house.descriptors(), house.rss_kib()
    yield house
    house.hang_up()
    life.until(lambda: house.ask("health")[0] == 0, "health to be well")
    assert house.pids() == pids
    life.until(lambda: house.descriptors() == descriptors, f"{descriptors} descriptors")
    assert house.rss_kib() < rss_kib + GROWTH_KIB
    house.beat()
    assert life.stop() == 0
    assert "Traceback" not in life.text
    assert "re-executed" not in life.text


# --- what is sent ----------------------------------------------------------------------------------------

# Verbs that change nothing of who lives; all others with names that nobody has.
LOOKING = some.sampled_from(["version", "status", "health", "events", "logs", "wait", "service", "reload", "x" * 100])
ACTING = some.sampled_from(["start", "stop", "restart", "kill", "scale"])
NAMES = some.sampled_from(["web", "two", "two-1", "beat", "", "cohabit", "\0", "ü"]) | some.text(max_size=20)
VALUES = some.sampled_from(["yes", "no", "exit", "ready", "live", "1e308", "nan", "-1", "9" * 5000, "٣"]) | some.text()
OPTIONS = some.tuples(
    some.sampled_from(["output", "for", "wait", "follow", "since", "tail", "signal", "x", ""]), VALUES
).map("=".join)
REQUESTS = some.one_of(
    some.tuples(LOOKING, some.lists(NAMES | OPTIONS, max_size=5)),
    some.tuples(ACTING, some.lists(NAMES.map(lambda name: f"no-{name}") | OPTIONS, min_size=1, max_size=5)),
).map(lambda request: " ".join(("cohabit/2", request[0], *request[1])).encode() + b"\n")
BYTES = some.one_of(some.binary(max_size=300), REQUESTS, REQUESTS.map(lambda line: line[:-5]))
AFTER = some.sampled_from(["go", "read", "shut", "stay"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clients=some.lists(some.tuples(some.lists(BYTES, max_size=3), AFTER), min_size=1, max_size=4))
def test_whatever_is_sent(house: House, clients: list[tuple[list[bytes], str]]) -> None:
    """Bytes, half requests and whole ones, from those who go, read a bit, close their half, or just stay."""
    for pieces, after in clients:
        client = house.connect()
        try:
            for piece in pieces:
                client.sendall(piece)
            if after == "read" and b"\n" in b"".join(pieces):
                assert client.recv(1 << 16)[:1] in b"0123456789"
            if after in ("read", "shut"):
                client.shutdown(socket.SHUT_WR)
        except OSError:
            continue  # he has been answered and hung up on
        if after == "go":
            client.close()
    house.hang_up()
    assert house.ask("version")[0] == 0


def test_a_request_that_never_ends(house: House) -> None:
    """Who goes on and on is told so, and hung up on, long before he is through."""
    client = house.connect()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        client.sendall(b"cohabit/2 " + b"x" * (1 << 26))
    assert everything(client).startswith(b"64 cannot read the request: it is longer than 65536 bytes")


def test_one_name_very_often(house: House) -> None:
    """A request as long as can be is answered as any other one."""
    assert house.ask("health " + " ".join(["two-2"] * 10_000)) == house.ask("health two-2")
    assert house.ask("status " + "no " * 20_000)[0] == 64


def test_thousands_come_and_go(house: House) -> None:
    """With and without a word, and the services go on."""
    for number in range(3000):
        with house.connect(b"" if number % 3 else b"cohabit/2 health\n"):
            pass
        if number % 500 == 0:
            house.beat()


def test_all_places_are_taken(house: House) -> None:
    """Those who say nothing hold nothing up but others of their kind; when they have gone, who waited is served."""
    silent = [house.connect() for _ in range(CLIENTS)]
    house.life.until(lambda: house.descriptors() > CLIENTS, "all places to be taken")
    late = house.connect(b"cohabit/2 version\n")
    house.beat()
    for client in silent:
        client.close()
    assert everything(late).startswith(b"0 cohabit ")


def test_many_wait_and_the_services_go_on(house: House) -> None:
    """80 who wait; one more is refused, and health is answered beside them."""
    waiting = [house.connect(b"cohabit/2 wait for=exit\n") for _ in range(80)]
    house.life.until(lambda: house.ask("wait for=exit")[0] == 71, "a refusal")
    assert house.ask("health")[0] == 0
    for _ in range(100):
        house.beat()
    assert len(waiting) == 80


def test_nobody_reads_his_answer(up: Start, tmp_path: Path, gate: Gate) -> None:
    """All that is remembered, asked for by 90 who never read: process 1 keeps little of it, and says how little."""
    services = {f"s{number}": {"command": shell("seq 30000; exec sleep 1000")} for number in range(64)}
    life = up({**services, "beat": BEAT}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    house = House(life, str(tmp_path / "run" / "control"), gate)
    life.until_printed("| 30000\n", times=64)
    rss_kib = house.rss_kib()
    deaf = [house.connect(b"cohabit/2 logs\n") for _ in range(CLIENTS - 10)]
    for client in deaf:
        client.recv(1)  # it is answered
    house.beat()
    assert house.rss_kib() < rss_kib + GROWTH_KIB
    assert b" dropped " in everything(deaf[-1]).split(b"\n")[1]
    house.hang_up()
    assert life.stop() == 0


def test_few_descriptors(up: Start, tmp_path: Path, gate: Gate) -> None:
    """With 64 of them, clients are refused before the services lack any; nobody spins."""
    services = {"beat": BEAT, "web": {"command": shell("echo up; exec sleep 1000"), "restart": "always"}}
    life = up(services, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")}, above=("prlimit", "--nofile=64:64"))
    house = House(life, str(tmp_path / "run" / "control"), gate)
    life.until_printed("| up")
    silent = [house.connect() for _ in range(64)]
    assert b"71 too few file descriptors: the last 32 are reserved for the services" in everything(silent[-1])
    os.kill(life.one("sleep 1000").pid, signal.SIGKILL)
    life.until_printed("| up", 2)
    house.beat()
    life.until(lambda: getattr(processes.look(life.pid), "state", "") == "S", "process 1 to sleep")
    house.hang_up()
    assert life.stop() == 0


# --- streams ---------------------------------------------------------------------------------------------

LINES = 100_000


def numbers(records: bytes) -> tuple[list[int], int]:
    """Return the numbers that a stream of `logs` holds, and how many bytes it says were left out."""
    _, _, rest = records.partition(b"\n")
    found, dropped = [], 0
    while rest:
        header, _, rest = rest.partition(b"\n")
        _, stream, _, size = header.decode().split(" ")
        data, rest = rest[: int(size)], rest[int(size) :]
        if stream == "dropped":
            dropped += int(data)
        else:
            found += [int(line) for line in data.split()]
    return found, dropped


def test_fifty_follow_and_half_of_them_never_read(up: Start, tmp_path: Path, gate: Gate) -> None:
    """The service's output is complete, readers have each line or know what they miss, and memory stays bounded."""
    flood = {"command": shell(f"read x < go; seq {LINES}; exec sleep 1000")}
    os.mkfifo(tmp_path / "go")
    life = up({"web": flood, "beat": BEAT}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    house = House(life, str(tmp_path / "run" / "control"), gate)
    life.until_printed("web: started")
    clients = [house.connect(b"cohabit/2 logs web follow=yes\n") for _ in range(50)]
    for client in clients:
        assert client.recv(3) == b"0 \n"
    rss_kib, readers = house.rss_kib(), clients[::2]
    heard = {client: bytearray(b"0 \n") for client in readers}
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
        return all(data.endswith(end) for data in heard.values()) and life.out.endswith(b"| " + end)

    life.until(all_is_out, "the last line everywhere")
    assert [int(line) for line in life.lines("web", "out")] == list(range(1, LINES + 1))
    for data in heard.values():
        found, dropped = numbers(bytes(data))
        assert found == sorted(set(found))
        assert dropped or found == list(range(1, LINES + 1))
        assert not dropped or len(found) < LINES
    # 25 with 256 KiB each, and a record more, and what Python needs for the pieces.
    assert house.rss_kib() < rss_kib + GROWTH_KIB
    house.beat()
    assert life.stop() == 0


def test_who_waits_and_who_follows_goes_on_through_a_reexecution(up: Start, tmp_path: Path, gate: Gate) -> None:
    """No line is missed or told twice, and who waits for an end gets its code."""
    count = {"command": shell("n=0; while read x; do n=$((n+1)); echo $n; done < gate"), "essential": False}
    os.mkfifo(tmp_path / "end")
    job = {"command": shell("read x < end; exit 3"), "essential": False}
    life = up({"count": count, "job": job}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    house = House(life, str(tmp_path / "run" / "control"), gate)
    life.until_printed("job: started")
    follower = house.connect(b"cohabit/2 logs count follow=yes\n")
    waiter = house.connect(b"cohabit/2 wait job for=exit\n")
    assert follower.recv(3) == b"0 \n"
    heard = bytearray(b"0 \n")
    for times in (1, 2, 3):
        gate.open()
        while not heard.endswith(f"\n{times}\n".encode()):
            heard += follower.recv(1 << 16)
        assert house.ask("reexec")[0] == 0
        life.until_printed("re-executed", times)
    assert numbers(bytes(heard)) == ([1, 2, 3], 0)
    (tmp_path / "end").write_text("\n", encoding="ascii")
    assert everything(waiter).startswith(b"3 ")
    assert life.stop() == 0


# --- where it is -----------------------------------------------------------------------------------------


def test_at_the_end_of_all_who_waited_for_it_is_answered(up: Start, tmp_path: Path, gate: Gate) -> None:
    """The end of the only service is the container's end, too: its code is told before everybody is hung up on."""
    life = up(
        {"job": {"command": shell("read x < gate; exit 3")}}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")}
    )
    house = House(life, str(tmp_path / "run" / "control"), gate)
    life.until_printed("job: started")
    waiter = house.connect(b"cohabit/2 wait job for=exit\n")
    follower = house.connect(b"cohabit/2 events follow=yes\n")
    assert follower.recv(3) == b"0 \n"
    gate.open()
    assert everything(waiter).startswith(b"3 ")
    assert life.wait() == 3
    assert b'"EXITED"' in everything(follower)


def test_a_directory_that_is_given_is_left_as_it_was(up: Start, tmp_path: Path) -> None:
    """COHABIT_RUNTIME_DIR: the socket is there, for all to write, and gone at the end; what else is there stays."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "other").touch()
    life = up({"web": SLEEP}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    life.until_printed("web: started")
    mode = (tmp_path / "run" / "control").stat().st_mode
    assert (stat.S_ISSOCK(mode), mode & 0o777) == (True, 0o666)
    assert life.stop() == 0
    assert os.listdir(tmp_path / "run") == ["other"]


@pytest.mark.parametrize("end", [signal.SIGTERM, None], ids=["stop", "down"])
def test_nothing_is_left_of_a_directory_of_our_own(up: Start, end: int | None) -> None:
    """With /run to itself: while it runs it is found there, and at the end there is nothing."""
    script = 'mount -t tmpfs none /run; exec sh -c \'"$@"; code=$?; find /run -mindepth 2 >&2; exit $code\' sh "$@"'
    command = shell(f"ls /run/cohabit/*/control; {' '.join(COHABIT)} health; echo said; exec sleep 1000")
    if end is None:
        command = shell(f"ls /run/cohabit/*/control; {' '.join(COHABIT)} down; echo said; exec sleep 1000")
    life = up({"web": {"command": command}}, setup=script, process_1=False)
    if end:
        life.until_printed("said")
        life.one("sleep 1000")
        everybody = processes.descendants(life.process.pid)
        os.kill(next(one.pid for one in everybody if one.command.startswith(" ".join((*COHABIT, "up")))), end)
    assert life.wait() == 0
    assert life.lines("web")[0].startswith("/run/cohabit/")
    assert "/run/" not in bytes(life.err).decode()


def test_no_directory_at_all(up: Start) -> None:
    """Nothing can be written: one line of warning, and the services run and stop as ever."""
    bound = "mount --bind {0} {0}; mount -o remount,bind,ro {0}\n"
    life = up({"web": SLEEP}, setup="".join(map(bound.format, ("/run", "/tmp", "/dev/shm"))))
    life.until_printed("web: started")
    warnings = [line for line in life.lines("cohabit") if "socket" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("cannot open the control socket: no directory")
    assert life.stop() == 0
