"""The clients against a real cohabit in its own namespaces, through its control socket."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from linux.conftest import Start
from linux.run import AT_MOST_SECONDS, COHABIT, Run, lines_of, shell, write_file

Client = Callable[..., subprocess.CompletedProcess[str]]

SERVICES: dict[str, dict[str, Any]] = {
    "db": {"command": ["sleep", "1000"]},
    "web": {
        "command": shell("echo hello from $GREETING; exec sleep 1000"),
        "scale": 2,
        "environment": {"GREETING": "home"},
        "working_dir": "/tmp",
        "user": "65534:65534",
        "depends_on": ["db"],
        "stop_signal": "KILL",
    },
    "job": {"command": shell("exit 3"), "restart": "no", "essential": False},
}


@pytest.fixture
def cohabit(up: Start, tmp_path: Path) -> Run:
    """A cohabit with these services; all long-running ones are ready."""
    cohabit = up(SERVICES, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    cohabit.until_printed("hello from home", times=2)
    cohabit.until_printed("job: ended with exit code 3")
    return cohabit


@pytest.fixture
def client(cohabit: Run, tmp_path: Path) -> Client:
    """A function that runs a client to its end."""
    del cohabit

    def client(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": os.environ["PATH"], "COHABIT_RUNTIME_DIR": str(tmp_path / "run"), **variables}
        options: dict[str, Any] = {"env": variables, "timeout": AT_MOST_SECONDS}
        return subprocess.run([*COHABIT, *arguments], capture_output=True, text=True, check=False, **options)

    return client


def _states(client: Client) -> dict[str, str]:
    return {one["name"]: one["state"] for one in json.loads(client("ps", "--json").stdout)["services"]}


def test_ps(client: Client) -> None:
    """The names and states of the services."""
    assert client("ps", "-q").stdout.split() == ["db", "web-1", "web-2", "job"]
    assert _states(client) == {"db": "RUNNING", "web-1": "RUNNING", "web-2": "RUNNING", "job": "EXITED"}
    assert client("ps", "web").stdout.count("web-") == 2


def test_stop_start_restart_and_kill(client: Client) -> None:
    """Each returns when it is done; a stopped service stays down."""
    assert client("stop", "web-2").returncode == 0
    assert _states(client)["web-2"] == "STOPPED"
    assert client("start", "web-2").returncode == 0
    assert _states(client)["web-2"] == "RUNNING"
    before = json.loads(client("ps", "--json", "db").stdout)["services"][0]["pid"]
    assert client("restart", "db").returncode == 0
    assert json.loads(client("ps", "--json", "db").stdout)["services"][0]["pid"] != before
    assert client("kill", "web").returncode == 0
    assert {_states(client)[name] for name in ("web-1", "web-2")} <= {"STOPPED", "EXITED"}


def test_unknown_service_is_64(client: Client) -> None:
    """The message names the typed command, whatever its request is."""
    for typed in (("ps",), ("stop",), ("exec",), ("logs",), ("top",), ("wait",), ("signal", "HUP")):
        done = client(*typed, "dbb", *(("true",) if typed == ("exec",) else ()))
        assert done.returncode == 64
        assert done.stderr.startswith(f"cohabit: cannot {typed[0]}: ")
        assert "did you mean 'db'?" in done.stderr


def test_logs_and_events(client: Client) -> None:
    """The output and the events of a service."""
    assert sorted(client("logs", "web").stdout.splitlines()) == ["web-1 | hello from home", "web-2 | hello from home"]
    found = [json.loads(line) for line in client("logs", "--json", "web-1").stdout.splitlines()]
    assert [(one["service"], one["stream"], one["message"]) for one in found] == [
        ("web-1", "stdout", "hello from home")
    ]
    events = [json.loads(line)["event"] for line in client("events", "--json", "job").stdout.splitlines()]
    assert events[-1] == "EXITED"


def test_wait(client: Client) -> None:
    """0 when ready; the exit code of a job; of several services, that of the first that failed; 1 after a timeout."""
    assert client("wait", "web", "db").returncode == 0
    assert client("wait", "--for", "exit", "job").returncode == 3
    assert client("stop", "web-2").returncode == 0
    assert client("wait", "--for", "exit", "web-2", "job").returncode == 137  # stop_signal: KILL
    assert client("wait", "--for", "exit", "job", "web-2").returncode == 3
    assert client("wait", "--for", "exit", "db", "--wait-timeout", "10ms").returncode == 1
    assert client("wait", "--for", "exit", "job", "--wait-timeout", "0").returncode == 3
    done = client("wait", "--for", "exit", "db", "--wait-timeout", "0s")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cohabit: cannot wait: db: timed out waiting for the end (see cohabit why db)\n"


def test_exec(client: Client) -> None:
    """The environment, the user and the directory of the service."""
    done = client("exec", "web-1", "--", "sh", "-c", "id -u; pwd; echo $GREETING $COHABIT_REPLICA", GREETING="other")
    assert (done.returncode, done.stdout, done.stderr) == (0, "65534\n/tmp\nhome 1\n", "")


def test_scale_and_reload(client: Client, cohabit: Run, tmp_path: Path) -> None:
    """The client prints the changes, or the errors of the file."""
    assert "web-3 is new: starting it" in client("scale", "web=3").stdout
    cohabit.until_printed("hello from home", times=3)
    write_file(str(tmp_path), {**SERVICES, "db": {"command": ["sleep", "2000"]}})
    assert "db changed (command)" in client("reload").stdout
    write_file(str(tmp_path), {**SERVICES, "db": {"comand": "x"}})
    done = client("reload")
    assert (done.returncode, done.stdout) == (78, "")
    assert "comand" in done.stderr


def test_reexec_and_version(client: Client, cohabit: Run) -> None:
    """The same process continues with the installed program, and answers."""
    assert client("reexec").returncode == 0
    cohabit.until_printed("re-executed")
    assert json.loads(client("version", "--json").stdout)["running"]["pid"] == 1
    assert _states(client)["db"] == "RUNNING"


def test_down_with_a_service_is_refused(client: Client) -> None:
    """It would stop everything."""
    done = client("down", "web")
    why = "it stops everything (to stop one service: cohabit stop web)"
    assert (done.returncode, done.stderr) == (64, f"cohabit: cannot down: {why}\n")
    assert _states(client)["db"] == "RUNNING"


def test_down(client: Client, cohabit: Run) -> None:
    """The container ends with 0."""
    assert client("down").returncode == 0
    assert cohabit.wait() == 0
    assert client("ps").returncode == 69


def test_top_from_another_pid_namespace(client: Client) -> None:
    """Pids that denote other processes here are not used."""
    done = client("top")
    assert (done.returncode, done.stdout.splitlines()[1].split()) == (0, ["db", "-", "-", "-", "-"])
    assert done.stderr.startswith(
        "cohabit: cannot read the usage: the services' processes are in another PID namespace"
    )


def test_top_in_its_container(up: Start) -> None:
    """There, the usage is shown."""
    services = {"web": {"command": shell(f"{' '.join(COHABIT)} top; exec sleep 1000")}}
    cohabit = up(services, setup="mount -t tmpfs tmpfs /run")
    cohabit.until_printed("NAME")
    cohabit.until(lambda: "web" in [line.split()[0] for line in cohabit.lines("web") if line], "its row")
    (row,) = [line.split() for line in cohabit.lines("web") if line.startswith("web ")]
    assert "-" not in row
    cohabit.until(lambda: any(line.startswith("total ") for line in cohabit.lines("web")), "the total")
    (own,) = [line.split() for line in cohabit.lines("web") if line.startswith("cohabit ")]
    assert own[-2:] == ["1", "1"], "process 1 alone, with one thread"


@pytest.mark.parametrize("arguments", [["why"], ["why", "job"], ["graph"], ["timeline"], ["health"]])
def test_views_print_text(client: Client, arguments: list[str]) -> None:
    """With exit code 0."""
    done = client(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_stream_survives_a_reexecution(client: Client, cohabit: Run, tmp_path: Path) -> None:
    """`events -f` loses neither the connection nor an event."""
    with open(tmp_path / "events", "wb") as file:
        command = [*COHABIT, "events", "-f", "--json", "--socket", str(tmp_path / "run" / "control")]
        with subprocess.Popen(command, stdout=file) as follower:
            cohabit.until_written(str(tmp_path / "events"))
            assert client("reexec").returncode == 0
            cohabit.until_printed("re-executed")
            assert client("stop", "web-1").returncode == 0
            cohabit.until(lambda: _stopped(lines_of(str(tmp_path / "events"))), "the stop event")
            follower.terminate()


@pytest.mark.parametrize("proxy", ["true", "false"])
def test_attach_passes_signals_on(proxy: str, up: Start, tmp_path: Path) -> None:
    """The last lines come before the end, and the exit code is that of the run; without the proxy, ^C is for attach."""
    script = (
        "trap 'echo got' USR1; trap 'echo interrupted; exit 7' INT; echo hello; while :; do sleep 1000 & wait; done"
    )
    web = {"command": shell(script), "restart": "no", "essential": False, "stop_signal": "KILL"}
    other = {"command": ["sleep", "1000"]}
    cohabit = up({"web": web, "other": other}, environment={"COHABIT_RUNTIME_DIR": str(tmp_path)})
    cohabit.until_printed("hello")
    socket = ["--socket", str(tmp_path / "control")]
    with open(tmp_path / "out", "wb") as file:
        command = [*COHABIT, "attach", "--no-stdin", f"--sig-proxy={proxy}", *socket, "web"]
        with subprocess.Popen(command, stdout=file, stderr=file) as attached:

            def shown() -> list[str]:
                if not lines_of(str(tmp_path / "out")):
                    subprocess.run([*COHABIT, "signal", *socket, "USR1", "web"], check=True, stdout=subprocess.DEVNULL)
                return lines_of(str(tmp_path / "out"))

            cohabit.until(shown, "output of web")
            attached.send_signal(signal.SIGINT)
            code = attached.wait(AT_MOST_SECONDS)
    lines = set(lines_of(str(tmp_path / "out")))
    assert (code, lines) == ((7, {"got", "interrupted"}) if proxy == "true" else (-signal.SIGINT, {"got"}))


def _stopped(lines: list[str]) -> bool:
    events = [json.loads(line) for line in lines]
    return any((event["service"], event["event"]) == ("web-1", "STOPPED") for event in events)


def test_reload_without_a_socket_sends_a_signal(up: Start) -> None:
    """A client inside the container still works if no socket can be created."""
    script = f"{' '.join(COHABIT)} reload; exec sleep 1000"
    cohabit = up({"web": {"command": shell(script)}}, environment={"COHABIT_RUNTIME_DIR": "/proc/nowhere"})
    cohabit.until_printed("SIGHUP sent to process 1")
    cohabit.until_printed("reload: nothing has changed")


def test_second_up_is_refused(cohabit: Run) -> None:
    """It would run all services a second time; the message says how to start a service."""
    inside = ["nsenter", f"--target={cohabit.pid}", "--pid", "--mount", *COHABIT, "up"]
    done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=AT_MOST_SECONDS)
    assert done.returncode == 64
    assert "cohabit start NAME" in done.stderr


def test_stop_and_continue_by_signal(cohabit: Run, client: Client) -> None:
    """A service stopped by SIGSTOP continues after SIGCONT; `cohabit stop` ends a stopped one."""
    db = cohabit.below("sleep 1000")[0]  # the others depend on it, so it was started first
    assert client("signal", "STOP", "db").returncode == 0
    cohabit.until(lambda: _state_of(cohabit, db.pid) == "T", "db to stop")
    assert client("kill", "-s", "CONT", "db").returncode == 0
    cohabit.until(lambda: _state_of(cohabit, db.pid) == "S", "db to continue")
    assert client("signal", "STOP", "db").returncode == 0
    cohabit.until(lambda: _state_of(cohabit, db.pid) == "T", "db to stop")
    assert client("stop", "db").returncode == 0


def _state_of(cohabit: Run, pid: int) -> str:
    return next((process.state for process in cohabit.below("sleep 1000") if process.pid == pid), "")
