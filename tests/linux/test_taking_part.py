"""Which services take part: `scale` and `start` of services that do not yet, and `autostart: false`."""

import json
from pathlib import Path

from linux.clients import ask, environment, request
from linux.conftest import Start
from linux.run import Run

SERVICES = {
    "db": {"command": ["sleep", "1000"]},
    "dbg": {"command": ["sleep", "1001"], "profiles": ["debug"], "depends_on": ["lazy"]},
    "lazy": {"command": ["sleep", "1002"], "autostart": False},
    "idle": {"command": ["sleep", "1003"], "autostart": False},
}


def _states(run: Run, directory: str) -> dict[str, tuple[str, int]]:
    shown = json.loads(ask(run, directory, "ps", "--json"))["services"]
    return {one["name"]: (one["state"], one["pid"]) for one in shown}


def test_scaling_leaves_the_running_instance_alone(up: Start, tmp_path: Path) -> None:
    """A service without a number in the file keeps its process while it is scaled up and down."""
    directory = str(tmp_path)
    run = up({"db": SERVICES["db"]}, environment=environment(directory))
    before = run.one("sleep 1000")
    assert "nothing has changed" in ask(run, directory, "scale", "db=1")
    request(run, directory, "scale", "db=2")
    run.until(lambda: len(run.below("sleep 1000")) == 2, "two instances")
    assert before.pid in [process.pid for process in run.below("sleep 1000")]
    assert list(_states(run, directory)) == ["db", "db-2"]
    request(run, directory, "scale", "db=1")
    assert run.one("sleep 1000").pid == before.pid


def test_start_and_scale_activate_a_service(up: Start, tmp_path: Path) -> None:
    """A service behind an inactive profile starts by its name, with its dependencies, and stays over a reload."""
    directory = str(tmp_path)
    run = up(SERVICES, environment=environment(directory))
    run.one("sleep 1000")
    states = _states(run, directory)
    assert {name: state for name, (state, _) in states.items()} == {
        "db": "RUNNING",
        "lazy": "STOPPED",
        "idle": "STOPPED",
    }
    assert "autostart: false" in ask(run, directory, "ps")
    assert "ready: dbg" in ask(run, directory, "start", "dbg")
    run.one("sleep 1001")
    run.one("sleep 1002")
    assert not run.below("sleep 1003")
    request(run, directory, "reload")
    run.one("sleep 1001")
    assert "there is no service 'nope'" in ask(run, directory, "start", "nope", code=64)
    request(run, directory, "scale", "idle=2")
    run.until(lambda: len(run.below("sleep 1003")) == 2, "two instances")
    assert run.stop() == 0


def test_a_service_that_was_started_by_name_stays_without_the_one_that_brought_it(up: Start, tmp_path: Path) -> None:
    """`scale dbg=0` ends dbg and what came with it, but not what was also started by its name."""
    directory = str(tmp_path)
    debug = {"profiles": ["debug"]}
    run = up(
        {
            "db": SERVICES["db"],
            "dbg": {"command": ["sleep", "1001"], **debug, "depends_on": ["mock", "trace"]},
            "mock": {"command": ["sleep", "1002"], **debug},
            "trace": {"command": ["sleep", "1003"], **debug},
        },
        environment=environment(directory),
    )
    run.one("sleep 1000")
    request(run, directory, "start", "dbg")
    assert "ready: trace" in ask(run, directory, "start", "trace")
    trace = run.one("sleep 1003")
    request(run, directory, "scale", "dbg=0")
    run.until(lambda: not run.below("sleep 1002"), "mock ends")
    assert not run.below("sleep 1001")
    assert run.one("sleep 1003").pid == trace.pid
    assert run.stop() == 0
