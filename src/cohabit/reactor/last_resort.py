"""The last resort after repeated internal errors: end all processes without the engine, and lose no line of theirs.

What the services write meanwhile is read all the time, so that no process that wants to end blocks in a write(2). What
is left in the pipes is read when the processes have ended. Only the descriptors are used, and the text that was read
from them before; all other state of the loop may be corrupt.
"""

from __future__ import annotations

import io
import sys
import time

from cohabit.errors import EXIT_BUG, EXIT_SYSTEM
from cohabit.reactor import shortage, signals
from cohabit.reactor.linux import os
from cohabit.reactor.logs.sink import Sink
from cohabit.reactor.processes.sweep import Watch, sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.processes.tree import Trees

_GRACE_SECONDS = 5.0
_DRAIN_SECONDS = 1.0  # for the reader of our output, at the very end
_READ_SIZE = 65_536
_READS_MAX = 64  # per pipe at the very end, in case a process still writes to it


def _sink(fd: int) -> Sink:
    """Return a sink for our own output. Does not raise OSError: identities are not compared here."""
    return Sink(fd, identity=(0, fd))


class _Pipe:
    """One stream of one service. partial: the beginning of an unfinished line."""

    def __init__(self, fd: int, sink: Sink, label: bytes, partial: bytes) -> None:
        self.fd = fd
        self.sink = sink
        self.label = label
        self.partial = partial


class Pipes:
    """The remaining output of the services, written to our own output with their names as prefixes."""

    def __init__(self) -> None:
        self._sinks = {"stdout": _sink(1), "stderr": _sink(2)}
        self._pipes: list[_Pipe] = []

    @classmethod
    def of_plain(cls, plain: Any) -> Pipes:
        """Return the pipes of a stored state (reexecution_state.py), as far as it can be read."""
        pipes = cls()
        try:
            for stream, unwritten in plain["output"]["destinations"]["containers"].items():
                pipes._sinks[stream].write(b"".join(unwritten))
            _end_log_writers(plain["output"]["destinations"])
            for one in plain["output"]["streams"]:
                service, stream = one["origin"][:2]
                pipes.add(one["fd"], service, stream, one["partial"])
        except (AttributeError, LookupError, TypeError, ValueError):
            pass  # use what could be read
        return pipes

    def add(self, fd: int, service: str, stream: str, partial: bytes) -> None:
        """Add a pipe. partial: the part of an unfinished line that was read before."""
        if fd >= 0:
            self._pipes.append(_Pipe(fd, self._sinks[stream], service.encode("utf-8", "replace") + b" | ", partial))

    def pump(self) -> None:
        """Write what the pipes contain now."""
        for sink in self._sinks.values():
            sink.flush()
        for pipe in self._pipes:
            if not pipe.sink.blocked:
                self._read(pipe)

    def finish(self) -> None:
        """Write what is left after the services have ended, as long as the reader accepts it."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        for pipe in self._pipes:
            for _ in range(_READS_MAX):
                if not self._read(pipe):
                    break
                pipe.sink.drain(lambda: deadline - time.monotonic())
            if pipe.partial:
                pipe.sink.write(pipe.label + pipe.partial + b"\n")
        for sink in self._sinks.values():
            sink.drain(lambda: deadline - time.monotonic())

    @staticmethod
    def _read(pipe: _Pipe) -> bool:
        try:
            data = os.read(pipe.fd, _READ_SIZE)
        except OSError:  # nothing to read now, or not a pipe
            return False
        *lines, pipe.partial = (pipe.partial + data).split(b"\n")
        pipe.sink.write(b"".join(pipe.label + line + b"\n" for line in lines))
        return bool(data)


def _end_log_writers(destinations: dict[str, Any]) -> None:
    """Pass on what their pipes accept, and close those: then the log writers end when everything is written."""
    for plain, _ in destinations["files"].values():
        for piece in plain["pending"] if plain["pipe"] >= 0 else ():
            try:
                full = os.write(plain["pipe"], piece) < len(piece)
            except OSError:
                full = True
            if full:  # nothing may follow what is missing
                break
        _close(plain["pipe"])
    for plain in destinations["writers"].values():
        _close(plain["control"])


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return


def end_everything(error: BaseException | None, trees: Trees, plain: Any) -> int:
    """Log the error, end every process under us, and return the exit code. plain: the stored state, if there is one.

    error: the error that could not be handled; None if it has been logged.
    """
    signals.block_all()
    scarce = error is not None and shortage.is_shortage(error)
    if error is not None:
        text = (
            f"cannot continue: {shortage.words(error)}: stopping everything ({shortage.WHAT_TO_DO})"
            if scarce
            else f"an internal error, please report it:\n{traceback_of(error)}"
        )
        _sink(2).write(f"cohabit | {text}\n".encode("utf-8", "surrogateescape"))
    pipes = Pipes.of_plain(plain)
    sweep(trees, _GRACE_SECONDS, Watch(pipes.pump))
    pipes.finish()
    return EXIT_SYSTEM if scarce else EXIT_BUG


def traceback_of(error: BaseException) -> str:
    """Return the traceback as the interpreter prints it, without importing traceback (and with it re, ast)."""
    text = io.StringIO()
    stderr, sys.stderr = sys.stderr, text
    try:
        sys.__excepthook__(type(error), error, error.__traceback__)
    finally:
        sys.stderr = stderr
    return text.getvalue().rstrip()
