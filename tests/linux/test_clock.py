"""The schedule clock on the real kernel: its process, its pipes, and changes of the time of day.

A cron line in a file has minutes as its smallest unit. These tests use cronsim's sixth field for seconds.
"""

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from linux import processes
from linux.conftest import Start
from linux.processes import Process
from linux.run import AT_MOST_SECONDS, MAIN, NAMESPACES, REPOSITORY, Run, program, shell, write_file

SOURCE = os.path.join(REPOSITORY, "src")
CLOCK = os.path.join(SOURCE, "cohabit", "config", "clock.py")
EACH_SECOND = ("web", "* * * * * *")


def _clocks(run: Run) -> list[Process]:
    """The clock's processes, wherever they are in the tree, zombies excluded."""
    below = processes.descendants(run.process.pid)
    return [process for process in below if "tasks/clock.py" in process.command and process.state != "Z"]


def test_a_schedule_runs_repeatedly(start: Start) -> None:
    """The job runs at each time of the schedule."""
    run = start(*program("clock_host.py", SOURCE, *EACH_SECOND))
    run.until_printed("due web", 3)
    assert "said" not in run.text


def test_a_killed_clock_is_restarted(start: Start) -> None:
    """A warning says what happens, and the schedules continue."""
    run = start(*program("clock_host.py", SOURCE, *EACH_SECOND))
    run.until_printed("due web")
    (killed,) = _clocks(run)
    os.kill(killed.pid, signal.SIGKILL)
    run.until_printed("said the schedule clock ended with SIGKILL (killed)")
    known = run.text.count("due web")
    run.until_printed("due web", known + 1)
    assert [clock.pid for clock in _clocks(run)] != [killed.pid]


def test_the_clock_ends_with_process_1(start: Start) -> None:
    """Even when process 1 was killed and could not stop it: its standard input is closed then."""
    host = program("clock_host.py", SOURCE, "web", "0 0 1 1 *")
    run = start("sh", "-c", '"$@"; echo over; sleep 1000', "sh", *host)
    run.until(lambda: _clocks(run), "the clock")
    (clock,) = _clocks(run)
    os.kill(clock.parent, signal.SIGKILL)
    run.until_printed("over")
    run.until(lambda: not _clocks(run), "the end of the clock")


def test_an_idle_clock_sleeps_without_a_timeout(start: Start) -> None:
    """While it waits for next year's job it sleeps in poll(2) without a timeout."""
    if os.uname().machine != "x86_64":
        pytest.skip("reads the arguments of a system call, which differ by machine")
    run = start(*program("clock_host.py", SOURCE, "web", "0 0 1 1 *"))
    run.until(lambda: _clocks(run), "the clock")
    (clock,) = _clocks(run)

    def waits() -> bool:
        call = Path(f"/proc/{clock.pid}/syscall").read_text(encoding="ascii").split()
        return call[0] == "7" and call[3] == "0xffffffff"

    run.until(waits, "poll(2) without a timeout")


# --- a User Mode Linux, whose time of day may be set -----------------------------------------------------


def _own_kernel(directory: Path, *words: str) -> dict[str, str]:
    """Boot User Mode Linux on this root, read-only, with a program as process 1; returns STEP -> what it printed."""
    if shutil.which("linux.uml") is None:
        pytest.skip("no kernel of our own (apt-get install user-mode-linux)")
    init = directory / "init"
    init.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin exec {shlex.join(program(*words))}\n", encoding="utf-8")
    init.chmod(0o755)
    kernel = ("linux.uml", "mem=192M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro")
    run = subprocess.run(
        [*NAMESPACES, *kernel, "con=null", "con0=null,fd:1", f"init={init}"],
        env={**os.environ, "HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * AT_MOST_SECONDS,
        check=False,
    )
    print(run.stdout, run.stderr)  # shown when the test fails
    steps = [line.partition(" ->") for line in run.stdout.replace("\r", "").splitlines() if " ->" in line]
    return {step: seen.strip() for step, _, seen in steps}


@pytest.mark.usefixtures("namespaces")
def test_the_time_of_day_is_set(tmp_path: Path) -> None:
    """The clock's process wakes when the time is set; jobs become due as docs/reference/schedule.md says."""
    assert _own_kernel(tmp_path, "clock_jumps.py", CLOCK) == {
        "before": "",
        "on to 12:59:59.5": "daily often often",  # often: the missed run, and then 13:00
        "back to 11:59:59": "often",
        "on to 12:59:59": "often often",  # daily has already run at 13:00
        "twenty days on": "daily often",
        "back to 12:59:59": "daily often",  # a difference so large that the new time counts
        "its end": "0",
    }


@pytest.mark.usefixtures("namespaces")
def test_up_starts_a_job_at_its_time(tmp_path: Path) -> None:
    """A job runs when it is due, never overlaps itself, and runs once for all times that a jump has skipped."""
    job = {
        "command": shell("echo ran; read line < /mnt/gate"),
        "schedule": {"cron": "0 13 * * *", "timezone": "UTC"},
    }
    file = write_file(str(tmp_path), {"keeper": {"command": ["sleep", "1000"]}, "job": job})
    seen = _own_kernel(tmp_path, "up_jumps.py", MAIN, file)
    assert seen["at one"] == "job     | ran"
    assert "job: its schedule is due, but the previous run is not finished" in seen["a day later, while it runs"]
    assert "job: ended with exit code 0" in seen["its end"]
    assert seen["twenty days later"] == "job     | ran"
    assert seen["stop"] == "cohabit | stopped by SIGTERM: exit code 0"
    assert seen["code"] == "0"
