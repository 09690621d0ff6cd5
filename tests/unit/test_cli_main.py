"""The front door: verbs, their exit codes, and an end that is never a bare traceback with code 1."""

import os
import subprocess
import sys

import pytest

import cohabit

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(cohabit.__file__)))
MAIN = os.path.join(SOURCE, "cohabit", "__main__.py")


def _cohabit(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", "-S", MAIN, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version(word: str) -> None:
    """The version is told on stdout."""
    done = _cohabit(word)
    assert (done.returncode, done.stdout) == (0, f"cohabit {cohabit.__version__}\n")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["init", "--", ""], "the command is an empty word"),
        (["init", "-r", "KILL:TERM", "true"], "KILL cannot be rewritten"),
        (["init", "-r", "TERM:32", "true"], "'32' is a signal that the C library reserves"),
        (["init", "-r", "33:TERM", "true"], "'33' is a signal that the C library reserves"),
        (["init", "-p", "32", "true"], "'32' is a signal that the C library reserves"),
        (["kill", "-s", "32", "db"], "'32' is a signal that the C library reserves"),
        (["signal", "33", "db"], "'33' is a signal that the C library reserves"),
        (["run", "--helper", "true"], "--helper needs --main"),
    ],
)
def test_what_cannot_be_meant_is_a_wrong_usage(words: list[str], why: str) -> None:
    """64, and why."""
    done = _cohabit(*words)
    assert (done.returncode, why in done.stderr + done.stdout) == (64, True)


def test_without_a_word_the_help_is_an_error() -> None:
    """Nothing to do: the help on stderr, and 64."""
    done = _cohabit()
    assert (done.returncode, done.stdout) == (64, "")
    assert "usage: cohabit VERB" in done.stderr


@pytest.mark.parametrize(
    ("word", "near"),
    [("ini", "'init'"), ("runn", "'run'"), ("confgi", "'config'"), ("sleep", "cohabit init -- COMMAND")],
)
def test_unknown_verb(word: str, near: str) -> None:
    """An unknown verb is 64, with the nearest one or the way to run a command."""
    done = _cohabit(word)
    assert done.returncode == 64
    assert done.stderr.startswith(f"cohabit: there is no verb {word!r} (")
    assert near in done.stderr


@pytest.mark.parametrize("verb", ["check", "config"])
def test_interpreter_that_cannot_be_executed(verb: str) -> None:
    """The loader is a program of its own: where it cannot be started, that is told in a sentence, and 71."""
    plant = (
        f"import sys; sys.path.append({SOURCE!r}); sys.executable = '/dev/null'; sys.argv[1:] = [{verb!r}]; "
        "from cohabit.cli import main; main.main()"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", plant], capture_output=True, text=True, check=False)
    why = "'/dev/null', the interpreter, cannot be executed: Permission denied"
    assert done.stderr.startswith(f"cohabit: cannot {verb}: {why}")
    assert (done.returncode, "Traceback" in done.stderr) == (71, False)


def test_bug_of_ours_is_70() -> None:
    """An error that nobody foresaw is told with its traceback, and has its own code."""
    plant = f"import sys; sys.path.append({SOURCE!r}); from cohabit.cli import main; main._dispatch = None; main.main()"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", plant], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "Traceback" in done.stderr
