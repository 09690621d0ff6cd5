"""`docker run -it` as a person does it: the client on a terminal of its own, typed to and read from.

Knows the client and nothing of cohabit.
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
    """A command on a terminal: what it wrote so far is `text`, carriage returns left out."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process = process
        self.fd = fd
        self.text = ""

    def type(self, text: str) -> None:
        """Type."""
        os.write(self.fd, text.encode())

    def until(self, text: str, *, times: int = 1) -> None:
        """Read until `text` has appeared so many times."""
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
        """Whether there was more before its end and before the deadline."""
        ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self.fd, 65536) if ready else b""
        except OSError:  # what a terminal says when nobody has its other end any more
            data = b""
        self.text += data.decode(errors="replace").replace("\r", "")
        return bool(data)


@contextlib.contextmanager
def on_a_terminal(engine: Engine, *words: str) -> Iterator[Terminal]:
    """Give `docker WORDS…` on a new terminal; the client is ended with the block."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["docker", *words], env=engine.environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
