"""Check which signals process 1 sends and to which processes, with strace from outside, where it is installed.

Process 1 names processes by their pids in its own namespace. Each scan of /proc records the owner of each pid. Pids are
not reused within a scenario, because the namespace has far more pids than the scenario has processes.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable

from linux import processes
from linux.ownership_shapes import OUTSIDE, PROBE, Token
from linux.run import Run

_CALLS = "kill,tkill,tgkill,pidfd_open,pidfd_send_signal,close"
_KILL = re.compile(r"(?:kill|tkill)\((-?\d+), (\w+)\) += 0")
_OPEN = re.compile(r"pidfd_open\((\d+), \w+\) += (\d+)")
_SEND = re.compile(r"pidfd_send_signal\((\d+), (\w+),.*\) += 0")
_CLOSE = re.compile(r"close\((\d+)\)")
_HOOK = 200
_SERVICES = 100


def available() -> bool:
    """Whether strace is installed."""
    return shutil.which("strace") is not None


class Trace:
    """The signals of one run."""

    def __init__(self, run: Run) -> None:
        self._file = tempfile.NamedTemporaryFile("r")  # noqa: SIM115 - closed in close()
        self._strace = subprocess.Popen(
            ["strace", "-q", "-e", f"trace={_CALLS}", "-e", "signal=none", "-o", self._file.name, "-p", str(run.pid)],
            stderr=subprocess.DEVNULL,
        )
        run.until(lambda: processes.status(run.pid, "TracerPid") != "0", "strace")
        self._owners: dict[int, Token] = {}  # by pid in the namespace
        self._groups: dict[int, set[int]] = {}  # process group -> owners
        self._known: set[int] = set()
        self._descriptors: dict[int, int] = {}
        self._before: set[int] = set()
        self._rest = ""
        self.signals = 0

    def close(self) -> None:
        """End the trace."""
        self._strace.terminate()
        self._strace.wait()
        self._file.close()

    def learn(self, pid: int, one: Token) -> None:
        """Remember the owner of a pid."""
        if pid in self._known:
            return
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:  # it has ended meanwhile
            return
        numbers = dict(line.split(":", 1) for line in text.splitlines() if line.startswith(("NSpid", "NSpgid")))
        self._known.add(pid)
        self._owners[int(numbers["NSpid"].split()[-1])] = one
        self._groups.setdefault(int(numbers["NSpgid"].split()[-1]), set()).add(one.owner)

    def check(self, disturbed: set[int], fail: Callable[[str], None]) -> None:
        """Fail if a signal was sent to a service that was affected neither by this operation nor by the last one."""
        lines = (self._rest + self._file.read()).split("\n")
        self._rest = lines.pop()
        allowed = disturbed | self._before
        self._before = set(disturbed)
        for line in lines:
            for number in self._targets(line):
                owners = {self._owners[number].owner} if number in self._owners else set()
                owners = self._groups.get(-number, set()) if number < 0 else owners
                self.signals += bool(owners)
                for owner in owners:
                    if owner == OUTSIDE or (owner % _SERVICES not in allowed and not PROBE <= owner < _HOOK):
                        fail(f"a signal was sent to a process of owner {owner}: {line}")

    def _targets(self, line: str) -> list[int]:
        if found := _KILL.search(line):
            return [int(found[1])]
        if found := _OPEN.search(line):
            self._descriptors[int(found[2])] = int(found[1])
        elif found := _CLOSE.search(line):
            self._descriptors.pop(int(found[1]), None)
        elif found := _SEND.search(line):
            return [self._descriptors.get(int(found[1]), 0)]
        return []
