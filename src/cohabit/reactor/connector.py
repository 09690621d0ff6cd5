"""Connects a socket without blocking, for probes (health/) and syslog servers (logs/).

`_socket` is the C module behind `socket`, whose import costs 6 ms (enum, selectors).
"""

from __future__ import annotations

import errno

from cohabit import paths
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, TypeAlias

    Place: TypeAlias = tuple[str, int, Any]  # transport (below), family for socket(2), address for connect(2)
else:
    import _socket as socket

TCP, UDP, STREAM, DATAGRAM = "tcp", "udp", "unix", "unixgram"  # transports


class Connector:
    """Connects to the first of these places that accepts. socket: of the place that is tried now; None: of none.

    A socket in progress is waited for until it is writable, at most until retry_at (monotonic seconds). Without a
    socket, the next place is due at retry_at. seconds: for one place.
    """

    __slots__ = ("_places", "_seconds", "place", "retry_at", "socket")

    def __init__(self, places: list[Place], seconds: float = float("inf")) -> None:
        self._places = places.copy()
        self._seconds = seconds
        self.place: Place = ("", 0, None)
        self.socket: socket.socket | None = None
        self.retry_at = 0.0

    def open(self, now: float = 0.0) -> socket.socket:
        """Open a socket for the next place. Raises OSError."""
        self.place = self._places.pop(0)
        transport, family, _ = self.place
        self.socket = socket.socket(family, type_of(transport) | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.retry_at = now + self._seconds
        return self.socket

    def advance(self, now: float = 0.0) -> socket.socket | None:
        """Proceed as far as possible. Returns the connected socket, or None if there is none yet.

        Raises OSError if the last place has failed, too. Its socket stays open until close(): it may be in epoll. For
        the same reason, the place after one that was waited for is tried by the next call.
        """
        waited = self.socket is not None
        while True:
            try:
                sock = self.socket or self.open(now)
                if _is_connected(sock, self.place):
                    return sock
                if now >= self.retry_at:
                    raise TimeoutError(errno.ETIMEDOUT, "no answer")
            except OSError:
                if not self._places:
                    raise
                self.close()
                if not waited:
                    continue
                self.retry_at = now
            return None

    def close(self) -> None:
        """Close the socket."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def _is_connected(sock: socket.socket, place: Place) -> bool:
    """Call connect(2) once more. Returns False while it is in progress. Raises OSError."""
    transport, _, address = place
    error = paths.connect(sock, address) if transport in {STREAM, DATAGRAM} else sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        error = sock.connect_ex(address)  # on the same machine the handshake is complete by now
    if error in (errno.EINPROGRESS, errno.EALREADY):
        return False
    if error == 0 and transport == TCP and sock.getsockname() == sock.getpeername():
        # Nothing listens, and the kernel chose this very port for this end: TCP has connected to itself.
        error = errno.ECONNREFUSED
    if error == errno.EAGAIN:  # from a unix socket, which has no event for it
        raise ConnectionRefusedError(error, "its queue of connections is full")
    if error:
        raise OSError(error, os.strerror(error))
    return True


def type_of(transport: str) -> int:
    """The type for socket(2)."""
    return socket.SOCK_STREAM if transport in {TCP, STREAM} else socket.SOCK_DGRAM
