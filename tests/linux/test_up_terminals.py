"""stdin_open and tty of several services: each has its own standard input or pseudo-terminal, on the real kernel."""

import os
import signal
import subprocess
from pathlib import Path

from linux.clients import ask, environment
from linux.conftest import Gate, Start
from linux.run import shell

UID = 4321
REEXECUTE = signal.SIGRTMIN + 25
CTTY = ("setsid", "--ctty")


def test_a_standard_input_stays_open(up: Start, gate: Gate, process_1: bool) -> None:
    """For each service that asks, replicas too, with /dev/null as that of the container; the user can open it again."""
    ends = shell("echo reads; cat; echo ended")
    services = {
        "a": {"command": ends, "stdin_open": True, "deploy": {"replicas": 2}},
        "b": {
            "command": shell("echo reads; : < /dev/stdin; read x; echo ended"), "stdin_open": True, "user": str(UID)
        },
        "c": {"command": shell("cat; echo c ended; read x < gate; exit 3"), "essential": True},
    }  # fmt: skip
    run = up(services, process_1=process_1)
    run.until_printed("| reads", 3)
    run.until_printed("c ended")
    run.signal(REEXECUTE)
    run.until_printed("re-executed, version")
    gate.open()
    assert run.wait() == 3
    assert "| ended" not in run.text
    assert "cannot open" not in run.text


def test_the_only_service_that_asks_reads_the_input_of_the_container(up: Start) -> None:
    """`docker run -i`: what is typed arrives, and its end, too; without -i it stays open."""
    web = {"command": shell("read x; echo got $x; cat; echo ended"), "stdin_open": True}
    run = up({"web": web}, stdin=subprocess.PIPE)
    assert run.process.stdin
    run.process.stdin.write(b"hello\n")
    run.process.stdin.close()
    assert run.wait() == 0
    assert run.lines("web", "out") == ["got hello", "ended"]


def test_a_terminal_each(up: Start, gate: Gate, tmp_path: Path, process_1: bool) -> None:
    """It is the controlling terminal, belongs to the user, survives a re-execution, and its output is logged."""
    looks = "test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM && echo on it > /dev/tty; echo stderr >&2"
    services = {
        "a": {"command": shell(f"{looks}; read x < gate; printf 'prompt> '; exec sleep 1000"), "tty": True},
        "b": {"command": shell("tty; echo opened > $(tty); exec sleep 1000"), "tty": True, "user": str(UID)},
        "c": {"command": shell("tty; read x; echo ended"), "tty": True, "stdin_open": True},
    }
    run = up(services, environment=environment(str(tmp_path)), process_1=process_1)
    run.until(lambda: len(run.lines("a", "out")) == 4, "a")
    assert run.lines("a", "out") == ["24 80", "xterm", "on it", "stderr"]
    run.until(lambda: run.lines("b", "out")[1:] == ["opened"], "b")
    run.until(lambda: run.lines("c", "out"), "c")
    terminal = run.lines("b", "out")[0]
    assert terminal != run.lines("c", "out")[0]
    status = os.stat(f"/proc/{run.pid}/root{terminal}")
    assert (status.st_uid, status.st_mode & 0o777) == (UID, 0o600)
    run.signal(REEXECUTE)
    run.until_printed("re-executed, version")
    gate.open()
    run.until_printed("prompt> ")
    assert ask(run, str(tmp_path), "logs", "a").splitlines()[-1] == "a | prompt> "
    assert run.stop() == 0
    assert "ended" not in run.lines("c", "out")


def test_a_terminal_ends_with_its_service(up: Start) -> None:
    """Its output is complete, its exit code arrives, and each run has a new one."""
    web = {"command": shell("seq 1000; exit 3"), "tty": True, "restart": "on-failure:2"}
    run = up({"web": web, "other": {"command": ["sleep", "1000"], "tty": True, "essential": False}})
    assert run.wait() == 3
    assert run.lines("web", "out") == [str(number) for number in range(1, 1001)] * 3


def test_several_do_not_share_the_terminal_of_the_container(up: Start) -> None:
    """Each has its own, and the terminal shows their output with prefixes."""
    services = {name: {"command": shell("tty; exec sleep 1000"), "tty": True} for name in ("one", "two")}
    run = up(services, above=CTTY, terminal=True)
    run.until(lambda: run.text.count("/dev/pts/") == len(services), "both")
    assert run.stop() == 0


def test_a_program_that_becomes_another_user_may_open_its_output(up: Start) -> None:
    """For writing; what it writes is logged. It may not read what the service has written."""
    drops = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups")
    inner = "echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdout; echo code $?"
    web = {"command": shell(f"{' '.join(drops)} sh -c '{inner}' 2>&1; exit 4")}
    run = up({"web": web})
    assert run.wait() == 4
    assert run.lines("web", "out")[:2] == ["out", "err"]
    assert "Permission denied" in run.lines("web", "out")[2]
    assert run.lines("web", "out")[3] == "code 2"


def test_the_output_of_a_service_is_closed_to_other_users(up: Start) -> None:
    """Neither a service of another user nor a user's service can open the output of one of root or of process 1."""
    tries = "for fd in /proc/$target/fd/1 /proc/$target/fd/2 /proc/1/fd/1 /proc/1/fd/2; do echo forged > $fd; done"
    find = "until target=$(pgrep -f '^sleep 4242$'); do :; done"
    services = {
        "root": {"command": ["sleep", "4242"], "essential": False},
        "other": {"command": shell(f"{find}; {tries}; echo tried"), "user": str(UID)},
    }
    run = up(services)
    run.until_printed("| tried")
    assert "forged" not in run.text.replace("echo forged", "")
    assert run.text.count("Permission denied") == 4
