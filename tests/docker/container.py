"""A container under test: run, inspect, stop and wait for it; all with the `docker` client.

The only property of cohabit that it uses is the form of its output: `name  | line`. Waits have a maximum; the duration
of a stop is reported and never asserted on. Containers carry the session's label, and the `start` fixture in
conftest.py removes them.
"""

import os
import re
import selectors
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from docker.engine import Engine, until

# Long enough for the slowest start on a loaded machine; a passing test never waits that long.
AT_MOST_SECONDS = 60.0

# The types of two fixtures in conftest.py. image(directory, base) builds the Dockerfile in `directory` on the base
# image `base` and returns its id. start(image, *command, options=()) runs it with these options of `docker run`.
Build = Callable[[str, str], str]
Start = Callable[..., "Container"]

_LINE = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+) *\| ?(?P<text>.*)$")


class Logs(NamedTuple):
    """The output of `docker logs`: the container's two streams."""

    stdout: str
    stderr: str

    def of(self, name: str) -> list[str]:
        """Return the lines of the service `name` without their prefix, stdout before stderr."""
        lines = (_LINE.match(line) for line in (self.stdout + self.stderr).splitlines())
        return [line["text"] for line in lines if line and line["name"] == name]

    def names(self) -> set[str]:
        """Return the names in the prefixes; a line without a prefix counts as the empty name."""
        lines = (_LINE.match(line) for line in (self.stdout + self.stderr).splitlines())
        return {line["name"] if line else "" for line in lines}


class Ended(NamedTuple):
    """How a container ended: its exit code, and the seconds from the request to the end."""

    code: int
    seconds: float


class Process(NamedTuple):
    """One line of `ps` inside the container."""

    pid: int
    ppid: int
    state: str
    user: str
    command: str


@dataclass(frozen=True)
class Container:
    """A running or stopped container, identified by its id."""

    engine: Engine
    id: str

    def logs(self) -> Logs:
        """Return all output so far."""
        done = self.engine.docker("logs", self.id)
        return Logs(done.stdout, done.stderr)

    def exec(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as `docker exec`; `check`: a failure raises with its output."""
        return self.engine.docker("exec", self.id, *arguments, check=check)

    def shell(self, script: str) -> str:
        """Return what a shell script, run inside, writes to stdout."""
        return self.exec("sh", "-c", script).stdout

    def answers(self, *arguments: str) -> bool:
        """Whether a command inside succeeds."""
        return self.exec(*arguments, check=False).returncode == 0

    def processes(self) -> list[Process]:
        """Return the processes inside, except `ps` itself."""
        table = self.exec("ps", "-e", "--no-headers", "-o", "pid,ppid,state,user:32,args").stdout
        rows = [line.split(None, 4) for line in table.splitlines()]
        return [
            Process(int(pid), int(ppid), state, user, command)
            for pid, ppid, state, user, command in rows
            if not command.startswith("ps -e ")
        ]

    def pids(self, command: str) -> list[int]:
        """Return the pids whose command line matches the regular expression `command`, zombies included."""
        return [process.pid for process in self.processes() if re.search(command, process.command)]

    def zombies(self) -> list[Process]:
        """Return the zombies."""
        return [process for process in self.processes() if process.state == "Z"]

    def inspect(self, template: str) -> str:
        """Return the output of `docker inspect --format TEMPLATE`."""
        return self.engine.docker("inspect", "--format", template, self.id).stdout.strip()

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.inspect("{{.State.Running}}") == "true"

    def until_logged(self, name: str, text: str, *, times: int = 1) -> None:
        """Wait until `times` lines of the service `name` contain `text`."""
        self.until_output(
            lambda logs: sum(text in line for line in logs.of(name)) >= times, f"{text!r} from {name}, {times} times"
        )

    def until_output(self, true: Callable[[Logs], object], what: str) -> None:
        """Wait until `true()` holds for the whole lines so far. One client follows the output meanwhile."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        with self.engine.following("logs", "--follow", self.id) as client, selectors.DefaultSelector() as selector:
            data = {client.stdout: b"", client.stderr: b""}
            for file in data:
                assert file
                selector.register(file, selectors.EVENT_READ)
            try:
                while not true(logs := Logs(*map(_whole_lines, data.values()))):
                    left = deadline - time.monotonic()
                    assert left > 0, f"waited {AT_MOST_SECONDS:g} s for nothing: {what}:\n{logs}"
                    assert selector.get_map(), f"ended without {what}:\n{logs}"
                    for key, _ in selector.select(left):
                        piece = os.read(key.fd, 1 << 16)
                        data[key.fileobj] += piece  # type: ignore[index]
                        if not piece:
                            selector.unregister(key.fileobj)
            finally:
                client.kill()

    def until_answers(self, *arguments: str) -> None:
        """Wait until a command inside succeeds."""
        until(lambda: self.answers(*arguments), at_most_seconds=AT_MOST_SECONDS, what=" ".join(arguments))

    def kill(self, signal_name: str) -> None:
        """Send process 1 a signal, as `docker kill` does."""
        self.engine.docker("kill", "--signal", signal_name, self.id)

    def wait(self) -> Ended:
        """Wait for the end."""
        began = time.monotonic()
        code = self.engine.docker("wait", self.id, at_most_seconds=AT_MOST_SECONDS).stdout
        return Ended(int(code), time.monotonic() - began)

    def stop(self, *, grace_seconds: int = 10) -> Ended:
        """Stop it as `docker stop` does: its stop signal, the grace period, then SIGKILL (exit code 137)."""
        began = time.monotonic()
        self.engine.docker("stop", "--time", str(grace_seconds), self.id)
        return Ended(int(self.inspect("{{.State.ExitCode}}")), time.monotonic() - began)


def _whole_lines(data: bytes) -> str:
    return data[: data.rfind(b"\n") + 1].decode("utf-8", "replace")
