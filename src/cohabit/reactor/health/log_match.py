"""Readiness by the log: a line of the service's own output that matches a regular expression.

Process 1 runs no user's pattern (it could take for ever), so a child does: tasks/match.py, one per start, from the
start to the first match. It gets a copy of what the pump reads, in frames, over a pipe that is never waited for:
what it cannot take at once is kept here, and when that has become too much the service's streams rest, as they do
for a blocked sink, until it has caught up. So no line is lost to it, and only that service has to wait. A pattern
that takes too long for one line ends the child, and then the streams flow again.

The child lives on when process 1 replaces itself: what it has already read, nobody could give to another one.
"""

from __future__ import annotations

import sys

from cohabit.engine import events
from cohabit.reactor.linux import PACKAGE, os
from cohabit.reactor.logs.tap import Tap
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.plan.model import Service
    from cohabit.reactor.logs.output import Output
    from cohabit.reactor.poller import Registry
    from cohabit.reactor.signals import InheritedSignals

KEY = "\0log"  # after the service's name, before a number: a killed one may not be reaped when the next begins
_ANSWER_SIZE = 4096
_SECONDS_MAX = 30.0  # of CPU time for one line, whatever the probe's timeout is
_NO_MATCH = 1  # exit codes of tasks/match.py
_TOO_LONG = 128 + 26  # SIGVTALRM


class _Matcher:
    """One child. answer: the pipe on which it writes the line; seconds: how long it may take for one."""

    __slots__ = ("answer", "key", "name", "seconds", "tap")

    def __init__(self, name: str, key: str, tap: Tap, answer: int, seconds: float) -> None:
        self.name = name
        self.key = key
        self.tap = tap
        self.answer = answer
        self.seconds = seconds


class LogMatches:
    """All matchers. tell(fact) gets each answer.

    launch, kill: Children's, for a child under a key; launch's third argument is called once, also after a kill,
    with the exit code and with words if the exec failed.
    """

    def __init__(
        self,
        given: InheritedSignals,
        environment: dict[str, str],
        epoll: Registry,
        output: Output,
        *,
        launch: Callable[[str, SpawnSpec, Callable[[int, str], None]], None],
        kill: Callable[[str], None],
        tell: Callable[[events.Probed], None],
    ) -> None:
        self._given = given
        self._environment = environment
        self._epoll = epoll
        self._output = output
        self._launch = launch
        self._kill = kill
        self._tell = tell
        self._wanted: dict[str, _Matcher] = {}
        self._living: dict[str, _Matcher] = {}  # key -> matcher, wanted or killed, from its fork to its end
        self._feeds: dict[int, _Matcher] = {}
        self._count = 0

    def open(self, service: Service) -> None:
        """Match what the service writes from now on; to be called before its start. Raises OSError: no room."""
        self.close(service.name)
        probe = service.probe
        if probe is None:
            return
        self._count += 1
        key = f"{service.name}{KEY}{self._count}"
        seconds = min(probe.timeout_seconds, _SECONDS_MAX)
        argv = (sys.executable, "-I", "-S", f"{PACKAGE}/tasks/match.py", str(seconds), probe.pattern)
        ends: list[int] = []
        try:
            ends += os.pipe2(os.O_CLOEXEC)
            ends += os.pipe2(os.O_CLOEXEC)
            source, feed, answer, writer = ends
            start = SpawnSpec(argv, dict(self._environment), self._given, stdio=(source, writer, 2))
            self._launch(key, start, lambda code, why: self.ended(key, code, why))
        except OSError:
            for fd in ends:
                os.close(fd)
            raise
        os.close(source)
        os.close(writer)
        tap = Tap(self._epoll, feed)
        self._add(_Matcher(service.name, key, tap, answer, seconds))
        for stream, beginning in self._output.unfinished(service.name):
            tap.feed(stream, beginning)

    def close(self, service: str) -> None:
        """No match is wanted any more."""
        matcher = self._wanted.get(service)
        if matcher is not None:
            self._let_go(matcher)
            self._kill(matcher.key)

    def ended(self, key: str, code: int, why: str) -> None:
        """A matcher was reaped. Called by Children, by the launch or (after a re-execution) by the key."""
        matcher = self._living.pop(key)
        try:
            answer = os.read(matcher.answer, _ANSWER_SIZE).decode("utf-8", "replace")
        except BlockingIOError:
            answer = ""
        os.close(matcher.answer)
        if self._wanted.get(matcher.name) is not matcher:
            return
        self._let_go(matcher)
        if code == 0:
            self._tell(events.Probed(matcher.name, passed=True, output=answer))
        elif code != _NO_MATCH:
            why = _words(code, why, matcher.seconds)
            self._tell(events.Probed(matcher.name, passed=False, output=f"cannot search its log any more: {why}"))

    # --- events --------------------------------------------------------------------------------------

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd in self._feeds

    def handle(self, fd: int) -> None:
        """A matcher can take more, or never will."""
        matcher = self._feeds[fd]
        was_full = matcher.tap.full
        matcher.tap.flush()
        if was_full and not matcher.tap.full:
            self._output.resume(matcher.name)

    def _add(self, matcher: _Matcher) -> None:
        os.set_blocking(matcher.tap.fd, False)
        os.set_blocking(matcher.answer, False)
        self._wanted[matcher.name] = matcher
        self._living[matcher.key] = matcher
        self._feeds[matcher.tap.fd] = matcher
        self._output.tap(matcher.name, matcher.tap)

    def _let_go(self, matcher: _Matcher) -> None:
        del self._wanted[matcher.name]
        del self._feeds[matcher.tap.fd]
        matcher.tap.close()
        self._output.tap(matcher.name, None)

    # --- crossing a re-execution ---------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What must stay open across the exec."""
        return [fd for each in self._wanted.values() for fd in (each.tap.fd, each.answer)]

    def to_plain(self) -> dict[str, Any]:
        """Plain values for restore; the matchers themselves live on."""
        matchers = [
            (each.name, each.key, each.tap.fd, bytes(each.tap.pending), each.answer, each.seconds)
            for each in self._wanted.values()
        ]
        return {"count": self._count, "matchers": matchers}

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called, after Output: the descriptors are still open under their numbers.

        Children must then call `ended` with each key that `tasks` gives.
        """
        self._count = plain["count"]
        for name, key, feed, pending, answer, seconds in plain["matchers"]:
            os.set_inheritable(feed, False)
            os.set_inheritable(answer, False)
            tap = Tap(self._epoll, feed)
            tap.pending += pending
            self._add(_Matcher(name, key, tap, answer, seconds))
            tap.flush()

    def tasks(self) -> list[str]:
        """The children that are ours."""
        return list(self._living)


def _words(code: int, why: str, seconds: float) -> str:
    if why:
        return f"the matcher cannot be started: {why}"
    if code == _TOO_LONG:
        return f"the regular expression takes more than {format_duration(seconds)} for one line (make it simpler)"
    return f"the matcher ended with {describe_exit(code)}"
