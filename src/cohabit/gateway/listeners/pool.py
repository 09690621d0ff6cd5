"""A pool: the listeners of one [eventlistener:x], which share a buffer of events."""

from __future__ import annotations

from collections import deque

from cohabit.gateway.listeners.protocol import READY, Listener
from cohabit.gateway.listeners.types import is_wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.gateway.listeners.types import Event


class Pool:
    """listeners: the running ones, by the name of their process.

    events: the types that it wants. buffer_size: of events that wait for a listener. send(name, data): writes to a
    listener; False if it has ended. dropped(pool, event): the oldest event was discarded, because the buffer was full.
    """

    def __init__(
        self,
        name: str,
        events: tuple[str, ...],
        buffer_size: int,
        *,
        identifier: str,
        send: Callable[[str, bytes], bool],
        dropped: Callable[[str, Event], None],
    ) -> None:
        self.name = name
        self.listeners: dict[str, Listener] = {}
        self._events = events
        self._size = buffer_size
        self._identifier = identifier
        self._send = send
        self._dropped = dropped
        self._buffer: deque[tuple[int, Event]] = deque()  # with the serial number in the pool
        self._serials: dict[int, int] = {}  # of the events that listeners work on, by serial number
        self._serial = 0

    def accept(self, event: Event) -> None:
        """Pass an event on to a listener that is ready, or keep it, if the pool wants it."""
        if is_wanted(event.name, self._events):
            self._append(self._serial, event)
            self._serial += 1
            self.dispatch()

    def received(self, name: str, data: bytes) -> None:
        """A listener wrote something."""
        self._again(self.listeners[name].received(data))

    def started(self, name: str) -> None:
        """A listener was started."""
        self.listeners[name] = Listener()

    def ended(self, name: str) -> None:
        """A listener has ended; its event goes to another one."""
        listener = self.listeners.pop(name, None)
        if listener is not None:
            self._again(listener.ended())

    def _again(self, rejected: list[Event]) -> None:
        for event in rejected:
            self._append(self._serials[event.serial], event, first=True)
        working = {one.event.serial for one in self.listeners.values() if one.event is not None}
        self._serials = {serial: number for serial, number in self._serials.items() if serial in working}
        self.dispatch()

    def _append(self, number: int, event: Event, *, first: bool = False) -> None:
        if self._buffer and len(self._buffer) >= self._size:
            self._dropped(self.name, self._buffer.popleft()[1])
        if first:
            self._buffer.appendleft((number, event))
        else:
            self._buffer.append((number, event))

    def dispatch(self) -> None:
        """Send what waits to the listeners that are ready, the oldest first."""
        while self._buffer:
            number, event = self._buffer[0]
            if not any(self._give(name, one, number, event) for name, one in list(self.listeners.items())):
                return
            self._buffer.popleft()

    def _give(self, name: str, listener: Listener, number: int, event: Event) -> bool:
        if listener.state != READY or not self._send(name, self._envelope(number, event)):
            return False
        self._serials[event.serial] = number
        listener.give(event)
        return True

    def _envelope(self, number: int, event: Event) -> bytes:
        """The header and the payload. len counts characters, as supervisord does on Python 3."""
        header = (
            f"ver:3.0 server:{self._identifier} serial:{event.serial} pool:{self.name} poolserial:{number} "
            f"eventname:{event.name} len:{len(event.payload)}\n"
        )
        return (header + event.payload).encode("utf-8", "replace")
