"""Assembles multiline records (tracebacks) for services with a multiline pattern.

A child answers for each line whether it begins a record (multiline_classifiers.py). A record goes from a line that
begins one to the next such line of the same stream. Lines before the first are a record too. A record ends after 200 ms
without another line, and at 1 MiB; lines that follow are a record without a beginning.
"""

from __future__ import annotations

import time

from cohabit.reactor.logs.multiline_classifiers import BEGINS, GOES_ON, Classifiers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from cohabit.reactor.context import Context, Ended
    from cohabit.reactor.logs.multiline_classifiers import Classifier

    class Receiver(Protocol):
        """Receives the records; Router."""

        def write_records(self, source: int, records: list[bytes], now_ns: int) -> None:
            """Whole records, in order, each without its last newline. now_ns: when their lines were read."""

        def source_finished(self, source: int) -> None:
            """The source has no more records. Called once, after end()."""

        def resume(self, service: str) -> None:
            """The service's sources are no longer full."""

        def is_paused(self, source: int) -> bool:
            """Whether the source's stream is not being read; then its record is not ended after 200 ms."""


_IDLE = ("multiline", "")  # key of the timer that ends the next record
_IDLE_SECONDS = 0.2
_RECORD_MAX = 1_048_576


class _Source:
    """One stream of one start. record: the lines of the open record, begun at since_ns (Unix nanoseconds).

    unanswered: pieces without an answer. ended: the stream has ended.
    """

    __slots__ = ("child", "ended", "number", "record", "record_bytes", "since_ns", "unanswered")

    def __init__(self, number: int, child: Classifier) -> None:
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
    """All sources. A source is one stream of one start; its number, from open(), is never used again.

    receiver: gets the records.
    """

    def __init__(self, context: Context, receiver: Receiver) -> None:
        self._poller = context.poller
        self._receiver = receiver
        self._classifiers = Classifiers(context, self._assemble_answered)
        self._sources: dict[int, _Source] = {}
        self._idle_since: dict[int, float] = {}  # source with an open record -> monotonic seconds, earliest first
        self._count = 0

    # --- sources -------------------------------------------------------------------------------------

    def open(self, service: str, pattern: str) -> int:
        """Add a source, and a child unless the service has one with this pattern. Returns the source's number."""
        self._count += 1
        self._sources[self._count] = _Source(self._count, self._classifiers.of(service, pattern))
        return self._count

    def feed(self, number: int, lines: bytes, now_ns: int) -> None:
        """Add whole lines of a source, at least one. Without a child, each becomes a record at once."""
        source = self._sources[number]
        if not source.child.answers:
            self._receiver.write_records(number, lines[:-1].split(b"\n"), now_ns)
            return
        self._record_goes_on(number)
        source.unanswered += 1
        source.child.feed(number, lines, now_ns)

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
        """The service has no pattern any more, or is gone."""
        self._classifiers.forget(service)

    def close(self) -> None:
        """End all children when they have answered. Lines that come later are a record each."""
        self._classifiers.close()

    def finish(self, seconds_left: Callable[[], float]) -> None:
        """Emit all records, at the end of the container, assembled as far as the children answer in time."""
        self._classifiers.finish(seconds_left)

    # --- time ----------------------------------------------------------------------------------------

    def set_timer(self) -> None:
        """Wait for the end of the next open record of a stream that is read. To be called when that has changed."""
        number = next((number for number in self._idle_since if not self._receiver.is_paused(number)), 0)
        deadline = self._idle_since[number] + _IDLE_SECONDS if number else None
        self._poller.call_at(_IDLE, deadline, lambda: self._end_record(number))

    def _end_record(self, number: int) -> None:
        if not self._receiver.is_paused(number):
            self._emit_record(self._sources[number])
        self.set_timer()

    def _record_goes_on(self, number: int) -> None:
        if self._idle_since.pop(number, None) is not None:
            self.set_timer()

    # --- answers -------------------------------------------------------------------------------------

    def _assemble_answered(self, child: Classifier) -> None:
        """Assemble the first pieces, as many as are completely answered."""
        while (answered := child.take_answered()) is not None:
            number, lines, starts, now_ns = answered
            source = self._sources[number]
            source.unanswered -= 1
            self._assemble(source, lines, starts, now_ns)
            if not source.unanswered:
                self._all_answered(source)
        if child.has_room_again():
            self._receiver.resume(child.service)
        if not child.answers:
            for source in [source for source in self._sources.values() if source.child is child]:
                self._all_answered(source)

    def _assemble(self, source: _Source, lines: bytes, starts: bytes, now_ns: int) -> None:
        """Emit complete records of answered lines. The last record stays open."""
        first = starts.find(BEGINS)
        if first < 0:
            source.add(lines[:-1], now_ns)
        else:
            texts = lines[:-1].split(b"\n")
            if first:
                source.add(b"\n".join(texts[:first]), now_ns)
            self._emit_record(source)
            records = _split_records(texts, starts, first) if GOES_ON in starts else texts
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
        return self._classifiers.descriptors()

    def to_plain(self) -> dict[str, Any]:
        """The whole state. The children keep running."""
        return {
            "count": self._count,
            "classifiers": self._classifiers.to_plain(each.child for each in self._sources.values()),
            "sources": [
                (each.number, each.child.process.key, each.unanswered, each.ended, each.record, each.since_ns)
                for each in self._sources.values()
            ],
            "quiet": self._idle_since,
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(), after the receiver. The descriptors are open under the same numbers."""
        self._count = plain["count"]
        children = self._classifiers.restore(plain["classifiers"])
        for number, key, unanswered, ended, record, since_ns in plain["sources"]:
            source = self._sources[number] = _Source(number, children[key])
            source.unanswered, source.ended, source.record, source.since_ns = unanswered, ended, record, since_ns
            source.record_bytes = sum(len(text) + 1 for text in record)
        self._idle_since = plain["quiet"]
        self.set_timer()

    def tasks(self) -> dict[str, Ended]:
        """The keys of the running children, and what must be called when they end."""
        return self._classifiers.tasks()


def _split_records(texts: list[bytes], starts: bytes, first: int) -> list[bytes]:
    """Join lines to records. first: the index of the first line that begins a record."""
    records = []
    while (following := starts.find(BEGINS, first + 1)) >= 0:
        records.append(b"\n".join(texts[first:following]))
        first = following
    records.append(b"\n".join(texts[first:]))
    return records
