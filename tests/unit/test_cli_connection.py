"""Finding a running cohabit and asking it: who is meant, what is refused, what happens when it does not answer."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cohabit.cli import connection, discovery
from cohabit.cli.discovery import ConnectionFailedError, SilentError
from cohabit.errors import UsageError
from cohabit.reactor import rundir
from unit.control_story import answer, run_client, service, serving, status


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a directory that stands for the places where sockets are looked for."""
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(discovery, "RUNTIME_BASES", (str(tmp_path / "run"), str(tmp_path / "var")))
    monkeypatch.setattr(discovery, "SHARED_BASES", (str(tmp_path), str(tmp_path / "nowhere")))
    monkeypatch.setattr(discovery, "environment", dict)
    return tmp_path


def _place(places: Path, name: str) -> Path:
    path = places / name
    path.mkdir()
    return path


def test_an_answer(tmp_path: Path) -> None:
    """One line with the code and the reason, then a body line by line."""
    with serving(tmp_path, {"ps": b"3 not now\n{}\n{1}\n"}) as server:
        told = connection.ask("ps", ["a", "b=c"], path=server.path)
        assert (told.code, told.text, list(told.lines())) == (3, "not now", [b"{}", b"{1}"])
    assert server.requests == ["cohabit/2 ps a b=c"]


def test_an_answer_in_pieces(tmp_path: Path) -> None:
    """The line may come byte by byte, and bodies are read by length, too."""

    def tell(to: socket.socket) -> None:
        for byte in b"0 fine\nhead 4\nab\nctail\n":
            to.sendall(bytes([byte]))

    with serving(tmp_path, {"logs": tell}) as server:
        told = connection.ask("logs", path=server.path)
        assert (told.text, told.line(), told.read(4), told.line(), told.line()) == (
            "fine", b"head 4", b"ab\nc", b"tail", b"",
        )  # fmt: skip


def test_nobody_there(places: Path) -> None:
    """69, and how to start one or to name another's socket."""
    del places
    with pytest.raises(ConnectionFailedError, match=r"cannot ps: no cohabit is running here .*--socket PATH") as caught:
        connection.ask("status", by="ps")
    assert caught.value.exit_code == 69


@pytest.mark.parametrize("name", ["run/abc", "cohabit-abc"])
def test_the_only_one_is_found(places: Path, name: str) -> None:
    """Wherever its runtime directory is, and by whatever names (/var/run is /run); dead sockets are passed over."""
    (places / "var").symlink_to(places / "run")
    dead = _place(places, "cohabit-dead")
    socket.socket(socket.AF_UNIX).bind(str(dead / "control"))
    with serving(_place(places, name), {"ps": answer(0, "me")}):
        assert connection.ask("ps").text == "me"


def test_of_several_the_one_has_to_be_named(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that are neither process 1 nor whoever started us: the answer names their sockets."""
    peers = iter([70, 71])
    monkeypatch.setattr(discovery, "peer", lambda _: (next(peers), os.geteuid()))
    here, there = _place(places, "run/a"), _place(places, "cohabit-b")
    with (
        serving(here, {}),
        serving(there, {}),
        pytest.raises(ConnectionFailedError, match=r"several .*--socket") as caught,
    ):
        connection.ask("ps")
    assert f"{here}/control" in str(caught.value)
    assert f"{there}/control" in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "pids", "expected"),
    [
        ("", [(70, 0), (1, 0)], "second"),  # process 1 is meant wherever it is
        ("", [(70, 0), (1, 12345)], "first"),  # but not one that another user runs
        ("70-abc", [(70, 0), (1, 0)], "first"),  # who started us comes before it
        ("71-abc:x", [(1, 0), (71, 0)], "second"),
        ("71-abc:x", [(1, 0), (71, 12345)], None),
        ("", [(70, 12345), (71, 0)], "second"),  # of a stranger's nothing is believed
        ("99-abc", [(70, 0), (1, 0)], None),  # who started us is not there: nobody else is meant
        ("", [(70, 12345), (71, 12345)], None),
    ],
)
def test_which_one_is_meant(
    variable: str,
    pids: list[tuple[int, int]],
    expected: str | None,
    places: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever started us, else process 1, else the only one of root's or our own."""
    first, second = _place(places, "run/a"), _place(places, "cohabit-b")
    peers = iter(pids)
    monkeypatch.setattr(discovery, "peer", lambda _: next(peers))
    monkeypatch.setattr(discovery, "environment", lambda: {"COHABIT_SUPERVISOR": variable} if variable else {})
    with serving(first, {"ps": answer(0, "first")}), serving(second, {"ps": answer(0, "second")}):
        if expected is None:
            with pytest.raises(ConnectionFailedError, match=r"no cohabit (of root .*)?is running here"):
                connection.ask("ps")
        else:
            assert connection.ask("ps").text == expected


@pytest.mark.parametrize(("pid", "found"), [(1, True), (70, False)])
def test_process_1_of_another_user(places: Path, monkeypatch: pytest.MonkeyPatch, pid: int, *, found: bool) -> None:
    """Its directory is entered, and only process 1 itself is believed there: a service may run as the same user."""
    monkeypatch.setattr(discovery, "is_trusted_user", lambda uid: uid == 0)
    monkeypatch.setattr(discovery.Search, "_runs_process_1", lambda _: 12345)
    monkeypatch.setattr(discovery, "peer", lambda _: (pid, 12345))
    place = _place(places, "cohabit-a")
    if os.geteuid() == 0:
        os.chown(place, 12345, 12345)
    with serving(place, {"ps": answer(0, "me")}):
        if found:
            assert connection.ask("ps").text == "me"
        else:
            with pytest.raises(ConnectionFailedError, match="no cohabit of root"):
                connection.ask("ps")


def test_a_directory_that_was_set(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """COHABIT_RUNTIME_DIR is the only place then."""
    other = _place(places, "other")
    monkeypatch.setattr(discovery, "environment", lambda: {"COHABIT_RUNTIME_DIR": str(other)})
    with serving(_place(places, "run/a"), {"ps": answer(0, "wrong")}):
        with pytest.raises(ConnectionFailedError, match=f"no cohabit listens at {other}/control"):
            connection.ask("ps")
        with serving(other, {"ps": answer(0, "right")}):
            assert connection.ask("ps").text == "right"


def test_not_allowed(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """77 where there is one that does not let us in."""

    def forbidden(path: str, *_: object, **__: object) -> int:
        raise PermissionError(13, "no", path)

    monkeypatch.setattr("cohabit.cli.discovery.os.open", forbidden)
    with pytest.raises(ConnectionFailedError, match="does not talk to uid") as caught:
        connection.ask("ps")
    assert caught.value.exit_code == 77
    del places


def test_silence(tmp_path: Path) -> None:
    """A server that is stopped does not hold its clients."""
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        with pytest.raises(SilentError, match=r"cannot ps: cohabit has not answered within 0.01 s"):
            connection.ask("ps", path=path, seconds=0.01)


def test_one_deadline_for_the_body_too(tmp_path: Path) -> None:
    """A server that stops in the middle does not hold its clients; one that streams may."""
    end = threading.Event()

    def tell(to: socket.socket) -> None:
        to.sendall(b"0 \n{}\n{")
        end.wait(20)
        to.sendall(b"}\n")

    with serving(tmp_path, {"ps": tell}) as server:
        told = connection.ask("ps", path=server.path, seconds=0.2)
        assert told.line() == b"{}"
        with pytest.raises(SilentError, match=r"cannot ps: cohabit has not answered within 0.2 s"):
            told.line()
        end.set()
        streamed = connection.ask("ps", path=server.path, seconds=5.0, streams=True)
        assert streamed.until is None
        assert list(streamed.lines()) == [b"{}", b"{}"]


def full(path: Path) -> list[socket.socket]:
    """A listener whose queue is full, and who is in it."""
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


def test_a_full_queue_is_waited_for_once_nothing_else_is_left(places: Path) -> None:
    """A trusted socket whose queue is full holds nobody up where process 1 answers, and else only till the deadline."""
    kept = full(_place(places, "run/a") / "control")
    with pytest.raises(SilentError, match="cannot ps: cohabit has not answered"):
        connection.ask("ps", seconds=0.1)
    with serving(_place(places, "cohabit-b"), {"ps": answer(0, "me")}):
        assert connection.ask("ps", seconds=0.4).text == "me"
    for one in kept:
        one.close()


def test_process_1_is_taken_before_a_full_queue_is_waited_for(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search ends at whoever is meant: what is behind it is not looked at."""
    kept = full(_place(places, "run/a") / "control")
    waited: list[float] = []
    monkeypatch.setattr(discovery, "waiting_socket", waited.append)
    monkeypatch.setattr(discovery, "peer", lambda _: (1, 0))
    with serving(_place(places, "run/b"), {"ps": answer(0, "me")}):
        assert connection.ask("ps").text == "me"
    assert not waited
    for one in kept:
        one.close()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o757])
def test_a_directory_that_others_may_write_is_not_entered(places: Path, mode: int) -> None:
    """Whoever owns it."""
    place = _place(places, "cohabit-a")
    place.chmod(mode)
    with (
        serving(place, {"ps": answer(0, "wrong")}),
        pytest.raises(ConnectionFailedError, match="no cohabit is running"),
    ):
        connection.ask("ps")


def test_links_are_not_followed(places: Path) -> None:
    """Neither the directory nor the socket may be one."""
    (places / "elsewhere").mkdir()
    with serving(places / "elsewhere", {"ps": answer(0, "wrong")}) as server:
        (places / "cohabit-a").symlink_to(places / "elsewhere")
        (_place(places, "cohabit-b") / "control").symlink_to(server.path)
        with pytest.raises(ConnectionFailedError, match="no cohabit is running"):
            connection.ask("ps")
    assert not server.requests


@pytest.mark.parametrize("told", [b"", b"hello\n", b"\n"])
def test_no_answer(told: bytes, tmp_path: Path) -> None:
    """Who hangs up without a code has said nothing."""
    with (
        serving(tmp_path, {"ps": told}) as server,
        pytest.raises(ConnectionFailedError, match="hung up without an answer"),
    ):
        connection.ask("ps", path=server.path)


@pytest.mark.parametrize("word", ["", "a b", "a\nb", "a\tb", "\x7f"])
def test_words_that_cannot_be_sent(word: str, tmp_path: Path) -> None:
    """A request has no second line, and words have no spaces."""
    with serving(tmp_path, {}) as server, pytest.raises(UsageError, match="name of no service"):
        connection.ask("ps", [word], path=server.path)
    assert not server.requests


def test_too_many_words(tmp_path: Path) -> None:
    """The server reads 64 KiB; more is told before it is sent."""
    with serving(tmp_path, {}) as server, pytest.raises(UsageError, match="too many words"):
        connection.ask("ps", ["x" * 1000] * 70, path=server.path)


def test_health_is_one_line_and_0_or_1(tmp_path: Path) -> None:
    """What Docker and Kubernetes want of it; nobody there is no health, and no other code."""
    with serving(tmp_path, {"health": answer(0, "all is well")}):
        done = run_client("health", COHABIT_RUNTIME_DIR=str(tmp_path))
        assert (done.returncode, done.stdout, done.stderr) == (0, "all is well\n", "")
    done = run_client("health", "--json", COHABIT_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout.startswith('{"code": 1, "text": "cannot health: no cohabit listens')
    (tmp_path / "control").unlink()
    for code, expected in ((1, 1), (71, 1), (77, 1), (64, 64)):
        with serving(tmp_path, {"health": answer(code, "no")}):
            assert run_client("health", "--live", "db", COHABIT_RUNTIME_DIR=str(tmp_path)).returncode == expected
        (tmp_path / "control").unlink()


def test_health_loads_next_to_nothing() -> None:
    """It is started every few seconds in thousands of containers: no json, no re, no os."""
    program = f"import sys; sys.path.append({os.path.dirname(os.path.dirname(rundir.__file__))!r} + '/..')"
    program += "; import cohabit.cli.main, cohabit.cli.health; print(*sys.modules)"
    done = client_python(program)
    loaded = {module for module in done.split() if not module.startswith("cohabit")}
    assert not loaded & {"json", "re", "os", "socket", "enum", "typing", "signal", "contextlib"}


def client_python(program: str) -> str:
    """Run a program in the bare interpreter; returns what it printed."""
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    ).stdout


def test_ps_asks_status_with_the_names(tmp_path: Path) -> None:
    """--socket names the server; the codes and reasons are its own."""
    with serving(tmp_path, {"status": status(service("web"))}) as server:
        assert run_client("ps", "-q", "web", "--socket", server.path).stdout == "web\n"
    assert server.requests == ["cohabit/2 status web"]
