"""The pump: from the pipes of the services to the container's stdout and stderr, whole lines at a time.

Each start of a service gets two fresh pipes. What arrives is cut at its last newline, each line gets its
prefix, and the rest waits for its end, so lines of different services never tear each other. At the end of
a pipe an unfinished last line is finished and written. While a sink is blocked its streams are not read:
the services wait (as they do for Docker's blocking log mode), supervision does not. The `raw` driver moves
bytes as they are, with splice(2) where the kernel can: what goes that way we do not see, so it is not remembered
either. Everything else is remembered (memory.py), and copied to whoever follows; while somebody follows a service,
nothing of it is spliced.
"""

from __future__ import annotations

import select
import time

from cohabit.reactor.linux import os
from cohabit.reactor.logs.memory import OURSELVES, Memory
from cohabit.reactor.logs.sink import enlarge_pipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.reactor.logs.sink import Sink
    from cohabit.reactor.logs.tap import Tap

    Copy = Callable[[str, str, float, bytes], None]

READ_SIZE = 65_536  # one turn of one stream: then the others get theirs
_TURNS_TO_EMPTY = 6  # of a pipe that nobody fills any more; more would be a trap while somebody does
_BIG_PIPES = 64  # all pipes of a user share 64 MiB; who used them up gets tiny ones (pipe(7), pipe-user-pages-soft)
_HEAP_SLACK_SIZE = 524_288
_LINE_MAX = 1_048_576  # a longer line is cut, so that one service cannot eat process 1's memory

_COLOURS = (b"36", b"33", b"32", b"35", b"34", b"96", b"93", b"92", b"95", b"94")


class Stream:
    """One end of one pipe. partial: the beginning of a line whose end has not come yet; `raw` has written it on."""

    __slots__ = ("driver", "fd", "kind", "parked", "partial", "prefix", "service", "sink", "splices")

    def __init__(self, service: str, kind: str, fd: int, *, sink: Sink, prefix: bytes, driver: str) -> None:
        self.service = service
        self.kind = kind
        self.fd = fd
        self.sink = sink
        self.prefix = prefix
        self.driver = driver
        self.partial = bytearray()
        self.splices = driver == "raw"
        self.parked = False


class Output:
    """All streams, and the two sinks they end in. memory: the last lines that came through."""

    def __init__(self, epoll: select.epoll, stdout: Sink, stderr: Sink) -> None:
        self._epoll = epoll
        self._sinks = {"stdout": stdout, "stderr": stderr}
        self._streams: dict[int, Stream] = {}
        self.memory = Memory()
        self._copy: Copy | None = None
        self._followed: frozenset[str] | None = None
        self._watched: set[int] = set()
        self._numbers: dict[str, int] = {}
        self._taps: dict[str, Tap] = {}
        self._width = 0
        _keep_heap()

    # --- services come and go ------------------------------------------------------------------------

    def name_services(self, names: list[str]) -> None:
        """All names at once, so that prefixes line up and colours stay."""
        self._width = max(len(name) for name in (*names, OURSELVES))
        self._numbers = {name: number for number, name in enumerate(names)}
        self.memory.name_services(names)

    def forget(self, service: str) -> None:
        """It is in no Plan any more, and nothing of it lives."""
        self.memory.forget(service)

    def open(self, service: str, driver: str, uid: int | None) -> tuple[int, int]:
        """Two fresh pipes for one start; returns their write ends. Raises OSError when there is no room.

        A service that runs as another user gets to own them: else it could not open its own /dev/stdout.
        """
        ends: list[int] = []
        try:
            for kind in ("stdout", "stderr"):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                ends.append(writer)
                os.set_blocking(reader, False)
                if kind == "stdout" and len(self._streams) < _BIG_PIPES:
                    enlarge_pipe(reader)
                self._add(service, kind, reader, driver)
                if uid is not None:
                    _give_to(writer, uid)
        except OSError:
            for end in ends:
                os.close(end)
            raise
        return ends[0], ends[1]

    def _add(self, service: str, kind: str, fd: int, driver: str) -> Stream:
        sink = self._sinks[kind]
        stream = Stream(service, kind, fd, sink=sink, prefix=self._prefix(service, sink), driver=driver)
        self._streams[fd] = stream
        self._epoll.register(fd, select.EPOLLIN)
        return stream

    def _prefix(self, service: str, sink: Sink) -> bytes:
        label = service.ljust(self._width).encode() + b" | "
        if not sink.is_terminal:
            return label
        colour = _COLOURS[self._numbers.get(service, 0) % len(_COLOURS)]
        return b"\x1b[" + colour + b"m" + label + b"\x1b[0m"

    # --- events --------------------------------------------------------------------------------------

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd in self._streams or fd in self._watched

    def handle(self, fd: int) -> None:
        """One turn: read what one stream has, or write what one sink can take again."""
        stream = self._streams.get(fd)
        if stream is None:
            self._resume(fd)
        elif stream.sink.blocked or self._must_wait(stream.service):
            self._park(stream)
        else:
            self._pump(stream)

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
            for _ in range(_TURNS_TO_EMPTY):
                if stream.fd not in self._streams or stream.sink.blocked or not self._pump(stream):
                    break

    def finish(self, seconds_left: Callable[[], float]) -> int:
        """The very end: everything that is in a pipe goes out, as far as somebody reads it in that time.

        Returns how many bytes nobody read.
        """
        for stream in list(self._streams.values()):
            stream.splices = False  # what the sink has no room for must be held here, not left in the pipe
            for _ in range(_TURNS_TO_EMPTY):
                if stream.fd not in self._streams or not self._pump(stream):
                    break
                stream.sink.drain(seconds_left)
                if stream.sink.blocked:
                    break
            if stream.fd in self._streams:
                self._close(stream)
        sinks = set(self._sinks.values())
        for sink in sinks:
            sink.drain(seconds_left)
        return sum(sink.pending_bytes for sink in sinks)

    def say(self, label: str, text: str) -> None:
        """A line of our own on stderr, in the same form as everybody's."""
        sink = self._sinks["stderr"]
        prefix = self._prefix(label, sink) if label else b""
        message = text.encode("utf-8", "surrogateescape")
        sink.write_message(prefix + message.replace(b"\n", b"\n" + prefix) + b"\n")
        self._watch(sink)
        self._remember(OURSELVES, "stderr", message + b"\n")

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
            data = os.read(stream.fd, READ_SIZE)
        except BlockingIOError:
            return False
        if tap is not None:
            tap.feed(stream.fd, data)
        if not data:
            self._close(stream)
            return False
        if stream.driver == "raw":
            stream.sink.write(data)
        self._lines(stream, data)
        self._watch(stream.sink)
        return True

    def _lines(self, stream: Stream, data: bytes) -> None:
        """Whole lines go out; what comes after the last newline waits, unless it has grown too long.

        Most reads end inside a line, so beginnings and ends meet in the one join.
        """
        end = data.rfind(b"\n") + 1
        if not end:
            stream.partial += data
            if len(stream.partial) >= _LINE_MAX:
                self._finish_line(stream)
            return
        if stream.partial or end < len(data):
            lines = b"".join((stream.partial, memoryview(data)[:end]))
            stream.partial = bytearray(data[end:])
        else:
            lines = data
        self._pass_on(stream, lines)

    def _finish_line(self, stream: Stream) -> None:
        """What there is of an unfinished line goes out as a line."""
        lines = bytes(stream.partial) + b"\n"
        stream.partial = bytearray()
        self._pass_on(stream, lines)

    def _pass_on(self, stream: Stream, lines: bytes) -> None:
        """Whole lines, to the sink each with its prefix; `raw` has written them as they came."""
        if stream.driver != "raw":
            prefix = stream.prefix
            stream.sink.write(memoryview(prefix + lines.replace(b"\n", b"\n" + prefix))[: -len(prefix)])
        self._remember(stream.service, stream.kind, lines)

    def _remember(self, service: str, kind: str, lines: bytes) -> None:
        now = time.time()
        self.memory.keep(service, kind, lines, now)
        if self._copy is not None and self._is_followed(service):
            self._copy(service, kind, now, lines)

    def _is_followed(self, service: str) -> bool:
        return self._copy is not None and (self._followed is None or service in self._followed)

    def _splice(self, stream: Stream) -> bool:
        """Move pages from pipe to pipe without touching them; where that cannot be, never try again."""
        sink = stream.sink
        if sink.blocked or sink.lost:
            return False
        try:
            moved = os.splice(stream.fd, sink.fd, 1 << 20, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except BlockingIOError:
            if not sink.has_room():  # else it is the source that has nothing
                self._park(stream)
                self._watch(sink, full=True)
            return False
        except OSError:
            stream.splices = False
            return False
        if moved:
            stream.partial.clear()  # the end of that line has gone past us
        return moved > 0

    def _close(self, stream: Stream) -> None:
        if stream.partial:
            self._finish_line(stream)
            self._watch(stream.sink)
        if not stream.parked:
            self._epoll.unregister(stream.fd)
        del self._streams[stream.fd]
        os.close(stream.fd)

    # --- back pressure -------------------------------------------------------------------------------

    def _park(self, stream: Stream) -> None:
        """Its sink is full: do not listen to it until there is room, or epoll would never sleep."""
        if not stream.parked:
            stream.parked = True
            self._epoll.unregister(stream.fd)

    def _watch(self, sink: Sink, *, full: bool = False) -> None:
        if (full or sink.blocked) and sink.fd not in self._watched:
            self._watched.add(sink.fd)
            self._epoll.register(sink.fd, select.EPOLLOUT)

    def _resume(self, fd: int) -> None:
        sink = next(sink for sink in self._sinks.values() if sink.fd == fd)
        sink.flush()
        if sink.blocked:
            return
        self._watched.discard(fd)
        self._epoll.unregister(fd)
        self._unpark([stream for stream in self._streams.values() if stream.sink is sink])

    def _must_wait(self, service: str) -> bool:
        return service in self._taps and self._taps[service].full

    def resume(self, service: str) -> None:
        """Its tap has room again, or is gone."""
        self._unpark([stream for stream in self._streams.values() if stream.service == service])

    def _unpark(self, streams: list[Stream]) -> None:
        for stream in streams:
            if stream.parked:
                stream.parked = False
                self._epoll.register(stream.fd, select.EPOLLIN)

    # --- crossing a re-execution ---------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What must stay open across the exec."""
        return list(self._streams)

    def to_plain(self) -> dict[str, Any]:
        """Descriptors with what was read and not yet written; nothing of it may be lost."""
        streams = [(s.service, s.kind, s.fd, s.driver, bytes(s.partial)) for s in self._streams.values()]
        pending = {kind: b"".join(sink.pending) for kind, sink in self._sinks.items()}
        memory = self.memory.to_plain()
        return {"streams": streams, "pending": pending, "memory": memory, "numbers": list(self._numbers)}

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called; the descriptors are still open under their numbers."""
        self.name_services(plain["numbers"])
        self.memory.restore(plain["memory"])
        done: set[int] = set()
        for kind, data in plain["pending"].items():
            sink = self._sinks[kind]
            if data and id(sink) not in done:
                done.add(id(sink))
                sink.write(data)
                self._watch(sink)
        for service, kind, fd, driver, partial in plain["streams"]:
            os.set_inheritable(fd, False)
            self._add(service, kind, fd, driver).partial += partial


def _keep_heap() -> None:
    """Have the C library keep what a turn gives back, since the next turn wants it again.

    glibc returns the end of its heap to the kernel when more than 128 KiB of it are free, which a turn exceeds: twenty
    page faults each time, half of all that a turn costs. Freeing one big block raises that limit to twice its size
    (mallopt(3), M_MMAP_THRESHOLD); nobody has touched it, so it was no memory.
    """
    bytearray(_HEAP_SLACK_SIZE)


def _give_to(fd: int, uid: int) -> None:
    """Make a user the owner, where we may (CAP_CHOWN): writing works in any case, only opening anew would not."""
    try:
        os.fchown(fd, uid, -1)
    except PermissionError:
        return
