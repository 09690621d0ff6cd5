"""What services get of process 1: descriptors, the session; and what they see of it: its name, and who signalled it."""

import os
import re
from pathlib import Path

from linux.conftest import Start
from linux.run import COHABIT, program, shell, write_file

DESCRIPTORS = "for fd in /proc/self/fd/*; do readlink $fd; done | grep -c given; true"


def test_services_do_not_get_inherited_descriptors(start: Start, tmp_path: Path) -> None:
    """A descriptor beyond 2 that cohabit was given stays closed in services and hooks."""
    given = tmp_path / "given"
    given.touch()
    path = write_file(
        str(tmp_path),
        {
            "web": {
                "command": shell(f"echo main has $({DESCRIPTORS})"),
                "pre_start": [{"command": shell(f"echo hook has $({DESCRIPTORS})")}],
            }
        },
    )
    run = start("sh", "-c", f'exec "$@" 3<{given} 7<{given}', "sh", *COHABIT, "up", "-f", path)
    assert run.wait() == 0
    assert "hook has 0" in run.text
    assert "main has 0" in run.text


def test_a_service_that_leads_no_session(up: Start, process_1: bool) -> None:
    """With setsid: false, setpgid(2) succeeds, as dcron needs it; by default it fails for a session leader."""
    setpgid = ["python3", "-c", "import os; os.setpgid(0, 0); print('ok')"]
    services = {
        "plain": {"command": setpgid, "essential": False},
        "cron": {"command": setpgid, "essential": False, "setsid": False},
    }
    run = up(services, process_1=process_1)
    run.wait()
    assert re.search(r"cron +\| ok", run.text)
    assert not re.search(r"plain +\| ok", run.text)
    assert "PermissionError" in run.text


def test_processes_of_a_service_without_a_session_are_ended(up: Start, process_1: bool) -> None:
    """What it leaves behind is attributed to it and ended before its restart."""
    command = shell("sleep 4711 & echo left; exit 1")
    run = up({"cron": {"command": command, "setsid": False, "restart": "on-failure:1"}}, process_1=process_1)
    assert run.wait() == 1
    run.until(lambda: not run.text.count("cannot be attributed"), "no unattributed process")
    assert run.text.count("left") >= 2


def test_the_sender_of_a_stop_request_is_named(up: Start) -> None:
    """A service that ends process 1 is named in the log and in the exit reason; a sender from outside is not known."""
    run = up({"web": {"command": shell("sleep 0; kill -TERM 1; exec sleep 1000")}})
    assert run.wait() == 0
    lines = run.text.splitlines()
    sender = next(line for line in lines if line.endswith(": stopping"))
    assert "SIGTERM from process" in sender
    assert "service web" in sender
    assert "stopped by SIGTERM from process" in lines[-1]
    run = up({"web": {"command": ["sleep", "1000"]}})
    run.one("sleep 1000")
    assert run.stop() == 0
    assert "SIGTERM: stopping" in run.text


def test_a_sender_that_has_ended(up: Start) -> None:
    """Of a sender that is gone, the pid is still known."""
    run = up({"web": {"command": program("signal_and_end.py")}})
    assert run.wait() == 0
    assert "SIGTERM from process" in run.text


def test_pkill_of_the_interpreter_does_not_reach_process_1(up: Start) -> None:
    """Process 1 has a name of its own."""
    run = up({"web": {"command": shell("pkill -x python3; pkill -x python; cat /proc/1/comm; exec sleep 1000")}})
    run.until_printed("cohabit", 1)
    run.one("sleep 1000")
    assert run.stop() == 0
    assert "from process" not in run.text
    assert os.path.basename(COHABIT[0]).startswith("python")


def test_init_has_a_name_of_its_own(init: Start) -> None:
    """`cohabit init`, too."""
    run = init("cat", "/proc/1/comm")
    assert run.wait() == 0
    assert run.text.strip() == "cohabit"
