"""`cohabit init` on a terminal does not change job control: as process 1, under a shell and under another init."""

import fcntl
import os
import shlex
import shutil
import signal
import struct
import termios

import pytest

from linux import processes
from linux.conftest import Start
from linux.run import COHABIT, Run, program, shell

LEADER = ("setsid", "--ctty")  # as a container runtime does for `docker run -it`
INIT = " ".join([*COHABIT, "init", "--"])
BASH = ("bash", "--norc", "--noprofile", "-i")


def _prompt(run: Run, times: int) -> None:
    run.until_printed("PROMPT>", times)


def _bash(start: Start, *arguments: str, **options: object) -> Run:
    """An interactive bash on its own terminal, at its first prompt."""
    quiet = {"PS1": "PROMPT>", "TERM": "dumb", "HISTFILE": "", "INPUTRC": "/dev/null"}
    run = start(*arguments, *BASH, environment=quiet, terminal=True, above=LEADER, **options)
    _prompt(run, 1)
    return run


def _until_foreground(run: Run, command: str) -> None:
    """Wait until the command runs in the foreground; earlier input may be read by the shell."""

    def has_it() -> bool:
        group = run.foreground()
        return any(one.command == command and one.group == group for one in processes.descendants(run.process.pid))

    run.until(has_it, f"{command} in the foreground")


def test_interrupt_reaches_main_once(init: Start, process_1: bool) -> None:
    """^C is one INT for main, not two."""
    run = init("--", *program("received.py"), terminal=True, above=LEADER, process_1=process_1)
    run.until_printed("ready")
    run.type("\x03")
    run.until_printed("got 2\r\n")
    run.signal(signal.SIGUSR2)
    assert run.wait() == 0
    assert run.text.count("got 2\r\n") == 1


def test_resize_reaches_main(init: Start, process_1: bool) -> None:
    """A new window size gives main a WINCH."""
    run = init("--", *program("received.py"), terminal=True, above=LEADER, process_1=process_1)
    run.until_printed("ready")
    assert run.terminal
    fcntl.ioctl(run.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    run.until_printed("got 28\r\n")


def test_main_is_the_foreground(init: Start, process_1: bool) -> None:
    """Main can read the terminal."""
    run = init("--", "cat", terminal=True, above=LEADER, process_1=process_1)
    run.type("hello\n")
    run.until_printed("hello\r\n", 2)  # the echo and the output of cat
    assert run.foreground() == run.one("cat").group
    run.type("\x04")
    assert run.wait() == 0


def _check_that_the_stop_key_has_no_effect(run: Run) -> None:
    """^Z between two lines that `cat` repeats changes nothing."""
    run.type("one\n")
    run.until_printed("one\r\n", 2)
    run.type("\x1a")
    run.type("two\n")
    run.until_printed("two\r\n", 2)
    run.type("\x04")
    assert run.wait() == 0


def test_stop_key_without_a_shell_has_no_effect(init: Start, process_1: bool) -> None:
    """^Z has no effect where no shell could continue main (docker run -it, with or without --init)."""
    leader = "" if process_1 else 'exec setsid --ctty "$@"'
    run = init("--", "cat", terminal=True, above=LEADER if process_1 else (), setup=leader, process_1=process_1)
    _check_that_the_stop_key_has_no_effect(run)


def test_stop_key_and_foreground_under_a_shell(start: Start) -> None:
    """Under an interactive shell ^Z stops the job, and `fg` continues it in the foreground."""
    run = _bash(start)
    run.type(f"{INIT} cat\n")
    _until_foreground(run, "cat")
    run.type("one\n")
    run.until_printed("one\r\n", 2)
    run.type("\x1a")
    run.until_printed("Stopped")
    _prompt(run, 2)
    run.type("fg\n")
    _until_foreground(run, "cat")
    run.type("two\n")
    run.until_printed("two\r\n", 2)
    run.type("\x04")
    _prompt(run, 3)
    run.type("echo code $?\n")
    run.until_printed("code 0\r\n")


def test_stop_key_and_background_under_a_shell(start: Start) -> None:
    """`bg` continues a stopped job without the terminal."""
    run = _bash(start)
    run.type(f"{INIT} {shlex.join(program('continued.py'))}\n")
    run.until_printed("ready\r\n")
    run.type("\x1a")
    run.until_printed("Stopped")
    _prompt(run, 2)
    run.type("bg\n")
    run.until_printed("continued\r\n")
    _prompt(run, 3)
    run.type("echo $((6 * 7))\n")
    run.until_printed("42\r\n")


@pytest.mark.parametrize("options", ["", "-g"])
def test_a_command_that_stops_itself_returns_to_the_shell(start: Start, options: str) -> None:
    """Main sends STOP to itself: the shell notices, as without us, and `fg` continues it."""
    run = _bash(start)
    stopping = "kill -STOP $$; read line; echo got $line"
    run.type(f"{shlex.join([*COHABIT, 'init', *options.split()])} -- bash -c {shlex.quote(stopping)}\n")
    run.until_printed("Stopped")
    _prompt(run, 2)
    run.type("fg\n")
    _until_foreground(run, f"bash -c {stopping}")
    run.type("one\n")
    run.until_printed("got one\r\n")
    _prompt(run, 3)


def test_suspend_returns_to_the_shell(start: Start) -> None:
    """The command `suspend` of an inner bash stops the job."""
    run = _bash(start)
    run.type(f"{INIT} {shlex.join(BASH)}\n")
    _prompt(run, 2)
    run.type("suspend\n")
    run.until_printed("Stopped")
    _prompt(run, 3)
    run.type("fg\n")
    run.type("echo $((6 * 7))\n")
    run.until_printed("42\r\n")
    run.type("exit 5\n")
    run.until_printed("PROMPT>", 5)
    run.type("echo code $?\n")
    run.until_printed("code 5\r\n")


def test_interrupt_under_a_shell_ends_the_job_only(start: Start) -> None:
    """Under an interactive shell ^C ends the job with 130, and the shell keeps running."""
    run = _bash(start)
    run.type(f"{INIT} cat\n")
    _until_foreground(run, "cat")
    run.type("one\n")
    run.until_printed("one\r\n", 2)
    run.type("\x03")
    _prompt(run, 2)
    run.type("echo code $?\n")
    run.until_printed("code 130\r\n")


def test_background_job_does_not_take_the_terminal(start: Start) -> None:
    """`cohabit init … &` leaves the terminal to the shell, while it runs and when it ends."""
    run = _bash(start)
    bash = run.process_1()
    run.type(f"{INIT} sh -c 'echo running; read x < pipe' &\n")
    os.mkfifo(os.path.join(f"/proc/{bash.pid}/cwd", "pipe"))
    run.until_printed("running\r\n")
    assert run.foreground() == bash.group
    run.type("echo > pipe\n")
    run.type("wait; echo code $?\n")
    run.until_printed("code 0\r\n")
    assert run.foreground() == bash.group


def test_background_job_that_reads_stops(start: Start) -> None:
    """A background job that reads the terminal stops like any other, and `fg` makes it the foreground."""
    run = _bash(start)
    run.type(f"{INIT} cat &\n")
    job = ["T" for _ in range(2)]
    run.until(lambda: [one.state for one in processes.descendants(run.process_1().pid)] == job, "both to be stopped")
    run.type("fg\n")
    _until_foreground(run, "cat")
    run.type("one\n")
    run.until_printed("one\r\n", 2)
    run.type("\x04")
    run.type("echo code $?\n")
    run.until_printed("code 0\r\n")


def test_terminal_is_returned(start: Start, process_1: bool) -> None:
    """A script without job control, in whose group cohabit runs, can read the terminal again afterwards."""
    script = f'{INIT} sh -c "echo ready; read x"; read y; echo "then $y"'
    run = start(*shell(script), terminal=True, above=LEADER, process_1=process_1)
    run.until_printed("ready\r\n")
    run.type("one\n")
    run.type("two\n")
    run.until_printed("then two\r\n")


def test_terminal_is_returned_after_a_failed_start(start: Start) -> None:
    """The same if the command is missing."""
    run = start(*shell(f'{INIT} no-such-program; read y; echo "then $y"'), terminal=True, above=LEADER)
    run.until_printed("is not found")
    run.type("two\n")
    run.until_printed("then two\r\n")


def test_shell_in_a_container_has_job_control(start: Start) -> None:
    """`docker run -it IMAGE bash`: job control, ^C, ^Z and fg work if main is bash."""
    run = _bash(start, *COHABIT, "init", "--")
    assert "job control" not in run.text
    run.type("sleep 1000\n")
    _until_foreground(run, "sleep 1000")
    run.type("\x03")
    _prompt(run, 2)
    run.type("cat\n")
    _until_foreground(run, "cat")
    run.type("one\n")
    run.until_printed("one\r\n", 2)
    run.type("\x1a")
    run.until_printed("Stopped")
    _prompt(run, 3)
    run.type("fg\n")
    _until_foreground(run, "cat")
    run.type("two\n")
    run.until_printed("two\r\n", 2)
    run.type("\x04")
    _prompt(run, 4)
    run.type("exit 5\n")
    assert run.wait() == 5


def test_hang_up_reaches_main(init: Start, process_1: bool) -> None:
    """When the terminal is closed, main gets HUP."""
    run = init("--", *program("received.py", "0", "1"), terminal=True, above=LEADER, process_1=process_1)
    run.until_printed("ready")
    main = run.one("received.py")
    assert run.terminal
    run.terminal.close()
    run._read.clear()
    run.until(lambda: processes.find(main.pid) is None or run.process.poll() is not None, "main's end")


def _stop_and_continue(run: Run, command: str) -> None:
    """^Z gives the prompt back, and `fg` the terminal to the job; ^C then ends it."""
    run.type("\x1a")
    run.until_printed("Stopped")
    _prompt(run, 2)
    run.type("fg\n")
    _until_foreground(run, command)
    run.type("\x03")
    _prompt(run, 3)


@pytest.mark.parametrize("shell_name", ["sh", "bash"])
def test_keys_reach_the_script_around_it(start: Start, shell_name: str) -> None:
    """^Z stops the script that runs cohabit, too, and ^C ends it: what follows in it is not run."""
    run = _bash(start)
    run.type(f"{shell_name} -c '{INIT} sleep 1000; echo af''ter'\n")
    _until_foreground(run, "sleep 1000")
    _stop_and_continue(run, "sleep 1000")
    run.type("echo code $?\n")
    run.until_printed("code 130\r\n")
    assert "after" not in run.text


@pytest.mark.parametrize("options", ["", "-g ", "-S "])
def test_stop_key_in_a_pipeline(start: Start, options: str) -> None:
    """^Z stops the whole pipeline, with a process group of main's own (-g, -S) as well."""
    run = _bash(start)
    run.type(f"{' '.join(COHABIT)} init {options}-- sleep 1000 | cat\n")
    _until_foreground(run, "sleep 1000")
    _stop_and_continue(run, "sleep 1000")


def test_pager_in_the_pipeline_has_the_terminal(start: Start) -> None:
    """A program in the same pipeline can read the terminal while main runs."""
    run = _bash(start)
    run.type(f"{INIT} sh -c 'echo hello; exec sleep 1000' | sh -c 'cat > /dev/null & read x < /dev/tty; echo got $x'\n")
    _until_foreground(run, "sleep 1000")
    run.type("key\n")
    run.until_printed("got key\r\n")
    run.type("\x03")
    _prompt(run, 2)


@pytest.mark.parametrize("options", ["", "-g ", "-S "])
def test_continuing_reaches_the_children(start: Start, options: str) -> None:
    """`fg` continues the children of a main that was stopped in the background."""
    run = _bash(start)
    run.type(f"{' '.join(COHABIT)} init {options}-- sh -c 'cat; echo end' &\n")
    states = ["T"] * 3
    run.until(lambda: [one.state for one in processes.descendants(run.process_1().pid)] == states, "all to be stopped")
    run.type("fg\n")
    _until_foreground(run, "cat")
    run.type("one\n")
    run.until_printed("one\r\n", 2)
    run.type("\x04")
    run.until_printed("end\r\n")


@pytest.mark.parametrize("above", ["tini -s --", ""])
def test_stop_key_under_another_init_has_no_effect(start: Start, above: str) -> None:
    """Under tini, which never continues what has stopped (docker run -it --init), ^Z has no effect."""
    if above and shutil.which("tini") is None and os.environ.get("CI") != "true":
        pytest.skip("no tini (apt-get install tini)")
    run = start(*(above.split() or program("above.py")), *COHABIT, "init", "--", "cat", terminal=True, above=LEADER)
    _check_that_the_stop_key_has_no_effect(run)


def test_paused_main_stays_paused(init: Start) -> None:
    """As process 1 with a terminal, a TSTP that is sent to cohabit pauses main; ^Z has no effect."""
    run = init("--", *program("continued.py"), terminal=True, above=LEADER)
    run.until_printed("ready\r\n")
    run.signal(signal.SIGTSTP)
    run.until(lambda: run.one("continued.py").state == "T", "main to be stopped")
    run.signal(signal.SIGCONT)
    run.until_printed("continued\r\n")


def test_wait_names_the_interrupt_key(init: Start, process_1: bool) -> None:
    """With the terminal, the wait for remaining processes says that ^C ends it, and it does."""
    main = "(trap '' TERM INT HUP; setsid sleep 1000 & ); exit 3"
    run = init("-t", "1h", "--", *shell(main), terminal=True, above=LEADER, process_1=process_1)
    run.until_printed("(^C ends them at once)")
    run.type("\x03")
    assert run.wait() == 3


def test_stop_key_during_the_last_wait(start: Start) -> None:
    """^Z gives the prompt back while cohabit waits for what has outlived main, and ^C after `fg` ends the wait."""
    run = _bash(start)
    run.type(f"{' '.join(COHABIT)} init -t 1h -- sh -c '(trap \"\" TERM INT; sleep 1000 &); exit 3'\n")
    run.until_printed("(^C ends them at once)")
    _stop_and_continue(run, "sleep 1000")
    run.type("echo code $?\n")
    run.until_printed("code 3\r\n")
