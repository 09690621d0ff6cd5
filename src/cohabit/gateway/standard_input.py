"""Write to the standard input of a service (sendProcessStdin, `supervisorctl fg`)."""

from __future__ import annotations

import errno
import os
import subprocess

from cohabit.program import program
from cohabit.tasks.write_input import write_input

_SECONDS_MAX = 10.0  # of the child, which its user can stop


def write_to_input(pid: int, data: bytes) -> None:
    """Write all of the data. Raises OSError; BlockingIOError if the pipe has no room for it, which may be in part.

    The descriptors of a process of another user need CAP_SYS_PTRACE, which a container does not have by default. Then a
    child does it as that user, with nothing but the data.
    """
    try:
        write_input(pid, data)
    except PermissionError:
        _write_as_its_user(pid, data)


def _write_as_its_user(pid: int, data: bytes) -> None:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    uid, gid = (int(fields[name].split()[0]) for name in ("Uid", "Gid"))
    try:
        done = subprocess.run(
            program("write input", str(pid)),
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=uid,
            group=gid,
            extra_groups=(),
            env={},
            cwd="/",
            timeout=_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BlockingIOError(errno.EAGAIN, "a child was stopped") from None
    if done.returncode:
        raise OSError(done.returncode, os.strerror(done.returncode))
