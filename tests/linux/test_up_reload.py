"""Reload and re-execution as a user does them, on the real kernel."""

import os
import signal
from pathlib import Path

import pytest

from linux.conftest import Start
from linux.run import COHABIT, Run, shell, write_file

REEXECUTE = signal.SIGRTMIN + 25
COUNT = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; read x < gate"


def _service(text: str, **words: object) -> dict[str, object]:
    return {"command": shell(f"echo {text}; exec sleep 1000"), **words}


def _again(life: Run, tmp_path: Path, services: dict[str, dict[str, object]]) -> None:
    write_file(str(tmp_path), services)
    life.signal(signal.SIGHUP)


def test_only_what_changed_is_touched(up: Start, tmp_path: Path, process_1: bool) -> None:
    """The difference is shown; what is the same keeps its process, what is gone ends, what is new starts."""
    life = up({"same": _service("a"), "other": _service("b"), "gone": _service("c")}, process_1=process_1)
    life.until_printed("started", 3)
    life.until(lambda: len(life.below("sleep 1000")) == 3, "all three")
    before = {process.pid for process in life.below("sleep 1000")}
    _again(life, tmp_path, {"same": _service("a"), "other": _service("B"), "new": _service("d")})
    life.until_printed("| B")
    life.until_printed("| d")
    life.until(lambda: len(life.below("sleep 1000")) == 3, "the old ones to be gone")
    after = {process.pid for process in life.below("sleep 1000")}
    assert len(before & after) == 1
    assert "reload: other changed (command): restarting" in life.text
    assert "reload: gone is gone: stopping it" in life.text
    assert "reload: new is new: starting it" in life.text
    assert life.stop() == 0


def test_a_broken_file_changes_nothing(up: Start, tmp_path: Path, process_1: bool) -> None:
    """Every problem is shown with its line, and all services run on."""
    life = up({"web": _service("a")}, process_1=process_1)
    life.until_printed("| a")
    (tmp_path / "cohabit.yaml").write_text("services:\n  web: {comand: x}\n")
    life.signal(signal.SIGHUP)
    life.until_printed("cannot reload")
    assert [line for line in life.lines("cohabit") if "cohabit.yaml:2: services.web.comand" in line]
    assert "nothing was changed" in life.text
    life.one("sleep 1000")
    assert life.stop() == 0


def test_dependants_that_ask_for_it_are_restarted_too(up: Start, tmp_path: Path) -> None:
    """depends_on: restart: true; and the order is that of every start and stop."""
    depends = {"depends_on": {"db": {"condition": "service_started", "restart": True}}}
    life = up({"db": _service("db 1"), "web": _service("here", **depends)})
    life.until_printed("| here")
    _again(life, tmp_path, {"db": _service("db 2"), "web": _service("here", **depends)})
    life.until_printed("| here", 2)
    said = life.lines("cohabit")
    stopped = [line for line in said if "stopped" in line]
    assert [line.split(":")[0] for line in stopped] == ["web", "db"]
    assert life.stop() == 0


def test_scaling_by_reload(up: Start, tmp_path: Path) -> None:
    """More replicas: the running ones stay."""
    life = up({"web": _service("$COHABIT_REPLICA", scale=1)})
    life.until_printed("| 1")
    first = life.one("sleep 1000")
    _again(life, tmp_path, {"web": _service("$COHABIT_REPLICA", scale=3)})
    life.until_printed("web-3")
    life.until(lambda: len(life.below("sleep 1000")) == 3, "three replicas")
    assert first.pid in {process.pid for process in life.below("sleep 1000")}
    assert life.stop() == 0


@pytest.mark.parametrize("times", [1, 5])
def test_reexecution_loses_nothing(up: Start, gate: object, times: int, process_1: bool) -> None:
    """The same pid, the same children, each line once, and the exit that comes later."""
    life = up({"web": {"command": shell(f"{COUNT}; exit 7")}}, process_1=process_1)
    life.until_printed("web: started")
    pid = life.pid
    for number in range(times):
        life.signal(REEXECUTE)
        life.until_printed("re-executed", number + 1)
    assert life.pid == pid
    life.until_printed("line 2000")
    gate.open()  # type: ignore[attr-defined]
    assert life.wait() == 7
    assert life.lines("web", "out") == [f"line {number}" for number in range(1, 2001)]


def test_reexecution_into_a_broken_program_is_refused(start: Start, tmp_path: Path) -> None:
    """What is installed is tried first; the running program goes on."""
    package = tmp_path / "package"
    source = os.path.dirname(COHABIT[-1])
    package.mkdir()
    os.system(f"cp -r {source} {package}/")  # noqa: S605 - two paths of ours
    file = write_file(str(tmp_path), {"web": _service("a")})
    life = start(*COHABIT[:-1], str(package / "cohabit" / "__main__.py"), "up", "-f", file)
    life.until_printed("| a")
    (package / "cohabit" / "units.py").write_text("broken!")
    life.signal(REEXECUTE)
    life.until_printed("cannot re-execute")
    assert life.stop() == 0


def test_the_verbs_reach_the_running_one(up: Start, process_1: bool) -> None:
    """`cohabit reload` and `cohabit reexec` from inside."""
    cohabit = " ".join(COHABIT)
    script = f"{cohabit} reload && {cohabit} reexec; echo told; exec sleep 1000"
    life = up({"web": {"command": shell(script)}}, process_1=process_1)
    life.until_printed("told")
    life.until_printed("reload: nothing has changed")
    life.until_printed("re-executed")
    assert life.stop() == 0
