"""The log writer: writes, rotates and compresses the log files of one file system; a child of process 1.

`python -I -S PATH/log_writer.py`. It is a separate program because a write to a regular file waits as long as its file
system takes: for ever, if that is frozen or its server is gone (docs/adr/0014).

Standard input is a socket (SOCK_SEQPACKET), on which each message is one tuple, as marshal. Process 1 sends

    ("open", FILE, PATH, BYTES_MAX, FILES_MAX, COMPRESS, POSITION)   with a descriptor: the pipe with the file's lines
    ("rotation", FILE, BYTES_MAX, FILES_MAX, COMPRESS)               other limits from now on
    ("confirm", FILE, SENT)                                          answer when all that is in the pipe is written
    ("stop compressing",)                                            the container is stopping

FILE is a number that process 1 chooses; POSITION is None, or what the former writer confirmed last (log_file.py). The
end of a pipe closes its file, when everything in it is written. The answers are

    ("position", FILE, POSITION)   what is written; sent after 256 KiB or one second, and before and after a rotation
    ("failing", FILE, WHY)         what is pending cannot be written now; a position follows when it can
    ("trouble", FILE, TEXT)        a warning for people
    ("closed", FILE)               everything was written

The end of the socket means that process 1 is gone: the pipes are read to their ends, and the program ends. All signals
are blocked, since a stop request to the whole container must not end it before the services.
"""

from __future__ import annotations

import _socket as socket
import marshal
import os
import select
import signal
import sys
import time

# Isolated Python does not find our package by itself.
sys.path.append(__file__.rpartition("/cohabit/")[0])

from cohabit.errors import EXIT_KILLED
from cohabit.program import program
from cohabit.tasks.log_file import LogFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.tasks.log_file import Position

_MESSAGE_SIZE = 65_536
_READ_SIZE = 262_144
_LINE_MAX = 2_097_152  # a line that is longer is written in pieces; process 1 cuts lines well before that
_SPARE_MAX = 2
_CONFIRM_BYTES, _CONFIRM_SECONDS = 262_144, 1.0
_FD_SIZE = 4
_LAST_WAIT_MS = 1000  # for the end of a pipe, when process 1 is gone: the kernel closes its descriptors one by one


class _Stream:
    """A log file and the pipe with its lines.

    What is read follows, in one buffer, the beginning of a line whose end was not in the pipe yet. The buffer is used
    again and again: memory that is allocated for each read is new to the process, and costs as much as the write. A
    stream without an unfinished line has none: `spare` has the buffers for the next reads of all streams.
    """

    def __init__(self, number: int, fd: int, log: LogFile, spare: list[bytearray]) -> None:
        self.number = number
        self.fd = fd
        self.log = log
        self.ended = False
        self.failing = False
        self.confirmed = log.position
        self.received = log.position[0] if log.position else 0  # bytes, as in a position
        self.confirm_at: float | None = None
        self._spare = spare
        self._buffer = bytearray()
        self._partial = 0  # bytes of the unfinished line

    def read(self) -> None:
        """Read once, and write the whole lines of it."""
        if not self._buffer:
            self._buffer = self._spare.pop() if self._spare else bytearray(_READ_SIZE)
        start = self._partial
        count = os.readv(self.fd, [memoryview(self._buffer)[start:]])
        if not count:
            self.ended = True
            self.end_line()
            return
        size = start + count
        self.received += count
        end = self._buffer.rfind(b"\n", start, size) + 1
        if not end and size == len(self._buffer):  # a long line
            if size < _LINE_MAX:
                self._buffer += bytes(size)
            else:
                end = size
        self._write(end, size)

    def end_line(self) -> None:
        """Write the unfinished line: its end is not to come soon."""
        self._write(self._partial, self._partial)

    def _write(self, end: int, size: int) -> None:
        """Write the buffer up to `end`; the rest, up to `size`, stays."""
        buffer = self._buffer
        if end:
            self.log.write(memoryview(buffer)[:end])
            if self.log.blocked or len(buffer) > _READ_SIZE:  # the old buffer holds what is pending
                rest = size - end  # with room for more: a read into no room looks like the end of the pipe
                self._buffer = bytearray(_READ_SIZE if rest < _READ_SIZE else rest + _READ_SIZE)
            self._buffer[: size - end] = buffer[end:size]
        self._partial = size - end
        if not self._partial:
            if len(self._buffer) == _READ_SIZE and len(self._spare) < _SPARE_MAX:
                self._spare.append(self._buffer)
            self._buffer = bytearray()


class Writer:
    """All log files of one file system. answer(message) sends a tuple to process 1."""

    def __init__(self, answer: Callable[[tuple[Any, ...]], None]) -> None:
        self._answer = answer
        self._streams: dict[int, _Stream] = {}  # file -> stream
        self._spare: list[bytearray] = []
        self._compressors: dict[int, tuple[int, Callable[[int], None]]] = {}  # pipe -> pid, what gets the exit code

    def handle(self, message: tuple[Any, ...], fds: list[int]) -> None:
        """Carry out a request of process 1."""
        kind, *values = message
        if kind == "open":
            number, path, bytes_max, files_max, compress, position = values
            if fds:
                self._open(number, path, fds[0], position)
                self._streams[number].log.set_rotation(bytes_max, files_max, compress=compress)
            else:  # the kernel has no descriptor for us
                why = "too many open files"
                self._answer(("trouble", number, f"cannot write {path}: {why} (raise ulimit -n)"))
                self._answer(("failing", number, why))
        elif kind == "rotation":
            number, bytes_max, files_max, compress = values
            if number in self._streams:
                self._streams[number].log.set_rotation(bytes_max, files_max, compress=compress)
        elif kind == "confirm":
            if values[0] in self._streams:
                self._confirm_all(self._streams[values[0]], values[1])
        elif kind == "stop compressing":
            for stream in self._streams.values():
                stream.log.stop_compressing()

    def _open(self, number: int, path: str, fd: int, position: Position | None) -> None:
        log = LogFile(
            path,
            compress=self._compress,
            on_trouble=lambda text: self._answer(("trouble", number, text)),
            confirm=lambda: self._confirm(self._streams[number]),
            resume=position,
        )
        self._streams[number] = _Stream(number, fd, log, self._spare)

    def _confirm_all(self, stream: _Stream, sent: int) -> None:
        """Write what is in the pipe, and confirm it. If that fails, "failing" is the answer, and later a position.

        sent: how much process 1 had sent, as in a position. It may have sent the beginning of a line since then, whose
        end follows: only a line that ends there is not to be continued.
        """
        while not stream.log.blocked and not stream.ended and _is_readable(stream.fd, 0):
            stream.read()
        if stream.received == sent:
            stream.end_line()
        self._progress(stream)
        self._confirm(stream)

    # --- events --------------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """The descriptors that must be waited for until they are readable."""
        pipes = [one.fd for one in self._streams.values() if not one.ended and not one.log.blocked]
        return [*pipes, *self._compressors]

    def deadline(self) -> float | None:
        """Monotonic seconds at which due() must be called; None: no deadline."""
        moments = [moment for one in self._streams.values() for moment in (one.log.retry_at, one.confirm_at)]
        return min((moment for moment in moments if moment is not None), default=None)

    def readable(self, fds: set[int]) -> None:
        """Handle descriptors that are readable or at their end."""
        for stream in list(self._streams.values()):
            if stream.fd in fds:
                stream.read()
                self._progress(stream)
        for fd in fds & self._compressors.keys():
            pid, ended = self._compressors.pop(fd)
            os.close(fd)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            ended(code if code >= 0 else 128 - code)

    def due(self, now: float) -> None:
        """Try again what could not be written, and confirm what is written."""
        for stream in list(self._streams.values()):
            if stream.log.retry_at is not None and stream.log.retry_at <= now:
                stream.log.flush()
                self._progress(stream)
            if stream.confirm_at is not None and stream.confirm_at <= now:
                self._confirm(stream)

    def finish(self) -> None:
        """Process 1 is gone: write what the pipes hold, as far as possible, and end the compressions."""
        for stream in list(self._streams.values()):
            while not stream.ended and not stream.log.blocked and _is_readable(stream.fd, _LAST_WAIT_MS):
                stream.read()
                stream.log.drain()
            stream.log.drain()
            stream.log.close()
        for pid, ended in self._compressors.values():  # its file is removed: nothing would take over the result
            os.kill(pid, signal.SIGKILL)
            ended(EXIT_KILLED)

    def _progress(self, stream: _Stream) -> None:
        """Report what a read or a further attempt has changed."""
        log = stream.log
        if log.blocked:
            if not stream.failing:
                stream.failing = True
                self._confirm(stream)
                self._answer(("failing", stream.number, log.problem))
        elif stream.ended:
            self._confirm(stream)
            log.close()
            os.close(stream.fd)
            del self._streams[stream.number]
            self._answer(("closed", stream.number))
        elif stream.failing or _bytes(log.position) - _bytes(stream.confirmed) >= _CONFIRM_BYTES:
            stream.failing = False
            self._confirm(stream)
        elif stream.confirm_at is None and log.position != stream.confirmed:
            stream.confirm_at = time.monotonic() + _CONFIRM_SECONDS

    def _confirm(self, stream: _Stream) -> None:
        stream.confirm_at = None
        if stream.log.position != stream.confirmed:
            stream.confirmed = stream.log.position
            self._answer(("position", stream.number, stream.confirmed))

    # --- compression ---------------------------------------------------------------------------------

    def _compress(self, name: str, source: int, target: int, ended: Callable[[int], None]) -> None:
        """Start the compressor. The pipe that it inherits as descriptor 3 ends with it. Raises OSError."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        argv = program("compress", name)
        try:
            pid = os.posix_spawn(
                argv[0],
                argv,
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, new) for fd, new in ((source, 0), (target, 1), (writer, 3))],
                setsigmask=(),
            )
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._compressors[reader] = pid, ended


def _is_readable(fd: int, wait_ms: int) -> bool:
    """Whether there are bytes or the end to read, within this time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(wait_ms))


def _bytes(position: Position | None) -> int:
    return position[0] if position is not None else 0


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    try:
        data, ancillary, *_ = control.recvmsg(_MESSAGE_SIZE, socket.CMSG_SPACE(_FD_SIZE), socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # process 1 is gone, without having read all answers
        return b"", []
    fds = [int.from_bytes(sent[:_FD_SIZE], sys.byteorder) for _, kind, sent in ancillary if kind == socket.SCM_RIGHTS]
    return data, fds


def main() -> int:
    """Write until process 1 closes the socket. Returns the exit code."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    control = socket.socket(fileno=0)

    def answer(message: tuple[Any, ...]) -> None:
        try:
            control.send(marshal.dumps(message))
        except OSError:  # process 1 is gone
            return

    writer = Writer(answer)
    while True:
        poll = select.poll()
        for fd in (0, *writer.descriptors()):
            poll.register(fd, select.POLLIN)
        deadline = writer.deadline()
        ready = {fd for fd, _ in poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000)}
        if 0 in ready:
            data, fds = _receive(control)
            if not data:
                break
            writer.handle(marshal.loads(data), fds)  # noqa: S302 - from process 1
        else:
            writer.readable(ready)
        writer.due(time.monotonic())
    writer.finish()
    return 0


if __name__ == "__main__":
    os._exit(main())
