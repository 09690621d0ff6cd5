"""`cohabit pause`: no process of the service runs, whatever it does meanwhile, until it continues or is stopped."""

import json
from pathlib import Path

import pytest

from linux.clients import ask, environment, request
from linux.conftest import Start
from linux.run import COHABIT, Run, shell, write_file

# In three sessions, and always with new processes.
FORKS = shell("trap 'echo bye; exit 0' TERM; setsid sleep 1000 & (while :; do /bin/true & wait; done) & echo up; wait")
WITHOUT_KILL = ("setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill")


def _started(start: Start, directory: Path, **service: object) -> Run:
    path = write_file(str(directory), {"web": {"command": FORKS, "stop_grace_period": "1h", **service}})
    above = WITHOUT_KILL if "user" in service else ()
    run = start(*COHABIT, "up", "-f", path, environment=environment(str(directory)), above=above, process_1=False)
    run.until_printed("| up")
    run.one("sleep 1000")  # a shell between fork and exec loses a TERM
    return run


def _states(run: Run) -> set[str]:
    """The states of all processes of the service that have not ended."""
    own = ("config/__main__.py", "cohabit/tasks/")
    found = [each for each in run.below() if not any(part in each.command for part in own)]
    return {each.state for each in found} - {"Z", "X"}


def _is_paused(run: Run, directory: Path) -> bool:
    (service,) = json.loads(ask(run, str(directory), "ps", "--json"))["services"]
    return bool(service["paused"])


def test_nothing_of_it_runs_until_it_continues(start: Start, tmp_path: Path) -> None:
    """When the command returns, all its processes are stopped, those that were just created included."""
    run = _started(start, tmp_path)
    assert ask(run, str(tmp_path), "pause", "web") == "paused: web\n"
    assert _states(run) == {"T"}
    assert "paused" in ask(run, str(tmp_path), "ps")
    assert "cohabit unpause web" in ask(run, str(tmp_path), "why", "web")
    assert "web is paused already" in ask(run, str(tmp_path), "pause", "web", code=1)
    assert "cohabit unpause web" in ask(run, str(tmp_path), "start", "web", code=1)
    assert ask(run, str(tmp_path), "unpause") == "unpaused: web\n"
    run.until(lambda: "T" not in _states(run), "the service to continue")
    assert "web is not paused" in ask(run, str(tmp_path), "unpause", "web", code=1)
    assert run.stop() == 0


@pytest.mark.parametrize("words", [("stop", "web"), ("restart", "web"), ("down",)])
def test_a_stop_continues_it_first(start: Start, tmp_path: Path, words: tuple[str, ...]) -> None:
    """It handles its stop signal, and is not killed at the end of its grace period of an hour."""
    run = _started(start, tmp_path)
    ask(run, str(tmp_path), "pause")
    ask(run, str(tmp_path), *words)
    run.until_printed("| bye")
    assert "killing" not in run.text


def test_a_pause_survives_a_re_execution(start: Start, tmp_path: Path) -> None:
    """The new program knows that it is paused, and continues it."""
    run = _started(start, tmp_path)
    request(run, str(tmp_path), "pause", "web")
    request(run, str(tmp_path), "reexec")
    assert _is_paused(run, tmp_path)
    assert _states(run) == {"T"}
    request(run, str(tmp_path), "unpause", "web")
    run.until(lambda: "T" not in _states(run), "the service to continue")
    assert run.stop() == 0


def test_a_refused_pause_changes_nothing(start: Start, tmp_path: Path) -> None:
    """Without CAP_KILL a service of another user runs on, and the command says why."""
    run = _started(start, tmp_path, user="12345")
    assert "SIGSTOP could not be sent to process" in ask(run, str(tmp_path), "pause", "web", code=1)
    assert not _is_paused(run, tmp_path)
    assert "T" not in _states(run)


def test_without_a_process_there_is_nothing_to_pause(start: Start, tmp_path: Path) -> None:
    """A stopped service is not paused, and all means those that run."""
    run = _started(start, tmp_path)
    request(run, str(tmp_path), "stop", "web")
    assert "web is not running" in ask(run, str(tmp_path), "pause", "web", code=1)
    assert "no service runs" in ask(run, str(tmp_path), "pause", code=64)
