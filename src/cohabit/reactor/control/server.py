"""The control socket: decides who may send requests, and limits what clients can cost.

A client sends requests of one line each. A request without an id is the last one of its connection, which is closed
after the answer. api/ defines the commands. This module protects process 1 from its clients:

  - Users: the kernel reports the user that connected (SO_PEERCRED, SO_PEERGROUPS; unix(7)). Root, the user of process 1
    and the group named in the file may send requests. Every user can connect, because a refusal with a text is better
    than EACCES.
  - Duration: a request must arrive in REQUEST_SECONDS and is limited in length; a pending answer must make progress
    within ANSWER_SECONDS.
  - Number: CLIENTS_MAX connections at once; others wait in the kernel's queue. OPEN_REQUESTS_MAX requests of one
    connection, and STREAMING_MAX of all, wait for their answer or follow a stream. A connection without an open request
    is closed after IDLE_SECONDS.
  - CPU time: after a request, no other one is read for three times as long as it took, so all clients together use at
    most a quarter of process 1. Connections that are refused, or closed without a request, are followed by a pause
    without new connections in the same proportion; clients that are connected are served meanwhile.
  - Memory: no further request is read while the client has not read its output. For a client that follows a stream and
    does not read, KEPT_BYTES_MAX are kept; further records are counted and dropped. Services never wait for a client.
    Beyond UNREAD_BYTES_MAX for all clients together, a long answer is refused, and a new stream begins without its
    oldest records.
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
from cohabit.control import BUSY, REQUEST_BYTES_MAX, SOCKET_NAME
from cohabit.errors import EXIT_NO_PERMISSION, EXIT_SYSTEM, EXIT_USAGE
from cohabit.reactor.budget import Budget
from cohabit.reactor.control import listener
from cohabit.reactor.control.client import Client, Exchange, hang_up, peer_groups, peer_uid
from cohabit.reactor.control.guarded import guarded
from cohabit.reactor.linux import os
from cohabit.reactor.shortage import is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from cohabit.api.commands import Outcome
    from cohabit.reactor.context import Context
    from cohabit.reactor.rundir import RuntimeDirectory

    class Answering(Protocol):
        """The part of requests.Requests that is used here."""

        def ask(self, line: bytes, trusted: bool, resumed: bool, /) -> Outcome:
            """Run the request in this line. Raises RequestError."""

        def backlog(self, subscription: Subscription, /) -> list[bytes]:
            """Return the records with which a stream begins."""

        def subscriptions_changed(self, control: Control, /) -> None:
            """Called when a client begins or ends to follow a stream."""


CLIENTS_MAX = 100
STREAMING_MAX = 80  # requests that wait for a reply or follow a stream
REQUEST_SECONDS = 5.0
CROWDED_SECONDS = 0.5  # instead of REQUEST_SECONDS, while CLIENTS_MAX are connected
ANSWER_SECONDS = 10.0
IDLE_SECONDS = 60.0  # of a connection between two requests
LEAVE_SECONDS = 1.0  # for a client to close its connection before its request takes effect
KEPT_BYTES_MAX = 262_144
UNREAD_BYTES_MAX = 8_388_608
_ACCEPTED_AT_ONCE = 2 * CLIENTS_MAX  # the kernel's queue holds about CLIENTS_MAX
_RESERVED_DESCRIPTORS = 32
_NO_DESCRIPTOR_SECONDS = 1.0  # until the next attempt to accept
_PAUSE_FACTOR = 3.0
_SHORTEST_PAUSE_SECONDS = 0.001
# Keys of the timers that end a pause.
_AFTER_REQUEST = ("control", "requests")
_AFTER_REFUSAL = ("control", "accept")  # after connections that were refused, or closed without a request
_NO_DESCRIPTOR = ("control", "descriptors")
_WAITERS = ("control", "waiters")  # when waiters are polled again


class Control:
    """All clients. group: a gid whose members may send requests too, or None."""

    def __init__(self, context: Context, directory: RuntimeDirectory, requests: Answering) -> None:
        self._poller = context.poller
        self._emit = context.emit
        self._directory = directory
        self._requests = requests
        self.group: int | None = None
        self._fd = -1
        self._accepting = False
        self._accept_budget = Budget()
        self._poll_from = 0.0  # monotonic seconds before which waiters are not polled
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
            try:
                client.write()
            except OSError:
                pass  # it has gone
            self._close(client)
        if self._fd >= 0:
            self.stop_accepting()
            os.close(self._fd)
            self._fd = -1
            listener.remove(f"{self._directory.path}/{SOCKET_NAME}")

    def _start_accepting(self) -> None:
        """Accept clients, unless there is a pause or CLIENTS_MAX are connected."""
        paused = any(self._poller.time_of(key) for key in (_AFTER_REQUEST, _AFTER_REFUSAL, _NO_DESCRIPTOR))
        if self._fd >= 0 and not self._accepting and not paused and len(self._clients) < CLIENTS_MAX:
            self._accepting = True
            self._poller.add(self._fd, select.EPOLLIN, self._accept)

    def stop_accepting(self) -> None:
        """Leave new clients in the kernel's queue."""
        if self._accepting:
            self._accepting = False
            self._poller.remove(self._fd)

    # --- events --------------------------------------------------------------------------------------

    def _serve(self, fd: int) -> None:
        """Read from a client, write to it or close it."""
        client = self._clients[fd]
        if client.pending:
            self._write(client)
        elif client.reads:
            self._read(client)
        else:
            self._close(client)  # its hang-up is the only event that is awaited

    def _deadline(self, client: Client) -> float | None:
        """The time at which the connection is closed, in monotonic seconds; None for never."""
        return self._poller.time_of(("client", str(client.fd)))

    def _close_at(self, client: Client, when: float | None) -> None:
        self._poller.call_at(("client", str(client.fd)), when, lambda: self._close(client))

    def _read_requests(self) -> None:
        """The pause after a request is over."""
        for client in self._clients.values():
            self._watch(client)
        self._start_accepting()

    def _accept(self, _fd: int) -> None:
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
                until = time.monotonic() + _NO_DESCRIPTOR_SECONDS
                self._poller.call_at(_NO_DESCRIPTOR, until, self._start_accepting)
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
        client = self._clients[fd] = Client(fd, trusted=trusted)
        self._close_at(client, time.monotonic() + REQUEST_SECONDS)
        self._watch(client)
        if 0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _RESERVED_DESCRIPTORS <= fd:
            text = f"too few file descriptors: the last {_RESERVED_DESCRIPTORS} are reserved for the services"
            self._reply(client, Exchange(b""), Answer(EXIT_SYSTEM, f"{text} (raise ulimit -n)", error=BUSY))
        return True

    def _pause_accepting(self, began: float) -> None:
        """Accept no client for a while, in proportion to the time spent since `began`."""
        until = self._accept_budget.spend(began)
        if until:
            self._poller.call_at(_AFTER_REFUSAL, until, self._start_accepting)
            self.stop_accepting()

    def _shorten_deadlines(self) -> None:
        """Give the clients without a complete request CROWDED_SECONDS to send it."""
        soon = time.monotonic() + CROWDED_SECONDS
        for client in self._clients.values():
            deadline = self._deadline(client)
            if not client.exchanges and not client.last and deadline is not None:
                self._close_at(client, min(deadline, soon))

    def _read(self, client: Client) -> None:
        began = time.monotonic()
        try:
            data = client.receive()
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and self._deadline(client) is not None and client.served and not client.line:
            self._close_at(client, began + REQUEST_SECONDS)
        client.line += data
        if len(client.line) > REQUEST_BYTES_MAX:
            text = f"cannot read the request: it is longer than {REQUEST_BYTES_MAX} bytes"
            self._reply(client, Exchange(b""), Answer(EXIT_USAGE, text))
        elif data.endswith(b"\n"):
            line, client.line = client.line[:-1], b""
            self._request(client, line)
        elif not data and client.exchanges:
            client.half_closed = True
            self._watch(client)
        elif not data:
            self._close(client)
            if not client.served:
                self._pause_accepting(began)

    def _watch(self, client: Client) -> None:
        """Register the events that the client's state needs. A hang-up is reported with any mask.

        In a pause, a client that may send a request is not registered at all: a hang-up would wake the loop again and
        again.
        """
        reads = client.reads
        mask = select.EPOLLOUT if client.pending else select.EPOLLIN if reads else 0
        wanted = None if reads and self._poller.time_of(_AFTER_REQUEST) else mask
        if client.mask == wanted:
            return
        if wanted is None:
            self._poller.remove(client.fd)
        elif client.mask is None:
            self._poller.add(client.fd, wanted, self._serve)
        else:
            self._poller.modify(client.fd, wanted)
        client.mask = wanted

    # --- requests ------------------------------------------------------------------------------------

    def _request(self, client: Client, line: bytes) -> None:
        began = time.monotonic()
        client.served = True
        exchange = guarded(lambda: client.open(line))
        if isinstance(exchange, Answer):  # it has no id, so the connection ends with the answer
            self._reply(client, Exchange(b""), exchange)
        else:
            outcome = guarded(lambda: self._requests.ask(line, client.trusted, False))
            if isinstance(outcome, (PendingReply, Subscription)) and _open_requests(self._clients) >= STREAMING_MAX:
                text = f"{STREAMING_MAX} clients are already waiting or following a stream (try again later)"
                outcome = Answer(EXIT_SYSTEM, text, error=BUSY)
            self._apply(client, exchange, outcome)
        self._pause_requests(began)

    def _apply(self, client: Client, exchange: Exchange, outcome: Outcome) -> None:
        if isinstance(outcome, PendingReply):
            self._wait(client, exchange, outcome)
            for event in outcome.events:
                self._emit(event)
        elif isinstance(outcome, Subscription):
            records = guarded(lambda: self._requests.backlog(outcome))
            if isinstance(records, Answer):
                self._reply(client, exchange, records)
                return
            client.put(exchange, protocol.head(0, ""))
            self._put_backlog(client, exchange, outcome.kind, records)
            if outcome.follow:
                exchange.outcome = outcome
                client.exchanges.append(exchange)
            else:
                client.finish(exchange)
            self._write(client)
            self._requests.subscriptions_changed(self)
        else:
            self._reply(client, exchange, outcome)

    def _wait(self, client: Client, exchange: Exchange, outcome: Outcome) -> None:
        """Keep the request open until its outcome is known."""
        exchange.outcome = outcome
        client.exchanges.append(exchange)
        self._close_at(client, None)
        self._watch(client)

    def _reply(self, client: Client, exchange: Exchange, answer: Answer) -> None:
        """Send an answer; refuse a long one if too much is unread already."""
        data = guarded(lambda: protocol.encode(answer))
        if isinstance(data, Answer):
            data = protocol.encode(data)
        if len(data) > KEPT_BYTES_MAX and _unread(self._clients) > UNREAD_BYTES_MAX:
            text = "cannot send the answer: other clients have not read theirs (try again later)"
            data = protocol.head(EXIT_SYSTEM, text, BUSY)
        client.put(exchange, data)
        client.finish(exchange)
        if answer.after_close:
            client.after_close, client.last = answer.after_close, True
        self._write(client)

    def _put_backlog(self, client: Client, exchange: Exchange, kind: str, records: list[bytes]) -> None:
        """Append the first records of a stream, without the oldest if too much is unread already."""
        excess = sum(map(len, records)) - max(KEPT_BYTES_MAX, UNREAD_BYTES_MAX - _unread(self._clients))
        first = 0
        while exchange.dropped < excess:
            exchange.dropped += len(records[first])
            first += 1
        client.report_dropped(exchange, kind)
        for record in records[first:]:
            client.put(exchange, record)

    def _pause_requests(self, began: float) -> None:
        """Read no request for _PAUSE_FACTOR times the time spent since `began`."""
        now = time.monotonic()
        pause = (now - began) * _PAUSE_FACTOR
        if pause >= _SHORTEST_PAUSE_SECONDS:
            self._poller.call_at(_AFTER_REQUEST, now + pause, self._read_requests)
            self.stop_accepting()
            for client in self._clients.values():
                deadline = self._deadline(client)
                if client.reads and deadline is not None:
                    self._close_at(client, deadline + pause)
                self._watch(client)

    def poll_waiters(self) -> None:
        """After a step of the engine: send the replies that are due, and write the records of streams.

        Waiters are polled for at most a quarter of the time, as in _pause_requests.
        """
        began = time.monotonic()
        waiting = [each for each in self._open_requests() if isinstance(each[1].outcome, PendingReply)]
        delayed = bool(waiting) and began < self._poll_from
        self._poller.call_at(_WAITERS, self._poll_from if delayed else None, self.poll_waiters)
        if waiting and not delayed:
            for client, exchange in waiting:
                answer = guarded(exchange.outcome.poll) if isinstance(exchange.outcome, PendingReply) else None
                if answer is not None and exchange in client.exchanges:  # else its connection was closed meanwhile
                    self._reply(client, exchange, answer)
            now = time.monotonic()
            self._poll_from = now + (now - began) * _PAUSE_FACTOR
        for client in list(self._clients.values()):
            if client.pending and self._deadline(client) is None:
                self._write(client)

    def _open_requests(self) -> list[tuple[Client, Exchange]]:
        return [(client, exchange) for client in self._clients.values() for exchange in client.exchanges]

    # --- streams -------------------------------------------------------------------------------------

    def listeners(self, kind: str) -> list[tuple[Client, Exchange, Subscription]]:
        """Return the clients that follow "events" or "logs", with their requests and subscriptions."""
        return [
            (client, exchange, exchange.outcome)
            for client, exchange in self._open_requests()
            if isinstance(exchange.outcome, Subscription) and exchange.outcome.kind == kind
        ]

    def publish(self, kind: str, service: str, record: bytes) -> None:
        """Append a record for all clients that follow this service. It is written by poll_waiters."""
        for client, exchange, subscription in self.listeners(kind):
            if not subscription.every and service not in subscription.services:
                continue
            if client.size + len(record) > KEPT_BYTES_MAX and client.pending:
                exchange.dropped += len(record)
            else:
                client.report_dropped(exchange, kind)
                client.put(exchange, record)

    # --- writing -------------------------------------------------------------------------------------

    def _write(self, client: Client) -> None:
        """Write what the socket accepts. Then wait until it accepts more, for a request, for records or the close."""
        before = client.size
        try:
            client.write()
        except OSError:
            self._close(client)
            return
        client.last = client.last or (client.half_closed and not client.exchanges)
        if client.exchanges and not client.last:
            self._close_at(client, None)
        elif client.pending:
            if self._deadline(client) is None or client.size < before:
                self._close_at(client, time.monotonic() + ANSWER_SECONDS)
        elif not client.last:
            self._close_at(client, time.monotonic() + IDLE_SECONDS)
        elif client.after_close:
            client.end()
            self._close_at(client, time.monotonic() + LEAVE_SECONDS)
        else:
            client.discard()
            self._close(client)
            return
        self._watch(client)

    def _close(self, client: Client) -> None:
        del self._clients[client.fd]
        self._close_at(client, None)
        if client.mask is not None:
            self._poller.remove(client.fd)
        os.close(client.fd)
        followed = any(isinstance(exchange.outcome, Subscription) for exchange in client.exchanges)
        client.exchanges.clear()
        for event in client.after_close:
            self._emit(event)
        if followed:
            self._requests.subscriptions_changed(self)
        self._poller.cancel(_NO_DESCRIPTOR)
        self._start_accepting()

    # --- re-execution state --------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        return [*self._clients, *([self._fd] if self._fd >= 0 else [])]

    def to_plain(self) -> dict[str, Any]:
        """Return the socket and its clients as plain values."""
        return {"fd": self._fd, "group": self.group, "clients": [one.to_plain() for one in self._clients.values()]}

    def restore(self, plain: dict[str, Any]) -> None:
        """Continue with the values of to_plain. The engine must be restored before."""
        self._fd, self.group = plain["fd"], plain["group"]
        if self._fd >= 0:
            os.set_inheritable(self._fd, False)
        now = time.monotonic()
        for one in plain["clients"]:
            client = Client.from_plain(one)
            self._clients[client.fd] = client
            self._close_at(client, now + (ANSWER_SECONDS if client.last else REQUEST_SECONDS))
            self._watch(client)
            for line, number, dropped in () if client.last else one["exchanges"]:
                exchange = Exchange(line, number)
                exchange.dropped = dropped
                self._resume(client, exchange)
        self._start_accepting()
        self._requests.subscriptions_changed(self)

    def _resume(self, client: Client, exchange: Exchange) -> None:
        """Restore the outcome of a request that was accepted before the exec, without feeding its events again."""
        outcome = guarded(lambda: self._requests.ask(exchange.line, client.trusted, True))
        if isinstance(outcome, Answer):
            self._reply(client, exchange, outcome)
            return
        self._wait(client, exchange, outcome)


def _unread(clients: dict[int, Client]) -> int:
    return sum(client.size for client in clients.values())


def _open_requests(clients: dict[int, Client]) -> int:
    return sum(len(client.exchanges) for client in clients.values())
