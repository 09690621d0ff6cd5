"""`cohabit init` ends with the command's own status, in both modes."""

import os
import signal
from pathlib import Path

import pytest

from linux.conftest import Start
from linux.run import program, shell


@pytest.mark.parametrize("code", [0, 3, 126, 127, 255])
def test_exit_code_is_that_of_main(init: Start, process_1: bool, code: int) -> None:
    """The exit code is that of main, also 126 and 127, which also have a meaning of their own for cohabit."""
    assert init("--", *shell(f"exit {code}"), process_1=process_1).wait() == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGRTMIN + 1])
def test_death_by_signal_is_128_and_the_signal(init: Start, process_1: bool, number: int) -> None:
    """If main is killed by signal n, the exit code is 128+n, never 0."""
    assert init("--", *shell(f"kill -{int(number)} $$"), process_1=process_1).wait() == 128 + number


def test_missing_command_is_127_and_is_named(init: Start, process_1: bool) -> None:
    """A missing command gives 127; the message names it and no value of the environment, PATH included."""
    run = init("--", "no-such-program", process_1=process_1, environment={"PATH": "/usr/bin:/odd"})
    assert run.wait() == 127
    assert "no-such-program" in run.text
    assert "is not found in PATH" in run.text
    assert "/odd" not in run.text


def test_missing_path_is_127(init: Start) -> None:
    """A missing path gives 127."""
    run = init("--", "/no/such/program")
    assert run.wait() == 127
    assert "'/no/such/program' does not exist" in run.text


def test_not_executable_is_126(init: Start, tmp_path: Path) -> None:
    """A file without the execute bit gives 126."""
    (tmp_path / "program").write_text("#!/bin/sh\n")
    run = init("--", "./program")
    assert run.wait() == 126
    assert "not executable" in run.text


def test_not_executable_in_path_is_126(init: Start, tmp_path: Path) -> None:
    """A match in PATH that cannot be executed takes precedence over directories without a match."""
    (tmp_path / "program").write_text("#!/bin/sh\n")
    assert init("--", "program", environment={"PATH": f"{tmp_path}:/usr/bin"}).wait() == 126


def test_directory_is_126(init: Start) -> None:
    """A directory gives 126."""
    run = init("--", "/etc")
    assert run.wait() == 126
    assert "is a directory" in run.text


@pytest.mark.parametrize("name", ["./program", "program"])
def test_script_without_first_line_is_run_by_sh(init: Start, tmp_path: Path, process_1: bool, name: str) -> None:
    """A text file without #! is run by /bin/sh with its arguments, as with env, tini and a shell: execvp(3)."""
    (tmp_path / "program").write_text('echo "$1"; exit 3\n')
    (tmp_path / "program").chmod(0o755)
    run = init("--", name, "a b", environment={"PATH": f"{tmp_path}:/usr/bin"}, process_1=process_1)
    assert run.wait() == 3
    assert run.text == "a b\n"


@pytest.mark.parametrize("content", [b"", b"\x7fELF\0 of another machine\n"])
def test_unknown_format_is_126(init: Start, tmp_path: Path, content: bytes) -> None:
    """An empty file, or a program that the kernel does not know, gives 126, not the errors of a shell."""
    (tmp_path / "program").write_bytes(content)
    (tmp_path / "program").chmod(0o755)
    run = init("--", "./program")
    assert run.wait() == 126
    assert "interpreter" in run.text


def test_path_below_a_file_is_126(init: Start, process_1: bool) -> None:
    """A path below a file gives 126, as in a shell; in PATH such a directory is only one without a match."""
    run = init("--", "/etc/passwd/foo", process_1=process_1)
    assert run.wait() == 126
    assert "Not a directory" in run.text
    assert init("--", "foo", environment={"PATH": "/usr/bin:/bin:/etc/passwd"}, process_1=process_1).wait() == 127


def test_missing_interpreter_is_127(init: Start, tmp_path: Path) -> None:
    """A script whose interpreter is missing gives 127, and the message does not say that the script is missing.

    The path is relative, and cohabit has left its directory before the exec.
    """
    (tmp_path / "program").write_text("#!/no/such/shell\n")
    (tmp_path / "program").chmod(0o755)
    run = init("--", "./program")
    assert run.wait() == 127
    assert "interpreter" in run.text


def test_too_long_arguments_are_126(init: Start) -> None:
    """Arguments that the kernel accepts for cohabit but not for the command give a message, not a traceback."""
    run = init("--", "sh", "-c", 'exec "$0" init -- true "$(head -c 200000 /dev/zero | tr "\\0" a)"', "cohabit")
    assert run.wait() in (126, 127)
    assert "Traceback" not in run.text


def test_exit_of_main_among_many_is_noticed(init: Start, process_1: bool) -> None:
    """When main's SIGCHLD is merged with those of orphans, the exit of main is still noticed."""
    orphans = "; ".join("(sleep 1000 &)" for _ in range(5))
    run = init("--", *shell(f"{orphans}; echo ready; exec sleep 2000"), process_1=process_1)
    run.until_printed("ready")
    run.until(lambda: len(run.below("sleep 1000")) == 5, "five orphans")
    run.signal(signal.SIGSTOP)
    for process in [*run.below("sleep 1000"), *run.below("sleep 2000")]:
        os.kill(process.pid, signal.SIGKILL)
    run.signal(signal.SIGCONT)
    assert run.wait() == 137


def test_exit_of_an_orphan_is_ignored(init: Start, process_1: bool) -> None:
    """The exit of an orphan is not taken for that of main."""
    run = init("--", *program("received.py", "5"), process_1=process_1)
    run.until_printed("ready")
    run.signal(signal.SIGCHLD)
    assert run.stop(signal.SIGUSR2) == 5
    assert "got 17" not in run.text


@pytest.mark.parametrize(("options", "code"), [(["-e", "3"], 0), (["-e", "4"], 3), (["-e", "4", "-e", "3"], 0)])
def test_remapped_code_becomes_0(init: Start, options: list[str], code: int) -> None:
    """-e CODE maps that code to 0, and no other."""
    assert init(*options, "--", *shell("exit 3")).wait() == code


def test_remapped_143_makes_a_death_by_term_0(init: Start, process_1: bool) -> None:
    """-e 143 applies to a main that is killed by SIGTERM, the usual case."""
    run = init("-e", "143", "--", *shell("echo ready; exec sleep 1000"), process_1=process_1)
    run.until_printed("ready")
    run.one("sleep 1000")
    assert run.stop() == 0


def test_stopped_main_is_not_dead(init: Start, process_1: bool) -> None:
    """A main stopped by SIGSTOP has not ended: cohabit waits for its exit."""
    run = init("--", *program("received.py", "7"), process_1=process_1)
    run.until_printed("ready")
    main = run.one("received.py")
    os.kill(main.pid, signal.SIGSTOP)
    run.until(lambda: run.one("received.py").state == "T", "main to be stopped")
    run.signal(signal.SIGUSR1)
    run.signal(signal.SIGCONT)
    run.until_printed("got 10")
    assert run.stop(signal.SIGUSR2) == 7
