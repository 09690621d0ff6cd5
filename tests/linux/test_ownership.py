"""An event of one service never kills or adopts another's process: without cgroups, with Docker's capabilities.

A process of a service changes its user, session and environment, and its parent ends, so that process 1 becomes its
parent. Then an event happens to another service. Each test also checks that the process still belongs to the service
that started it, where this can be determined.
"""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from linux import places, processes
from linux.clients import environment, request
from linux.conftest import Gate, Start
from linux.run import Run, lines_of, shell

SETPRIV = "setpriv --reuid 65534 --clear-groups"
PROCESSES = 60  # of one service, during the stop of another one


@pytest.fixture(params=["docker", "full"])
def own(request: pytest.FixtureRequest, up: Start, tmp_path: Path, process_1: bool) -> Start:
    """Give the function that runs `cohabit up` without cgroups, with Docker's capabilities or with all."""
    above = places.DOCKER_CAPABILITIES if request.param == "docker" else ()
    variables = environment(str(tmp_path))
    setup = f"{places.NO_CGROUPS}\n{places.open_to_all(str(tmp_path))}"
    tmp_path.chmod(0o755)
    return lambda services: up(services, above=above, setup=setup, process_1=process_1, environment=variables)


def _background(command: str) -> str:
    """A shell script that starts a command whose parent ends at once."""
    return f"({command} &)"


def _orphans(run: Run, command: str, number: int) -> list[processes.Process]:
    """Wait until so many processes with this command line have cohabit as their parent; returns them."""
    found: list[processes.Process] = []

    def arrived() -> bool:
        found[:] = run.below(command)
        return [one.parent for one in found] == [run.pid] * number

    run.until(arrived, f"{command} to be an orphan, {number} times")
    return found


def _orphan(run: Run, command: str) -> processes.Process:
    """Wait until the process with this command line has cohabit as its parent; returns it."""
    return _orphans(run, command, 1)[0]


def _from_outside(run: Run, script: str, variables: dict[str, str] | None = None) -> None:
    """Run a shell script in the namespaces of a run, as `docker exec` does; returns when the shell has ended."""
    subprocess.run(
        ["nsenter", "--target", str(run.pid), "--pid", "--mount", "--", "sh", "-c", script],
        env={"PATH": os.environ["PATH"], **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _of_process_1(run: Run, command: str) -> processes.Process:
    """Wait until the process with this command line is a child of the namespace's process 1; returns it."""
    first = run.process_1().pid

    def found() -> list[processes.Process]:
        return [one for one in processes.children(first) if one.command == command]

    run.until(lambda: len(found()) == 1, f"{command} as a child of process 1")
    return found()[0]


def _is_alive(process: processes.Process) -> bool:
    now = processes.find(process.pid)
    return now is not None and now.command == process.command and now.state != "Z"


# --- an event of one service ends no process of another --------------------------------------------------


REQUESTS = ("reload", "reexec", "restart api", "scale api=1", "stop api")


def test_daemon_beside_a_started_process_is_kept(own: Start, tmp_path: Path, gate: Gate) -> None:
    """Daemons whose service keeps running are not ended by requests to another service, and end with their own.

    Each request is the first event after the start of another daemon.
    """
    daemon = _background(f"{SETPRIV} setsid env -i sleep 7001")
    web = shell(f"{daemon}; while read x < gate; do {daemon}; done")
    run = own({"web": {"command": web, "restart": "always"}, "api": {"command": ["sleep", "999"]}})
    run.one("sleep 999")
    daemons: list[processes.Process] = []
    for number, words in enumerate(REQUESTS, 1):
        daemons = _orphans(run, "sleep 7001", number)
        request(run, str(tmp_path), *words.split())
        request(run, str(tmp_path), "restart", "api")  # a process ends after it, so that all orphans were checked
        assert all(map(_is_alive, daemons)), f"{words}\n{run.text}"
        gate.open()
    daemons = _orphans(run, "sleep 7001", len(REQUESTS) + 1)
    request(run, str(tmp_path), "stop", "web")
    assert not any(map(_is_alive, daemons))
    assert run.stop() == 0


def test_daemon_beside_probes_is_kept(own: Start, tmp_path: Path) -> None:
    """A daemon whose service keeps running is not ended by the probes of another service, and ends with its own."""
    probe = {
        "test": ["CMD-SHELL", "echo probed >> probes"],
        "interval": "100ms",
        "start_interval": "50ms",
        "start_period": "60s",
    }
    web = shell(f"{_background(f'{SETPRIV} setsid env -i sleep 7001')}; exec sleep 888")
    run = own(
        {
            "web": {"command": web, "restart": "always"},
            "api": {"command": ["sleep", "999"], "healthcheck": probe},
        }
    )
    daemon = _orphan(run, "sleep 7001")
    run.one("sleep 999")
    path = str(tmp_path / "probes")
    run.until_written(path, len(lines_of(path)) + 2)
    assert _is_alive(daemon), run.text
    request(run, str(tmp_path), "stop", "web")
    assert not _is_alive(daemon)
    assert run.stop() == 0


def test_exit_ends_no_process_of_another_service(own: Start, tmp_path: Path, gate: Gate) -> None:
    """A failed service ends no orphan of another service, and none from outside."""
    background = f"{SETPRIV} sh -c 'setsid sleep 7002 &'; exec sleep 888"
    run = own(
        {
            "a": {"command": shell("read x < gate; exit 3"), "essential": False},
            "b": {"command": shell(background)},
        }
    )
    orphan_of_other = _orphan(run, "sleep 7002")
    _from_outside(run, "setsid env -i sleep 7003 & exit 0")
    outside = _of_process_1(run, "sleep 7003")
    gate.open()
    run.until_printed("a: ended with exit code 3")
    request(run, str(tmp_path), "restart", "a")
    assert _is_alive(orphan_of_other)
    assert _is_alive(outside)
    request(run, str(tmp_path), "stop", "b")
    assert not _is_alive(orphan_of_other)
    assert _is_alive(outside)
    assert run.stop() == 0


def test_stop_ends_no_process_of_another_service(own: Start, tmp_path: Path) -> None:
    """`stop` of a service ends none of many orphans of another one; `stop` of that one ends them all."""
    loop = f"i=0; while [ $i -lt {PROCESSES} ]; do i=$((i + 1)); setsid env -i sleep 7004 & done"
    run = own(
        {
            "many": {"command": shell(f"{SETPRIV} sh -c '{loop}'; exec sleep 888")},
            "x": {"command": ["sleep", "999"]},
        }
    )
    _orphans(run, "sleep 7004", PROCESSES)
    run.one("sleep 999")
    request(run, str(tmp_path), "stop", "x")
    request(run, str(tmp_path), "restart", "x")
    assert len(run.below("sleep 7004")) == PROCESSES
    request(run, str(tmp_path), "stop", "many")
    assert run.below("sleep 7004") == []
    assert run.stop() == 0


def test_daemon_of_another_service_is_not_adopted(own: Start, tmp_path: Path, gate: Gate) -> None:
    """A service that exits with 0 restarts; it does not adopt another service's orphan as its daemon."""
    background = f"{SETPRIV} sh -c 'setsid sleep 7005 &'; exec sleep 888"
    run = own(
        {
            "a": {"command": shell("read x < gate; exit 0"), "restart": "always"},
            "b": {"command": shell(background)},
        }
    )
    orphan_of_other = _orphan(run, "sleep 7005")
    _from_outside(run, "setsid env -i sleep 7006 & exit 0")
    outside = _of_process_1(run, "sleep 7006")
    run.until_printed("a: started")
    gate.open()
    run.until_printed("a: started", 2)
    request(run, str(tmp_path), "stop", "a")
    assert "in the background now" not in run.text
    assert _is_alive(orphan_of_other)
    assert _is_alive(outside)
    assert run.stop() == 0


def test_copied_environment_is_not_evidence(own: Start, tmp_path: Path) -> None:
    """A process from outside is unassigned, even with the whole environment of a service, and outlives that service."""
    run = own({"web": {"command": ["sleep", "888"]}, "api": {"command": ["sleep", "999"]}})
    raw = Path(f"/proc/{run.one('sleep 888').pid}/environ").read_bytes().decode()
    variables = dict(item.split("=", 1) for item in raw.split("\0") if item)
    _from_outside(run, "setsid sleep 7007 & exit 0", variables)
    outside = _of_process_1(run, "sleep 7007")
    request(run, str(tmp_path), "restart", "web")
    request(run, str(tmp_path), "stop", "web")
    assert _is_alive(outside)
    assert run.stop() == 0
    assert not _is_alive(outside)


def test_forged_limit_ends_its_forger_only(own: Start, tmp_path: Path, gate: Gate) -> None:
    """A process that copies another service's tracking limit ends with that service; the rest of its group does not."""
    forge = (
        "limit=$(awk '/^Max resident set/ { print $5 }' /proc/$(pgrep -x -f 'sleep 888')/limits); "
        "prlimit --pid $$ --rss=$limit:$limit; exec sleep 7010"
    )
    (tmp_path / "forge.sh").write_text(f"{forge}\n")
    background = _background(f"{SETPRIV} sh ./forge.sh")
    run = own(
        {
            "web": {"command": ["sleep", "888"]},
            "b": {"command": shell(f"read x < gate; setsid sh -c '{background}; exec sleep 998' & exec sleep 999")},
        }
    )
    run.one("sleep 888")
    gate.open()
    forger = _orphan(run, "sleep 7010")
    others = [run.one("sleep 998"), run.one("sleep 999")]
    assert forger.group == others[0].group
    request(run, str(tmp_path), "kill", "web")
    run.until(lambda: not _is_alive(forger), "the forger to be ended")
    assert [processes.status(one.pid, "State") for one in others] == ["S", "S"]
    assert run.stop() == 0


# --- no process of a service is left behind --------------------------------------------------------------


def test_simultaneous_exits_leave_nothing_behind(own: Start, tmp_path: Path) -> None:
    """Two main processes are killed at once: what each left behind is gone before the new ones start."""

    def service(number: int) -> dict[str, object]:
        count_before = (
            f"pgrep -c -x -f 'sleep 80{number}' > before-{number}.new; cat before-{number}.new >> before-{number}"
        )
        background = _background(f"{SETPRIV} setsid env -i sleep 80{number}")
        return {"command": shell(f"{count_before}; {background}; exec sleep 90{number}"), "restart": "always"}

    run = own({"a": service(1), "b": service(2)})
    left = [_orphan(run, f"sleep 80{number}") for number in (1, 2)]
    mains = [run.one(f"sleep 90{number}") for number in (1, 2)]
    run.signal(signal.SIGSTOP)
    for main in mains:
        os.kill(main.pid, signal.SIGKILL)
    run.until(lambda: [processes.status(main.pid, "State") for main in mains] == ["Z", "Z"], "both to have ended")
    run.signal(signal.SIGCONT)
    for number in (1, 2):
        assert run.until_written(str(tmp_path / f"before-{number}"), 2) == ["0", "0"]
    assert not [one for one in left if _is_alive(one)]
    assert run.stop() == 0


# --- a pid file is a hint, not evidence ------------------------------------------------------------------


def test_pid_file_of_another_service_is_refused(own: Start, tmp_path: Path, gate: Gate) -> None:
    """An unprivileged service that writes the pid of another service's daemon neither adopts it nor ends it."""
    (tmp_path / "D").mkdir()
    os.chown(tmp_path / "D", 65534, 65534)
    path = tmp_path / "D" / "x.pid"
    db = shell(f"{_background('setsid env -i sleep 7008')}; exec sleep 888")
    find = f"until pgrep -x -f '^sleep 7008' > {path}; do :; done; exit 0"
    x = {"command": shell(f"read x < gate; {find}"), "user": "65534", "pid_file": str(path), "restart": "no"}
    run = own({"db": {"command": db}, "x": {**x, "essential": False}})
    daemon = _orphan(run, "sleep 7008")
    gate.open()
    run.until_printed("x: ended with exit code 0")
    request(run, str(tmp_path), "stop", "x")
    assert "cannot use the pid_file" in run.text
    assert "in the background now" not in run.text
    assert _is_alive(daemon)
    request(run, str(tmp_path), "stop", "db")
    assert not _is_alive(daemon)
    assert run.stop() == 0


def test_daemon_of_another_user_is_adopted_by_its_pid_file(own: Start, tmp_path: Path) -> None:
    """A daemon that changed its user, session and environment, as under init scripts, becomes the main process."""
    path = tmp_path / "web.pid"
    daemon = f'setpriv --reuid 65534 --clear-groups setsid env -i sh -c "echo \\$\\$ >&3; exec sleep 7009" 3> {path}'
    run = own({"web": {"command": shell(f"{_background(daemon)}; exit 0"), "pid_file": str(path)}})
    run.until_printed("web: is in the background now")
    process = _orphan(run, "sleep 7009")
    assert " 7009" in process.command
    assert _is_alive(process)
    request(run, str(tmp_path), "stop", "web")
    assert not _is_alive(process)
    assert run.stop() == 0


def test_exit_of_a_daemon_with_a_pid_file_ends_its_service(own: Start, tmp_path: Path, gate: Gate) -> None:
    """A daemon that exits with 0 and removes its pid file is not searched for again."""
    path = tmp_path / "web.pid"
    daemon = f"setsid sh -c 'echo $$ > {path}; read x < gate; rm {path}'"
    run = own({"web": {"command": shell(f"{_background(daemon)}; exit 0"), "pid_file": str(path)}})
    run.until_printed("web: is in the background now")
    gate.open()
    assert run.wait() == 0
    assert "cannot use the pid_file" not in run.text
