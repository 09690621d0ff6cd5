"""One child started as process 1 starts it, and what became of it: fork and exec without a loop around them."""

import os
import sys
from typing import Any, NamedTuple

from cohabit.reactor.processes import spawn
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals

PYTHON = (sys.executable, "-I", "-S", "-c")


class Ended(NamedTuple):
    """What it wrote, how it ended, and why it never ran ("" if it did)."""

    out: str
    code: int
    why: str = ""


def described(*argv: str, **asked: Any) -> SpawnSpec:
    """Return a Start with those attributes; `environment` is given as a whole."""
    environment = asked.pop("environment", {"PATH": os.environ["PATH"]})
    start = SpawnSpec(argv, dict(environment), InheritedSignals((), ()), session=asked.pop("session", True))
    for name, value in asked.items():
        setattr(start, name, value)
    return start


def run(*argv: str, **asked: Any) -> Ended:
    """Start it, wait for its end."""
    start = described(*argv, **asked)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    start.stdio = (null, writer, writer)
    try:
        pid, errors = spawn.spawn(start)
    finally:
        os.close(writer)
        os.close(null)
    with open(reader, "rb") as output:
        out = output.read().decode()
    _, status = os.waitpid(pid, 0)
    message = spawn.exec_errors(errors)
    os.close(errors)
    if message:
        why, code = spawn.failure(start, message)
        return Ended(out, code, why)
    return Ended(out, spawn.exit_code(status))


def status_of(out: str, name: str) -> str:
    """Return one line of /proc/PID/status."""
    return next(line.split("\t", 1)[1] for line in out.splitlines() if line.startswith(f"{name}:"))
