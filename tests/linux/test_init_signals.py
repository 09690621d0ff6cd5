"""`cohabit init` forwards every signal that can be forwarded, according to its options, in both modes."""

import os
import shlex
import signal

import pytest

from linux import processes
from linux.conftest import Start
from linux.run import COHABIT, Run, program, shell

# KILL and STOP cannot be caught, CHLD concerns cohabit's own children, 32 and 33 belong to the C library.
FORWARDED = sorted(set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, 32, 33})


def _got(run: Run) -> list[int]:
    return [int(line.split()[1]) for line in run.text.splitlines() if line.startswith("got ")]


def test_every_signal_is_forwarded_once(init: Start, process_1: bool) -> None:
    """Each standard and real-time signal reaches main once."""
    run = init("--", *program("received.py", "0", str(signal.SIGUSR2)), process_1=process_1)
    run.until_printed("ready")
    wanted = [number for number in FORWARDED if number != signal.SIGUSR2] + [int(signal.SIGUSR2)]
    for number in wanted:
        run.signal(number)
        run.until_printed(f"got {number}\n")
    assert run.wait() == 0
    assert _got(run) == wanted


def test_signal_goes_to_main_only(init: Start, process_1: bool) -> None:
    """Without -g a signal reaches main only, not the rest of its process group."""
    both = f"{' '.join(program('received.py', '0', '12'))} & exec {' '.join(program('received.py', '0', '10'))}"
    run = init("--", *shell(both), process_1=process_1)
    run.until_printed("ready", 2)
    run.signal(signal.SIGHUP)
    run.until_printed("got 1\n")
    run.signal(signal.SIGUSR1)
    run.until_printed("got 15\n")  # from the other process, at the end
    assert _got(run).count(1) == 1
    assert _got(run).count(10) == 1


def test_group_option_signals_the_whole_group(init: Start, process_1: bool) -> None:
    """-g sends each signal to main's whole process group."""
    receive = " ".join(program("received.py", "0", "12"))
    run = init("-g", "--", *shell(f"{receive} & exec {receive}"), process_1=process_1)
    run.until_printed("ready", 2)
    run.signal(signal.SIGHUP)
    run.until_printed("got 1\n", 2)
    run.signal(signal.SIGUSR2)
    assert run.wait() == 0
    assert sorted(_got(run)) == [1, 1, 12, 12]


@pytest.mark.parametrize("rule", ["SIGTERM:SIGQUIT", "TERM:QUIT", "term:quit", "15:3", "sigterm:3"])
def test_signal_is_rewritten(init: Start, rule: str) -> None:
    """-r OLD:NEW forwards another signal instead; names and numbers are equivalent."""
    run = init("-r", rule, "--", *program("received.py", "0", "3"))
    run.until_printed("ready")
    assert run.stop() == 0
    assert _got(run) == [3]


@pytest.mark.parametrize("rule", ["SIGHUP:0", "1:0"])
def test_signal_is_dropped(init: Start, process_1: bool, rule: str) -> None:
    """-r OLD:0 drops a signal."""
    run = init("-r", rule, "--", *program("received.py"), process_1=process_1)
    run.until_printed("ready")
    run.signal(signal.SIGHUP)
    assert run.stop(signal.SIGUSR2) == 0
    assert _got(run) == [12]


def test_real_time_signal_is_rewritten(init: Start) -> None:
    """A real-time signal can be written relative to the start of the range."""
    run = init("-r", "RTMIN+3:TERM", "-r", "TERM:USR2", "--", *program("received.py", "0", "15"))
    run.until_printed("ready")
    assert run.stop(37) == 0
    assert _got(run) == [15], "rewriting is not done twice"


def test_parent_death_signal_reaches_main(start: Start) -> None:
    """-p SIGNAL: when cohabit's parent ends, cohabit receives the signal and forwards it."""
    cohabit = [*COHABIT, "init", "-p", "USR2", "--", *program("received.py")]
    run = start(*shell(f"{shlex.join(program('above.py', *cohabit))} & wait; exec sleep 1000"))
    run.until_printed("ready")
    (parent,) = [one for one in processes.children(run.process_1().pid) if "above.py" in one.command]
    os.kill(parent.pid, signal.SIGKILL)
    run.until_printed("got 12\n")


def test_verbose_reports_each_signal(init: Start) -> None:
    """-v reports what is done with each signal."""
    run = init("-v", "-r", "HUP:0", "--", *program("received.py"))
    run.until_printed("ready")
    run.signal(signal.SIGHUP)
    run.until_printed("SIGHUP: dropped")
    run.signal(signal.SIGUSR2)
    assert run.wait() == 0
    assert "SIGUSR2: forwarded as SIGUSR2" in run.text


def test_group_variable_signals_the_whole_group(init: Start, process_1: bool) -> None:
    """COHABIT_INIT_GROUP=1 does what -g does; main sees the variable; -c overrides it."""
    receive = " ".join(program("received.py", "0", "12"))
    given = {"COHABIT_INIT_GROUP": "1"}
    run = init("--", *shell(f"{receive} & exec {receive}"), process_1=process_1, environment=given)
    run.until_printed("ready", 2)
    run.signal(signal.SIGUSR2)
    assert run.wait() == 0
    assert sorted(_got(run)) == [12, 12]
    both = shell(f"{receive} & exec {receive}")  # the first one ignores the TERM after the end of the second
    run = init("-c", "-t", "10ms", "--", *both, process_1=process_1, environment=given)
    run.until_printed("ready", 2)
    run.signal(signal.SIGUSR2)
    assert run.wait() == 0
    assert _got(run).count(12) == 1


def test_tstp_pauses_main(init: Start) -> None:
    """As process 1 without a terminal, TSTP stops main until CONT, and a stop signal reaches a stopped main."""
    run = init("--", "sleep", "1000")

    def state() -> str:
        return run.one("sleep 1000").state

    run.one("sleep 1000")
    run.signal(signal.SIGTSTP)
    run.until(lambda: state() == "T", "main to be stopped")
    run.signal(signal.SIGCONT)
    run.until(lambda: state() != "T", "main to be continued")
    run.signal(signal.SIGTSTP)
    run.until(lambda: state() == "T", "main to be stopped again")
    assert run.stop() == 143


def test_listen_pid_follows_the_sockets(start: Start, process_1: bool) -> None:
    """LISTEN_PID that named cohabit names main; another one is unchanged."""
    script = f"LISTEN_PID=$$ exec {shlex.join(COHABIT)} init -- sh -c '[ $LISTEN_PID = $$ ] && echo same'"
    run = start(*shell(script), process_1=process_1)
    assert run.wait() == 0
    assert run.text == "same\n"
    run = start(*COHABIT, "init", "--", *shell("echo $LISTEN_PID"), environment={"LISTEN_PID": "4711"})
    assert run.wait() == 0
    assert run.text == "4711\n"
