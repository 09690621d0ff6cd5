"""Search for the control socket of the running cohabit: a trusted directory, then a trusted peer (docs/adr/0012).

Only a directory that root, the caller or the user of process 1 owns, and that no other user can write, is entered. No
link is followed there, so no other user's process can plant a socket. The kernel reports the listening process
(SO_PEERCRED, unix(7)): it must belong to root or to the caller, or be process 1 itself; other sockets are skipped. If
several remain, the cohabit that started the caller is selected, else process 1, else the only one.

`health` runs every few seconds, so this module imports as little as connection.py does.
"""

from __future__ import annotations

import _stat as stat
import sys
import time

from cohabit import control
from cohabit.control import RUNTIME_BASES, RUNTIME_DIR, SHARED_BASES, SOCKET_NAME
from cohabit.errors import EXIT_NO_PERMISSION, EXIT_UNAVAILABLE, CohabitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    import socket
    from collections.abc import Iterator
else:
    import _socket as socket
    import posix as os

CONNECT_SECONDS = 4.0  # limit for connecting to a listener whose queue is full
_LONG_BYTES = 8 if sys.maxsize >> 32 else 4
_UCRED_BYTES = 12  # of a struct ucred: pid, uid, gid
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OPEN_BASE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_SOCKET = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_UIDS_SHOWN = 3


class ConnectionFailedError(CohabitError):
    """No cohabit is listening, or it closed the connection."""

    exit_code = EXIT_UNAVAILABLE
    code = control.UNAVAILABLE


class NoAnswerError(ConnectionFailedError):
    """The cohabit that is listening has not answered in time."""

    code = control.TIMEOUT


class PermissionDeniedError(ConnectionFailedError):
    """The kernel denies access to the socket."""

    exit_code = EXIT_NO_PERMISSION
    code = control.PERMISSION_DENIED


class Candidate:
    """A control socket in a trusted directory. connection: None while the listener's queue is full."""

    __slots__ = ("connection", "entry", "pid")

    def __init__(self, entry: SocketEntry, connection: socket.socket | None, pid: int = 0) -> None:
        self.entry = entry
        self.connection = connection
        self.pid = pid

    def take_connection(self) -> socket.socket | None:
        """Return the connection, which close() does not close any more."""
        connection, self.connection = self.connection, None
        return connection

    def close(self) -> None:
        """Close the connection, if there is one, and the entry's descriptors."""
        if self.connection:
            self.connection.close()
        self.entry.close()


class SocketEntry:
    """A trusted directory and the socket in it; both are held open, so no path is resolved a second time."""

    __slots__ = ("_directory", "_socket", "path")

    def __init__(self, path: str, directory: int, opened: int) -> None:
        self.path = path
        self._directory = directory
        self._socket = opened

    def connect(self, connection: socket.socket) -> None:
        """Connect to this socket. Raises OSError."""
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
    """One search, with what it met, for the error message when it finds nothing.

    permission_denied: the kernel refused to open or to connect. untrusted_uids: users who own directories or sockets
    with our names.
    """

    def __init__(self, command: str, deadline: float) -> None:
        self.command = command
        self.deadline = deadline
        self.permission_denied = False
        self.untrusted_uids: set[int] = set()
        self._process_1_uid: int | None = None  # None: not read yet

    # --- selection -----------------------------------------------------------------------------------

    def find(self) -> socket.socket:
        """A connection to the selected cohabit. Raises ConnectionFailedError."""
        variables = environment()
        supervisor = variables.get("COHABIT_SUPERVISOR", "").partition("-")[0]
        configured = variables.get(RUNTIME_DIR, "")
        preferred_pid = int(supervisor) if supervisor.isdecimal() else 1
        found: list[Candidate] = []
        try:
            for entry in self._entries_in_configured(configured) if configured else self._entries_in_defaults():
                candidate = self._connect(entry)
                if candidate:
                    found.append(candidate)
                    if candidate.pid == preferred_pid and (connection := candidate.take_connection()):
                        return connection
            self._connect_to_full_queues(found, preferred_pid)
            connected = [each for each in found if each.connection]
            selected = [each for each in connected if each.pid == preferred_pid]
            if not supervisor.isdecimal() or configured:
                selected = selected or connected
            if len(selected) == 1 and (connection := selected[0].take_connection()):
                return connection
            raise self._failure(found, selected, configured)
        finally:
            for candidate in found:
                candidate.close()

    def _connect(self, entry: SocketEntry) -> Candidate | None:
        """The socket as a candidate; None if no trusted process is listening."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            entry.connect(connection)
        except BlockingIOError:
            connection.close()
            return Candidate(entry, None)
        except OSError as error:
            self.permission_denied |= isinstance(error, PermissionError)
            connection.close()
            entry.close()
            return None
        pid, uid = peer(connection)
        if not self._is_trusted_listener(pid, uid):
            self.untrusted_uids.add(uid)
            connection.close()
            entry.close()
            return None
        return Candidate(entry, connection, pid)

    def _connect_to_full_queues(self, found: list[Candidate], preferred_pid: int) -> None:
        """Connect to listeners with a full queue, each with its share of the time left; stop at the preferred one."""
        full = [each for each in found if not each.connection]
        for index, candidate in enumerate(full):
            others = len(full) - index - 1 + (len(full) < len(found))
            seconds = (self.deadline - time.monotonic()) / (1 + others)
            connection = blocking_socket(seconds)
            try:
                candidate.entry.connect(connection)
            except OSError:
                connection.close()
                continue
            pid, uid = peer(connection)
            if not self._is_trusted_listener(pid, uid):
                connection.close()
                continue
            candidate.connection, candidate.pid = connection, pid
            if pid == preferred_pid:
                return

    def _failure(self, found: list[Candidate], selected: list[Candidate], configured: str) -> ConnectionFailedError:
        command = self.command
        if selected:
            paths = ", ".join(each.entry.path for each in selected)
            return ConnectionFailedError(
                f"cannot {command}: several cohabits are running here (choose one: --socket, with one of {paths})"
            )
        if any(not each.connection for each in found):
            return no_answer(command, CONNECT_SECONDS)
        if self.permission_denied:
            return no_permission(command)
        where = f"at {configured}/{SOCKET_NAME}" if configured else "here"
        what, hint = "no cohabit is running", "start one with `cohabit up`; for another control socket: --socket PATH"
        if self.untrusted_uids:
            users = ", ".join(map(str, sorted(self.untrusted_uids)[:_UIDS_SHOWN]))
            what = f"no cohabit of root or of user {os.geteuid()} is running"
            hint = f"files of user {users} are not trusted: become that user, or use --socket PATH"
        elif configured:
            what, hint = "no cohabit is listening", f"start one with `cohabit up`; is {RUNTIME_DIR} right?"
        return ConnectionFailedError(f"cannot {command}: {what} {where} ({hint})")

    # --- locations -----------------------------------------------------------------------------------

    def _entries_in_defaults(self) -> Iterator[SocketEntry]:
        """The sockets in the default locations, in the order in which a cohabit tries them for its own socket."""
        seen: set[tuple[int, int]] = set()
        for base in RUNTIME_BASES:
            yield from self._entries_below(base, "", seen, shared=False)
        for base in SHARED_BASES:
            yield from self._entries_below(base, "cohabit-", seen, shared=True)

    def _entries_in_configured(self, directory: str) -> Iterator[SocketEntry]:
        """The socket in COHABIT_RUNTIME_DIR, else those in its subdirectories `cohabit-*`."""
        entry = self._open(directory, None, directory)
        if entry:
            yield entry
            return
        yield from self._entries_below(directory, "cohabit-", set(), shared=True)

    def _entries_below(
        self, base: str, prefix: str, seen: set[tuple[int, int]], *, shared: bool
    ) -> Iterator[SocketEntry]:
        """The sockets in subdirectories of `base`. shared: other users can write `base`, such as /tmp."""
        try:
            opened = os.open(base, _OPEN_BASE if shared else _OPEN_BASE | os.O_NOFOLLOW)
        except OSError as error:
            self.permission_denied |= isinstance(error, PermissionError)
            return
        try:
            status = os.fstat(opened)
            identity = status.st_dev, status.st_ino
            if identity in seen or not (shared or self._is_trusted(status)):
                return
            seen.add(identity)
            try:
                names = sorted(name for name in os.listdir(opened) if name.startswith(prefix))
            except OSError:
                return
            for name in names:
                if time.monotonic() > self.deadline:
                    return  # other users can create any number of directories here
                entry = self._open(name, opened, f"{base}/{name}")
                if entry:
                    yield entry
        finally:
            os.close(opened)

    def _open(self, name: str, parent: int | None, path: str) -> SocketEntry | None:
        """The socket in this directory; None if there is none, or if another user could have created it."""
        try:
            directory = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
        except OSError as error:
            self.permission_denied |= isinstance(error, PermissionError)
            return None
        opened = -1
        try:
            if self._is_trusted(os.fstat(directory)):
                opened = os.open(SOCKET_NAME, _OPEN_SOCKET, dir_fd=directory)
                if stat.S_ISSOCK(os.fstat(opened).st_mode):
                    return SocketEntry(f"{path}/{SOCKET_NAME}", directory, opened)
        except OSError as error:
            self.permission_denied |= isinstance(error, PermissionError)
        os.close(directory)
        if opened >= 0:
            os.close(opened)
        return None

    def _is_trusted(self, status: os.stat_result) -> bool:
        """Whether only root, the caller and the user of process 1 can change the contents of this directory."""
        if not (is_trusted_user(status.st_uid) or status.st_uid == self._uid_of_process_1()):
            self.untrusted_uids.add(status.st_uid)
            return False
        return not status.st_mode & _OTHERS_WRITE

    def _is_trusted_listener(self, pid: int, uid: int) -> bool:
        """Of the user of process 1, only process 1 itself is trusted: its services may run as the same user."""
        return is_trusted_user(uid) or (pid == 1 and uid == self._uid_of_process_1())

    def _uid_of_process_1(self) -> int:
        """The user of process 1, -1 if it cannot be read."""
        if self._process_1_uid is None:
            try:
                self._process_1_uid = os.stat("/proc/1").st_uid
            except OSError:
                self._process_1_uid = -1
        return self._process_1_uid


def environment() -> dict[str, str]:
    """The variables of this process. os has a copy that the program may have changed, if it is loaded."""
    loaded = sys.modules.get("os")
    if loaded:
        return dict(loaded.environ)
    given: dict[bytes, bytes] = os.environ  # type: ignore[assignment]  # in posix, names and values are bytes
    return {name.decode("utf-8", "surrogateescape"): given[name].decode("utf-8", "surrogateescape") for name in given}


def is_trusted_user(uid: int) -> bool:
    """Whether this user is root or the caller."""
    return uid in (0, os.geteuid())


def peer(connection: socket.socket) -> tuple[int, int]:
    """(pid, uid) of the listening process, as they were when it began to listen."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED_BYTES)
    pid, uid = (int.from_bytes(credentials[at : at + 4], sys.byteorder) for at in (0, 4))
    return pid, uid


def connect(path: str, command: str, deadline: float) -> socket.socket:
    """A connection to the socket that the caller named; links are followed. Raises ConnectionFailedError."""
    connection = blocking_socket(deadline - time.monotonic())
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        if isinstance(error, PermissionError):
            raise no_permission(command) from None
        if isinstance(error, BlockingIOError):
            raise no_answer(command, CONNECT_SECONDS) from None
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            raise ConnectionFailedError(
                f"cannot {command}: no cohabit is listening at {path} (start one with `cohabit up`; is the path right?)"
            ) from None
        raise ConnectionFailedError(f"cannot {command}: {path}: {error.strerror or error} (is it a socket?)") from None
    return connection


def blocking_socket(seconds: float) -> socket.socket:
    """A socket whose connect waits at most this long, and at most CONNECT_SECONDS, for room in the listener's queue."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    microseconds = max(1, int(min(seconds, CONNECT_SECONDS) * 1e6))  # 0 would be no limit
    pair = divmod(microseconds, 1_000_000)
    timeval = b"".join(one.to_bytes(_LONG_BYTES, sys.byteorder) for one in pair)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
    return made


def no_permission(command: str) -> PermissionDeniedError:
    """The error when the kernel denies access to the socket."""
    return PermissionDeniedError(
        f"cannot {command}: permission denied for user {os.geteuid()} (become root, or the user that cohabit runs as)",
    )


def no_answer(command: str, seconds: float) -> NoAnswerError:
    """The error when no answer comes in time."""
    return NoAnswerError(
        f"cannot {command}: cohabit has not answered within {seconds:g} s (is it stopped, or the machine overloaded?)"
    )
