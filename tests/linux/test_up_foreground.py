"""One foreground service, with the terminal or the standard input, on the real kernel."""

import signal
import subprocess

from linux import processes
from linux.conftest import Gate, Start
from linux.run import COHABIT, program, shell, write_file

CTTY = ("setsid", "--ctty")
OTHER: dict[str, dict[str, object]] = {"other": {"command": ["sleep", "1000"]}}


def test_command_has_the_standard_input(start: Start, tmp_path: object, process_1: bool) -> None:
    """Without a terminal (docker run -i): piped input arrives, and the exit of the command ends the container."""
    file = write_file(str(tmp_path), OTHER)
    run = start(
        *COHABIT, "up", "-f", file, "--", *shell("read x; echo got $x; exit 4"),
        stdin=subprocess.PIPE, process_1=process_1,
    )  # fmt: skip
    assert run.process.stdin
    run.process.stdin.write(b"hello\n")
    run.process.stdin.flush()
    assert run.wait() == 4
    assert run.lines("sh", "out") == ["got hello"]


def test_command_has_the_terminal(start: Start, tmp_path: object, process_1: bool) -> None:
    """With a terminal (docker run -it): it is the foreground, its output has no prefix, and only it receives ^C."""
    file = write_file(str(tmp_path), OTHER)
    script = "trap 'echo interrupted; exit 6' INT; tty; echo ready; while :; do read x; done"
    run = start(*COHABIT, "up", "-f", file, "--", *shell(script), above=CTTY, terminal=True, process_1=process_1)
    run.until_printed("ready")
    assert b"\n/dev/pts/" in b"\n" + run.out.replace(b"\r", b"")
    run.type("\x03")
    assert run.wait() == 6
    assert "interrupted" in run.text


def test_terminal_of_a_service_of_the_file(start: Start, tmp_path: object) -> None:
    """tty: true gives the terminal to a service of the file."""
    services = {**OTHER, "shell": {"command": shell("tty; read x; echo got $x"), "tty": True, "essential": True}}
    file = write_file(str(tmp_path), services)
    run = start(*COHABIT, "up", "-f", file, above=CTTY, terminal=True)
    run.until_printed("/dev/pts/")
    run.type("hello\n")
    assert run.wait() == 0
    assert "got hello" in run.text


def test_terminal_of_the_next_run(start: Start, tmp_path: object, process_1: bool) -> None:
    """A restarted service is the foreground again, and reads the input."""
    services = {**OTHER, "shell": {"command": shell("read x; echo got $x"), "tty": True, "restart": "always"}}
    file = write_file(str(tmp_path), services)
    run = start(*COHABIT, "up", "-f", file, above=CTTY, terminal=True, process_1=process_1)
    for word in ("one", "two", "three"):
        run.until_printed("shell: started")
        run.type(f"{word}\n")
        run.until_printed(f"got {word}")
    assert run.stop() == 0


def test_background_reader_stays_stopped(start: Start, tmp_path: object, gate: Gate) -> None:
    """A service that reads the terminal in the background is stopped once, and stays stopped until it is continued."""
    script = "trap 'echo continued' CONT; read x"
    services: dict[str, dict[str, object]] = {
        "shell": {"command": shell(script), "tty": True},
        "other": {"command": shell("for i in 1 2 3; do read x < gate; echo turn $i; done; exec sleep 1000")},
    }
    file = write_file(str(tmp_path), services)
    above = (*CTTY, "sh", "-mc", '"$@" & wait', "sh")
    run = start(*COHABIT, "up", "-f", file, above=above, terminal=True)
    reader = run.one(f"sh -c {script}")
    run.until(lambda: getattr(processes.find(reader.pid), "state", "") == "T", "it to be stopped")
    for number in (1, 2, 3):
        gate.open()
        run.until_printed(f"turn {number}")
    assert getattr(processes.find(reader.pid), "state", "") == "T"
    assert "continued" not in run.text


def test_stop_key_has_no_effect(start: Start, tmp_path: object) -> None:
    """^Z in a container, where no shell could continue the command, does not stop it."""
    file = write_file(str(tmp_path), OTHER)
    script = "echo ready; read x; echo got $x"
    run = start(*COHABIT, "up", "-f", file, "--", *shell(script), above=CTTY, terminal=True)
    run.until_printed("ready")
    run.type("\x1a")
    run.type("hello\n")
    run.until_printed("got hello")
    assert run.wait() == 0


def test_container_runs_as_long_as_the_command(start: Start, tmp_path: object, gate: Gate, process_1: bool) -> None:
    """With a foreground shell, the exit of a service of the file, successful or not, does not end the container."""
    file = write_file(str(tmp_path), {"once": {"command": shell("exit 3")}, **OTHER})
    run = start(*COHABIT, "up", "-f", file, "--", *shell("read x < gate; exit 4"), process_1=process_1)
    run.until_printed("once: ended with exit code 3")
    gate.open()
    assert run.wait() == 4


def test_signals_are_forwarded_to_the_command(start: Start, tmp_path: object, process_1: bool) -> None:
    """The command gets USR1, USR2 and WINCH, as with `init`; HUP reads the file again."""
    file = write_file(str(tmp_path), OTHER)
    run = start(*COHABIT, "up", "-f", file, "--", *program("received.py", "0", "15"), process_1=process_1)
    run.until_printed("ready")
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        run.signal(number)
        run.until_printed(f"got {int(number)}\n")
    run.signal(signal.SIGHUP)
    run.until_printed("nothing has changed")
    assert run.stop() == 0
    assert "got 1\n" not in run.text


def test_output_of_services_stays_off_the_terminal(start: Start, tmp_path: object) -> None:
    """It is kept for `cohabit logs`. --attach prints that of one service."""
    services = {"a": {"command": shell("echo aloud; sleep 1000")}, "b": {"command": shell("echo silent; sleep 1000")}}
    file = write_file(str(tmp_path), services)
    command = ("--", *shell("read x"))
    run = start(*COHABIT, "up", "-f", file, "--attach", "a", *command, above=CTTY, terminal=True)
    run.until_printed("aloud")
    run.until(lambda: len(run.below("sleep 1000")) == 2, "both services")
    run.type("x\n")
    assert run.wait() == 0
    assert "silent" not in run.text
    assert "started, pid" not in run.text
    run = start(*COHABIT, "up", "-f", file, *command, above=CTTY, terminal=True)
    run.until_printed("the output of the services is not printed on this terminal (`cohabit logs -f` shows it)")
    run.type("x\n")
    assert run.wait() == 0
    assert "aloud" not in run.text
