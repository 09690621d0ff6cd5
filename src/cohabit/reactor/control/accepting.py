"""Accepts the clients of the control socket: which users may connect, how many, and when.

It protects process 1 and the services from clients that connect:

  - Users: the kernel reports the user that connected (SO_PEERCRED, SO_PEERGROUPS; unix(7)). Root, the user of process 1
    and the group named in the file may send requests. Every user can connect, because a refusal with a text is better
    than EACCES.
  - Number: CLIENTS_MAX connections at once; others wait in the kernel's queue.
  - CPU time: connections that are refused, or closed without a request, are followed by a pause without new
    connections, three times as long as they took; clients that are connected are served meanwhile.
  - Descriptors: the last 32 below the limit are reserved for the services.
"""

from __future__ import annotations

import resource
import select
import time

from cohabit.api import protocol
from cohabit.control import SOCKET_NAME
from cohabit.errors import EXIT_NO_PERMISSION
from cohabit.reactor.budget import Budget
from cohabit.reactor.control import listener
from cohabit.reactor.control.client import hang_up, peer_groups, peer_uid
from cohabit.reactor.linux import os
from cohabit.reactor.shortage import is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from cohabit.reactor.poller import Poller
    from cohabit.reactor.rundir import RuntimeDirectory

CLIENTS_MAX = 100
_ACCEPTED_AT_ONCE = 2 * CLIENTS_MAX  # the kernel's queue holds about CLIENTS_MAX
_RESERVED_DESCRIPTORS = 32
_NO_DESCRIPTOR_SECONDS = 1.0  # until the next attempt to accept
# Keys of the timers that end a pause.
AFTER_REQUEST = ("control", "requests")  # set by server.py
_AFTER_REFUSAL = ("control", "accept")  # after connections that were refused, or closed without a request
_NO_DESCRIPTOR = ("control", "descriptors")


class Accepting:
    """The listening socket. fd: -1 while it is not open. group: a gid whose members may send requests too, or None.

    clients: those that are connected. admit(fd, trusted, why) takes over a connection whose user may send requests.
    trusted: it is root or the user of process 1. why: "", or the reason for which no request of it can be served.
    """

    def __init__(
        self, poller: Poller, directory: RuntimeDirectory, clients: Sized, admit: Callable[[int, bool, str], None]
    ) -> None:
        self._poller = poller
        self._directory = directory
        self._clients = clients
        self._admit = admit
        self.group: int | None = None
        self.fd = -1
        self._accepting = False
        self._budget = Budget()

    def open(self) -> None:
        """Open the socket and accept clients. Raises OSError if no directory can be used."""
        self.fd = listener.listen(f"{self._directory.make()}/{SOCKET_NAME}", CLIENTS_MAX)
        self.resume()

    @property
    def is_open(self) -> bool:
        """Whether the socket is open."""
        return self.fd >= 0

    def close(self) -> None:
        """Close and remove the socket."""
        if self.fd >= 0:
            self.stop()
            os.close(self.fd)
            self.fd = -1
            listener.remove(f"{self._directory.path}/{SOCKET_NAME}")

    def restore(self, fd: int, group: int | None) -> None:
        """Take over the socket after a re-execution. It accepts clients after resume()."""
        self.fd, self.group = fd, group
        if fd >= 0:
            os.set_inheritable(fd, False)

    # --- pauses --------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Accept clients, unless there is a pause or CLIENTS_MAX are connected."""
        paused = any(self._poller.time_of(key) for key in (AFTER_REQUEST, _AFTER_REFUSAL, _NO_DESCRIPTOR))
        if self.fd >= 0 and not self._accepting and not paused and len(self._clients) < CLIENTS_MAX:
            self._accepting = True
            self._poller.add(self.fd, select.EPOLLIN, self._accept)

    def stop(self) -> None:
        """Leave new clients in the kernel's queue."""
        if self._accepting:
            self._accepting = False
            self._poller.remove(self.fd)

    def pause(self, began: float) -> None:
        """Accept no client for a while, in proportion to the time spent since `began`."""
        until = self._budget.spend(began)
        if until:
            self._poller.call_at(_AFTER_REFUSAL, until, self.resume)
            self.stop()

    def client_closed(self) -> None:
        """Its descriptor is free for another client."""
        self._poller.cancel(_NO_DESCRIPTOR)
        self.resume()

    # --- clients -------------------------------------------------------------------------------------

    def _accept(self, _fd: int) -> None:
        """Accept all clients in the kernel's queue at once, so that refused ones do not keep others waiting."""
        began = time.monotonic()
        refused = False
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self._clients) >= CLIENTS_MAX or (fd := self._accept_one()) < 0:
                break
            refused |= not self._check(fd)
        if refused:
            self.pause(began)
        if len(self._clients) >= CLIENTS_MAX:
            self.stop()

    def _accept_one(self) -> int:
        """Return a client's descriptor; -1 if none waits, or no descriptor is free."""
        try:
            return listener.accept(self.fd)
        except OSError as error:
            if not isinstance(error, BlockingIOError) and is_shortage(error):
                self._poller.call_at(_NO_DESCRIPTOR, time.monotonic() + _NO_DESCRIPTOR_SECONDS, self.resume)
                self.stop()
            return -1  # otherwise the client has gone already

    def _check(self, fd: int) -> bool:
        """Pass on a client that may send requests. Returns False if it was refused, and closed."""
        try:
            os.set_blocking(fd, False)
            uid = peer_uid(fd)
            trusted = uid in (0, os.geteuid())
            allowed = trusted or (self.group is not None and self.group in peer_groups(fd))
        except OSError:
            return hang_up(fd, b"")
        if not allowed:
            own = os.geteuid()
            who = f"root, user {own} and group {self.group}" if self.group is not None else f"root and user {own}"
            hint = "" if self.group is not None else " (x-cohabit control_group allows a group)"
            text = f"user {uid} may not use the control socket: only {who} may{hint}"
            return hang_up(fd, protocol.head(EXIT_NO_PERMISSION, text))
        why = ""
        if 0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _RESERVED_DESCRIPTORS <= fd:
            reserved = f"the last {_RESERVED_DESCRIPTORS} are reserved for the services"
            why = f"too few file descriptors: {reserved} (raise ulimit -n)"
        self._admit(fd, trusted, why)
        return True
