"""Records of several lines (tracebacks), put together where a service has a pattern that begins one.

Process 1 runs no user's pattern, so a child for each such service does: tasks/multiline.py, which says of each line
whether it begins a record. Process 1 keeps the lines and does the joining, many lines at a time: a child that dies
loses nothing. Then each line is a record of its own until the service's next start, and somebody is told why.

A record goes from a line that begins one to the next such line of the same stream; lines before the first are a record
too. When nothing has come for 200 ms it is over, and so it is when it has grown to 1 MiB; what goes on after that is
again a record without a beginning. Of one service so much may be unanswered and no more: then it is `full`, its streams
rest, and only that service has to wait. What a record is, is known here; pipes and sinks are not.
"""

from __future__ import annotations

import select
import sys
import time

from cohabit.reactor import signals
from cohabit.reactor.linux import PACKAGE, os
from cohabit.reactor.logs.tap import Tap
from cohabit.reactor.processes import spawn
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from cohabit.reactor.poller import Registry

    class Pump(Protocol):
        """Whose lines they are, and where their records go."""

        def joined(self, source: int, records: list[bytes], now_ns: int) -> None:
            """Whole records, each without its last newline, in the order of their source; when their lines came."""

        def all_joined(self, source: int) -> None:
            """After end(): that was its last record. Comes once."""

        def resume(self, service: str) -> None:
            """It is not full any more."""

        def rests(self, source: int) -> bool:
            """Its stream is not being read at present: that nothing comes means nothing."""


KEY = "\0lines"  # after the service's name, before a number: an old one may still have to answer when the next begins
_QUIET_SECONDS = 0.2
_RECORD_MAX = 1_048_576
_UNANSWERED_MAX = 1_048_576
_UNANSWERED_AGAIN = _UNANSWERED_MAX // 2  # so little is left when the streams flow again: they do not flicker
_SECONDS_MAX = 2.0  # of the child's CPU time for one line, or for one read of shorter ones
_STALL_SECONDS = 1.0  # at the very end: who answers nothing for so long does not answer
_READ_SIZE = 65_536
_BEGINS, _GOES_ON = b"1", b"0"  # what tasks/multiline.py writes
_TOO_LONG = 128 + 26  # SIGVTALRM


class _Child:
    """One child. tap: its input; answers: what it writes, -1 when it has ended or could not be started.

    unanswered: (source, lines, how many, when they came), bytes_unanswered in all; heard: answers to the first ones.
    leaving: its input ends with what is in the tap. unjudged: it ended and owed an answer.
    """

    __slots__ = (
        "answers", "bytes_unanswered", "full", "heard", "key", "leaving", "pattern", "service", "tap", "unanswered",
        "unjudged",
    )  # fmt: skip

    def __init__(self, service: str, pattern: str, key: str, tap: Tap, answers: int) -> None:
        self.service = service
        self.pattern = pattern
        self.key = key
        self.tap = tap
        self.answers = answers
        self.unanswered: list[tuple[_Source, bytes, int, int]] = []
        self.bytes_unanswered = 0
        self.heard = bytearray()
        self.full = self.leaving = self.unjudged = False


class _Source:
    """One stream of one start. held: the record that may go on, without its last newline, from since_ns (Unix).

    unanswered: how many pieces of it the child has still to answer. ended: no more comes.
    """

    __slots__ = ("child", "ended", "held", "held_bytes", "number", "since_ns", "unanswered")

    def __init__(self, number: int, child: _Child) -> None:
        self.number = number
        self.child = child
        self.unanswered = 0
        self.ended = False
        self.held: list[bytes] = []
        self.held_bytes = 0
        self.since_ns = 0

    def hold(self, text: bytes, now_ns: int) -> None:
        """Lines that belong to the record that is open, or open one; without the last newline."""
        if not self.held:
            self.since_ns = now_ns
        self.held.append(text)
        self.held_bytes += len(text) + 1


class MultilineAssembler:
    """All of it. A source is a number that open() gives, one for each stream of a start, never used again.

    pump: whose lines they are. launch: Children's; its third argument is called once, also after a kill, with the exit
    code and with words if the exec failed. say(level, service, text) is for people.
    """

    def __init__(
        self,
        given: signals.InheritedSignals,
        environment: dict[str, str],
        epoll: Registry,
        pump: Pump,
        *,
        launch: Callable[[str, SpawnSpec, Callable[[int, str], None]], None],
        say: Callable[[str, str, str], None],
    ) -> None:
        # A stop signal for everybody (kill -1, a platform's) is not for a child that has still to answer: it ends with
        # its input. Blocked and not ignored, since that holds from before its exec, whatever its interpreter does.
        self._given = signals.InheritedSignals(given.mask | signals.STOP_SIGNALS | {signals.HUP}, given.ignored)
        self._environment = environment
        self._epoll = epoll
        self._pump = pump
        self._launch = launch
        self._say = say
        self._wanted: dict[str, _Child] = {}
        self._living: dict[str, _Child] = {}  # key -> child, from its fork to its end
        self._by_fd: dict[int, _Child] = {}
        self._sources: dict[int, _Source] = {}
        self._quiet: dict[int, float] = {}  # source that holds a record -> since when, earliest first
        self._count = 0

    # --- lines come ----------------------------------------------------------------------------------

    def open(self, service: str, pattern: str) -> int:
        """A source, for a stream that is about to be opened; with a new child where there is none of this pattern."""
        child = self._wanted.get(service)
        if child is None or child.pattern != pattern or child.answers < 0 or child.leaving:
            self.forget(service)
            child = self._wanted[service] = self._start(service, pattern)
        self._count += 1
        self._sources[self._count] = _Source(self._count, child)
        return self._count

    def feed(self, number: int, lines: bytes, now_ns: int) -> None:
        """Whole lines of a source, at least one. Without a child they come out at once, each by itself."""
        source = self._sources[number]
        child = source.child
        if child.answers < 0:
            self._pump.joined(number, lines[:-1].split(b"\n"), now_ns)
            return
        self._quiet.pop(number, None)
        source.unanswered += 1
        child.unanswered.append((source, lines, lines.count(b"\n"), now_ns))
        child.bytes_unanswered += len(lines)
        child.full = child.full or child.bytes_unanswered >= _UNANSWERED_MAX
        if not child.leaving:
            waits = bool(child.tap.pending)
            child.tap.pending += lines
            if not waits:
                child.tap.flush()

    def end(self, number: int) -> None:
        """No more comes of it: Pump.all_joined follows, at once or when its lines have been answered."""
        source = self._sources[number]
        source.ended = True
        if not source.unanswered:
            self._settle(source)

    def full(self, number: int) -> bool:
        """Too much of its service is unanswered: it should wait for Pump.resume."""
        return self._sources[number].child.full

    def forget(self, service: str) -> None:
        """It has no pattern any more, or is gone: its child ends when it has answered."""
        child = self._wanted.pop(service, None)
        if child is not None:
            self._let_go(child)

    def close(self) -> None:
        """All children end when they have answered. Lines that come from now on are records of their own."""
        for child in self._wanted.values():
            self._let_go(child)

    def finish(self, seconds_left: Callable[[], float]) -> None:
        """The very end: everything goes out, joined as far as the children answer in that time."""
        self.close()
        poll = select.poll()
        for fd, child in self._by_fd.items():
            poll.register(fd, select.POLLIN if fd == child.answers else select.POLLOUT)
        while self._by_fd and (left := seconds_left()) > 0:
            ready = poll.poll(min(left, _STALL_SECONDS) * 1000)
            if not ready:
                break
            for fd, _ in ready:
                if fd in self._by_fd:
                    self.handle(fd)
                if fd not in self._by_fd:
                    poll.unregister(fd)
        for child in set(self._by_fd.values()):
            self._lose(child)

    # --- the children --------------------------------------------------------------------------------

    def _start(self, service: str, pattern: str) -> _Child:
        self._count += 1
        key = f"{service}{KEY}{self._count}"
        argv = (sys.executable, "-I", "-S", f"{PACKAGE}/tasks/multiline.py", str(_SECONDS_MAX), pattern)
        ends: list[int] = []
        try:
            ends += os.pipe2(os.O_CLOEXEC)
            ends += os.pipe2(os.O_CLOEXEC)
            lines, feed, answers, writer = ends
            start = SpawnSpec(argv, dict(self._environment), self._given, stdio=(lines, writer, 2))
            self._launch(key, start, lambda code, why: self.ended(key, code, why))
        except OSError as error:
            for fd in ends:
                os.close(fd)
            self._complain(service, spawn.no_room(error))
            return _Child(service, pattern, key, Tap(self._epoll, -1), -1)
        os.close(lines)
        os.close(writer)
        child = _Child(service, pattern, key, Tap(self._epoll, feed), answers)
        self._living[key] = child
        self._watch(child)
        return child

    def _watch(self, child: _Child) -> None:
        for fd in (child.tap.fd, child.answers):
            if fd >= 0:
                os.set_blocking(fd, False)
                self._by_fd[fd] = child
        self._epoll.register(child.answers, select.EPOLLIN)

    def _let_go(self, child: _Child) -> None:
        child.leaving = True
        if not child.tap.pending:
            self._hang_up(child)

    def _hang_up(self, child: _Child) -> None:
        self._by_fd.pop(child.tap.fd, None)
        child.tap.close()

    def _lose(self, child: _Child) -> None:
        """It answers no more: what it owes goes out line by line."""
        if child.answers < 0:
            return
        self._hang_up(child)
        del self._by_fd[child.answers]
        self._epoll.unregister(child.answers)
        os.close(child.answers)
        child.answers = -1
        child.unjudged = bool(child.unanswered)
        child.heard += _BEGINS * (sum(count for _, _, count, _ in child.unanswered) - len(child.heard))
        self._take(child)
        for source in [source for source in self._sources.values() if source.child is child]:
            self._settle(source)

    def ended(self, key: str, code: int, why: str) -> None:
        """A child was reaped. Called by Children, by the launch or (after a re-execution) by the key."""
        child = self._living.pop(key)
        while child.answers >= 0 and self._read(child):
            pass
        self._lose(child)
        if not child.leaving or (code and child.unjudged):
            self._complain(child.service, _words(code, why))

    def _complain(self, service: str, why: str) -> None:
        what = "each line is a record of its own, until its next start"
        self._say("warning", service, f"cannot join the lines of its records: {why} ({what})")

    # --- events and time -----------------------------------------------------------------------------

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd in self._by_fd

    def handle(self, fd: int) -> None:
        """A child has answered, can take more, or never will."""
        child = self._by_fd[fd]
        if fd == child.answers:
            self._read(child)
            return
        child.tap.flush()
        if child.leaving and not child.tap.pending:
            self._hang_up(child)

    def deadline(self) -> float | None:
        """Monotonic seconds at which the next record is over because nothing more has come."""
        for number, since in self._quiet.items():
            if not self._pump.rests(number):
                return since + _QUIET_SECONDS
        return None

    def due(self, now: float) -> None:
        """Records that are over."""
        for number, since in list(self._quiet.items()):
            if since + _QUIET_SECONDS > now:
                break
            if not self._pump.rests(number):
                self._release(self._sources[number])

    # --- answers -------------------------------------------------------------------------------------

    def _read(self, child: _Child) -> bool:
        """Once what it has answered; False when there was nothing (more)."""
        try:
            data = os.read(child.answers, _READ_SIZE)
        except BlockingIOError:  # the event was meant for a descriptor that had this number before
            return False
        if not data:
            self._lose(child)
            return False
        child.heard += data
        self._take(child)
        return True

    def _take(self, child: _Child) -> None:
        """Answers to the first pieces, as many as are complete."""
        heard, unanswered = child.heard, child.unanswered
        while unanswered and len(heard) >= unanswered[0][2]:
            source, lines, count, now_ns = unanswered.pop(0)
            starts = bytes(heard[:count])
            del heard[:count]
            child.bytes_unanswered -= len(lines)
            source.unanswered -= 1
            self._join(source, lines, starts, now_ns)
            if not source.unanswered:
                self._settle(source)
        if child.full and child.bytes_unanswered <= _UNANSWERED_AGAIN:
            child.full = False
            self._pump.resume(child.service)

    def _join(self, source: _Source, lines: bytes, starts: bytes, now_ns: int) -> None:
        """Lines that have been judged. What is whole goes out; the last record waits for more."""
        first = starts.find(_BEGINS)
        if first < 0:
            source.hold(lines[:-1], now_ns)
        else:
            texts = lines[:-1].split(b"\n")
            if first:
                source.hold(b"\n".join(texts[:first]), now_ns)
            self._release(source)
            records = _joined(texts, starts, first) if _GOES_ON in starts else texts
            last = records.pop()
            if records:
                self._pump.joined(source.number, records, now_ns)
            source.hold(last, now_ns)
        if source.held_bytes >= _RECORD_MAX:
            self._release(source)

    def _settle(self, source: _Source) -> None:
        """All of its lines are answered: what it holds waits for a while, if more can come."""
        if source.ended or source.child.answers < 0:
            self._release(source)
        elif source.held:
            self._quiet[source.number] = time.monotonic()
        if source.ended:
            del self._sources[source.number]
            self._pump.all_joined(source.number)

    def _release(self, source: _Source) -> None:
        self._quiet.pop(source.number, None)
        if source.held:
            record = b"\n".join(source.held)
            source.held, source.held_bytes = [], 0
            self._pump.joined(source.number, [record], source.since_ns)

    # --- crossing a re-execution ---------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What must stay open across the exec."""
        return list(self._by_fd)

    def to_plain(self) -> dict[str, Any]:
        """Everything; the children themselves live on."""
        everybody = (*self._wanted.values(), *self._living.values(), *(each.child for each in self._sources.values()))
        children = {each.key: each for each in everybody}
        return {
            "count": self._count,
            "children": [
                (
                    (each.service, each.pattern, each.key, each.tap.fd, each.answers),
                    (bytes(each.tap.pending), bytes(each.heard), each.full, each.leaving, each.unjudged),
                    [(source.number, lines, count, now_ns) for source, lines, count, now_ns in each.unanswered],
                )
                for each in children.values()
            ],
            "sources": [
                (each.number, each.child.key, each.unanswered, each.ended, each.held, each.since_ns)
                for each in self._sources.values()
            ],
            "wanted": [each.key for each in self._wanted.values()],
            "living": list(self._living),
            "quiet": self._quiet,
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called, after the pump: the descriptors are still open under their numbers.

        Children must then call `ended` with each key that `tasks` gives.
        """
        self._count = plain["count"]
        children: dict[str, _Child] = {}
        for (service, pattern, key, feed, answers), (pending, heard, *states), _ in plain["children"]:
            for fd in (feed, answers):
                if fd >= 0:
                    os.set_inheritable(fd, False)
            child = children[key] = _Child(service, pattern, key, Tap(self._epoll, feed), answers)
            child.heard += heard
            child.full, child.leaving, child.unjudged = states
            if answers >= 0:
                self._watch(child)
            if pending:
                child.tap.pending += pending
                child.tap.flush()
        for number, key, unanswered, ended, held, since_ns in plain["sources"]:
            source = self._sources[number] = _Source(number, children[key])
            source.unanswered, source.ended, source.held, source.since_ns = unanswered, ended, held, since_ns
            source.held_bytes = sum(len(text) + 1 for text in held)
        for (_, _, key, _, _), _, pieces in plain["children"]:
            children[key].unanswered += [(self._sources[number], *piece) for number, *piece in pieces]
            children[key].bytes_unanswered = sum(len(lines) for _, lines, _, _ in pieces)
        self._wanted = {children[key].service: children[key] for key in plain["wanted"]}
        self._living = {key: children[key] for key in plain["living"]}
        self._quiet = plain["quiet"]

    def tasks(self) -> list[str]:
        """The children that are ours."""
        return list(self._living)


def _joined(texts: list[bytes], starts: bytes, first: int) -> list[bytes]:
    """Records from their lines, beginning with the first that is a start."""
    records = []
    while (following := starts.find(_BEGINS, first + 1)) >= 0:
        records.append(b"\n".join(texts[first:following]))
        first = following
    records.append(b"\n".join(texts[first:]))
    return records


def _words(code: int, why: str) -> str:
    if why:
        return f"the child that searches for its pattern cannot be started: {why}"
    if code == _TOO_LONG:
        return f"the regular expression takes more than {format_duration(_SECONDS_MAX)} (make it simpler)"
    return f"the child that searches for its pattern ended with {describe_exit(code)}"
