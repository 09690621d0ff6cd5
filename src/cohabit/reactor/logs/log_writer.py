"""One child that writes log files (tasks/log_writer.py), and the messages to and from it.

The child ignores a stop request to the whole container: it writes the last lines of the services. It is not waited for
at the end, only for what it has to confirm.
"""

from __future__ import annotations

import _socket as socket
import errno
import marshal
import select
import sys
import time

from cohabit.program import program
from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.logs.sink import enlarge_pipe
from cohabit.reactor.processes.children import OUTLASTING
from cohabit.reactor.shortage import RETRY_SECONDS, is_shortage
from cohabit.reactor.side_process import SideProcess
from cohabit.reactor.signals import InheritedSignals
from cohabit.units import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeAlias

    from cohabit.reactor.context import Context, Ended
    from cohabit.reactor.poller import Poller

    Position: TypeAlias = tuple[int, int, int, int]

    class WrittenFile(Protocol):
        """The part of a FileSink that its log writer uses (file.py)."""

        path: str
        number: int
        problem: str
        unused: bool
        closing: bool

        @property
        def blocked(self) -> bool: ...  # noqa: D102
        @property
        def pending_bytes(self) -> int: ...  # noqa: D102
        def flush(self) -> None: ...  # noqa: D102
        def confirm(self, position: Position) -> None: ...  # noqa: D102
        def lose_connection(self) -> None: ...  # noqa: D102
        def disconnect(self) -> None: ...  # noqa: D102
        def close(self) -> None: ...  # noqa: D102


# The key of a child begins with this; no service can have such a name. A sweep does not wait for it.
KEY = OUTLASTING + "log writer:"
_MESSAGE_SIZE = 65_536
_PIPE_SIZE = 1_048_576  # pipe(7): the default of /proc/sys/fs/pipe-max-size
_SHORT_RUN_SECONDS = 10.0  # a child that ran longer is replaced at once
_STDERR = 2
_BACK_OFF_SECONDS = 1.0
_QUEUE_MAX = 1_000  # messages
_NEVER = float("inf")


class Channel:
    """Our end of the socket to a child: whole messages, some of them with a descriptor. It never blocks.

    queue: messages that the socket did not accept, with their descriptor or -1. on_ready(): an answer has arrived, or
    the child has ended.
    """

    def __init__(
        self, poller: Poller, end: socket.socket, queue: list[tuple[bytes, int]], on_ready: Callable[[], None]
    ) -> None:
        self._poller = poller
        self._socket = end
        self._on_ready = on_ready
        self.queue = queue
        self.fd = end.fileno()
        end.setblocking(False)
        os.set_inheritable(self.fd, False)
        poller.add(self.fd, select.EPOLLIN, self._is_ready)
        self._send_queued()

    def send(self, message: tuple[Any, ...], fd: int = -1) -> bool:
        """Send a message, or keep it until the child accepts it; the descriptor is closed then. False: no room."""
        if len(self.queue) >= _QUEUE_MAX:
            return False
        self.queue.append((marshal.dumps(message), fd))
        if len(self.queue) == 1:
            self._send_queued()
        return True

    def _is_ready(self, _fd: int) -> None:
        self._send_queued()
        self._on_ready()

    @property
    def _timer(self) -> tuple[str, str]:
        return ("log writer", str(self.fd))

    def _send_queued(self) -> None:
        """Send what the child accepts now. The rest follows when there is room, or later if the system refuses it."""
        if not self.queue:
            return
        events = select.EPOLLIN
        self._poller.cancel(self._timer)
        try:
            while self.queue:
                data, fd = self.queue[0]
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))] if fd >= 0 else []
                self._socket.sendmsg([data], rights)
                del self.queue[0]
                if fd >= 0:
                    os.close(fd)
        except BlockingIOError:
            events |= select.EPOLLOUT
        except OSError:  # no memory, or too many descriptors in flight; or the child has ended
            self._poller.call_at(self._timer, time.monotonic() + RETRY_SECONDS, self._send_queued)
        self._poller.modify(self.fd, events)

    def receive(self) -> tuple[Any, ...] | None:
        """Return the next message; () if there is none now, None at the end."""
        try:
            data = self._socket.recv(_MESSAGE_SIZE)
        except OSError as error:
            # Only the end of the child is an end: while it runs, no other one may write its files.
            return () if is_shortage(error) else None
        return marshal.loads(data) if data else None  # noqa: S302 - from our own child

    def descriptors(self) -> list[int]:
        """The socket, and descriptors that were not sent yet."""
        return [self.fd, *(fd for _, fd in self.queue if fd >= 0)]

    def close(self) -> None:
        """Close everything."""
        self._poller.cancel(self._timer)
        self._poller.remove(self.fd)
        self._socket.close()
        for _, fd in self.queue:
            if fd >= 0:
                os.close(fd)


class LogWriter:
    """One child and its files. connection: counts the children and their ends; channel: to the present one, or None.

    start_at: monotonic seconds before which no child is started. files: by number, until the child has closed one that
    is not used any more. resume(file): called for each file when a child has ended, so that the next one writes it, and
    for an unused file when everything is written.

    The channel is closed only when the child has closed all files, or has ended: an answer that is not read would be
    missing for the next child, which would write the same lines again.
    """

    def __init__(self, context: Context, mount_point: str, resume: Callable[[Any], None]) -> None:
        self.mount_point = mount_point
        self.connection = 0
        self.channel: Channel | None = None
        self.start_at = 0.0
        self.files: dict[int, WrittenFile] = {}
        self.stopping = False
        self._context = context
        self._resume = resume
        self._process = self._new_process()
        self._open: set[int] = set()  # the files that the child has, until it has closed them
        self._dismissed: set[str] = set()  # keys of children that had closed all files, and are to end
        self._started_at = 0.0

    def _new_process(self) -> SideProcess:
        """Return the next child. Its key is new, since the former one may not be reaped yet."""
        key = f"{KEY}{self.connection}:{self.mount_point}"
        return self._process_of(key)

    def _process_of(self, key: str) -> SideProcess:
        # All signals are blocked from its start on: a stop request must not end it.
        given = InheritedSignals(signals.ALL, ())
        return SideProcess(
            self._context, "log writer", key, lambda _: None, lambda code, why: self._ended(key, code, why), given=given
        )

    def _warn(self, text: str) -> None:
        self._context.log("warning", "", text)

    # --- messages ------------------------------------------------------------------------------------

    def open(self, number: int, path: str, rotation: tuple[int, int, bool], position: Position | None) -> int:
        """Have the child open a file. Returns the pipe for its lines, which never blocks. Raises OSError."""
        if number in self._open:
            raise OSError(errno.EAGAIN, "the log writer has not closed the file yet")
        channel = self.channel or self._start()
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        enlarge_pipe(writer, _PIPE_SIZE)
        if channel.send(("open", number, path, *rotation, position), reader):
            self._open.add(number)
            return writer
        os.close(reader)
        os.close(writer)
        raise OSError(errno.EAGAIN, "the log writer does not accept messages")

    def send(self, message: tuple[Any, ...]) -> bool:
        """Send a message, if there is a child."""
        return self.channel is not None and self.channel.send(message)

    def receive(self) -> None:
        """Handle the answers that have arrived."""
        while self.channel is not None:
            message = self.channel.receive()
            if message is None:
                self._disconnect()
            elif not message:
                return
            else:
                self._answered(*message)

    def _answered(self, kind: str, number: int, value: Any = None) -> None:
        file = self.files.get(number)
        if kind == "trouble":
            self._warn(value)
        elif kind == "closed":
            self._open.discard(number)
            if file is not None and file.closing:
                del self.files[number]
            if not self._open:
                self._dismissed.add(self._process.key)
                self._disconnect()
        elif file is not None and kind == "failing":
            file.problem = value
        elif file is not None:
            file.confirm(value)
            written = file.unused and not file.closing and not file.pending_bytes
            if file.problem or written:
                file.problem = ""
                self._resume(file)

    # --- the child -----------------------------------------------------------------------------------

    def _start(self) -> Channel:
        """Raises OSError, also before `start_at`."""
        now = time.monotonic()
        if now < self.start_at:
            raise OSError(errno.EAGAIN, "the log writer has just ended")
        self.start_at = now + _BACK_OFF_SECONDS
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC, 0)
        self._process = self._new_process()
        try:
            self._process.start(program("log writer"), theirs.fileno(), _STDERR)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._started_at = now
        return self._connect(ours, [])

    def _connect(self, end: socket.socket, queue: list[tuple[bytes, int]]) -> Channel:
        self.channel = Channel(self._context.poller, end, queue, self.receive)
        self.connection += 1
        return self.channel

    def _disconnect(self) -> None:
        if self.channel is None:
            return
        self.channel.close()
        self.channel = None
        self.connection += 1
        self._open.clear()
        for file in self.files.values():
            file.lose_connection()

    def _ended(self, key: str, code: int, why: str) -> None:
        """A child has ended: its files go on with another one."""
        if key == self._process.key:
            self.receive()
            self._disconnect()
        expected = self.stopping or key in self._dismissed  # the final SIGKILL has ended it, or it was to end
        self._dismissed.discard(key)
        if not self.files:
            return
        if not expected:
            if time.monotonic() - self._started_at > _SHORT_RUN_SECONDS:
                self.start_at = 0.0
            how = f"cannot be started: {why}" if why else f"ended with {describe_exit(code)}"
            self._warn(
                f"the process that writes log files {how} (the next one writes what is missing; no line is lost)"
            )
        for file in list(self.files.values()):
            if file.closing:  # everything was confirmed before
                del self.files[file.number]
            elif file.blocked:
                self._resume(file)

    def stop(self, *, end: bool) -> None:
        """The container is stopping: compress nothing more. end: the child ends when it has written what it has."""
        self.stopping = True
        self.send(("stop compressing",))
        if end:
            for file in self.files.values():
                file.disconnect()
            self.start_at = _NEVER

    # --- re-execution --------------------------------------------------------------------------------

    def task(self) -> tuple[str, Ended]:
        """The key of the child, and what must be called when it ends."""
        return self._process.key, self._process.ended

    def to_plain(self) -> dict[str, Any]:
        """The socket and the messages that it did not accept."""
        return {
            "control": self.channel.fd if self.channel else -1,
            "queue": self.channel.queue if self.channel else [],
            "key": self._process.key,
            "process": self._process.to_plain(),
            "started_at": self._started_at,
            "stopping": self.stopping,
            "open": sorted(self._open),
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain()."""
        self._started_at, self.stopping = plain["started_at"], plain["stopping"]
        self._process = self._process_of(plain["key"])
        self._process.restore(plain["process"])
        for _, fd in plain["queue"]:
            if fd >= 0:
                os.set_inheritable(fd, False)
        if plain["control"] >= 0:
            self._open = set(plain["open"])
            self._connect(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, plain["control"]), plain["queue"])
