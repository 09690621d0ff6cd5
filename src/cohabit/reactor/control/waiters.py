"""The requests that wait for their answer.

A request is evaluated when it begins to wait, and after a step of the engine that may have changed a service that it
concerns (api/conditions.py: affected). Nothing is evaluated in the other turns of the loop. All evaluations together
use at most a quarter of process 1: they are followed by a pause of three times their duration.
"""

from __future__ import annotations

import time

from cohabit.api.commands import PendingReply
from cohabit.api.conditions import affected
from cohabit.reactor.control.guarded import guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.api.protocol import Answer
    from cohabit.engine.supervisor import Supervisor
    from cohabit.reactor.control.client import Client, Exchange
    from cohabit.reactor.poller import Poller

_PAUSE_FACTOR = 3.0
_PAUSE = ("control", "waiters")  # key of the timer that ends a pause


class Waiters:
    """reply(client, exchange, answer) sends an answer. evaluate_from: monotonic seconds; the end of the pause."""

    def __init__(self, poller: Poller, reply: Callable[[Client, Exchange, Answer], None]) -> None:
        self._poller = poller
        self._reply = reply
        self._waiting: dict[Exchange, Client] = {}
        self._due: dict[Exchange, None] = {}
        self.evaluate_from = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, client: Client, exchange: Exchange) -> None:
        """Keep a request whose outcome is a PendingReply. It is evaluated once its events have been handled."""
        self._waiting[exchange] = client
        self._due[exchange] = None

    def remove(self, client: Client) -> None:
        """Forget the requests of a client that has gone."""
        for exchange in client.exchanges:
            self._waiting.pop(exchange, None)
            self._due.pop(exchange, None)

    def wake_all(self) -> None:
        """Have all requests evaluated."""
        self._due.update(dict.fromkeys(self._waiting))

    def wake(self, engine: Supervisor) -> None:
        """Have the requests evaluated that the engine's last step concerns."""
        services = affected(engine) if self._waiting else set()
        for exchange in self._waiting:
            concerned = exchange.outcome.services if isinstance(exchange.outcome, PendingReply) else ()
            if services is None or concerned is None or not services.isdisjoint(concerned):
                self._due[exchange] = None

    def evaluate(self) -> None:
        """At the end of a turn: send the answers of the requests that are due, unless there is a pause."""
        if not self._due:
            return
        began = time.monotonic()
        if began < self.evaluate_from:
            self._poller.call_at(_PAUSE, self.evaluate_from, self.evaluate)
            return
        self._poller.cancel(_PAUSE)
        due, self._due = self._due, {}
        for exchange in due:
            client = self._waiting.get(exchange)
            if client is None or not isinstance(exchange.outcome, PendingReply):
                continue  # an answer to an earlier one closed its connection
            answer = guarded(exchange.outcome.poll)
            if answer is not None:
                del self._waiting[exchange]
                self._reply(client, exchange, answer)
        now = time.monotonic()
        self.evaluate_from = now + (now - began) * _PAUSE_FACTOR

    def close(self) -> None:
        """Send the answers that can be given, without a pause."""
        self.evaluate_from = 0.0
        self.wake_all()
        self.evaluate()
