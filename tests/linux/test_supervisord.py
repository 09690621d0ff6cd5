"""The programs of a supervisord.conf on the real kernel: their processes, output, signals, users and reloads."""

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from linux.conftest import Start
from linux.run import COHABIT, Run

STDOUT = "stdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\nredirect_stderr=true\n"
Supervisord = Callable[..., Run]


@pytest.fixture
def supervisord(start: Start, tmp_path: Path) -> Supervisord:
    """Give the function that runs `cohabit supervisord` with a conf."""

    def run(text: str, *options: str, **more: object) -> Run:
        (tmp_path / "s.conf").write_text(text)
        return start(*COHABIT, "supervisord", "-c", "s.conf", *options, **more)

    return run


def test_programs_run_and_write_to_the_container(supervisord: Supervisord, process_1: bool) -> None:
    """Without a prefix, in the order of their priorities, and with the environment of supervisord."""
    run = supervisord(
        '[supervisord]\nenvironment=A="x y"\n[group:g]\nprograms=a\n[program:a]\n'
        f"command=sh -c 'echo $SUPERVISOR_GROUP_NAME $SUPERVISOR_PROCESS_NAME $A; exec sleep 1000'\n{STDOUT}"
        "[program:b]\nprocess_name=b_%(process_num)d\nnumprocs=2\npriority=1\n"
        f"command=sh -c 'echo %(process_num)d of %(numprocs)d >&2; exec cat'\n{STDOUT}",
        process_1=process_1,
    )
    run.until_printed("g a x y\n")
    run.until_printed("0 of 2\n")
    run.until_printed("1 of 2\n")
    run.until_printed("spawned: ", 3)
    run.until(lambda: len(run.below("cat")) == 2, "cat, whose standard input stays open")
    pids = {match[1]: int(match[2]) for match in re.finditer(r"spawned: '(\w+)' with pid (\d+)", run.text)}
    assert sorted(pids, key=lambda name: pids[name]) == ["b_0", "b_1", "a"]
    assert run.stop() == 0


def test_files_of_programs_and_the_pid_file(supervisord: Supervisord, tmp_path: Path) -> None:
    run = supervisord(
        "[supervisord]\npidfile=%(here)s/s.pid\n[program:a]\nstdout_logfile=%(here)s/out.log\n"
        "command=sh -c 'cat typed.pid; exec sleep 1000'\n",
        "-j", "typed.pid",
    )  # fmt: skip
    run.until_printed("spawned: 'a' with pid")
    assert (tmp_path / "typed.pid").read_text() == "1\n"
    assert not (tmp_path / "s.pid").exists()
    assert run.until_written(str(tmp_path / "out.log")) == ["1"]
    assert run.stop() == 0


def test_the_pid_file_is_there_before_the_programs(supervisord: Supervisord) -> None:
    """A listener or a script of a program reads it to stop the container."""
    run = supervisord(
        f"[supervisord]\npidfile=%(here)s/s.pid\n[program:a]\nautorestart=false\nstartsecs=0\n"
        f"command=sh -c 'echo I end it; kill -QUIT $(cat s.pid); exec sleep 1000'\n{STDOUT}"
    )
    run.until_printed("I end it")
    assert run.wait() == 0


def test_users_and_umask(supervisord: Supervisord) -> None:
    """A number needs no entry in /etc/passwd, and a program of another user can write to the container's output."""
    run = supervisord(
        "[supervisord]\nnodaemon=true\n[program:a]\nuser=54321\numask=077\n"
        f"command=sh -c 'id -u; umask; echo $HOME; exec sleep 1000'\n{STDOUT}",
        environment={"HOME": "/kept"},
    )
    run.until_printed("54321\n0077\n/kept\n")
    assert run.stop() == 0


def test_a_program_that_cannot_start_does_not_prevent_the_others(supervisord: Supervisord) -> None:
    run = supervisord(
        "[supervisord]\n[program:a]\nautorestart=false\nstartretries=0\ncommand=/no/such/program\n[program:b]\n"
        f"command=sh -c 'echo here; exec sleep 1000'\n{STDOUT}"
    )
    run.until_printed("here")
    assert "s.conf:5: warning: cannot start a: /no/such/program does not exist" in run.text
    assert run.stop() == 0


def test_hup_reads_the_file_again(supervisord: Supervisord, tmp_path: Path) -> None:
    text = f"[supervisord]\n[program:a]\ncommand=sh -c 'echo first; exec sleep 1000'\n{STDOUT}"
    run = supervisord(text)
    run.until_printed("first\n")
    (tmp_path / "s.conf").write_text(text.replace("first", "second"))
    run.signal(signal.SIGHUP)
    run.until_printed("second\n")
    (tmp_path / "s.conf").write_text(text.replace("[program:a]", "[program:a]\nstopsignal=X"))
    run.signal(signal.SIGHUP)
    run.until_printed("Error: value 'X' is not a valid signal name")
    assert len(run.below("sleep 1000")) == 1
    assert run.stop() == 0


def test_the_stop_signal_and_the_time_to_stop(supervisord: Supervisord) -> None:
    run = supervisord(
        "[supervisord]\n[program:a]\nstopsignal=USR1\nstopwaitsecs=60\n"
        f"command=sh -c 'trap \"echo asked; exit 0\" USR1; echo up; while :; do sleep 0.1; done'\n{STDOUT}"
    )
    run.until_printed("up\n")
    assert run.stop() == 0
    assert "asked\n" in run.text


@pytest.mark.parametrize("name", ["supervisord", "cohabit"])
def test_the_name_of_a_link_is_the_command(start: Start, tmp_path: Path, name: str) -> None:
    """In an image, /usr/bin/supervisord is a link to cohabit."""
    (tmp_path / name).symlink_to(os.path.join(os.path.dirname(sys.executable), "cohabit"))
    run = start(f"./{name}", "--version")
    assert run.wait() == 0
    assert run.text.startswith("4.3.0 (cohabit" if name == "supervisord" else "cohabit ")


@pytest.mark.parametrize(
    ("options", "code"), [(("--no-such",), 2), (("-c", "missing"), 2), (("word",), 2), (("-e", "loud"), 2)]
)
def test_wrong_usage(start: Start, tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    (tmp_path / "supervisord.conf").write_text("[supervisord]\n")
    assert start(*COHABIT, "supervisord", *options).wait() == code


@pytest.mark.parametrize("options", [(), ("-n", "-c", "/etc/supervisor/supervisord.conf")])
def test_the_files_of_an_image_for_debians_package(start: Start, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Without the package there is no main file, and the files in its directory are read nevertheless."""
    (tmp_path / "a.conf").write_text(f"[program:a]\ncommand=sh -c 'echo here; exec sleep 1000'\n{STDOUT}")
    setup = (
        "mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /mnt; cp /etc/ld.so.cache /mnt; "
        "mkdir -p /mnt/supervisor/conf.d; cp a.conf /mnt/supervisor/conf.d; mount --bind /mnt /etc"
    )
    run = start(*COHABIT, "supervisord", *options, setup=setup)
    run.until_printed("here")
    assert run.stop() == 0
