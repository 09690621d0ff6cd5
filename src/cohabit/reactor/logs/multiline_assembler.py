"""Assembles multiline records (tracebacks) for services with a multiline pattern.

Process 1 never runs a user's regular expression. A child for each such service does (tasks/multiline.py): it answers
for each line whether it begins a record. Process 1 holds the lines and joins them, so a child that dies loses nothing;
each line is then a record until the service's next start, and a warning is logged.

A record goes from a line that begins one to the next such line of the same stream. Lines before the first are a record
too. A record ends after 200 ms without another line, and at 1 MiB; lines that follow are a record without a beginning.
At most 1 MiB of a service may be unanswered: beyond that the source is `full` and Output pauses the service's streams
(output.py).
"""

from __future__ import annotations

import select
import time

from cohabit.program import program
from cohabit.reactor import signals
from cohabit.reactor.processes import start_failure
from cohabit.reactor.side_process import SideProcess
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from cohabit.reactor.context import Context, Ended

    class Receiver(Protocol):
        """Receives the records; Output."""

        def write_records(self, source: int, records: list[bytes], now_ns: int) -> None:
            """Whole records, in order, each without its last newline. now_ns: when their lines were read."""

        def source_finished(self, source: int) -> None:
            """The source has no more records. Called once, after end()."""

        def resume(self, service: str) -> None:
            """The service's sources are no longer full."""

        def is_paused(self, source: int) -> bool:
            """Whether the source's stream is not being read; then its record is not ended after 200 ms."""


KEY = "\0lines"  # a child's key: the service's name, this and a number, since the previous child may still run
_IDLE = ("multiline", "")  # key of the timer that ends the next record
_IDLE_SECONDS = 0.2
_RECORD_MAX = 1_048_576
_UNANSWERED_MAX = 1_048_576
_UNANSWERED_RESUME = _UNANSWERED_MAX // 2  # hysteresis: streams are read again below this
_SECONDS_MAX = 2.0  # CPU time of the child for the lines of one read
_STALL_SECONDS = 1.0  # in finish(): children that answer nothing for this long are given up
_BEGINS, _GOES_ON = b"1", b"0"  # what tasks/multiline.py writes
_TOO_LONG = 128 + 26  # SIGVTALRM


class _Child:
    """One child process. answers: it reads lines and answers, which ends with its output; it may still be running.

    unanswered: (source, lines, number of lines, time of the read), bytes_unanswered in all; received: answers to the
    first of them. unanswered_at_end: it ended before it had answered everything.
    """

    __slots__ = (
        "answers", "bytes_unanswered", "full", "pattern", "process", "received", "service", "unanswered",
        "unanswered_at_end",
    )  # fmt: skip

    def __init__(self, service: str, pattern: str, process: SideProcess) -> None:
        self.service = service
        self.pattern = pattern
        self.process = process
        self.answers = False
        self.unanswered: list[tuple[_Source, bytes, int, int]] = []
        self.bytes_unanswered = 0
        self.received = bytearray()
        self.full = self.unanswered_at_end = False


class _Source:
    """One stream of one start. record: the lines of the open record, begun at since_ns (Unix nanoseconds).

    unanswered: pieces without an answer. ended: the stream has ended.
    """

    __slots__ = ("child", "ended", "number", "record", "record_bytes", "since_ns", "unanswered")

    def __init__(self, number: int, child: _Child) -> None:
        self.number = number
        self.child = child
        self.unanswered = 0
        self.ended = False
        self.record: list[bytes] = []
        self.record_bytes = 0
        self.since_ns = 0

    def add(self, text: bytes, now_ns: int) -> None:
        """Add lines, without the last newline, to the open record, or begin one."""
        if not self.record:
            self.since_ns = now_ns
        self.record.append(text)
        self.record_bytes += len(text) + 1


class MultilineAssembler:
    """All children and sources. A source is one stream of one start; its number, from open(), is never used again.

    receiver: gets the records.
    """

    def __init__(self, context: Context, receiver: Receiver) -> None:
        # A stop signal that is sent to all processes (kill -1) must not end a child with lines to answer: it ends with
        # its input. The signals are blocked, not ignored: that holds from before the exec on.
        given = context.given
        self._given = signals.InheritedSignals(given.mask | signals.STOP_SIGNALS | {signals.HUP}, given.ignored)
        self._context = context
        self._receiver = receiver
        self._current: dict[str, _Child] = {}
        self._running: dict[str, _Child] = {}  # key -> child, from its fork until it is reaped
        self._sources: dict[int, _Source] = {}
        self._idle_since: dict[int, float] = {}  # source with an open record -> monotonic seconds, earliest first
        self._count = 0

    # --- sources -------------------------------------------------------------------------------------

    def open(self, service: str, pattern: str) -> int:
        """Add a source, and a child unless the service has one with this pattern. Returns the source's number."""
        child = self._current.get(service)
        if child is None or child.pattern != pattern or not child.answers or child.process.input.ending:
            self.forget(service)
            child = self._current[service] = self._start(service, pattern)
        self._count += 1
        self._sources[self._count] = _Source(self._count, child)
        return self._count

    def feed(self, number: int, lines: bytes, now_ns: int) -> None:
        """Add whole lines of a source, at least one. Without a child, each becomes a record at once."""
        source = self._sources[number]
        child = source.child
        if not child.answers:
            self._receiver.write_records(number, lines[:-1].split(b"\n"), now_ns)
            return
        self._record_goes_on(number)
        source.unanswered += 1
        child.unanswered.append((source, lines, lines.count(b"\n"), now_ns))
        child.bytes_unanswered += len(lines)
        child.full = child.full or child.bytes_unanswered >= _UNANSWERED_MAX
        child.process.input.write(lines)

    def end(self, number: int) -> None:
        """The stream has ended. Receiver.source_finished() follows, when its lines are answered."""
        source = self._sources[number]
        source.ended = True
        if not source.unanswered:
            self._all_answered(source)

    def full(self, number: int) -> bool:
        """Whether the source's stream must not be read until Receiver.resume() is called."""
        return self._sources[number].child.full

    def forget(self, service: str) -> None:
        """The service has no pattern any more, or is gone: its child ends when it has answered."""
        child = self._current.pop(service, None)
        if child is not None:
            child.process.input.end()

    def close(self) -> None:
        """End all children when they have answered. Lines that come later are a record each."""
        for child in self._current.values():
            child.process.input.end()

    def finish(self, seconds_left: Callable[[], float]) -> None:
        """Emit all records, at the end of the container, assembled as far as the children answer in time."""
        self.close()
        while (children := self._answering()) and (left := seconds_left()) > 0:
            poll = select.poll()
            for child in children:
                poll.register(child.process.output, select.POLLIN)
                if child.process.input.fd >= 0:
                    poll.register(child.process.input.fd, select.POLLOUT)
            if not poll.poll(min(left, _STALL_SECONDS) * 1000):
                break
            for child in children:
                child.process.input.flush()
                child.process.read()
        for child in self._answering():
            self._stop_using(child)

    def _answering(self) -> list[_Child]:
        return [child for child in self._running.values() if child.answers]

    # --- children ------------------------------------------------------------------------------------

    def _new(self, service: str, pattern: str, key: str) -> _Child:
        process = SideProcess(
            self._context,
            key,
            lambda data: self._read_answers(child, data),
            lambda code, why: self._ended(child, code, why),
            given=self._given,
        )
        child = _Child(service, pattern, process)
        return child

    def _start(self, service: str, pattern: str) -> _Child:
        self._count += 1
        child = self._new(service, pattern, f"{service}{KEY}{self._count}")
        try:
            child.process.start(program("multiline", str(_SECONDS_MAX), pattern))
        except OSError as error:
            self._warn(service, start_failure.no_room(error))
            return child
        child.answers = True
        self._running[child.process.key] = child
        return child

    def _stop_using(self, child: _Child) -> None:
        """The child answers no more: its unanswered lines become a record each."""
        if not child.answers:
            return
        child.answers = False
        child.process.input.close()
        child.process.close_output()
        child.unanswered_at_end = bool(child.unanswered)
        child.received += _BEGINS * (sum(count for _, _, count, _ in child.unanswered) - len(child.received))
        self._process_answers(child)
        for source in [source for source in self._sources.values() if source.child is child]:
            self._all_answered(source)

    def _ended(self, child: _Child, code: int, why: str) -> None:
        del self._running[child.process.key]
        self._stop_using(child)
        if not child.process.input.ending or (code and child.unanswered_at_end):
            self._warn(child.service, _failure(code, why))

    def _warn(self, service: str, why: str) -> None:
        effect = "each line is a record until the next start"
        self._context.log("warning", service, f"cannot assemble multiline records: {why} ({effect})")

    # --- time ----------------------------------------------------------------------------------------

    def set_timer(self) -> None:
        """Wait for the end of the next open record of a stream that is read. To be called when that has changed."""
        number = next((number for number in self._idle_since if not self._receiver.is_paused(number)), 0)
        deadline = self._idle_since[number] + _IDLE_SECONDS if number else None
        self._context.poller.call_at(_IDLE, deadline, lambda: self._end_record(number))

    def _end_record(self, number: int) -> None:
        if not self._receiver.is_paused(number):
            self._emit_record(self._sources[number])
        self.set_timer()

    def _record_goes_on(self, number: int) -> None:
        if self._idle_since.pop(number, None) is not None:
            self.set_timer()

    # --- answers -------------------------------------------------------------------------------------

    def _read_answers(self, child: _Child, data: bytes) -> None:
        if data:
            child.received += data
            self._process_answers(child)
        else:
            self._stop_using(child)

    def _process_answers(self, child: _Child) -> None:
        """Assemble the first pieces, as many as are completely answered."""
        received, unanswered = child.received, child.unanswered
        while unanswered and len(received) >= unanswered[0][2]:
            source, lines, count, now_ns = unanswered.pop(0)
            starts = bytes(received[:count])
            del received[:count]
            child.bytes_unanswered -= len(lines)
            source.unanswered -= 1
            self._assemble(source, lines, starts, now_ns)
            if not source.unanswered:
                self._all_answered(source)
        if child.full and child.bytes_unanswered <= _UNANSWERED_RESUME:
            child.full = False
            self._receiver.resume(child.service)

    def _assemble(self, source: _Source, lines: bytes, starts: bytes, now_ns: int) -> None:
        """Emit complete records of answered lines. The last record stays open."""
        first = starts.find(_BEGINS)
        if first < 0:
            source.add(lines[:-1], now_ns)
        else:
            texts = lines[:-1].split(b"\n")
            if first:
                source.add(b"\n".join(texts[:first]), now_ns)
            self._emit_record(source)
            records = _split_records(texts, starts, first) if _GOES_ON in starts else texts
            last = records.pop()
            if records:
                self._receiver.write_records(source.number, records, now_ns)
            source.add(last, now_ns)
        if source.record_bytes >= _RECORD_MAX:
            self._emit_record(source)

    def _all_answered(self, source: _Source) -> None:
        """All lines of the source are answered: end its record, at once or after 200 ms."""
        if source.ended or not source.child.answers:
            self._emit_record(source)
        elif source.record:
            self._idle_since[source.number] = time.monotonic()
            self.set_timer()
        if source.ended:
            del self._sources[source.number]
            self._receiver.source_finished(source.number)

    def _emit_record(self, source: _Source) -> None:
        self._record_goes_on(source.number)
        if source.record:
            record = b"\n".join(source.record)
            source.record, source.record_bytes = [], 0
            self._receiver.write_records(source.number, [record], source.since_ns)

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Descriptors that must stay open across the exec."""
        return [fd for child in self._running.values() for fd in child.process.descriptors()]

    def to_plain(self) -> dict[str, Any]:
        """The whole state. The children keep running."""
        all_children = (
            *self._current.values(),
            *self._running.values(),
            *(each.child for each in self._sources.values()),
        )
        children = {each.process.key: each for each in all_children}
        return {
            "count": self._count,
            "children": [
                (
                    (each.service, each.pattern, key),
                    each.process.to_plain(),
                    (each.answers, bytes(each.received), each.full, each.unanswered_at_end),
                    [(source.number, lines, count, now_ns) for source, lines, count, now_ns in each.unanswered],
                )
                for key, each in children.items()
            ],
            "sources": [
                (each.number, each.child.process.key, each.unanswered, each.ended, each.record, each.since_ns)
                for each in self._sources.values()
            ],
            "wanted": [each.process.key for each in self._current.values()],
            "quiet": self._idle_since,
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(), after the receiver. The descriptors are open under the same numbers."""
        self._count = plain["count"]
        children: dict[str, _Child] = {}
        for names, process, (answers, received, *states), _ in plain["children"]:
            child = children[names[-1]] = self._new(*names)
            child.process.restore(process)
            child.answers = answers
            child.received += received
            child.full, child.unanswered_at_end = states
        for number, key, unanswered, ended, record, since_ns in plain["sources"]:
            source = self._sources[number] = _Source(number, children[key])
            source.unanswered, source.ended, source.record, source.since_ns = unanswered, ended, record, since_ns
            source.record_bytes = sum(len(text) + 1 for text in record)
        for names, _, _, pieces in plain["children"]:
            child = children[names[-1]]
            child.unanswered += [(self._sources[number], *piece) for number, *piece in pieces]
            child.bytes_unanswered = sum(len(lines) for _, lines, _, _ in pieces)
        self._current = {children[key].service: children[key] for key in plain["wanted"]}
        self._running = {key: child for key, child in children.items() if child.process.running}
        self._idle_since = plain["quiet"]
        self.set_timer()

    def tasks(self) -> dict[str, Ended]:
        """The keys of the running children, and what must be called when they end."""
        return {key: child.process.ended for key, child in self._running.items()}


def _split_records(texts: list[bytes], starts: bytes, first: int) -> list[bytes]:
    """Join lines to records. first: the index of the first line that begins a record."""
    records = []
    while (following := starts.find(_BEGINS, first + 1)) >= 0:
        records.append(b"\n".join(texts[first:following]))
        first = following
    records.append(b"\n".join(texts[first:]))
    return records


def _failure(code: int, why: str) -> str:
    if why:
        return f"cannot start the child that searches for the pattern: {why}"
    if code == _TOO_LONG:
        return f"the regular expression takes more than {format_duration(_SECONDS_MAX)} (make it simpler)"
    return f"the child that searches for the pattern ended with {describe_exit(code)}"
