"""The pump: from the pipes of the services to where their output goes, whole lines at a time.

Each start of a service gets two fresh pipes. What arrives is cut at its last newline (stream.py), hidden where it is
secret (mask.py), remembered (memory.py), joined to records where somebody asked for it (joining.py) and handed to the
stream's targets (target.py), which write it. At the end of a pipe an unfinished last line is finished and written.
While a destination is blocked, the streams whose service is to wait are not read: the service waits, supervision does
not. A service with the one driver `raw` has its bytes moved with splice(2) where the kernel can: what goes that way we
do not see, so it is not remembered either; while somebody follows the service, nothing of it is spliced.
"""

from __future__ import annotations

import select
import time

from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.linux import os
from cohabit.reactor.logs.destinations import Destinations
from cohabit.reactor.logs.formats import Origin
from cohabit.reactor.logs.mask import Mask
from cohabit.reactor.logs.rate_limiter import SMALL_BYTES, RateLimiter
from cohabit.reactor.logs.recent_lines import OURSELVES, RecentLines
from cohabit.reactor.logs.sink import enlarge_pipe, pipe_bytes
from cohabit.reactor.logs.stream import READ_SIZE, Stream
from cohabit.reactor.poller import Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cohabit.plan.model import Logging, Service
    from cohabit.reactor.logs.multiline_assembler import MultilineAssembler
    from cohabit.reactor.logs.sink import Sink
    from cohabit.reactor.logs.tap import Tap
    from cohabit.reactor.logs.target import Destination
    from cohabit.reactor.poller import Registry

    Copy = Callable[[str, str, float, bytes], None]

_BIG_PIPES = 64  # all pipes of a user share 64 MiB; who used them up gets tiny ones (pipe(7), pipe-user-pages-soft)
_HEAP_SLACK_SIZE = 524_288
_NS = 1e-9


class Output:
    """All streams. memory: the last lines that came through; destinations: where they go."""

    def __init__(self, epoll: Registry, stdout: Sink, stderr: Sink) -> None:
        self._epoll = epoll
        self._sources = Group(epoll)  # of the streams, so that all can be paused at once
        self.destinations = Destinations(stdout, stderr, trouble=lambda text: self.say("warning", OURSELVES, text))
        self.memory = RecentLines()
        self.mask = Mask()
        self._streams: dict[int, Stream] = {}
        self._parked: list[Stream] = []
        self._joined: dict[int, Stream] = {}  # by source: streams, closed ones too, whose records may still come
        self.joiners: MultilineAssembler
        self._own = self.destinations.own(())
        self._own_entries: tuple[Logging, ...] = ()
        self._busy: dict[Destination, None] = {}  # those that have not taken all: a set, in order
        self._watched: dict[int, Destination] = {}
        self._copy: Copy | None = None
        self._followed: frozenset[str] | None = None
        self._taps: dict[str, Tap] = {}
        self._pace = RateLimiter()
        self._small = 0
        self._held: list[tuple[str, str, str]] | None = []  # our own messages until we know their form
        _keep_heap()

    # --- services come and go ------------------------------------------------------------------------

    def name_services(self, names: list[str], own: tuple[Logging, ...] = ()) -> None:
        """All names at once, so that prefixes line up and colours stay. own: how our own messages are written."""
        self.destinations.name_services(names)
        self.memory.name_services(names)
        self._own_entries = own
        self._own = self.destinations.own(own)
        self._close_unused()
        self._say_held()

    def hide(self, paths: Iterable[str]) -> list[str]:
        """From now on the texts in these files are hidden in all output. Returns what cannot be, for people."""
        problems = self.mask.learn(paths)
        for stream in self._streams.values() if self.mask.texts else ():
            if stream.raw:
                stream.partial.clear()  # that has been written
            stream.raw = stream.splices = False
        return problems

    def forget(self, service: str) -> None:
        """It is in no Plan any more, and nothing of it lives."""
        self.memory.forget(service)
        self.joiners.forget(service)
        self._close_unused()

    def _close_unused(self) -> None:
        streams = (*self._streams.values(), *self._joined.values())
        used = {target.destination for each in streams for target in each.targets}
        self.destinations.close_unused(used | {target.destination for target in self._own})

    def open(self, service: Service, uid: int | None) -> tuple[list[int], list[Stream]]:
        """Two fresh pipes for one start: their write ends, and our streams. Raises OSError when there is no room.

        A service that runs as another user gets to own them: else it could not open its own /dev/stdout.
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
                    stream.source = self.joiners.open(service.name, stream.pattern)
                    self._joined[stream.source] = stream
                if uid is not None:
                    _give_to(writer, uid)
        except OSError:
            for end in ends:
                os.close(end)
            raise
        return ends, streams

    def _add(self, stream: Stream) -> Stream:
        stream.targets = self.destinations.targets(stream.entries, stream.origin)
        stream.splices = stream.raw and self.destinations.takes_splices(stream.origin.stream)
        if stream.fd >= 0:
            os.set_inheritable(stream.fd, False)
            self._sources.register(stream.fd)
            self._streams[stream.fd] = stream
        return stream

    # --- events --------------------------------------------------------------------------------------

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd in self._watched or self._sources.owns(fd)

    def handle(self, fd: int) -> None:
        """One turn of each stream that has something, or of one destination that can take more."""
        if fd in self._watched:
            self._resume(self._watched[fd])
            return
        for source in self._sources.ready(fd):
            stream = self._streams.get(source)
            if stream is None:
                continue  # closed by the turn of another one
            if self._must_rest(stream):
                self._park(stream)
            else:
                self._pump(stream)
        small, self._small = self._small, 0
        if self._pace.read(small):
            self._sources.pause()

    def deadline(self) -> float | None:
        """Monotonic seconds at which to look again."""
        if not self._busy:
            return self._pace.rest_until
        moments = (self._pace.rest_until, *(one.retry_at for one in self._busy))
        return min((moment for moment in moments if moment is not None), default=None)

    def due(self, now: float) -> None:
        """Go on with what has waited long enough."""
        if self._pace.rest_until is not None and self._pace.rest_until <= now:
            self._pace.rest_until = None
            self._sources.resume()
        for destination in list(self._busy):
            moment = destination.retry_at
            if moment is not None and moment <= now:
                self._resume(destination)

    def tap(self, service: str, tap: Tap | None) -> None:
        """From now on `tap` gets a copy of what the service writes; while it is full the service's streams rest."""
        self._taps.pop(service, None)
        if tap is None:
            self.resume(service)
        else:
            self._taps[service] = tap

    def follow(self, copy: Copy | None, services: frozenset[str] | None = None) -> None:
        """From now on `copy` gets each piece that is remembered; None: nobody follows any more.

        copy(service, "stdout" or "stderr", Unix time of its reading, whole lines). services: of whom, None for all;
        our own messages are those of the service "cohabit".
        """
        self._copy, self._followed = copy, services

    def unfinished(self, service: str) -> list[tuple[int, bytes]]:
        """(stream, beginning of a line) where the service has not finished one."""
        streams = self._streams.values()
        return [(each.fd, bytes(each.partial)) for each in streams if each.service == service and each.partial]

    def drain_service(self, service: str) -> None:
        """Read what a service that ended has left in its pipes, so that it comes before what we say of it."""
        for stream in [stream for stream in self._streams.values() if stream.service == service]:
            for _ in range(_turns_to_empty(stream)):
                if stream.fd not in self._streams or stream.must_wait() or not self._pump(stream):
                    break

    def finish(self, seconds_left: Callable[[], float]) -> int:
        """The very end: everything that is in a pipe goes out, as far as somebody takes it in that time.

        Returns how many bytes nobody took.
        """
        self._say_held()
        destinations = self.destinations.all()
        unread = 0
        for stream in list(self._streams.values()):
            stream.splices = False  # what the sink has no room for must be held here, not left in the pipe
            for _ in range(_turns_to_empty(stream)):
                if stream.fd not in self._streams or not self._pump(stream):
                    break
                for target in stream.targets:
                    target.destination.sink.drain(seconds_left)
                if stream.must_wait():
                    break
            if stream.fd in self._streams:
                unread += pipe_bytes(stream.fd)
                self._close(stream)
        if self._joined:
            self.joiners.finish(seconds_left)
        for destination in destinations:
            destination.drain(seconds_left)
        return unread + sum(destination.pending_bytes for destination in destinations)

    def say(self, level: str, label: str, text: str) -> None:
        """A message of our own, in the same form as everybody's. level: "info", "warning", "error"; label "": as it is.

        What is said before the file was read waits for that, since the file says in which form; unless it is an error.
        """
        if self._held is not None:
            if level != "error":
                self._held.append((level, label, text))
                return
            self._say_held()
        now_ns = time.time_ns()
        message = self.mask.hide(text.encode("utf-8", "surrogateescape"))
        for target in self._own:
            target.message(level, message, now_ns, bare=not label)
            self._watch(target.destination)
        self._remember(OURSELVES, "stderr", message + b"\n", now_ns)

    def _say_held(self) -> None:
        held, self._held = self._held or (), None
        for level, label, text in held:
            self.say(level, label, text)

    # --- one turn ------------------------------------------------------------------------------------

    def _pump(self, stream: Stream) -> bool:
        """Move once what is there; False when there was nothing (more)."""
        tap = self._taps.get(stream.service)
        if stream.splices and tap is None and not self._is_followed(stream.service):
            if self._splice(stream):
                return True
            if stream.parked:
                return False
        try:
            data = stream.read()
        except BlockingIOError:
            return False
        if len(data) < SMALL_BYTES:
            self._small += 1
        if tap is not None:
            tap.feed(stream.fd, data)
        if not data:
            self._close(stream)
            return False
        if stream.raw:
            stream.targets[0].destination.sink.write(data)
        lines = stream.lines_of(data)
        if lines:
            self._pass_on(stream, lines)
        elif stream.too_long:
            self._cut(stream)
        for target in stream.targets:
            if target.destination.busy:
                self._watch(target.destination)
        return True

    def _cut(self, stream: Stream) -> None:
        """A line that is too long goes out in pieces; a secret that has only begun is not cut in two."""
        kept = max(0, self.mask.longest - 1)
        if self.mask.texts:
            stream.partial = bytearray(self.mask.hide(bytes(stream.partial)))
        if len(stream.partial) > kept:
            self._pass_on(stream, stream.rest(kept))

    def _pass_on(self, stream: Stream, lines: bytes) -> None:
        """Whole lines, to where they go; `raw` has written them as they came."""
        now_ns = time.time_ns()
        if self.mask.texts:
            lines = self.mask.hide(lines)
        if stream.source:
            self.joiners.feed(stream.source, lines, now_ns)
        elif not stream.raw:
            for target in stream.targets:
                target.lines(lines, now_ns)
        self._remember(stream.service, stream.origin.stream, lines, now_ns)

    def _remember(self, service: str, kind: str, lines: bytes, now_ns: int) -> None:
        now = now_ns * _NS
        self.memory.keep(service, kind, lines, now)
        if self._copy is not None and self._is_followed(service):
            self._copy(service, kind, now, lines)

    def _is_followed(self, service: str) -> bool:
        return self._copy is not None and (self._followed is None or service in self._followed)

    def _splice(self, stream: Stream) -> bool:
        """Move pages from pipe to pipe without touching them; where that cannot be, never try again."""
        destination = stream.targets[0].destination
        sink: Any = destination.sink
        if sink.blocked or sink.lost:
            return False
        try:
            moved = os.splice(stream.fd, sink.fd, 1 << 20, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except BlockingIOError:
            if not sink.has_room():  # else it is the source that has nothing
                stream.wants_room = True
                self._park(stream)
                self._watch(destination)
            return False
        except OSError:
            stream.splices = False
            return False
        if moved:
            stream.partial.clear()  # the end of that line has gone past us
        return moved > 0

    def _close(self, stream: Stream) -> None:
        if stream.partial:
            self._pass_on(stream, stream.rest())
            for target in stream.targets:
                self._watch(target.destination)
        if stream.parked:
            self._parked.remove(stream)
        else:
            self._sources.unregister(stream.fd)
        del self._streams[stream.fd]
        os.close(stream.fd)
        stream.fd = -1
        if stream.source:
            self.joiners.end(stream.source)

    # --- records of several lines ---------------------------------------------------------------------

    def joined(self, source: int, records: list[bytes], now_ns: int) -> None:
        """Whole records of a source, each without its last newline."""
        for target in self._joined[source].targets:
            target.records(records, now_ns)
            self._watch(target.destination)

    def all_joined(self, source: int) -> None:
        """That was its last record."""
        del self._joined[source]

    def rests(self, source: int) -> bool:
        """Its stream is not being read at present: that nothing comes means nothing."""
        return self._joined[source].parked

    # --- back pressure -------------------------------------------------------------------------------

    def _must_rest(self, stream: Stream) -> bool:
        tap = self._taps.get(stream.service)
        joining = stream.source and self.joiners.full(stream.source)
        return bool(joining) or stream.must_wait() or (tap is not None and tap.full)

    def _park(self, stream: Stream) -> None:
        """Its sink is full: do not listen to it until there is room, or epoll would never sleep."""
        if not stream.parked:
            stream.parked = True
            self._parked.append(stream)
            self._sources.unregister(stream.fd)

    def _watch(self, destination: Destination) -> None:
        """Have it resumed when it can take more, if somebody waits for that."""
        if not destination.busy and not self._is_wanted(destination):
            self._unwatch(destination)
            return
        self._busy[destination] = None
        fd = destination.sink.fd
        if fd >= 0 and destination.watched < 0:
            destination.watched = fd
            self._watched[fd] = destination
            self._epoll.register(fd, select.EPOLLOUT)

    def _is_wanted(self, destination: Destination) -> bool:
        """Whether a stream waits until it can be spliced there."""
        return any(stream.wants_room and stream.targets[0].destination is destination for stream in self._parked)

    def _unwatch(self, destination: Destination) -> None:
        self._busy.pop(destination, None)
        if destination.watched >= 0:
            del self._watched[destination.watched]
            self._epoll.unregister(destination.watched)
            destination.watched = -1

    def _resume(self, destination: Destination) -> None:
        self._unwatch(destination)  # while the descriptor is certainly the one that we know
        if destination.resume():
            self._unpark(lambda stream: any(target.destination is destination for target in stream.targets))
            destination.serve()
        self._watch(destination)

    def resume(self, service: str) -> None:
        """Its tap has room again, or is gone."""
        self._unpark(lambda stream: stream.service == service)

    def _unpark(self, which: Callable[[Stream], bool]) -> None:
        """Those streams have their turn at once, the one that has waited longest first, as far as there is room."""
        for stream in [stream for stream in self._parked if which(stream)]:
            if self._must_rest(stream) or stream not in self._parked:
                continue
            stream.parked = stream.wants_room = False
            self._parked.remove(stream)
            self._sources.register(stream.fd)
            self._pump(stream)

    # --- crossing a re-execution ---------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What must stay open across the exec."""
        return [*self._streams, *self.destinations.descriptors()]

    def to_plain(self) -> dict[str, Any]:
        """Descriptors with what was read and not yet written; nothing of it may be lost."""
        streams = dict.fromkeys((*self._streams.values(), *self._joined.values()))
        elsewhere = {target for each in streams for target in each.targets} | set(self._own)
        return {
            "streams": [stream.to_plain() for stream in streams],
            "targets": [target.to_plain() for target in self._own],
            "destinations": self.destinations.to_plain(elsewhere),
            "memory": self.memory.to_plain(),
            "names": self.destinations.names,
            "own": to_plain(self._own_entries),
            "mask": self.mask.to_plain(),
            "held": self._held,
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called; the descriptors are still open under their numbers."""
        self.mask.restore(plain["mask"])
        self._held = plain["held"]
        if self._held is None:
            self.name_services(plain["names"], from_plain(plain["own"]))
        self.memory.restore(plain["memory"])
        streams = [(Stream.from_plain(one), one) for one in plain["streams"]]
        for stream, _ in streams:
            if stream.source:
                self._joined[stream.source] = stream
            self._add(stream)
        self.destinations.restore(plain["destinations"])
        targets = [target for stream, _ in streams for target in stream.targets]
        saved = [kept for _, one in streams for kept in one["targets"]]
        for target, kept in zip((*targets, *self._own), (*saved, *plain["targets"]), strict=True):
            target.restore(kept)
        for destination in self.destinations.all():
            self._watch(destination)


def _keep_heap() -> None:
    """Have the C library keep what a turn gives back, since the next turn wants it again.

    glibc returns the end of its heap to the kernel when more than 128 KiB of it are free, which a turn exceeds: twenty
    page faults each time, half of all that a turn costs. Freeing one big block raises that limit to twice its size
    (mallopt(3), M_MMAP_THRESHOLD); nobody has touched it, so it was no memory.
    """
    bytearray(_HEAP_SLACK_SIZE)


def _is_raw(service: Service) -> bool:
    """Whether its bytes go out as they come."""
    alone = service.logging[0] if len(service.logging) == 1 else None
    return alone is not None and alone.driver == "raw" and alone.blocking and not service.multiline_pattern


def _turns_to_empty(stream: Stream) -> int:
    """How often to read for what is in its pipe now; more would be a trap while somebody fills it."""
    return pipe_bytes(stream.fd) // READ_SIZE + 2


def _give_to(fd: int, uid: int) -> None:
    """Make a user the owner, where we may (CAP_CHOWN): writing works in any case, only opening anew would not."""
    try:
        os.fchown(fd, uid, -1)
    except PermissionError:
        return
