"""A connection to the running cohabit, and the answers on it (docs/reference/control.md).

`health` runs every few seconds, so this module imports neither json, re nor os. It knows neither commands nor the
contents of answers.
"""

from __future__ import annotations

import time

from cohabit import control
from cohabit.client.discovery import ConnectionFailedError, Search, connect, is_trusted_user, no_answer, peer
from cohabit.control import GREETING, OK, REQUEST_BYTES_MAX
from cohabit.errors import EXIT_UNAVAILABLE, CohabitError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Self

    from cohabit.client.discovery import NoAnswerError
else:
    import _socket as socket

ANSWER_SECONDS = 10.0  # for requests that are answered at once
NOTICE_SECONDS = 2.0  # of waiting before the caller's notice
_READ_BYTES = 65_536
_HEADER_BYTES_MAX = 100
_GREETING_BYTES_MAX = len(f"{GREETING} #999999999 ")
_TIMEOUT_MIN_SECONDS = 0.000_001  # a timeout of 0 would make the socket non-blocking


class Connection:
    """A connection that carries several answers at once. Chunks of an answer that was closed are discarded."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._open: dict[int | None, Answer] = {}
        self._data = bytearray()  # an incomplete header
        self._current: Answer | None = None  # the answer that the current chunk belongs to
        self._left = 0  # bytes of the current chunk that are still to come
        self._framed = True  # False: there are no chunks, what comes concerns the connection, up to its end
        self._last_id = 0
        self._retired = False
        self.ended = False

    def send(self, request: bytes, answer: Answer, *, last: bool) -> None:
        """Send a request of `encode`. last: it gets no id, and the connection ends with its answer.

        Raises TimeoutError.
        """
        self._last_id += 1
        answer.id = None if last else self._last_id
        data = b"%b %b" % (GREETING.encode(), request if last else b"#%d %b" % (self._last_id, request))
        self._open[answer.id] = answer
        self._framed = self._framed and not last
        answer.set_timeout()
        try:
            self._socket.sendall(data, socket.MSG_NOSIGNAL)
        except TimeoutError:
            raise
        except OSError:
            pass  # the peer may have sent the reason before it closed the connection

    @property
    def is_usable(self) -> bool:
        """Whether another request can be sent: the peer has not closed the connection."""
        if self.ended or self._retired or not self._framed:
            return False
        self._socket.settimeout(0.0)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def receive(self, seconds: float | None) -> None:
        """Read once and distribute what came. Raises TimeoutError."""
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(_READ_BYTES)
        except ConnectionError:
            data = b""
        self._distribute(data)
        if not data:
            self._end()

    def settimeout(self, seconds: float | None) -> None:
        """Limit the next call."""
        self._socket.settimeout(seconds)

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def peer(self) -> tuple[int, int]:
        """(pid, uid) of the listening process."""
        return peer(self._socket)

    def close_answer(self, answer: Answer) -> None:
        """Discard what may still come of an answer. If it is not complete, no further request is sent here."""
        self._open.pop(answer.id, None)
        self._retired = self._retired or not answer.ended
        answer.ended = True
        if self._retired and not self._open:
            self.close()

    def retire(self) -> None:
        """Send no further request here, and close the connection when it has no open answer."""
        self._retired = True
        if not self._open:
            self.close()

    def close(self) -> None:
        """Close the connection. Its answers end."""
        self._end()
        self._socket.close()

    def _end(self) -> None:
        self.ended = True
        for answer in self._open.values():
            answer.ended = True
        self._open.clear()

    def _distribute(self, data: bytes) -> None:
        while data:
            if not self._framed:
                for answer in self._open.values():
                    answer.feed(data)
                return
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                if self._current:
                    self._current.feed(piece)
                continue
            line, newline, data = data.partition(b"\n")
            self._data += line
            if self._data and self._data[:1] != b"#":
                self._framed = False
                data = bytes(self._data) + newline + data
                self._data.clear()
            elif newline or len(self._data) > _HEADER_BYTES_MAX:
                self._begin_chunk(bytes(self._data))
                self._data.clear()

    def _begin_chunk(self, header: bytes) -> None:
        number, _, size = header[1:].partition(b" ")
        if not (number.isdigit() and size.isdigit()):
            self._end()  # it is not the protocol
            return
        self._current, self._left = self._open.get(int(number)), int(size)
        if not self._left and self._current:
            self._current.ended = True
            del self._open[int(number)]


class Answer:
    """An answer: exit code, error code, one line of text, and a body to read. id: of its request.

    deadline: monotonic seconds at which reading gives up, None for never; receive then raises timeout_error, or
    TimeoutError if that is None. A connection that breaks is the end of the body. command: for messages.
    """

    def __init__(self, connection: Connection, command: str) -> None:
        self._connection = connection
        self._data = bytearray()
        self.command = command
        self.id: int | None = None
        self.ended = False
        self.deadline: float | None = None
        self.timeout_error: NoAnswerError | None = None
        self.code = EXIT_UNAVAILABLE
        self.error = ""
        self.text = ""

    def read_head(self) -> bool:
        """Read the first line; False if there is none. Raises TimeoutError at the deadline.

        error remains "" if the line is not in the form of this version of the protocol.
        """
        line = self.read_line().decode("utf-8", "replace")
        code, _, rest = line.partition(" ")
        if not code.isdecimal():
            return False
        error, space, text = rest.partition(" ")
        self.code, self.text = int(code), text
        if space and error.replace("_", "").isalpha() and error.isascii() and error.islower():
            self.error = error
        return True

    @property
    def is_ok(self) -> bool:
        """Whether the request was carried out."""
        return self.error == OK

    @property
    def message(self) -> str:
        """The text of an error as a message: "cannot COMMAND: REASON"."""
        return self.text if self.text.startswith("cannot ") else f"cannot {self.command}: {self.text}"

    def feed(self, data: bytes) -> None:
        """Append what came."""
        self._data += data

    def fileno(self) -> int:
        """For select: readable when there is more to receive, or at the end; see has_data."""
        return self._connection.fileno()

    @property
    def has_data(self) -> bool:
        """Whether something was received that is not read yet, or the answer has ended."""
        return bool(self._data) or self.ended

    def receive(self) -> None:
        """Read once from the connection."""
        try:
            self._connection.receive(self._seconds_left())
        except TimeoutError:
            if self.timeout_error:
                raise self.timeout_error from None
            raise

    def set_timeout(self) -> None:
        """Limit the next call on the connection to the time left until the deadline."""
        self._connection.settimeout(self._seconds_left())

    def _seconds_left(self) -> float | None:
        return None if self.deadline is None else max(_TIMEOUT_MIN_SECONDS, self.deadline - time.monotonic())

    def discard(self) -> None:
        """Drop what has been received and not read."""
        self._data.clear()

    def lines(self) -> Iterator[bytes]:
        """The lines of the body, without their newlines, up to the end or the first empty line."""
        while line := self.read_line():
            yield line

    def read(self, size: int) -> bytes:
        """The next `size` bytes of the body; fewer only at its end."""
        while len(self._data) < size and not self.ended:
            self.receive()
        return self._take(size)

    def close(self) -> None:
        """Stop reading. What comes later is discarded."""
        self._connection.close_answer(self)

    @property
    def peer_pid(self) -> int:
        """The pid of the listening process; 0 if it is in a PID namespace that cannot be seen from here."""
        return self._connection.peer()[0]

    @property
    def is_trusted(self) -> bool:
        """Whether root or the caller is listening, so that the answer may be acted on."""
        return is_trusted_user(self._connection.peer()[1])

    def read_line(self) -> bytes:
        """The next line of the body without its newline, b"" at the end."""
        searched = 0
        while (end := self._data.find(b"\n", searched)) < 0 and not self.ended:
            searched = len(self._data)
            self.receive()
        if end < 0:
            return self._take(len(self._data))
        return self._take(end + 1)[:-1]

    def _take(self, size: int) -> bytes:
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken


def read_head(answer: Answer, notice: Callable[[], None] | None) -> bool:
    """Answer.read_head, with a notice when it takes longer than NOTICE_SECONDS. Raises TimeoutError."""
    deadline, notice_at = answer.deadline, time.monotonic() + NOTICE_SECONDS
    if notice and (deadline is None or deadline > notice_at):
        answer.deadline = notice_at
        try:
            return answer.read_head()
        except TimeoutError:
            notice()
        answer.deadline = deadline
    return answer.read_head()


def encode(name: str, arguments: Sequence[str], command: str) -> bytes:
    """The line of a request, without its greeting and id. command: for messages. Raises UsageError."""
    for argument in arguments:
        if not argument or not argument.isprintable() or " " in argument:
            raise UsageError(f"cannot {command}: {argument!r} is not a service name (cohabit ps -q lists them)")
    data = " ".join((name, *arguments)).encode("utf-8", "surrogateescape") + b"\n"
    size = len(data) + _GREETING_BYTES_MAX
    if size > REQUEST_BYTES_MAX:
        raise UsageError(
            f"cannot {command}: the request has {size} bytes, more than {REQUEST_BYTES_MAX} (name fewer services)"
        )
    return data


class RefusedError(CohabitError):
    """The answer is an error: its reason, its exit code and its error code."""

    def __init__(self, message: str, exit_code: int, code: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.code = code


class VersionMismatchError(ConnectionFailedError):
    """The running cohabit speaks another version of the protocol."""

    code = control.VERSION_MISMATCH


class Session:
    """Requests to one cohabit. path: its control socket; None to search for it as the command line does.

    The connection is made at the first request and kept for the next ones. Messages begin with "cannot COMMAND", where
    command is the name of the request unless it is given here.
    """

    def __init__(self, path: str | None = None, *, command: str = "") -> None:
        self._path = path
        self._command = command
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; streams end. A further request makes a new one."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def request(
        self,
        name: str,
        arguments: Sequence[str] = (),
        *,
        timeout: float | None = ANSWER_SECONDS,
        notice: Callable[[], None] | None = None,
        streaming: bool = False,
        last: bool = False,
    ) -> Answer:
        """Send any request; returns its answer, whatever its code is. The first line of the answer has been read.

        One deadline covers the search, the connection, the request, the answer and its body. timeout: None: the search
        and the sending have ANSWER_SECONDS, the answer has no limit. streaming: the body has no limit. notice: called
        once if the answer takes long. last: close the connection after the answer.
        """
        command = self._command or name
        request = encode(name, arguments, command)
        seconds = ANSWER_SECONDS if timeout is None else timeout
        deadline = time.monotonic() + seconds
        connection = self._connect(command, deadline)
        answer = Answer(connection, command)
        answer.deadline = deadline
        try:
            connection.send(request, answer, last=last)
            answer.deadline = None if timeout is None else deadline
            answered = read_head(answer, notice)
        except TimeoutError:
            answer.close()
            raise no_answer(command, seconds) from None
        if not answered:
            answer.close()
            raise ConnectionFailedError(
                f"cannot {command}: cohabit closed the connection without an answer (has it just ended? see its log)"
            )
        if not answer.error:
            answer.close()
            raise VersionMismatchError(
                f"cannot {command}: the answer is not of version {control.VERSION} of the protocol (use the program "
                "that belongs to the running cohabit)"
            )
        for beginning in (f"cannot {name}: ", "cannot read the request: "):
            if answer.text.startswith(beginning):
                answer.text = f"cannot {command}: {answer.text.removeprefix(beginning)}"
        if answer.error == control.VERSION_MISMATCH:
            raise VersionMismatchError(answer.text)
        if streaming or timeout is None:
            answer.deadline = None
        else:
            answer.timeout_error = no_answer(command, timeout)
        return answer

    def checked(self, name: str, arguments: Sequence[str] = (), **options: Any) -> Answer:
        """As request, but raises RefusedError if the answer is an error."""
        answer = self.request(name, arguments, **options)
        if not answer.is_ok:
            raise RefusedError(answer.message, answer.code, answer.error)
        return answer

    def message(self, text: str, name: str) -> str:
        """A reason in the form "cannot COMMAND: REASON", with the command that the caller has named."""
        return f"cannot {self._command or name}: {text}"

    def _connect(self, command: str, deadline: float) -> Connection:
        if not (self._connection and self._connection.is_usable):
            if self._connection:
                self._connection.retire()  # its open answers can still be read
                self._connection = None
            opened = connect(self._path, command, deadline) if self._path else Search(command, deadline).find()
            self._connection = Connection(opened)
        return self._connection
