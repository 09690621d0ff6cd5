"""The requests that follow a stream, and what they get: output that was read, and transitions of the engine.

Services never wait for a client. For a client that does not read, KEPT_BYTES_MAX are kept; further records are counted
and dropped. The records are written once per turn of the loop.
"""

from __future__ import annotations

from cohabit.api.commands import Subscription

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from cohabit.reactor.control.client import Client, Exchange

    class Source(Protocol):
        """The part of requests.Requests that is used here."""

        def follow(self, subscriptions: list[Subscription], publish: Callable[[str, str, bytes], None], /) -> None:
            """Publish the output of these subscriptions from now on, and no other output."""


KEPT_BYTES_MAX = 262_144


class Streams:
    """All requests whose outcome is a Subscription that goes on."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._following: dict[Exchange, Client] = {}
        self._unwritten: dict[Client, None] = {}

    def __len__(self) -> int:
        return len(self._following)

    def add(self, client: Client, exchange: Exchange) -> None:
        """Publish what this request follows from now on."""
        self._following[exchange] = client
        self._source.follow(self.subscriptions("logs"), self.publish)

    def remove(self, client: Client) -> None:
        """Forget the requests of a client that has gone."""
        self._unwritten.pop(client, None)
        ended = [exchange for exchange in client.exchanges if self._following.pop(exchange, None) is not None]
        if ended:
            self._source.follow(self.subscriptions("logs"), self.publish)

    def subscriptions(self, kind: str) -> list[Subscription]:
        """Return what is followed. kind: "events" or "logs"."""
        outcomes = (exchange.outcome for exchange in self._following)
        return [each for each in outcomes if isinstance(each, Subscription) and each.kind == kind]

    def publish(self, kind: str, service: str, record: bytes) -> None:
        """Append a record for all clients that follow this service."""
        for exchange, client in self._following.items():
            subscription = exchange.outcome
            if not isinstance(subscription, Subscription) or subscription.kind != kind:
                continue
            if not subscription.every and service not in subscription.services:
                continue
            self._unwritten[client] = None
            if client.size + len(record) > KEPT_BYTES_MAX and client.pending:
                exchange.dropped += len(record)
            else:
                client.report_dropped(exchange, kind)
                client.put(exchange, record)

    def take_unwritten(self) -> dict[Client, None]:
        """Return the clients to which records were published since the last call."""
        if not self._unwritten:
            return {}
        unwritten, self._unwritten = self._unwritten, {}
        return unwritten


def put_backlog(client: Client, exchange: Exchange, kind: str, records: list[bytes], room: int) -> None:
    """Append the first records of a stream, without the oldest if they are more than `room` bytes."""
    excess = sum(map(len, records)) - room
    first = 0
    while exchange.dropped < excess:
        exchange.dropped += len(records[first])
        first += 1
    client.report_dropped(exchange, kind)
    for record in records[first:]:
        client.put(exchange, record)
