"""One run: `cohabit up` with services whose every line is known, a stage, a system call that fails there, a verdict.

The stages: start; middle (a service is killed, clients ask); reload (the file has changed); reexec (asked for); error
(an internal error of ours, and so a re-execution); stop. After the stage the container has to go on, to answer, and to
stop in order, with every line of every service written once, and nobody left.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter

from faults.injection import Injection, Profiles, Tracer, calls_in, choose
from linux import processes
from linux.run import COHABIT, REPOSITORY, Run, program, shell

HERE = os.path.dirname(os.path.abspath(__file__))
REFUSED = 71
_LINE = re.compile(r"([a-z]+) (\d+) (end )?(\d+)$")
_WHILE_SECONDS = 2.0
_SIGNALS = {"reload": signal.SIGHUP, "reexec": signal.SIGRTMIN + 25}
_TRYING = b"(trying again for"
_MORE = 40  # lines that show that it goes on
# What the C library and the interpreter say when they have no room, between an exec and our first line.
_BEYOND_US = (
    "error while loading shared libraries",
    "can't open file",
    "Fatal Python error",
    "cannot allocate memory in static TLS",
)
# What a stop says that was requested while there was no room to carry it out in order.
_NO_ROOM = ("no room to read our own modules", "cannot continue: ")
_NO_PROGRAM = (1, 2, 127, 139, 134)


class FailureError(Exception):
    """What went wrong, in words."""


class BeyondUsError(Exception):
    """The interpreter itself found no room after an exec."""


def _writer(name: str, pause_ms: int) -> list[str]:
    return [sys.executable, "-I", "-S", f"{HERE}/writer.py", name, str(pause_ms)]


def services(directory: str, *, rich: bool) -> dict[str, dict[str, object]]:
    """What runs: two who write (one into a file that is rotated, too), one who crashes, probes, hooks, a socket.

    rich: and records of several lines, readiness by the log and by a descriptor, a schedule.
    """
    return {
        **(_rich() if rich else {}),
        "alpha": {
            "command": _writer("alpha", 4),
            "restart": "always",
            "healthcheck": {"test": ["CMD", "true"], "interval": "200ms", "retries": 1000},
            "pre_start": [{"command": ["true"]}],
            "post_start": [{"command": ["true"]}],
        },
        "beta": {
            "command": _writer("beta", 6),
            "restart": "always",
            "logging": [
                {"driver": "prefix"},
                {
                    "driver": "file",
                    "options": {
                        "path": f"{directory}/beta.log",
                        "max-size": "8k",
                        "max-file": "100",
                        "compress": "true",
                    },
                },
            ],
            "sockets": [f"{directory}/beta.sock"],
            "healthcheck": {"test": ["UNIX", f"{directory}/beta.sock"], "interval": "300ms", "retries": 1000},
            "pre_stop": [{"command": ["true"]}],
        },
        "gamma": {"command": shell("sleep 0.2; exit 3"), "restart": "always", "essential": False},
        "trigger": {"command": shell(f"read x < {directory}/gate; exit 0"), "essential": False},
    }


def _rich() -> dict[str, dict[str, object]]:
    options = {"driver": "prefix", "options": {"multiline-pattern": "^joined "}}
    quiet = {"essential": False, "restart": "always"}
    return {
        "joined": {"command": _writer("joined", 8), "logging": options, "restart": "always"},
        "tells": {"command": shell("echo well; exec sleep 1000"), "healthcheck": {"test": ["LOG", "well"]}, **quiet},
        "writes": {"command": shell("echo >&7; exec sleep 1000"), "healthcheck": {"test": ["FD", "7"]}, **quiet},
        "job": {"command": ["true"], "schedule": "0 0 1 1 *"},
    }


class Story:
    """One run in a directory of its own."""

    def __init__(self, injection: Injection | None, stage: str, mode: str) -> None:
        self.injection = injection
        self.stage = stage
        self.rich = mode == "rich"
        self.process_1 = mode != "child" or stage == "start"
        self.directory = tempfile.mkdtemp(prefix="cohabit-faults-")
        self.log = os.path.join(self.directory, "strace.log")
        self.file = os.path.join(self.directory, "cohabit.yaml")
        self.gates = []
        for name in ("gate", "begin"):
            os.mkfifo(os.path.join(self.directory, name))
            self.gates.append(os.open(os.path.join(self.directory, name), os.O_RDWR | os.O_NONBLOCK))
        self.tracer: Tracer | None = None
        self._write(services(self.directory, rich=self.rich))

    def close(self) -> None:
        """Take everything away."""
        for gate in self.gates:
            os.close(gate)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _write(self, what: dict[str, dict[str, object]]) -> None:
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(json.dumps({"services": what}).replace("$", "$$"))

    def run(self) -> None:
        """Raises FailureError."""
        words = list(COHABIT)
        if self.stage == "error":
            words = program("driver.py", os.path.join(REPOSITORY, "src"), "step-before:Exited")
        setup = f"read x < {self.directory}/begin" if self.stage == "start" else ""
        environment = {"COHABIT_RUNTIME_DIR": f"{self.directory}/run"}
        with Run(
            *words,
            "up",
            "-f",
            self.file,
            process_1=self.process_1,
            environment=environment,
            cwd=self.directory,
            setup=setup,
        ) as life:
            try:
                self._live(life)
            except AssertionError as error:
                self._explain(life, str(error))
            finally:
                if self.tracer is not None:
                    self.tracer.detach()
                    self.tracer = None

    # --- what happens ----------------------------------------------------------------------------------

    def _live(self, life: Run) -> None:
        if self.stage == "start":
            self._attach(life.process_1().pid)
            os.write(self.gates[1], b"\n")
            if self._refuses(life):
                return
            if self._is("while"):
                self._detach()
        if not (self.stage == "start" and self._is("ever")):
            self._until_it_runs(life)
        if self.stage not in ("start", "stop"):
            self._attach(life.pid)
            getattr(self, f"_{self.stage}")(life)
        elif self.stage == "stop":
            self._attach(life.pid)
        if self._is("while") and self.tracer is not None:
            self._more_lines(life, time.monotonic() + _WHILE_SECONDS)
            self._detach()
        if self.stage not in ("start", "stop"):
            self._outcome(life)
        if self.stage != "stop" and not self._is("ever"):
            self._more_lines(life)
        code = life.stop()
        self._detach()
        self._judge(life, code)

    def _is(self, length: str) -> bool:
        return self.injection is not None and self.injection.length == length

    def _attach(self, pid: int) -> None:
        words = self.injection.words if self.injection else ["-e", "trace=all"]
        self.tracer = Tracer(pid, self.log, words)

    def _detach(self) -> None:
        if self.tracer is not None:
            self.tracer.detach()
            self.tracer = None

    def _refuses(self, life: Run) -> bool:
        """Whether it refuses to start, as it may at the very start: with 71, and words."""
        life.until(
            lambda: b"| alpha " in life.out or _TRYING in life.err or life.process.poll() is not None,
            "lines, or an end",
        )
        if life.process.poll() is None:
            return False
        code = life.wait()
        if code == REFUSED and life.text.strip() and "Traceback" not in life.text:
            return True
        self._explain(life, f"ended at the start with {code}")
        return True

    def _until_it_runs(self, life: Run) -> None:
        for name in ("alpha", "beta"):
            life.until_printed(f"| {name} ")
        if self.stage != "start":
            life.until_printed("alpha: ready")

    def _middle(self, life: Run) -> None:
        for one in life.below("writer.py"):
            if " alpha " in one.command:
                os.kill(one.pid, signal.SIGKILL)
        for _ in range(3):
            self._ask("status")

    def _reload(self, life: Run) -> None:
        what = services(self.directory, rich=self.rich)
        what["delta"] = {
            "command": _writer("delta", 5),
            "restart": "always",
            "sockets": [f"{self.directory}/delta.sock"],
        }
        what["gamma"]["environment"] = {"CHANGED": "yes"}
        self._write(what)
        life.signal(_SIGNALS["reload"])

    @staticmethod
    def _reexec(life: Run) -> None:
        life.signal(_SIGNALS["reexec"])

    def _error(self, life: Run) -> None:
        del life
        os.write(self.gates[0], b"\n")

    def _outcome(self, life: Run) -> None:
        """What the stage was for has been done, or refused in words.

        A signal that strace had in hand when it let go of the process is lost; then it is sent once more.
        """
        words = {
            "middle": ("alpha: started, pid",),
            "reload": ("delta: started", "cannot reload"),
            "reexec": ("re-executed, version", "cannot re-execute"),
            "error": ("RuntimeError: planted",),
        }[self.stage]
        times = 2 if self.stage == "middle" else 1
        if not self._is("ever"):

            def done() -> bool:
                return any(life.text.count(word) >= times for word in words)

            soon = time.monotonic() + _WHILE_SECONDS
            life.until(lambda: done() or time.monotonic() > soon, "the outcome, or so long")
            if not done() and self._is("while") and self.stage in _SIGNALS:
                life.signal(_SIGNALS[self.stage])
            life.until(done, f"one of {words}")
            life.until(lambda: self._ask("health").startswith((b"0 ", b"1 ")), "an answer")

    def _ask(self, request: str) -> bytes:
        """The first bytes of an answer, b"" for none."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2.0)
            try:
                client.connect(f"{self.directory}/run/control")
                client.sendall(f"cohabit/2 {request}\n".encode())
                return client.recv(100)
            except OSError:
                return b""

    @staticmethod
    def _more_lines(life: Run, at_most: float = 1e12) -> None:
        before = life.out.count(b"\n")
        life.until(lambda: life.out.count(b"\n") >= before + _MORE or time.monotonic() > at_most, f"{_MORE} more lines")

    # --- the verdict -----------------------------------------------------------------------------------

    def _judge(self, life: Run, code: int) -> None:
        allowed = {0}
        if self._is("ever") and (self.stage == "start" or any(text in life.text for text in _NO_ROOM)):
            allowed.add(REFUSED)
        if "killing" in life.text:
            allowed.add(137)
        if code not in allowed:
            self._explain(life, f"ended with {code}")
        if life.text.count("an internal error") != (self.stage == "error"):
            self._explain(life, "an internal error of ours")
        if not self.process_1 and (
            left := [one for one in processes.descendants(life.process.pid) if one.state != "Z"]
        ):
            self._explain(life, f"left behind: {left}")
        if code != REFUSED:
            for problem in self._wrong_in_files():
                self._explain(life, problem)
            for problem in lost_lines(life, killed="alpha" if self.stage == "middle" else ""):
                self._explain(life, problem)

    def _wrong_in_files(self) -> list[str]:
        """The log files of beta hold each of its lines once; of a file and its compressed copy, only one is there."""
        names = [name for name in os.listdir(self.directory) if name.startswith("beta.log")]
        twice = sorted(name for name in names if name + ".gz" in names)
        left = sorted(name for name in names if name.endswith(".compressing"))
        if (twice or left) and not self._is("ever"):
            return [f"beside each other: {twice}, left over: {left}"]
        lines: Counter[str] = Counter()
        for name in names:
            if name not in left and not (name.endswith(".gz") and name.removesuffix(".gz") in names):
                with open(os.path.join(self.directory, name), "rb") as file:
                    data = file.read()
                lines.update((gzip.decompress(data) if name.endswith(".gz") else data).decode().splitlines())
        problems = [f"{line!r} is {count} times in the log files" for line, count in lines.items() if count > 1]
        last: dict[str, int] = {}
        for line in lines:
            if found := _LINE.search(line):
                last[found[2]] = max(last.get(found[2], 0), int(found[4]) + (not found[3]))
        for pid, count in last.items():
            missing = [number for number in range(count) if f"beta {pid} {number}" not in lines]
            problems += [f"beta {pid}: {missing[:3]} are not in the log files"] if missing else []
        return problems

    @staticmethod
    def _explain(life: Run, what: str) -> None:
        code = life.process.poll()
        if code in _NO_PROGRAM and any(text in life.text for text in _BEYOND_US):
            raise BeyondUsError(f"{what}\n{life}")
        raise FailureError(f"{what}\n{life}")


def lost_lines(life: Run, killed: str = "") -> list[str]:
    """Each line of each writer has to be there once and in order, to the one that says how many there were.

    killed: of whom the first process had no time for that one.
    """
    numbers: dict[tuple[str, str], int] = Counter()
    ended: set[tuple[str, str]] = set()
    problems = []
    for raw in bytes(life.out).split(b"\n"):
        _, bar, line = raw.decode("utf-8", "replace").partition("| ")
        found = _LINE.search(line) if bar else None
        if found is None:
            continue
        key = (found[1], found[2])
        if int(found[4]) != numbers[key] or key in ended:
            problems.append(f"{line!r} came where number {numbers[key]} was due")
        numbers[key] = int(found[4]) + 1
        if found[3]:
            ended.add(key)
    last = {
        name: max((pid for other, pid in numbers if other == name), key=int) for name in {key[0] for key in numbers}
    }
    for name, pid in last.items():
        alone = sum(other == name for other, _ in numbers) == 1
        if (name, pid) not in ended and not (name == killed and alone):
            problems.append(f"{name} {pid}: its last line is missing")
    return problems[:3]


def profile(stage: str, mode: str) -> tuple[Counter[str], Counter[str]]:
    """How often process 1 makes each call at a stage; and, at a start, how often before our first line."""
    story = Story(None, stage, mode)
    try:
        story.run()
        calls = calls_in(story.log)
        before: Counter[str] = Counter()
        if stage == "start":
            with open(story.log, encoding="utf-8", errors="replace") as file:
                lines = file.readlines()
            ours = next((at for at, line in enumerate(lines) if "cohabit/cli" in line), 0)
            before.update(calls[:ours])
        return Counter(calls), before
    finally:
        story.close()


def one(seed: int, profiles: Profiles) -> tuple[str, str]:
    """Run one seed: (what was injected, what went wrong or "")."""
    rng = random.Random(seed)  # noqa: S311 - it has to be the same again
    injection = choose(rng, profiles)
    return str(injection), replay(injection)


def replay(injection: Injection) -> str:
    """Run one injection; returns what went wrong, "" for nothing, and words that begin with "beyond us"."""
    story = Story(injection, injection.stage, injection.mode)
    try:
        story.run()
    except FailureError as error:
        return str(error)
    except BeyondUsError as error:
        return f"beyond us: {error}"
    finally:
        story.close()
    return ""
