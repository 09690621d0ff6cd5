"""The commands that send requests to a running cohabit: their requests, output and exit codes."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from cohabit.cli import start, stop
from cohabit.cli.options import Command
from cohabit.client import Client, ContainerStatus, ServiceStatus, Status
from unit.control_story import CONTAINER, MAIN, Server, answer, run_client, service, serving, status

DB = service("db", state="BACKOFF", code=137, restarts=3, next=1_700_000_102.0, out_of_memory=True, pids=[os.getpid()])
WEB = service("web-1", service="web", state="STOPPED", ready=False, pid=0, pids=[], depends_on=[
    {"service": "db", "condition": "service_healthy", "required": True, "satisfied": False},
])  # fmt: skip


def _run(
    directory: Path, answers: dict[str, Any], *arguments: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a client against these answers; returns its result, and the requests without the protocol's name."""
    with serving(directory, answers) as server:
        done = run_client(*arguments, COHABIT_RUNTIME_DIR=str(directory))
    return done, [request.removeprefix("cohabit/2 ") for request in server.requests]


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        ("start web", "start web"),
        ("stop --no-wait web db", "stop web db wait=no"),
        ("restart web-1", "restart web-1"),
        ("start", "start db web-1"),
        ("stop", "stop db web-1"),
        ("restart", "restart db web-1"),
        ("kill", "kill db web-1 signal=KILL"),
        ("kill -s USR1", "kill db web-1 signal=USR1"),
        ("signal --all HUP", "kill db web-1 signal=HUP"),
        ("kill web", "kill web signal=KILL"),
        ("kill -s sigusr1 web", "kill web signal=USR1"),
        ("kill -9 web", "kill web signal=KILL"),
        ("kill -HUP web", "kill web signal=HUP"),
        ("kill web -SIGUSR2 --", "kill web signal=USR2"),
        ("stop web --wait-timeout 1m", "stop web"),
        ("signal 1 web db", "kill web db signal=HUP"),
        ("signal RTMIN+3 web", "kill web signal=RTMIN+3"),
        ("scale web=3 db=0", "scale web=3 db=0"),
        ("wait web", "wait web for=ready"),
        ("wait --all", "wait for=ready"),
        ("wait --for exit web --wait-timeout 1m", "wait web for=exit"),
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
def test_command_line_becomes_request(arguments: str, request_: str, tmp_path: Path) -> None:
    """Options and names are sent in the form of the protocol."""
    name = request_.partition(" ")[0]
    answers = {"status": status(DB, WEB), name: status(DB, WEB) if name == "status" else answer(0, "done")}
    done, requests = _run(tmp_path, answers, *arguments.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert requests[-1] == request_


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("stop --all web", "--all: without names it means all services (leave it out)"),
        ("signal HUP --all web", "--all and service names exclude each other"),
        ("kill -s NOPE web", "'NOPE' is not a signal"),
        ("signal", "no signal is given"),
        ("signal HUP", "no service is named"),
        ("scale web", "'web' is not of the form SERVICE=N"),
        ("scale", "no service is named"),
        ("wait", "no service is named"),
        ("wait web --all", "--all and service names exclude each other"),
        ("wait web --for gone", "--for must be ready or exit, not 'gone'"),
        ("wait web --wait-timeout soon", "'soon' is not a duration"),
        ("logs -n few", "--tail 'few' is not a number of lines"),
        ("logs --since soon", "--since 'soon' is not a time"),
        ("logs --since 2023-99-14T22:13:20Z", "is not a time"),
        ("graph --svg --mermaid", "--mermaid and --svg exclude each other"),
        ("exec", "no service is named"),
        ("exec web", "no command is given (write: cohabit exec web -- COMMAND)"),
        ("why -n x", "--tail 'x' is not a number"),
        ("completion zhs", "did you mean 'zsh'?"),
        ("help nothing-near", "there is no command 'nothing-near' (cohabit help lists them)"),
        ("help ps logs", "more than one command is named: ps and logs"),
        ("completion bash zsh", "more than one shell is named: bash and zsh"),
        ("down web", "it stops everything (to stop one service: cohabit stop web)"),
        ("reexec web", "not 'web' (to restart a service: cohabit restart SERVICE)"),
        ("reload web", "not only 'web' (to restart a service: cohabit restart SERVICE)"),
        ("timeline web", "not only of 'web'"),
        ("version web", "it does not accept arguments (what is 'web'?)"),
        ("start web --wait-timeout soon", "'soon' is not a duration"),
        ("scale web=2 --wait-timeout soon", "'soon' is not a duration"),
        ("help pss", "there is no command 'pss' (did you mean 'ps'?)"),
    ],
)
def test_wrong_usage_is_64_without_a_request(arguments: str, why: str, tmp_path: Path) -> None:
    """The message says what to write instead."""
    done, requests = _run(tmp_path, {}, *arguments.split())
    assert (done.returncode, done.stdout, requests) == (64, "", [])
    assert done.stderr.startswith(f"cohabit: cannot {arguments.partition(' ')[0]}: ")
    assert why in done.stderr


@pytest.mark.parametrize("command", ["start", "stop", "restart", "kill", "wait", "down", "reexec"])
@pytest.mark.parametrize("code", [0, 1, 64, 71, 77])
def test_exit_code_is_that_of_the_answer(command: str, code: int, tmp_path: Path) -> None:
    """Success goes to stdout, failure to stderr with the command's name; with --json, both go to stdout."""
    names = [] if command in {"down", "reexec"} else ["web"]
    done, _ = _run(tmp_path, {command: answer(code, "web: the reason")}, command, *names)
    assert done.returncode == code
    assert done.stdout == ("web: the reason\n" if code == 0 else "")
    assert done.stderr == ("" if code == 0 else f"cohabit: cannot {command}: web: the reason\n")
    (tmp_path / "control").unlink()
    done, _ = _run(tmp_path, {command: answer(code, f"cannot {command}: no")}, command, *names, "--json")
    printed = json.loads(done.stdout)
    assert (done.returncode, printed["code"], printed["text"]) == (code, code, f"cannot {command}: no")


def test_reload_prints_changes_or_errors(tmp_path: Path) -> None:
    """Changes go to stdout; the errors of a file go to stderr, with 78."""
    lines = ({"text": "web changed (command): restarting"}, {"text": "new is new: starting it"})
    done, _ = _run(tmp_path, {"reload": answer(0, "done", *lines)}, "reload")
    assert (done.returncode, done.stdout) == (0, "web changed (command): restarting\nnew is new: starting it\n")
    (tmp_path / "control").unlink()
    wrong = answer(78, "cannot reload: the file is wrong (nothing was changed)", {"text": "cohabit.yaml:3: no"})
    done, _ = _run(tmp_path, {"scale": wrong}, "scale", "web=2")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "cohabit.yaml:3: no\ncohabit: cannot reload: the file is wrong (nothing was changed)\n"


def test_wait_times_out_with_1(tmp_path: Path) -> None:
    """The client enforces --wait-timeout."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control"))
        silent.listen()
        done = run_client("wait", "db", "--wait-timeout", "10ms", COHABIT_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cohabit: cannot wait: db: timed out after 10ms waiting for readiness (see cohabit why db)\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("wait db --wait-timeout 0", "db: timed out waiting for readiness (see cohabit why db)"),
        ("wait --for exit db --wait-timeout 0s", "db: timed out waiting for the end (see cohabit why db)"),
        (
            "start db --wait-timeout 10ms",
            "db: timed out after 10ms waiting for readiness (it continues; see cohabit why db)",
        ),
        (
            "restart db web --wait-timeout 10ms",
            "db and web: timed out after 10ms waiting for readiness (it continues; see cohabit why db)",
        ),
        (
            "stop a b c d e --wait-timeout 10ms",
            "a, b, c and 2 more: timed out after 10ms waiting for the stop (it continues; see cohabit why a)",
        ),
        (
            "scale db=2 --wait-timeout 10ms",
            "db=2: timed out after 10ms waiting for the file to be read (it continues; see cohabit ps)",
        ),
    ],
)
def test_no_answer_within_the_timeout_is_1(arguments: str, text: str, tmp_path: Path) -> None:
    """Every command that waits, as text and as JSON; --wait-timeout 0 does not wait."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control"))
        silent.listen()
        done = run_client(*arguments.split(), COHABIT_RUNTIME_DIR=str(tmp_path))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"cohabit: cannot {arguments.partition(' ')[0]}: {text}\n"
        done = run_client(*arguments.split(), "--json", COHABIT_RUNTIME_DIR=str(tmp_path))
        assert (done.returncode, json.loads(done.stdout)) == (1, {"code": 1, "text": text})


@pytest.mark.parametrize(
    ("arguments", "notice"),
    [
        (["start", "db"], b"cohabit: still waiting: db is not ready: BACKOFF"),
        (["stop", "db"], b"cohabit: still waiting: db is BACKOFF"),
        (["wait", "--for", "exit", "db"], b"cohabit: still waiting: db is BACKOFF"),
        (["scale", "db=2"], b"cohabit: still waiting: the file is being read"),
    ],
)
def test_long_wait_shows_a_notice_on_a_terminal(arguments: list[str], notice: bytes, tmp_path: Path) -> None:
    """One line says what is pending; the answer follows as usual."""
    connections: list[socket.socket] = []

    def later(to: socket.socket) -> None:
        connections.append(to.dup())

    answers: dict[str, Any] = {"health": answer(1, "db is not ready: BACKOFF"), "status": status(DB)}
    answers[arguments[0]] = later
    with serving(tmp_path, answers) as server:
        pid, fd = pty.fork()
        if pid == 0:
            command = [sys.executable, "-I", "-S", MAIN, *arguments, "--socket", server.path]
            os.execve(sys.executable, command, {"TERM": "xterm"})
        try:
            _read_until(fd, notice)
            connections[0].sendall(b"0 ok that is done\n")
            connections[0].close()
            assert b"still" not in _read_until(fd, b"that is done")
            assert os.waitpid(pid, 0)[1] == 0
        finally:
            os.close(fd)


def test_wait_prints_the_exit_code_of_a_service_on_stdout(tmp_path: Path) -> None:
    """It is the requested result; an error of the request goes to stderr."""
    done, _ = _run(tmp_path, {"wait": answer(3, "job: exit code 3")}, "wait", "--for", "exit", "job")
    assert (done.returncode, done.stdout, done.stderr) == (3, "job: exit code 3\n", "")
    (tmp_path / "control").unlink()
    done, _ = _run(tmp_path, {"wait": answer(64, "cannot wait: no such service")}, "wait", "--for", "exit", "job")
    assert (done.returncode, done.stdout, done.stderr) == (64, "", "cohabit: cannot wait: no such service\n")


def test_ps(tmp_path: Path) -> None:
    """Prints a table; only the names with -q; all fields with --json."""
    done, _ = _run(tmp_path, {"status": status(DB, WEB, ready=False)}, "ps")
    assert done.stdout.splitlines()[0].split()[:2] == ["NAME", "STATE"]
    assert "SIGKILL (out of memory)" in done.stdout
    (tmp_path / "control").unlink()
    done, _ = _run(tmp_path, {"status": status(DB, WEB)}, "ps", "-q")
    assert done.stdout == "db\nweb-1\n"
    (tmp_path / "control").unlink()
    printed = json.loads(_run(tmp_path, {"status": status(DB, WEB)}, "ps", "--json")[0].stdout)
    assert (printed["container"]["phase"], [one["name"] for one in printed["services"]]) == ("up", ["db", "web-1"])


def test_error_of_the_server_names_the_typed_command(tmp_path: Path) -> None:
    """The code and the reason are the server's; the request's name is replaced."""
    refusal = answer(64, "cannot status: there is no service 'wbe' (did you mean 'web'?)")
    done, _ = _run(tmp_path, {"status": refusal}, "ps", "wbe")
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == "cohabit: cannot ps: there is no service 'wbe' (did you mean 'web'?)\n"


class WatchedServer:
    """A server whose status and events change during `ps --watch`."""

    def __init__(self, directory: Path) -> None:
        self.state = "STARTING"
        self.stream: socket.socket | None = None
        self.server = Server(str(directory / "control"), {"status": self._status, "events": self._events})

    def _status(self, to: socket.socket) -> None:
        to.sendall(status(service("web", state=self.state)))

    def _events(self, to: socket.socket) -> None:
        self.stream = to.dup()
        self.stream.sendall(b"0 ok \n")

    def change(self, state: str) -> None:
        """Change the state of the service, and send an event."""
        self.state = state
        assert self.stream
        self.stream.sendall(b'{"time": 1, "service": "web", "event": "x", "text": "", "code": null}\n')

    def end(self) -> None:
        """Close the socket, like the end of a container."""
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


def test_ps_watch_without_a_terminal_prints_each_change(tmp_path: Path) -> None:
    """A new table for each new state, until the container has ended."""
    watched = WatchedServer(tmp_path)
    command = [sys.executable, "-I", "-S", MAIN, "ps", "--watch", "--socket", watched.server.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watcher:
        assert watcher.stdout
        assert watcher.stderr
        assert b"\x1b" not in _read_until(watcher.stdout.fileno(), b"STARTING")
        watched.change("RUNNING")
        _read_until(watcher.stdout.fileno(), b"RUNNING")
        watched.end()
        assert watcher.wait(timeout=30) == 0
        assert watcher.stderr.read() == b"cohabit: the running cohabit no longer answers (has the container ended?)\n"


def test_ps_watch_on_a_terminal_redraws_in_place(tmp_path: Path) -> None:
    """The cursor moves up by the height of the last table; ^C ends it, and no mode of the terminal is changed."""
    watched = WatchedServer(tmp_path)
    pid, fd = pty.fork()
    if pid == 0:
        argv = [sys.executable, "-I", "-S", MAIN, "ps", "--watch", "--socket", watched.server.path]
        os.execve(sys.executable, argv, {"TERM": "xterm"})
    try:
        _read_until(fd, b"STARTING")
        watched.change("RUNNING")
        shown = _read_until(fd, b"RUNNING")
        assert re.search(rb"\x1b\[\d+A", shown)
        assert b"\x1b[?" not in shown
        os.write(fd, b"\x03")
        _, code = os.waitpid(pid, 0)
        assert os.WTERMSIG(code) == 2
    finally:
        os.close(fd)
        watched.end()


def _records(*records: tuple[str, str, float, bytes]) -> bytes:
    encoded = [f"{name} {stream} {at:.6f} {len(data)}\n".encode() + data for name, stream, at, data in records]
    return b"0 ok \n" + b"".join(encoded)


LOGS = _records(
    ("web-1", "stdout", 1_700_000_000.25, b"hello\nthere\n"),
    ("db", "stderr", 1_700_000_001.5, b"oops\n"),
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "web-1   | hello\nweb-1   | there\ndb      | oops\n"),
        (["web", "db"], "web-1 | hello\nweb-1 | there\ndb    | oops\n"),
        (["--no-log-prefix"], "hello\nthere\noops\n"),
        (
            ["-t", "--no-log-prefix"],
            "2023-11-14T22:13:20.250000Z hello\n2023-11-14T22:13:20.250000Z there\n2023-11-14T22:13:21.500000Z oops\n",
        ),
        (["-t", "db", "web-1"], None),
    ],
)
def test_logs(arguments: list[str], expected: str | None, tmp_path: Path) -> None:
    """Lines have the prefix of the container's log, as wide as the longest name that can occur."""
    done, _ = _run(tmp_path, {"status": status(DB, WEB), "logs": LOGS}, "logs", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    if expected is None:
        assert done.stdout.startswith("web-1 | 2023-11-14T22:13:20.250000Z hello\n")
    else:
        assert done.stdout == expected


def test_logs_as_json(tmp_path: Path) -> None:
    """One object per line; bytes that are not UTF-8 are replaced."""
    records = _records(("db", "stderr", 1.5, b"a\n\xff\n"), ("db", "dropped", 2.0, b"12345"))
    done, _ = _run(tmp_path, {"logs": records}, "logs", "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"time": 1.5, "service": "db", "stream": "stderr", "message": "a"},
        {"time": 1.5, "service": "db", "stream": "stderr", "message": "\ufffd"},
        {"time": 2.0, "service": "db", "stream": "dropped", "message": "12345"},
    ]


def test_logs_shows_unfinished_lines(tmp_path: Path) -> None:
    """Each part once, where it was shown if nothing came between; a newline at the end."""
    records = _records(
        ("db", "stdout", 1.0, b"a\nstart..."), ("db", "stdout", 1.0, b"half..."), ("db", "stdout", 1.0, b"done\nb"),
        ("db", "stderr", 1.0, b"oops\n"), ("db", "stdout", 1.0, b"\nc"), ("web-1", "stdout", 2.0, b"x"),
        ("db", "stdout", 2.0, b"d\n"), ("db", "dropped", 2.0, b"5"), ("db", "stdout", 2.0, b"> "),
    )  # fmt: skip
    done, _ = _run(tmp_path, {"status": status(DB, WEB), "logs": records}, "logs", "db", "web")
    text = "a\nstart...half...done\nb\noops\nc\nweb-1 | x\nd\n> \n"
    assert done.stdout.replace("db    | ", "") == text
    (tmp_path / "json").mkdir()
    done, _ = _run(tmp_path / "json", {"logs": records}, "logs", "--json")
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    messages = ["a", "start...half...done", "oops", "b", "cd", "5", "x", "> "]
    assert [each["message"] for each in objects] == messages


def test_logs_reports_omitted_bytes_on_stderr(tmp_path: Path) -> None:
    """There, it cannot be mistaken for a line of a service."""
    done, _ = _run(tmp_path, {"status": status(), "logs": _records(("db", "dropped", 2.0, b"12345"))}, "logs")
    assert (done.stdout, "12345 bytes were left out" in done.stderr) == ("", True)


def test_down_succeeds_when_the_sweep_reaches_it_first(tmp_path: Path) -> None:
    """In the container, `down` is one of the processes that are terminated; its request has succeeded."""

    def terminate(to: socket.socket) -> None:
        (pid,) = struct.unpack_from("i", to.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        os.kill(pid, signal.SIGTERM)
        to.sendall(b"0 ok stopping everything\n")

    done, _ = _run(tmp_path, {"down": terminate}, "down")
    assert (done.returncode, done.stdout) == (0, "stopping everything\n")


@pytest.mark.parametrize(("options", "printed"), [((), ""), (("--json",), '{"dropped": 12345}\n')])
def test_events_reports_omitted_bytes_on_stderr(tmp_path: Path, options: tuple[str, ...], printed: str) -> None:
    """As `logs` does; with --json the object is printed as it is."""
    done, _ = _run(tmp_path, {"events": b'0 ok \n{"dropped": 12345}\n'}, "events", *options)
    assert (done.stdout, done.returncode) == (printed, 0)
    assert ("12345 bytes were left out" in done.stderr) == (not options)


def test_closed_output_ends_the_client_silently(tmp_path: Path) -> None:
    """`cohabit logs -f | head` ends by SIGPIPE, like any other program, without a traceback."""

    def flood(to: socket.socket) -> None:
        to.sendall(b"0 ok \n")
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
    """Time, service, event, reason; the container's events have the name that it has in the log."""
    events = answer(
        0, "",
        {"time": 1_700_000_001.25, "service": "db", "event": "BACKOFF", "text": "exit code 3\n", "code": 3},
        {"time": 1_700_000_002.5, "service": "", "event": "ready", "text": "", "code": None},
    )  # fmt: skip
    done, _ = _run(tmp_path, {"events": events}, "events")
    assert done.stdout.splitlines() == [
        "2023-11-14T22:13:21.250Z  db            BACKOFF    exit code 3\\n",
        "2023-11-14T22:13:22.500Z  cohabit       ready",
    ]
    (tmp_path / "control").unlink()
    done, _ = _run(tmp_path, {"events": events}, "events", "--json")
    assert done.stdout.encode() == events.partition(b"\n")[2]


def test_version(tmp_path: Path) -> None:
    """Prints this version and that of the running cohabit; only this one if none is found."""
    found = answer(0, "", {"version": "0.0.1", "protocol": 2, "pid": 1})
    done, _ = _run(tmp_path, {"version": found}, "version")
    own, running = done.stdout.splitlines()
    assert own.startswith("cohabit ")
    assert running == "running: 0.0.1, process 1 (to replace it by this version: cohabit reexec)"
    (tmp_path / "control").unlink()
    done = run_client("version", "--json", COHABIT_RUNTIME_DIR=str(tmp_path))
    assert json.loads(done.stdout)["running"] is None


def test_top_counts_whole_trees(tmp_path: Path) -> None:
    """A service's processes and their descendants: here, this test and its client."""
    done, _ = _run(tmp_path, {"status": status(DB, WEB, pid=os.getppid())}, "top", "--json")
    db, web = json.loads(done.stdout)["services"]
    assert db["processes"] >= 2
    assert db["rss_bytes"] > 1_000_000
    assert db["cpu_seconds"] > 0
    assert db["fds"] > 3
    assert (web["name"], web["processes"], web["rss_bytes"], web["fds"]) == ("web-1", 0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "beginning"),
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
def test_views(arguments: list[str], beginning: str, tmp_path: Path) -> None:
    """Every output form works; text has at most 80 columns."""
    done, _ = _run(tmp_path, {"status": status(DB, WEB, ready=False)}, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(beginning)
    if not {"--svg", "--json", "--mermaid"} & set(arguments):
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_why_of_an_unknown_service(tmp_path: Path) -> None:
    """64, with the nearest name."""
    done, _ = _run(tmp_path, {"status": status(DB, WEB)}, "why", "dbb")
    assert (done.returncode, done.stderr) == (
        64,
        "cohabit: cannot why: there is no service 'dbb' (did you mean 'db'?)\n",
    )


def test_version_without_permission_for_the_running_one(tmp_path: Path) -> None:
    """This version is printed with 0, and the reason in place of the other one."""
    no = answer(77, "user 5 may not use the control socket")
    done, _ = _run(tmp_path, {"version": no}, "version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == "running: unknown: user 5 may not use the control socket"
    (tmp_path / "control").unlink()
    printed = json.loads(_run(tmp_path, {"version": no}, "version", "--json")[0].stdout)
    assert (printed["running"], printed["text"]) == (None, "user 5 may not use the control socket")


def test_health_reports_wrong_usage_on_stderr(tmp_path: Path) -> None:
    """64, like every command; yes and no go to stdout."""
    done, _ = _run(tmp_path, {"health": answer(64, "cannot health: there is no service 'x'")}, "health", "x")
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == "cohabit: cannot health: there is no service 'x'\n"


def test_top_without_access_to_the_processes(tmp_path: Path) -> None:
    """A pid that is not a child of that supervisor here belongs to another process: dashes, null, one warning."""
    answers = {"status": status(service("db", pids=[os.getpid()]), pid=1_234_567)}
    done, _ = _run(tmp_path, answers, "top", "--json")
    (db,) = json.loads(done.stdout)["services"]
    assert db == {"name": "db", **dict.fromkeys(set(db) - {"name"})}
    assert done.stderr.count("cohabit: cannot read the usage") == 1
    (tmp_path / "control").unlink()
    done, _ = _run(tmp_path, answers, "top")
    assert done.stdout.splitlines()[1].split() == ["db", "-", "-", "-", "-"]


EVIL = b"\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07 \xc2\x9b2J \xe2\x80\xae\r\xff\tok"


def test_logs_on_a_terminal_escape_control_characters(tmp_path: Path) -> None:
    """Colours and tabs are kept; what would clear the screen, set a title or turn the text is shown as escapes."""
    answers = {"status": status(DB), "logs": _records(("db", "stdout", 1.0, EVIL + b"\nend\n"))}
    with serving(tmp_path, answers) as server:
        pid, fd = pty.fork()
        if pid == 0:
            argv = [sys.executable, "-I", "-S", MAIN, "logs", "--socket", server.path]
            os.execve(sys.executable, argv, {"TERM": "xterm", "NO_COLOR": "1"})
        shown = _read_until(fd, b"end\r\n")
        os.waitpid(pid, 0)
        os.close(fd)
    wanted = rb" \x1b[2J\x1b]0;title\x07 \x9b2J \u202e\r\xff" + b"\tok\x1b[0m\r\n"
    assert b"| \x1b[31mred\x1b[0m" + wanted in shown
    (tmp_path / "control").unlink()
    with serving(tmp_path, answers) as server:
        argv = [sys.executable, "-I", "-S", MAIN, "logs", "--no-log-prefix", "--socket", server.path]
        assert subprocess.run(argv, capture_output=True, check=True).stdout == EVIL + b"\nend\n"


def test_low_terminal_shows_failed_services_first_and_the_footer(tmp_path: Path) -> None:
    """Services that are ready may be left out."""
    many = [service(f"fine-{number}") for number in range(30)]
    answers = {
        "status": status(*many, service("broken", state="FATAL", ready=False, pid=0), ready=False),
        "events": b"0 ok \n",
    }
    with serving(tmp_path, answers) as server:
        pid, fd = pty.fork()
        if pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 100, 0, 0))
            argv = [sys.executable, "-I", "-S", MAIN, "ps", "--watch", "--socket", server.path]
            os.execve(sys.executable, argv, {"TERM": "xterm", "NO_COLOR": "1"})
        try:
            shown = _read_until(fd, b"\x1b[J").decode().splitlines()
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.close(fd)
    assert len(shown) <= 10
    assert shown[1].startswith("broken")
    assert "more lines" in shown[-4]
    assert "the container is not ready" in shown[-2]


@pytest.mark.parametrize(("command", "expected"), [(start.COMMAND, ["web"]), (stop.COMMAND, ["web", "nightly"])])
def test_start_without_names_starts_no_scheduled_service(
    command: Command, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`start` without names does not start tonight's backup now; `stop` stops it if it runs."""
    services = [service("web"), service("nightly", schedule="0 3 * * *")]
    found = Status(ContainerStatus.from_json(CONTAINER), tuple(map(ServiceStatus.from_json, services)))
    cohabit = Client()
    monkeypatch.setattr(cohabit, "status", lambda: found)
    assert start.all_services(cohabit, command) == expected
