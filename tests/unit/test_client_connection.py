"""Finding the running cohabit and sending it a request: selection, refusals, and missing answers."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cohabit.client import Answer, Client, ConnectionFailedError, NoAnswerError, discovery
from cohabit.errors import UsageError
from cohabit.reactor import rundir
from unit.control_story import answer, run_client, service, serving, status

_clients: list[Client] = []


def request(
    name: str, arguments: Sequence[str] = (), *, path: str | None = None, typed: str = "", seconds: float = 10.0,
    streaming: bool = False,
) -> Answer:  # fmt: skip
    """Send one request with a client of its own."""
    _clients.append(Client(path, command=typed))
    return _clients[-1].request(name, arguments, timeout=seconds, streaming=streaming)


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    """Close the clients of a test."""
    yield
    while _clients:
        _clients.pop().close()


@pytest.fixture
def locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that replaces the default locations of sockets."""
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(discovery, "RUNTIME_BASES", (str(tmp_path / "run"), str(tmp_path / "var")))
    monkeypatch.setattr(discovery, "SHARED_BASES", (str(tmp_path), str(tmp_path / "nowhere")))
    monkeypatch.setattr(discovery, "environment", dict)
    return tmp_path


def _directory(locations: Path, name: str) -> Path:
    path = locations / name
    path.mkdir()
    return path


def test_answer_has_a_code_a_reason_and_a_body(tmp_path: Path) -> None:
    """The body is read line by line."""
    with serving(tmp_path, {"ps": b"3 failed not now\n{}\n{1}\n"}) as server:
        reply = request("ps", ["a", "b=c"], path=server.path)
        assert (reply.code, reply.text, list(reply.lines())) == (3, "not now", [b"{}", b"{1}"])
    assert server.requests == ["cohabit/2 ps a b=c"]


def test_answer_may_arrive_byte_by_byte(tmp_path: Path) -> None:
    """Lines and pieces of a given length are read correctly."""

    def reply_slowly(to: socket.socket) -> None:
        for byte in b"0 ok fine\nhead 4\nab\nctail\n":
            to.sendall(bytes([byte]))

    with serving(tmp_path, {"logs": reply_slowly}) as server:
        reply = request("logs", path=server.path)
        assert (reply.text, reply.read_line(), reply.read(4), reply.read_line(), reply.read_line()) == (
            "fine", b"head 4", b"ab\nc", b"tail", b"",
        )  # fmt: skip


def test_without_a_running_cohabit_the_code_is_69(locations: Path) -> None:
    """The message says how to start one, or to name another socket."""
    del locations
    with pytest.raises(ConnectionFailedError, match=r"cannot ps: no cohabit is running here .*--socket PATH") as caught:
        request("status", typed="ps")
    assert caught.value.exit_code == 69


@pytest.mark.parametrize("name", ["run/abc", "cohabit-abc"])
def test_the_only_one_is_found(locations: Path, name: str) -> None:
    """In any of the locations, also if they are the same directory (/var/run is /run); dead sockets are skipped."""
    (locations / "var").symlink_to(locations / "run")
    dead = _directory(locations, "cohabit-dead")
    socket.socket(socket.AF_UNIX).bind(str(dead / "control"))
    with serving(_directory(locations, name), {"ps": answer(0, "me")}):
        assert request("ps").text == "me"


def test_several_candidates_are_an_error_that_lists_them(locations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If none is process 1 or the supervisor of this process."""
    peers = iter([70, 71])
    monkeypatch.setattr(discovery, "peer", lambda _: (next(peers), os.geteuid()))
    here, there = _directory(locations, "run/a"), _directory(locations, "cohabit-b")
    with (
        serving(here, {}),
        serving(there, {}),
        pytest.raises(ConnectionFailedError, match=r"several .*--socket") as caught,
    ):
        request("ps")
    assert f"{here}/control" in str(caught.value)
    assert f"{there}/control" in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "pids", "expected"),
    [
        ("", [(70, 0), (1, 0)], "second"),  # process 1 is selected, in any location
        ("", [(70, 0), (1, 12345)], "first"),  # but not if another user runs it
        ("70-abc", [(70, 0), (1, 0)], "first"),  # the supervisor of this process comes first
        ("71-abc:x", [(1, 0), (71, 0)], "second"),
        ("71-abc:x", [(1, 0), (71, 12345)], None),
        ("", [(70, 12345), (71, 0)], "second"),  # a listener of another user is not trusted
        ("99-abc", [(70, 0), (1, 0)], None),  # the supervisor of this process is missing: no other is selected
        ("", [(70, 12345), (71, 12345)], None),
    ],
)
def test_selection(
    variable: str,
    pids: list[tuple[int, int]],
    expected: str | None,
    locations: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The supervisor of this process, else process 1, else the only one of root or of this user."""
    first, second = _directory(locations, "run/a"), _directory(locations, "cohabit-b")
    peers = iter(pids)
    monkeypatch.setattr(discovery, "peer", lambda _: next(peers))
    monkeypatch.setattr(discovery, "environment", lambda: {"COHABIT_SUPERVISOR": variable} if variable else {})
    with serving(first, {"ps": answer(0, "first")}), serving(second, {"ps": answer(0, "second")}):
        if expected is None:
            with pytest.raises(ConnectionFailedError, match=r"no cohabit (of root .*)?is running here"):
                request("ps")
        else:
            assert request("ps").text == expected


@pytest.mark.parametrize(("pid", "found"), [(1, True), (70, False)])
def test_process_1_of_another_user(locations: Path, monkeypatch: pytest.MonkeyPatch, pid: int, *, found: bool) -> None:
    """Its directory is entered; only process 1 itself is trusted there: a service may run as the same user."""
    monkeypatch.setattr(discovery, "is_trusted_user", lambda uid: uid == 0)
    monkeypatch.setattr(discovery.Search, "_uid_of_process_1", lambda _: 12345)
    monkeypatch.setattr(discovery, "peer", lambda _: (pid, 12345))
    directory = _directory(locations, "cohabit-a")
    if os.geteuid() == 0:
        os.chown(directory, 12345, 12345)
    with serving(directory, {"ps": answer(0, "me")}):
        if found:
            assert request("ps").text == "me"
        else:
            with pytest.raises(ConnectionFailedError, match="no cohabit of root"):
                request("ps")


def test_configured_directory_is_the_only_location(locations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """COHABIT_RUNTIME_DIR replaces the default locations."""
    other = _directory(locations, "other")
    monkeypatch.setattr(discovery, "environment", lambda: {"COHABIT_RUNTIME_DIR": str(other)})
    with serving(_directory(locations, "run/a"), {"ps": answer(0, "wrong")}):
        with pytest.raises(ConnectionFailedError, match=f"no cohabit is listening at {other}/control"):
            request("ps")
        with serving(other, {"ps": answer(0, "right")}):
            assert request("ps").text == "right"


def test_permission_denied_is_77(locations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a directory or a socket is not accessible."""

    def forbidden(path: str, *_: object, **__: object) -> int:
        raise PermissionError(13, "no", path)

    monkeypatch.setattr("cohabit.client.discovery.os.open", forbidden)
    with pytest.raises(ConnectionFailedError, match="permission denied for user") as caught:
        request("ps")
    assert caught.value.exit_code == 77
    del locations


def test_missing_answer_ends_at_the_deadline(tmp_path: Path) -> None:
    """A stopped server does not block its clients."""
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        with pytest.raises(NoAnswerError, match=r"cannot ps: cohabit has not answered within 0.01 s"):
            request("ps", path=path, seconds=0.01)


def test_deadline_includes_the_body(tmp_path: Path) -> None:
    """A server that stops in the middle does not block its clients; the body of a stream has no deadline."""
    end = threading.Event()

    def reply_in_two_parts(to: socket.socket) -> None:
        to.sendall(b"0 ok \n{}\n{")
        end.wait(20)
        to.sendall(b"}\n")

    with serving(tmp_path, {"ps": reply_in_two_parts}) as server:
        reply = request("ps", path=server.path, seconds=0.2)
        assert reply.read_line() == b"{}"
        with pytest.raises(NoAnswerError, match=r"cannot ps: cohabit has not answered within 0.2 s"):
            reply.read_line()
        end.set()
        streamed = request("ps", path=server.path, seconds=5.0, streaming=True)
        assert streamed.deadline is None
        assert list(streamed.lines()) == [b"{}", b"{}"]


def full(path: Path) -> list[socket.socket]:
    """A listener with a full queue, and the connections in it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(0)
    kept = [listener]
    while True:
        kept.append(socket.socket(socket.AF_UNIX))
        kept[-1].setblocking(False)
        try:
            kept[-1].connect(str(path))
        except BlockingIOError:
            return kept


def test_full_queue_is_waited_for_last(locations: Path) -> None:
    """A full queue delays a client only if no other cohabit answers, and at most until the deadline."""
    kept = full(_directory(locations, "run/a") / "control")
    with pytest.raises(NoAnswerError, match="cannot ps: cohabit has not answered"):
        request("ps", seconds=0.1)
    with serving(_directory(locations, "cohabit-b"), {"ps": answer(0, "me")}):
        assert request("ps", seconds=0.4).text == "me"
    for one in kept:
        one.close()


def test_search_ends_at_process_1(locations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue found before is not waited for."""
    kept = full(_directory(locations, "run/a") / "control")
    waited: list[float] = []
    monkeypatch.setattr(discovery, "blocking_socket", waited.append)
    monkeypatch.setattr(discovery, "peer", lambda _: (1, 0))
    with serving(_directory(locations, "run/b"), {"ps": answer(0, "me")}):
        assert request("ps").text == "me"
    assert not waited
    for one in kept:
        one.close()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o757])
def test_directory_writable_by_others_is_not_entered(locations: Path, mode: int) -> None:
    """Even if its owner is trusted."""
    directory = _directory(locations, "cohabit-a")
    directory.chmod(mode)
    with (
        serving(directory, {"ps": answer(0, "wrong")}),
        pytest.raises(ConnectionFailedError, match="no cohabit is running"),
    ):
        request("ps")


def test_links_are_not_followed(locations: Path) -> None:
    """Neither for the directory nor for the socket."""
    (locations / "elsewhere").mkdir()
    with serving(locations / "elsewhere", {"ps": answer(0, "wrong")}) as server:
        (locations / "cohabit-a").symlink_to(locations / "elsewhere")
        (_directory(locations, "cohabit-b") / "control").symlink_to(server.path)
        with pytest.raises(ConnectionFailedError, match="no cohabit is running"):
            request("ps")
    assert not server.requests


@pytest.mark.parametrize("reply", [b"", b"hello\n", b"\n"])
def test_connection_closed_without_a_code(reply: bytes, tmp_path: Path) -> None:
    """Text without a code is not an answer."""
    with (
        serving(tmp_path, {"ps": reply}) as server,
        pytest.raises(ConnectionFailedError, match="closed the connection without an answer"),
    ):
        request("ps", path=server.path)


@pytest.mark.parametrize("argument", ["", "a b", "a\nb", "a\tb", "\x7f"])
def test_argument_that_cannot_be_sent(argument: str, tmp_path: Path) -> None:
    """A request is one line, and arguments contain no spaces. That is checked before a cohabit is searched."""
    with serving(tmp_path, {}) as server, pytest.raises(UsageError, match="is not a service name"):
        request("ps", [argument], path=server.path)
    assert not server.requests
    with pytest.raises(UsageError, match="is not a service name"):
        request("ps", [argument], path=str(tmp_path / "none"))


def test_request_that_is_too_long(tmp_path: Path) -> None:
    """The server reads 64 KiB; a longer request is not sent."""
    with (
        serving(tmp_path, {}) as server,
        pytest.raises(UsageError, match="the request has 70094 bytes, more than 65536"),
    ):
        request("ps", ["x" * 1000] * 70, path=server.path)


def test_health_is_one_line_and_0_or_1(tmp_path: Path) -> None:
    """As Docker and Kubernetes require; a missing cohabit is 1, too."""
    with serving(tmp_path, {"health": answer(0, "all is well")}):
        done = run_client("health", COHABIT_RUNTIME_DIR=str(tmp_path))
        assert (done.returncode, done.stdout, done.stderr) == (0, "all is well\n", "")
    done = run_client("health", "--json", COHABIT_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout.startswith('{"code": 1, "text": "cannot health: no cohabit is listening')
    (tmp_path / "control").unlink()
    for code, expected in ((1, 1), (71, 1), (77, 1), (64, 64)):
        with serving(tmp_path, {"health": answer(code, "no")}):
            assert run_client("health", "--live", "db", COHABIT_RUNTIME_DIR=str(tmp_path)).returncode == expected
        (tmp_path / "control").unlink()


def test_health_imports_little() -> None:
    """It is started every few seconds: no json, no re, no os."""
    program = f"import sys; sys.path.append({os.path.dirname(os.path.dirname(rundir.__file__))!r} + '/..')"
    program += "; import cohabit.cli.main, cohabit.cli.health; print(*sys.modules)"
    output = client_python(program)
    loaded = {module for module in output.split() if not module.startswith("cohabit")}
    assert not loaded & {"json", "re", "os", "socket", "enum", "typing", "signal", "contextlib"}


def client_python(program: str) -> str:
    """Run a program in the bare interpreter; returns what it printed."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    ).stdout


def test_ps_requests_the_status_of_the_names(tmp_path: Path) -> None:
    """--socket names the server."""
    with serving(tmp_path, {"status": status(service("web"))}) as server:
        assert run_client("ps", "-q", "web", "--socket", server.path).stdout == "web\n"
    assert server.requests == ["cohabit/2 status web"]
