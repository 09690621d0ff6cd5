"""One request to the running cohabit and its answer (docs/reference/control.md); discovery.py finds the socket.

As light as can be, since `health` is asked every few seconds: no json, no re, no os. One deadline covers the search,
the connection, the request and the answer. Knows nothing of verbs or of what is in an answer.
"""

from __future__ import annotations

import time

from cohabit.cli import discovery
from cohabit.cli.discovery import ConnectionFailedError, SilentError
from cohabit.errors import EXIT_UNAVAILABLE, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence
else:
    import _socket as socket

PROTOCOL = "cohabit/2"
ANSWER_SECONDS = 10.0  # for what is answered at once
NOTICE_SECONDS = 2.0  # of waiting, until whoever looks on is told what for
_REQUEST_MAX = 65_536
_READ = 65_536
_LEAST_SECONDS = 0.000_001  # a timeout of 0 would mean not to wait at all


class Answer:
    """What came back: the exit code that we should end with, one line of text, and a body to read.

    until: monotonic seconds at which reading gives up, None for never; then receive raises TimeoutError, or `late` if
    there is one. A body that breaks off just ends.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = bytearray()
        self._ended = False
        self.until: float | None = None
        self.late: SilentError | None = None
        self.code = EXIT_UNAVAILABLE
        self.text = ""

    def read_head(self) -> bool:
        """Take the first line; False if there is none. Raises TimeoutError when it does not come in time."""
        code, _, text = self.line().decode("utf-8", "replace").partition(" ")
        if not code.isdecimal():
            return False
        self.code, self.text = int(code), text
        return True

    def fileno(self) -> int:
        """For select: readable when there is more to receive, or its end."""
        return self._connection.fileno()

    @property
    def ended(self) -> bool:
        """Whether everything has been received."""
        return self._ended

    def receive(self) -> None:
        """Read once from the connection."""
        self.set_timeout()
        try:
            piece = self._connection.recv(_READ)
        except ConnectionError:
            piece = b""
        except TimeoutError:
            if self.late:
                raise self.late from None
            raise
        self._data += piece
        self._ended = not piece

    def set_timeout(self) -> None:
        """Let the next call on the connection take no longer than is left."""
        left = None if self.until is None else max(_LEAST_SECONDS, self.until - time.monotonic())
        self._connection.settimeout(left)

    def forget(self) -> None:
        """Drop what has been received."""
        self._data.clear()

    def lines(self) -> Iterator[bytes]:
        """The lines of the body, without their newlines."""
        while line := self.line():
            yield line

    def read(self, size: int) -> bytes:
        """So many bytes of the body; fewer only at its end."""
        while len(self._data) < size and not self._ended:
            self.receive()
        return self._take(size)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    @property
    def listener(self) -> int:
        """The pid of the process that listens there; 0 for one that cannot be seen from here."""
        return discovery.peer(self._connection)[0]

    @property
    def is_trusted(self) -> bool:
        """Whether root or the caller listens there, so that what is told may be acted on."""
        return discovery.is_trusted_user(discovery.peer(self._connection)[1])

    def line(self) -> bytes:
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


def ask(
    verb: str,
    words: Sequence[str] = (),
    *,
    path: str | None = None,
    seconds: float | None = ANSWER_SECONDS,
    by: str = "",
    notice: Callable[[], None] | None = None,
    streams: bool = False,
) -> Answer:
    """Ask the running cohabit; its answer, of which the first line is there.

    path: its socket, None to look for it. seconds: how long everything may take, the search and the body included;
    None: the first line comes when something is done. streams: the body comes as long as it likes. by: the verb that
    was typed, for errors. notice: called once when it takes longer than a moment. Raises ConnectionFailedError,
    SilentError for one that takes too long, and UsageError for words that cannot be sent.
    """
    by = by or verb
    request = _request(verb, words, by)
    deadline = time.monotonic() + (ANSWER_SECONDS if seconds is None else seconds)
    connection = discovery.connect(path, by, deadline) if path else discovery.Search(by, deadline).find()
    answer = Answer(connection)
    answer.until = deadline
    answer.set_timeout()
    try:
        connection.sendall(request, socket.MSG_NOSIGNAL)
    except TimeoutError:
        raise discovery.silent(by, ANSWER_SECONDS if seconds is None else seconds) from None
    except OSError:
        pass  # it may have said why before it hung up
    answer.until = None if seconds is None else deadline
    try:
        heard = _hear(answer, notice)
    except TimeoutError:
        raise discovery.silent(by, seconds or 0.0) from None
    if not heard:
        raise ConnectionFailedError(
            f"cannot {by}: cohabit hung up without an answer (has it just ended? its log tells)"
        )
    if streams or seconds is None:
        answer.until = None
    else:
        answer.late = discovery.silent(by, seconds)
    return answer


def _hear(answer: Answer, notice: Callable[[], None] | None) -> bool:
    """Answer.read_head, with a notice when it takes long. Raises TimeoutError."""
    until, soon = answer.until, time.monotonic() + NOTICE_SECONDS
    if notice and (until is None or until > soon):
        answer.until = soon
        try:
            return answer.read_head()
        except TimeoutError:
            notice()
        answer.until = until
    return answer.read_head()


def _request(verb: str, words: Sequence[str], by: str) -> bytes:
    for word in words:
        if not word or not word.isprintable() or " " in word:
            raise UsageError(f"cannot {by}: {word!r} is the name of no service (cohabit ps -q lists them)")
    request = " ".join((PROTOCOL, verb, *words)).encode("utf-8", "surrogateescape") + b"\n"
    if len(request) > _REQUEST_MAX:
        raise UsageError(f"cannot {by}: these are too many words at once, {len(request)} bytes (name fewer services)")
    return request
