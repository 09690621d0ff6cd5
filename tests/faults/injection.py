"""System calls of process 1 that fail: chosen by a seed, injected by strace(1).

Only errors that the kernel returns for a call are injected, and only into calls that process 1 makes at that stage;
`profile` counts these. strace follows process 1 through its re-executions, and none of its children.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_SHORTAGE = ("EMFILE", "ENFILE", "ENOMEM")
# Errors that the kernel's sources and the manual pages name for each call. read(2) and write(2) of pipes, close(2), and
# calls that need no memory (kill, fcntl, dup) have none. EIO: of a disk, or of a file in /proc that cannot be read.
ERRORS: dict[str, tuple[str, ...]] = {
    "accept4": (*_SHORTAGE, "ENOBUFS"),
    "bind": ("ENOMEM", "EADDRINUSE"),
    "chmod": ("EIO", "ENOMEM"),
    "clone": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "connect": ("ENOMEM", "ENOBUFS", "EAGAIN"),
    "epoll_create1": _SHORTAGE,
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "execve": ("ENOMEM", "EMFILE", "ENFILE", "EIO", "EAGAIN"),
    "fchmod": ("EIO", "ENOMEM"),
    "fchown": ("EIO", "ENOMEM"),
    "fork": ("EAGAIN", "ENOMEM"),
    "getdents64": ("EIO", "ENOMEM"),
    "getsockopt": ("ENOBUFS", "ENOMEM"),
    "listen": ("ENOMEM", "EADDRINUSE"),
    "lstat": ("EIO", "ENOMEM"),
    "memfd_create": _SHORTAGE,
    "mkdir": ("ENOSPC", "EIO", "ENOMEM"),
    "mmap": ("ENOMEM",),
    "mremap": ("ENOMEM",),
    "newfstatat": ("EIO", "ENOMEM"),
    "open": (*_SHORTAGE, "EIO"),
    "openat": (*_SHORTAGE, "EIO"),
    "openat2": (*_SHORTAGE, "EIO", "EAGAIN"),
    "pipe2": ("EMFILE", "ENFILE"),
    "poll": ("ENOMEM",),
    "readlink": ("EIO", "ENOMEM"),
    "readlinkat": ("EIO", "ENOMEM"),
    "recvmsg": ("ENOMEM", "ENOBUFS"),
    "rename": ("ENOSPC", "EIO", "ENOMEM"),
    "renameat": ("ENOSPC", "EIO", "ENOMEM"),
    "rmdir": ("EIO", "ENOMEM"),
    "sendto": ("ENOBUFS", "ENOMEM", "EAGAIN"),
    "setsockopt": ("ENOMEM", "ENOBUFS"),
    "signalfd4": _SHORTAGE,
    "socket": (*_SHORTAGE, "ENOBUFS"),
    "splice": ("ENOMEM",),
    "stat": ("EIO", "ENOMEM"),
    "unlink": ("EIO", "ENOMEM"),
    "unlinkat": ("EIO", "ENOMEM"),
    "vfork": ("EAGAIN", "ENOMEM"),
    "writev": ("ENOMEM", "ENOBUFS"),
}
STAGES = ("start", "middle", "reload", "reexec", "error", "stop")
LENGTHS = ("once", "burst", "while", "ever")  # one call; ten in a row; until strace is detached; until the end
# plain: four services; rich: also side programs (clock, matchers); child: as plain, but not as process 1.
MODES = ("plain", "rich", "child")
_BURST = 10
_ATTACHED_SECONDS = 20.0
_CALL = re.compile(r"^(?:\d+ +)?([a-z0-9_]+)\(")


# (stage, mode) -> number of each call; and, for a start, the number before the first line of cohabit's own code.
Profiles = dict[tuple[str, str], tuple[Counter[str], Counter[str]]]


class Injection:
    """One system call that fails at one stage. first: the number of the call since the stage began. mode: see MODES."""

    def __init__(self, stage: str, call: str, error: str, first: int, length: str, mode: str = "plain") -> None:  # noqa: PLR0917
        self.stage, self.call, self.error, self.first, self.length = stage, call, error, first, length
        self.mode = mode

    def __str__(self) -> str:
        return f"{self.stage}:{self.call}:{self.error}:{self.first}:{self.length}:{self.mode}"

    @classmethod
    def parse(cls, text: str) -> Injection:
        """The inverse of str()."""
        stage, call, error, first, length, *mode = text.split(":")
        return cls(stage, call, error, int(first), length, *mode)

    @property
    def options(self) -> list[str]:
        """Options for strace."""
        last = {"once": "", "burst": f"..{self.first + _BURST}", "while": "+", "ever": "+"}[self.length]
        return ["-e", f"trace={self.call}", "-e", f"inject={self.call}:error={self.error}:when={self.first}{last}"]


def choose(rng: random.Random, profiles: Profiles) -> Injection:
    """Choose an injection among the calls that process 1 makes."""
    stage, mode = rng.choice(STAGES), rng.choice(MODES)
    calls, before = profiles[stage, mode]
    call = rng.choice(sorted(call for call in calls if call in ERRORS))
    skipped = before[call]
    first = skipped + rng.randint(1, max(1, calls[call] - skipped))
    return Injection(stage, call, rng.choice(ERRORS[call]), first, rng.choice(LENGTHS), mode)


class Tracer:
    """strace on one process, until `detach`."""

    def __init__(self, pid: int, log: str, options: list[str]) -> None:
        self._strace = subprocess.Popen(
            ["strace", "-qq", "-o", log, *options, "-p", str(pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + _ATTACHED_SECONDS
        while not _is_traced(pid):
            assert self._strace.poll() is None, (
                f"strace: {self._strace.stderr.read() if self._strace.stderr else b''!r}"
            )
            assert time.monotonic() < deadline, "strace did not attach"
            time.sleep(0.002)

    def detach(self) -> None:
        """End strace. The process continues."""
        self._strace.terminate()
        self._strace.communicate()


def _is_traced(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return any(line.startswith("TracerPid:") and not line.endswith("\t0\n") for line in file)
    except OSError:
        return False


def calls_in(log: str) -> list[str]:
    """The names of the calls in a log of strace, in order."""
    if not os.path.exists(log):
        return []
    with open(log, encoding="utf-8", errors="replace") as file:
        found = (_CALL.match(line) for line in file)
        return [match[1] for match in found if match]
