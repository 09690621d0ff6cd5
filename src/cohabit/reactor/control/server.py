"""The exchange with the clients of the control socket: reads requests, sends answers, and limits what clients can cost.

A client sends requests of one line each. A request without an id is the last one of its connection, which is closed
after the answer. api/ defines the commands. accepting.py decides who may send requests; waiters.py and streams.py have
the requests that stay open. This module protects process 1 from clients that are connected:

  - Duration: a request must arrive in REQUEST_SECONDS and is limited in length; a pending answer must make progress
    within ANSWER_SECONDS.
  - Number: OPEN_REQUESTS_MAX requests of one connection, and STREAMING_MAX of all, wait for their answer or follow a
    stream. A connection without an open request is closed after IDLE_SECONDS.
  - CPU time: after a request, no other one is read for three times as long as it took, so all clients together use at
    most a quarter of process 1.
  - Memory: no further request is read while the client has not read its output. Beyond UNREAD_BYTES_MAX for all clients
    together, a long answer is refused, and a new stream begins without its oldest records.
"""

from __future__ import annotations

import select
import time

from cohabit.api import protocol
from cohabit.api.commands import PendingReply, Subscription
from cohabit.api.protocol import Answer
from cohabit.control import BUSY, REQUEST_BYTES_MAX
from cohabit.errors import EXIT_SYSTEM, EXIT_USAGE
from cohabit.reactor.control.accepting import AFTER_REQUEST, CLIENTS_MAX, Accepting
from cohabit.reactor.control.client import Client, Exchange
from cohabit.reactor.control.guarded import guarded
from cohabit.reactor.control.streams import KEPT_BYTES_MAX, Streams, put_backlog
from cohabit.reactor.control.waiters import Waiters
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    from cohabit.api.commands import Outcome
    from cohabit.engine.supervisor import Supervisor
    from cohabit.reactor.context import Context
    from cohabit.reactor.control.streams import Source
    from cohabit.reactor.rundir import RuntimeDirectory

    class Answering(Source, Protocol):
        """The part of requests.Requests that is used here."""

        engine: Supervisor

        def ask(self, line: bytes, trusted: bool, resumed: bool, /) -> Outcome:
            """Run the request in this line. Raises RequestError."""

        def backlog(self, subscription: Subscription, /) -> list[bytes]:
            """Return the records with which a stream begins."""

        def transitions(self) -> Iterable[tuple[str, bytes]]:
            """Return service and record of each transition of the engine's last step."""


STREAMING_MAX = 80  # requests that wait for a reply or follow a stream
REQUEST_SECONDS = 5.0
CROWDED_SECONDS = 0.5  # instead of REQUEST_SECONDS, while CLIENTS_MAX are connected
ANSWER_SECONDS = 10.0
IDLE_SECONDS = 60.0  # of a connection between two requests
LEAVE_SECONDS = 1.0  # for a client to close its connection before its request takes effect
UNREAD_BYTES_MAX = 8_388_608
_PAUSE_FACTOR = 3.0
_SHORTEST_PAUSE_SECONDS = 0.001


class Control:
    """All clients, and what they wait for."""

    def __init__(self, context: Context, directory: RuntimeDirectory, requests: Answering) -> None:
        self._poller = context.poller
        self._emit = context.emit
        self._requests = requests
        self._clients: dict[int, Client] = {}
        self.accepting = Accepting(context.poller, directory, self._clients, self._admit)
        self.waiters = Waiters(context.poller, self._reply)
        self.streams = Streams(requests)

    def close(self) -> None:
        """Answer the waiters that can be answered, close all connections and remove the socket."""
        self.waiters.close()
        for client in list(self._clients.values()):
            try:
                client.write()
            except OSError:
                pass  # it has gone
            self._close(client)
        self.accepting.close()

    def stepped(self) -> None:
        """After a step of the engine: wake the waiters that it concerns, and publish its transitions."""
        self.waiters.wake(self._requests.engine)
        if self.streams.subscriptions("events"):
            for service, record in self._requests.transitions():
                self.streams.publish("events", service, record)

    def settle(self) -> None:
        """At the end of a turn of the loop: send the answers that are due, and write the records of streams."""
        self.waiters.evaluate()
        for client in self.streams.take_unwritten():
            self._write(client)

    # --- reading -------------------------------------------------------------------------------------

    def _admit(self, fd: int, trusted: bool, why: str) -> None:
        """Read requests from a new client. why: "", or the only answer that it gets.

        With CLIENTS_MAX clients, those without a complete request have CROWDED_SECONDS to send it.
        """
        client = self._clients[fd] = Client(fd, trusted=trusted)
        self._close_at(client, time.monotonic() + REQUEST_SECONDS)
        self._watch(client)
        if why:
            self._reply(client, Exchange(b""), Answer(EXIT_SYSTEM, why, error=BUSY))
        if len(self._clients) >= CLIENTS_MAX:
            soon = time.monotonic() + CROWDED_SECONDS
            for other in self._clients.values():
                deadline = self._poller.time_of(other.timer)
                if not other.exchanges and not other.last and deadline is not None:
                    self._close_at(other, min(deadline, soon))

    def _serve(self, fd: int) -> None:
        """Read from a client, write to it or close it."""
        client = self._clients[fd]
        if client.pending:
            self._write(client)
        elif client.reads:
            self._read(client)
        else:
            self._close(client)  # its hang-up is the only event that is awaited

    def _close_at(self, client: Client, when: float | None) -> None:
        """Close the connection at this time, in monotonic seconds; None for never."""
        self._poller.call_at(client.timer, when, lambda: self._close(client), patient=True)

    def _read_requests(self) -> None:
        """The pause after a request is over."""
        for client in self._clients.values():
            self._watch(client)
        self.accepting.resume()

    def _read(self, client: Client) -> None:
        began = time.monotonic()
        try:
            data = client.receive()
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and self._poller.time_of(client.timer) is not None and client.served and not client.line:
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
                self.accepting.pause(began)

    def _watch(self, client: Client) -> None:
        """Register the events that the client's state needs. A hang-up is reported with any mask.

        In a pause, a client that may send a request is not registered at all: a hang-up would wake the loop again and
        again.
        """
        reads = client.reads
        mask = select.EPOLLOUT if client.pending else select.EPOLLIN if reads else 0
        wanted = None if reads and self._poller.time_of(AFTER_REQUEST) else mask
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
        exchange = guarded(client.open, line)
        if isinstance(exchange, Answer):  # it has no id, so the connection ends with the answer
            self._reply(client, Exchange(b""), exchange)
        else:
            outcome = guarded(self._requests.ask, line, client.trusted, False)
            if not isinstance(outcome, Answer) and len(self.waiters) + len(self.streams) >= STREAMING_MAX:
                text = f"{STREAMING_MAX} clients are already waiting or following a stream (try again later)"
                outcome = Answer(EXIT_SYSTEM, text, error=BUSY)
            if isinstance(outcome, Answer):
                self._reply(client, exchange, outcome)
            elif isinstance(outcome, Subscription):
                self._stream(client, exchange, outcome)
            else:
                self._keep_open(client, exchange, outcome)
                for event in outcome.events:
                    self._emit(event)
        self._pause_requests(began)

    def _stream(self, client: Client, exchange: Exchange, subscription: Subscription) -> None:
        """Send the first records of a stream, and go on with it if it is to be followed."""
        records = guarded(self._requests.backlog, subscription)
        if isinstance(records, Answer):
            self._reply(client, exchange, records)
            return
        client.put(exchange, protocol.head(0, ""))
        room = max(KEPT_BYTES_MAX, UNREAD_BYTES_MAX - _unread(self._clients))
        put_backlog(client, exchange, subscription.kind, records, room)
        if subscription.follow:
            self._keep_open(client, exchange, subscription)
        else:
            client.finish(exchange)
        self._write(client)

    def _keep_open(self, client: Client, exchange: Exchange, outcome: PendingReply | Subscription) -> None:
        exchange.outcome = outcome
        client.exchanges.append(exchange)
        if isinstance(outcome, PendingReply):
            self.waiters.add(client, exchange)
        else:
            self.streams.add(client, exchange)
        self._close_at(client, None)
        self._watch(client)

    def _reply(self, client: Client, exchange: Exchange, answer: Answer) -> None:
        """Send an answer; refuse a long one if too much is unread already."""
        data = guarded(protocol.encode, answer)
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

    def _pause_requests(self, began: float) -> None:
        """Read no request for _PAUSE_FACTOR times the time spent since `began`."""
        now = time.monotonic()
        pause = (now - began) * _PAUSE_FACTOR
        if pause >= _SHORTEST_PAUSE_SECONDS:
            self._poller.call_at(AFTER_REQUEST, now + pause, self._read_requests)
            self.accepting.stop()
            for client in self._clients.values():
                deadline = self._poller.time_of(client.timer)
                if client.reads and deadline is not None:
                    self._close_at(client, deadline + pause)
                self._watch(client)

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
            if self._poller.time_of(client.timer) is None or client.size < before:
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
        self.waiters.remove(client)
        self.streams.remove(client)
        client.exchanges.clear()
        for event in client.after_close:
            self._emit(event)
        self.accepting.client_closed()

    # --- re-execution state --------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        return [*self._clients, *([self.accepting.fd] if self.accepting.is_open else [])]

    def to_plain(self) -> dict[str, Any]:
        """Return the socket and its clients as plain values."""
        clients = [one.to_plain() for one in self._clients.values()]
        return {"fd": self.accepting.fd, "group": self.accepting.group, "clients": clients}

    def restore(self, plain: dict[str, Any]) -> None:
        """Continue with the values of to_plain. The engine must be restored before.

        Open requests are run again, and their events are not fed to the engine again.
        """
        self.accepting.restore(plain["fd"], plain["group"])
        now = time.monotonic()
        for one in plain["clients"]:
            client = Client.from_plain(one)
            self._clients[client.fd] = client
            self._close_at(client, now + (ANSWER_SECONDS if client.last else REQUEST_SECONDS))
            self._watch(client)
            for line, number, dropped in () if client.last else one["exchanges"]:
                exchange = Exchange(line, number)
                exchange.dropped = dropped
                outcome = guarded(self._requests.ask, line, client.trusted, True)
                if isinstance(outcome, Answer):
                    self._reply(client, exchange, outcome)
                else:
                    self._keep_open(client, exchange, outcome)
        self.accepting.resume()


def _unread(clients: dict[int, Client]) -> int:
    return sum(client.size for client in clients.values())
