"""Watch and end process trees through /proc.

This module knows Linux and nothing of the measured tools. The bench is a child subreaper: a process that a tool leaves
becomes its child, and `sweep` kills it before the next measurement. Polling is the same for every tool, so that its
cost has little effect on the ratios.
"""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.0005
SWEEP_SECONDS = 30.0


class MeasurementError(Exception):
    """A tool did not do in time what was to be measured."""


def become_subreaper() -> None:
    """Become the child subreaper of all descendants."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become child subreaper")


def _read(path: str) -> str:
    """Return a /proc file's text, "" if its process has ended."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def comm(pid: int) -> str:
    """Return the name of the program that a process executes, "" if it has ended."""
    return _read(f"/proc/{pid}/comm").rstrip("\n")


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, reaped or not."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2][:2] in ("", " Z")


def children(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()]


def tree(root: int, leaves: frozenset[int] = frozenset()) -> list[int]:
    """Return a process and its descendants, parents first, without the descendants of `leaves`."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        if pid not in leaves:
            waiting.extend(children(pid))
    return found


def memory_kib(pids: Sequence[int]) -> tuple[int, int]:
    """Return the summed RSS and PSS, in KiB, of some processes."""
    rss = pss = 0
    for pid in pids:
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            key, _, value = line.partition(":")
            if key == "Rss":
                rss += int(value.split()[0])
            elif key == "Pss":
                pss += int(value.split()[0])
    return rss, pss


def context_switches(pids: Sequence[int]) -> int:
    """Return the voluntary and involuntary context switches of all threads of some processes so far."""
    total = 0
    for pid in pids:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            for line in _read(f"/proc/{pid}/task/{thread}/status").splitlines():
                if "ctxt_switches" in line:
                    total += int(line.split()[1])
    return total


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time of some processes so far, user and system, in seconds."""
    ticks = 0
    for pid in pids:
        if words := _read(f"/proc/{pid}/stat").rpartition(")")[2].split():
            ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@dataclass
class ServiceWatch:
    """The services of one tool: the processes below it whose program is called `program`."""

    root: int
    program: str
    known: frozenset[int] = field(default_factory=frozenset)

    def alive(self) -> frozenset[int]:
        """Return the pids of the services that are executing."""
        below = tree(self.root, self.known)[1:]
        self.known = frozenset(pid for pid in below if pid in self.known or comm(pid) == self.program)
        return self.known

    def supervisors(self) -> list[int]:
        """Return the pids of the tool and its descendants, without the services."""
        services = self.alive()
        return [pid for pid in tree(self.root, services) if pid not in services]


def until(done: Callable[[], bool], seconds: float, what: str, poll_seconds: float = POLL_SECONDS) -> float:
    """Wait until done() is true; return the monotonic time of that. Raises MeasurementError after `seconds`."""
    give_up = time.monotonic() + seconds
    while not done():
        if time.monotonic() > give_up:
            raise MeasurementError(f"{what}: not within {seconds:g} s")
        time.sleep(poll_seconds)
    return time.monotonic()


def launch(
    argv: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    stdout: int | IO[bytes],
    stderr: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a tool in its own session. stderr: default stderr.log in its folder."""
    with open(os.path.join(folder, "stderr.log"), "ab") as log:
        return subprocess.Popen(
            argv,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=log if stderr is None else stderr,
            start_new_session=True,
        )


def run_once(argv: list[str], environment: Mapping[str, str] | None = None) -> float:
    """Run a command without its output; return its milliseconds. Raises MeasurementError unless it exits with 0.

    No Python runs between fork and exec. environment: variables to add.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    ]
    variables = {**os.environ, **(environment or {})}
    begin = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, variables, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    milliseconds = (time.perf_counter() - begin) * 1000
    if status != 0:
        raise MeasurementError(f"ended with {os.waitstatus_to_exitcode(status)}")
    return milliseconds


def wait_gone(process: subprocess.Popen[bytes], seconds: float, what: str) -> float:
    """Wait until a child has ended; return the monotonic time of that. Raises MeasurementError after `seconds`."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"{what}: not within {seconds:g} s") from None
    return time.monotonic()


def sweep() -> None:
    """Kill all descendants, parents first, and reap them."""
    give_up = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < give_up:
        below = [pid for pid in tree(os.getpid())[1:] if not is_gone(pid)]
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)
    raise MeasurementError(f"cannot kill processes that a tool left: {tree(os.getpid())[1:]}")
