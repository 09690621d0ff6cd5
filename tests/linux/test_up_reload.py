"""Reload and re-execution, as a user requests them, on the real kernel."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from linux import processes
from linux.conftest import Start
from linux.run import COHABIT, Run, shell, write_file

REEXECUTE = signal.SIGRTMIN + 25
COUNT = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; read x < gate"


def _service(text: str, **settings: object) -> dict[str, object]:
    return {"command": shell(f"echo {text}; exec sleep 1000"), **settings}


def _again(run: Run, tmp_path: Path, services: dict[str, dict[str, object]]) -> None:
    write_file(str(tmp_path), services)
    run.signal(signal.SIGHUP)


def test_only_changed_services_are_restarted(up: Start, tmp_path: Path) -> None:
    """The difference is shown; unchanged services keep their processes, removed ones end, new ones start."""
    run = up({"same": _service("a"), "other": _service("b"), "gone": _service("c")})
    run.until_printed("started", 3)
    run.until(lambda: len(run.below("sleep 1000")) == 3, "all three")
    before = {process.pid for process in run.below("sleep 1000")}
    _again(run, tmp_path, {"same": _service("a"), "other": _service("B"), "new": _service("d")})
    run.until_printed("| B")
    run.until_printed("| d")
    run.until(lambda: len(run.below("sleep 1000")) == 3, "the old ones to be gone")
    after = {process.pid for process in run.below("sleep 1000")}
    assert len(before & after) == 1
    assert "reload: other changed (command): restarting" in run.text
    assert "reload: gone was removed: stopping it" in run.text
    assert "reload: new is new: starting it" in run.text
    assert run.stop() == 0


def test_a_broken_file_changes_nothing(up: Start, tmp_path: Path) -> None:
    """Every diagnostic is shown with its line, and all services keep running."""
    run = up({"web": _service("a")})
    run.until_printed("| a")
    (tmp_path / "cohabit.yaml").write_text("services:\n  web: {comand: x}\n")
    run.signal(signal.SIGHUP)
    run.until_printed("cannot reload")
    assert [line for line in run.lines("cohabit") if "cohabit.yaml:2: services.web.comand" in line]
    assert "nothing was changed" in run.text
    run.one("sleep 1000")
    assert run.stop() == 0


def test_every_file_is_read_again(up: Start, tmp_path: Path) -> None:
    """An included file and the second file after -f changed, the first file did not."""

    def write(included: str, second: str) -> None:
        file = {"services": {"other": _service(included)}}
        (tmp_path / "included.yaml").write_text(json.dumps(file))
        (tmp_path / "second.yaml").write_text(json.dumps({"services": {"web": {"environment": {"TEXT": second}}}}))

    write("one", "two")
    web = {"command": shell("echo $TEXT; exec sleep 1000")}
    run = up({"web": web}, "-f", str(tmp_path / "second.yaml"), top={"include": ["included.yaml"]})
    run.until_printed("| one")
    run.until_printed("| two")
    write("three", "four")
    run.signal(signal.SIGHUP)
    run.until_printed("| three")
    run.until_printed("| four")
    assert "reload: web changed (environment): restarting" in run.text
    assert run.stop() == 0


def test_dependants_with_restart_true_are_restarted_too(up: Start, tmp_path: Path) -> None:
    """depends_on: restart: true; the order is that of every start and stop."""
    depends = {"depends_on": {"db": {"condition": "service_started", "restart": True}}}
    run = up({"db": _service("db 1"), "web": _service("here", **depends)})
    run.until_printed("| here")
    _again(run, tmp_path, {"db": _service("db 2"), "web": _service("here", **depends)})
    run.until_printed("| here", 2)
    lines = run.lines("cohabit")
    stopped = [line for line in lines if "stopped" in line]
    assert [line.split(":")[0] for line in stopped] == ["web", "db"]
    assert run.stop() == 0


def test_scaling_by_reload(up: Start, tmp_path: Path) -> None:
    """More replicas: the running ones stay."""
    run = up({"web": _service("$COHABIT_REPLICA", scale=1)})
    run.until_printed("| 1")
    first = run.one("sleep 1000")
    _again(run, tmp_path, {"web": _service("$COHABIT_REPLICA", scale=3)})
    run.until_printed("web-3")
    run.until(lambda: len(run.below("sleep 1000")) == 3, "three replicas")
    assert first.pid in {process.pid for process in run.below("sleep 1000")}
    assert run.stop() == 0


@pytest.mark.parametrize("times", [1, 5])
def test_reexecution_loses_nothing(up: Start, gate: object, times: int, process_1: bool) -> None:
    """The pid and the children are the same, each line appears once, and a later exit is noticed."""
    run = up({"web": {"command": shell(f"{COUNT}; exit 7")}}, process_1=process_1)
    run.until_printed("web: started")
    pid = run.pid
    for number in range(times):
        run.signal(REEXECUTE)
        run.until_printed("re-executed", number + 1)
    assert run.pid == pid
    run.until_printed("line 2000")
    gate.open()  # type: ignore[attr-defined]
    assert run.wait() == 7
    assert run.lines("web", "out") == [f"line {number}" for number in range(1, 2001)]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the package, which the test may change."""
    package = tmp_path / "package" / "cohabit"
    shutil.copytree(os.path.dirname(COHABIT[-1]), package)
    return package


def _descriptors(run: Run) -> int:
    return len(os.listdir(f"/proc/{run.pid}/fd"))


def _was_executed(run: Run) -> bool:
    return "cohabit-resume" in getattr(processes.find(run.pid), "command", "")


def test_reexecution_into_a_broken_program_is_refused(start: Start, tmp_path: Path, installed: Path) -> None:
    """The installed program is tried first; the running program continues."""
    file = write_file(str(tmp_path), {"web": _service("a")})
    run = start(*COHABIT[:-1], str(installed / "__main__.py"), "up", "-f", file)
    run.until_printed("| a")
    (installed / "units.py").write_text("broken!")
    run.signal(REEXECUTE)
    run.until_printed("cannot re-execute")
    assert run.stop() == 0


def test_reexecution_runs_the_installed_program(start: Start, tmp_path: Path, installed: Path) -> None:
    """At first in the same interpreter without an exec; a later exec frees the memory of the former programs."""
    file = write_file(str(tmp_path), {"web": {"command": ["sleep", "1000"], "restart": "always"}})
    run = start(*COHABIT[:-1], str(installed / "__main__.py"), "up", "-f", file)
    web = run.one("sleep 1000")
    text = (installed / "__init__.py").read_text()
    descriptors = 0
    for number in range(1, 6):
        (installed / "__init__.py").write_text(f'{text}\n__version__ = "9.{number}"\n')
        os.utime(installed / "__init__.py", (number, number))  # bytecode is compared with its source to the second
        run.signal(REEXECUTE)
        run.until_printed(f"re-executed, version 9.{number}\n")
        assert _was_executed(run) == (number > 3)
        descriptors = descriptors or _descriptors(run)
    assert run.one("sleep 1000").pid == web.pid
    run.until(lambda: _descriptors(run) == descriptors, "as many descriptors as after the first")
    os.kill(web.pid, signal.SIGKILL)
    run.until_printed("web: started", 2)
    assert run.stop() == 0
    assert not run.zombies()


def test_an_import_that_fails_is_undone(start: Start, tmp_path: Path, installed: Path) -> None:
    """The trial succeeds, but the installed program cannot be imported: the old one continues, and reports why."""
    file = write_file(str(tmp_path), {"web": {"command": ["sleep", "1000"], "restart": "always"}})
    run = start(*COHABIT[:-1], str(installed / "__main__.py"), "up", "-f", file)
    web = run.one("sleep 1000")
    with (installed / "units.py").open("a") as units:
        units.write('import sys\nif "cohabit-takes-over" not in sys._xoptions:\n    raise ImportError("half of it")\n')
    run.signal(REEXECUTE)
    run.until_printed("cannot re-execute: cannot import the installed program: half of it")
    os.kill(web.pid, signal.SIGKILL)
    run.until_printed("web: started", 2)
    assert not _was_executed(run)
    assert run.stop() == 0


def test_another_interpreter_is_executed(start: Start, tmp_path: Path) -> None:
    """Only a replaced interpreter requires an exec."""
    interpreter = tmp_path / "venv" / "bin" / "python3"
    interpreter.parent.mkdir(parents=True)
    real = os.path.realpath(sys.executable)
    (tmp_path / "venv" / "pyvenv.cfg").write_text(f"home = {os.path.dirname(real)}\n")
    (tmp_path / "venv" / "lib").symlink_to(os.path.join(sys.prefix, "lib"))
    shutil.copy2(real, interpreter)
    file = write_file(str(tmp_path), {"web": {"command": ["sleep", "1000"]}})
    run = start(str(interpreter), *COHABIT[1:], "up", "-f", file)
    web = run.one("sleep 1000")
    shutil.copy2(real, tmp_path / "upgrade")
    os.replace(tmp_path / "upgrade", interpreter)
    run.signal(REEXECUTE)
    run.until_printed("re-executed")
    assert _was_executed(run)
    assert run.one("sleep 1000").pid == web.pid
    assert run.stop() == 0


def test_commands_reach_the_running_cohabit(up: Start, process_1: bool) -> None:
    """`cohabit reload` and `cohabit reexec` from inside."""
    cohabit = " ".join(COHABIT)
    script = f"{cohabit} reload && {cohabit} reexec; echo both done; exec sleep 1000"
    run = up({"web": {"command": shell(script)}}, process_1=process_1)
    run.until_printed("both done")
    run.until_printed("reload: nothing has changed")
    run.until_printed("re-executed")
    assert run.stop() == 0
