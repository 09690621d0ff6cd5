"""Read what services write to their pipes and pass it to its destinations, in whole lines.

Each start of a service gets two new pipes. What is read is cut at its last newline (stream.py), secrets are masked
(mask.py), the lines are recorded (recent_lines.py), joined to records if the service has a pattern
(multiline_assembler.py), and given to the stream's targets (target.py). At the end of a pipe, an unfinished line gets
a newline.

A service with `raw` as its only driver has its bytes moved with splice(2) where possible. Spliced bytes are not seen,
so they are not recorded. While a client follows the service, or it has a log probe, its bytes are read.

Back pressure. A target in blocking mode must wait while its sink is blocked (target.py). A stream is paused while one
of its targets must wait, its log probe's tap is full, or too much of its service waits for the multiline child: its
descriptor is removed from epoll and its pipe is not read, so the service blocks in write(2). Only that service waits.
`Stream.paused` is the state; `waits_to_splice` means that splice(2) found the sink full, with nothing pending in it.
`Destination.watched` is the descriptor in epoll (EPOLLOUT) while output is pending or a stream waits to splice. When a
destination accepts output again, its streams are read in the order of their pauses.
"""

from __future__ import annotations

import select
import time

from cohabit.plan.model import OWN_NAME
from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.budget import SMALL_BYTES, RateLimiter
from cohabit.reactor.linux import os
from cohabit.reactor.logs.destinations import Destinations
from cohabit.reactor.logs.formats import Origin
from cohabit.reactor.logs.mask import Mask
from cohabit.reactor.logs.multiline_assembler import MultilineAssembler
from cohabit.reactor.logs.recent_lines import RecentLines
from cohabit.reactor.logs.sink import enlarge_pipe, pipe_bytes
from cohabit.reactor.logs.stream import READ_SIZE, Stream
from cohabit.reactor.poller import Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol

    from cohabit.plan.model import Logging, Service
    from cohabit.reactor.context import Context
    from cohabit.reactor.logs.sink import Sink
    from cohabit.reactor.logs.target import Destination

    Copy = Callable[[str, str, float, bytes], None]

    class Tap(Protocol):
        """Gets a copy of what a service writes: complete, in order, and without blocking."""

        @property
        def full(self) -> bool:
            """Whether nothing more may be fed until Output.resume() is called."""

        def feed(self, source: int, data: bytes, /) -> None:
            """Give what was read from this descriptor; b"" for its end."""


_BIG_PIPES = 64  # all pipes of a user share 64 MiB; beyond that new ones have one or two pages (pipe(7))
_HEAP_SLACK_SIZE = 524_288
_SECONDS_PER_NS = 1e-9
_READING = ("output", "")  # key of the timer that ends a pause of all streams


class Output:
    """All streams. recent_lines: the last lines of each service; multiline: assembles their multiline records."""

    def __init__(self, context: Context, stdout: Sink, stderr: Sink) -> None:
        self._poller = context.poller
        self._sources = Group(context.poller, self._read)  # all streams, which can be paused together
        self.destinations = Destinations(context, stdout, stderr, self._watch, self._resume_destination)
        self.multiline = MultilineAssembler(context, self)
        self.recent_lines = RecentLines()
        self.mask = Mask()
        self._streams: dict[int, Stream] = {}
        self._paused: list[Stream] = []
        self._multiline: dict[int, Stream] = {}  # source number -> stream, open or closed, with records to come
        self._own = self.destinations.own(())
        self._own_entries: tuple[Logging, ...] = ()
        self._copy: Copy | None = None
        self._followed: frozenset[str] | None = None
        self._taps: dict[str, Tap] = {}
        self._rate_limiter = RateLimiter()
        self._small_reads = 0
        self._early_messages: list[tuple[str, str, str]] | None = []  # own messages, until their format is known
        _keep_heap()

    # --- services ------------------------------------------------------------------------------------

    def name_services(self, names: list[str], own: tuple[Logging, ...] = ()) -> None:
        """Set all names; prefix width and colours follow. own: the logging entries for cohabit's own messages."""
        self.destinations.name_services(names)
        self.recent_lines.name_services(names)
        self._own_entries = own
        self._own = self.destinations.own(own)
        self._close_unused()
        self._write_early_messages()

    def hide(self, paths: Iterable[str]) -> list[str]:
        """Mask what these secret files contain from now on. Returns warnings. Raises OSError: out of resources."""
        problems = self.mask.learn(paths)
        for stream in self._streams.values() if self.mask.texts else ():
            if stream.raw:
                stream.partial.clear()  # already written
            stream.raw = stream.splices = False
        return problems

    def forget(self, service: str) -> None:
        """Drop what is held for a service that is in no plan any more and has no processes."""
        self.recent_lines.forget(service)
        self.multiline.forget(service)
        self._close_unused()

    def _close_unused(self) -> None:
        streams = (*self._streams.values(), *self._multiline.values())
        used = {target.destination for each in streams for target in each.targets}
        self.destinations.close_unused(used | {target.destination for target in self._own})

    def open(self, service: Service, uid: int | None) -> tuple[list[int], list[Stream]]:
        """Make two pipes for one start. Returns their write ends, and the streams. Raises OSError: out of resources.

        uid: the service's user. It becomes the owner of the pipes, so that the service can open its /dev/stdout.
        """
        ends: list[int] = []
        streams: list[Stream] = []
        try:
            for kind in ("stdout", "stderr"):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                ends.append(writer)
                os.set_blocking(reader, False)
                if kind == "stdout" and len(self._streams) < _BIG_PIPES:
                    enlarge_pipe(reader)
                origin = Origin(service.name, kind, service.service, service.replica)
                stream = Stream(origin, reader, service.logging, service.multiline_pattern)
                stream.raw = _is_raw(service) and not self.mask.texts
                streams.append(self._add(stream))
                if stream.pattern:
                    stream.source = self.multiline.open(service.name, stream.pattern)
                    self._multiline[stream.source] = stream
                if uid is not None:
                    _change_owner(writer, uid)
        except OSError:
            for end in ends:
                os.close(end)
            raise
        return ends, streams

    def _add(self, stream: Stream) -> Stream:
        stream.targets = self.destinations.targets(stream.entries, stream.origin)
        stream.splices = stream.raw and self.destinations.can_splice(stream.origin.stream)
        if stream.fd >= 0:
            os.set_inheritable(stream.fd, False)
            self._sources.add(stream.fd)
            self._streams[stream.fd] = stream
        return stream

    # --- events --------------------------------------------------------------------------------------

    def _read(self, fds: list[int]) -> None:
        """Read once from each stream that is ready."""
        for fd in fds:
            stream = self._streams.get(fd)
            if stream is None:
                continue  # closed while another stream was handled
            if self._must_pause(stream):
                self._pause(stream)
            else:
                self._transfer(stream)
        count, self._small_reads = self._small_reads, 0
        paused_until = self._rate_limiter.read(count)
        if paused_until is not None:
            self._sources.pause()
            self._poller.call_at(_READING, paused_until, self._sources.resume)

    def tap(self, service: str, tap: Tap | None) -> None:
        """Give a copy of what the service writes to `tap` from now on; None ends it. A full tap pauses its streams."""
        self._taps.pop(service, None)
        if tap is None:
            self.resume(service)
        else:
            self._taps[service] = tap

    def follow(self, copy: Copy | None, services: frozenset[str] | None = None) -> None:
        """Pass each recorded piece, of own messages too (service "cohabit"), to `copy` from now on; None ends it.

        copy(service, "stdout" or "stderr", Unix time of the read, whole lines). services: None for all services.
        """
        self._copy, self._followed = copy, services

    def unfinished(self, service: str) -> list[tuple[int, bytes]]:
        """(descriptor, beginning of the line) of each stream of the service with an unfinished line."""
        streams = self._streams.values()
        return [(each.fd, bytes(each.partial)) for each in streams if each.service == service and each.partial]

    def drain_service(self, service: str) -> None:
        """Read what an ended service left in its pipes, so that it is written before the message about its end."""
        for stream in [stream for stream in self._streams.values() if stream.service == service]:
            for _ in range(_reads_to_empty(stream)):
                if stream.fd not in self._streams or stream.must_wait() or not self._transfer(stream):
                    break

    def finish(self, seconds_left: Callable[[], float]) -> int:
        """Write all that is in pipes or pending, within seconds_left(). Returns how many bytes were not accepted."""
        self._write_early_messages()
        destinations = self.destinations.all()
        unread = 0
        for stream in list(self._streams.values()):
            stream.splices = False  # so that the sink holds what is not accepted, not the pipe
            for _ in range(_reads_to_empty(stream)):
                if stream.fd not in self._streams or not self._transfer(stream):
                    break
                for target in stream.targets:
                    target.destination.sink.drain(seconds_left)
                if stream.must_wait():
                    break
            if stream.fd in self._streams:
                unread += pipe_bytes(stream.fd)
                self._close(stream)
        if self._multiline:
            self.multiline.finish(seconds_left)
        for destination in destinations:
            destination.drain(seconds_left)
        return unread + sum(destination.pending_bytes for destination in destinations)

    def say(self, level: str, label: str, text: str) -> None:
        """Write a message of cohabit itself.

        level: "info", "warning" or "error"; label: "" writes the text without a prefix where the format is for people.
        Messages wait until the first plan sets their format. An error is written at once, after those that wait.
        """
        if self._early_messages is not None:
            if level != "error":
                self._early_messages.append((level, label, text))
                return
            self._write_early_messages()
        now_ns = time.time_ns()
        message = self.mask.hide(text.encode("utf-8", "surrogateescape"))
        for target in self._own:
            target.message(level, message, now_ns, bare=not label)
            self._watch(target.destination)
        self._record(OWN_NAME, "stderr", message + b"\n", now_ns)

    def _write_early_messages(self) -> None:
        messages, self._early_messages = self._early_messages or (), None
        for level, label, text in messages:
            self.say(level, label, text)

    # --- from a pipe to its targets -------------------------------------------------------------------

    def _transfer(self, stream: Stream) -> bool:
        """Read or splice once. Returns False when nothing (more) was there."""
        tap = self._taps.get(stream.service)
        if stream.splices and tap is None and not self._is_followed(stream.service):
            if self._splice(stream):
                return True
            if stream.paused:
                return False
        try:
            data = stream.read()
        except BlockingIOError:
            return False
        if len(data) < SMALL_BYTES:
            self._small_reads += 1
        if tap is not None:
            tap.feed(stream.fd, data)
        if not data:
            self._close(stream)
            return False
        if stream.raw:
            stream.targets[0].destination.sink.write(data)
        lines = stream.take_lines(data)
        if lines:
            self._deliver(stream, lines)
        elif stream.is_too_long:
            self._flush_long_line(stream)
        for target in stream.targets:
            if target.destination.has_pending:
                self._watch(target.destination)
        return True

    def _flush_long_line(self, stream: Stream) -> None:
        """Write a line that is too long in pieces. An end that may begin a secret is kept."""
        kept = max(0, self.mask.longest - 1)
        if self.mask.texts:
            stream.partial = bytearray(self.mask.hide(bytes(stream.partial)))
        if len(stream.partial) > kept:
            self._deliver(stream, stream.take_partial(kept))

    def _deliver(self, stream: Stream, lines: bytes) -> None:
        """Mask, record and write whole lines. A raw stream's bytes are written already."""
        now_ns = time.time_ns()
        if self.mask.texts:
            lines = self.mask.hide(lines)
        if stream.source:
            self.multiline.feed(stream.source, lines, now_ns)
        elif not stream.raw:
            for target in stream.targets:
                target.lines(lines, now_ns)
        self._record(stream.service, stream.origin.stream, lines, now_ns)

    def _record(self, service: str, kind: str, lines: bytes, now_ns: int) -> None:
        now = now_ns * _SECONDS_PER_NS
        self.recent_lines.append(service, kind, lines, now)
        if self._copy is not None and self._is_followed(service):
            self._copy(service, kind, now, lines)

    def _is_followed(self, service: str) -> bool:
        return self._copy is not None and (self._followed is None or service in self._followed)

    def _splice(self, stream: Stream) -> bool:
        """Move bytes from pipe to sink in the kernel. If the kernel cannot, the stream is read from now on."""
        destination = stream.targets[0].destination
        sink: Any = destination.sink
        if sink.blocked or sink.lost:
            return False
        try:
            moved = os.splice(stream.fd, sink.fd, 1 << 20, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except BlockingIOError:
            if not sink.has_room():  # otherwise the source pipe is empty
                stream.waits_to_splice = True
                self._pause(stream)
                self._watch(destination)
            return False
        except OSError:
            stream.splices = False
            return False
        if moved:
            stream.partial.clear()  # the end of that line was spliced, unread
        return moved > 0

    def _close(self, stream: Stream) -> None:
        if stream.partial:
            self._deliver(stream, stream.take_partial())
            for target in stream.targets:
                self._watch(target.destination)
        if stream.paused:
            self._paused.remove(stream)
        else:
            self._sources.remove(stream.fd)
        del self._streams[stream.fd]
        os.close(stream.fd)
        stream.fd = -1
        if stream.source:
            self.multiline.end(stream.source)

    # --- records of several lines ---------------------------------------------------------------------

    def write_records(self, source: int, records: list[bytes], now_ns: int) -> None:
        """Write whole records of a source, each without its last newline."""
        for target in self._multiline[source].targets:
            target.records(records, now_ns)
            self._watch(target.destination)

    def source_finished(self, source: int) -> None:
        """The assembler has no more records of this source."""
        del self._multiline[source]

    def is_paused(self, source: int) -> bool:
        """Whether the source's stream is not being read."""
        return self._multiline[source].paused

    # --- back pressure -------------------------------------------------------------------------------

    def _must_pause(self, stream: Stream) -> bool:
        tap = self._taps.get(stream.service)
        assembler_full = stream.source and self.multiline.full(stream.source)
        return bool(assembler_full) or stream.must_wait() or (tap is not None and tap.full)

    def _pause(self, stream: Stream) -> None:
        """Stop listening to the stream: epoll is level-triggered and would never sleep."""
        if not stream.paused:
            stream.paused = True
            self._paused.append(stream)
            self._sources.remove(stream.fd)

    def _watch(self, destination: Destination) -> None:
        """Wait until the destination accepts output, if it has any pending or a stream waits to splice there."""
        if not destination.has_pending and not self._is_awaited(destination):
            self._unwatch(destination)
            return
        fd, key = destination.sink.fd, ("destination", destination.name)
        if fd >= 0 and destination.watched < 0:
            destination.watched = fd
            self._poller.add(fd, select.EPOLLOUT, lambda _: self._resume_destination(destination))
        self._poller.call_at(key, destination.retry_at, lambda: self._resume_destination(destination))

    def _is_awaited(self, destination: Destination) -> bool:
        return any(stream.waits_to_splice and stream.targets[0].destination is destination for stream in self._paused)

    def _unwatch(self, destination: Destination) -> None:
        self._poller.cancel(("destination", destination.name))
        if destination.watched >= 0:
            self._poller.remove(destination.watched)
            destination.watched = -1

    def _resume_destination(self, destination: Destination) -> None:
        self._unwatch(destination)  # before flush(), which may close the descriptor
        if destination.resume():
            self._resume_streams(lambda stream: any(target.destination is destination for target in stream.targets))
            destination.write_buffered()
        self._watch(destination)

    def resume(self, service: str) -> None:
        """Read the service's paused streams again: its tap or the assembler has room."""
        self._resume_streams(lambda stream: stream.service == service)

    def _resume_streams(self, which: Callable[[Stream], bool]) -> None:
        """Read each of these streams once, in the order in which they were paused, unless it must stay paused."""
        for stream in [stream for stream in self._paused if which(stream)]:
            if self._must_pause(stream) or stream not in self._paused:
                continue
            stream.paused = stream.waits_to_splice = False
            self._paused.remove(stream)
            self._sources.add(stream.fd)
            self._transfer(stream)
            if stream.source:
                self.multiline.set_timer()

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Descriptors that must stay open across the exec."""
        return [*self._streams, *self.destinations.descriptors()]

    def to_plain(self) -> dict[str, Any]:
        """Descriptors, and what was read and not yet written."""
        streams = dict.fromkeys((*self._streams.values(), *self._multiline.values()))
        saved_elsewhere = {target for each in streams for target in each.targets} | set(self._own)
        return {
            "streams": [stream.to_plain() for stream in streams],
            "targets": [target.to_plain() for target in self._own],
            "destinations": self.destinations.to_plain(saved_elsewhere),
            "memory": self.recent_lines.to_plain(),
            "names": self.destinations.names,
            "own": to_plain(self._own_entries),
            "mask": self.mask.to_plain(),
            "held": self._early_messages,
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(). The descriptors are open under the same numbers."""
        self.mask.restore(plain["mask"])
        self._early_messages = plain["held"]
        if self._early_messages is None:
            self.name_services(plain["names"], from_plain(plain["own"]))
        self.recent_lines.restore(plain["memory"])
        streams = [(Stream.from_plain(one), one) for one in plain["streams"]]
        for stream, _ in streams:
            if stream.source:
                self._multiline[stream.source] = stream
            self._add(stream)
        self.destinations.restore(plain["destinations"])
        targets = [target for stream, _ in streams for target in stream.targets]
        states = [state for _, one in streams for state in one["targets"]]
        for target, state in zip((*targets, *self._own), (*states, *plain["targets"]), strict=True):
            target.restore(state)
        for destination in self.destinations.all():
            self._watch(destination)


def _keep_heap() -> None:
    """Make the C library keep the memory that one event loop turn frees, for the next turn.

    glibc returns the top of its heap to the kernel when more than 128 KiB are free. A turn exceeds that: 20 page
    faults, half of its cost. Freeing one large block raises the limit to twice its size (mallopt(3),
    M_MMAP_THRESHOLD). It is never touched.
    """
    bytearray(_HEAP_SLACK_SIZE)


def _is_raw(service: Service) -> bool:
    alone = service.logging[0] if len(service.logging) == 1 else None
    return alone is not None and alone.driver == "raw" and alone.blocking and not service.multiline_pattern


def _reads_to_empty(stream: Stream) -> int:
    """How many reads empty the pipe of what is in it now. A bound, since the service may go on writing."""
    return pipe_bytes(stream.fd) // READ_SIZE + 2


def _change_owner(fd: int, uid: int) -> None:
    """Make a user the owner of a pipe, if permitted (CAP_CHOWN). Without it, only opening it anew fails."""
    try:
        os.fchown(fd, uid, -1)
    except PermissionError:
        return
