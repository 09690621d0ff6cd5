"""Bad input gives a clear message and the right exit code, and no service starts."""

import os
import subprocess
from pathlib import Path

import pytest

from linux import places
from linux.conftest import Gate, Start
from linux.run import COHABIT, shell, write_file

GOOD = {"command": ["sleep", "1000"]}


def _refused(up: Start, bad: dict[str, object], code: int, *texts: str, **options: object) -> None:
    """A good service beside a bad one: check the code and the texts, and that neither was started."""
    run = up({"good": GOOD, "bad": bad}, **options)
    assert run.wait() == code
    for word in texts:
        assert word in run.text
    assert "started" not in run.text
    assert "Traceback" not in run.text


def test_missing_command(up: Start) -> None:
    """A program that is in no directory of PATH gives 127, with the service and the PATH that was searched."""
    _refused(
        up,
        {"command": ["no-such-program"]},
        127,
        "bad",
        "no-such-program",
        "is not found in PATH",
        environment={"PATH": "/odd:/usr/bin:/bin"},
    )


def test_not_executable(up: Start, tmp_path: Path) -> None:
    """A file that is not executable gives 126."""
    (tmp_path / "program").write_text("#!/bin/sh\n")
    _refused(up, {"command": ["./program"]}, 126, "bad", "not executable")


def test_directory_as_command(up: Start) -> None:
    """A directory gives 126."""
    _refused(up, {"command": ["/etc"]}, 126, "bad", "directory")


def test_missing_interpreter(up: Start, tmp_path: Path) -> None:
    """A script whose interpreter is missing gives 127, and the message names the interpreter."""
    (tmp_path / "program").write_text("#!/no/such/shell\n")
    (tmp_path / "program").chmod(0o755)
    _refused(up, {"command": ["./program"]}, 127, "bad", "/no/such/shell")


def test_unknown_user(up: Start) -> None:
    """An unknown user gives 78."""
    _refused(up, {"command": ["true"], "user": "nobody-knows"}, 78, "nobody-knows")


def test_missing_working_directory(up: Start) -> None:
    """A working directory that does not exist gives 78."""
    _refused(up, {"command": ["true"], "working_dir": "/no/such/place"}, 78, "bad", "/no/such/place")


def test_a_command_without_first_line_is_run_by_the_shell(up: Start, tmp_path: Path) -> None:
    """As by execvp(3): an executable text without #!. What is not a text gives 126 and a message."""
    (tmp_path / "program").write_text("echo hello\n")
    (tmp_path / "binary").write_bytes(b"\0\1\2\n")
    for name in ("program", "binary"):
        (tmp_path / name).chmod(0o755)
    run = up({"good": {"command": ["./program"]}})
    assert run.wait() == 0
    assert run.lines("good") == ["hello"]
    run = up({"bad": {"command": ["./binary"]}})
    assert run.wait() == 126
    assert "interpreter" in run.text


def test_command_that_is_missing_at_its_start(up: Start, tmp_path: Path) -> None:
    """A program that a job should have created but did not gives 127 when the service starts."""
    bad = {"command": ["./brought"], "depends_on": {"job": {"condition": "service_completed_successfully"}}}
    run = up({"job": {"command": ["true"]}, "bad": bad})
    assert run.wait() == 127
    assert "brought" in run.text, tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["up", "--no-such-option"],
        ["init"],
        ["init", "--no-such", "true"],
        ["init", "-r", "x", "true"],
        ["init", "-r", "TERM:NONSENSE", "true"],
        ["init", "-e", "256", "true"],
        ["init", "-e", "x", "true"],
        ["init", "-t", "soon", "true"],
        ["init", "-g", "-c", "true"],
        ["init", "-p", "NONSENSE", "true"],
        ["init", "-p"],
        ["up", "--scale", "web"],
        ["init", "-t", "1s", "-t", "2s", "true"],
        [],
    ],
)
def test_wrong_usage_is_64(start: Start, arguments: list[str]) -> None:
    """An invalid command line gives 64 and one sentence on stderr, and nothing on stdout."""
    run = start(*COHABIT, *arguments)
    assert run.wait() == 64
    assert run.err
    assert not run.out
    assert "Traceback" not in run.text


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["help"], ["--version"], ["init", "--help"], ["run", "-h"], ["up", "--help"], ["check", "--help"]],
)
def test_help_is_on_stdout(start: Start, arguments: list[str]) -> None:
    """Requested help and version text goes to stdout, with code 0."""
    run = start(*COHABIT, *arguments)
    assert run.wait() == 0
    assert run.out
    assert not run.err


@pytest.mark.parametrize("arguments", [["--help"], ["init", "--help"], ["up", "--help"], ["check", "--help"]])
def test_help_with_closed_stdout(start: Start, arguments: list[str]) -> None:
    """With stdout closed, help does not print a traceback."""
    run = start(*shell('exec "$@" >&-'), "sh", *COHABIT, *arguments)
    assert run.wait() == 0
    assert "Traceback" not in run.text


def test_wrong_file_starts_nothing(up: Start) -> None:
    """A problem in one service prevents the start of all: 78."""
    _refused(up, {"command": ["true"], "restrat": "always"}, 78, "restrat", "restart")


def test_no_file(start: Start) -> None:
    """Without a file: 78, and the paths that were searched."""
    run = start(*COHABIT, "up")
    assert run.wait() == 78
    assert "cohabit.yaml" in run.text


def test_killed_loader_is_reported(start: Start) -> None:
    """A loader that is killed (out of memory) gives an error message and does not hang."""
    reader, writer = os.pipe()
    run = start(*COHABIT, "up", "-f", "-", stdin=reader)
    run.until(lambda: run.below("config/__main__.py"), "the loader")
    os.kill(run.below("config/__main__.py")[0].pid, 9)
    assert run.wait() == 70
    assert "SIGKILL" in run.text
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("command", ["up", "init"])
def test_refused_fork_is_reported(start: Start, tmp_path: Path, command: str) -> None:
    """A refused fork is reported with the relevant limits; a restart succeeds as soon as the limit allows it."""
    tmp_path.chmod(0o777)
    file = write_file(str(tmp_path), {"web": {"command": ["true"]}})
    arguments = ("init", "--", "true") if command == "init" else ("up", "-f", file)
    run = start(
        *places.UNPRIVILEGED, "prlimit", "--nproc=1", *COHABIT, *arguments, setup=places.open_to_all(str(tmp_path))
    )
    assert run.wait() == (126 if command == "init" else 71)
    assert "no room for another process" in run.text
    assert "nproc" in run.text


def test_refused_fork_at_a_restart_is_retried(start: Start, tmp_path: Path, gate: Gate) -> None:
    """A fork that is refused at a restart is a failed start, and is retried until it succeeds."""
    tmp_path.chmod(0o777)
    (tmp_path / "order").touch(mode=0o666)
    (tmp_path / "order").chmod(0o666)
    web = shell("echo up >> order; read x < gate")
    file = write_file(str(tmp_path), {"web": {"command": web, "restart": "always"}})
    run = start(*places.UNPRIVILEGED, *COHABIT, "up", "-f", file, setup=places.open_to_all(str(tmp_path)))
    run.until_written(str(tmp_path / "order"))
    _limit(run.pid, "--nproc=1:")
    gate.open()
    run.until_printed("no room for another process")
    _limit(run.pid, "--nproc=1000:")
    run.until_written(str(tmp_path / "order"), 2)
    assert run.stop() == 0


def _limit(pid: int, limit: str) -> None:
    # As the same user: root may lack the capability to change other users' limits here.
    subprocess.run([*places.UNPRIVILEGED, "prlimit", "--pid", str(pid), limit], check=True)


def test_low_descriptor_limit_is_raised(start: Start, tmp_path: Path) -> None:
    """A low soft limit of open files is raised as far as the plan needs."""
    services = {f"s{n}": {"command": ["true"], "essential": False} for n in range(30)}
    run = start("prlimit", "--nofile=20:1000", *COHABIT, "up", "-f", write_file(str(tmp_path), services))
    assert run.wait() == 0
    assert run.text.count("exit code 0") >= 30


def test_too_few_descriptors(start: Start, tmp_path: Path) -> None:
    """With a hard limit that is too low, the services that fit run, the others are reported, and nothing hangs."""
    services = {f"s{n}": {"command": ["sleep", "1000"], "essential": False} for n in range(30)}
    run = start("prlimit", "--nofile=40:40", *COHABIT, "up", "-f", write_file(str(tmp_path), services))
    run.until_printed("no room")
    run.until_printed("nofile")
    run.until(lambda: run.below("sleep 1000"), "a service that fits")
    assert run.stop() == 0
    assert "Traceback" not in run.text
