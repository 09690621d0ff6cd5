"""Clients of a Run's cohabit, run to their end while its output is read on."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from linux.run import COHABIT, Run

RUNTIME_DIR = "run"  # in the test's directory


def environment(directory: str) -> dict[str, str]:
    """What cohabit and its clients have to know of each other."""
    return {"COHABIT_RUNTIME_DIR": os.path.join(directory, RUNTIME_DIR)}


def ask(
    life: Run,
    directory: str,
    *words: str,
    code: int = 0,
    during: Callable[[Callable[[], object], str], None] | None = None,
) -> str:
    """Run a client; returns what it printed. It has to end with this code. during: waits as Run.until does."""
    variables = {"PATH": os.environ["PATH"], **environment(directory)}
    with tempfile.TemporaryFile() as out:
        client = subprocess.Popen([*COHABIT, *words], env=variables, stdout=out, stderr=subprocess.STDOUT)
        try:
            (during or life.until)(lambda: client.poll() is not None, " ".join(words))
        finally:
            client.kill()
            client.wait()
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    assert client.returncode == code, text
    return text


@contextlib.contextmanager
def following(directory: str, *words: str) -> Iterator[IO[bytes]]:
    """A client that goes on until the block is over; gives the file that it writes to."""
    variables = {"PATH": os.environ["PATH"], **environment(directory)}
    with tempfile.TemporaryFile() as out:
        client = subprocess.Popen([*COHABIT, *words], env=variables, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield out
        finally:
            client.kill()
            client.wait()
