"""The verbs that talk to a running cohabit: what they ask, what they show, how they end."""

import fcntl
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from cohabit.cli import client, start, stop
from cohabit.cli.options import Command
from unit.control_story import MAIN, Server, answer, run_client, service, serving, status

DB = service("db", state="BACKOFF", code=137, restarts=3, next=1_700_000_102.0, out_of_memory=True, pids=[os.getpid()])
WEB = service("web-1", service="web", state="STOPPED", ready=False, pid=0, pids=[], depends_on=[
    {"service": "db", "condition": "service_healthy", "required": True, "satisfied": False},
])  # fmt: skip


def _talk(directory: Path, answers: dict[str, Any], *words: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a client against these answers; what came of it, and the requests without their greeting."""
    with serving(directory, answers) as server:
        done = run_client(*words, COHABIT_RUNTIME_DIR=str(directory))
    return done, [request.removeprefix("cohabit/2 ") for request in server.requests]


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        ("start web", "start web"),
        ("stop --no-wait web db", "stop web db wait=no"),
        ("restart web-1", "restart web-1"),
        ("restart --all", "restart db web-1"),
        ("kill web", "kill web signal=KILL"),
        ("kill -s sigusr1 web", "kill web signal=USR1"),
        ("kill -9 web", "kill web signal=KILL"),
        ("kill -HUP web", "kill web signal=HUP"),
        ("kill web -SIGUSR2 --", "kill web signal=USR2"),
        ("stop web --timeout 1m", "stop web"),
        ("signal 1 web db", "kill web db signal=HUP"),
        ("signal RTMIN+3 web", "kill web signal=RTMIN+3"),
        ("scale web=3 db=0", "scale web=3 db=0"),
        ("wait web", "wait web for=ready"),
        ("wait --for exit web --timeout 1m", "wait web for=exit"),
        ("health", "health for=ready"),
        ("health --ready --live db", "health db for=ready"),
        ("health --live", "health for=live"),
        ("reload", "reload"),
        ("reexec", "reexec"),
        ("down", "down"),
        ("logs -f -n 20 --since 1700000000.5 web", "logs web tail=20 since=1700000000.500000 follow=yes"),
        ("logs --tail all --since 2023-11-14T22:13:20Z", "logs since=1700000000.000000"),
        ("logs --since 2023-11-14T23:13:20+01:00", "logs since=1700000000.000000"),
        ("events -f web", "events web follow=yes"),
        ("why -n 3", "status output=3"),
        ("why web", "status output=10"),
    ],
)
def test_what_is_asked(words: str, request_: str, tmp_path: Path) -> None:
    """Options and names as the protocol has them."""
    verb = request_.partition(" ")[0]
    answers = {"status": status(DB, WEB), verb: status(DB, WEB) if verb == "status" else answer(0, "done")}
    done, requests = _talk(tmp_path, answers, *words.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert requests[-1] == request_


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("start", "no service is named (name some, or all of them: --all)"),
        ("stop --all web", "--all and names exclude each other"),
        ("kill -s NOPE web", "'NOPE' is not a signal"),
        ("signal", "no signal is named"),
        ("signal HUP", "no service is named"),
        ("scale web", "'web' is no SERVICE=N"),
        ("scale", "no service is named"),
        ("wait", "no service is named"),
        ("wait web --for gone", "--for is ready or exit, not 'gone'"),
        ("wait web --timeout soon", "'soon' is not a duration"),
        ("logs -n few", "--tail 'few' is no number of lines"),
        ("logs --since soon", "--since 'soon' is no time"),
        ("logs --since 2023-99-14T22:13:20Z", "is no time"),
        ("graph --svg --mermaid", "--mermaid and --svg exclude each other"),
        ("exec", "no service is named"),
        ("exec web", "no command is given (write: cohabit exec web -- COMMAND)"),
        ("why -n x", "--tail 'x' is no number"),
        ("completion zhs", "did you mean 'zsh'?"),
        ("help nothing-near", "there is no verb 'nothing-near' (cohabit help lists them)"),
        ("help ps logs", "ps and logs at once"),
        ("completion bash zsh", "bash and zsh at once"),
        ("down web", "it stops everything (to stop one service: cohabit stop web)"),
        ("reexec web", "not 'web' (to start a service anew: cohabit restart SERVICE)"),
        ("reload web", "not only 'web' (to start a service anew: cohabit restart SERVICE)"),
        ("timeline web", "not only of 'web'"),
        ("version web", "it takes no arguments (what is 'web'?)"),
        ("start web --timeout soon", "'soon' is not a duration"),
        ("scale web=2 --timeout soon", "'soon' is not a duration"),
        ("help pss", "there is no verb 'pss' (did you mean 'ps'?)"),
    ],
)
def test_wrong_usage_is_told_without_asking_anybody(words: str, why: str, tmp_path: Path) -> None:
    """64, with what to write instead."""
    done, requests = _talk(tmp_path, {}, *words.split())
    assert (done.returncode, done.stdout, requests) == (64, "", [])
    assert done.stderr.startswith(f"cohabit: cannot {words.partition(' ')[0]}: ")
    assert why in done.stderr


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "wait", "down", "reexec"])
@pytest.mark.parametrize("code", [0, 1, 64, 71, 77])
def test_the_exit_code_is_the_answers(verb: str, code: int, tmp_path: Path) -> None:
    """Done goes to stdout, anything else to stderr as a whole sentence, and both to stdout as JSON."""
    names = [] if verb in {"down", "reexec"} else ["web"]
    done, _ = _talk(tmp_path, {verb: answer(code, "web: so it is")}, verb, *names)
    assert done.returncode == code
    assert done.stdout == ("web: so it is\n" if code == 0 else "")
    assert done.stderr == ("" if code == 0 else f"cohabit: cannot {verb}: web: so it is\n")
    (tmp_path / "control").unlink()
    done, _ = _talk(tmp_path, {verb: answer(code, f"cannot {verb}: no")}, verb, *names, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["code"], told["text"]) == (code, code, f"cannot {verb}: no")


def test_what_a_reload_brings(tmp_path: Path) -> None:
    """The changes on stdout; of a wrong file the problems on stderr, and 78."""
    lines = ({"text": "web changed (command): restarting"}, {"text": "new is new: starting it"})
    done, _ = _talk(tmp_path, {"reload": answer(0, "done", *lines)}, "reload")
    assert (done.returncode, done.stdout) == (0, "web changed (command): restarting\nnew is new: starting it\n")
    (tmp_path / "control").unlink()
    wrong = answer(78, "cannot reload: the file is wrong (nothing was changed)", {"text": "cohabit.yaml:3: no"})
    done, _ = _talk(tmp_path, {"scale": wrong}, "scale", "web=2")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "cohabit.yaml:3: no\ncohabit: cannot reload: the file is wrong (nothing was changed)\n"


def test_a_wait_that_takes_too_long_is_1(tmp_path: Path) -> None:
    """--timeout is the client's own."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control"))
        silent.listen()
        done = run_client("wait", "db", "--timeout", "10ms", COHABIT_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cohabit: cannot wait: db: not ready after 10ms (cohabit why db)\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("wait db --timeout 0", "db: not ready (cohabit why db)"),
        ("wait --for exit db --timeout 0s", "db: still running (cohabit why db)"),
        ("start db --timeout 10ms", "db: not ready after 10ms (it goes on; cohabit why db)"),
        ("restart db web --timeout 10ms", "db and web: not ready after 10ms (it goes on; cohabit why db)"),
        ("stop a b c d e --timeout 10ms", "a, b, c and 2 more: not stopped after 10ms (it goes on; cohabit why a)"),
        ("scale db=2 --timeout 10ms", "db=2: the file is still being read after 10ms (it goes on; cohabit ps)"),
    ],
)
def test_no_answer_within_the_timeout_is_1(words: str, says: str, tmp_path: Path) -> None:
    """Each verb that waits, in words and as JSON; 0 only looks."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control"))
        silent.listen()
        done = run_client(*words.split(), COHABIT_RUNTIME_DIR=str(tmp_path))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"cohabit: cannot {words.partition(' ')[0]}: {says}\n"
        done = run_client(*words.split(), "--json", COHABIT_RUNTIME_DIR=str(tmp_path))
        assert (done.returncode, json.loads(done.stdout)) == (1, {"code": 1, "text": says})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["start", "db"], b"cohabit: still waiting: db is not ready: BACKOFF"),
        (["stop", "db"], b"cohabit: still waiting: db is BACKOFF"),
        (["wait", "--for", "exit", "db"], b"cohabit: still waiting: db is BACKOFF"),
        (["scale", "db=2"], b"cohabit: still waiting: the file is being read"),
    ],
)
def test_who_looks_on_is_told_what_for(words: list[str], says: bytes, tmp_path: Path) -> None:
    """One line on a terminal when the answer takes its time, and the answer all the same."""
    asked: list[socket.socket] = []

    def later(to: socket.socket) -> None:
        asked.append(to.dup())

    answers: dict[str, Any] = {words[0]: later, "health": answer(1, "db is not ready: BACKOFF"), "status": status(DB)}
    with serving(tmp_path, answers) as server:
        pid, fd = pty.fork()
        if pid == 0:
            command = [sys.executable, "-I", "-S", MAIN, *words, "--socket", server.path]
            os.execve(sys.executable, command, {"TERM": "xterm"})
        try:
            _read_until(fd, says)
            asked[0].sendall(b"0 that is done\n")
            asked[0].close()
            assert b"still" not in _read_until(fd, b"that is done")
            assert os.waitpid(pid, 0)[1] == 0
        finally:
            os.close(fd)


def test_the_exit_code_of_a_service_is_no_failure_of_the_wait(tmp_path: Path) -> None:
    """What was asked for goes to stdout; what is wrong with the request does not."""
    done, _ = _talk(tmp_path, {"wait": answer(3, "job: exit code 3")}, "wait", "--for", "exit", "job")
    assert (done.returncode, done.stdout, done.stderr) == (3, "job: exit code 3\n", "")
    (tmp_path / "control").unlink()
    done, _ = _talk(tmp_path, {"wait": answer(64, "cannot wait: no such service")}, "wait", "--for", "exit", "job")
    assert (done.returncode, done.stdout, done.stderr) == (64, "", "cohabit: cannot wait: no such service\n")


def test_ps(tmp_path: Path) -> None:
    """The table, the names alone, and everything as JSON."""
    done, _ = _talk(tmp_path, {"status": status(DB, WEB, ready=False)}, "ps")
    assert done.stdout.splitlines()[0].split()[:2] == ["NAME", "STATE"]
    assert "SIGKILL (out of memory)" in done.stdout
    (tmp_path / "control").unlink()
    done, _ = _talk(tmp_path, {"status": status(DB, WEB)}, "ps", "-q")
    assert done.stdout == "db\nweb-1\n"
    (tmp_path / "control").unlink()
    told = json.loads(_talk(tmp_path, {"status": status(DB, WEB)}, "ps", "--json")[0].stdout)
    assert (told["container"]["phase"], [one["name"] for one in told["services"]]) == ("up", ["db", "web-1"])


def test_an_unknown_service_is_told_by_the_server(tmp_path: Path) -> None:
    """Its code, and its words behind the verb that was typed."""
    told = answer(64, "cannot status: there is no service 'wbe' (did you mean 'web'?)")
    done, _ = _talk(tmp_path, {"status": told}, "ps", "wbe")
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == "cohabit: cannot ps: there is no service 'wbe' (did you mean 'web'?)\n"


class Watching:
    """A server whose status and events change while somebody looks on."""

    def __init__(self, directory: Path) -> None:
        self.state = "STARTING"
        self.stream: socket.socket | None = None
        self.server = Server(str(directory / "control"), {"status": self._status, "events": self._events})

    def _status(self, to: socket.socket) -> None:
        to.sendall(status(service("web", state=self.state)))

    def _events(self, to: socket.socket) -> None:
        self.stream = to.dup()
        self.stream.sendall(b"0 \n")

    def change(self, state: str) -> None:
        """Have the service in another state, and say so."""
        self.state = state
        assert self.stream
        self.stream.sendall(b'{"time": 1, "service": "web", "event": "x", "text": "", "code": null}\n')

    def end(self) -> None:
        """Be gone, as a container is."""
        self.server.close()
        os.unlink(self.server.path)
        assert self.stream
        self.stream.close()


def _read_until(fd: int, text: bytes) -> bytes:
    shown, deadline = b"", time.monotonic() + 30
    while text not in shown:
        assert select.select([fd], [], [], deadline - time.monotonic())[0], shown
        piece = os.read(fd, 65_536)
        assert piece, shown
        shown += piece
    return shown


def test_ps_watch_without_a_terminal_prints_what_has_changed(tmp_path: Path) -> None:
    """A new table for each new state, until the container has ended."""
    watching = Watching(tmp_path)
    command = [sys.executable, "-I", "-S", MAIN, "ps", "--watch", "--socket", watching.server.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watcher:
        assert watcher.stdout
        assert watcher.stderr
        assert b"\x1b" not in _read_until(watcher.stdout.fileno(), b"STARTING")
        watching.change("RUNNING")
        _read_until(watcher.stdout.fileno(), b"RUNNING")
        watching.end()
        assert watcher.wait(timeout=30) == 0
        assert watcher.stderr.read() == b"cohabit: it has ended\n"


def test_ps_watch_on_a_terminal_draws_over_the_last_table(tmp_path: Path) -> None:
    """The cursor goes up by as many lines as there were; ^C ends it, and nothing has to be put back."""
    watching = Watching(tmp_path)
    pid, fd = pty.fork()
    if pid == 0:
        words = [sys.executable, "-I", "-S", MAIN, "ps", "--watch", "--socket", watching.server.path]
        os.execve(sys.executable, words, {"TERM": "xterm"})
    try:
        _read_until(fd, b"STARTING")
        watching.change("RUNNING")
        shown = _read_until(fd, b"RUNNING")
        assert re.search(rb"\x1b\[\d+A", shown)
        assert b"\x1b[?" not in shown
        os.write(fd, b"\x03")
        _, code = os.waitpid(pid, 0)
        assert os.WTERMSIG(code) == 2
    finally:
        os.close(fd)
        watching.end()


def _records(*records: tuple[str, str, float, bytes]) -> bytes:
    told = [f"{name} {stream} {at:.6f} {len(data)}\n".encode() + data for name, stream, at, data in records]
    return b"0 \n" + b"".join(told)


LOGS = _records(
    ("web-1", "stdout", 1_700_000_000.25, b"hello\nthere\n"),
    ("db", "stderr", 1_700_000_001.5, b"oops\n"),
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "web-1   | hello\nweb-1   | there\ndb      | oops\n"),
        (["web", "db"], "web-1 | hello\nweb-1 | there\ndb    | oops\n"),
        (["--no-prefix"], "hello\nthere\noops\n"),
        (
            ["-t", "--no-prefix"],
            "2023-11-14T22:13:20.250000Z hello\n2023-11-14T22:13:20.250000Z there\n2023-11-14T22:13:21.500000Z oops\n",
        ),
        (["-t", "db", "web-1"], None),
    ],
)
def test_logs(words: list[str], expected: str | None, tmp_path: Path) -> None:
    """Lines with the prefix of the container's log, as wide as the names that may come."""
    done, _ = _talk(tmp_path, {"status": status(DB, WEB), "logs": LOGS}, "logs", *words)
    assert (done.returncode, done.stderr) == (0, "")
    if expected is None:
        assert done.stdout.startswith("web-1 | 2023-11-14T22:13:20.250000Z hello\n")
    else:
        assert done.stdout == expected


def test_logs_as_json(tmp_path: Path) -> None:
    """One object a line, and what is no UTF-8 is replaced."""
    told = _records(("db", "stderr", 1.5, b"a\n\xff\n"), ("db", "dropped", 2.0, b"12345"))
    done, _ = _talk(tmp_path, {"logs": told}, "logs", "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"time": 1.5, "service": "db", "stream": "stderr", "message": "a"},
        {"time": 1.5, "service": "db", "stream": "stderr", "message": "\ufffd"},
        {"time": 2.0, "service": "db", "stream": "dropped", "message": "12345"},
    ]


def test_a_slow_reader_is_told_what_it_missed(tmp_path: Path) -> None:
    """On stderr, where nobody takes it for a line of a service."""
    done, _ = _talk(tmp_path, {"status": status(), "logs": _records(("db", "dropped", 2.0, b"12345"))}, "logs")
    assert (done.stdout, "12345 bytes were missed" in done.stderr) == ("", True)


def test_a_reader_that_has_gone_ends_it_in_silence(tmp_path: Path) -> None:
    """`cohabit logs -f | head`: by SIGPIPE, as any other program, and no traceback."""

    def flood(to: socket.socket) -> None:
        to.sendall(b"0 \n")
        while True:
            to.sendall(b"db stdout 1.000000 65537\n" + b"x" * 65_536 + b"\n")

    with serving(tmp_path, {"status": status(), "logs": flood}) as server:
        command = [sys.executable, "-I", "-S", MAIN, "logs", "-f", "--socket", server.path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
            assert reader.stdout
            assert reader.stderr
            assert os.read(reader.stdout.fileno(), 10)
            reader.stdout.close()
            assert reader.wait(timeout=30) == -13
            assert reader.stderr.read() == b""


def test_events(tmp_path: Path) -> None:
    """When, whose, what and why; the container's own under the name that it has in the log."""
    told = answer(
        0, "",
        {"time": 1_700_000_001.25, "service": "db", "event": "BACKOFF", "text": "exit code 3\n", "code": 3},
        {"time": 1_700_000_002.5, "service": "", "event": "ready", "text": "", "code": None},
    )  # fmt: skip
    done, _ = _talk(tmp_path, {"events": told}, "events")
    assert done.stdout.splitlines() == [
        "2023-11-14T22:13:21.250Z  db            BACKOFF    exit code 3\\n",
        "2023-11-14T22:13:22.500Z  cohabit       ready",
    ]
    (tmp_path / "control").unlink()
    done, _ = _talk(tmp_path, {"events": told}, "events", "--json")
    assert done.stdout.encode() == told.partition(b"\n")[2]


def test_version(tmp_path: Path) -> None:
    """Ours, and that of the one that runs; without one, ours alone."""
    told = answer(0, "", {"version": "0.0.1", "protocol": 2, "pid": 1})
    done, _ = _talk(tmp_path, {"version": told}, "version")
    ours, running = done.stdout.splitlines()
    assert ours.startswith("cohabit ")
    assert running == "running: 0.0.1, process 1 (cohabit reexec replaces it by this one)"
    (tmp_path / "control").unlink()
    done = run_client("version", "--json", COHABIT_RUNTIME_DIR=str(tmp_path))
    assert json.loads(done.stdout)["running"] is None


def test_top_counts_whole_trees(tmp_path: Path) -> None:
    """A service's processes and their descendants: here this test and the client that it runs."""
    done, _ = _talk(tmp_path, {"status": status(DB, WEB, pid=os.getppid())}, "top", "--json")
    db, web = json.loads(done.stdout)["services"]
    assert db["processes"] >= 2
    assert db["rss_bytes"] > 1_000_000
    assert db["cpu_seconds"] > 0
    assert db["fds"] > 3
    assert (web["name"], web["processes"], web["rss_bytes"], web["fds"]) == ("web-1", 0, 0, 0)


@pytest.mark.parametrize(
    ("words", "beginning"),
    [
        (["graph"], "web-1"),
        (["graph", "--mermaid"], "flowchart"),
        (["graph", "--svg"], "<"),
        (["graph", "--json"], '{"nodes"'),
        (["timeline"], ""),
        (["timeline", "--svg"], "<"),
        (["timeline", "--json"], '{"began"'),
        (["why"], "web-1 waits for db"),
        (["why", "db"], "db keeps failing"),
        (["why", "db", "web", "--json"], '[{"service": "db"'),
    ],
)
def test_views(words: list[str], beginning: str, tmp_path: Path) -> None:
    """Every form of them comes out, in at most 80 columns where it is for people."""
    done, _ = _talk(tmp_path, {"status": status(DB, WEB, ready=False)}, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(beginning)
    if not {"--svg", "--json", "--mermaid"} & set(words):
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_why_of_an_unknown_service(tmp_path: Path) -> None:
    """64, and who was probably meant."""
    done, _ = _talk(tmp_path, {"status": status(DB, WEB)}, "why", "dbb")
    assert (done.returncode, done.stderr) == (
        64,
        "cohabit: cannot why: there is no service 'dbb' (did you mean 'db'?)\n",
    )


def test_the_version_where_we_may_not_talk(tmp_path: Path) -> None:
    """Ours is told all the same, with 0, and why the other one is not."""
    no = answer(77, "user 5 may not use the control socket")
    done, _ = _talk(tmp_path, {"version": no}, "version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == "running: unknown: user 5 may not use the control socket"
    (tmp_path / "control").unlink()
    told = json.loads(_talk(tmp_path, {"version": no}, "version", "--json")[0].stdout)
    assert (told["running"], told["text"]) == (None, "user 5 may not use the control socket")


def test_a_wrong_question_about_health_is_an_error_on_one_line(tmp_path: Path) -> None:
    """64 on stderr, as with any verb; yes and no stay on stdout."""
    done, _ = _talk(tmp_path, {"health": answer(64, "cannot health: there is no service 'x'")}, "health", "x")
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == "cohabit: cannot health: there is no service 'x'\n"


def test_top_where_the_processes_are_somebody_elses(tmp_path: Path) -> None:
    """A pid that is there, and no child of that supervisor, is another one's: dashes, null, and one note."""
    told = {"status": status(service("db", pids=[os.getpid()]), pid=1_234_567)}
    done, _ = _talk(tmp_path, told, "top", "--json")
    (db,) = json.loads(done.stdout)["services"]
    assert db == {"name": "db", **dict.fromkeys(set(db) - {"name"})}
    assert done.stderr.count("cohabit: its processes cannot be seen from here") == 1
    (tmp_path / "control").unlink()
    done, _ = _talk(tmp_path, told, "top")
    assert done.stdout.splitlines()[1].split() == ["db", "-", "-", "-", "-"]


EVIL = b"\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07 \xc2\x9b2J \xe2\x80\xae\r\xff\tok"


def test_logs_on_a_terminal_are_harmless(tmp_path: Path) -> None:
    """Colours and tabs stay; what would clear the screen, set a title or turn the text is shown as escapes."""
    answers = {"status": status(DB), "logs": _records(("db", "stdout", 1.0, EVIL + b"\nend\n"))}
    with serving(tmp_path, answers) as server:
        pid, fd = pty.fork()
        if pid == 0:
            words = [sys.executable, "-I", "-S", MAIN, "logs", "--socket", server.path]
            os.execve(sys.executable, words, {"TERM": "xterm", "NO_COLOR": "1"})
        shown = _read_until(fd, b"end\r\n")
        os.waitpid(pid, 0)
        os.close(fd)
    wanted = rb" \x1b[2J\x1b]0;title\x07 \x9b2J \u202e\r\xff" + b"\tok\x1b[0m\r\n"
    assert b"| \x1b[31mred\x1b[0m" + wanted in shown
    (tmp_path / "control").unlink()
    with serving(tmp_path, answers) as server:
        words = [sys.executable, "-I", "-S", MAIN, "logs", "--no-prefix", "--socket", server.path]
        assert subprocess.run(words, capture_output=True, check=True).stdout == EVIL + b"\nend\n"


def test_a_low_terminal_shows_the_worst_first_and_the_closing_line(tmp_path: Path) -> None:
    """What fails is looked for; what is fine may be left out."""
    many = [service(f"fine-{number}") for number in range(30)]
    answers = {
        "status": status(*many, service("broken", state="FATAL", ready=False, pid=0), ready=False),
        "events": b"0 \n",
    }
    with serving(tmp_path, answers) as server:
        pid, fd = pty.fork()
        if pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 100, 0, 0))
            words = [sys.executable, "-I", "-S", MAIN, "ps", "--watch", "--socket", server.path]
            os.execve(sys.executable, words, {"TERM": "xterm", "NO_COLOR": "1"})
        try:
            shown = _read_until(fd, b"\x1b[J").decode().splitlines()
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.close(fd)
    assert len(shown) <= 10
    assert shown[1].startswith("broken")
    assert "lines more" in shown[-4]
    assert "not everything is ready" in shown[-2]


@pytest.mark.parametrize(("verb", "expected"), [(start.COMMAND, ["web"]), (stop.COMMAND, ["web", "nightly"])])
def test_all_means_no_run_of_a_scheduled_job(
    verb: Command, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wants everything up does not want tonight's backup now; whoever wants all down wants that down, too."""
    services = [service("web"), service("nightly", schedule="0 3 * * *")]
    monkeypatch.setattr(client, "status", lambda *_: ({}, services))
    assert start.names(verb, {"all": True}, []) == expected
