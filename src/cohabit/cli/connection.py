"""The way to a running cohabit: find its socket, ask one thing, take the answer (docs/reference/control.md).

As light as can be, since `health` is asked every few seconds: no json, no re, no os. Which of several sockets is meant
is told by who listens there (SO_PEERCRED, unix(7)), which nobody can forge: the cohabit that started us, else
process 1, else the only one there is. Knows nothing of verbs or of what is in an answer.
"""

from __future__ import annotations

import sys

from cohabit.errors import EXIT_NO_PERMISSION, EXIT_UNAVAILABLE, CohabitError, UsageError
from cohabit.reactor import rundir
from cohabit.reactor.linux import environment, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    Listener = tuple[socket.socket, str, int]  # a connection to it, its path, and its uid
else:
    import _socket as socket

PROTOCOL = "cohabit/1"
SOCKET_NAME = "control"
ANSWER_SECONDS = 10.0  # for what is answered at once
NOTICE_SECONDS = 2.0  # of waiting, until whoever looks on is told what for
CONNECT_SECONDS = 4.0  # for a place among the clients
_REQUEST_MAX = 65_536
_READ = 65_536
_LONG = 8 if sys.maxsize >> 32 else 4  # bytes
_TIMEVAL = int(CONNECT_SECONDS).to_bytes(_LONG, sys.byteorder) + bytes(_LONG)
_NOBODY, _SEVERAL = -1, -2  # no pids
_CREDENTIALS = 12  # bytes of a struct ucred: pid, uid, gid


class ConnectionFailedError(CohabitError):
    """Nobody is there to talk to (69), or whoever is there does not talk to us (77)."""

    def __init__(self, message: str, exit_code: int = EXIT_UNAVAILABLE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class SilentError(ConnectionFailedError):
    """Somebody is there and has not answered in time."""


class Answer:
    """What came back: the exit code that we should end with, one line of text, and a body to read.

    Reading the body waits as long as the server takes; one that breaks off just ends.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = bytearray()
        self._ended = False
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
        try:
            piece = self._connection.recv(_READ)
        except ConnectionError:
            piece = b""
        self._data += piece
        self._ended = not piece

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
        """The pid of who listens there; 0 for one that cannot be seen from here."""
        return _peer(self._connection)[0]

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
) -> Answer:
    """Ask the running cohabit; its answer, of which the first line is there.

    path: its socket, None to look for it. seconds: how long the first line may take, None for as long as it likes
    (an answer that comes when something is done). by: the verb that was typed, for errors. notice: called once when
    it takes longer than a moment. Raises ConnectionFailedError, SilentError for one that takes too long, and
    UsageError for words that cannot be sent.
    """
    by = by or verb
    request = _request(verb, words, by)
    connection = _connect(path, by) if path else _find(by)
    connection.settimeout(ANSWER_SECONDS if seconds is None else seconds)
    answer = Answer(connection)
    try:
        connection.sendall(request, socket.MSG_NOSIGNAL)
    except TimeoutError:
        raise _silent(by, seconds) from None
    except OSError:
        pass  # it may have said why before it hung up
    try:
        heard = _hear(answer, connection, seconds, notice)
    except TimeoutError:
        raise _silent(by, seconds) from None
    if not heard:
        raise ConnectionFailedError(
            f"cannot {by}: cohabit hung up without an answer (has it just ended? its log tells)"
        )
    connection.settimeout(None)
    return answer


def _hear(answer: Answer, connection: socket.socket, seconds: float | None, notice: Callable[[], None] | None) -> bool:
    """Answer.read_head, with a word about it when it takes long. Raises TimeoutError."""
    if notice and (seconds is None or seconds > NOTICE_SECONDS):
        connection.settimeout(NOTICE_SECONDS)
        try:
            return answer.read_head()
        except TimeoutError:
            notice()
        seconds = None if seconds is None else seconds - NOTICE_SECONDS
    connection.settimeout(seconds)
    return answer.read_head()


def _request(verb: str, words: Sequence[str], by: str) -> bytes:
    for word in words:
        if not word or not word.isprintable() or " " in word:
            raise UsageError(f"cannot {by}: {word!r} is the name of no service (cohabit ps -q lists them)")
    request = " ".join((PROTOCOL, verb, *words)).encode("utf-8", "surrogateescape") + b"\n"
    if len(request) > _REQUEST_MAX:
        raise UsageError(f"cannot {by}: these are too many words at once, {len(request)} bytes (name fewer services)")
    return request


def _silent(by: str, seconds: float | None) -> SilentError:
    return SilentError(
        f"cannot {by}: cohabit has not answered within {seconds:g} s (is it stopped, or the machine overloaded?)"
    )


# --- where it is -----------------------------------------------------------------------------------------


def _connect(path: str, by: str) -> socket.socket:
    """A connection to a socket that was named. Raises ConnectionFailedError."""
    connection = _socket()
    try:
        connection.connect(path)
    except PermissionError:
        raise _refused(by) from None
    except BlockingIOError:
        raise _silent(by, CONNECT_SECONDS) from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise ConnectionFailedError(
            f"cannot {by}: no cohabit listens at {path} (start one with `cohabit up`; is the path right?)"
        ) from None
    except OSError as error:
        raise ConnectionFailedError(f"cannot {by}: {path}: {error.strerror or error} (is it a socket?)") from None
    return connection


def _socket() -> socket.socket:
    """A socket that waits only so long for a place among the clients."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL)
    return made


def _find(by: str) -> socket.socket:
    """A connection to the cohabit that is meant where none was named."""
    variables = environment()
    directory = variables.get("COHABIT_RUNTIME_DIR", "")
    if directory:
        return _connect(f"{directory}/{SOCKET_NAME}", by)
    found, forbidden = _listeners()
    chosen = _choose(found, variables.get("COHABIT_SUPERVISOR", ""))
    for pid, (connection, _, _) in found.items():
        if pid != chosen:
            connection.close()
    if chosen in found:
        return found[chosen][0]
    if chosen == _SEVERAL:
        paths = ", ".join(path for _, path, _ in found.values())
        raise ConnectionFailedError(f"cannot {by}: several cohabits are running here (say which: --socket, of {paths})")
    if forbidden:
        raise _refused(by)
    raise ConnectionFailedError(
        f"cannot {by}: no cohabit is running here (start one with `cohabit up`; another one's socket: --socket PATH)"
    )


def _choose(found: dict[int, Listener], mark: str) -> int:
    """The pid of the one that is meant: in our mark, else 1, else of the only one that we may trust."""
    supervisor = mark.partition("-")[0]
    if supervisor.isdecimal():
        return int(supervisor)
    if 1 in found:
        return 1
    ours = [pid for pid, (_, _, uid) in found.items() if uid in (0, os.geteuid())]
    return ours[0] if len(ours) == 1 else _SEVERAL if ours else _NOBODY


def _refused(by: str) -> ConnectionFailedError:
    return ConnectionFailedError(
        f"cannot {by}: the cohabit that is running here does not talk to uid {os.geteuid()} "
        "(become root, or the user that it runs as)",
        EXIT_NO_PERMISSION,
    )


def _listeners() -> tuple[dict[int, Listener], bool]:
    """Who listens, by their pids; and whether there are some that we may not ask."""
    found: dict[int, Listener] = {}
    paths, forbidden = _paths()
    for path in paths:
        connection = _socket()
        try:
            connection.connect(path)
            pid, uid = _peer(connection)
        except OSError as error:
            forbidden |= isinstance(error, PermissionError)
            connection.close()
            continue
        if pid in found:  # one directory by two names: /var/run is /run
            connection.close()
        else:
            found[pid] = connection, path, uid
    return found, forbidden


def _peer(connection: socket.socket) -> tuple[int, int]:
    """(pid, uid) of who listens, as they were when it began to."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS)
    pid, uid = (int.from_bytes(credentials[at : at + 4], sys.byteorder) for at in (0, 4))
    return pid, uid


def _paths() -> tuple[list[str], bool]:
    """Every place where its socket may be (rundir.py), and whether one could not be looked at."""
    paths: list[str] = []
    forbidden = False
    bases = [(base, "") for base in rundir.OURS] + [(base, "cohabit-") for base in rundir.EVERYBODYS]
    for base, beginning in bases:
        try:
            names = os.listdir(base)
        except OSError as error:
            forbidden |= isinstance(error, PermissionError)
            continue
        paths += [f"{base}/{name}/{SOCKET_NAME}" for name in names if name.startswith(beginning)]
    return paths, forbidden
