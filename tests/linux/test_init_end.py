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


def test_storm_of_orphans_leaves_no_zombie(init: Start) -> None:
    """2,100 orphans that are killed at once, more than are reaped in one turn, are all reaped while main runs."""
    run = init("--", *program("storm.py", "2100"))
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


def test_main_that_ignores_the_stop_is_ended(init: Start) -> None:
    """As process 1, main has -t from the first stop signal; then all processes get TERM, one second and KILL."""
    main = "(setsid sleep 1000 &); trap '' TERM; echo ready; while :; do read line; done < pipe 3<>pipe"
    run = init("-t", "100ms", "--", *shell(f"mkfifo pipe; {main}"))
    run.until_printed("ready")
    run.one("sleep 1000")
    assert run.stop() == 137
    assert ", sh) has not ended within 100ms of SIGTERM" in run.text
    assert "killed the remaining processes" in run.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_main_that_waits_for_a_child_ends_itself(init: Start, number: int) -> None:
    """A shell with a trap waits for its child: that child gets TERM, the trap runs, and the exit code is main's."""
    script = 'trap "echo clean" TERM INT QUIT; echo ready; sleep 1000; exit 7'
    run = init("-t", "100ms", "--", "bash", "-c", script)
    run.until_printed("ready")
    run.one("sleep 1000")
    assert run.stop(number) == 7
    assert "clean" in run.text
    assert "killed" not in run.text


@pytest.mark.parametrize(
    ("options", "process_1"), [(["-t", "0"], True), (["-t", "10ms"], False), (["-r", "TERM:0"], True)]
)
def test_main_is_never_ended(init: Start, tmp_path: Path, options: list[str], process_1: bool) -> None:
    """With -t 0, not as process 1, and if the signal is dropped: main ends when it wants to."""
    os.mkfifo(tmp_path / "pipe")
    main = "trap '' TERM; echo ready; read line < pipe; sleep 0.1; exit 5"
    run = init("-v", *options, "--", *shell(main), process_1=process_1)
    run.until_printed("ready")
    run.signal(signal.SIGTERM)
    run.until_printed("SIGTERM: ")
    (tmp_path / "pipe").write_text("go\n")
    assert run.wait() == 5
    assert "has not ended" not in run.text


def test_wait_names_the_processes(init: Start, process_1: bool) -> None:
    """A wait that lasts longer than a second names the processes, and what ends it."""
    main = "(trap '' TERM; setsid sleep 1000 & ); exit 0"
    run = init("-t", "1h", "--", *shell(main), process_1=process_1)
    run.until_printed("waiting up to 59m59s for the remaining processes: ")
    assert "(sleep) (another SIGTERM ends them at once)" in run.text
    assert run.stop() == 0


@pytest.mark.parametrize("options", [["-S"], ["-S", "-g"]])
def test_group_is_ended_without_a_subreaper(init: Start, options: list[str]) -> None:
    """With -S, what remains of main's process group gets TERM, time, and KILL; the code is main's."""
    main = "sleep 1000 & (trap '' TERM; : > deaf; exec sleep 2000) & until [ -e deaf ]; do :; done; exit 3"
    run = init(*options, "-t", "100ms", "--", *shell(main), process_1=False)
    assert run.wait() == 3
    assert "killed" in run.text
    assert not [one for one in processes.descendants(run.process.pid) if "sleep" in one.command]


def test_group_that_ends_is_waited_for_without_a_subreaper(init: Start) -> None:
    """With -S, the wait ends with the last process of main's group."""
    run = init("-S", "-t", "1h", "--", *shell("sleep 1000 & sleep 2000 & exit 3"), process_1=False)
    assert run.wait() == 3
    assert run.text == ""


def test_directory_can_be_unmounted(start: Start, tmp_path: Path) -> None:
    """The process does not keep the file system busy in which it was started."""
    script = 'mkdir -p m; mount -t tmpfs none m; cd m; exec "$@"'
    main = shell("cd /; echo ready; exec sleep 1000")
    run = start(*COHABIT, "init", "--", *main, above=("unshare", "--mount", "--", *shell(script), "sh"))
    run.until_printed("ready")
    run.one("sleep 1000")
    in_namespace = ["nsenter", "-t", str(run.pid), "-m", "--", "umount", str(tmp_path / "m")]
    assert subprocess.run(in_namespace, check=False).returncode == 0


def test_verbose_names_main_and_what_it_reaps(init: Start, process_1: bool) -> None:
    """-v reports main's pid and its exit code, and each orphan, also those that outlive main."""
    run = init("-v", "--", *shell("(setsid sleep 1000 &); exit 143"), process_1=process_1)
    assert run.wait() == 143
    assert "(sh)" in run.text.partition("main is ")[2].partition("\n")[0]
    assert "main ended with exit code 143" in run.text
    assert "(SIGTERM (terminated))" in run.text


def test_quiet_prints_no_warning(init: Start, process_1: bool) -> None:
    """-q keeps silent about a kill."""
    run = init("-q", "-t", "10ms", "--", *shell("(trap '' TERM; setsid sleep 1000 & ); exit 4"), process_1=process_1)
    assert run.wait() == 4
    assert run.text == ""
