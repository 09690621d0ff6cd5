"""A container under test: run, asked, stopped, waited for; all by way of the `docker` client.

Knows nothing of cohabit but the form of its output: `name  | line`. Waiting is always "until, at most";
how long a stop took is handed out for reports and never asserted on. Containers carry the session's label
and are removed by whoever started them (the `start` fixture in conftest.py).
"""

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from docker.engine import Engine, until

# Long enough for the slowest start on a loaded machine; nothing waits this long when all is well.
AT_MOST_SECONDS = 60.0

# What the fixtures in conftest.py give: image(directory, base) builds the Dockerfile in `directory` on the base
# image called `base` and gives its id; start(image, *command, options=()) runs it with options of `docker run`.
Build = Callable[[str, str], str]
Start = Callable[..., "Container"]

_LINE = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+) *\| ?(?P<text>.*)$")


class Logs(NamedTuple):
    """What `docker logs` gives: the container's two streams."""

    stdout: str
    stderr: str

    def of(self, name: str) -> list[str]:
        """Return the lines of the service `name` without their prefix: stdout's before stderr's."""
        lines = (_LINE.match(line) for line in (self.stdout + self.stderr).splitlines())
        return [line["text"] for line in lines if line and line["name"] == name]

    def names(self) -> set[str]:
        """Return the names in the prefixes; a line without a prefix counts as the empty name."""
        lines = (_LINE.match(line) for line in (self.stdout + self.stderr).splitlines())
        return {line["name"] if line else "" for line in lines}


class Ended(NamedTuple):
    """How a container ended: its exit code, and the seconds from asking for it to the end."""

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
    """A running or ended container, known by its id."""

    engine: Engine
    id: str

    def logs(self) -> Logs:
        """Return everything written so far."""
        done = self.engine.docker("logs", self.id)
        return Logs(done.stdout, done.stderr)

    def exec(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as `docker exec`; `check`: failure raises with what it wrote."""
        return self.engine.docker("exec", self.id, *words, check=check)

    def shell(self, script: str) -> str:
        """Return what a shell script, run inside, wrote to stdout."""
        return self.exec("sh", "-c", script).stdout

    def answers(self, *words: str) -> bool:
        """Whether a command inside succeeds."""
        return self.exec(*words, check=False).returncode == 0

    def processes(self) -> list[Process]:
        """Return the processes inside, `ps` itself left out."""
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
        """Return the processes that have ended and that nobody has reaped."""
        return [process for process in self.processes() if process.state == "Z"]

    def inspect(self, template: str) -> str:
        """Return what `docker inspect --format TEMPLATE` says."""
        return self.engine.docker("inspect", "--format", template, self.id).stdout.strip()

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.inspect("{{.State.Running}}") == "true"

    def until_logged(self, name: str, text: str, *, times: int = 1) -> None:
        """Wait until lines of the service `name` that contain `text` are there, `times` of them."""

        def there() -> bool:
            if sum(text in line for line in self.logs().of(name)) >= times:
                return True
            assert self.is_running(), f"ended without the line {text!r} of {name}:\n{self.logs()}"
            return False

        until(there, at_most_seconds=AT_MOST_SECONDS, what=f"{text!r} from {name} of {self.id[:12]}")

    def until_answers(self, *words: str) -> None:
        """Wait until a command inside succeeds."""
        until(lambda: self.answers(*words), at_most_seconds=AT_MOST_SECONDS, what=" ".join(words))

    def kill(self, signal_name: str) -> None:
        """Send process 1 a signal, as `docker kill` does."""
        self.engine.docker("kill", "--signal", signal_name, self.id)

    def wait(self) -> Ended:
        """Wait for the end."""
        began = time.monotonic()
        until(lambda: not self.is_running(), at_most_seconds=AT_MOST_SECONDS, what=f"end of {self.id[:12]}")
        return self._ended(began)

    def stop(self, *, grace_seconds: int = 10) -> Ended:
        """Stop it as `docker stop` does: its stop signal, the grace period, then SIGKILL (exit code 137)."""
        began = time.monotonic()
        self.engine.docker("stop", "--time", str(grace_seconds), self.id)
        return self._ended(began)

    def _ended(self, began: float) -> Ended:
        return Ended(int(self.inspect("{{.State.ExitCode}}")), time.monotonic() - began)
