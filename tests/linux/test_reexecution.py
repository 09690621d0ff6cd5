"""After an internal error process 1 rebuilds its loop, and the services are not affected."""

import os
import signal
import sys
from pathlib import Path

import pytest

from linux import processes
from linux.conftest import Gate, Start
from linux.run import REPOSITORY, Run, lines_of, program, shell, write_file

SOURCE = os.path.join(REPOSITORY, "src")
TRIGGER = {"command": shell("read x < gate; exit 0"), "essential": False}


@pytest.fixture
def broken(start: Start, tmp_path: Path) -> Start:
    """Give the function that runs `cohabit up` with a planted error: (plant, services, ...)."""

    def broken(plant: str, services: dict[str, dict[str, object]], **options: object) -> Run:
        top = options.pop("top", {})
        assert isinstance(top, dict)
        file = write_file(str(tmp_path), services, **top)
        return start(*program("driver.py", SOURCE, plant, "up", "-f", file), **options)

    return broken


def _until_recovered(run: Run, *, executed: bool = False) -> None:
    run.until_printed("RuntimeError: planted")
    if executed:
        run.until(lambda: "cohabit-resume" in getattr(processes.find(run.pid), "command", ""), "the new program")
    else:
        run.until_printed("recovered from the internal error")


PLANTS = ["step-before:Exited", "step-after:Exited", "effect:Report", "reap", "executes+step-after:Exited", "exec"]


@pytest.mark.parametrize("plant", PLANTS)
def test_services_keep_running(broken: Start, gate: Gate, process_1: bool, plant: str) -> None:
    """Wherever the error occurs: same pid and children, and afterwards a crash, a restart and a stop work as usual."""
    services = {
        "web": {"command": ["sleep", "1000"], "restart": "always"},
        "trigger": TRIGGER,
        "polite": {"command": program("ordered.py", "polite")},
    }
    run = broken(plant, services, process_1=process_1)
    web = run.one("sleep 1000")
    if "Report" not in plant:
        run.until_printed("trigger: started")
        gate.open()
    _until_recovered(run, executed=plant.startswith("executes"))
    assert run.one("sleep 1000").pid == web.pid
    os.kill(web.pid, signal.SIGKILL)
    run.until(lambda: [one for one in run.below("sleep 1000") if one.pid != web.pid], "a restart")
    assert run.stop() == 0
    assert not run.zombies()


@pytest.mark.parametrize("plant", ["step-before:Exited", "step-after:Exited", "reap", "executes+reap"])
def test_the_event_is_not_lost(broken: Start, gate: Gate, process_1: bool, plant: str) -> None:
    """The event in progress still has its consequence: an essential service's code becomes the container's."""
    services = {"trigger": {"command": shell("read x < gate; exit 5")}, "web": {"command": ["sleep", "1000"]}}
    run = broken(plant, services, process_1=process_1)
    run.one("sleep 1000")
    run.until_printed("trigger: started")
    gate.open()
    assert run.wait() == 5


def test_restart_is_not_lost(broken: Start, gate: Gate) -> None:
    """A service whose crash was interrupted by the error is restarted, once."""
    services = {"trigger": {"command": shell("echo up; read x < gate; exit 5"), "restart": "always"}}
    run = broken("step-after:Exited", services)
    run.until_printed("| up")
    gate.open()
    run.until_printed("| up", 2)
    assert run.stop() == 0
    assert run.lines("trigger") == ["up", "up"]


@pytest.mark.parametrize("effect", ["Spawn", "Signal", "SignalTree", "Sweep", "Exit", "Prepare", "Report"])
def test_each_effect_may_fail(broken: Start, process_1: bool, effect: str) -> None:
    """An error while any effect is executed: the container can be stopped, and ends with an exit code."""
    leaves = "(setsid sleep 1000 &); exec sleep 2000"
    services = {
        "trigger": {"command": shell(leaves), "stop_grace_period": "50ms", "restart": "always"},
        "web": {"command": program("received.py", "0", "15")},
    }
    run = broken(f"effect:{effect}", services, process_1=process_1, top={"x-cohabit": {"stop_grace_period": "300ms"}})
    run.until_printed("ready")
    if effect == "SignalTree":
        os.kill(run.one("sleep 2000").pid, signal.SIGKILL)
        _until_recovered(run)
    assert run.stop() in (0, 137)
    assert "planted" in run.text
    assert "Traceback" in run.text
    assert not run.zombies()


def test_hook_runs_once_despite_an_error(broken: Start, gate: Gate, tmp_path: Path) -> None:
    """Its process is running when the error occurs: it is never started a second time."""
    hook = {"command": shell("echo hook >> hooks; read x < gate")}
    services = {"trigger": {"command": shell("echo up; exec sleep 1000"), "pre_start": [hook]}}
    run = broken("effect-after:RunHook", services)
    _until_recovered(run)
    gate.open(2)
    run.until_printed("| up")
    assert lines_of(str(tmp_path / "hooks")) == ["hook"]
    assert run.stop() == 0


@pytest.mark.parametrize("plant", ["effect:Load", "effect-after:Load", "step-after:ReloadRequested"])
def test_error_at_a_reload_reads_the_file_once(broken: Start, plant: str) -> None:
    """Whenever the error occurs, the file is read once more, and only once."""
    run = broken(plant, {"trigger": {"command": ["sleep", "1000"]}})
    run.until_printed("trigger: started")
    run.signal(signal.SIGHUP)
    run.until_printed("reload: nothing has changed")
    assert run.stop() == 0
    assert run.text.count("reload: nothing has changed") == 1
    assert run.text.count("Traceback") == 1, run.text


@pytest.mark.parametrize("executes", ["", "executes+"])
def test_no_line_is_lost(broken: Start, gate: Gate, executes: str) -> None:
    """A flooding service loses no whole or partial line, and neither do cohabit's unwritten messages."""
    services = {"trigger": TRIGGER, "web": {"command": program("flood.py", "web", "200000")}}
    run = broken(f"{executes}step-before:Exited", services)
    run.until_printed("web 0000100 ")
    gate.open()
    assert run.wait() == 0
    assert "planted" in run.text
    assert [int(line.split()[1]) for line in run.lines("web", "out")] == list(range(200_000))


def test_unread_output_is_not_lost(broken: Start, gate: Gate) -> None:
    """The same without a reader: the output that waits for it is part of the re-execution state."""
    reader, writer = os.pipe()
    services = {
        "trigger": TRIGGER,
        "web": {"command": program("flood.py", "web", "100000"), "essential": False},
        "stays": {"command": ["sleep", "1000"]},
    }
    run = broken("step-before:Exited", services, stdout=writer)
    os.close(writer)
    run.until_printed("trigger: started")
    gate.open()
    _until_recovered(run)
    read = bytearray()
    while read.count(b"\n") < 100_000:
        read += os.read(reader, 1 << 20)
    os.close(reader)
    assert [int(line.split()[3]) for line in read.decode().splitlines()] == list(range(100_000))
    assert run.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_in_between_is_not_lost(broken: Start, gate: Gate, process_1: bool, number: int) -> None:
    """A stop signal that arrives just before the error is obeyed afterwards."""
    services = {"trigger": TRIGGER, "web": {"command": program("received.py", "0", "15")}}
    run = broken(f"signal:{int(number)}+step-before:Exited", services, process_1=process_1)
    run.until_printed("ready")
    gate.open()
    assert run.wait() == 0
    assert run.lines("web") == ["ready", "got 15"]


@pytest.mark.parametrize("executes", ["", "executes+"])
def test_orphans_are_remembered(broken: Start, gate: Gate, executes: str) -> None:
    """The owners of orphans are part of the state: after a later crash, the tree is gone before the restart."""
    services = {"trigger": TRIGGER, "web": {"command": program("tree.py"), "restart": "always"}}
    run = broken(f"{executes}step-before:Exited", services)
    run.until_printed("ready")
    gate.open()
    _until_recovered(run, executed=bool(executes))
    leader = next(one for one in run.below("tree.py") if one.parent == run.pid and one.session == one.pid)
    os.kill(leader.pid, signal.SIGKILL)
    run.until_printed("ready", 2)
    assert [line for line in run.lines("web") if line.startswith("found")] == ["found 0"] * 2


@pytest.mark.parametrize("plant", ["step-before:Loaded", "reap:loader"])
def test_error_while_loading_loads_again(broken: Start, plant: str) -> None:
    """An error before the plan is loaded: the file is read again afterwards."""
    run = broken(plant, {"web": {"command": shell("echo up; exit 6")}})
    assert run.wait() == 6
    assert run.lines("web") == ["up"]


def test_second_error_in_a_minute_stops_in_order(broken: Start, gate: Gate, tmp_path: Path, process_1: bool) -> None:
    """Two errors within a minute: all services are stopped in order, and the code is 70."""
    services = {
        "trigger": TRIGGER,
        "db": {"command": program("ordered.py", "db")},
        "web": {"command": program("ordered.py", "web"), "depends_on": ["db"]},
    }
    run = broken("1+step-before:Exited", services, process_1=process_1)
    run.until_written(str(tmp_path / "order"), 2)
    gate.open()
    assert run.wait() == 70
    assert lines_of(str(tmp_path / "order"))[2:] == ["stop web", "stop db"]


@pytest.mark.parametrize("plant", ["2+step-before:Exited", "lost"])
def test_unrecoverable_error_stops_all_services(
    broken: Start, gate: Gate, tmp_path: Path, process_1: bool, plant: str
) -> None:
    """A third error or a failed re-execution: all services still get TERM and time, and the code is 70."""
    services = {
        "trigger": TRIGGER,
        "web": {"command": program("ordered.py", "web")},
        "hiding": {"command": shell("(setsid sleep 1000 &); exec sleep 2000")},
    }
    run = broken(plant, services, process_1=process_1)
    run.until_written(str(tmp_path / "order"), 1)
    orphan = run.one("sleep 1000")
    gate.open()
    assert run.wait() == 70
    assert lines_of(str(tmp_path / "order"))[1:] == ["stop web"]
    assert processes.find(orphan.pid) is None


@pytest.mark.parametrize("plant", ["2+step-before:Exited", "lost"])
def test_the_final_stop_loses_no_line(broken: Start, gate: Gate, plant: str) -> None:
    """A service that still writes while everything is stopped is read to its last line."""
    writer = [sys.executable, "-I", "-S", os.path.join(REPOSITORY, "tests", "faults", "writer.py"), "alpha", "1"]
    run = broken(plant, {"trigger": TRIGGER, "alpha": {"command": writer}})
    run.until_printed("| alpha ", 100)
    gate.open()
    assert run.wait() == 70
    lines = [line.split() for line in run.lines("alpha", "out")]
    numbers = [int(words[-1]) for words in lines if "end" not in words]
    assert numbers == list(range(len(numbers)))
    assert lines[-1][2:] == ["end", str(len(numbers))]
