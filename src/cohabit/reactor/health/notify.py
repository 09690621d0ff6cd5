"""sd_notify(3): messages from services about their state.

Each start of a service has its own datagram socket, so the socket identifies the service, and messages of processes of
an earlier run are not received. Every user can write to it, because a service may change its user. The kernel names the
sender (SCM_CREDENTIALS, unix(7)), and only processes that may speak for the service are accepted; a tracking limit
alone is not enough for that (tree.py). A sender that has ended is accepted if its user is the service's, root or the
user of process 1. Any other message, and one that is invalid or too long, is ignored, with one warning per start.

Descriptors in a message (BARRIER, FDSTORE) are not accepted: the buffer has room for the credentials only, so the
kernel closes them when the message is received, after all earlier messages. sd_notify_barrier(3) waits for that. A few
datagrams are read at a time, and all of them together cost at most a quarter of the time: after reading, a socket
pauses and others are read.

WATCHDOG_PID is not set. It would have to be the pid after the fork, and without it WATCHDOG_USEC applies to any process
(sd_watchdog_enabled(3)). struct is not imported for one struct of three ints.
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
    from typing import Any

    from cohabit.plan.model import Service
    from cohabit.reactor.context import Context
    from cohabit.reactor.processes.children import Children
    from cohabit.reactor.rundir import RuntimeDirectory
else:
    import _socket as socket

_MESSAGE_MAX = 4096  # as in systemd
_AT_ONCE = 8  # datagrams of one service in one turn; the kernel keeps about ten (net.unix.max_dgram_qlen)
_UCRED_SIZE = 12  # pid, uid, gid: three ints
_DIGITS_MAX = 20  # of a 64-bit number
_EXTEND_MAX_SECONDS = 86_400.0  # per message; a service may send it repeatedly
_SEND_FLAGS = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT


class _Endpoint:
    """The socket of one start of a service. uid: the user of the service. warned: the warning was logged."""

    __slots__ = ("name", "path", "socket", "uid", "warned")

    def __init__(self, name: str, path: str, opened: socket.socket, uid: int) -> None:
        self.name = name
        self.path = path
        self.socket = opened
        self.uid = uid
        self.warned = False


class Notify:
    """The sockets of all services. Each message is the event Notified. `children` know who may speak for a service."""

    def __init__(self, context: Context, directory: RuntimeDirectory, children: Children) -> None:
        self._context = context
        self._directory = directory
        self._children = children
        self._endpoints: dict[int, _Endpoint] = {}
        self._fds: dict[str, int] = {}
        self._count = 0
        self._budget = Budget()  # shared, so that floods on several sockets cost no more than one

    def open(self, service: Service) -> dict[str, str]:
        """Create the socket of one start. Returns the environment variables for it. Raises OSError."""
        self.close(service.name)
        self._count += 1
        path = f"{self._directory.make()}/notify-{os.getpid()}-{self._count}"
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            bind_for_all(opened, path)  # for every user: senders are identified by their credentials
            self._add(_Endpoint(service.name, path, opened, service.user.uid if service.user else os.geteuid()))
        except OSError:
            opened.close()
            raise
        watchdog_seconds = service.probe.watchdog_seconds if service.probe else 0.0
        watchdog = {"WATCHDOG_USEC": str(round(watchdog_seconds * 1e6))} if watchdog_seconds else {}
        return {"NOTIFY_SOCKET": path, **watchdog}

    def close(self, service: str) -> None:
        """Close and remove the socket of the current start."""
        fd = self._fds.pop(service, -1)
        if fd < 0:
            return
        endpoint = self._endpoints.pop(fd)
        self._context.poller.cancel(("notify", service))
        try:
            os.unlink(endpoint.path)
        except OSError:
            pass  # it has been removed already
        self._context.poller.remove(fd)
        endpoint.socket.close()

    def handle(self, fd: int) -> None:
        """Read some of the messages. A pause in proportion to the time spent may follow (budget.py)."""
        began = time.monotonic()
        endpoint, poller = self._endpoints[fd], self._context.poller
        self._read(endpoint)
        until = self._budget.spend(began)
        if until:
            poller.modify(fd, 0)
            poller.call_at(("notify", endpoint.name), until, lambda: poller.modify(fd, select.EPOLLIN))

    def _read(self, endpoint: _Endpoint) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, flags, _ = endpoint.socket.recvmsg(
                    _MESSAGE_MAX, socket.CMSG_SPACE(_UCRED_SIZE), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError as error:
                self._warn(endpoint, f"cannot receive sd_notify messages: {error.strerror}")
                return
            self._receive(endpoint, data, _credentials(ancillary), truncated=bool(flags & socket.MSG_TRUNC))

    def _receive(self, endpoint: _Endpoint, data: bytes, sender: tuple[int, int], *, truncated: bool) -> None:
        pid, uid = sender
        accepted = self._children.trees.speaks_for(endpoint.name, pid, endpoint.uid) if pid > 0 else False
        if accepted is None:
            accepted = uid in (0, os.geteuid(), endpoint.uid)
        if not accepted:
            self._warn_ignored(endpoint, f"its sender, process {pid} of user {uid}, may not speak for this service")
        elif truncated:
            self._warn_ignored(endpoint, f"it is longer than {_MESSAGE_MAX} bytes")
        else:
            try:
                self._apply(endpoint, _parse(data))
            except ValueError as error:
                self._warn_ignored(endpoint, str(error))

    def _apply(self, endpoint: _Endpoint, message: dict[str, str]) -> None:
        extend = min(_number(message, "EXTEND_TIMEOUT_USEC") / 1e6, _EXTEND_MAX_SECONDS)
        main_pid = _number(message, "MAINPID")
        if main_pid and self._children.trees.speaks_for(endpoint.name, main_pid, endpoint.uid) is not True:
            self._warn(endpoint, f"sd_notify MAINPID={main_pid} ignored: not confirmed as a process of this service")
            main_pid = 0
        watchdog = message.get("WATCHDOG", "")
        event = events.Notified(
            endpoint.name,
            ready=message.get("READY") == "1",
            reloading=message.get("RELOADING") == "1",
            stopping=message.get("STOPPING") == "1",
            status=message.get("STATUS"),
            main_pid=main_pid,
            watchdog=watchdog if watchdog in ("1", "trigger") else "",
            extend_seconds=extend,
        )
        if event == events.Notified(endpoint.name):
            return
        if main_pid and not self._children.adopt(endpoint.name, main_pid):
            event = event.replace(main_pid=0)
        self._context.emit(event)

    def _warn_ignored(self, endpoint: _Endpoint, why: str) -> None:
        self._warn(endpoint, f"sd_notify message ignored: {why}")

    def _warn(self, endpoint: _Endpoint, text: str) -> None:
        if not endpoint.warned:
            endpoint.warned = True
            self._context.log("warning", endpoint.name, f"{text} (logged once per start)")

    def _add(self, endpoint: _Endpoint) -> None:
        fd = endpoint.socket.fileno()
        self._context.poller.add(fd, select.EPOLLIN, self.handle)
        self._endpoints[fd] = endpoint
        self._fds[endpoint.name] = fd

    # --- re-execution state --------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        return list(self._endpoints)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for restore. Unread messages stay in the sockets."""
        sockets = [(each.name, each.path, fd, each.uid, each.warned) for fd, each in self._endpoints.items()]
        return {"directory": self._directory.path, "count": self._count, "sockets": sockets}

    def restore(self, plain: dict[str, Any]) -> None:
        """Continue with the values of to_plain. The descriptors are still open under their numbers."""
        self._directory.path, self._count = plain["directory"], plain["count"]
        for name, path, fd, uid, warned in plain["sockets"]:
            os.set_inheritable(fd, False)
            endpoint = _Endpoint(name, path, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, fd), uid)
            endpoint.warned = warned
            self._add(endpoint)


def notify_supervisor(address: str, text: str) -> None:
    """Send a message to the supervisor of process 1 (podman --sdnotify, systemd). A failure is ignored.

    address: its NOTIFY_SOCKET, a path or "@" and an abstract name.
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
    """Return (pid, uid) of the sender. The pid is 0 if unknown, or outside our PID namespace."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) >= _UCRED_SIZE:
            return int.from_bytes(data[:4], sys.byteorder), int.from_bytes(data[4:8], sys.byteorder)
    return 0, -1


def _parse(data: bytes) -> dict[str, str]:
    """Parse lines of NAME=value; the last line of a name counts. Raises ValueError."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if "\0" in text:
        raise ValueError("it contains a zero byte")
    pairs = [line.partition("=") for line in text.split("\n")]
    message = {name: value for name, equals, value in pairs if name and equals}
    if not message:
        raise ValueError("it has no line of the form NAME=value")
    return message


def _number(message: dict[str, str], name: str) -> int:
    text = message.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise ValueError(f"{name}={text[:_DIGITS_MAX]} is not a number")
    return int(text)
