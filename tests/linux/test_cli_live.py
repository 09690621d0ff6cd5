"""The clients against a real cohabit: started in namespaces of its own, asked through its socket."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from linux.conftest import Start
from linux.run import AT_MOST_SECONDS, COHABIT, Run, lines_of, shell, write_file

Ask = Callable[..., subprocess.CompletedProcess[str]]

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
def life(up: Start, tmp_path: Path) -> Run:
    """Give a cohabit with these services, of which all that stays is ready."""
    life = up(SERVICES, environment={"COHABIT_RUNTIME_DIR": str(tmp_path / "run")})
    life.until_printed("hello from home", times=2)
    life.until_printed("job: ended with exit code 3")
    return life


@pytest.fixture
def ask(life: Run, tmp_path: Path) -> Ask:
    """Give the function that runs a client to its end."""
    del life

    def ask(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": os.environ["PATH"], "COHABIT_RUNTIME_DIR": str(tmp_path / "run"), **variables}
        options: dict[str, Any] = {"env": variables, "timeout": AT_MOST_SECONDS}
        return subprocess.run([*COHABIT, *words], capture_output=True, text=True, check=False, **options)

    return ask


def _states(ask: Ask) -> dict[str, str]:
    return {one["name"]: one["state"] for one in json.loads(ask("ps", "--json").stdout)["services"]}


def test_ps(ask: Ask) -> None:
    """Who there is, and how they are."""
    assert ask("ps", "-q").stdout.split() == ["db", "web-1", "web-2", "job"]
    assert _states(ask) == {"db": "RUNNING", "web-1": "RUNNING", "web-2": "RUNNING", "job": "EXITED"}
    assert ask("ps", "web").stdout.count("web-") == 2


def test_stop_start_restart_and_kill(ask: Ask) -> None:
    """Each returns when it is done, and what was stopped stays down."""
    assert ask("stop", "web-2").returncode == 0
    assert _states(ask)["web-2"] == "STOPPED"
    assert ask("start", "web-2").returncode == 0
    assert _states(ask)["web-2"] == "RUNNING"
    before = json.loads(ask("ps", "--json", "db").stdout)["services"][0]["pid"]
    assert ask("restart", "db").returncode == 0
    assert json.loads(ask("ps", "--json", "db").stdout)["services"][0]["pid"] != before
    assert ask("kill", "web").returncode == 0
    assert {_states(ask)[name] for name in ("web-1", "web-2")} <= {"STOPPED", "EXITED"}


def test_an_unknown_service(ask: Ask) -> None:
    """64, in terms of the verb that was typed, whichever request it makes of it."""
    for words in (("ps",), ("stop",), ("exec",), ("logs",), ("top",), ("wait",), ("signal", "HUP")):
        done = ask(*words, "dbb", *(("true",) if words == ("exec",) else ()))
        assert done.returncode == 64
        assert done.stderr.startswith(f"cohabit: cannot {words[0]}: ")
        assert "did you mean 'db'?" in done.stderr


def test_logs_and_events(ask: Ask) -> None:
    """What was written and what has happened, by service."""
    assert sorted(ask("logs", "web").stdout.splitlines()) == ["web-1 | hello from home", "web-2 | hello from home"]
    found = [json.loads(line) for line in ask("logs", "--json", "web-1").stdout.splitlines()]
    assert [(one["service"], one["stream"], one["message"]) for one in found] == [
        ("web-1", "stdout", "hello from home")
    ]
    events = [json.loads(line)["event"] for line in ask("events", "--json", "job").stdout.splitlines()]
    assert events[-1] == "EXITED"


def test_wait(ask: Ask) -> None:
    """Ready is 0; the exit code of a job is its own; time that is up is 1."""
    assert ask("wait", "web", "db").returncode == 0
    assert ask("wait", "--for", "exit", "job").returncode == 3
    assert ask("wait", "--for", "exit", "db", "--timeout", "10ms").returncode == 1
    assert ask("wait", "--for", "exit", "job", "--timeout", "0").returncode == 3
    looked = ask("wait", "--for", "exit", "db", "--timeout", "0s")
    assert (looked.returncode, looked.stderr) == (1, "cohabit: cannot wait: db: still running (cohabit why db)\n")


def test_exec(ask: Ask) -> None:
    """The environment, the user and the directory of the service."""
    done = ask("exec", "web-1", "--", "sh", "-c", "id -u; pwd; echo $GREETING $COHABIT_REPLICA", GREETING="nobody")
    assert (done.returncode, done.stdout, done.stderr) == (0, "65534\n/tmp\nhome 1\n", "")


def test_scale_and_reload(ask: Ask, life: Run, tmp_path: Path) -> None:
    """What changes is told to whoever asked."""
    assert "web-3 is new: starting it" in ask("scale", "web=3").stdout
    life.until_printed("hello from home", times=3)
    write_file(str(tmp_path), {**SERVICES, "db": {"command": ["sleep", "2000"]}})
    assert "db changed (command)" in ask("reload").stdout
    write_file(str(tmp_path), {**SERVICES, "db": {"comand": "x"}})
    done = ask("reload")
    assert (done.returncode, done.stdout) == (78, "")
    assert "comand" in done.stderr


def test_reexec_and_version(ask: Ask, life: Run) -> None:
    """The same process goes on with the program that is installed, and still answers."""
    assert ask("reexec").returncode == 0
    life.until_printed("re-executed")
    assert json.loads(ask("version", "--json").stdout)["running"]["pid"] == 1
    assert _states(ask)["db"] == "RUNNING"


def test_down_of_one_service_is_refused(ask: Ask) -> None:
    """It would have stopped everything."""
    done = ask("down", "web")
    why = "it stops everything (to stop one service: cohabit stop web)"
    assert (done.returncode, done.stderr) == (64, f"cohabit: cannot down: {why}\n")
    assert _states(ask)["db"] == "RUNNING"


def test_down(ask: Ask, life: Run) -> None:
    """The container ends with 0."""
    assert ask("down").returncode == 0
    assert life.wait() == 0
    assert ask("ps").returncode == 69


def test_top_from_another_pid_namespace(ask: Ask) -> None:
    """Numbers of processes that are somebody else's here are not told as if they were the service's."""
    done = ask("top")
    assert (done.returncode, done.stdout.splitlines()[1].split()) == (0, ["db", "-", "-", "-", "-"])
    assert done.stderr.startswith("cohabit: its processes cannot be seen from here")


def test_top_in_its_container(up: Start) -> None:
    """There its processes are seen."""
    services = {"web": {"command": shell(f"{' '.join(COHABIT)} top; exec sleep 1000")}}
    life = up(services, setup="mount -t tmpfs tmpfs /run")
    life.until_printed("NAME")
    life.until(lambda: "web" in [line.split()[0] for line in life.lines("web") if line], "its row")
    (row,) = [line.split() for line in life.lines("web") if line.startswith("web ")]
    assert "-" not in row


@pytest.mark.parametrize("words", [["why"], ["why", "job"], ["graph"], ["timeline"], ["health"]])
def test_what_explains(ask: Ask, words: list[str]) -> None:
    """Each has something to say, and says it with 0."""
    done = ask(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_stream_goes_on_through_a_reexecution(ask: Ask, life: Run, tmp_path: Path) -> None:
    """`events -f` and `logs -f` lose neither the connection nor what is written meanwhile."""
    with open(tmp_path / "events", "wb") as file:
        words = [*COHABIT, "events", "-f", "--json", "--socket", str(tmp_path / "run" / "control")]
        with subprocess.Popen(words, stdout=file) as follower:
            life.until_written(str(tmp_path / "events"))
            assert ask("reexec").returncode == 0
            life.until_printed("re-executed")
            assert ask("stop", "web-1").returncode == 0
            life.until(lambda: _stopped(lines_of(str(tmp_path / "events"))), "the stop to be told")
            follower.terminate()


def _stopped(lines: list[str]) -> bool:
    told = [json.loads(line) for line in lines]
    return any((one["service"], one["event"]) == ("web-1", "STOPPED") for one in told)


def test_reload_without_a_socket_is_a_signal(up: Start) -> None:
    """Where no socket can be made, a client inside the container still gets through."""
    script = f"{' '.join(COHABIT)} reload; echo told; exec sleep 1000"
    life = up({"web": {"command": shell(script)}}, environment={"COHABIT_RUNTIME_DIR": "/proc/nowhere"})
    life.until_printed("process 1 has been told by SIGHUP")
    life.until_printed("reload: nothing has changed")


def test_a_second_up_is_refused(life: Run) -> None:
    """Whoever types `up` in a running container wants a service started, not everything a second time."""
    inside = ["nsenter", f"--target={life.pid}", "--pid", "--mount", *COHABIT, "up"]
    done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=AT_MOST_SECONDS)
    assert done.returncode == 64
    assert "cohabit start NAME" in done.stderr


def test_stop_and_continue_by_signal(life: Run, ask: Ask) -> None:
    """A signal does what it does: who is told to stand still does, until he is told to go on."""
    db = life.below("sleep 1000")[0]  # the others depend on it, so it was started first
    assert ask("signal", "STOP", "db").returncode == 0
    life.until(lambda: _state_of(life, db.pid) == "T", "db stands still")
    assert ask("kill", "-s", "CONT", "db").returncode == 0
    life.until(lambda: _state_of(life, db.pid) == "S", "db goes on")
    assert ask("signal", "STOP", "db").returncode == 0
    life.until(lambda: _state_of(life, db.pid) == "T", "db stands still")
    assert ask("stop", "db").returncode == 0


def _state_of(life: Run, pid: int) -> str:
    return next((process.state for process in life.below("sleep 1000") if process.pid == pid), "")
