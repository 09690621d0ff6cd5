"""sd_notify(3): what services tell about themselves, each over a socket of its own.

One datagram socket per start of a service, so that a message's socket already says whose it is, and what an
earlier run's processes still send reaches nobody. Everybody may write to it (a service may become another user)
and the kernel tells who did (SCM_CREDENTIALS, unix(7)); only processes that may speak for the service are heard, which
takes more than a tracking limit (tree.py). A sender that has ended already can only be judged by its user: it is
heard if that is the service's, root or ours. A message that
is not from there, not readable or too long changes nothing, and one warning per run says so.

Descriptors that come along (BARRIER, FDSTORE) are not taken: there is room for the sender's identity only, so
the kernel closes them as the message is received, when all messages before it have been told; that is what
sd_notify_barrier(3) waits for. Datagrams are taken a few at a time, and all of them together cost a quarter of the
time at the most: the socket that was read last pauses, others get their turn.
WATCHDOG_PID is not set: it would have to be the pid after the fork, and without it WATCHDOG_USEC means whoever
reads it (sd_watchdog_enabled(3)). struct is not imported for one struct of three ints.
"""

from __future__ import annotations

import select
import sys
import time

from cohabit.engine import events
from cohabit.reactor.budget import Budget
from cohabit.reactor.linux import os
from cohabit.reactor.rundir import bind_for_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from cohabit.plan.model import Service
    from cohabit.reactor.poller import Registry
    from cohabit.reactor.rundir import RuntimeDirectory

    SpeaksFor = Callable[[str, int, int], bool | None]
    Say = Callable[[str, str, str], None]
else:
    import _socket as socket

_MESSAGE_MAX = 4096  # as systemd takes them
_AT_ONCE = 8  # datagrams of one service in one turn; the kernel keeps about ten (net.unix.max_dgram_qlen)
_UCRED_SIZE = 12  # pid, uid, gid: three ints
_DIGITS_MAX = 20  # of a 64-bit number
_EXTEND_MAX_SECONDS = 86_400.0  # at once; it may be asked for again
_SEND_FLAGS = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT


class _Endpoint:
    """The socket of one start of a service. uid: whom the service runs as. warned: its warning was given."""

    __slots__ = ("name", "path", "socket", "uid", "warned")

    def __init__(self, name: str, path: str, opened: socket.socket, uid: int) -> None:
        self.name = name
        self.path = path
        self.socket = opened
        self.uid = uid
        self.warned = False


class Notify:
    """All sockets for messages. tell(fact) gets each message; say(level, service, text) a warning about it.

    speaks_for(service, pid, uid): whether a process may act for the service, whose user is uid; None when it is gone.
    """

    def __init__(
        self,
        epoll: Registry,
        directory: RuntimeDirectory,
        *,
        tell: Callable[[events.Notified], None],
        say: Say,
        speaks_for: SpeaksFor,
    ) -> None:
        self._epoll = epoll
        self._directory = directory
        self._tell = tell
        self._say = say
        self._speaks_for = speaks_for
        self._endpoints: dict[int, _Endpoint] = {}
        self._fds: dict[str, int] = {}
        self._count = 0
        self._paused: dict[int, float] = {}  # by descriptor: monotonic seconds at which it is heard again
        self._budget = Budget()  # one for all, so that many floods cost no more than one

    def open(self, service: Service) -> dict[str, str]:
        """A fresh socket for one start; returns what goes into the environment. Raises OSError if none can be had."""
        self.close(service.name)
        self._count += 1
        path = f"{self._directory.make()}/notify-{os.getpid()}-{self._count}"
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            bind_for_all(opened, path)  # senders are known by their credentials
            self._add(_Endpoint(service.name, path, opened, service.user.uid if service.user else os.geteuid()))
        except OSError:
            opened.close()
            raise
        watchdog_seconds = service.probe.watchdog_seconds if service.probe else 0.0
        watchdog = {"WATCHDOG_USEC": str(round(watchdog_seconds * 1e6))} if watchdog_seconds else {}
        return {"NOTIFY_SOCKET": path, **watchdog}

    def close(self, service: str) -> None:
        """Hear no more from this start of the service."""
        fd = self._fds.pop(service, -1)
        if fd < 0:
            return
        endpoint = self._endpoints.pop(fd)
        self._paused.pop(fd, None)
        try:
            os.unlink(endpoint.path)
        except OSError:
            pass  # somebody was quicker
        self._epoll.unregister(fd)
        endpoint.socket.close()

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd in self._endpoints

    def handle(self, fd: int) -> None:
        """Messages have come; some of them are taken in this turn, and paid for with a pause (budget.py)."""
        began = time.monotonic()
        self._take(self._endpoints[fd])
        until = self._budget.spend(began)
        if until:
            self._paused[fd] = until
            self._epoll.modify(fd, 0)

    def deadline(self) -> float | None:
        """Monotonic seconds at which the first pause ends."""
        return min(self._paused.values(), default=None)

    def due(self, now: float) -> None:
        """Hear again those whose pause is over."""
        for fd in [fd for fd, until in self._paused.items() if until <= now]:
            del self._paused[fd]
            self._epoll.modify(fd, select.EPOLLIN)

    def _take(self, endpoint: _Endpoint) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, flags, _ = endpoint.socket.recvmsg(
                    _MESSAGE_MAX, socket.CMSG_SPACE(_UCRED_SIZE), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError as error:
                self._warn(endpoint, f"cannot receive: {error.strerror}")
                return
            self._receive(endpoint, data, _credentials(ancillary), cut=bool(flags & socket.MSG_TRUNC))

    def _receive(self, endpoint: _Endpoint, data: bytes, sender: tuple[int, int], *, cut: bool) -> None:
        pid, uid = sender
        member = self._speaks_for(endpoint.name, pid, endpoint.uid) if pid > 0 else False
        if member is None:
            member = uid in (0, os.geteuid(), endpoint.uid)
        if not member:
            self._warn(endpoint, f"it comes from process {pid} of user {uid}, which is not of this service")
        elif cut:
            self._warn(endpoint, f"it is longer than {_MESSAGE_MAX} bytes")
        else:
            try:
                self._told(endpoint, _parse(data))
            except ValueError as error:
                self._warn(endpoint, str(error))

    def _told(self, endpoint: _Endpoint, message: dict[str, str]) -> None:
        extend = min(_number(message, "EXTEND_TIMEOUT_USEC") / 1e6, _EXTEND_MAX_SECONDS)
        main_pid = _number(message, "MAINPID")
        if main_pid and self._speaks_for(endpoint.name, main_pid, endpoint.uid) is not True:
            self._warn(endpoint, f"MAINPID={main_pid} is no process of this service")
            main_pid = 0
        watchdog = message.get("WATCHDOG", "")
        fact = events.Notified(
            endpoint.name,
            ready=message.get("READY") == "1",
            reloading=message.get("RELOADING") == "1",
            stopping=message.get("STOPPING") == "1",
            status=message.get("STATUS"),
            main_pid=main_pid,
            watchdog=watchdog if watchdog in ("1", "trigger") else "",
            extend_seconds=extend,
        )
        if fact != events.Notified(endpoint.name):
            self._tell(fact)

    def _warn(self, endpoint: _Endpoint, why: str) -> None:
        if not endpoint.warned:
            endpoint.warned = True
            self._say(
                "warning", endpoint.name, f"what was sent to its NOTIFY_SOCKET was ignored: {why} (said once per run)"
            )

    def _add(self, endpoint: _Endpoint) -> None:
        fd = endpoint.socket.fileno()
        self._epoll.register(fd, select.EPOLLIN)
        self._endpoints[fd] = endpoint
        self._fds[endpoint.name] = fd

    # --- crossing a re-execution ---------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What must stay open across the exec."""
        return list(self._endpoints)

    def to_plain(self) -> dict[str, Any]:
        """Plain values for restore; messages that wait in the sockets stay there."""
        sockets = [(each.name, each.path, fd, each.uid, each.warned) for fd, each in self._endpoints.items()]
        return {"directory": self._directory.path, "count": self._count, "sockets": sockets}

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called; the descriptors are still open under their numbers."""
        self._directory.path, self._count = plain["directory"], plain["count"]
        for name, path, fd, uid, warned in plain["sockets"]:
            os.set_inheritable(fd, False)
            endpoint = _Endpoint(name, path, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, fd), uid)
            endpoint.warned = warned
            self._add(endpoint)


def tell_outside(address: str, text: str) -> None:
    """Send a message to whoever supervises us (podman --sdnotify, systemd): once, and if it fails, so be it.

    address: their NOTIFY_SOCKET, a path or @ and an abstract name.
    """
    if not address.startswith(("/", "@")):
        return
    path = b"\0" + address[1:].encode("utf-8", "surrogateescape") if address[0] == "@" else address
    try:
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    except OSError:
        return
    try:
        sender.sendto(text.encode(), _SEND_FLAGS, path)
    except OSError:
        pass
    finally:
        sender.close()


def _credentials(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """(pid, uid) of the sender; pid 0: the kernel does not say, or a process outside our PID namespace."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) >= _UCRED_SIZE:
            return int.from_bytes(data[:4], sys.byteorder), int.from_bytes(data[4:8], sys.byteorder)
    return 0, -1


def _parse(data: bytes) -> dict[str, str]:
    """Lines of NAME=value; the last of one name counts. ValueError says what is wrong."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if "\0" in text:
        raise ValueError("it holds a zero byte")
    pairs = [line.partition("=") for line in text.split("\n")]
    message = {name: value for name, equals, value in pairs if name and equals}
    if not message:
        raise ValueError("it has no line of the form NAME=value")
    return message


def _number(message: dict[str, str], name: str) -> int:
    text = message.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise ValueError(f"{name}={text[:_DIGITS_MAX]} is no number")
    return int(text)
