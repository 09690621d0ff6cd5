"""Signals that arrive during the start of the program: none is lost, and none causes a traceback.

strace(1) sends them at a system call that reads one of cohabit's modules. Before cohabit's first line the interpreter
is in control: until it installs a handler the kernel decides (process 1 ignores signals without a handler). The script
in front of the interpreter keeps what it receives.
"""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from faults.injection import Tracer
from linux.run import COHABIT, Run, write_file

if TYPE_CHECKING:
    from pathlib import Path

    from linux.conftest import Start

_NEEDS_STRACE = pytest.mark.skipif(
    shutil.which("strace") is None and os.environ.get("CI") != "true", reason="no strace (apt-get install strace)"
)
_PLACES = 6  # of the modules that are read, evenly spaced


def _traced(
    start: Start, directory: Path, options: list[str], *command: str, process_1: bool = True
) -> tuple[Run, str]:
    """A command that waits until strace is attached, and strace's log."""
    gate, log = str(directory / "begin"), str(directory / "strace.log")
    if not os.path.exists(gate):
        os.mkfifo(gate)
    opened = os.open(gate, os.O_RDWR | os.O_NONBLOCK)
    run = start(*COHABIT, *command, setup=f"read x < {gate}", process_1=process_1)
    tracer = Tracer(run.process_1().pid, log, options)
    os.write(opened, b"\n")
    run.wait()
    tracer.detach()
    os.close(opened)
    return run, log


def _openings(start: Start, directory: Path, *command: str) -> list[int]:
    """Which calls of openat(2) read modules of cohabit: some of their numbers."""
    _, log = _traced(start, directory, ["-e", "trace=openat"], *command)
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [line for line in file if "openat(" in line]
    own = [number for number, line in enumerate(lines, 1) if "/cohabit/" in line and ".pyc" in line]
    assert len(own) > _PLACES, lines
    return own[:: len(own) // _PLACES]


@_NEEDS_STRACE
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_early_stop_signal_stops_the_container(start: Start, tmp_path: Path, name: str) -> None:
    """Whichever module is being read: code 0, a report of the stop, and no service was started."""
    file = write_file(str(tmp_path), {"web": {"command": ["sleep", "1000"]}, "job": {"command": ["true"]}})
    for number in _openings(start, tmp_path, "up", "-f", file + ".none"):
        options = ["-e", "trace=openat", "-e", f"inject=openat:signal={name}:when={number}"]
        run, _ = _traced(start, tmp_path, options, "up", "-f", file)
        assert run.process.returncode == 0, f"at {number}: {run}"
        assert f"stopped by {name}" in run.text
        assert "Traceback" not in run.text


@_NEEDS_STRACE
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_early_interrupt_ends_a_command(start: Start, tmp_path: Path, name: str) -> None:
    """Without a message, like any program."""
    for number in _openings(start, tmp_path, "version"):
        options = ["-e", "trace=openat", "-e", f"inject=openat:signal={name}:when={number}"]
        run, _ = _traced(start, tmp_path, options, "version", process_1=True)
        assert "Traceback" not in run.text, f"at {number}"
        assert "KeyboardInterrupt" not in run.text


def _waiting_script(start: Start, installed: str, directory: Path, *command: str) -> Run:
    """The sh script as process 1, which waits for `readlink`, which waits for a line from the pipe `begin`."""
    os.mkfifo(directory / "begin")
    (directory / "readlink").write_text('#!/bin/sh\necho waiting >&2; read x < begin; exec /usr/bin/readlink "$@"\n')
    (directory / "readlink").chmod(0o755)
    (directory / "link").symlink_to(installed)
    run = start("./link", *command, environment={"PATH": f"{directory}:/usr/bin:/bin"})
    run.until_printed("waiting")
    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_init_forwards_what_came_before_the_interpreter(
    start: Start, installed: str, tmp_path: Path, number: signal.Signals
) -> None:
    """The script that finds the interpreter keeps a signal; main gets it, once."""
    run = _waiting_script(start, installed, tmp_path, "init", "-v", "--", "sleep", "1000")
    os.kill(run.process_1().pid, number)
    (tmp_path / "begin").write_text("\n")
    assert run.wait() == 128 + number
    assert run.text.count(f"{number.name}: forwarded") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGUSR1, 138)])
def test_run_keeps_what_came_before_the_interpreter(
    start: Start, installed: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """TERM stops the container before anything is started; USR1 waits for main, and reaches it."""
    run = _waiting_script(start, installed, tmp_path, "run", "sleep 1000")
    os.kill(run.process_1().pid, number)
    (tmp_path / "begin").write_text("\n")
    assert run.wait() == code
    assert "no receiver" not in run.text
