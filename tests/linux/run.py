"""One run of cohabit in its own PID and mount namespaces, controlled and observed from outside.

No function sleeps for a fixed time. `until` waits for a condition, wakes at each byte of output, and fails after
AT_MOST_SECONDS with all output so far. Closing a Run ends its namespace and all processes in it.
"""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import IO, Any, Final, Self

from linux import processes
from linux.processes import Process

REPOSITORY: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAIN: Final = os.path.join(REPOSITORY, "src", "cohabit", "__main__.py")
PROGRAMS: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")

AT_MOST_SECONDS: Final = 60.0  # far longer than any step takes; a passing test never waits that long
_POLL_MS: Final = 5  # for conditions without a descriptor: files and /proc

COHABIT: Final = (sys.executable, "-I", "-S", MAIN)
NAMESPACES: Final = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--")
# A shell that prepares the namespace, and each of its children before its exec, has cohabit's words among its own.
_IS_COHABIT: Final = re.compile(
    r"\S*python\S* (-X \S+ |-\S+ )*\S*/(__main__\.py|driver\.py|round_trip\.py|bin/cohabit)( |$)"
)


def program(name: str, *arguments: str) -> list[str]:
    """Return the command line of a program in programs/."""
    return [sys.executable, "-I", "-S", os.path.join(PROGRAMS, name), *arguments]


def shell(script: str) -> list[str]:
    """Return the command line of a shell script."""
    return ["sh", "-c", script]


def write_file(directory: str, services: Mapping[str, Mapping[str, Any]], **top: object) -> str:
    """Write a cohabit.yaml (JSON is valid YAML) whose commands contain no variables; returns its path."""
    path = os.path.join(directory, "cohabit.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps({"services": services, **top}).replace("$", "$$"))
    return path


# cohabit's line at the end of the start: a test that waits for "ready" means the program that prints it.
_READY_LINE: Final = re.compile(rb"^(?:\x1b\[\d*m)?cohabit *\| [^\n]*\bready after [^\n]*$", re.MULTILINE)


class Run:
    """A command in its own namespaces, usually cohabit. Use it as a context.

    above: a command line before it, which execs it. process_1: it is process 1 of its namespace, else a child of
    process 1. setup: a shell script that prepares the namespace. terminal: a new terminal is its stdin, stdout and
    stderr; it becomes the controlling terminal if the command makes it so (`setsid --ctty`). stdin, stdout, stderr: as
    in subprocess; only pipes are read here.
    """

    def __init__(
        self,
        *command: str,
        above: tuple[str, ...] = (),
        process_1: bool = True,
        setup: str = "",
        environment: Mapping[str, str] | None = None,
        terminal: bool = False,
        **options: Any,
    ) -> None:
        arguments = [*above, *command]
        if not process_1:
            arguments = program("above.py", *arguments)
        if setup:
            arguments = ["sh", "-euc", f'{setup}\nexec "$@"', "sh", *arguments]
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        master, slave = os.openpty() if terminal else (-1, -1)
        if terminal:
            options.update(stdin=slave, stdout=slave, stderr=slave)
        inherited = {"PATH": os.environ["PATH"], "HOME": "/", "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen([*NAMESPACES, *arguments], env={**inherited, **(environment or {})}, **options)
        if terminal:
            os.close(slave)
        self.terminal = open(master, "r+b", buffering=0) if terminal else None  # noqa: SIM115 - closed in __exit__
        self.out = bytearray()
        self.err = bytearray()
        self._pid = 0
        self._read: dict[int, tuple[IO[bytes], bytearray]] = {}
        self._poll = select.poll()
        for file, buffer in ((self.process.stdout or self.terminal, self.out), (self.process.stderr, self.err)):
            if file is not None:
                os.set_blocking(file.fileno(), False)
                self._read[file.fileno()] = (file, buffer)
                self._poll.register(file, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Kill process 1 and with it the namespace. --kill-child is not enough, because a change of the user resets it.
        for child in processes.children(self.process.pid) if self.process.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):  # it may have ended meanwhile
                os.kill(child.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr, self.terminal):
            if file is not None and not file.closed:
                file.close()

    # --- waiting -----------------------------------------------------------------------------------

    def until(self, true: Callable[[], object], what: str) -> None:
        """Wait until `true()` holds; meanwhile read the output. A look that takes long is repeated less often."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        began = time.monotonic()
        while not true():
            ended = time.monotonic()
            assert ended < deadline, f"waited in vain: {what}\n{self}"
            self._take(max(_POLL_MS, int(2000 * (ended - began))))
            began = time.monotonic()

    def until_printed(self, text: str, times: int = 1) -> None:
        """Wait until stdout and stderr together contain `text` this many times."""
        wanted = text.encode()

        def there() -> bool:
            if sum(_count(buffer, wanted) for buffer in (self.out, self.err)) >= times:
                return True
            assert self._read, f"ended without {text!r}\n{self}"
            return False

        self.until(there, f"{text!r}, {times} times")

    def until_written(self, path: str, times: int = 1) -> list[str]:
        """Wait until a file has this many lines; returns them."""
        self.until(lambda: len(lines_of(path)) >= times, f"{times} lines in {path}")
        return lines_of(path)

    def wait(self) -> int:
        """Wait for the end and read all output; returns the exit code as a shell shows it."""
        self.until(lambda: self.process.poll() is not None, "its end")
        while self._read:
            self._take(-1)
        code = self.process.returncode
        return code if code >= 0 else 128 - code

    def stop(self, number: int = 15) -> int:
        """Send a signal and wait for the end."""
        self.signal(number)
        return self.wait()

    def _take(self, at_most_ms: int) -> None:
        if not self._read:
            select.select([], [], [], at_most_ms / 1000)
        for fd, _ in self._poll.poll(at_most_ms) if self._read else []:
            file, buffer = self._read[fd]
            try:
                data = os.read(fd, 1 << 20)
            except OSError:  # a terminal reports this when no process has its other end open
                data = b""
            if data:
                buffer += data
            else:
                self._poll.unregister(fd)
                del self._read[fd]
                file.close()

    def type(self, text: str) -> None:
        """Type into the terminal."""
        assert self.terminal
        self.terminal.write(text.encode())

    def foreground(self) -> int:
        """Return the terminal's foreground process group, as seen from outside."""
        assert self.terminal
        return os.tcgetpgrp(self.terminal.fileno())

    # --- processes ---------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The pid of cohabit, seen from outside."""
        if not self._pid:
            self.until(self._find, "cohabit to be started")
        return self._pid

    def process_1(self) -> Process:
        """Return process 1 of the namespace."""
        self.until(lambda: processes.children(self.process.pid), "process 1")
        return processes.children(self.process.pid)[0]

    def _find(self) -> bool:
        below = processes.descendants(self.process.pid)
        assert below or self.process.poll() is None, f"ended before it was found\n{self}"
        self._pid = next((one.pid for one in below if _IS_COHABIT.match(one.command)), 0)  # those above come first
        return bool(self._pid)

    def signal(self, number: int) -> None:
        """Send cohabit a signal."""
        os.kill(self.pid, number)

    def below(self, text: str = "") -> list[Process]:
        """Return cohabit's descendants: all, or those whose command line is `text` or begins with a path to it."""
        return [
            process
            for process in processes.descendants(self.pid)
            if not text or process.command == text or f"/{text}" in process.command
        ]

    def one(self, text: str) -> Process:
        """Wait until exactly one descendant has this command line (see below); returns it."""
        self.until(lambda: len(self.below(text)) == 1, f"one process {text!r}")
        return self.below(text)[0]

    def zombies(self) -> list[Process]:
        """Return the zombies."""
        return [process for process in processes.descendants(self.process.pid) if process.state == "Z"]

    # --- output ------------------------------------------------------------------------------------

    def lines(self, name: str, stream: str = "both") -> list[str]:
        """Return the lines with a service's name, without their prefix, stdout before stderr."""
        data = {"out": bytes(self.out), "err": bytes(self.err), "both": bytes(self.out + self.err)}[stream]
        line = re.compile(rb"^%s *\| ?(.*)$" % re.escape(name.encode()), re.MULTILINE)
        return [text.decode("utf-8", "replace") for text in line.findall(data)]

    @property
    def text(self) -> str:
        """All output, stdout before stderr."""
        return (self.out + self.err).decode("utf-8", "replace")

    def __str__(self) -> str:
        out, err = self.out[-4000:].decode("utf-8", "replace"), self.err[-4000:].decode("utf-8", "replace")
        return f"--- stdout\n{out}\n--- stderr\n{err}\n--- exit code {self.process.poll()}"


def _count(printed: bytearray, wanted: bytes) -> int:
    if b"ready" in wanted and b"ready after" not in wanted:
        return _READY_LINE.sub(b"", printed).count(wanted)
    return printed.count(wanted)


def lines_of(path: str) -> list[str]:
    """Return the whole lines of a file; empty if the file does not exist."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line[:-1] for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []
