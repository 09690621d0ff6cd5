"""`cohabit run`: the first exit ends all, or the container runs as long as main; in both modes."""

import os
import shlex
import signal
from pathlib import Path

import pytest

from linux.conftest import Gate, Start
from linux.run import lines_of, program

RECEIVE = shlex.join(program("received.py", "0", "15"))


def _until_gate(code: int) -> str:
    return f"sh -c 'read x < gate; exit {code}'"


@pytest.mark.parametrize("code", [0, 3])
def test_any_end_ends_all_with_its_code(run: Start, gate: Gate, process_1: bool, code: int) -> None:
    """When one command exits, with 0 or not, the others get TERM and its code is the container's."""
    container = run(f"one={_until_gate(code)}", f"two={RECEIVE}", process_1=process_1)
    container.until_printed("ready")
    gate.open()
    assert container.wait() == code
    assert container.lines("two") == ["ready", "got 15"]
    assert f"one ended with exit code {code}" in container.text


def test_death_by_signal_is_128_and_the_signal(run: Start, process_1: bool) -> None:
    """A command that is killed by a signal gives 128+n."""
    container = run("victim=sleep 1000", f"other={RECEIVE}", process_1=process_1)
    container.until_printed("ready")
    os.kill(container.one("sleep 1000").pid, signal.SIGKILL)
    assert container.wait() == 137
    assert container.lines("other") == ["ready", "got 15"]


def test_first_end_gives_the_code(run: Start, gate: Gate) -> None:
    """A second failure during the stop does not change the code."""
    second = shlex.join(program("received.py", "9", "15"))
    container = run(f"first={_until_gate(3)}", f"second={second}")
    container.until_printed("ready")
    gate.open()
    assert container.wait() == 3


def test_requested_stop_is_0(run: Start, process_1: bool) -> None:
    """A stop from outside in which all end in time gives 0, whatever their exit codes."""
    container = run(f"one={RECEIVE}", f"two={shlex.join(program('received.py', '9', '15'))}", process_1=process_1)
    container.until_printed("ready", 2)
    assert container.stop() == 0


def test_names_are_given_or_derived_from_the_program(run: Start) -> None:
    """A command has its given name, else that of its program, with a number for the second of a kind."""
    container = run(
        "web=sh -c 'echo a; exec sleep 1000'", "sh -c 'echo b; exec sleep 1000'", "sh -c 'echo c; exec sleep 1000'"
    )
    for line in ("a\n", "b\n", "c\n"):
        container.until_printed(line)
    assert (container.lines("web"), container.lines("sh"), container.lines("sh-2")) == (["a"], ["b"], ["c"])


def test_simple_command_runs_without_a_shell(run: Start) -> None:
    """A simple command runs without a shell, quotes included."""
    container = run("sleep 1000", "exec sleep '2000'")
    container.until_printed("started", 2)
    container.until(
        lambda: sorted(one.command for one in container.below()) == ["sleep 1000", "sleep 2000"], "just the two"
    )


def test_shell_syntax_works(run: Start, tmp_path: Path) -> None:
    """A command that is not simple is run by a shell."""
    assert run("echo one > made && echo two >> made").wait() == 0
    assert lines_of(str(tmp_path / "made")) == ["one", "two"]


def test_container_lives_as_long_as_main(run: Start, gate: Gate, process_1: bool) -> None:
    """With --main the helpers' exits do not matter, main's code counts, and a remaining helper gets TERM."""
    container = run(
        "--main", f"main={_until_gate(5)}", "--helper", "done=true", "--helper", f"long={RECEIVE}", process_1=process_1
    )
    container.until_printed("ready")
    container.until_printed("done: ended with exit code 0")
    gate.open()
    assert container.wait() == 5
    assert container.lines("long") == ["ready", "got 15"]


def test_failing_helper_is_reported(run: Start, gate: Gate) -> None:
    """A failing helper is reported, and the container keeps running."""
    container = run("--main", f"main={_until_gate(0)}", "--helper", "seed=sh -c 'exit 3'")
    container.until_printed("seed: ended with exit code 3")
    gate.open()
    assert container.wait() == 0


def test_missing_helper_starts_nothing(run: Start) -> None:
    """A helper whose program is missing is detected before any service starts: 127."""
    container = run("--main", "sleep 1000", "--helper", "no-such-program")
    assert container.wait() == 127
    assert "no-such-program" in container.text
    assert "started" not in container.text


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_helper_starts_once_main_is_ready(run: Start, gate: Gate, tmp_path: Path, port: int, kind: str) -> None:
    """With --ready a helper starts after the first successful answer, not before; an HTTP 503 does not count."""
    main = shlex.join(program("listen.py", kind, str(port)))
    ready = f"tcp:{port}" if kind == "tcp" else f"http://127.0.0.1:{port}/health"
    container = run(
        "--main", f"main={main}", "--ready", ready, "--helper", "sh -c 'echo helper >> order; exec sleep 1000'"
    )
    container.until_printed("main: started")
    gate.open()
    order = str(tmp_path / "order")
    expected = ["listening", "helper"] if kind == "tcp" else ["answered 503", "answered 503", "answered 200", "helper"]
    assert container.until_written(order, len(expected)) == expected
    container.until_printed("main: ready")


def test_helper_never_starts_when_main_ends_before(run: Start, gate: Gate, port: int) -> None:
    """A main that exits before it is ready ends the container with its code; the helper never starts."""
    main = shlex.join(program("listen.py", "tcp", str(port), "6"))
    container = run("--main", f"main={main}", "--ready", f"tcp:{port}", "--helper", "late=echo late")
    container.until_printed("main: started")
    gate.open()
    assert container.wait() == 6
    assert not container.lines("late")


def test_command_beside_main_starts_at_once(run: Start, gate: Gate) -> None:
    """A command without --helper starts together with main, and its exit does not matter."""
    container = run("--main", f"main={_until_gate(2)}", "--ready", "tcp:1", "beside=echo here")
    container.until_printed("here")
    gate.open()
    assert container.wait() == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--helper", "true"],
        ["--ready", "tcp:1", "true"],
        ["--main", "true", "--ready", "nonsense"],
        ["a=true", "a=true"],
        ["cohabit=true"],
        ["--no-such-option"],
        ["'unclosed"],
        ["--main"],
    ],
)
def test_wrong_usage_is_64(run: Start, arguments: list[str]) -> None:
    """Invalid arguments give 64 and one sentence, and nothing starts."""
    container = run(*arguments)
    assert container.wait() == 64
    assert container.text
    assert "Traceback" not in container.text
    assert "started" not in container.text


@pytest.mark.parametrize("arguments", [["--main", "{}", "sleep 1000"], ["--main", "{}", "--helper", "true"], ["{}"]])
def test_signals_are_forwarded_to_main(run: Start, process_1: bool, arguments: list[str]) -> None:
    """The main command, or the only one, gets the signals that cohabit does not use, as with `init`; HUP as well."""
    received = shlex.join(program("received.py", "0", "15"))
    container = run(*(one.format(f"main={received}") for one in arguments), process_1=process_1)
    container.until_printed("ready")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGRTMIN + 5):
        container.signal(number)
        container.until_printed(f"got {int(number)}\n")
    assert container.stop() == 0
    assert "no receiver" not in container.text


def test_signal_without_a_receiver_is_reported_once(run: Start, process_1: bool) -> None:
    """Without a main command, such a signal (the STOPSIGNAL of a base image) is reported, with what to write."""
    container = run("sleep 1000", "sleep 2000", process_1=process_1)
    container.until_printed("started", 2)
    for number in (signal.SIGWINCH, signal.SIGUSR1, signal.SIGWINCH, signal.SIGUSR1):
        container.signal(number)
        container.until_printed(f"{signal.Signals(number).name} has no receiver")
    assert container.stop() == 0
    assert container.text.count("has no receiver") == 2
    assert container.text.count("STOPSIGNAL SIGTERM in the Dockerfile") == 2


def test_resize_is_not_forwarded(run: Start, process_1: bool) -> None:
    """With a terminal, WINCH reports a new size: the main command has no part in it, and nothing is reported."""
    received = shlex.join(program("received.py", "0", "15"))
    container = run("--main", received, "sleep 1000", terminal=True, above=("setsid", "--ctty"), process_1=process_1)
    container.until_printed("ready")
    container.signal(signal.SIGWINCH)
    container.signal(signal.SIGUSR1)
    container.until_printed("got 10")
    assert container.stop() == 0
    assert "got 28" not in container.text
    assert "receiver" not in container.text


def test_daemon_of_an_init_script_is_its_service(run: Start, tmp_path: Path) -> None:
    """`service NAME start` ends, and its daemon goes on under that name and ends with the container."""
    script = tmp_path / "service"
    script.write_text("#!/bin/sh\nenv -i setsid sleep 7051 </dev/null >/dev/null 2>&1 &\n")
    script.chmod(0o755)
    container = run(f"{script} cron start", "sleep 7052")
    container.until_printed("cron: is in the background now")
    assert container.below("sleep 7051") != []
    assert container.stop() == 0


@pytest.mark.parametrize("names_it", [True, False])
def test_the_pid_file_of_an_init_script_names_the_daemon(run: Start, tmp_path: Path, *, names_it: bool) -> None:
    """It leaves two processes in the background. Without its pid file, none is chosen, and the log says why."""
    script = tmp_path / "web"
    script.write_text(
        f"#!/bin/sh\nRUN=/run\n{'PIDFILE=$RUN/web.pid' if names_it else 'PIDFILE=$(echo /run/web.pid)'}\n"
        'setsid sh -c "echo \\$\\$ > $PIDFILE; exec sleep 7061" </dev/null >/dev/null 2>&1 &\n'
        "setsid sleep 7062 </dev/null >/dev/null 2>&1 &\n"
        "while [ ! -s $PIDFILE ]; do sleep 0.01; done\n"
    )
    script.chmod(0o755)
    mounts = "".join(f"mount -t tmpfs -o mode=755 tmpfs {one}; " for one in ("/run", "/etc/init.d"))
    setup = f"{mounts}cp {script} /etc/init.d/web"
    container = run("service web start", "sleep 7052", setup=setup)
    if names_it:
        container.until_printed("web: is in the background now")
        assert container.below("sleep 7061") != []
        os.kill(container.one("sleep 7061").pid, signal.SIGKILL)
        container.until_printed("web: ended with SIGKILL")
        assert container.wait() == 137
    else:
        container.until_printed("web: cannot determine the main process: more than one process is in the background")
        assert container.wait() == 0  # its end is that of the container
