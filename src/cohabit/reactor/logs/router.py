"""Passes what was read from a stream to all that want it: its targets, the recent lines, a log probe, a client.

Bytes are cut into whole lines (stream.py), secrets are masked (mask.py), the lines are recorded (recent_lines.py),
joined to records if the service has a pattern (multiline_assembler.py), and given to the stream's targets (target.py).
An unfinished line
is shown after 200 ms without more (unfinished.py). At the end of a stream, it gets a newline.
"""

from __future__ import annotations

import time

from cohabit.reactor.logs.destination import Held
from cohabit.reactor.logs.multiline_assembler import MultilineAssembler
from cohabit.reactor.logs.unfinished import UnfinishedLines, hide_secrets, visible_part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from cohabit.reactor.context import Context
    from cohabit.reactor.logs.destinations import Destinations
    from cohabit.reactor.logs.mask import Mask
    from cohabit.reactor.logs.recent_lines import RecentLines
    from cohabit.reactor.logs.stream import Stream

    Copy = Callable[[str, str, float, bytes], None]

    class Tap(Protocol):
        """Gets a copy of what a service writes: complete, in order, and without blocking."""

        @property
        def full(self) -> bool:
            """Whether nothing more may be fed until Router.resume() is called."""

        def feed(self, source: int, data: bytes, /) -> None:
            """Give what was read from this descriptor; b"" for its end."""

        def silent(self, source: int, /) -> None:
            """Nothing more has come for a while: the unfinished line is to be searched as it is."""


_SECONDS_PER_NS = 1e-9


class Router:
    """The way of each stream's bytes. multiline: assembles the records of several lines. unfinished: lines without end.

    sources: by its number, each stream, open or closed, with records to come.
    """

    def __init__(self, context: Context, destinations: Destinations, mask: Mask, recent_lines: RecentLines) -> None:
        self.mask = mask
        self.multiline = MultilineAssembler(context, self)
        self.unfinished = UnfinishedLines(context.poller, self._show_unfinished)
        self.sources: dict[int, Stream] = {}
        self._destinations = destinations
        self._recent_lines = recent_lines
        self._taps: dict[str, Tap] = {}
        self._held: dict[str, Held] = {}  # by service: its tap or its multiline child is full (destination.py)
        self._copy: Copy | None = None
        self._followed: frozenset[str] | None = None

    # --- who gets what -------------------------------------------------------------------------------

    def connect(self, stream: Stream) -> None:
        """Connect a new stream to its targets, and to its multiline child if it has a pattern."""
        stream.targets = self._destinations.targets(stream.entries, stream.origin)
        stream.splices = stream.raw and self._destinations.can_splice(stream.entries[0].output or stream.origin.stream)
        if stream.pattern and not stream.source:
            stream.source = self.multiline.open(stream.service, stream.pattern)
        if stream.source:
            self.sources[stream.source] = stream

    def tap(self, service: str, tap: Tap | None) -> None:
        """Give a copy of what the service writes to `tap` from now on; None ends it. A full tap pauses its streams."""
        self._taps.pop(service, None)
        if tap is None:
            self.resume(service)
        else:
            self._taps[service] = tap

    def follow(self, copy: Copy | None, services: frozenset[str] | None = None) -> None:
        """Pass each recorded piece, of own messages too (service "cohabit"), to `copy` from now on; None ends it.

        copy(service, "stdout" or "stderr", Unix time of the read, lines): the last line may be unfinished; its rest is
        passed later. services: None for all services.
        """
        self._copy, self._followed = copy, services

    def must_see(self, service: str) -> bool:
        """Whether the service's bytes must be read, since a tap or a client gets them."""
        return service in self._taps or self._is_followed(service)

    def _is_followed(self, service: str) -> bool:
        return self._copy is not None and (self._followed is None or service in self._followed)

    # --- from a stream to its targets ----------------------------------------------------------------

    def route(self, stream: Stream, data: bytes) -> None:
        """Pass on what was read, b"" at the end; the beginning of an unfinished line is kept."""
        tap = self._taps.get(stream.service)
        if tap is not None:
            tap.feed(stream.fd, data)
        if stream.raw and data:
            stream.targets[0].destination.write(data)
        lines = stream.take_lines(data)
        if lines:
            self._deliver(stream, lines)
        elif stream.is_too_long:
            self._flush_long_line(stream)
        if stream.partial:
            self.unfinished.note(stream)

    def end_line(self, stream: Stream) -> None:
        """No more follows: pass on the unfinished line."""
        if stream.partial:
            self._deliver(stream, stream.take_partial())

    def end(self, stream: Stream) -> None:
        """The stream is closed. Its records may follow."""
        if stream.source:
            self.multiline.end(stream.source)

    def _flush_long_line(self, stream: Stream) -> None:
        """Write a line that is too long in pieces. An end that may begin a secret is kept."""
        end = hide_secrets(stream, self.mask)
        if end > stream.shown:
            self._deliver(stream, stream.take_partial(len(stream.partial) - end))

    def _show_unfinished(self, stream: Stream) -> None:
        """The stream has been silent: show its unfinished line where bytes can be shown, and search it."""
        line = visible_part(stream, self.mask)
        tap = self._taps.get(stream.service)
        if tap is not None:
            tap.silent(stream.fd)
        now_ns = time.time_ns()
        if not (stream.raw or stream.source):
            for target in stream.targets:
                target.unfinished(line, now_ns)
        self._copy_to_clients(stream.service, stream.origin.stream, line[stream.shown :], now_ns)
        stream.shown = len(line)

    def _deliver(self, stream: Stream, lines: bytes) -> None:
        """Mask, record and write whole lines. A raw stream's bytes are written already."""
        now_ns = time.time_ns()
        shown, stream.shown = stream.shown, 0
        if self.mask.texts:
            lines = lines[:shown] + self.mask.hide(lines[shown:])
        if stream.source:
            self.multiline.feed(stream.source, lines, now_ns)
        elif not stream.raw:
            for target in stream.targets:
                target.lines(lines, now_ns)
        self.record(stream.service, stream.origin.stream, lines, now_ns, shown)

    def record(self, service: str, kind: str, lines: bytes, now_ns: int, shown: int = 0) -> None:
        """Record whole lines, masked already, and copy them to the clients. kind: "stdout" or "stderr".

        shown: how much of the first line the clients have got already.
        """
        self._recent_lines.append(service, kind, lines, now_ns * _SECONDS_PER_NS)
        self._copy_to_clients(service, kind, lines[shown:], now_ns)

    def _copy_to_clients(self, service: str, kind: str, data: bytes, now_ns: int) -> None:
        if self._copy is not None and data and self._is_followed(service):
            self._copy(service, kind, now_ns * _SECONDS_PER_NS, data)

    # --- back pressure (destination.py) --------------------------------------------------------------

    def cause(self, stream: Stream) -> Held | None:
        """The list of what does not accept the stream's output now; None: it may be read."""
        destination = stream.blocked_by()
        if destination is not None:
            return destination.held
        tap = self._taps.get(stream.service)
        if (tap is not None and tap.full) or (stream.source and self.multiline.full(stream.source)):
            return self._held.setdefault(stream.service, Held())
        return None

    def what_blocks(self, stream: Stream) -> tuple[str, str]:
        """What a paused stream waits for, for people, and why that accepts nothing; "" if it is not known."""
        destination = stream.blocked_by()
        if destination is not None:
            return destination.name, destination.sink.problem
        if stream.source and self.multiline.full(stream.source):
            return "the child that runs its multiline-pattern", ""
        return "the child that runs the pattern of its log probe", ""

    def resume(self, service: str) -> None:
        """The service's tap or its multiline child accepts more."""
        held = self._held.pop(service, None)
        if held is not None:
            held.resume()

    # --- records of several lines --------------------------------------------------------------------

    def write_records(self, source: int, records: list[bytes], now_ns: int) -> None:
        """Write whole records of a source, each without its last newline."""
        for target in self.sources[source].targets:
            target.records(records, now_ns)

    def source_finished(self, source: int) -> None:
        """The assembler has no more records of this source."""
        del self.sources[source]

    def is_paused(self, source: int) -> bool:
        """Whether the source's stream is not being read."""
        return self.sources[source].held_by is not None
