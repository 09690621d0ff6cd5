"""Start one child as process 1 starts it, and report its result: fork and exec without an event loop."""

import os
import sys
from typing import Any, NamedTuple

from cohabit.plan.reason_text import text_of
from cohabit.reactor.processes import spawn, start_failure
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.signals import InheritedSignals

PYTHON = (sys.executable, "-I", "-S", "-c")


class Ended(NamedTuple):
    """Its output, its exit, and the start error ("" if it ran)."""

    out: str
    code: int
    why: str = ""


def described(*argv: str, **attributes: Any) -> SpawnSpec:
    """Return a SpawnSpec with these attributes; `environment` is given as a whole."""
    environment = attributes.pop("environment", {"PATH": os.environ["PATH"]})
    start = SpawnSpec(argv, dict(environment), InheritedSignals((), ()), session=attributes.pop("session", True))
    for name, value in attributes.items():
        setattr(start, name, value)
    return start


def run(*argv: str, **attributes: Any) -> Ended:
    """Start the child and wait for its end."""
    start = described(*argv, **attributes)
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
        reason = start_failure.exec_failure(start, message)
        return Ended(out, reason.code or 0, text_of(reason))
    return Ended(out, spawn.exit_code(status))


def status_of(out: str, name: str) -> str:
    """Return one line of /proc/PID/status."""
    return next(line.split("\t", 1)[1] for line in out.splitlines() if line.startswith(f"{name}:"))
