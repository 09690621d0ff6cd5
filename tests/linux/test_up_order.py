"""`cohabit up`: the order of the start, and the reverse order of the stop."""

import os
import signal
from pathlib import Path

import pytest

from linux.conftest import Gate, Start
from linux.run import COHABIT, program, shell


def _ordered(name: str, *needs: str) -> dict[str, object]:
    return {"command": program("ordered.py", name), "depends_on": list(needs)}


def test_dependants_start_later(up: Start) -> None:
    """A service starts after those it depends on."""
    run = up({"web": _ordered("web", "app"), "app": _ordered("app", "db"), "db": _ordered("db")})
    run.until_printed("web: started")
    order = [line.split(":")[0] for line in run.lines("cohabit") if "started" in line]
    assert order == ["db", "app", "web"]


def test_dependants_of_a_job_wait_for_its_success(up: Start, gate: Gate, tmp_path: Path) -> None:
    """service_completed_successfully: a dependant starts only when the job has exited with 0."""
    job = {"command": shell("read x < gate; echo job >> order")}
    web = {
        "command": program("ordered.py", "web"),
        "depends_on": {"job": {"condition": "service_completed_successfully"}},
    }
    run = up({"web": web, "job": job})
    run.until_printed("job: started")
    gate.open()
    assert run.until_written(str(tmp_path / "order"), 2) == ["job", "start web"]
    assert run.stop() == 0


def test_dependants_of_a_failed_job_never_start(up: Start) -> None:
    """When the job fails, its dependants cannot start, and the job's code is the container's."""
    job = {"command": shell("echo no database; exit 3")}
    web = {"command": ["echo", "here"], "depends_on": {"job": {"condition": "service_completed_successfully"}}}
    run = up({"web": web, "job": job})
    assert run.wait() == 3
    assert not run.lines("web")
    assert "it waits for job" in run.text
    assert "last output of job" in run.text


def test_stop_is_the_reverse_of_the_start(up: Start, tmp_path: Path) -> None:
    """Dependants stop before their dependencies, level by level."""
    run = up({"db": _ordered("db"), "app": _ordered("app", "db"), "web": _ordered("web", "app")})
    run.until_written(str(tmp_path / "order"), 3)
    assert run.stop() == 0
    assert run.until_written(str(tmp_path / "order"), 6)[3:] == ["stop web", "stop app", "stop db"]


def test_stop_after_a_failure_keeps_the_order(up: Start, gate: Gate, tmp_path: Path) -> None:
    """The order is the same if the reason is the exit of an essential service."""
    failing = {"command": shell("read x < gate; exit 4")}
    run = up({"db": _ordered("db"), "app": _ordered("app", "db"), "other": failing})
    run.until_written(str(tmp_path / "order"), 2)
    gate.open()
    assert run.wait() == 4
    assert run.until_written(str(tmp_path / "order"), 4)[2:] == ["stop app", "stop db"]


def test_independent_services_stop_in_parallel(up: Start, tmp_path: Path) -> None:
    """Independent services get TERM at once: each may wait for the other's TERM."""
    at_term = "echo %s >> met; until grep -q %s met; do :; done; exit 0"
    meets = f'trap "{at_term}" TERM; echo up >> order; while :; do read x < gate; done'
    (tmp_path / "met").touch()
    run = up(
        {
            "a": {"command": shell("mkfifo gate; " + meets % ("a", "b"))},
            "b": {"command": shell("until [ -p gate ]; do :; done; " + meets % ("b", "a"))},
        }
    )
    run.until_written(str(tmp_path / "order"), 2)
    assert run.stop() == 0


def test_own_stop_signal_is_used(up: Start) -> None:
    """stop_signal replaces TERM."""
    service = {"command": program("received.py", "0", "3"), "stop_signal": "SIGQUIT"}
    run = up({"web": service})
    run.until_printed("ready")
    assert run.stop() == 0
    assert run.lines("web") == ["ready", "got 3"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGPWR, signal.SIGRTMIN + 3])
def test_each_stop_signal_stops(up: Start, process_1: bool, number: int) -> None:
    """TERM, INT, QUIT, PWR and RTMIN+3 all mean stop; the services get their own stop signal."""
    run = up({"web": {"command": program("received.py", "0", "15")}}, process_1=process_1)
    run.until_printed("ready")
    assert run.stop(number) == 0
    assert "got 15" in run.lines("web")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP, signal.SIGALRM, signal.SIGPIPE, signal.SIGWINCH])
def test_other_signals_change_nothing(up: Start, process_1: bool, number: int) -> None:
    """USR1, HUP, ALRM, PIPE and WINCH end no service."""
    run = up({"web": {"command": program("received.py", "0", "15")}}, process_1=process_1)
    run.until_printed("ready")
    run.signal(number)
    assert run.stop() == 0
    assert "SIGTERM" in run.text


def test_profile_and_named_services(up: Start) -> None:
    """Named services start with their dependencies, and no others do."""
    services = {
        "db": _ordered("db"),
        "web": _ordered("web", "db"),
        "debug": {**_ordered("debug"), "profiles": ["dev"]},
        "other": _ordered("other"),
    }
    run = up(services, "web")
    run.until_printed("web: started")
    assert run.stop() == 0
    assert "other" not in run.text
    assert "debug" not in run.text


def test_stop_before_the_file_is_read(start: Start) -> None:
    """A stop signal while the file is still being read gives 0, and nothing starts."""
    reader, writer = os.pipe()
    run = start(*COHABIT, "up", "-f", "-", stdin=reader)
    run.until(lambda: run.below("config/__main__.py"), "the loader")
    assert run.stop() == 0
    os.close(reader)
    os.close(writer)
    assert "before anything was started" in run.text
