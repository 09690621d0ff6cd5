"""The end of `cohabit init`: when main has ended, everybody else is asked, waited for, and gone, in both modes."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from linux import processes
from linux.conftest import Start
from linux.run import COHABIT, lines_of, program, shell

LATE = 'trap "echo asked >> told; exit 0" TERM; echo up >> told; while :; do read line; done < pipe'


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Give a pipe that shells can read from for ever."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("how", ["", "setsid "])
def test_orphans_are_asked(init: Start, tmp_path: Path, pipe: Path, process_1: bool, how: str) -> None:
    """When main ends, an orphan gets TERM, also in another session, and time to obey."""
    del pipe
    (tmp_path / "late").write_text(LATE)
    main = f"({how}sh ./late 3<>pipe &) ; until [ -e told ]; do :; done; exit 3"
    life = init("--", *shell(main), process_1=process_1)
    assert life.wait() == 3
    assert lines_of(str(tmp_path / "told")) == ["up", "asked"]


def test_wait_ends_with_the_last(init: Start, process_1: bool) -> None:
    """The wait is over as soon as all are gone: an hour of grace for those who obey takes no hour."""
    life = init("-t", "1h", "--", *shell("(setsid sleep 1000 &); (sleep 1000 &); exit 0"), process_1=process_1)
    assert life.wait() == 0
    assert "killed" not in life.text


def test_deaf_orphan_is_killed(init: Start, process_1: bool) -> None:
    """An orphan that ignores TERM is killed after -t, and we say so; the code stays main's."""
    main = "(trap '' TERM; setsid sleep 1000 & ); exit 4"
    life = init("-t", "10ms", "--", *shell(main), process_1=process_1)
    assert life.wait() == 4
    assert "killed" in life.text


def test_second_signal_cuts_the_wait(init: Start, process_1: bool) -> None:
    """A stop signal while we wait for deaf orphans kills them at once."""
    life = init(
        "-t",
        "1h",
        "--",
        *shell("(trap '' TERM; setsid sleep 1000 & ); echo ready; read x"),
        process_1=process_1,
        stdin=subprocess.PIPE,
    )
    life.until_printed("ready")
    life.one("sleep 1000")
    assert life.process.stdin
    life.process.stdin.close()
    life.until(lambda: len(life.below()) == 1, "main's end")
    assert life.stop(signal.SIGINT) == 1


def test_stopped_orphan_hears_term(init: Start, process_1: bool) -> None:
    """An orphan that is stopped is continued, so that it can hear the TERM."""
    life = init("-t", "1h", "--", *shell("(sleep 1000 &); read x"), process_1=process_1, stdin=subprocess.PIPE)
    orphan = life.one("sleep 1000")
    os.kill(orphan.pid, signal.SIGSTOP)
    life.until(lambda: life.one("sleep 1000").state == "T", "it to be stopped")
    assert life.process.stdin
    life.process.stdin.close()
    assert life.wait() == 1


def test_nobody_outside_is_signalled(start: Start) -> None:
    """Not as process 1, the sweep ends our descendants and nobody else: our parent's other children live."""
    cohabit = " ".join([*COHABIT, "init", "--", "true"])
    life = start(*shell(f"sleep 1000 & {cohabit}; exec sleep 2000"))
    life.until(lambda: life.process_1().command == "sleep 2000", "our end")
    assert [one.command for one in processes.children(life.process_1().pid)] == ["sleep 1000"]


def test_storm_of_orphans_leaves_no_zombie(init: Start, process_1: bool) -> None:
    """5,000 orphans that are killed at once are all reaped while main runs on."""
    life = init("--", *program("storm.py", "5000"), process_1=process_1)
    life.until_printed("ready")
    life.signal(signal.SIGUSR1)
    life.until_printed("killed")
    life.until(lambda: len(life.below()) == 1 and not life.zombies(), "all zombies to be gone")
    assert life.stop(signal.SIGUSR2) == 9


def test_orphan_is_reaped_at_once(init: Start, process_1: bool) -> None:
    """An orphan's end leaves no zombie while main runs on."""
    life = init("--", *shell("(sleep 1000 &); read x"), process_1=process_1, stdin=subprocess.PIPE)
    os.kill(life.one("sleep 1000").pid, signal.SIGKILL)
    life.until(lambda: len(life.below()) == 1 and not life.zombies(), "the orphan to be reaped")


def test_no_warning_when_no_subreaper_is_wanted(init: Start) -> None:
    """-S asks for it, so there is no failure to report."""
    life = init("-S", "--", "true", process_1=False)
    assert life.wait() == 0
    assert life.text == ""


def test_no_warning_when_it_can_reap(init: Start, process_1: bool) -> None:
    """As process 1 or as subreaper there is nothing to warn of; a run without trouble says nothing at all."""
    life = init("--", "true", process_1=process_1)
    assert life.wait() == 0
    assert life.text == ""


def test_reaped_orphans_are_told_on_demand(init: Start, process_1: bool) -> None:
    """-w tells of each orphan that is reaped."""
    life = init("-w", "--", *shell("(exit 3 &); read x"), process_1=process_1, stdin=subprocess.PIPE)
    life.until_printed("reaped orphan")
    assert "exit code 3" in life.text


def test_grace_begins_with_the_stop(init: Start, process_1: bool) -> None:
    """A main that obeys at once leaves its orphans their time, and the code is main's own."""
    life = init("--", *shell("(setsid sleep 1000 &); exec sleep 2000"), process_1=process_1)
    life.one("sleep 1000")
    life.one("sleep 2000")
    assert life.stop() == 143
    assert "killed" not in life.text
