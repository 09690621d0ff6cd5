"""The end of `cohabit init`, in both modes: when main has ended, all other processes get TERM, time, and KILL."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from linux import processes
from linux.conftest import Start
from linux.run import COHABIT, lines_of, program, shell

LATE = 'trap "echo asked >> log; exit 0" TERM; echo up >> log; while :; do read line; done < pipe'


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Give a pipe from which shells can read for ever."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("how", ["", "setsid "])
def test_orphans_get_term(init: Start, tmp_path: Path, pipe: Path, process_1: bool, how: str) -> None:
    """When main ends, an orphan gets TERM, also in another session, and time to exit."""
    del pipe
    (tmp_path / "late").write_text(LATE)
    main = f"({how}sh ./late 3<>pipe &) ; until [ -e log ]; do :; done; exit 3"
    run = init("--", *shell(main), process_1=process_1)
    assert run.wait() == 3
    assert lines_of(str(tmp_path / "log")) == ["up", "asked"]


def test_wait_ends_with_the_last(init: Start, process_1: bool) -> None:
    """The wait ends when all processes are gone, even with a grace period of an hour."""
    run = init("-t", "1h", "--", *shell("(setsid sleep 1000 &); (sleep 1000 &); exit 0"), process_1=process_1)
    assert run.wait() == 0
    assert "killed" not in run.text


def test_orphan_that_ignores_term_is_killed(init: Start, process_1: bool) -> None:
    """An orphan that ignores TERM is killed after -t, with a message; the exit code remains that of main."""
    main = "(trap '' TERM; setsid sleep 1000 & ); exit 4"
    run = init("-t", "10ms", "--", *shell(main), process_1=process_1)
    assert run.wait() == 4
    assert "killed" in run.text


def test_second_signal_ends_the_wait(init: Start, process_1: bool) -> None:
    """A stop signal during the wait for orphans that ignore TERM kills them at once."""
    run = init(
        "-t",
        "1h",
        "--",
        *shell("(trap '' TERM; setsid sleep 1000 & ); echo ready; read x"),
        process_1=process_1,
        stdin=subprocess.PIPE,
    )
    run.until_printed("ready")
    run.one("sleep 1000")
    assert run.process.stdin
    run.process.stdin.close()
    run.until(lambda: len(run.below()) == 1, "main's end")
    assert run.stop(signal.SIGINT) == 1


def test_stopped_orphan_receives_term(init: Start, process_1: bool) -> None:
    """A stopped orphan is continued, so that it receives TERM."""
    run = init("-t", "1h", "--", *shell("(sleep 1000 &); read x"), process_1=process_1, stdin=subprocess.PIPE)
    orphan = run.one("sleep 1000")
    os.kill(orphan.pid, signal.SIGSTOP)
    run.until(lambda: run.one("sleep 1000").state == "T", "it to be stopped")
    assert run.process.stdin
    run.process.stdin.close()
    assert run.wait() == 1


def test_no_outside_process_is_signalled(start: Start) -> None:
    """Not as process 1, the final TERM goes to descendants only; other children of the parent process keep running."""
    cohabit = " ".join([*COHABIT, "init", "--", "true"])
    run = start(*shell(f"sleep 1000 & {cohabit}; exec sleep 2000"))
    run.until(lambda: run.process_1().command == "sleep 2000", "the end of cohabit")
    assert [one.command for one in processes.children(run.process_1().pid)] == ["sleep 1000"]


def test_storm_of_orphans_leaves_no_zombie(init: Start, process_1: bool) -> None:
    """2,100 orphans that are killed at once, more than are reaped in one turn, are all reaped while main runs."""
    run = init("--", *program("storm.py", "2100"), process_1=process_1)
    run.until_printed("ready")
    run.signal(signal.SIGUSR1)
    run.until_printed("killed")
    run.until(lambda: len(run.below()) == 1 and not run.zombies(), "all zombies to be gone")
    assert run.stop(signal.SIGUSR2) == 9


def test_orphan_is_reaped_at_once(init: Start, process_1: bool) -> None:
    """The exit of an orphan leaves no zombie while main keeps running."""
    run = init("--", *shell("(sleep 1000 &); read x"), process_1=process_1, stdin=subprocess.PIPE)
    os.kill(run.one("sleep 1000").pid, signal.SIGKILL)
    run.until(lambda: len(run.below()) == 1 and not run.zombies(), "the orphan to be reaped")


def test_no_warning_when_no_subreaper_is_wanted(init: Start) -> None:
    """-S asks for it, so there is no failure to report."""
    run = init("-S", "--", "true", process_1=False)
    assert run.wait() == 0
    assert run.text == ""


def test_no_warning_when_it_can_reap(init: Start, process_1: bool) -> None:
    """As process 1 or as subreaper there is no warning; a run without errors prints nothing."""
    run = init("--", "true", process_1=process_1)
    assert run.wait() == 0
    assert run.text == ""


def test_reaped_orphans_are_reported_on_request(init: Start, process_1: bool) -> None:
    """-w reports each reaped orphan."""
    run = init("-w", "--", *shell("(exit 3 &); read x"), process_1=process_1, stdin=subprocess.PIPE)
    run.until_printed("reaped orphan")
    assert "exit code 3" in run.text


def test_grace_begins_with_the_stop(init: Start, process_1: bool) -> None:
    """If main exits at once, its orphans still have the grace period, and the code is main's own."""
    run = init("--", *shell("(setsid sleep 1000 &); exec sleep 2000"), process_1=process_1)
    run.one("sleep 1000")
    run.one("sleep 2000")
    assert run.stop() == 143
    assert "killed" not in run.text
