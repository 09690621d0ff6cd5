"""`cohabit init` ends with the command's own status, in both modes."""

import os
import signal
from pathlib import Path

import pytest

from linux.conftest import Start
from linux.run import program, shell


@pytest.mark.parametrize("code", [0, 3, 126, 127, 255])
def test_code_of_main_is_ours(init: Start, process_1: bool, code: int) -> None:
    """Main's exit code is ours, also 126 and 127, which would mean something else if they came from us."""
    assert init("--", *shell(f"exit {code}"), process_1=process_1).wait() == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGRTMIN + 1])
def test_death_by_signal_is_128_and_the_signal(init: Start, process_1: bool, number: int) -> None:
    """A main that dies of signal n gives 128+n, never 0."""
    assert init("--", *shell(f"kill -{int(number)} $$"), process_1=process_1).wait() == 128 + number


def test_missing_command_is_127_and_is_named(init: Start, process_1: bool) -> None:
    """A command that is not there is 127, and the message names it and no value of the environment, PATH included."""
    life = init("--", "no-such-program", process_1=process_1, environment={"PATH": "/usr/bin:/odd"})
    assert life.wait() == 127
    assert "no-such-program" in life.text
    assert "is not found in PATH" in life.text
    assert "/odd" not in life.text


def test_missing_path_is_127(init: Start) -> None:
    """A path that is not there is 127."""
    life = init("--", "/no/such/program")
    assert life.wait() == 127
    assert "'/no/such/program' does not exist" in life.text


def test_not_executable_is_126(init: Start, tmp_path: Path) -> None:
    """A file without the execute bit is 126."""
    (tmp_path / "program").write_text("#!/bin/sh\n")
    life = init("--", "./program")
    assert life.wait() == 126
    assert "not executable" in life.text


def test_not_executable_in_path_is_126(init: Start, tmp_path: Path) -> None:
    """A hit in PATH that cannot be executed is remembered over directories where there is none."""
    (tmp_path / "program").write_text("#!/bin/sh\n")
    assert init("--", "program", environment={"PATH": f"{tmp_path}:/usr/bin"}).wait() == 126


def test_directory_is_126(init: Start) -> None:
    """A directory is 126."""
    life = init("--", "/etc")
    assert life.wait() == 126
    assert "is a directory" in life.text


def test_without_first_line_is_126(init: Start, tmp_path: Path) -> None:
    """A text without #! is 126: the kernel executes no such thing, and we are no shell."""
    (tmp_path / "program").write_text("echo hello\n")
    (tmp_path / "program").chmod(0o755)
    life = init("--", "./program")
    assert life.wait() == 126
    assert "interpreter" in life.text


def test_missing_interpreter_is_127(init: Start, tmp_path: Path) -> None:
    """A script whose interpreter is missing is 127, and the message does not say that the script is missing."""
    (tmp_path / "program").write_text("#!/no/such/shell\n")
    (tmp_path / "program").chmod(0o755)
    life = init("--", "./program")
    assert life.wait() == 127
    assert "interpreter" in life.text


def test_too_long_arguments_are_126(init: Start) -> None:
    """Arguments that the kernel takes from us but not together with the rest are an error in words, no traceback."""
    life = init("--", "sh", "-c", 'exec "$0" init -- true "$(head -c 200000 /dev/zero | tr "\\0" a)"', "cohabit")
    assert life.wait() in (126, 127)
    assert "Traceback" not in life.text


def test_death_among_many_is_seen(init: Start, process_1: bool) -> None:
    """When main's SIGCHLD merges with those of orphans, main's end is seen all the same."""
    orphans = "; ".join("(sleep 1000 &)" for _ in range(5))
    life = init("--", *shell(f"{orphans}; echo ready; exec sleep 2000"), process_1=process_1)
    life.until_printed("ready")
    life.until(lambda: len(life.below("sleep 1000")) == 5, "five orphans")
    life.signal(signal.SIGSTOP)
    for process in [*life.below("sleep 1000"), *life.below("sleep 2000")]:
        os.kill(process.pid, signal.SIGKILL)
    life.signal(signal.SIGCONT)
    assert life.wait() == 137


def test_death_of_a_child_is_not_ours(init: Start, process_1: bool) -> None:
    """The end of an orphan is not taken for main's."""
    life = init("--", *program("received.py", "5"), process_1=process_1)
    life.until_printed("ready")
    life.signal(signal.SIGCHLD)
    assert life.stop(signal.SIGUSR2) == 5
    assert "got 17" not in life.text


@pytest.mark.parametrize(("words", "code"), [(["-e", "3"], 0), (["-e", "4"], 3), (["-e", "4", "-e", "3"], 0)])
def test_remapped_code_becomes_0(init: Start, words: list[str], code: int) -> None:
    """-e CODE makes that code 0, and no other."""
    assert init(*words, "--", *shell("exit 3")).wait() == code


def test_remapped_143_makes_a_death_by_term_0(init: Start, process_1: bool) -> None:
    """-e 143 covers a main that dies of SIGTERM, which is what most of them do."""
    life = init("-e", "143", "--", *shell("echo ready; exec sleep 1000"), process_1=process_1)
    life.until_printed("ready")
    life.one("sleep 1000")
    assert life.stop() == 0


def test_stopped_main_is_not_dead(init: Start, process_1: bool) -> None:
    """A main stopped by SIGSTOP lives: we wait for its real end."""
    life = init("--", *program("received.py", "7"), process_1=process_1)
    life.until_printed("ready")
    main = life.one("received.py")
    os.kill(main.pid, signal.SIGSTOP)
    life.until(lambda: life.one("received.py").state == "T", "main to be stopped")
    life.signal(signal.SIGUSR1)
    life.signal(signal.SIGCONT)
    life.until_printed("got 10")
    assert life.stop(signal.SIGUSR2) == 7
