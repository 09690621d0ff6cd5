"""Readiness by the log: a line of the service's output matches a regular expression.

Process 1 never runs a user's pattern, because a match can take arbitrarily long. A matcher does: tasks/match.py, one
child per start, from the start to the first match. It gets a copy of the service's output, in frames, over a
non-blocking pipe. What the pipe does not accept is buffered; when the buffer is full, the service's streams pause, as
they do for a blocked sink, until the matcher has caught up. So no line is skipped, and only that service waits. A
matcher that takes too long for one line is ended, and the streams continue.

The matcher keeps running when process 1 re-executes, because the output that it has read cannot be replayed.
"""

from __future__ import annotations

from cohabit.engine import events
from cohabit.program import program
from cohabit.reactor.linux import os
from cohabit.reactor.logs.tap import Tap
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Service
    from cohabit.reactor.context import Context
    from cohabit.reactor.logs.output import Output

KEY = "\0log"  # follows the service's name and precedes a number: a killed matcher may not be reaped before the next
_ANSWER_SIZE = 4096
_SECONDS_MAX = 30.0  # of CPU time for one line, even if the probe's timeout is longer
_NO_MATCH = 1  # exit codes of tasks/match.py
_TOO_LONG = 128 + 26  # SIGVTALRM


class _Matcher:
    """One child. answer: the pipe on which it writes the matching line; seconds: of CPU time for one line."""

    __slots__ = ("answer", "key", "name", "seconds", "tap")

    def __init__(self, name: str, key: str, tap: Tap, answer: int, seconds: float) -> None:
        self.name = name
        self.key = key
        self.tap = tap
        self.answer = answer
        self.seconds = seconds


class LogMatches:
    """All matchers. Each answer is the event Probed."""

    def __init__(self, context: Context, output: Output) -> None:
        self._context = context
        self._output = output
        self._wanted: dict[str, _Matcher] = {}
        self._running: dict[str, _Matcher] = {}  # key -> matcher, wanted or killed, from its fork to its end
        self._feeds: dict[int, _Matcher] = {}
        self._count = 0

    def open(self, service: Service) -> None:
        """Match the service's output from now on. To be called before its start. Raises OSError."""
        self.close(service.name)
        probe = service.probe
        if probe is None:
            return
        self._count += 1
        key = f"{service.name}{KEY}{self._count}"
        seconds = min(probe.timeout_seconds, _SECONDS_MAX)
        argv = program("match", str(seconds), probe.pattern)
        ends: list[int] = []
        try:
            ends += os.pipe2(os.O_CLOEXEC)
            ends += os.pipe2(os.O_CLOEXEC)
            source, feed, answer, writer = ends
            spec = SpawnSpec(argv, dict(self._context.environment), self._context.given, stdio=(source, writer, 2))
            self._context.run_program(key, spec, lambda code, why: self.ended(key, code, why))
        except OSError:
            for fd in ends:
                os.close(fd)
            raise
        os.close(source)
        os.close(writer)
        tap = Tap(self._context.poller, feed, self._write_more)
        self._add(_Matcher(service.name, key, tap, answer, seconds))
        for stream, beginning in self._output.unfinished(service.name):
            tap.feed(stream, beginning)

    def close(self, service: str) -> None:
        """Stop matching the service's output."""
        matcher = self._wanted.get(service)
        if matcher is not None:
            self._detach(matcher)
            self._context.kill_program(matcher.key)

    def ended(self, key: str, code: int, why: str) -> None:
        """Handle the end of a matcher. Called by Children: through launch, or after a re-execution for its key."""
        matcher = self._running.pop(key)
        try:
            answer = os.read(matcher.answer, _ANSWER_SIZE).decode("utf-8", "replace")
        except BlockingIOError:
            answer = ""
        os.close(matcher.answer)
        if self._wanted.get(matcher.name) is not matcher:
            return
        self._detach(matcher)
        if code == 0:
            self._context.emit(events.Probed(matcher.name, passed=True, output=answer))
        elif code != _NO_MATCH:
            why = _describe_end(code, why, matcher.seconds)
            self._context.emit(events.Probed(matcher.name, passed=False, output=f"cannot search the log: {why}"))

    def _write_more(self, fd: int) -> None:
        """Write more to a matcher, or notice that it has ended."""
        matcher = self._feeds[fd]
        was_full = matcher.tap.full
        matcher.tap.flush()
        if was_full and not matcher.tap.full:
            self._output.resume(matcher.name)

    def _add(self, matcher: _Matcher) -> None:
        os.set_blocking(matcher.tap.fd, False)
        os.set_blocking(matcher.answer, False)
        self._wanted[matcher.name] = matcher
        self._running[matcher.key] = matcher
        self._feeds[matcher.tap.fd] = matcher
        self._output.tap(matcher.name, matcher.tap)

    def _detach(self, matcher: _Matcher) -> None:
        del self._wanted[matcher.name]
        del self._feeds[matcher.tap.fd]
        matcher.tap.close()
        self._output.tap(matcher.name, None)

    # --- re-execution state --------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        return [fd for each in self._wanted.values() for fd in (each.tap.fd, each.answer)]

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for restore. The matchers keep running."""
        matchers = [
            (each.name, each.key, each.tap.fd, bytes(each.tap.pending), each.answer, each.seconds)
            for each in self._wanted.values()
        ]
        return {"count": self._count, "matchers": matchers}

    def restore(self, plain: dict[str, Any]) -> None:
        """Continue with the values of to_plain. Output must be restored before.

        The descriptors are still open under their numbers. Children must then call `ended` for each key in `tasks`.
        """
        self._count = plain["count"]
        for name, key, feed, pending, answer, seconds in plain["matchers"]:
            os.set_inheritable(feed, False)
            os.set_inheritable(answer, False)
            tap = Tap(self._context.poller, feed, self._write_more)
            tap.pending += pending
            self._add(_Matcher(name, key, tap, answer, seconds))
            tap.flush()

    def tasks(self) -> list[str]:
        """Return the keys of the running matchers."""
        return list(self._running)


def _describe_end(code: int, why: str, seconds: float) -> str:
    if why:
        return f"the matcher cannot be started: {why}"
    if code == _TOO_LONG:
        return f"the regular expression takes more than {format_duration(seconds)} for one line (make it simpler)"
    return f"the matcher ended with {describe_exit(code)}"
