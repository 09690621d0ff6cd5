"""Clients of the cohabit in a Run, whose output is read while they run."""

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from linux.run import COHABIT, Run

RUNTIME_DIR = "run"  # in the test's directory
During = Callable[[Callable[[], object], str], None]  # a function like Run.until


def environment(directory: str) -> dict[str, str]:
    """The variables with which cohabit and its clients find each other."""
    return {"COHABIT_RUNTIME_DIR": os.path.join(directory, RUNTIME_DIR)}


def ask(
    run: Run,
    directory: str,
    *arguments: str,
    code: int = 0,
    during: During | None = None,
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


class Request:
    """A request to the control socket (docs/reference/control.md) and what has been answered so far."""

    def __init__(self, directory: str, *words: str) -> None:
        self.text = ""
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(os.path.join(directory, RUNTIME_DIR, "control"))
        self._connection.sendall(f"cohabit/2 {' '.join(words)}\n".encode())
        self._connection.setblocking(False)

    def is_answered(self) -> bool:
        """Read what has arrived; whether that was the end."""
        with contextlib.suppress(BlockingIOError):
            while piece := self._connection.recv(1 << 16):
                self.text += piece.decode("utf-8", "replace")
            return True
        return False

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def request(run: Run, directory: str, *words: str, code: int = 0, during: During | None = None) -> str:
    """Send a request and return the whole answer. As `ask`, without the start of a client, which takes 80 ms."""
    with contextlib.closing(Request(directory, *words)) as sent:
        (during or run.until)(sent.is_answered, " ".join(words))
    assert sent.text.startswith(f"{code} "), sent.text
    return sent.text


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
