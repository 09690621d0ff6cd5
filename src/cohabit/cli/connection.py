"""One request to the running cohabit and its answer (docs/reference/control.md); discovery.py finds the socket.

`health` runs every few seconds, so this module imports neither json, re nor os. One deadline covers the search, the
connection, the request and the answer. The module knows neither commands nor the contents of answers.
"""

from __future__ import annotations

import time

from cohabit.cli import discovery
from cohabit.cli.discovery import ConnectionFailedError, NoAnswerError
from cohabit.errors import EXIT_UNAVAILABLE, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence
else:
    import _socket as socket

PROTOCOL = "cohabit/2"
ANSWER_SECONDS = 10.0  # for requests that are answered at once
NOTICE_SECONDS = 2.0  # of waiting before the caller's notice
_REQUEST_BYTES_MAX = 65_536
_READ_BYTES = 65_536
_TIMEOUT_MIN_SECONDS = 0.000_001  # a timeout of 0 would make the socket non-blocking


class Answer:
    """An answer: the exit code for the client, one line of text, and a body to read.

    deadline: monotonic seconds at which reading gives up, None for never; receive then raises timeout_error, or
    TimeoutError if that is None. A connection that breaks is the end of the body.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = bytearray()
        self._ended = False
        self.deadline: float | None = None
        self.timeout_error: NoAnswerError | None = None
        self.code = EXIT_UNAVAILABLE
        self.text = ""

    def read_head(self) -> bool:
        """Read the first line; False if there is none. Raises TimeoutError at the deadline."""
        code, _, text = self.read_line().decode("utf-8", "replace").partition(" ")
        if not code.isdecimal():
            return False
        self.code, self.text = int(code), text
        return True

    def fileno(self) -> int:
        """For select: readable when there is more to receive, or at the end."""
        return self._connection.fileno()

    @property
    def ended(self) -> bool:
        """Whether everything has been received."""
        return self._ended

    def receive(self) -> None:
        """Read once from the connection."""
        self.set_timeout()
        try:
            piece = self._connection.recv(_READ_BYTES)
        except ConnectionError:
            piece = b""
        except TimeoutError:
            if self.timeout_error:
                raise self.timeout_error from None
            raise
        self._data += piece
        self._ended = not piece

    def set_timeout(self) -> None:
        """Limit the next call on the connection to the time left until the deadline."""
        left = None if self.deadline is None else max(_TIMEOUT_MIN_SECONDS, self.deadline - time.monotonic())
        self._connection.settimeout(left)

    def discard(self) -> None:
        """Drop what has been received and not read."""
        self._data.clear()

    def lines(self) -> Iterator[bytes]:
        """The lines of the body, without their newlines, up to the end or the first empty line."""
        while line := self.read_line():
            yield line

    def read(self, size: int) -> bytes:
        """The next `size` bytes of the body; fewer only at its end."""
        while len(self._data) < size and not self._ended:
            self.receive()
        return self._take(size)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @property
    def peer_pid(self) -> int:
        """The pid of the listening process; 0 if it is in a PID namespace that cannot be seen from here."""
        return discovery.peer(self._connection)[0]

    @property
    def is_trusted(self) -> bool:
        """Whether root or the caller is listening, so that the answer may be acted on."""
        return discovery.is_trusted_user(discovery.peer(self._connection)[1])

    def read_line(self) -> bytes:
        """The next line of the body without its newline, b"" at the end."""
        searched = 0
        while (end := self._data.find(b"\n", searched)) < 0 and not self._ended:
            searched = len(self._data)
            self.receive()
        if end < 0:
            return self._take(len(self._data))
        return self._take(end + 1)[:-1]

    def _take(self, size: int) -> bytes:
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken


def request(
    name: str,
    arguments: Sequence[str] = (),
    *,
    path: str | None = None,
    seconds: float | None = ANSWER_SECONDS,
    typed: str = "",
    notice: Callable[[], None] | None = None,
    streaming: bool = False,
) -> Answer:
    """Send a request to the running cohabit; returns its answer, of which the first line has been read.

    name: of the request. path: the control socket, None to search for it. seconds: the limit for everything, the search
    and the body included; None: the search and the sending have ANSWER_SECONDS, the answer has no limit. streaming: the
    body has no limit. typed: the command for error messages, if it is not `name`. notice: called once after
    NOTICE_SECONDS without an answer. Raises ConnectionFailedError, NoAnswerError at the deadline, and UsageError for
    arguments that cannot be sent.
    """
    typed = typed or name
    data = _encode(name, arguments, typed)
    deadline = time.monotonic() + (ANSWER_SECONDS if seconds is None else seconds)
    connection = discovery.connect(path, typed, deadline) if path else discovery.Search(typed, deadline).find()
    answer = Answer(connection)
    answer.deadline = deadline
    answer.set_timeout()
    try:
        connection.sendall(data, socket.MSG_NOSIGNAL)
    except TimeoutError:
        raise discovery.no_answer(typed, ANSWER_SECONDS if seconds is None else seconds) from None
    except OSError:
        pass  # the peer may have sent the reason before it closed the connection
    answer.deadline = None if seconds is None else deadline
    try:
        answered = _read_head(answer, notice)
    except TimeoutError:
        raise discovery.no_answer(typed, seconds or 0.0) from None
    if not answered:
        raise ConnectionFailedError(
            f"cannot {typed}: cohabit closed the connection without an answer (has it just ended? see its log)"
        )
    if streaming or seconds is None:
        answer.deadline = None
    else:
        answer.timeout_error = discovery.no_answer(typed, seconds)
    return answer


def _read_head(answer: Answer, notice: Callable[[], None] | None) -> bool:
    """Answer.read_head, with a notice when it takes long. Raises TimeoutError."""
    deadline, notice_at = answer.deadline, time.monotonic() + NOTICE_SECONDS
    if notice and (deadline is None or deadline > notice_at):
        answer.deadline = notice_at
        try:
            return answer.read_head()
        except TimeoutError:
            notice()
        answer.deadline = deadline
    return answer.read_head()


def _encode(name: str, arguments: Sequence[str], typed: str) -> bytes:
    for argument in arguments:
        if not argument or not argument.isprintable() or " " in argument:
            raise UsageError(f"cannot {typed}: {argument!r} is not a service name (cohabit ps -q lists them)")
    data = " ".join((PROTOCOL, name, *arguments)).encode("utf-8", "surrogateescape") + b"\n"
    if len(data) > _REQUEST_BYTES_MAX:
        raise UsageError(
            f"cannot {typed}: the request has {len(data)} bytes, more than {_REQUEST_BYTES_MAX} (name fewer services)"
        )
    return data
