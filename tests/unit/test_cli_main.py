"""The entry point: commands, exit codes, and errors that never end as a bare traceback with code 1."""

import os
import subprocess
import sys

import pytest

import cohabit
from cohabit.cli import main
from cohabit.errors import UsageError
from cohabit.reactor import pid1
from cohabit.reactor.signals import InheritedSignals

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(cohabit.__file__)))
MAIN = os.path.join(SOURCE, "cohabit", "__main__.py")


def _cohabit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", "-S", MAIN, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str) -> None:
    """The version goes to stdout."""
    done = _cohabit(option)
    assert (done.returncode, done.stdout) == (0, f"cohabit {cohabit.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["init", "--", ""], "the command is empty"),
        (["init", "-r", "KILL:TERM", "true"], "KILL cannot be rewritten"),
        (["init", "-r", "CHLD:USR1", "true"], "CHLD cannot be rewritten"),
        (["init", "-p", "SIGCHLD", "true"], "SIGCHLD cannot be used"),
        (["init", "-q", "-v", "true"], "--quiet and --verbose exclude each other"),
        (["init", "-r", "TERM:32", "true"], "'32' is a signal that the C library reserves"),
        (["init", "-r", "33:TERM", "true"], "'33' is a signal that the C library reserves"),
        (["init", "-p", "32", "true"], "'32' is a signal that the C library reserves"),
        (["kill", "-s", "32", "db"], "'32' is a signal that the C library reserves"),
        (["signal", "33", "db"], "'33' is a signal that the C library reserves"),
        (["run", "--helper", "true"], "--helper needs --main"),
    ],
)
def test_wrong_usage_is_64(arguments: list[str], why: str) -> None:
    """With the reason."""
    done = _cohabit(*arguments)
    assert (done.returncode, why in done.stderr + done.stdout) == (64, True)


def test_without_a_command_the_help_is_an_error() -> None:
    """It goes to stderr, with 64."""
    done = _cohabit()
    assert (done.returncode, done.stdout) == (64, "")
    assert "usage: cohabit COMMAND" in done.stderr


@pytest.mark.parametrize(
    ("command", "near"),
    [("ini", "'init'"), ("runn", "'run'"), ("confgi", "'config'"), ("sleep", "cohabit init -- COMMAND")],
)
def test_unknown_command_is_64(command: str, near: str) -> None:
    """With the nearest command, or how to run a program."""
    done = _cohabit(command)
    assert done.returncode == 64
    assert done.stderr.startswith(f"cohabit: there is no command {command!r} (")
    assert near in done.stderr


def test_a_program_as_the_command_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker run IMAGE bash` with ENTRYPOINT ["cohabit"]: the message has the two lines that run it."""
    monkeypatch.setattr(pid1, "is_process_1", lambda: True)
    with pytest.raises(UsageError) as caught:
        main._dispatch(InheritedSignals((), ()), ["bash"])
    assert str(caught.value) == (
        "there is no command 'bash' (beside the services: docker run -it IMAGE up -- bash; alone: docker run "
        "--entrypoint bash IMAGE; see cohabit --help)"
    )


def test_doctor_that_cannot_be_started_is_71() -> None:
    """The doctor is a separate program; the message says why it cannot be executed."""
    program = (
        f"import sys; sys.path.append({SOURCE!r}); sys.executable = '/dev/null'; sys.argv[1:] = ['doctor']; "
        "from cohabit.cli import main; main.main()"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    why = "'/dev/null', the interpreter, cannot be executed: Permission denied"
    assert done.stderr.startswith(f"cohabit: cannot start the doctor: {why}")
    assert (done.returncode, "Traceback" in done.stderr) == (71, False)


def test_internal_error_is_70() -> None:
    """An unexpected exception is printed with its traceback."""
    program = (
        f"import sys; sys.path.append({SOURCE!r}); from cohabit.cli import main; main._dispatch = None; main.main()"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "Traceback" in done.stderr
