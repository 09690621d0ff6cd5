"""Clients of the cohabit in a Run, whose output is read while they run."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from linux.run import COHABIT, Run

RUNTIME_DIR = "run"  # in the test's directory


def environment(directory: str) -> dict[str, str]:
    """The variables with which cohabit and its clients find each other."""
    return {"COHABIT_RUNTIME_DIR": os.path.join(directory, RUNTIME_DIR)}


def ask(
    run: Run,
    directory: str,
    *arguments: str,
    code: int = 0,
    during: Callable[[Callable[[], object], str], None] | None = None,
) -> str:
    """Run a client to its end; returns its output. code: the expected exit code. during: replaces Run.until."""
    variables = {"PATH": os.environ["PATH"], **environment(directory)}
    with tempfile.TemporaryFile() as out:
        client = subprocess.Popen([*COHABIT, *arguments], env=variables, stdout=out, stderr=subprocess.STDOUT)
        try:
            (during or run.until)(lambda: client.poll() is not None, " ".join(arguments))
        finally:
            client.kill()
            client.wait()
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    assert client.returncode == code, text
    return text


@contextlib.contextmanager
def following(directory: str, *arguments: str) -> Iterator[IO[bytes]]:
    """Run a client until the end of the block; yields the file with its output."""
    variables = {"PATH": os.environ["PATH"], **environment(directory)}
    with tempfile.TemporaryFile() as out:
        client = subprocess.Popen([*COHABIT, *arguments], env=variables, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield out
        finally:
            client.kill()
            client.wait()
