"""Having the control socket from the start on, or as soon as there is room for it.

Whatever keeps it from being bound (no descriptor, a directory that is mounted later) may be over later, so it is tried
again, less and less often. It is said once that it is missing, and once that it is there.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Openable(Protocol):
        """What is needed of server.Control."""

        @property
        def is_open(self) -> bool:
            """Whether the socket is there."""

        def open(self) -> None:
            """Bind it. Raises OSError."""


_MISSING = "no control socket, so `cohabit ps` and the like will not work"
_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 60.0


class Opening:
    """Opens the control socket. say(level, "", text): a line for people."""

    def __init__(self, control: Openable, say: Callable[[str, str, str], None]) -> None:
        self._control = control
        self._say = say
        self._pause_seconds = _FIRST_SECONDS
        self._at: float | None = None  # monotonic seconds of the next attempt
        self._said = False

    def begin(self) -> None:
        """Open it now, or go on trying."""
        try:
            self._control.open()
        except OSError as error:
            self._at = time.monotonic() + self._pause_seconds
            self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_SECONDS)
            if not self._said:
                why = error.strerror or str(error)
                self._say("warning", "", f"{_MISSING}: {why} (trying again)")
            self._said = True
            return
        self._at = None
        if self._said:
            self._say("info", "", "the control socket is there now")

    def resume(self) -> None:
        """After a re-execution: the socket crossed it, or is still missing, which was said."""
        self._said = not self._control.is_open
        self._at = time.monotonic() + self._pause_seconds if self._said else None

    def deadline(self) -> float | None:
        """Monotonic seconds of the next attempt."""
        return self._at

    def due(self, now: float) -> None:
        """Try again if it is time."""
        if self._at is not None and self._at <= now:
            self.begin()

    def close(self) -> None:
        """The end: it is not needed any more."""
        self._at = None
