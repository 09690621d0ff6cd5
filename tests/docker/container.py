"""A container under test: look at it, run commands inside, stop it and wait for it.

The only property of cohabit that it uses is the form of its output: `name  | line`. Waits have a maximum; the duration
of a stop is reported and never asserted on. Containers carry the session's label, and the `start` fixture in
conftest.py removes them.
"""

import functools
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from docker.api import Frames, RefusedError
from docker.engine import Engine, until

# Long enough for the slowest start on a loaded machine; a passing test never waits that long.
AT_MOST_SECONDS = 60.0

# The types of two fixtures in conftest.py. image(directory, base) builds the Dockerfile in `directory` on the base
# image `base` and returns its id. start(image, *command, options=()) runs it with these options of `docker run`.
Build = Callable[[str, str], str]
Start = Callable[..., "Container"]

_LOGS = "logs?stdout=1&stderr=1"
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
        """Return all output so far, as `docker logs`."""
        with self.engine.asked("GET", self._path(_LOGS)) as response:
            frames = self._frames()
            frames.feed(response.read())
        return _logs(frames)

    def exec(self, *arguments: str, user: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end, as `docker exec`; `check`: a failure raises with its output."""
        frames = Frames()
        try:
            code = self._exec(frames, {"Cmd": arguments, "User": user, "AttachStdout": True, "AttachStderr": True})
        except RefusedError as error:
            code = 1
            frames.streams["stderr"] += str(error).encode()
        done = subprocess.CompletedProcess(arguments, code, *_logs(frames))
        assert code == 0 or not check, f"{' '.join(arguments)} ended with {code}:\n{done.stdout}{done.stderr}"
        return done

    def _exec(self, frames: Frames, settings: dict[str, Any]) -> int:
        created = self.engine.ask("POST", self._path("exec"), settings)["Id"]
        with self.engine.asked("POST", f"exec/{created}/start", {"Detach": False}) as response:
            frames.feed(response.read())
        ended: dict[str, Any] = {"Running": True}
        while ended["Running"]:  # its output may end before it
            ended = self.engine.ask("GET", f"exec/{created}/json")
        return int(ended["ExitCode"])

    def exec_in_background(self, *arguments: str) -> None:
        """Start a command inside, as `docker exec --detach`."""
        created = self.engine.ask("POST", self._path("exec"), {"Cmd": arguments})["Id"]
        with self.engine.asked("POST", f"exec/{created}/start", {"Detach": True}) as response:
            response.read()

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

    def inspect(self) -> dict[str, Any]:
        """Return what `docker inspect` shows."""
        found: dict[str, Any] = self.engine.ask("GET", self._path("json"))
        return found

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return bool(self.inspect()["State"]["Running"])

    def until_logged(self, name: str, text: str, *, times: int = 1) -> None:
        """Wait until `times` lines of the service `name` contain `text`."""
        self.until_output(
            lambda logs: sum(text in line for line in logs.of(name)) >= times, f"{text!r} from {name}, {times} times"
        )

    def until_output(self, true: Callable[[Logs], object], what: str) -> None:
        """Wait until `true()` holds for the whole lines so far. One request follows the output meanwhile."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        frames = self._frames()
        with self.engine.asked("GET", self._path(f"{_LOGS}&follow=1")) as response:
            while not true(logs := Logs(*map(_whole_lines, _logs(frames)))):
                left = deadline - time.monotonic()
                assert left > 0, f"waited {AT_MOST_SECONDS:g} s for nothing: {what}:\n{logs}"
                piece = response.piece(left)
                assert piece, f"ended without {what}:\n{logs}"
                frames.feed(piece)

    def until_answers(self, *arguments: str) -> None:
        """Wait until a command inside succeeds."""
        until(lambda: self.answers(*arguments), at_most_seconds=AT_MOST_SECONDS, what=" ".join(arguments))

    def kill(self, signal_name: str) -> None:
        """Send process 1 a signal, as `docker kill` does."""
        self.engine.ask("POST", self._path(f"kill?signal={signal_name}"))

    def wait(self) -> Ended:
        """Wait for the end."""
        began = time.monotonic()
        code = self.engine.ask("POST", self._path("wait"), at_most_seconds=AT_MOST_SECONDS)["StatusCode"]
        return Ended(int(code), time.monotonic() - began)

    def stop(self, *, grace_seconds: int = 10) -> Ended:
        """Stop it as `docker stop` does: its stop signal, the grace period, then SIGKILL (exit code 137)."""
        began = time.monotonic()
        self.engine.ask("POST", self._path(f"stop?t={grace_seconds}"))
        return Ended(int(self.inspect()["State"]["ExitCode"]), time.monotonic() - began)

    def start(self) -> None:
        """Start it again after its end."""
        self.engine.ask("POST", self._path("start"))

    def remove(self) -> None:
        """Remove it, with its processes and volumes."""
        self.engine.ask("DELETE", f"containers/{self.id}?force=1&v=1")

    def _path(self, what: str) -> str:
        return f"containers/{self.id}/{what}"

    @functools.cached_property
    def _has_terminal(self) -> bool:
        return bool(self.inspect()["Config"]["Tty"])

    def _frames(self) -> Frames:
        return Frames(is_terminal=self._has_terminal)


def _logs(frames: Frames) -> Logs:
    return Logs(*(frames.streams[name].decode("utf-8", "replace") for name in Logs._fields))


def _whole_lines(text: str) -> str:
    return text[: text.rfind("\n") + 1]
