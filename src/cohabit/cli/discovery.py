"""Finding the control socket of the running cohabit: a trusted directory first, then a trusted peer (docs/adr/0012).

Only a directory that root, the caller or the user of process 1 owns and that nobody else can write is looked into, and
no link is followed there, so no other user's process can put a socket in the caller's way. The kernel tells who listens
(SO_PEERCRED, unix(7)): a process of root or of the caller, or process 1 itself, else it is passed over. Of several, the
cohabit that started the caller is meant, else process 1, else the only one.

`health` is asked every few seconds, so this imports as little as connection.py does.
"""

from __future__ import annotations

import _stat as stat
import sys
import time

from cohabit.errors import EXIT_NO_PERMISSION, EXIT_UNAVAILABLE, CohabitError
from cohabit.reactor.linux import RUNTIME_BASES, RUNTIME_DIR, SHARED_BASES, environment, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
else:
    import _socket as socket

SOCKET_NAME = "control"
CONNECT_SECONDS = 4.0  # for a place in a full queue of connections, where the whole request has more
_LONG = 8 if sys.maxsize >> 32 else 4  # bytes
_CREDENTIALS = 12  # bytes of a struct ucred: pid, uid, gid
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OPEN_BASE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_SOCKET = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_UIDS_SHOWN = 3


class ConnectionFailedError(CohabitError):
    """No cohabit listens (69), or the one that listens does not talk to this user (77)."""

    def __init__(self, message: str, exit_code: int = EXIT_UNAVAILABLE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class SilentError(ConnectionFailedError):
    """The cohabit that listens has not answered in time."""


class Candidate:
    """A control socket in a trusted directory. connection: None while its queue is full."""

    __slots__ = ("connection", "pid", "place")

    def __init__(self, place: Place, connection: socket.socket | None, pid: int = 0) -> None:
        self.place = place
        self.connection = connection
        self.pid = pid

    def close(self) -> None:
        """Close the connection, if there is one, and the descriptor of the socket."""
        if self.connection:
            self.connection.close()
        self.place.close()


class Place:
    """A directory that is trusted, and the socket in it, both held open so that no name is looked up again."""

    __slots__ = ("_directory", "_socket", "path")

    def __init__(self, path: str, directory: int, opened: int) -> None:
        self.path = path
        self._directory = directory
        self._socket = opened

    def connect(self, connection: socket.socket) -> None:
        """Connect to this very socket. Raises OSError."""
        try:
            connection.connect(f"/proc/self/fd/{self._socket}")
        except FileNotFoundError:  # no /proc here
            here = os.open(".", _OPEN_DIRECTORY)
            try:
                os.fchdir(self._directory)
                connection.connect(SOCKET_NAME)
            finally:
                os.fchdir(here)
                os.close(here)

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self._directory)
        os.close(self._socket)


class Search:
    """One search, and what it met on its way, for the message when it finds nothing.

    forbidden: the kernel refused a look or a connection. strangers: users who own directories that are named as ours.
    """

    def __init__(self, verb: str, deadline: float) -> None:
        self.verb = verb
        self.deadline = deadline
        self.forbidden = False
        self.strangers: set[int] = set()
        self._user_of_process_1: int | None = None  # not looked up yet

    # --- which one -----------------------------------------------------------------------------------

    def find(self) -> socket.socket:
        """A connection to the cohabit that is meant. Raises ConnectionFailedError."""
        variables = environment()
        supervisor = variables.get("COHABIT_SUPERVISOR", "").partition("-")[0]
        given = variables.get(RUNTIME_DIR, "")
        wanted = int(supervisor) if supervisor.isdecimal() else 1
        found: list[Candidate] = []
        try:
            for place in self._given(given) if given else self._usual():
                candidate = self._reach(place)
                if candidate:
                    found.append(candidate)
                    if candidate.pid == wanted:
                        return self._chosen(candidate)
            self._wait_for_places(found, wanted)
            connected = [each for each in found if each.connection]
            meant = [each for each in connected if each.pid == wanted]
            if not supervisor.isdecimal() or given:
                meant = meant or connected
            if len(meant) == 1:
                return self._chosen(meant[0])
            raise self._failure(found, meant, given)
        finally:
            for candidate in found:
                candidate.close()

    @staticmethod
    def _chosen(candidate: Candidate) -> socket.socket:
        assert candidate.connection  # noqa: S101 - one whose pid is known
        connection, candidate.connection = candidate.connection, None
        return connection

    def _reach(self, place: Place) -> Candidate | None:
        """The socket as a candidate; None if nothing listens there that may be believed."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            place.connect(connection)
        except BlockingIOError:
            connection.close()
            return Candidate(place, None)
        except OSError as error:
            self.forbidden |= isinstance(error, PermissionError)
            connection.close()
            place.close()
            return None
        pid, uid = peer(connection)
        if not self._may_listen(pid, uid):
            self.strangers.add(uid)
            connection.close()
            place.close()
            return None
        return Candidate(place, connection, pid)

    def _wait_for_places(self, found: list[Candidate], wanted: int) -> None:
        """Connect to those whose queue is full, each with its share of the time; stop at the one that is wanted."""
        full = [each for each in found if not each.connection]
        for index, candidate in enumerate(full):
            others = len(full) - index - 1 + (len(full) < len(found))
            seconds = (self.deadline - time.monotonic()) / (1 + others)
            connection = waiting_socket(seconds)
            try:
                candidate.place.connect(connection)
            except OSError:
                connection.close()
                continue
            pid, uid = peer(connection)
            if not self._may_listen(pid, uid):
                connection.close()
                continue
            candidate.connection, candidate.pid = connection, pid
            if pid == wanted:
                return

    def _failure(self, found: list[Candidate], meant: list[Candidate], given: str) -> ConnectionFailedError:
        verb = self.verb
        if meant:
            paths = ", ".join(each.place.path for each in meant)
            return ConnectionFailedError(
                f"cannot {verb}: several cohabits are running here (say which: --socket, of {paths})"
            )
        if any(not each.connection for each in found):
            return silent(verb, CONNECT_SECONDS)
        if self.forbidden:
            return refused(verb)
        where = f"at {given}/{SOCKET_NAME}" if given else "here"
        what, hint = "no cohabit is running", "start one with `cohabit up`; another one's socket: --socket PATH"
        if self.strangers:
            users = ", ".join(map(str, sorted(self.strangers)[:_UIDS_SHOWN]))
            what = f"no cohabit of root or of user {os.geteuid()} is running"
            hint = f"what is there belongs to user {users} and is not trusted: become that user, or use --socket PATH"
        elif given:
            what, hint = "no cohabit listens", f"start one with `cohabit up`; is {RUNTIME_DIR} right?"
        return ConnectionFailedError(f"cannot {verb}: {what} {where} ({hint})")

    # --- where it may be -----------------------------------------------------------------------------

    def _usual(self) -> Iterator[Place]:
        """The sockets in the usual places, in the order in which a cohabit looks for a place of its own."""
        seen: set[tuple[int, int]] = set()
        for base in RUNTIME_BASES:
            yield from self._inside(base, "", seen, shared=False)
        for base in SHARED_BASES:
            yield from self._inside(base, "cohabit-", seen, shared=True)

    def _given(self, directory: str) -> Iterator[Place]:
        """The sockets where COHABIT_RUNTIME_DIR says: in it, or in a directory in it where others may write it, too."""
        place = self._open(directory, None, directory)
        if place:
            yield place
            return
        yield from self._inside(directory, "cohabit-", set(), shared=True)

    def _inside(self, base: str, beginning: str, seen: set[tuple[int, int]], *, shared: bool) -> Iterator[Place]:
        """The sockets in directories below this one. shared: others may write it, as /tmp."""
        try:
            opened = os.open(base, _OPEN_BASE if shared else _OPEN_BASE | os.O_NOFOLLOW)
        except OSError as error:
            self.forbidden |= isinstance(error, PermissionError)
            return
        try:
            status = os.fstat(opened)
            identity = status.st_dev, status.st_ino
            if identity in seen or not (shared or self._is_trusted(status)):
                return
            seen.add(identity)
            try:
                names = sorted(name for name in os.listdir(opened) if name.startswith(beginning))
            except OSError:
                return
            for name in names:
                if time.monotonic() > self.deadline:
                    return  # in a directory that others may fill
                place = self._open(name, opened, f"{base}/{name}")
                if place:
                    yield place
        finally:
            os.close(opened)

    def _open(self, name: str, parent: int | None, path: str) -> Place | None:
        """The socket in this directory, if no other user can have put it there."""
        try:
            directory = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        except OSError as error:
            self.forbidden |= isinstance(error, PermissionError)
            return None
        opened = -1
        try:
            if self._is_trusted(os.fstat(directory)):
                opened = os.open(SOCKET_NAME, _OPEN_SOCKET, dir_fd=directory)
                if stat.S_ISSOCK(os.fstat(opened).st_mode):
                    return Place(f"{path}/{SOCKET_NAME}", directory, opened)
        except OSError as error:
            self.forbidden |= isinstance(error, PermissionError)
        os.close(directory)
        if opened >= 0:
            os.close(opened)
        return None

    def _is_trusted(self, status: os.stat_result) -> bool:
        """Whether only root, the caller and the user of process 1 can change what is in this directory."""
        if not (is_trusted_user(status.st_uid) or status.st_uid == self._runs_process_1()):
            self.strangers.add(status.st_uid)
            return False
        return not status.st_mode & _OTHERS_WRITE

    def _may_listen(self, pid: int, uid: int) -> bool:
        """Of the user of process 1 only process 1 itself: its services may run as the same user."""
        return is_trusted_user(uid) or (pid == 1 and uid == self._runs_process_1())

    def _runs_process_1(self) -> int:
        """The user of process 1, -1 where that cannot be seen."""
        if self._user_of_process_1 is None:
            try:
                self._user_of_process_1 = os.stat("/proc/1").st_uid
            except OSError:
                self._user_of_process_1 = -1
        return self._user_of_process_1


def is_trusted_user(uid: int) -> bool:
    """Whether this user is root or the caller."""
    return uid in (0, os.geteuid())


def peer(connection: socket.socket) -> tuple[int, int]:
    """(pid, uid) of the process that listens, as they were when it began to."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS)
    pid, uid = (int.from_bytes(credentials[at : at + 4], sys.byteorder) for at in (0, 4))
    return pid, uid


def connect(path: str, verb: str, deadline: float) -> socket.socket:
    """A connection to a socket that the caller named, links and all. Raises ConnectionFailedError."""
    connection = waiting_socket(deadline - time.monotonic())
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        if isinstance(error, PermissionError):
            raise refused(verb) from None
        if isinstance(error, BlockingIOError):
            raise silent(verb, CONNECT_SECONDS) from None
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            raise ConnectionFailedError(
                f"cannot {verb}: no cohabit listens at {path} (start one with `cohabit up`; is the path right?)"
            ) from None
        raise ConnectionFailedError(f"cannot {verb}: {path}: {error.strerror or error} (is it a socket?)") from None
    return connection


def waiting_socket(seconds: float) -> socket.socket:
    """A socket whose connect waits only so long for a place in the queue."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    microseconds = max(1, int(min(seconds, CONNECT_SECONDS) * 1e6))  # 0 would be for ever
    pair = divmod(microseconds, 1_000_000)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, b"".join(one.to_bytes(_LONG, sys.byteorder) for one in pair))
    return made


def refused(verb: str) -> ConnectionFailedError:
    """The error where the kernel keeps the caller out."""
    return ConnectionFailedError(
        f"cannot {verb}: the cohabit that is running here does not talk to uid {os.geteuid()} "
        "(become root, or the user that it runs as)",
        EXIT_NO_PERMISSION,
    )


def silent(verb: str, seconds: float) -> SilentError:
    """The error where no answer comes in time."""
    return SilentError(
        f"cannot {verb}: cohabit has not answered within {seconds:g} s (is it stopped, or the machine overloaded?)"
    )
