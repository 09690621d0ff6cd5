"""`cohabit up`: the stop, its grace periods, and process trees."""

import os
import signal
from pathlib import Path

import pytest

from linux import processes
from linux.conftest import Start
from linux.run import COHABIT, Run, program, shell, write_file

DEAF = shell("trap '' TERM INT; echo deaf; while :; do sleep 1000; done")
HOUR = "1h"


def test_service_that_ignores_term_is_killed_after_its_grace(up: Start, process_1: bool) -> None:
    """A service that ignores TERM is killed after stop_grace_period, and a requested stop then gives 137."""
    run = up(
        {"web": {"command": DEAF, "stop_grace_period": "20ms"}},
        top={"x-cohabit": {"stop_grace_period": HOUR}},
        process_1=process_1,
    )
    run.until_printed("deaf")
    assert run.stop() == 137
    assert "web" in run.text
    assert "killing" in run.text


def test_total_is_shorter_than_the_sum(up: Start) -> None:
    """The total of x-cohabit ends the wait for a service with a grace period of an hour."""
    run = up(
        {"web": {"command": DEAF, "stop_grace_period": HOUR}},
        top={"x-cohabit": {"stop_grace_period": "20ms"}},
    )
    run.until_printed("deaf")
    assert run.stop() == 137


def test_total_includes_services_that_got_no_signal_yet(up: Start) -> None:
    """When the total is over, a service behind one that ignores TERM is killed too, and no process is left."""
    run = up(
        {"db": {"command": ["sleep", "1000"]}, "web": {"command": DEAF, "depends_on": ["db"]}},
        top={"x-cohabit": {"stop_grace_period": "20ms"}},
    )
    run.until_printed("deaf")
    assert run.stop() == 137


def test_second_signal_kills_at_once(up: Start, process_1: bool) -> None:
    """A second stop signal ends all waiting."""
    run = up(
        {"web": {"command": DEAF, "stop_grace_period": HOUR}},
        top={"x-cohabit": {"stop_grace_period": HOUR}},
        process_1=process_1,
    )
    run.until_printed("deaf")
    run.signal(signal.SIGTERM)
    run.until_printed("SIGTERM: stopping")
    assert run.stop(signal.SIGINT) == 137
    assert "SIGINT again" in run.text


def test_first_cause_is_kept_despite_a_kill(up: Start) -> None:
    """If a failure is the reason, its code is kept although other services were killed."""
    run = up(
        {
            "web": {"command": shell("until [ -e deaf ]; do :; done; exit 3")},
            "other": {
                "command": shell("trap '' TERM; touch deaf; while :; do sleep 1000; done"),
                "stop_grace_period": "20ms",
            },
        }
    )
    assert run.wait() == 3


def test_tree_is_gone_before_the_restart(up: Start, process_1: bool) -> None:
    """Children of a killed main process, in whatever session, are gone when it starts again."""
    run = up({"web": {"command": program("tree.py"), "restart": "always"}}, process_1=process_1)
    for times in (1, 2):
        run.until_printed("ready", times)
        os.kill(_leader(run).pid, signal.SIGKILL)
    run.until_printed("ready", 3)
    assert [line for line in run.lines("web") if line.startswith("found")] == ["found 0"] * 3


def test_tree_is_gone_at_the_end(up: Start, process_1: bool) -> None:
    """A requested stop ends the children in other sessions as well, and gives 0 when they obey."""
    run = up({"web": {"command": program("tree.py")}}, process_1=process_1)
    run.until_printed("ready")
    survivors = run.below()
    assert run.stop() == 0
    assert not [one for one in survivors if processes.find(one.pid)]


def test_orphans_that_ignore_term_are_killed_before_the_restart(up: Start, process_1: bool) -> None:
    """An orphan that ignores TERM is killed after the service's grace period; then the service restarts."""
    leader = "(trap '' TERM; setsid sleep 1000 &); echo ready; exec sleep 2000"
    run = up({"web": {"command": shell(leader), "restart": "always", "stop_grace_period": "20ms"}}, process_1=process_1)
    run.until_printed("ready")
    orphan = run.one("sleep 1000")
    os.kill(run.one("sleep 2000").pid, signal.SIGKILL)
    run.until_printed("ready", 2)
    assert processes.find(orphan.pid) is None


def test_unassigned_orphan_is_ended_with_the_container(up: Start, process_1: bool) -> None:
    """A process that left its service, without session and without mark, is ended with the container."""
    hidden = "setsid env -i /bin/sleep 1000 & exec sleep 2000"
    run = up(
        {"web": {"command": shell(f"(setsid sh -c '{hidden}' &) ; echo ready; exec sleep 3000")}}, process_1=process_1
    )
    run.until_printed("ready")
    run.one("/bin/sleep 1000")
    os.kill(run.one("sleep 2000").pid, signal.SIGKILL)
    orphan = run.one("/bin/sleep 1000")
    assert run.stop() == 0
    assert processes.find(orphan.pid) is None


def test_other_services_trees_are_left_alone(up: Start) -> None:
    """The end of one service's tree affects no process of another's, orphans included."""
    run = up(
        {
            "web": {"command": program("tree.py"), "restart": "always"},
            "other": {"command": shell("(setsid sleep 1000 &); echo up; exec sleep 2000")},
        }
    )
    run.until_printed("ready")
    run.until_printed("up\n")
    others = {run.one("sleep 1000").pid, run.one("sleep 2000").pid}
    os.kill(_leader(run).pid, signal.SIGKILL)
    run.until_printed("ready", 2)
    assert others == {run.one("sleep 1000").pid, run.one("sleep 2000").pid}


def test_daemon_gets_a_hint(up: Start) -> None:
    """Processes left in the main process's session are not a daemon: they end, and the message says what to do."""
    run = up({"web": {"command": shell("(sleep 1000 &); exit 0")}})
    assert run.wait() == 0
    assert "run it in the foreground" in run.text


def test_daemon_becomes_the_main_process(up: Start, process_1: bool) -> None:
    """A daemonized process becomes the service's main process: its exit counts, and it gets the stop signal."""
    run = up({"web": {"command": shell("(setsid sleep 1000 &); exit 0"), "restart": "always"}}, process_1=process_1)
    run.until_printed("web: is in the background now")
    os.kill(run.one("sleep 1000").pid, signal.SIGKILL)
    run.until_printed("web: is in the background now", 2)
    run.one("sleep 1000")
    assert run.stop() == 0


def test_processes_left_by_a_stopped_service_are_not_daemons(up: Start, process_1: bool) -> None:
    """A service that exits with 0 on a stop has not daemonized: the processes that it leaves are ended at once."""
    script = "setsid sleep 1000 & trap 'exit 0' TERM; echo ready; wait"
    run = up({"web": {"command": shell(script)}}, process_1=process_1)
    run.until_printed("ready")
    assert run.stop() == 0
    assert "in the background" not in run.text


def test_no_outside_process_is_signalled(start: Start, tmp_path: Path) -> None:
    """Not as process 1, a stop ends cohabit's descendants and no other process."""
    file = write_file(str(tmp_path), {"job": {"command": ["true"]}})
    run = start(*shell(f"sleep 1000 & {' '.join(COHABIT)} up -f {file}; exec sleep 2000"))
    run.until(lambda: run.process_1().command == "sleep 2000", "the end of cohabit")
    assert [one.command for one in processes.children(run.process_1().pid)] == ["sleep 1000"]


@pytest.mark.parametrize("times", [1, 3])
def test_flooding_orphan_does_not_delay_the_stop(up: Start, times: int) -> None:
    """A child that writes without end and outlives its main process is ended like any other, without blocking."""
    flood = shell("yes & echo ready >&2; exec sleep 1000")
    run = up({"web": {"command": flood, "restart": "always"}}, stdout=open(os.devnull, "wb"))  # noqa: SIM115
    for time in range(1, times + 1):
        run.until_printed("ready", time)
        os.kill(run.one("sleep 1000").pid, signal.SIGKILL)
    run.until_printed("ready", times + 1)
    run.one("yes")
    assert run.stop() == 0


def _leader(run: Run) -> processes.Process:
    return next(one for one in run.below("tree.py") if one.parent == run.pid and one.session == one.pid)


def test_a_deaf_service_leaves_time_to_its_database(up: Start) -> None:
    """The database is asked to stop, and can finish its work, although the grace periods are longer than the total."""
    database = shell("trap 'echo clean; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done")
    run = up(
        {"web": {"command": DEAF, "depends_on": ["db"], "stop_grace_period": "1s"}, "db": {"command": database}},
        top={"x-cohabit": {"stop_grace_period": "3s"}},
    )
    run.until_printed("deaf")
    assert run.stop() == 137
    assert "clean" in run.lines("db")
    assert "its share of the total" in run.text


def test_a_completed_job_does_not_hide_the_stop_order(up: Start, tmp_path: Path) -> None:
    """The database behind a migration runs until the application has ended."""
    os.mkfifo(tmp_path / "release")
    end = f"read line < {tmp_path}/release; echo app ends; exit 0"
    db = "trap 'echo db ends; exit 0' TERM; echo db runs; while :; do sleep 1000 & wait; done"
    slow = f"trap '{end}' TERM; echo app runs; while :; do sleep 1000 & wait; done"
    run = up(
        {
            "db": {"command": shell(db)},
            "migrate": {"command": ["true"], "depends_on": ["db"]},
            "app": {"command": shell(slow), "depends_on": {"migrate": {"condition": "service_completed_successfully"}}},
        },
    )
    run.until_printed("db runs")
    run.until_printed("app runs")
    run.signal(signal.SIGTERM)
    run.until_printed("SIGTERM: stopping")
    assert "db ends" not in run.text
    (tmp_path / "release").write_text("go\n", encoding="utf-8")
    assert run.wait() == 0
    assert run.text.index("app ends") < run.text.index("db ends")


WRAPPER = shell(
    "trap 'echo wrapper: asked' TERM; sh -c 'trap \"echo child: asked; exit\" TERM; echo ready; "
    "while :; do sleep 1000 & wait; done' & wait; wait; wait"
)


def test_control_group_asks_every_process(up: Start, process_1: bool) -> None:
    """With kill_mode: control-group, the child of a wrapper that does not forward TERM gets it, too."""
    run = up({"web": {"command": WRAPPER, "kill_mode": "control-group"}}, process_1=process_1)
    run.until_printed("ready")
    run.one("sleep 1000")  # a shell between fork and exec keeps a TERM for the trap of its parent, and loses it
    assert run.stop() == 0
    assert "child: asked" in run.text
    assert "wrapper: asked" in run.text


def test_a_kill_says_who_was_not_asked(up: Start) -> None:
    """Of a wrapper that does not forward TERM, the log says that its child never got it, and what to write."""
    run = up({"web": {"command": WRAPPER, "stop_grace_period": "20ms"}})
    run.until_printed("ready")
    assert run.stop() == 137
    assert "child: asked" not in run.text
    assert "SIGTERM was sent to its main process only; also killing process" in run.text
    assert "kill_mode: control-group" in run.text


def test_a_kill_of_a_single_process_says_nothing_of_others(up: Start) -> None:
    """A service without other processes needs no other kill_mode."""
    deaf = shell("trap '' TERM; echo deaf; exec sleep 1000")
    run = up({"web": {"command": deaf, "stop_grace_period": "20ms"}})
    run.until_printed("deaf")
    assert run.stop() == 137
    assert "kill_mode" not in run.text


@pytest.mark.parametrize("restart", ["no", "always"])
def test_a_term_that_reaches_the_services_first_is_the_same_request(up: Start, process_1: bool, restart: str) -> None:
    """A platform sends TERM to all processes, the services first: nothing starts again, and the exit code is 0."""
    run = up({"web": {"command": ["sleep", "1000"], "restart": restart}}, process_1=process_1)
    sleeper = run.one("sleep 1000")
    os.kill(sleeper.pid, signal.SIGTERM)
    run.until(lambda: not run.below("sleep 1000"), "its end")
    assert run.stop() == 0
    assert "starting again" not in run.text
    assert "stopped by SIGTERM: exit code 0" in run.text


def test_a_death_by_term_alone_is_reported(up: Start) -> None:
    """Without a stop request, a service that TERM has ended is restarted, and the log says so."""
    run = up({"web": {"command": ["sleep", "1000"], "restart": "always"}})
    os.kill(run.one("sleep 1000").pid, signal.SIGTERM)
    run.until_printed("ended with SIGTERM")
    run.until_printed("starting again")
    assert run.stop() == 0
