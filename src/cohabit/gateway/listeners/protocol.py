"""The protocol of one listener (supervisord.org/events.html, "Event Listener States"). Pure: bytes in, outcomes out.

A listener writes READY, gets an event, and writes `RESULT n` with n bytes: OK, or anything else to reject the event,
which then goes to the next listener that is ready. One that writes something else gets no further event.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.gateway.listeners.types import Event

ACKNOWLEDGED, READY, BUSY, UNKNOWN = "ACKNOWLEDGED", "READY", "BUSY", "UNKNOWN"
_READY = b"READY\n"
_RESULT = b"RESULT "
_OK = b"OK"
_LINE_MAX = 65_536  # bytes of a line that must contain RESULT


class Listener:
    """state: one of the above. event: the one that it works on, None in other states than BUSY."""

    def __init__(self) -> None:
        self.state = ACKNOWLEDGED
        self.event: Event | None = None
        self._data = b""
        self._result = b""  # its first bytes: enough to know whether it is OK
        self._missing = 0  # bytes of the result that are still to come
        self._in_result = False

    def give(self, event: Event) -> None:
        """It was sent an event."""
        self.state, self.event = BUSY, event

    def received(self, data: bytes) -> list[Event]:
        """What it wrote; returns the events that it has rejected."""
        self._data += data
        rejected: list[Event] = []
        while self._step(rejected):
            pass
        return rejected

    def ended(self) -> list[Event]:
        """It has ended; returns the event that it has not finished."""
        rejected = [self.event] if self.event is not None else []
        self.state, self.event, self._data = UNKNOWN, None, b""
        return rejected

    def _step(self, rejected: list[Event]) -> bool:
        """Consume a part of the data; False if there is not enough."""
        if not self._data:
            return False
        if self._in_result:
            self._read_result(rejected)
            return True
        if self.state == ACKNOWLEDGED:
            return self._read_ready()
        if self.state == BUSY:
            return self._read_header(rejected)
        self._break(rejected)
        return False

    def _read_ready(self) -> bool:
        if len(self._data) < len(_READY):
            return False
        if not self._data.startswith(_READY):
            self._break([])
            return False
        self.state, self._data = READY, self._data[len(_READY) :]
        return True

    def _read_header(self, rejected: list[Event]) -> bool:
        line, newline, rest = self._data.partition(b"\n")
        if not newline and len(line) <= _LINE_MAX:
            return False
        number = line[len(_RESULT) :].strip()
        if not newline or not number.isdigit():
            self._break(rejected)
            return False
        self._data, self._result, self._missing, self._in_result = rest, b"", int(number[:18]), True
        if not self._missing:
            self._finish(rejected)
        return True

    def _read_result(self, rejected: list[Event]) -> None:
        part, self._data = self._data[: self._missing], self._data[self._missing :]
        self._missing -= len(part)
        self._result = (self._result + part)[: len(_OK) + 1]
        if not self._missing:
            self._finish(rejected)

    def _finish(self, rejected: list[Event]) -> None:
        if self._result != _OK and self.event is not None:
            rejected.append(self.event)
        self.state, self.event, self._in_result = ACKNOWLEDGED, None, False

    def _break(self, rejected: list[Event]) -> None:
        """It does not follow the protocol."""
        if self.event is not None:
            rejected.append(self.event)
        self.state, self.event, self._data = UNKNOWN, None, b""
