"""reactor/sockets.py: sockets that exist before a service starts and stay through its restarts, on the real kernel."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from cohabit.plan.model import Plan, Service, Socket
from cohabit.reactor.processes import spawn
from cohabit.reactor.sockets import Sockets
from linux.run import AT_MOST_SECONDS, MAIN
from linux.spawned import PYTHON, described, run


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Give Sockets that are closed at the end."""
    opened = Sockets()
    yield opened
    opened.close()


@pytest.fixture
def open_folder() -> Iterator[str]:
    """Give a world-writable directory that every user can reach."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o777)  # noqa: S103 - intended
        yield path


def plan(**services: tuple[Socket, ...]) -> Plan:
    """A plan of services with these sockets."""
    return Plan({name: Service(name, ("x",), sockets=wanted) for name, wanted in services.items()})


def tcp(port: int, host: str = "127.0.0.1", **more: object) -> Socket:
    """A socket on the loopback interface."""
    return Socket("web", "inet6" if ":" in host else "inet", "stream", host, port).replace(**more)


def unix(path: Path | str, **more: object) -> Socket:
    """A socket with a file."""
    return Socket("app", "unix", "stream", str(path)).replace(**more)


def test_a_client_waits_for_a_service_that_is_not_running(sockets: Sockets, port: int) -> None:
    """Connections queue before the first start and between two runs; the next run serves them."""
    assert sockets.prepare(plan(web=(tcp(port),))) == []
    serve = "import socket; s = socket.socket(fileno=3); c, _ = s.accept(); c.sendall(b'%d'); c.close()"
    for turn in (1, 2):
        with socket.create_connection(("127.0.0.1", port)) as client:
            wanted = tuple((fd, 3 + i) for i, fd in enumerate(sockets.descriptors("web")))
            assert run(*PYTHON, serve % turn, descriptors=wanted, listen_names=sockets.names("web")).code == 0
            assert client.recv(9) == b"%d" % turn


def test_reload_keeps_opens_and_closes_sockets(sockets: Sockets, port: int, tmp_path: Path) -> None:
    """A reload keeps a socket with its queued clients, whatever its service and its name."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert sockets.prepare(plan(web=(tcp(port), unix(first)))) == []
    kept, _ = sockets.descriptors("web")
    with socket.create_connection(("127.0.0.1", port)):
        assert sockets.prepare(plan(api=(unix(second), tcp(port, name="http")))) == []
        assert sockets.descriptors("web") == ()
        assert sockets.descriptors("api")[1] == kept
        assert sockets.names("api") == ("app", "http")
        assert socket.socket(fileno=os.dup(kept)).accept()
    assert (first.exists(), second.exists()) == (False, True)


def test_replicas_share_their_sockets(sockets: Sockets, port: int) -> None:
    """Each instance of a service gets the same socket."""
    one = (tcp(port),)
    services = {name: Service(name, ("x",), service="web", sockets=one) for name in ("web-1", "web-2")}
    assert sockets.prepare(Plan(services)) == []
    assert sockets.descriptors("web-1") == sockets.descriptors("web-2") != ()


def test_failed_socket_changes_nothing(sockets: Sockets, port: int, tmp_path: Path) -> None:
    """The diagnostics name each service and address; nothing was opened, closed or renamed."""
    path = tmp_path / "new"
    assert sockets.prepare(plan(web=(tcp(port),))) == []
    before = sockets.descriptors("web")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = taken.getsockname()[1]
        problems = sockets.prepare(plan(api=(unix(path), tcp(other), tcp(1, "192.0.2.1"))))
        busy = "the address is in use (stop the process that uses it, or choose another address)"
        assert problems == [
            f"api: cannot listen on 127.0.0.1:{other}: {busy}",
            "api: cannot listen on 192.0.2.1:1: no interface has this address (use 0.0.0.0 for all interfaces)",
        ]
    assert sockets.descriptors("web") == before
    assert sockets.descriptors("api") == ()
    assert not path.exists()


def test_addresses_of_every_kind(sockets: Sockets, port: int, tmp_path: Path) -> None:
    """Stream sockets listen, datagram sockets are bound; an abstract name has no file."""
    name = f"@cohabit-{os.getpid()}"
    wanted = (
        tcp(port),
        Socket("dns", "inet", "dgram", "127.0.0.1", port),
        tcp(port, "::1"),
        unix(tmp_path / "a" / "b" / "s"),
        Socket("log", "unix", "dgram", str(tmp_path / "log")),
        unix(name),
    )
    assert sockets.prepare(plan(web=wanted)) == []
    found = [socket.socket(fileno=os.dup(fd)) for fd in sockets.descriptors("web")]
    assert [one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for one in found] == [1, 0, 1, 1, 0, 1]
    assert found[5].getsockname() == b"\0" + name[1:].encode()
    assert not any(one.get_inheritable() for one in found)


class TestFiles:
    """The files of unix sockets."""

    def test_mode_and_owner(self, sockets: Sockets, tmp_path: Path) -> None:
        """0666 unless configured otherwise, independent of the umask; a reload may change them."""
        before = os.umask(0o077)
        path = tmp_path / "s"
        assert sockets.prepare(plan(web=(unix(path),))) == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert sockets.prepare(plan(web=(unix(path, mode=0o600, uid=12345, gid=12346),))) == []
        assert os.umask(before) == 0o077
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o600, 12345, 12346)

    def test_stale_file_is_replaced(self, sockets: Sockets, tmp_path: Path) -> None:
        """Such a file is left behind in a volume by a killed container."""
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            path = tmp_path / f"s{int(kind)}"
            with socket.socket(socket.AF_UNIX, kind) as stale:
                stale.bind(str(path))
            name = "stream" if kind == socket.SOCK_STREAM else "dgram"
            assert sockets.prepare(plan(web=(unix(path, kind=name),))) == []

    def test_file_of_a_listening_socket_stays(self, sockets: Sockets, tmp_path: Path) -> None:
        """Whatever its type; so does a file that is not a socket."""
        busy, log, file = tmp_path / "busy", tmp_path / "log", tmp_path / "file"
        file.write_text("precious")
        with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            other.bind(str(busy))
            other.listen()
            datagrams.bind(str(log))
            in_use = "the address is in use (stop the process that uses it, or choose another address)"
            assert sockets.prepare(plan(w=(unix(busy), unix(log), unix(file)))) == [
                f"w: cannot listen on {busy}: {in_use}",
                f"w: cannot listen on {log}: {in_use}",
                f"w: cannot listen on {file}: the file exists and is not a socket (remove it, or choose another path)",
            ]
        assert busy.is_socket()
        assert log.is_socket()
        assert file.read_text() == "precious"

    def test_replaced_file_is_not_removed(self, sockets: Sockets, tmp_path: Path) -> None:
        """Closing removes cohabit's own file only."""
        path = tmp_path / "s"
        assert sockets.prepare(plan(web=(unix(path),))) == []
        path.unlink()
        path.write_text("not ours")
        sockets.close()
        assert path.read_text() == "not ours"


def test_a_re_execution_keeps_sockets(sockets: Sockets, port: int, tmp_path: Path) -> None:
    """The saved state leads to the same descriptors, close-on-exec again; a later reload knows them."""
    wanted = plan(web=(tcp(port), unix(tmp_path / "s")))
    assert sockets.prepare(wanted) == []
    for fd in sockets.inheritable():
        os.set_inheritable(fd, True)
    plain = sockets.to_plain()
    for one in sockets._open.values():  # an exec drops the objects, not the descriptors
        one.socket.detach()
    sockets._open.clear()
    after = Sockets()
    after.restore(plain)
    assert after.descriptors("web") == tuple(fd for _, fd, *_ in plain["sockets"])
    assert after.names("web") == ("web", "app")
    assert not any(map(os.get_inheritable, after.inheritable()))
    before = after.descriptors("web")
    assert after.prepare(wanted) == []
    assert after.descriptors("web") == before
    after.close()
    assert not (tmp_path / "s").exists()


def test_missing_privileges_are_explained(namespaces: None, open_folder: str) -> None:
    """A low port, a directory of another user, a file for another owner: each has its own message."""
    del namespaces
    program = (
        "import os\n"
        "from cohabit.plan.model import *\n"
        "from cohabit.reactor.sockets import Sockets\n"
        "os.setgroups([]); os.setresgid(*[12346] * 3); os.setresuid(*[12345] * 3)\n"
        "def ask(*one): print(*Sockets().prepare(Plan({'w': Service('w', ('x',), sockets=(Socket('w', *one),))})))\n"
        "ask('inet', 'stream', '127.0.0.1', 80)\n"
        "ask('unix', 'stream', '/run/cohabit-test/s')\n"
        "ask('unix', 'stream', '/etc/s')\n"
        f"ask('unix', 'stream', '{open_folder}/s', 0, 1, None, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(MAIN))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    port, below, folder_of_root, owner = done.stdout.splitlines()
    assert port.startswith("w: cannot listen on 127.0.0.1:80: permission denied (ports below 1024 need root or CAP_N")
    assert below.startswith("w: cannot listen on /run/cohabit-test/s: permission denied: /run/cohabit-test is not w")
    assert folder_of_root.startswith("w: cannot listen on /etc/s: permission denied: its directory is not w")
    assert owner.startswith(f"w: cannot listen on {open_folder}/s: cannot change the owner of its file (t")
    assert os.listdir(open_folder) == []


APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


class Load:
    """Clients that send requests repeatedly, each on a new connection, until they are stopped."""

    def __init__(self, port: int) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._port = port
        self._ends = False
        self._answered = threading.Condition()
        self._clients = [threading.Thread(target=self._ask) for _ in range(4)]
        for client in self._clients:
            client.start()

    def until_answered(self, more: int) -> None:
        """Wait for this many further answers."""
        with self._answered:
            wanted = self.answers + more
            assert self._answered.wait_for(lambda: self.answers >= wanted or self.failures, AT_MOST_SECONDS)
            assert self.failures == []

    def end(self) -> None:
        """Let the clients finish."""
        self._ends = True
        for client in self._clients:
            client.join()

    def _ask(self) -> None:
        while not self._ends:
            try:
                with socket.create_connection(("127.0.0.1", self._port), AT_MOST_SECONDS) as client:
                    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    answer = b"".join(iter(lambda: client.recv(4096), b""))
                failure = "" if b" 200 " in answer[:20] else f"answered {answer!r}"
            except OSError as error:
                failure = str(error)
            with self._answered:
                self.answers += not failure
                self.failures += [failure] if failure else []
                self._answered.notify_all()


def _gunicorn(sockets: Sockets, directory: Path) -> int:
    """Start it as the service web; returns its pid."""
    start = described(sys.executable, "-m", "gunicorn", "--log-level=error", "--no-control-socket", "app:app")
    start.directory = str(directory)
    start.descriptors = tuple((fd, 3 + i) for i, fd in enumerate(sockets.descriptors("web")))
    start.listen_names = sockets.names("web")
    pid, errors = spawn.spawn(start)
    os.close(errors)
    return pid


@pytest.mark.skipif(find_spec("gunicorn") is None, reason="gunicorn is not installed (pip install gunicorn)")
def test_gunicorn_restart_under_load_refuses_no_client(sockets: Sockets, port: int, tmp_path: Path) -> None:
    """It finds the socket by LISTEN_FDS; clients that connect while it is down are served by the next run."""
    (tmp_path / "app.py").write_text(APP)
    assert sockets.prepare(plan(web=(tcp(port),))) == []
    load, pid = Load(port), _gunicorn(sockets, tmp_path)
    try:
        for _ in range(3):
            load.until_answered(50)
            os.kill(pid, signal.SIGTERM)
            assert spawn.exit_code(os.waitpid(pid, 0)[1]) == 0
            pid = _gunicorn(sockets, tmp_path)
        load.until_answered(50)
    finally:
        load.end()
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    assert load.failures == []
