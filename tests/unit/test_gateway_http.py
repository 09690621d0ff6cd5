"""The HTTP server of the gateway: credentials, limits, pages and logs, with a cohabit that is a stand-in."""

import base64
import hashlib
import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any
from xmlrpc import client

import pytest

from cohabit.gateway.configuration import Active, Configuration, Group, Process, Server
from cohabit.gateway.faults import FAILED, Fault
from cohabit.gateway.gateway import Gateway
from cohabit.gateway.http import Site
from cohabit.gateway.mirror import Mirror, State


class StandInClient:
    """Knows the command of each service."""

    def service(self, _name: str) -> dict[str, Any]:
        """Its command and environment."""
        return {"command": ["cat"], "environment": {}}


class StandInGateway(Gateway):
    """Without a connection to a cohabit, which is asked for the command of a service only."""

    def client(self) -> Any:
        """Nothing else in a test without a cohabit may be needed of it."""
        return StandInClient()


def running() -> Mirror:
    """One process, which runs."""
    mirror = Mirror()
    mirror.states["web"] = State("RUNNING", 7, 1000.0)
    return mirror


def configuration(**options: Any) -> Configuration:
    """A file with a program `web`."""
    info = {
        "command": "cat",
        "stdout_logfile": options.pop("logfile", "none"),
        "stderr_logfile": "none",
        "autostart": True,
    }
    group = Group("web", 999, (Process("web", "web", info),))
    return Configuration("supervisor", "", True, (group,), (), **options)


class Talk:
    """A connection to a site, which runs in a thread of its own."""

    def __init__(self, server: Server | None = None, **options: Any) -> None:
        self.site = Site(
            StandInGateway(Active(configuration(**options)), running(), configuration), server or Server("unix")
        )
        ours, theirs = socket.socketpair()
        self.thread = threading.Thread(target=self.site._talk, args=(theirs,), daemon=True)
        self.site._slots.acquire()
        self.thread.start()
        ours.settimeout(60)
        self.connection = http.client.HTTPConnection("localhost")
        self.connection.sock = ours

    def close(self) -> None:
        """End the connection and its thread."""
        self.connection.close()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def get(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, str]:
        """The status and the text of an answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, named)
        answer = self.connection.getresponse()
        self.headers = answer.headers
        return answer.status, answer.read().decode()

    def call(self, method: str, *values: Any) -> Any:
        """The result of a method. Raises client.Fault."""
        status, text = self.get("/RPC2", "POST", client.dumps(values, method))
        assert status == 200
        return client.loads(text)[0][0]


@pytest.fixture
def talk() -> Iterator[Talk]:
    """A connection to a server without credentials."""
    talk = Talk()
    yield talk
    talk.close()


def test_methods(talk: Talk) -> None:
    """On one connection; a fault is an answer."""
    assert talk.call("supervisor.getVersion") == "3.0"
    assert talk.call("supervisor.getState") == {"statecode": 1, "statename": "RUNNING"}
    info = talk.call("supervisor.getProcessInfo", "web")
    assert (info["name"], info["statename"], info["pid"]) == ("web", "RUNNING", 7)
    assert talk.call("system.methodSignature", "supervisor.startProcess") == ["boolean", "string", "boolean"]
    assert "@param string name" in talk.call("system.methodHelp", "supervisor.startProcess")


@pytest.mark.parametrize(
    ("method", "values", "code"),
    [
        ("supervisor.nosuch", (), 1),
        ("supervisor.__class__", (), 1),
        ("supervisor.getState.__init__", (), 1),
        ("getState", (), 1),
        ("supervisor.getState", ("x",), 2),
        ("supervisor.startProcess", (), 2),
        ("supervisor.startProcess", ({},), 2),
        ("supervisor.startProcess", ("nosuch",), 10),
        ("supervisor.startProcess", ("web:nosuch",), 10),
        ("supervisor.startProcess", ("web",), 60),
        ("supervisor.startProcessGroup", ("nosuch",), 10),
        ("supervisor.getProcessInfo", ("web:*",), 10),
        ("supervisor.signalProcess", ("web", "NOSUCH"), 11),
        ("supervisor.addProcessGroup", ("nosuch",), 10),
        ("supervisor.addProcessGroup", ("web",), 90),
        ("supervisor.removeProcessGroup", ("web",), 91),
        ("system.methodHelp", ("nosuch",), 4),
    ],
)
def test_faults(talk: Talk, method: str, values: tuple[Any, ...], code: int) -> None:
    """With the codes of supervisord."""
    with pytest.raises(client.Fault) as raised:
        talk.call(method, *values)
    assert raised.value.faultCode == code


def test_every_method_of_supervisord_is_there(talk: Talk) -> None:
    """By the list in its documentation."""
    names = talk.call("system.listMethods")
    assert len(names) == 41
    assert {"supervisor.getAllProcessInfo", "supervisor.sendProcessStdin", "system.multicall"} <= set(names)


def test_several_calls_in_one(talk: Talk) -> None:
    """A fault of one does not prevent the others; a call of itself is refused."""
    calls = [
        {"methodName": "supervisor.getVersion", "params": []},
        {"methodName": "supervisor.nosuch"},
        {"methodName": "system.multicall", "params": [[]]},
        {"params": []},
        "x",
    ]
    first, *others = talk.call("system.multicall", calls)
    assert first == "3.0"
    assert [one["faultCode"] for one in others] == [1, 2, 2, 2]


def test_nothing_is_answered_while_everything_stops(talk: Talk) -> None:
    """SHUTDOWN_STATE."""
    talk.site.gateway.state = -1
    with pytest.raises(client.Fault) as raised:
        talk.call("supervisor.getState")
    assert raised.value.faultCode == 6


def test_without_the_namespace() -> None:
    """A file without [rpcinterface:supervisor] has only `system`."""
    talk = Talk()
    talk.site.gateway.active.renew(talk.site.gateway.active.newest.replace(supervisor_namespace=False))
    with pytest.raises(client.Fault) as raised:
        talk.call("supervisor.getState")
    assert raised.value.faultCode == 1
    assert talk.call("system.listMethods")
    talk.close()


def test_an_error_of_the_gateway_is_a_fault(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not running."""

    def fail() -> None:
        raise Fault(FAILED, "no answer")

    monkeypatch.setattr(talk.site.gateway, "client", fail)
    with pytest.raises(client.Fault) as raised:
        talk.call("supervisor.stopAllProcesses")
    assert raised.value.faultString == "FAILED: no answer"


@pytest.mark.parametrize("body", ["", "x", "<methodCall/>"])
def test_other_text_is_a_bad_request(talk: Talk, body: str) -> None:
    """Answered with 400, and the connection goes on."""
    assert talk.get("/RPC2", "POST", body)[0] == 400
    assert talk.get("/RPC2")[0] == 400


def test_a_large_request_is_refused(talk: Talk) -> None:
    """Without reading it."""
    talk.connection.putrequest("POST", "/RPC2")
    talk.connection.putheader("Content-Length", str(2**40))
    talk.connection.endheaders()
    assert talk.connection.getresponse().status == 413


def test_a_request_without_a_length_is_refused(talk: Talk) -> None:
    """Its end would not be known."""
    talk.connection.putrequest("POST", "/RPC2")
    talk.connection.endheaders()
    assert talk.connection.getresponse().status == 411


CLEAR = "tiger"
DIGEST = "{SHA}" + hashlib.sha1(CLEAR.encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("password", [CLEAR, DIGEST, DIGEST.upper().replace("{SHA}", "{SHA}")])
@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("scott:tiger", 200), ("scott:lion", 401), ("tiger:scott", 401), ("scott", 401), ("", 401), (":", 401),
        (f"scott:{DIGEST}", 401), ("scott:tiger:x", 401), ("scött:tiger", 401),
    ],
)  # fmt: skip
def test_credentials(password: str, given: str, status: int) -> None:
    """User and password, clear or as a digest; the digest itself is not a password."""
    talk = Talk(Server("unix", "scott", password))
    encoded = base64.b64encode(given.encode()).decode()
    assert talk.get("/ok.html", Authorization=f"Basic {encoded}")[0] == status
    if status == 401:
        assert talk.headers["WWW-Authenticate"] == 'Basic realm="default"'
    talk.close()


@pytest.mark.parametrize("header", ["Basic !!", "Bearer c2NvdHQ6dGlnZXI=", "c2NvdHQ6dGlnZXI=", "Basic /w==", ""])
def test_other_forms_of_credentials(header: str) -> None:
    """None of them admits, for any path."""
    talk = Talk(Server("unix", "scott", CLEAR))
    for path in ("/", "/RPC2", "/logtail/web", "/mainlogtail", "/index.html?action=stopall"):
        assert talk.get(path, Authorization=header)[0] == 401
    assert talk.get("/RPC2", "POST", client.dumps((), "supervisor.shutdown"), Authorization=header)[0] == 401
    talk.close()


def test_the_page(talk: Talk) -> None:
    """Each process with its state and what can be done; texts cannot contain HTML."""
    status, text = talk.get("/?message=%3Cscript%3E")
    assert status == 200
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert f'href="index.html?processname=web&amp;action=stop&amp;token={talk.site.token}"' in text
    assert "frame-ancestors 'none'" in talk.headers["Content-Security-Policy"]
    assert ">running<" in text
    assert talk.get("/stylesheets/supervisor.css")[0] == 200
    assert talk.get("/../../etc/passwd")[0] == 404
    assert talk.get("/index.html?action=nosuch")[0] == 404
    assert talk.get("/logtail/nosuch")[0] == 404
    assert talk.get("/logtail/web/nosuch")[0] == 404


def test_an_action_leads_back_to_the_page(talk: Talk) -> None:
    """With what was done, or why not."""
    assert talk.get("/index.html?action=refresh")[0] == 302
    assert talk.headers["Location"].startswith("/?message=Page%20refreshed")
    talk.get("/index.html?processname=web&action=start")
    assert talk.headers["Location"] == "/?message=ERROR%3A%20Process%20web%3A%20already%20started"
    talk.get("/index.html?processname=nosuch&action=stop")
    assert talk.headers["Location"] == "/?message=No%20such%20process%20named%20nosuch"


def test_a_page_of_another_site_causes_no_action(talk: Talk) -> None:
    """The browser says where a request comes from."""
    assert talk.get("/index.html?action=refresh", Sec_Fetch_Site="cross-site")[0] == 403
    assert talk.get("/index.html?action=refresh", Sec_Fetch_Site="same-origin")[0] == 302


def test_without_https_a_browser_needs_the_token_of_the_page(talk: Talk) -> None:
    """It does not say then where a link comes from. Scripts need no token."""
    path = "/index.html?action=refresh"
    assert talk.get(path, User_Agent="Mozilla/5.0")[0] == 403
    assert talk.get(f"{path}&token=x", User_Agent="Mozilla/5.0")[0] == 403
    assert talk.get(f"{path}&token={talk.site.token}", User_Agent="Mozilla/5.0")[0] == 302
    assert talk.get(path, User_Agent="curl/8")[0] == 302


def test_a_form_of_another_site_calls_no_method(talk: Talk) -> None:
    """A browser sends it without asking; text/xml it would ask for, and get no permission."""
    body = client.dumps((), "supervisor.getState")
    assert talk.get("/RPC2", "POST", body, Origin="null", Content_Type="text/plain")[0] == 403
    assert talk.get("/RPC2", "POST", body, Origin="http://localhost", Content_Type="text/xml")[0] == 200
    assert talk.get("/RPC2", "OPTIONS", Origin="http://x")[0] == 501


def raw(talk: Talk, request: bytes) -> bytes:
    """All that a server answers to these bytes, until it ends the connection."""
    talk.connection.sock.sendall(request)
    answer = b""
    while data := talk.connection.sock.recv(65_536):
        answer += data
    return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /RPC2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST /RPC2 HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 40\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST /RPC2 HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"413"),
        (b"GET /ok.html HTTP/1.1\r\nContent-Length: 40\r\n\r\nGET /index.html?action=stopall HTTP/1.1\r\n\r\n", b"200"),
        (b"GET http://[ HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    ],
)
def test_no_request_hides_in_another_one(talk: Talk, request_: bytes, status: bytes) -> None:
    """Where a proxy may see other borders between them, the connection ends."""
    answer = raw(talk, request_)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_body_without_credentials_is_not_kept() -> None:
    """It is read past, in small pieces; the connection goes on."""
    talk = Talk(Server("unix", "scott", CLEAR))
    assert talk.get("/RPC2", "POST", "x" * 3_000_000)[0] == 401
    assert talk.get("/ok.html")[0] == 401
    talk.close()


def test_a_fault_of_ours_is_answered(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 500, as supervisord does."""

    def fail() -> None:
        raise AssertionError

    monkeypatch.setattr(talk.site.gateway, "check_running", fail)
    assert talk.get("/RPC2", "POST", client.dumps((), "supervisor.getState"))[0] == 500


class Listening:
    """A site that accepts connections."""

    def __init__(self) -> None:
        self.site = Site(StandInGateway(Active(configuration()), running(), configuration), Server("unix"))
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)

    def start(self) -> None:
        """Begin to accept."""
        threading.Thread(target=self.site.serve, args=(self.listener,), daemon=True).start()

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(self.listener.getsockname(), 60)

    def status(self) -> int:
        """The status of an answer on a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.listener.getsockname()[1], timeout=60)
        connection.request("GET", "/ok.html")
        status = connection.getresponse().status
        connection.close()
        return status


def test_slow_clients_keep_no_other_client_out() -> None:
    """The one that waits longest without a request is disconnected."""
    server = Listening()
    server.start()
    slow = [server.connect() for _ in range(100)]
    slow[0].sendall(b"POST /RPC2 HTTP/1.1\r\nContent-Length: 100\r\n\r\nx")
    assert [server.status() for _ in range(3)] == [200] * 3
    assert slow[0].recv(100) == b""
    for one in slow:
        one.close()


@pytest.mark.parametrize("fails", ["accept", "thread"])
def test_a_shortage_ends_no_server(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """No descriptor or no thread is left: the next client is accepted when there is one again."""
    server, accept, start = Listening(), socket.socket.accept, threading.Thread.start
    server.site._ended.set()
    monkeypatch.setattr(server.site._ended, "clear", lambda: None)
    failed = 0

    def accept_later(listener: socket.socket) -> Any:
        nonlocal failed
        if fails == "accept" and failed < 3:
            failed += 1
            raise OSError(24, "Too many open files")
        return accept(listener)

    def start_later(thread: threading.Thread) -> None:
        nonlocal failed
        if fails == "thread" and thread._target == server.site._talk and failed < 3:  # type: ignore[attr-defined]
            failed += 1
            raise RuntimeError
        start(thread)

    monkeypatch.setattr(socket.socket, "accept", accept_later)
    monkeypatch.setattr(threading.Thread, "start", start_later)
    server.start()
    while failed < 3:
        server.connect().close()
    assert server.status() == 200


def test_the_end_of_a_log(tmp_path: Any) -> None:
    """Of a file; a process without one has what cohabit keeps."""
    log = tmp_path / "web.log"
    log.write_text("0123456789<b>\n")
    talk = Talk(logfile=str(log))
    assert talk.call("supervisor.readProcessStdoutLog", "web", 3, 4) == "3456"
    assert talk.call("supervisor.readProcessStdoutLog", "web", -4, 0) == "<b>\n"
    assert talk.call("supervisor.readProcessStdoutLog", "web", 12, 0) == ">\n"
    assert talk.call("supervisor.tailProcessStdoutLog", "web", 0, 100) == ["0123456789<b>\n", 14, False]
    assert talk.call("supervisor.tailProcessStdoutLog", "web", 0, 4) == ["<b>\n", 14, True]
    assert "&lt;b&gt;" in talk.get("/tail.html?processname=web")[1]
    assert talk.call("supervisor.clearProcessLogs", "web") is True
    assert log.read_text() == ""
    for offset, length in ((-1, 1), (0, -1)):
        with pytest.raises(client.Fault) as raised:
            talk.call("supervisor.readProcessStdoutLog", "web", offset, length)
        assert raised.value.faultCode == 3
    log.unlink()
    assert talk.call("supervisor.readProcessStdoutLog", "web", 0, 0) == ""  # it is created with the first line
    talk.site.gateway.mirror.states["web"] = State("STOPPED")
    with pytest.raises(client.Fault) as raised:
        talk.call("supervisor.readProcessStdoutLog", "web", 0, 0)
    assert raised.value.faultCode == 20
    assert talk.call("supervisor.tailProcessStdoutLog", "web", 5, 4) == ["", 5, False]
    talk.close()


def test_a_log_that_leads_elsewhere_is_not_read(tmp_path: Any) -> None:
    """A service that may write to the directory of its log gets no file of another user by a link."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    directory = tmp_path / "logs"
    directory.mkdir()
    (directory / "web.log").symlink_to(secret)
    directory.chmod(0o777)
    talk = Talk(logfile=str(directory / "web.log"))
    with pytest.raises(client.Fault) as raised:
        talk.call("supervisor.readProcessStdoutLog", "web", 0, 0)
    assert raised.value.faultCode == 30
    with pytest.raises(client.Fault) as raised:
        talk.call("supervisor.clearProcessLogs", "web")
    assert secret.read_text() == "secret"
    talk.close()


def test_groups_are_compared_with_the_active_ones() -> None:
    """Added, changed and removed ones, by name."""
    active = Active(configuration())
    (web,) = configuration().groups
    other = web.replace(name="other")
    newest = configuration().replace(groups=(web.replace(priority=1), other))
    assert active.renew(newest) == (["other"], ["web"], [])
    assert active.add("other") == other
    assert active.renew(newest.replace(groups=())) == ([], [], ["web", "other"])
    active.remove("web")
    assert active.groups.keys() == {"other"}
