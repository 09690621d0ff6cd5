"""Reads the pipes that services write to.

Each start of a service gets two new pipes, or one if its stderr is to be its stdout. What is read goes to the Router
(router.py). While something behind a stream does not accept output, the stream is paused (destination.py).

A service with `raw` as its only driver has its bytes moved with splice(2) where possible. Spliced bytes are not seen,
so they are not recorded. While a client follows the service, or it has a log probe, its bytes are read.
"""

from __future__ import annotations

import time

from cohabit.reactor.budget import SMALL_BYTES, RateLimiter
from cohabit.reactor.linux import os
from cohabit.reactor.logs.destination import OPEN
from cohabit.reactor.logs.formats import Origin
from cohabit.reactor.logs.sink import enlarge_pipe, pipe_bytes
from cohabit.reactor.logs.stream import READ_SIZE, Stream
from cohabit.reactor.poller import Group
from cohabit.reactor.processes.stdio import change_owner, set_up_terminal, share_pipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cohabit.plan.model import Logging, Service
    from cohabit.reactor.logs.destination import Held
    from cohabit.reactor.logs.router import Router
    from cohabit.reactor.poller import Poller

_BIG_PIPES = 64  # all pipes of a user share 64 MiB; beyond that new ones have one or two pages (pipe(7))
_HEAP_SLACK_SIZE = 524_288
_READING = ("output", "")  # key of the timer that ends a pause of all streams


class Reader:
    """All pipes. streams: the open ones by descriptor."""

    def __init__(self, poller: Poller, router: Router) -> None:
        self.streams: dict[int, Stream] = {}
        self._poller = poller
        self._router = router
        self._sources = Group(poller, self._read)  # the streams that are not paused; can be paused together
        self._rate_limiter = RateLimiter()
        self._small_reads = 0
        _keep_heap()

    # --- pipes ---------------------------------------------------------------------------------------

    def open(self, service: Service, uid: int | None) -> tuple[list[int], list[Stream]]:
        """Make the pipes for one start. Returns their write ends, and the streams. Raises OSError: out of resources.

        With stderr_to_stdout there is one pipe, so that the order of all lines is kept. uid: the service's user. It
        becomes the owner of the pipes, so that the service can open its /dev/stdout (processes/stdio.py).
        """
        ends: list[int] = []
        streams: list[Stream] = []
        try:
            for kind in ("stdout",) if service.stderr_to_stdout else ("stdout", "stderr"):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                ends.append(writer)
                os.set_blocking(reader, False)
                if kind == "stdout" and len(self.streams) < _BIG_PIPES:
                    enlarge_pipe(reader)
                streams.append(self._add_new(service, kind, reader))
                share_pipe(writer, uid)
        except OSError:
            for end in ends:
                os.close(end)
            raise
        return ends, streams

    def open_terminal(self, service: Service, uid: int | None) -> tuple[int, Stream]:
        """Make a pseudo-terminal for one start. Returns the service's side, and the stream of its output.

        Raises OSError: out of resources. uid: as in open().
        """
        ours, theirs = os.openpty()
        try:
            set_up_terminal(theirs)
            os.set_blocking(ours, False)
            stream = self._add_new(service, "stdout", ours)
            if uid is not None:
                change_owner(theirs, uid)
        except OSError:
            os.close(theirs)
            raise
        return theirs, stream

    def open_file(self, service: Service, kind: str) -> tuple[Stream, int]:
        """Make a pipe for the lines of a log file. Returns its stream, and its write end, which never blocks.

        Raises OSError: out of resources. kind: "stdout" or "stderr".
        """
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            stream = self._add_new(service, kind, reader)
        except OSError:
            os.close(writer)
            raise
        self._read_by_line(stream)  # a spliced byte would not be counted
        return stream, writer

    def _add_new(self, service: Service, kind: str, fd: int) -> Stream:
        origin = Origin(service.name, kind, service.service, service.replica)
        logging = [each for each in service.logging if each.stream in ("", kind)]
        # A terminal of its own cannot be inherited: what is written there comes to us.
        entries = tuple(each.replace(driver="raw") if each.driver == "inherit" else each for each in logging)
        stream = Stream(origin, fd, entries, service.multiline_pattern)
        stream.raw = _is_raw(logging) and not (service.multiline_pattern or self._router.mask.texts)
        self.add(stream)
        return stream

    def add(self, stream: Stream) -> None:
        """Read a stream from now on, unless it is closed and only its records are to come."""
        self._router.connect(stream)
        if stream.fd >= 0:
            os.set_inheritable(stream.fd, False)
            self._sources.add(stream.fd)
            self.streams[stream.fd] = stream
            if stream.partial:
                self._router.unfinished.note(stream)

    def pass_no_raw_bytes(self) -> None:
        """Read all streams line by line from now on, since lines must be masked."""
        for stream in self.streams.values():
            self._read_by_line(stream)

    @staticmethod
    def _read_by_line(stream: Stream) -> None:
        if stream.raw:
            stream.forget_partial()  # already written
        stream.raw = stream.splices = False

    def unfinished(self, service: str) -> list[tuple[int, bytes]]:
        """(descriptor, beginning of the line) of each stream of the service with an unfinished line."""
        streams = self.streams.values()
        return [(each.fd, bytes(each.partial)) for each in streams if each.service == service and each.partial]

    # --- reading -------------------------------------------------------------------------------------

    def _read(self, fds: list[int]) -> None:
        """Read once from each stream that is ready."""
        for fd in fds:
            stream = self.streams.get(fd)
            if stream is None:
                continue  # closed while another stream was handled
            cause = self._router.cause(stream)
            if cause is None:
                self._transfer(stream)
            else:
                self._pause(stream, cause)
        count, self._small_reads = self._small_reads, 0
        paused_until = self._rate_limiter.read(count)
        if paused_until is not None:
            self._sources.pause()
            self._poller.call_at(_READING, paused_until, self._sources.resume)

    def _transfer(self, stream: Stream) -> bool:
        """Read or splice once. Returns False when nothing (more) was there."""
        if stream.splices and not self._router.must_see(stream.service):
            if self._splice(stream):
                return True
            if stream.held_by is not None:
                return False
        try:
            data = stream.read()
        except BlockingIOError:
            return False
        if len(data) < SMALL_BYTES:
            self._small_reads += 1
        self._router.route(stream, data)
        if not data:
            self._close(stream)
        return bool(data)

    def _splice(self, stream: Stream) -> bool:
        """Move bytes from pipe to sink in the kernel. If the kernel cannot, the stream is read from now on."""
        destination = stream.targets[0].destination
        if destination.state != OPEN:
            return False
        destination.end_line()
        sink: Any = destination.sink
        try:
            moved = os.splice(stream.fd, sink.fd, 1 << 20, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except BlockingIOError:
            if not sink.has_room():  # otherwise the source pipe is empty
                destination.wait_for_room()
                self._pause(stream, destination.held)
            return False
        except OSError:
            stream.splices = False
            return False
        if moved:
            stream.forget_partial()  # the end of that line was spliced, unread
        return moved > 0

    def _close(self, stream: Stream) -> None:
        self._router.end_line(stream)
        if stream.held_by is None:
            self._sources.remove(stream.fd)
        else:
            del stream.held_by.streams[stream]
            stream.held_by = None
        del self.streams[stream.fd]
        os.close(stream.fd)
        stream.fd = -1
        self._router.end(stream)

    # --- back pressure (destination.py) --------------------------------------------------------------

    def _pause(self, stream: Stream, cause: Held) -> None:
        """Stop listening to the stream: epoll is level-triggered and would never sleep."""
        if stream.held_by is None:
            self._sources.remove(stream.fd)
            self._hold(stream, cause)

    def _hold(self, stream: Stream, cause: Held) -> None:
        stream.held_by, stream.held_since = cause, time.monotonic()
        cause.streams[stream] = lambda: self._resume(stream, cause)

    def _resume(self, stream: Stream, former: Held) -> None:
        """Read the stream once and listen to it again, unless something holds it up now."""
        cause = self._router.cause(stream)
        if cause is former:
            return
        del former.streams[stream]
        if cause is not None:
            self._hold(stream, cause)
            return
        stream.held_by = None
        self._sources.add(stream.fd)
        self._transfer(stream)
        if stream.fd >= 0 and stream.partial:
            self._router.unfinished.note(stream)  # the time in which it was not read was not its silence
        if stream.partial:
            self._router.unfinished.note(stream)
        if stream.source:
            self._router.multiline.set_timer()

    def stalled(self, seconds: float) -> list[tuple[Stream, str, str]]:
        """The streams that have not been read for this long, each with what it waits for, and why that takes nothing.

        Why is "" if it is not known. A shorter pause is normal: the destination is slower than the service.
        """
        since = time.monotonic() - seconds
        streams = self.streams.values()
        paused = [each for each in streams if each.held_by is not None and each.held_since <= since]
        return [(stream, *self._router.what_blocks(stream)) for stream in paused]

    # --- the end -------------------------------------------------------------------------------------

    def drain_service(self, service: str) -> None:
        """Read what an ended service left in its pipes, so that it is written before the message about its end."""
        for stream in [stream for stream in self.streams.values() if stream.service == service]:
            for _ in range(_reads_to_empty(stream)):
                if stream.fd not in self.streams or stream.blocked_by() or not self._transfer(stream):
                    break

    def finish(self, seconds_left: Callable[[], float]) -> int:
        """Read what is in the pipes while it can be written within seconds_left(), and close them.

        Returns how many bytes were not read.
        """
        unread = 0
        for stream in list(self.streams.values()):
            stream.splices = False  # so that the sink holds what is not accepted, not the pipe
            for _ in range(_reads_to_empty(stream)):
                if stream.fd not in self.streams or not self._transfer(stream):
                    break
                for target in stream.targets:
                    target.destination.drain(seconds_left)
                if stream.blocked_by():
                    break
            if stream.fd in self.streams:
                unread += pipe_bytes(stream.fd)
                self._close(stream)
        return unread


def _keep_heap() -> None:
    """Make the C library keep the memory that one event loop turn frees, for the next turn.

    glibc returns the top of its heap to the kernel when more than 128 KiB are free. A turn exceeds that: 20 page
    faults, half of its cost. Freeing one large block raises the limit to twice its size (mallopt(3),
    M_MMAP_THRESHOLD). It is never touched.
    """
    bytearray(_HEAP_SLACK_SIZE)


def _is_raw(entries: Sequence[Logging]) -> bool:
    return len(entries) == 1 and entries[0].driver == "raw" and entries[0].blocking


def _reads_to_empty(stream: Stream) -> int:
    """How many reads empty the pipe of what is in it now. A bound, since the service may go on writing."""
    return pipe_bytes(stream.fd) // READ_SIZE + 2
