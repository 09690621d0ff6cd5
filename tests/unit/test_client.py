"""cohabit.client: typed answers, several answers on one connection, and errors with codes. The server is a script."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.api import protocol
from cohabit.api.status import JsonRecord
from cohabit.client import (
    Client,
    CohabitError,
    ConnectionFailedError,
    Event,
    NoAnswerError,
    RefusedError,
    ServiceStatus,
    VersionMismatchError,
)
from cohabit.client.decoding import decode
from unit.control_story import CONTAINER, service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Script = Callable[["Peer"], None]

AT_MOST_SECONDS = 20.0


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._lines = connection.makefile("rb")

    def request(self) -> str:
        """Return the next request; "" at the end."""
        return self._lines.readline().decode().removesuffix("\n")

    def send(self, number: int, *pieces: bytes, end: bool = False) -> None:
        """Send chunks, and the end of the answer."""
        data = b"".join(protocol.chunk(number, piece) for piece in (*pieces, *((b"",) if end else ())))
        self.connection.sendall(data)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Give a function that makes a client of a server, which runs one script per connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "control"))
    listener.listen()
    threads: list[threading.Thread] = []
    clients: list[Client] = []

    def run(scripts: tuple[Script, ...]) -> None:
        for script in scripts:
            connection, _ = listener.accept()
            connection.settimeout(AT_MOST_SECONDS)
            with connection:
                script(Peer(connection))

    def make(*scripts: Script) -> Client:
        threads.append(threading.Thread(target=run, args=(scripts,)))
        threads[-1].start()
        clients.append(Client(str(tmp_path / "control")))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    for thread in threads:
        thread.join(AT_MOST_SECONDS)
        assert not thread.is_alive()
    listener.close()


def answer(number: int, head: bytes, *objects: dict[str, Any]) -> Script:
    """Return a script that answers one request."""

    def script(peer: Peer) -> None:
        assert peer.request().startswith(f"cohabit/2 #{number} ")
        peer.send(number, head + b"\n", *(json.dumps(one).encode() + b"\n" for one in objects), end=True)

    return script


def test_status_is_typed(serve: Callable[..., Client]) -> None:
    """Fields that a newer server adds are ignored; missing and invalid ones get the default of their type."""
    web = {**service("web", command=["serve", "-v"], probe={"kind": "tcp"}), "newer": [1], "pid": "?"}
    del web["restarts"]
    status = serve(answer(1, b"0 ok ", CONTAINER | {"newer": {}}, web)).status("web")
    assert (status.container.version, status.container.phase, status.container.scale) == ("0.4.0", "up", {})
    found = status.services[0]
    assert (found.name, found.state, found.command) == ("web", "RUNNING", ("serve", "-v"))
    assert (found.pid, found.restarts, found.schedule) == (0, 0, "")
    assert found.probe is not None
    assert (found.probe.kind, found.probe.retries) == ("tcp", 0)
    assert found.up
    assert found == ServiceStatus.from_json(json.loads(json.dumps(found.to_json())))
    with pytest.raises(AttributeError, match="frozen"):
        found.pid = 7  # type: ignore[misc]


def test_a_stream_and_requests_share_a_connection(serve: Callable[..., Client]) -> None:
    """Chunks of the stream may come before, in and after those of another answer."""

    def script(peer: Peer) -> None:
        assert peer.request() == "cohabit/2 #1 events web follow=yes"
        peer.send(1, b"0 ok \n", b'{"time": 6, "service": "web", "ev')
        assert peer.request() == "cohabit/2 #2 health for=ready"
        peer.send(1, b'ent": "ready"}\n')
        peer.send(2, b"1 not_ready we")
        peer.send(1, b'{"dropped": 12}\n')
        peer.send(2, b"b waits\n", end=True)
        assert peer.request() == "cohabit/2 #3 stop web"
        peer.send(3, b"0 ok stopped\n", end=True)
        peer.send(1, b'{"event": "STOPPED"}\n', end=True)

    client = serve(script)
    events = client.checked("events", ["web", "follow=yes"], streaming=True)
    health = client.health()
    assert (health.passed, health.text) == (False, "web waits")
    assert client.stop("web") == "stopped"
    assert [json.loads(line).get("event") for line in events.lines()] == ["ready", None, "STOPPED"]


def test_streams_are_typed(serve: Callable[..., Client]) -> None:
    """Bytes that were left out are reported in place of a record."""
    events = serve(answer(1, b"0 ok ", {"time": 6, "event": "ready"}, {"dropped": 12})).events()
    assert list(events) == [Event(6.0, "", "ready", "", None), Event(None, "", "dropped", "12", None)]

    def logs(peer: Peer) -> None:
        assert peer.request() == "cohabit/2 #1 logs"
        peer.send(1, b"0 ok \n", b"web stdout 7.5 4\na\nb", b"\nweb dropped 8 2\n", b"12", end=True)

    records = list(serve(logs).logs())
    assert [(one.service, one.stream, one.time, one.data) for one in records] == [
        ("web", "stdout", 7.5, b"a\nb\n"), ("web", "dropped", 8.0, b"12"),
    ]  # fmt: skip


def test_a_stream_that_is_not_read_to_its_end_gives_up_its_connection(serve: Callable[..., Client]) -> None:
    """The next request uses a new one."""

    def stream(peer: Peer) -> None:
        peer.request()
        peer.send(1, b"0 ok \n", b'{"event": "ready"}\n', b'{"event": "STOPPED"}\n')
        assert peer.request() == ""

    client = serve(stream, answer(1, b"0 ok ready"))
    events = client.events(follow=True)
    assert next(events).event == "ready"
    events.close()  # type: ignore[attr-defined]
    assert client.health().passed


def test_a_connection_that_the_server_has_closed_is_replaced(serve: Callable[..., Client]) -> None:
    """As after a while without requests."""
    client = serve(answer(1, b"0 ok one"), answer(1, b"0 ok two"))
    assert client.start("web") == "one"
    former = client._connection
    assert former is not None
    while former.is_usable:
        pass
    assert client.start("web") == "two"
    assert former.fileno() == -1, "it is closed"


@pytest.mark.parametrize(
    ("head", "kind", "code", "exit_code", "text"),
    [
        (b"64 unknown_service cannot stop: no such", RefusedError, "unknown_service", 64, "cannot stop: no such"),
        (b"1 failed web was started", RefusedError, "failed", 1, "cannot stop: web was started"),
        (b"71 a_later_code no", RefusedError, "a_later_code", 71, "cannot stop: no"),
        (b"64 version_mismatch cannot read the request: x", VersionMismatchError, "version_mismatch", 69, "stop: x"),
        (b"0 done", VersionMismatchError, "version_mismatch", 69, "the answer is not of version 2"),
        (b"", ConnectionFailedError, "unavailable", 69, "closed the connection without an answer"),
    ],
)
def test_errors_have_codes(
    serve: Callable[..., Client], head: bytes, kind: type[CohabitError], code: str, *, exit_code: int, text: str
) -> None:
    """Each is a CohabitError with the code of the answer, or of the missing answer."""
    with pytest.raises(CohabitError) as caught:
        serve(answer(1, head)).stop("web")
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert text in str(caught.value)


def test_an_answer_without_an_id_concerns_the_connection(serve: Callable[..., Client]) -> None:
    """A server refuses a user before it reads a request."""

    def refuse(peer: Peer) -> None:
        peer.request()
        peer.connection.sendall(b"77 permission_denied user 5 may not use the control socket\n")

    with pytest.raises(RefusedError) as caught:
        serve(refuse).reload()
    assert (caught.value.code, caught.value.exit_code) == ("permission_denied", 77)


def test_a_timeout_has_a_code(serve: Callable[..., Client]) -> None:
    """The connection carries no further request, because the late answer would come on it."""
    end = threading.Event()

    def silent(peer: Peer) -> None:
        peer.request()
        end.wait(AT_MOST_SECONDS)

    client = serve(silent, answer(1, b"0 ok ready"))
    with pytest.raises(NoAnswerError) as caught:
        client.wait("web", timeout=0.01)
    assert caught.value.code == "timeout"
    end.set()
    assert client.health().passed


@pytest.mark.parametrize("data", [b"#1 \n", b"#x 1\n", b"#1 -1\n", b"#" * 1000, b"\xff\n", b"#1 5\n0 ok", b"#9 3\nabc"])
def test_garbage_is_not_an_answer(serve: Callable[..., Client], data: bytes) -> None:
    """Whatever the server sends, the client reports an error."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.connection.sendall(data)

    with pytest.raises(ConnectionFailedError):
        serve(script).health()


def test_reload_raises_with_all_problems(serve: Callable[..., Client]) -> None:
    """Its changes are returned; the problems of a file are in the message."""
    assert serve(answer(1, b"0 ok done", {"text": "web is new"})).reload() == ("web is new",)
    head = b"78 invalid_file cannot scale: 2 problems"
    with pytest.raises(RefusedError, match="cannot scale: 2 problems\none\ntwo") as caught:
        serve(answer(1, head, {"text": "one"}, {"text": "two"})).scale({"web": 3})
    assert caught.value.code == "invalid_file"


@pytest.mark.parametrize("line", [b"", b"[]", b"1", b"{", b'{"a": 1} x', b'{"a": nul}'])
def test_only_objects_are_decoded(line: bytes) -> None:
    """Anything else is a ValueError."""
    assert decode(b'{"a": [1.5, null, "\\u00e9"]}') == {"a": [1.5, None, "é"]}
    with pytest.raises(ValueError, match="not a JSON object"):
        decode(line)


def test_every_field_can_be_read() -> None:
    """Each annotation of api/status.py is known to from_json."""
    for record in JsonRecord.__subclasses__():
        if record.__module__.startswith("cohabit."):
            assert record.from_json({"unknown": 1}) == record.from_json({})
