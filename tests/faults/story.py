"""One run: `cohabit up` with services whose every line is known, a stage, a system call that fails there, checks.

The stages: start; middle (a service is killed, clients send requests); reload (of a changed file); reexec (by request);
error (an internal error, which re-executes process 1); stop. After the stage the container has to continue, to answer,
and to stop in order, with every line of every service written once and without processes left behind.
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
_MORE_LINES = 40  # lines that show that the container continues
# Errors of the C library and the interpreter for lack of memory, between an exec and the first line of cohabit's code.
_INTERPRETER_ERRORS = (
    "error while loading shared libraries",
    "can't open file",
    "Fatal Python error",
    "cannot allocate memory in static TLS",
)
# Texts of a stop that could not be carried out in order for lack of memory or descriptors.
_NO_ROOM = ("no room to read our own modules", "cannot continue: ")
_INTERPRETER_CODES = (1, 2, 127, 139, 134)


class FailureError(Exception):
    """What is wrong."""


class NoInterpreterError(Exception):
    """The interpreter could not start after an exec."""


def _writer(name: str, pause_ms: int) -> list[str]:
    return [sys.executable, "-I", "-S", f"{HERE}/writer.py", name, str(pause_ms)]


def services(directory: str, *, rich: bool) -> dict[str, dict[str, object]]:
    """The services: two writers (one also into a rotated file), one that crashes; with probes, hooks and a socket.

    rich: also multiline records, readiness by log and by descriptor, and a schedule.
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
        "gamma": {
            "command": shell("sleep 0.2; exit 3"),
            "restart": "always",
            "essential": False,
            "post_stop": [{"command": ["true"]}],
        },
        "trigger": {"command": shell(f"read x < {directory}/gate; exit 0"), "essential": False},
    }


def _rich() -> dict[str, dict[str, object]]:
    options = {"driver": "prefix", "options": {"multiline-pattern": "^joined "}}
    quiet = {"essential": False, "restart": "always"}
    return {
        "joined": {"command": _writer("joined", 8), "logging": options, "restart": "always"},
        "says": {"command": shell("echo up; exec sleep 1000"), "healthcheck": {"test": ["LOG", "up"]}, **quiet},
        "writes": {"command": shell("echo >&7; exec sleep 1000"), "healthcheck": {"test": ["FD", "7"]}, **quiet},
        "job": {"command": ["true"], "schedule": "0 0 1 1 *"},
    }


class Scenario:
    """One run in its own directory."""

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
        """Remove the directory."""
        for gate in self.gates:
            os.close(gate)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _write(self, what: dict[str, dict[str, object]]) -> None:
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(json.dumps({"services": what}).replace("$", "$$"))

    def run(self) -> None:
        """Raises FailureError."""
        arguments = list(COHABIT)
        if self.stage == "error":
            arguments = program("driver.py", os.path.join(REPOSITORY, "src"), "step-before:Exited")
        setup = f"read x < {self.directory}/begin" if self.stage == "start" else ""
        environment = {"COHABIT_RUNTIME_DIR": f"{self.directory}/run"}
        with Run(
            *arguments,
            "up",
            "-f",
            self.file,
            process_1=self.process_1,
            environment=environment,
            cwd=self.directory,
            setup=setup,
        ) as run:
            try:
                self._run_stages(run)
            except AssertionError as error:
                self._explain(run, str(error))
            finally:
                if self.tracer is not None:
                    self.tracer.detach()
                    self.tracer = None

    # --- stages ----------------------------------------------------------------------------------------

    def _run_stages(self, run: Run) -> None:
        if self.stage == "start":
            self._attach(run.process_1().pid)
            os.write(self.gates[1], b"\n")
            if self._refuses(run):
                return
            if self._is("while"):
                self._detach()
        if not (self.stage == "start" and self._is("ever")):
            self._wait_until_running(run)
        if self.stage not in ("start", "stop"):
            self._attach(run.pid)
            getattr(self, f"_{self.stage}")(run)
        elif self.stage == "stop":
            self._attach(run.pid)
        if self._is("while") and self.tracer is not None:
            self._more_lines(run, time.monotonic() + _WHILE_SECONDS)
            self._detach()
        if self.stage not in ("start", "stop"):
            self._outcome(run)
        if self.stage != "stop" and not self._is("ever"):
            self._more_lines(run)
        code = run.stop()
        self._detach()
        self._check(run, code)

    def _is(self, length: str) -> bool:
        return self.injection is not None and self.injection.length == length

    def _attach(self, pid: int) -> None:
        options = self.injection.options if self.injection else ["-e", "trace=all"]
        self.tracer = Tracer(pid, self.log, options)

    def _detach(self) -> None:
        if self.tracer is not None:
            self.tracer.detach()
            self.tracer = None

    def _refuses(self, run: Run) -> bool:
        """Whether it refuses to start with code 71 and a message, which is allowed at the start."""
        run.until(
            lambda: b"| alpha " in run.out or _TRYING in run.err or run.process.poll() is not None,
            "lines, or the end",
        )
        if run.process.poll() is None:
            return False
        code = run.wait()
        if code == REFUSED and run.text.strip() and "Traceback" not in run.text:
            return True
        self._explain(run, f"ended during the start with {code}")
        return True

    def _wait_until_running(self, run: Run) -> None:
        for name in ("alpha", "beta"):
            run.until_printed(f"| {name} ")
        if self.stage != "start":
            run.until_printed("alpha: ready")

    def _middle(self, run: Run) -> None:
        for one in run.below("writer.py"):
            if " alpha " in one.command:
                os.kill(one.pid, signal.SIGKILL)
        for _ in range(3):
            self._request("status")

    def _reload(self, run: Run) -> None:
        what = services(self.directory, rich=self.rich)
        what["delta"] = {
            "command": _writer("delta", 5),
            "restart": "always",
            "sockets": [f"{self.directory}/delta.sock"],
        }
        what["gamma"]["environment"] = {"CHANGED": "yes"}
        self._write(what)
        run.signal(_SIGNALS["reload"])

    @staticmethod
    def _reexec(run: Run) -> None:
        run.signal(_SIGNALS["reexec"])

    def _error(self, run: Run) -> None:
        del run
        os.write(self.gates[0], b"\n")

    def _outcome(self, run: Run) -> None:
        """Wait until the request of the stage has been carried out, or refused with a message.

        A signal that strace holds when it detaches is lost and is sent again.
        """
        texts = {
            "middle": ("alpha: started, pid",),
            "reload": ("delta: started", "cannot reload"),
            "reexec": ("re-executed, version", "cannot re-execute"),
            "error": ("RuntimeError: planted",),
        }[self.stage]
        times = 2 if self.stage == "middle" else 1
        if not self._is("ever"):

            def done() -> bool:
                return any(run.text.count(text) >= times for text in texts)

            soon = time.monotonic() + _WHILE_SECONDS
            run.until(lambda: done() or time.monotonic() > soon, "the outcome, or the time limit")
            if not done() and self._is("while") and self.stage in _SIGNALS:
                run.signal(_SIGNALS[self.stage])
            run.until(done, f"one of {texts}")
            run.until(lambda: self._request("health").startswith((b"0 ", b"1 ")), "an answer")

    def _request(self, request: str) -> bytes:
        """Return the first bytes of the answer, b"" for none."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2.0)
            try:
                client.connect(f"{self.directory}/run/control")
                client.sendall(f"cohabit/2 {request}\n".encode())
                return client.recv(100)
            except OSError:
                return b""

    @staticmethod
    def _more_lines(run: Run, at_most: float = 1e12) -> None:
        before = run.out.count(b"\n")
        run.until(
            lambda: run.out.count(b"\n") >= before + _MORE_LINES or time.monotonic() > at_most,
            f"{_MORE_LINES} more lines",
        )

    # --- checks ----------------------------------------------------------------------------------------

    def _check(self, run: Run, code: int) -> None:
        allowed = {0}
        if self._is("ever") and (self.stage == "start" or any(text in run.text for text in _NO_ROOM)):
            allowed.add(REFUSED)
        if "killing" in run.text:
            allowed.add(137)
        if code not in allowed:
            self._explain(run, f"ended with {code}")
        if run.text.count("an internal error") != (self.stage == "error"):
            self._explain(run, "internal errors: not the expected number")
        if not self.process_1 and (left := [one for one in processes.descendants(run.process.pid) if one.state != "Z"]):
            self._explain(run, f"left behind: {left}")
        if code != REFUSED:
            for problem in self._wrong_in_files():
                self._explain(run, problem)
            for problem in lost_lines(run, killed="alpha" if self.stage == "middle" else ""):
                self._explain(run, problem)

    def _wrong_in_files(self) -> list[str]:
        """Problems in the log files of beta: lost or repeated lines, a file beside its compressed copy, left files."""
        names = [name for name in os.listdir(self.directory) if name.startswith("beta.log")]
        twice = sorted(name for name in names if name + ".gz" in names)
        left = sorted(name for name in names if name.endswith(".compressing"))
        if (twice or left) and not self._is("ever"):
            return [f"with compressed copy: {twice}, left: {left}"]
        lines: Counter[str] = Counter()
        for name in names:
            if name not in left and not (name.endswith(".gz") and name.removesuffix(".gz") in names):
                with open(os.path.join(self.directory, name), "rb") as file:
                    data = file.read()
                lines.update((gzip.decompress(data) if name.endswith(".gz") else data).decode().splitlines())
        problems = [f"{line!r} is in the log files {count} times" for line, count in lines.items() if count > 1]
        last: dict[str, int] = {}
        for line in lines:
            if found := _LINE.search(line):
                last[found[2]] = max(last.get(found[2], 0), int(found[4]) + (not found[3]))
        for pid, count in last.items():
            missing = [number for number in range(count) if f"beta {pid} {number}" not in lines]
            problems += [f"beta {pid}: {missing[:3]} are not in the log files"] if missing else []
        return problems

    @staticmethod
    def _explain(run: Run, what: str) -> None:
        code = run.process.poll()
        if code in _INTERPRETER_CODES and any(text in run.text for text in _INTERPRETER_ERRORS):
            raise NoInterpreterError(f"{what}\n{run}")
        raise FailureError(f"{what}\n{run}")


def lost_lines(run: Run, killed: str = "") -> list[str]:
    """Problems in the output: each line of each writer must be there once and in order, up to its last line.

    killed: the service whose first process was killed before its last line.
    """
    numbers: dict[tuple[str, str], int] = Counter()
    ended: set[tuple[str, str]] = set()
    problems = []
    for raw in bytes(run.out).split(b"\n"):
        _, bar, line = raw.decode("utf-8", "replace").partition("| ")
        found = _LINE.search(line) if bar else None
        if found is None:
            continue
        key = (found[1], found[2])
        if int(found[4]) != numbers[key] or key in ended:
            problems.append(f"{line!r} came in place of number {numbers[key]}")
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
    """Count the calls of process 1 at a stage; and, for a start, those before the first line of cohabit's code."""
    scenario = Scenario(None, stage, mode)
    try:
        scenario.run()
        calls = calls_in(scenario.log)
        before: Counter[str] = Counter()
        if stage == "start":
            with open(scenario.log, encoding="utf-8", errors="replace") as file:
                lines = file.readlines()
            ours = next((at for at, line in enumerate(lines) if "cohabit/cli" in line), 0)
            before.update(calls[:ours])
        return Counter(calls), before
    finally:
        scenario.close()


def one(seed: int, profiles: Profiles) -> tuple[str, str]:
    """Run one seed; return the injection and what is wrong, "" for nothing."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    injection = choose(rng, profiles)
    return str(injection), replay(injection)


def replay(injection: Injection) -> str:
    """Run one injection; return what is wrong, "" for nothing. A failed interpreter: "no interpreter: …"."""
    scenario = Scenario(injection, injection.stage, injection.mode)
    try:
        scenario.run()
    except FailureError as error:
        return str(error)
    except NoInterpreterError as error:
        return f"no interpreter: {error}"
    finally:
        scenario.close()
    return ""
