"""Signals that the kernel does not permit: nothing is reported as sent, and nothing is waited for."""

import re
from pathlib import Path
from typing import Any

import pytest

from linux.clients import ask, environment
from linux.conftest import Start
from linux.run import COHABIT, shell, write_file

WITHOUT_KILL = ("setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill")
HOUR = {"x-cohabit": {"stop_grace_period": "1h"}}
WEB: dict[str, dict[str, Any]] = {"web": {"command": ["sleep", "1000"], "user": "12345", "stop_grace_period": "1h"}}


def test_a_warning_at_the_start_names_the_services(start: Start, tmp_path: Path) -> None:
    """Without CAP_KILL, one line names the services of other users and what to do; with it, there is none."""
    services: dict[str, dict[str, Any]] = {**WEB, "own": {"command": ["sleep", "1000"]}, "db": WEB["web"]}
    path = write_file(str(tmp_path), services, **HOUR)
    run = start(*COHABIT, "up", "-f", path, above=WITHOUT_KILL)
    run.until_printed("started, pid", 3)
    assert run.text.count("no CAP_KILL") == 1
    assert re.search(r"cannot signal services that run as another user.*: web, db: .*--cap-add KILL", run.text)
    run = start(*COHABIT, "up", "-f", path)
    run.until_printed("started, pid", 3)
    assert "CAP_KILL" not in run.text


def test_a_stop_does_not_wait_for_a_refused_signal(start: Start, tmp_path: Path, process_1: bool) -> None:
    """The container ends at once, and its exit reason names the service, the process, its user and the cure."""
    path = write_file(str(tmp_path), WEB, **HOUR)
    run = start(*COHABIT, "up", "-f", path, above=WITHOUT_KILL, process_1=process_1)
    run.until_printed("started, pid")
    assert run.stop() == 137
    reason = run.text.splitlines()[-1]
    assert re.search(
        r"stopped by SIGTERM.*; web: SIGTERM could not be sent to process \d+ \(sleep\) of user 12345.*"
        r"--cap-add KILL.*: exit code 137$",
        reason,
    )
    assert run.text.count("its end is not waited for") == 1
    assert "killing" not in run.text


@pytest.mark.parametrize(
    ("words", "number"),
    [(("signal", "HUP"), "SIGHUP"), (("stop",), "SIGTERM"), (("kill",), "SIGKILL"), (("restart",), "SIGTERM")],
)
def test_a_command_reports_that_its_signal_was_refused(
    start: Start, tmp_path: Path, words: tuple[str, ...], number: str
) -> None:
    """`signal`, `stop`, `kill` and `restart` fail at once with the reason; `ps` and `why` show it afterwards."""
    path = write_file(str(tmp_path), WEB, **HOUR)
    directory = str(tmp_path)
    # As process 1 it may have cgroups, through which SIGKILL is permitted.
    variables = environment(directory)
    run = start(*COHABIT, "up", "-f", path, above=WITHOUT_KILL, environment=variables, process_1=False)
    run.until_printed("started, pid")
    assert f"{number} could not be sent to process" in ask(run, directory, *words, "web", code=1)
    if words[0] != "signal":
        why = ask(run, directory, "why", "web")
        assert f"{number} could not be sent to process" in " ".join(why.split())
        assert "SIGKILL sent" not in why


def test_others_are_stopped_in_order(start: Start, tmp_path: Path) -> None:
    """A service that cannot be signalled holds up neither its dependency nor a service of our own user."""
    services: dict[str, dict[str, Any]] = {
        "db": {"command": shell("trap 'echo db stops; exit' TERM; echo db is up; while :; do sleep 1000 & wait; done")},
        "web": {**WEB["web"], "depends_on": ["db"]},
    }
    run = start(*COHABIT, "up", "-f", write_file(str(tmp_path), services, **HOUR), above=WITHOUT_KILL)
    run.until_printed("db is up")
    run.until_printed("web: started")
    assert run.stop() == 137
    assert "db stops" in run.text


def test_scale_reports_an_instance_that_stays(start: Start, tmp_path: Path) -> None:
    """The file was read and the plan changed, yet an instance that was to end cannot be signalled: exit code 1."""
    directory = str(tmp_path)
    path = write_file(directory, {"web": {**WEB["web"], "scale": 2}}, **HOUR)
    variables = environment(directory)
    run = start(*COHABIT, "up", "-f", path, above=WITHOUT_KILL, environment=variables, process_1=False)
    run.until_printed("started, pid", 2)
    said = ask(run, directory, "scale", "web=1", code=1)
    assert "web-2 was removed" in said
    assert "cannot stop web-2: SIGTERM could not be sent to process" in said


def test_why_shows_the_end_beside_the_refused_signal(start: Start, tmp_path: Path) -> None:
    """Of a service that has ended and left a process of another user behind: how it ended, and the refusal once."""
    directory = str(tmp_path)
    left = "setpriv --reuid=12345 --clear-groups sleep 1000 & while ! pgrep -U 12345 sleep; do :; done; exit 3"
    services: dict[str, dict[str, Any]] = {
        "web": {"command": shell(left), "essential": False},
        "db": {"command": ["sleep", "1001"]},
    }
    variables = environment(directory)
    path = write_file(directory, services, **HOUR)
    run = start(*COHABIT, "up", "-f", path, above=WITHOUT_KILL, environment=variables, process_1=False)
    run.until_printed("its end is not waited for")
    why = " ".join(ask(run, directory, "why", "web").split())
    assert "web ended with exit code 3" in why
    assert why.count("SIGTERM could not be sent to process") == 1
