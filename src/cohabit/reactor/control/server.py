"""The control socket: decides who may send requests, and limits what clients can cost.

A client sends one line and gets one answer; then the connection is closed. api/ defines the commands. This module
protects process 1 from its clients:

  - Users: the kernel reports the user that connected (SO_PEERCRED, SO_PEERGROUPS; unix(7)). Root, the user of process 1
    and the group named in the file may send requests. Every user can connect, because a refusal with a text is better
    than EACCES.
  - Duration: a request must arrive in REQUEST_SECONDS and is limited in length; a pending answer must make progress
    within ANSWER_SECONDS.
  - Number: CLIENTS_MAX connections at once, STREAMING_MAX of them that stay open. Others wait in the kernel's queue.
  - CPU time: after a request, no other one is read for three times as long as it took, so all clients together use at
    most a quarter of process 1. Connections that are refused, or closed without a request, are followed by a pause
    without new connections in the same proportion; clients that are connected are served meanwhile.
  - Memory: for a client that follows a stream and does not read, KEPT_BYTES_MAX are kept; further records are counted
    and dropped. Services never wait for a client. Beyond UNREAD_BYTES_MAX for all clients together, a long answer is
    refused, and a new stream begins without its oldest records.
  - Descriptors: the last 32 below the limit are reserved for the services.

The records of a stream are written once per turn of the loop.
"""

from __future__ import annotations

import resource
import select
import time

from cohabit.api import protocol
from cohabit.api.commands import PendingReply, Subscription
from cohabit.api.protocol import Answer
from cohabit.errors import EXIT_NO_PERMISSION, EXIT_SYSTEM, EXIT_USAGE
from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.budget import Budget
from cohabit.reactor.control import listener
from cohabit.reactor.control.client import Client, hang_up, peer_groups, peer_uid
from cohabit.reactor.control.guarded import guarded
from cohabit.reactor.linux import os
from cohabit.reactor.shortage import is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cohabit.api.commands import Outcome
    from cohabit.reactor.poller import Registry
    from cohabit.reactor.rundir import RuntimeDirectory

    Ask = Callable[[bytes, bool, bool], Outcome]

SOCKET_NAME = "control"
CLIENTS_MAX = 100
STREAMING_MAX = 80  # clients that wait for a reply or follow a stream
REQUEST_SECONDS = 5.0
CROWDED_SECONDS = 0.5  # instead of REQUEST_SECONDS, while CLIENTS_MAX are connected
ANSWER_SECONDS = 10.0
LEAVE_SECONDS = 1.0  # for a client to close its connection before its request takes effect
KEPT_BYTES_MAX = 262_144
UNREAD_BYTES_MAX = 8_388_608
_ACCEPTED_AT_ONCE = 2 * CLIENTS_MAX  # the kernel's queue holds about CLIENTS_MAX
_RESERVED_DESCRIPTORS = 32
_NO_DESCRIPTOR_SECONDS = 1.0  # until the next attempt to accept
_PAUSE_FACTOR = 3.0
_SHORTEST_PAUSE_SECONDS = 0.001
_READ_SIZE = 65_536


class Control:
    """All clients. ask(line, trusted, resumed) returns an Outcome or raises RequestError.

    feed(events) gives events to the engine. backlog(subscription) returns the records with which a stream begins.
    is_followed() is called when a client begins or ends to follow a stream. group: a gid whose members may send
    requests too, or None.
    """

    def __init__(
        self,
        epoll: Registry,
        directory: RuntimeDirectory,
        *,
        ask: Ask,
        feed: Callable[[Iterable[Any]], None],
        backlog: Callable[[Subscription], list[bytes]],
        is_followed: Callable[[], None],
    ) -> None:
        self._epoll = epoll
        self._directory = directory
        self._ask = ask
        self._feed = feed
        self._backlog = backlog
        self._is_followed = is_followed
        self.group: int | None = None
        self._fd = -1
        self._accepting = False
        # Ends of pauses in monotonic seconds; 0 if there is no pause.
        self._requests_paused_until = 0.0  # after a request
        self._accept_paused_until = 0.0  # after connections that were refused, or closed without a request
        self._no_descriptor_until = 0.0
        self._accept_budget = Budget()
        self._poll_from = 0.0  # monotonic seconds before which waiters are not polled
        self._poll_delayed = False
        self._clients: dict[int, Client] = {}

    # --- the socket ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the socket and accept clients. Raises OSError if no directory can be used."""
        self._fd = listener.listen(f"{self._directory.make()}/{SOCKET_NAME}", CLIENTS_MAX)
        self._start_accepting()

    @property
    def is_open(self) -> bool:
        """Whether the socket is open."""
        return self._fd >= 0

    def close(self) -> None:
        """Answer the waiters that can be answered, close all connections and remove the socket."""
        self._poll_from = 0.0
        self.poll_waiters()
        for client in list(self._clients.values()):
            self._hang_up(client)
        if self._fd >= 0:
            self.stop_accepting()
            os.close(self._fd)
            self._fd = -1
            listener.remove(f"{self._directory.path}/{SOCKET_NAME}")

    def _start_accepting(self) -> None:
        """Accept clients, unless there is a pause or CLIENTS_MAX are connected."""
        paused = self._requests_paused_until or self._no_descriptor_until or self._accept_paused_until
        if self._fd >= 0 and not self._accepting and not paused and len(self._clients) < CLIENTS_MAX:
            self._accepting = True
            self._epoll.register(self._fd, select.EPOLLIN)

    def stop_accepting(self) -> None:
        """Leave new clients in the kernel's queue."""
        if self._accepting:
            self._accepting = False
            self._epoll.unregister(self._fd)

    # --- events --------------------------------------------------------------------------------------

    def owns(self, fd: int) -> bool:
        """Whether this descriptor is the socket or a client."""
        return fd == self._fd or fd in self._clients

    def handle(self, fd: int) -> None:
        """Handle a ready descriptor: accept clients, or read from, write to or close one."""
        if fd == self._fd:
            if self._accepting:
                self._accept()
            return
        client = self._clients[fd]
        if client.throttled:
            return  # it became ready together with a client whose request began a pause
        if client.outcome is None and not client.last:
            self._read(client)
        elif client.pending:
            self._write(client)
        else:
            self._close(client)  # its hang-up is the only event that is awaited

    def deadline(self) -> float | None:
        """Return the time at which `due` must be called, in monotonic seconds, or None."""
        moments = [client.until for client in self._clients.values() if client.until is not None]
        pauses = (self._requests_paused_until, self._no_descriptor_until, self._accept_paused_until)
        moments += [moment for moment in pauses if moment]
        if self._poll_delayed:
            moments.append(self._poll_from)
        return min(moments, default=None)

    def due(self, now: float) -> None:
        """Close the connections whose deadline has passed, and end the pauses that are over."""
        for client in [one for one in self._clients.values() if one.until is not None and one.until <= now]:
            self._close(client)
        if self._requests_paused_until and self._requests_paused_until <= now:
            self._requests_paused_until = 0.0
            for client in self._clients.values():
                if client.throttled:
                    client.throttled = False
                    self._epoll.register(client.fd, select.EPOLLIN)
            self._start_accepting()
        if self._no_descriptor_until and self._no_descriptor_until <= now:
            self._no_descriptor_until = 0.0
            self._start_accepting()
        if self._accept_paused_until and self._accept_paused_until <= now:
            self._accept_paused_until = 0.0
            self._start_accepting()

    def _accept(self) -> None:
        """Accept all clients in the kernel's queue at once, so that refused ones do not keep others waiting."""
        began = time.monotonic()
        refused = False
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self._clients) >= CLIENTS_MAX or (fd := self._accept_one()) < 0:
                break
            refused |= not self._admit(fd)
        if refused:
            self._pause_accepting(began)
        if len(self._clients) >= CLIENTS_MAX:
            self.stop_accepting()
            self._shorten_deadlines()

    def _accept_one(self) -> int:
        """Return a client's descriptor; -1 if none waits, or no descriptor is free."""
        try:
            return listener.accept(self._fd)
        except OSError as error:
            if not isinstance(error, BlockingIOError) and is_shortage(error):
                self._no_descriptor_until = time.monotonic() + _NO_DESCRIPTOR_SECONDS
                self.stop_accepting()
            return -1  # otherwise the client has gone already

    def _admit(self, fd: int) -> bool:
        """Add a client that may send a request. Returns False if it was refused, and closed."""
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
        client = Client(fd, trusted=trusted, until=time.monotonic() + REQUEST_SECONDS)
        self._clients[fd] = client
        self._epoll.register(fd, select.EPOLLIN)
        if 0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _RESERVED_DESCRIPTORS <= fd:
            text = f"too few file descriptors: the last {_RESERVED_DESCRIPTORS} are reserved for the services"
            self._answer(client, protocol.head(EXIT_SYSTEM, f"{text} (raise ulimit -n)"))
        return True

    def _pause_accepting(self, began: float) -> None:
        """Accept no client for a while, in proportion to the time spent since `began`."""
        until = self._accept_budget.spend(began)
        if until:
            self._accept_paused_until = until
            self.stop_accepting()

    def _shorten_deadlines(self) -> None:
        """Give the clients without a complete request CROWDED_SECONDS to send it."""
        soon = time.monotonic() + CROWDED_SECONDS
        for client in self._clients.values():
            if client.outcome is None and not client.last and client.until is not None:
                client.until = min(client.until, soon)

    def _read(self, client: Client) -> None:
        began = time.monotonic()
        try:
            data = os.read(client.fd, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.line += data
        line, newline, _ = client.line.partition(b"\n")
        if newline:
            self._request(client, line)
        elif not data:
            self._close(client)
            self._pause_accepting(began)
        elif len(client.line) > protocol.REQUEST_BYTES_MAX:
            text = f"cannot read the request: it is longer than {protocol.REQUEST_BYTES_MAX} bytes"
            self._answer(client, protocol.head(EXIT_USAGE, text))

    # --- requests ------------------------------------------------------------------------------------

    def _request(self, client: Client, line: bytes) -> None:
        began = time.monotonic()
        client.line = line
        outcome = guarded(lambda: self._ask(line, client.trusted, False))
        if isinstance(outcome, (PendingReply, Subscription)) and self._streaming_is_full():
            text = f"{STREAMING_MAX} clients are already waiting or following a stream (try again later)"
            outcome = Answer(EXIT_SYSTEM, text)
        self._apply(client, outcome)
        self._pause_requests(began)

    def _apply(self, client: Client, outcome: Outcome) -> None:
        if isinstance(outcome, PendingReply):
            client.outcome, client.until = outcome, None
            self._epoll.modify(client.fd, 0)
            self._feed(outcome.events)
        elif isinstance(outcome, Subscription):
            records = guarded(lambda: self._backlog(outcome))
            if isinstance(records, Answer):
                self._reply(client, records)
                return
            client.put(protocol.head(0, ""))
            self._put_backlog(client, outcome.kind, records)
            client.outcome = outcome
            self._write(client, last=not outcome.follow)
            self._is_followed()
        else:
            self._reply(client, outcome)

    def _reply(self, client: Client, answer: Answer) -> None:
        """Send an answer; refuse a long one if too much is unread already."""
        client.after_close = answer.after_close
        data = guarded(lambda: protocol.encode(answer))
        if isinstance(data, Answer):
            data = protocol.encode(data)
        if len(data) > KEPT_BYTES_MAX and self._unread() > UNREAD_BYTES_MAX:
            text = "cannot send the answer: other clients have not read theirs (try again later)"
            data = protocol.head(EXIT_SYSTEM, text)
        self._answer(client, data)

    def _put_backlog(self, client: Client, kind: str, records: list[bytes]) -> None:
        """Append the first records of a stream, without the oldest if too much is unread already."""
        excess = sum(map(len, records)) - max(KEPT_BYTES_MAX, UNREAD_BYTES_MAX - self._unread())
        first = 0
        while client.dropped < excess:
            client.dropped += len(records[first])
            first += 1
        client.report_dropped(kind)
        for record in records[first:]:
            client.put(record)

    def _unread(self) -> int:
        return sum(client.size for client in self._clients.values())

    def _streaming_is_full(self) -> bool:
        return sum(client.streaming for client in self._clients.values()) >= STREAMING_MAX

    def _pause_requests(self, began: float) -> None:
        """Read no request for _PAUSE_FACTOR times the time spent since `began`."""
        now = time.monotonic()
        pause = (now - began) * _PAUSE_FACTOR
        if pause >= _SHORTEST_PAUSE_SECONDS:
            self._requests_paused_until = now + pause
            self.stop_accepting()
            for client in self._clients.values():
                if client.outcome is None and not client.last and not client.throttled:
                    # An event mask of 0 would not do: a hang-up is reported regardless and would wake the loop again
                    # and again.
                    client.throttled = True
                    self._epoll.unregister(client.fd)
                    client.until = (client.until or now) + pause

    def poll_waiters(self) -> None:
        """After a step of the engine: send the replies that are due, and write the records of streams.

        Waiters are polled for at most a quarter of the time, as in _pause_requests.
        """
        began = time.monotonic()
        streaming = [(client, client.outcome) for client in self._clients.values() if client.streaming]
        waiting = [(client, outcome) for client, outcome in streaming if isinstance(outcome, PendingReply)]
        self._poll_delayed = bool(waiting) and began < self._poll_from
        if waiting and not self._poll_delayed:
            for client, outcome in waiting:
                answer = guarded(outcome.poll)
                if answer is not None:
                    self._reply(client, answer)
            now = time.monotonic()
            self._poll_from = now + (now - began) * _PAUSE_FACTOR
        for client in list(self._clients.values()):
            if client.pending and client.streaming and client.until is None:
                self._write(client)

    # --- streams -------------------------------------------------------------------------------------

    def listeners(self, kind: str) -> list[tuple[Client, Subscription]]:
        """Return the clients that follow "events" or "logs", with their subscriptions."""
        clients = self._clients.values()
        found = [(client, client.outcome) for client in clients if client.streaming]
        return [(client, each) for client, each in found if isinstance(each, Subscription) and each.kind == kind]

    def publish(self, kind: str, service: str, record: bytes) -> None:
        """Append a record for all clients that follow this service. It is written by poll_waiters."""
        for client, subscription in self.listeners(kind):
            if not subscription.every and service not in subscription.services:
                continue
            if client.size + len(record) > KEPT_BYTES_MAX and client.pending:
                client.dropped += len(record)
            else:
                client.report_dropped(kind)
                client.put(record)

    # --- writing -------------------------------------------------------------------------------------

    def _answer(self, client: Client, data: bytes) -> None:
        client.put(data)
        self._write(client, last=True)

    def _write(self, client: Client, *, last: bool = False) -> None:
        """Write what the socket accepts. Then wait until it accepts more, for further records, or for the close."""
        client.last = client.last or last
        before = client.size
        try:
            client.write()
        except OSError:
            self._close(client)
            return
        if client.pending:
            self._epoll.modify(client.fd, select.EPOLLOUT)
            if client.last and (client.until is None or client.size < before):
                client.until = time.monotonic() + ANSWER_SECONDS
            elif not client.last:
                client.until = None
        elif client.last and client.after_close:
            client.end()
            client.until = time.monotonic() + LEAVE_SECONDS
            self._epoll.modify(client.fd, 0)
        elif client.last:
            self._close(client)
        else:
            client.until = None
            self._epoll.modify(client.fd, 0)

    def _hang_up(self, client: Client) -> None:
        if client.pending:
            try:
                client.write()
            except OSError:
                pass
        self._close(client)

    def _close(self, client: Client) -> None:
        del self._clients[client.fd]
        if not client.throttled:
            self._epoll.unregister(client.fd)
        os.close(client.fd)
        self._feed(client.after_close)
        if isinstance(client.outcome, Subscription):
            self._is_followed()
        self._no_descriptor_until = 0.0
        self._start_accepting()

    # --- re-execution state --------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        return [*self._clients, *([self._fd] if self._fd >= 0 else [])]

    def to_plain(self) -> dict[str, Any]:
        """Return the socket and its clients as plain values."""
        clients = [
            {
                "fd": one.fd,
                "trusted": one.trusted,
                "line": one.line,
                "streaming": one.outcome is not None,
                "last": one.last,
                "pending": b"".join(one.pending),
                "dropped": one.dropped,
                "after_close": to_plain(one.after_close),
            }
            for one in self._clients.values()
        ]
        return {"fd": self._fd, "group": self.group, "clients": clients}

    def restore(self, plain: dict[str, Any]) -> None:
        """Continue with the values of to_plain. The engine must be restored before."""
        self._fd, self.group = plain["fd"], plain["group"]
        if self._fd >= 0:
            os.set_inheritable(self._fd, False)
        now = time.monotonic()
        for one in plain["clients"]:
            fd, last = one["fd"], one["last"]
            os.set_inheritable(fd, False)
            until = now + (ANSWER_SECONDS if last else REQUEST_SECONDS)
            client = Client(fd, trusted=one["trusted"], until=until)
            client.line, client.last, client.dropped = one["line"], last, one["dropped"]
            client.after_close = from_plain(one["after_close"])
            self._clients[fd] = client
            self._epoll.register(fd, select.EPOLLOUT if last else select.EPOLLIN)
            if one["pending"]:
                client.put(one["pending"])
            if one["streaming"] and not last:
                self._resume(client)
        self._start_accepting()
        self._is_followed()

    def _resume(self, client: Client) -> None:
        """Restore the outcome of a request that was accepted before the exec, without feeding its events again."""
        client.until = None
        outcome = guarded(lambda: self._ask(client.line, client.trusted, True))
        if isinstance(outcome, Answer):
            self._reply(client, outcome)
            return
        client.outcome = outcome
        self._epoll.modify(client.fd, select.EPOLLOUT if client.pending else 0)
