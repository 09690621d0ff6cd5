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
from cohabit.reactor.side_process import SideProcess
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.plan.model import Service
    from cohabit.reactor.context import Context, Ended
    from cohabit.reactor.logs.output import Output

KEY = "\0log"  # follows the service's name and precedes a number: a killed matcher may not be reaped before the next
_ANSWER_MAX = 4096  # bytes
_SECONDS_MAX = 30.0  # of CPU time for one line, even if the probe's timeout is longer
_NO_MATCH = 1  # exit codes of tasks/match.py
_TOO_LONG = 128 + 26  # SIGVTALRM


class _Matcher:
    """One child, from a start of the service to the first match; the Tap of its output.

    answer: the matching line; seconds: of CPU time for one line; ended(matcher, code, why): it has ended.
    """

    __slots__ = ("answer", "name", "process", "seconds")

    def __init__(
        self, context: Context, key: str, seconds: float, ended: Callable[[_Matcher, int, str], None], output: Output
    ) -> None:
        name = key.partition(KEY)[0]
        self.name = name
        self.seconds = seconds
        self.answer = b""
        self.process = SideProcess(
            context,
            "match",
            key,
            self._read,
            lambda code, why: ended(self, code, why),
            on_room=lambda: output.router.resume(name),
        )

    def _read(self, data: bytes) -> None:
        self.answer = (self.answer + data)[:_ANSWER_MAX]

    @property
    def full(self) -> bool:
        """Whether the service's streams must pause until Router.resume() is called."""
        return self.process.input.full

    def feed(self, source: int, data: bytes) -> None:
        """Give it what a stream has read; b"" for its end (the frames are described in tasks/match.py)."""
        self.process.input.write(b"%d %d\n" % (source, len(data)) + data)

    def silent(self, source: int) -> None:
        """Have it search the unfinished line of a stream as it is."""
        self.process.input.write(b"%d -1\n" % source)


class LogMatches:
    """All matchers. Each answer is the event Probed."""

    def __init__(self, context: Context, output: Output) -> None:
        self._context = context
        self._output = output
        self._wanted: dict[str, _Matcher] = {}
        self._count = 0

    def open(self, service: Service) -> None:
        """Match the service's output from now on. To be called before its start. Raises OSError."""
        self.close(service.name)
        probe = service.probe
        if probe is None:
            return
        self._count += 1
        seconds = min(probe.timeout_seconds, _SECONDS_MAX)
        matcher = self._new(f"{service.name}{KEY}{self._count}", seconds)
        matcher.process.start(program("match", str(seconds), probe.pattern))
        self._use(matcher)
        for stream, beginning in self._output.reader.unfinished(service.name):
            matcher.feed(stream, beginning)

    def _new(self, key: str, seconds: float) -> _Matcher:
        return _Matcher(self._context, key, seconds, self._ended, self._output)

    def _use(self, matcher: _Matcher) -> None:
        self._wanted[matcher.name] = matcher
        self._output.router.tap(matcher.name, matcher)

    def close(self, service: str) -> None:
        """Stop matching the service's output."""
        matcher = self._wanted.get(service)
        if matcher is not None:
            self._detach(matcher)
            matcher.process.kill()

    def _detach(self, matcher: _Matcher) -> None:
        del self._wanted[matcher.name]
        matcher.process.input.close()
        self._output.router.tap(matcher.name, None)

    def _ended(self, matcher: _Matcher, code: int, why: str) -> None:
        if self._wanted.get(matcher.name) is not matcher:
            return
        self._detach(matcher)
        if code == 0:
            answer = matcher.answer.decode("utf-8", "replace")
            self._context.emit(events.Probed(matcher.name, passed=True, output=answer))
        elif code != _NO_MATCH:
            why = _describe_end(code, why, matcher.seconds)
            self._context.emit(events.Probed(matcher.name, passed=False, output=f"cannot search the log: {why}"))

    # --- re-execution state --------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        return [fd for each in self._wanted.values() for fd in each.process.descriptors()]

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for restore. The matchers keep running."""
        matchers = [
            (each.process.key, each.seconds, each.answer, each.process.to_plain()) for each in self._wanted.values()
        ]
        return {"count": self._count, "matchers": matchers}

    def restore(self, plain: dict[str, Any]) -> None:
        """Continue with the values of to_plain. Output must be restored before.

        The descriptors are still open under their numbers.
        """
        self._count = plain["count"]
        for key, seconds, answer, process in plain["matchers"]:
            matcher = self._new(key, seconds)
            matcher.answer = answer
            self._use(matcher)
            matcher.process.restore(process)

    def tasks(self) -> dict[str, Ended]:
        """Return the keys of the matchers that continue, and what must be called when they end."""
        return {each.process.key: each.process.ended for each in self._wanted.values()}


def _describe_end(code: int, why: str, seconds: float) -> str:
    if why:
        return f"the matcher cannot be started: {why}"
    if code == _TOO_LONG:
        return f"the regular expression takes more than {format_duration(seconds)} for one line (make it simpler)"
    return f"the matcher ended with {describe_exit(code)}"
