"""`cohabit up`: the stop, its grace periods, and a service as its whole process tree."""

import os
import signal
from pathlib import Path

import pytest

from linux import processes
from linux.conftest import Start
from linux.run import COHABIT, Run, program, shell, write_file

DEAF = shell("trap '' TERM INT; echo deaf; while :; do sleep 1000; done")
HOUR = "1h"


def test_deaf_service_is_killed_after_its_grace(up: Start, process_1: bool) -> None:
    """A service that ignores TERM is killed after stop_grace_period, and a requested stop is then 137."""
    life = up(
        {"web": {"command": DEAF, "stop_grace_period": "20ms"}},
        top={"x-cohabit": {"stop_grace_period": HOUR}},
        process_1=process_1,
    )
    life.until_printed("deaf")
    assert life.stop() == 137
    assert "web" in life.text
    assert "killing" in life.text


def test_total_is_shorter_than_the_sum(up: Start, process_1: bool) -> None:
    """The total of x-cohabit ends the wait for a service that would have an hour."""
    life = up(
        {"web": {"command": DEAF, "stop_grace_period": HOUR}},
        top={"x-cohabit": {"stop_grace_period": "20ms"}},
        process_1=process_1,
    )
    life.until_printed("deaf")
    assert life.stop() == 137


def test_total_reaches_those_who_were_not_told_yet(up: Start) -> None:
    """When the total is over, a service behind a deaf one is killed too, and nobody is left."""
    life = up(
        {"db": {"command": ["sleep", "1000"]}, "web": {"command": DEAF, "depends_on": ["db"]}},
        top={"x-cohabit": {"stop_grace_period": "20ms"}},
    )
    life.until_printed("deaf")
    assert life.stop() == 137


def test_second_signal_kills_at_once(up: Start, process_1: bool) -> None:
    """A second stop signal does not wait for anybody."""
    life = up(
        {"web": {"command": DEAF, "stop_grace_period": HOUR}},
        top={"x-cohabit": {"stop_grace_period": HOUR}},
        process_1=process_1,
    )
    life.until_printed("deaf")
    life.signal(signal.SIGTERM)
    life.until_printed("SIGTERM: stopping")
    assert life.stop(signal.SIGINT) == 137
    assert "SIGINT again" in life.text


def test_first_cause_outlives_a_kill(up: Start) -> None:
    """When a failure is the reason, its code stays although others had to be killed."""
    life = up(
        {
            "web": {"command": shell("until [ -e deaf ]; do :; done; exit 3")},
            "other": {
                "command": shell("trap '' TERM; touch deaf; while :; do sleep 1000; done"),
                "stop_grace_period": "20ms",
            },
        }
    )
    assert life.wait() == 3


def test_tree_is_gone_before_the_restart(up: Start, process_1: bool) -> None:
    """Children of a killed leader, in whatever session, are gone when it starts again."""
    life = up({"web": {"command": program("tree.py"), "restart": "always"}}, process_1=process_1)
    for times in (1, 2):
        life.until_printed("ready", times)
        os.kill(_leader(life).pid, signal.SIGKILL)
    life.until_printed("ready", 3)
    assert [line for line in life.lines("web") if line.startswith("found")] == ["found 0"] * 3


def test_tree_is_gone_at_the_end(up: Start, process_1: bool) -> None:
    """A requested stop ends the children in other sessions as well, and is 0 when they obey."""
    life = up({"web": {"command": program("tree.py")}}, process_1=process_1)
    life.until_printed("ready")
    survivors = life.below()
    assert life.stop() == 0
    assert not [one for one in survivors if processes.look(one.pid)]


def test_deaf_orphans_are_killed_before_the_restart(up: Start, process_1: bool) -> None:
    """An orphan that ignores TERM is killed after the service's grace; then the service starts again."""
    leader = "(trap '' TERM; setsid sleep 1000 &); echo ready; exec sleep 2000"
    life = up(
        {"web": {"command": shell(leader), "restart": "always", "stop_grace_period": "20ms"}}, process_1=process_1
    )
    life.until_printed("ready")
    orphan = life.one("sleep 1000")
    os.kill(life.one("sleep 2000").pid, signal.SIGKILL)
    life.until_printed("ready", 2)
    assert processes.look(orphan.pid) is None


def test_nobodys_orphan_is_swept(up: Start, process_1: bool) -> None:
    """A process that hid from its service, without session and without mark, is ended with the container."""
    hidden = "setsid env -i /bin/sleep 1000 & exec sleep 2000"
    life = up(
        {"web": {"command": shell(f"(setsid sh -c '{hidden}' &) ; echo ready; exec sleep 3000")}}, process_1=process_1
    )
    life.until_printed("ready")
    life.one("/bin/sleep 1000")
    os.kill(life.one("sleep 2000").pid, signal.SIGKILL)
    orphan = life.one("/bin/sleep 1000")
    assert life.stop() == 0
    assert processes.look(orphan.pid) is None


def test_other_services_trees_are_left_alone(up: Start) -> None:
    """Ending one service's tree touches nobody of another's, orphans included."""
    life = up(
        {
            "web": {"command": program("tree.py"), "restart": "always"},
            "other": {"command": shell("(setsid sleep 1000 &); echo up; exec sleep 2000")},
        }
    )
    life.until_printed("ready")
    life.until_printed("up\n")
    others = {life.one("sleep 1000").pid, life.one("sleep 2000").pid}
    os.kill(_leader(life).pid, signal.SIGKILL)
    life.until_printed("ready", 2)
    assert others == {life.one("sleep 1000").pid, life.one("sleep 2000").pid}


def test_daemon_gets_a_hint(up: Start) -> None:
    """A command that leaves others in its own session is no daemon: they are ended, and the message says what to do."""
    life = up({"web": {"command": shell("(sleep 1000 &); exit 0")}})
    assert life.wait() == 0
    assert "run it in the foreground" in life.text


def test_daemon_stays_its_services(up: Start, process_1: bool) -> None:
    """Who puts itself in the background goes on as the service: its end counts, and it is told to stop."""
    life = up({"web": {"command": shell("(setsid sleep 1000 &); exit 0"), "restart": "always"}}, process_1=process_1)
    life.until_printed("web: is in the background now")
    os.kill(life.one("sleep 1000").pid, signal.SIGKILL)
    life.until_printed("web: is in the background now", 2)
    life.one("sleep 1000")
    assert life.stop() == 0


def test_what_a_stopped_service_leaves_is_no_daemon(up: Start, process_1: bool) -> None:
    """Who ends well because he was told to has not put himself in the background: what he leaves is ended at once."""
    script = "setsid sleep 1000 & trap 'exit 0' TERM; echo ready; wait"
    life = up({"web": {"command": shell(script)}}, process_1=process_1)
    life.until_printed("ready")
    assert life.stop() == 0
    assert "in the background" not in life.text


def test_nobody_outside_is_signalled(start: Start, tmp_path: Path) -> None:
    """Not as process 1, a stop ends our descendants and nobody else."""
    file = write_file(str(tmp_path), {"job": {"command": ["true"]}})
    life = start(*shell(f"sleep 1000 & {' '.join(COHABIT)} up -f {file}; exec sleep 2000"))
    life.until(lambda: life.process_1().command == "sleep 2000", "our end")
    assert [one.command for one in processes.children(life.process_1().pid)] == ["sleep 1000"]


@pytest.mark.parametrize("times", [1, 3])
def test_flooding_orphan_does_not_hold_us_up(up: Start, times: int) -> None:
    """A child that writes without end and outlives its leader is ended like any other: the pump is no trap."""
    flood = shell("yes & echo ready >&2; exec sleep 1000")
    life = up({"web": {"command": flood, "restart": "always"}}, stdout=open(os.devnull, "wb"))  # noqa: SIM115
    for time in range(1, times + 1):
        life.until_printed("ready", time)
        os.kill(life.one("sleep 1000").pid, signal.SIGKILL)
    life.until_printed("ready", times + 1)
    life.one("yes")
    assert life.stop() == 0


def _leader(life: Run) -> processes.Process:
    return next(one for one in life.below("tree.py") if one.parent == life.pid and one.session == one.pid)
