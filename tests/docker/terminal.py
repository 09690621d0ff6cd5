"""`docker run -it` as a user runs it: the client on its own terminal, with input and output.

Deals only with the client, not with cohabit.
"""

import contextlib
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator

from docker.container import AT_MOST_SECONDS
from docker.engine import Engine


class Terminal:
    """A command on a terminal; its output so far is `text`, without carriage returns."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process = process
        self.fd = fd
        self.text = ""

    def type(self, text: str) -> None:
        """Write to the terminal."""
        os.write(self.fd, text.encode())

    def until(self, text: str, *, times: int = 1) -> None:
        """Read until `text` has appeared this many times."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        while self.text.count(text) < times:
            assert self._read(deadline), f"no {text!r} on the terminal:\n{self.text}"

    def wait(self) -> int:
        """Read to the end; return the exit code of the client, which is the container's."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(AT_MOST_SECONDS)

    def _read(self, deadline: float) -> bool:
        """Read once; whether there was more before the end and the deadline."""
        ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self.fd, 65536) if ready else b""
        except OSError:  # a terminal reports this when its other end is closed
            data = b""
        self.text += data.decode(errors="replace").replace("\r", "")
        return bool(data)


@contextlib.contextmanager
def on_a_terminal(engine: Engine, *arguments: str) -> Iterator[Terminal]:
    """Give `docker WORDS…` on a new terminal; the client is ended with the block."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        ["docker", *arguments],
        env=engine.environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        yield Terminal(process, controller)
    finally:
        process.kill()
        process.wait()
        os.close(controller)
