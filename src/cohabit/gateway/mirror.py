"""What is known of the processes, kept up to date by the events of cohabit.

A thread follows the events, so no request has to ask process 1 for the state of fifty services. It also wakes up those
who wait for a process.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue

from cohabit.api.status import Event
from cohabit.client.client import DROPPED
from cohabit.client.decoding import decode
from cohabit.gateway.faults import FAILED, Fault
from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cohabit.api.status import ServiceStatus
    from cohabit.client import Client
    from cohabit.client.connection import Answer
    from cohabit.plan.reason import Reason

STATES = {"STOPPED": 0, "STARTING": 10, "RUNNING": 20, "BACKOFF": 30, "STOPPING": 40, "EXITED": 100, "FATAL": 200}
_ENDS = frozenset({"STOPPED", "EXITED", "FATAL", "BACKOFF"})


class State(Record):
    """One process. started, stopped: Unix seconds, 0 for never. code, reason, why: of its last end, why as text."""

    state: str
    pid: int = 0
    started: float = 0.0
    stopped: float = 0.0
    code: int = 0
    reason: Reason | None = None
    why: str = ""


class Mirror:
    """states: by namespec. It is updated by one thread, and read by others."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self._followers: dict[int, tuple[frozenset[str], SimpleQueue[Event | Fault]]] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._known_until = 0.0  # Unix seconds: the states have what happened before

    def follow(self, client: Client, *, recorded: bool) -> Iterator[Event]:
        """Take over all states; the iterator takes over each event, and gives it. It ends with cohabit.

        recorded: it gives the recorded events, too, which change no state any more.
        """
        answer = client.checked("events", [*([] if recorded else ["tail=0"]), "follow=yes"], streaming=True)
        self._take_over(client)
        return self._follow(client, answer)

    def _follow(self, client: Client, answer: Answer) -> Iterator[Event]:
        try:
            for line in answer.lines():
                value = decode(line)
                if DROPPED in value:
                    self._take_over(client)
                    self.dropped()
                    continue
                event = Event.from_json(value)
                self.happened(event)
                yield event
        finally:
            with self._lock:
                self._ended = True
                for _, queue in self._followers.values():
                    queue.put(_ended())

    def _take_over(self, client: Client) -> None:
        status = client.status()
        found = {one.name: _state_of(one) for one in status.services}
        with self._lock:
            self.states, self._known_until = found, status.container.time or 0.0

    def happened(self, event: Event) -> None:
        """Take over an event."""
        with self._lock:
            if event.event in STATES and (event.time or 0.0) > self._known_until:
                before = self.states.get(event.service, State("STOPPED"))
                self.states[event.service] = _after(before, event)
            for names, queue in self._followers.values():
                if event.service in names:
                    queue.put(event)

    def dropped(self) -> None:
        """Events are missing, because we read too slowly: those who wait may wait for one of them."""
        with self._lock:
            for _, queue in self._followers.values():
                queue.put(Fault(FAILED, "events were lost: the state is not known to have changed"))

    def events(self, names: Iterable[str]) -> Following:
        """The events of these processes from now on. A context; raises Fault at its end, or if some are lost."""
        return Following(self, frozenset(names))

    def add(self, following: Following) -> None:
        """It gets events from now on."""
        with self._lock:
            self._followers[id(following)] = (following.names, following.queue)
            if self._ended:
                following.queue.put(_ended())

    def remove(self, following: Following) -> None:
        """It gets no more."""
        with self._lock:
            del self._followers[id(following)]


class Following:
    """The events of some processes, while it is used as a context."""

    def __init__(self, mirror: Mirror, names: frozenset[str]) -> None:
        self.names = names
        self.queue: SimpleQueue[Event | Fault] = SimpleQueue()
        self._mirror = mirror

    def __enter__(self) -> Iterator[Event]:
        self._mirror.add(self)
        return self._events()

    def __exit__(self, *_: object) -> None:
        self._mirror.remove(self)

    def _events(self) -> Iterator[Event]:
        while True:
            event = self.queue.get()
            if isinstance(event, Fault):
                raise event
            yield event


def _ended() -> Fault:
    return Fault(FAILED, "cohabit has ended")


def _state_of(status: ServiceStatus) -> State:
    ends = [event.time or 0.0 for event in status.history if event.event in _ENDS and event.code is not None]
    restarts = status.state == "BACKOFF" and not status.restarts
    return State(
        "EXITED" if restarts else status.state,
        status.pid,
        status.started or 0.0,
        ends[-1] if ends else 0.0,
        status.code or 0,
        status.reason,
        status.why,
    )


def _after(before: State, event: Event) -> State:
    """The state after an event."""
    time = event.time or 0.0
    restarts = event.event == "BACKOFF" and not event.tries  # by autorestart, at once or within a second
    after = before.replace(state="EXITED" if restarts else event.event, pid=event.pid)
    if event.event == "STARTING":
        return after.replace(started=time, reason=None, why="")
    if event.event in _ENDS:
        after = after.replace(pid=0)
        if event.event in ("BACKOFF", "FATAL") or event.code is not None:
            after = after.replace(reason=event.reason, why=event.text)
        if event.code is not None:
            after = after.replace(stopped=time, code=event.code)
    return after
